package restore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/e2e/oracle"
	"github.com/backstay/backstay/errs"
)

// The corpus of B-10 to B-14: snapshots and neighbours that try to get a
// restore to touch something outside its target. Each test has a tree outside
// that must not change in any way.

func outsideTree(t *testing.T) (dir string, check func(what string)) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir+"/secret", "outside")
	write(t, dir+"/folder/inner", "outside too")
	if err := os.Chmod(dir+"/secret", 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1_500_000_000, 0)
	for _, p := range []string{"/secret", "/folder/inner", "/folder", ""} {
		if err := os.Chtimes(dir+p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	was := read(t, dir)
	return dir, func(what string) {
		t.Helper()
		if diffs := oracle.Compare(was, read(t, dir)); len(diffs) > 0 {
			t.Errorf("%s: outside the target changed:\n%s", what, oracle.Report(diffs, 20))
		}
	}
}

// A link in the snapshot, and then things below it.
func TestLinkThenFileBelowIt(t *testing.T) {
	t.Parallel()
	outside, check := outsideTree(t)
	for _, link := range []string{outside, "../../../../../../../../" + outside, ".", "/"} {
		b := newTree(t)
		b.add("/l", catalog.Entry{Type: catalog.Symlink, Mode: 0o777, Target: link})
		b.file("/l/secret", "restored")
		b.folder("/l/folder")
		b.file("/l/folder/inner", "restored")
		b.add("/l/folder/fifo", catalog.Entry{Type: catalog.Fifo, Mode: 0o666})
		b.add("/l/folder/link", catalog.Entry{Type: catalog.Symlink, Target: "x"})
		b.file("/ok", "restored")
		target := t.TempDir()
		res, err := Run(t.Context(), Config{Catalog: b.done(), Target: target, Privileged: root()})
		if err != nil {
			t.Fatal(err)
		}
		if res.Progress.Failed != 5 || res.Files != 1 || res.Others != 1 {
			t.Errorf("link to %q: %+v, want the 5 below the link failed", link, res.Progress)
		}
		if got := list(t, target); len(got) != 2 {
			t.Errorf("link to %q: the target holds %v", link, got)
		}
		check("link to " + link)
	}
}

// Links that lie in the target already, at every place of a path.
func TestLinksInTheTarget(t *testing.T) {
	t.Parallel()
	outside, check := outsideTree(t)
	paths := []string{"/a", "/a/folder", "/a/folder/inner", "/a/secret"}
	b := newTree(t)
	b.folder("/a")
	b.folder("/a/folder")
	b.file("/a/folder/inner", "restored")
	b.file("/a/secret", "restored")
	c := b.done()
	for _, at := range paths {
		for _, to := range []string{outside, outside + "/secret", outside + "/folder", "/"} {
			target := t.TempDir()
			if err := os.MkdirAll(filepath.Dir(target+at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, target+at); err != nil {
				t.Fatal(err)
			}
			res, err := Run(t.Context(), Config{Catalog: c, Target: target, Privileged: root()})
			if err != nil || res.Progress.Failed > 0 || res.RenamedCount != 1 {
				t.Errorf("link at %s: %v, failed %v, %d renamed", at, err, res.Failed, res.RenamedCount)
			}
			if content(t, target+"/a/secret") != "restored" || content(t, target+"/a/folder/inner") != "restored" {
				t.Errorf("link at %s: not restored", at)
			}
			check("link at " + at + " to " + to)
		}
	}
}

// Somebody with rights in the target swaps folders and files for links while
// the restore runs, as fast as he can.
func TestRacingSwap(t *testing.T) {
	t.Parallel()
	outside, check := outsideTree(t)
	b := newTree(t)
	b.folder("/r")
	b.folder("/r/folder")
	for i := range 20 {
		b.file("/r/folder/inner"+string(rune('a'+i)), "restored")
	}
	b.file("/r/folder/inner", "restored")
	b.file("/r/secret", "restored")
	b.add("/r/fifo", catalog.Entry{Type: catalog.Fifo, Mode: 0o666})
	e := b.content(catalog.Entry{Type: catalog.File, Mode: 0o666, Nlink: 2, Ino: 5}, []byte("linked"))
	b.add("/r/hard1", e)
	b.add("/r/hard2", e)
	c := b.done()
	target := t.TempDir()
	races := 0
	for _, at := range []struct{ path, to string }{
		{"/r", outside}, {"/r/folder", outside + "/folder"}, {"/r/secret", outside + "/secret"},
		{"/r/fifo", outside + "/secret"}, {"/r/hard1", outside + "/secret"},
	} {
		mustRun(t, Config{Catalog: c, Target: target, Privileged: root()})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			p, aside := target+at.path, filepath.Join(target, "swapped")
			for {
				os.Rename(p, aside)
				os.Symlink(at.to, p)
				os.Remove(p)
				os.Rename(aside, p)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for deadline := time.Now().Add(700 * time.Millisecond); time.Now().Before(deadline); {
			res, err := Run(t.Context(), Config{Catalog: c, Target: target, Privileged: root()})
			if err != nil {
				t.Fatal(err)
			}
			races += int(res.Progress.Failed + res.RenamedCount)
		}
		close(stop)
		wg.Wait()
		check("racing at " + at.path)
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
	}
	if races == 0 {
		t.Error("the swapping never met the restore: the test proves nothing")
	}
	t.Logf("%d races", races)
}

// The file that a hard link goes to is swapped after it was restored.
func TestHardLinkToSomethingElse(t *testing.T) {
	t.Parallel()
	outside, check := outsideTree(t)
	for name, swap := range map[string]func(path string) error{
		"link": func(p string) error { return os.Symlink(outside+"/secret", p) },
		"hard": func(p string) error { return os.Link(outside+"/secret", p) },
		"gone": func(string) error { return nil },
		"file": func(p string) error { return os.WriteFile(p, []byte("another"), 0o600) },
	} {
		if name == "hard" {
			defer check("hard link")
		}
		target := t.TempDir()
		write(t, target+"/first", "content")
		r, f := openTarget(t, target)
		info, err := f.root.Lstat("first")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(target+"/first"), swap(target+"/first")); err != nil {
			t.Fatal(err)
		}
		w := &writer{r: r, in: f}
		o := &op{e: &catalog.Entry{Folder: "/", Name: "second", Type: catalog.File}, group: &linkGroup{path: "/first", info: info}}
		if err := w.tryLink(f, o); err == nil {
			t.Errorf("%s: linked to what is not the restored file", name)
		}
		if _, err := os.Lstat(target + "/second"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the wrong link is still there: %v", name, err)
		}
		os.Remove(target + "/first")
		check(name)
	}
}

func openTarget(t *testing.T, dir string) (*restorer, *folder) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := openTop(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return &restorer{top: f, result: &Result{}, suffix: before, odd: map[string]oddFolder{}}, f
}

// Owner, permissions and attributes go to what was made, not to what has its
// name by now (CVE-2026-32282, CVE-2024-52522).
func TestMetadataThroughALink(t *testing.T) {
	t.Parallel()
	outside, check := outsideTree(t)
	target := t.TempDir()
	_, f := openTarget(t, target)
	for name, to := range map[string]string{"fifo": outside + "/secret", "socket": outside + "/secret", "folder": outside + "/folder"} {
		if err := os.Symlink(to, filepath.Join(target, name)); err != nil {
			t.Fatal(err)
		}
	}
	attrs := []catalog.Attr{{Name: "user.x", Value: "y"}}
	for _, e := range []catalog.Entry{
		{Name: "fifo", Type: catalog.Fifo, Mode: 0o777, UID: 12345, GID: 12345, Mtime: catalog.Time{Sec: 1}},
		{Name: "socket", Type: catalog.Socket, Mode: 0o777, UID: 12345, GID: 12345, Mtime: catalog.Time{Sec: 1}},
	} {
		if f.setOtherMeta(true, &e, attrs) == nil {
			t.Errorf("%v: what was replaced was given metadata without a word", e.Type)
		}
	}
	// A hard link to something outside is the thing itself.
	if err := os.Link(outside+"/secret", filepath.Join(target, "char")); err != nil {
		t.Fatal(err)
	}
	device := catalog.Entry{Name: "char", Type: catalog.Char, Mode: 0o777, UID: 12345, GID: 12345, Mtime: catalog.Time{Sec: 1}}
	if f.setOtherMeta(true, &device, attrs) == nil {
		t.Error("a file that took a device's place was given its metadata")
	}
	if err := os.Remove(filepath.Join(target, "char")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.open("folder"); err == nil {
		t.Error("a link was opened as a folder")
	}
	if err := f.unlock("folder"); err == nil {
		t.Error("a link was unlocked as a folder")
	}
	// The link itself may have an owner and a time.
	link := catalog.Entry{Name: "folder", Type: catalog.Symlink, Mode: 0o777, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Mtime: catalog.Time{Sec: 77}}
	if err := f.setOtherMeta(root(), &link, nil); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(target + "/folder"); err != nil || info.ModTime().Unix() != 77 {
		t.Errorf("the link's time is %v, %v", info.ModTime(), err)
	}
	check("metadata")
}

// Names that lead elsewhere do not come through a catalog, and would not come
// further.
func TestNames(t *testing.T) {
	t.Parallel()
	r, f := openTarget(t, t.TempDir())
	w := &writer{r: r, in: f}
	for _, name := range []string{"", ".", "..", "/", "a/b", "/etc", "../x", "a/", "a\x00b"} {
		if plainName(name) {
			t.Errorf("%q passes for a name", name)
		}
		if _, err := f.open(name); err == nil {
			t.Errorf("%q was opened", name)
		}
		e := &catalog.Entry{Folder: "/", Name: name, Type: catalog.Symlink, Target: "x"}
		w.do(t.Context(), &window{}, &op{e: e, first: true, last: true})
		if last := len(r.result.Failed) - 1; last < 0 || r.result.Failed[last] != (Problem{e.Path(), errName}) {
			t.Errorf("%q was made: failed %v", name, r.result.Failed)
		}
		if res, got := hostile(t, "/", name); res != nil {
			t.Errorf("a page with %q in / was read, and restored %v", name, got)
		}
	}
	for _, folder := range []string{"", "a", "/..", "/a/../..", "/a/", "//", "/."} {
		if r, w := hostile(t, folder, "x"); r != nil {
			t.Errorf("a page with folder %q was read, and restored %v", folder, w)
		}
	}
	if r, _ := hostile(t, "/", "x"); r == nil || r.Folders != 1 {
		t.Error("the page without a fault was not restored")
	}
	for _, name := range []string{"a", "...", "..a", " ", "C:", "CON", "a\\b", "f:stream", "\\\\?\\x", "\xff", "a\nb", "x."} {
		if !plainName(name) {
			t.Errorf("%q is no name here", name)
		}
	}
}

// hostile restores a page made by hand with one folder in it.
func hostile(t *testing.T, folder, name string) (*Result, []string) {
	t.Helper()
	var e backup.Encoder
	e.U8(1)
	e.U8(0)
	e.Count(0)
	e.Count(1)
	e.String(folder)
	e.Count(1)
	e.String(name)
	e.U8(uint8(catalog.Folder))
	e.U8(0)
	e.U32(0o755)
	e.U32(0)
	e.U32(0)
	e.String("")
	e.String("")
	e.Raw(make([]byte, 12+12+8+8))
	e.U32(1)
	e.U8(0)
	s := newStore()
	ref, err := s.seal(backup.Page, bytes.Clone(e.B))
	if err != nil {
		t.Fatal(err)
	}
	target := t.TempDir()
	res, err := Run(t.Context(), Config{Catalog: catalog.NewReader(ref, s.fetch()), Target: target})
	if err != nil {
		if !errs.Is(err, errs.Mismatch) {
			t.Errorf("%q in %q: %v, want E1506", name, folder, err)
		}
		return nil, nil
	}
	return res, list(t, target)
}

// A folder that was there may give what is made in it an ACL of its own. Who
// could not read the file must not be able to now.
func TestInheritedACL(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	b.folder("/f")
	b.add("/f/private", b.content(catalog.Entry{Type: catalog.File, Mode: 0o660}, []byte("private")))
	target := t.TempDir()
	if err := os.Mkdir(target+"/f", 0o755); err != nil {
		t.Fatal(err)
	}
	// user::rwx user:12345:rwx group::rwx mask::rwx other::---
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x07\x00\x39\x30\x00\x00\x04\x00\x07\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	if err := unix.Setxattr(target+"/f", defaultACL, []byte(acl), 0); err != nil {
		t.Fatal(err)
	}
	mustRun(t, Config{Catalog: b.done(), Target: target})
	if attrs := attrsOf(target + "/f/private"); len(attrs) > 0 {
		t.Errorf("the file has %q", attrs[0].Name)
	}
	if info, err := os.Lstat(target + "/f/private"); err != nil || info.Mode() != 0o660 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

// R22: a setuid bit is not given to another owner, and capabilities are for an
// administrator to bring back.
func TestPrivilegesAreNotInvented(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	stranger := uint32(os.Geteuid() + 4321)
	other := b.content(catalog.Entry{Type: catalog.File, Mode: 0o6755, UID: stranger, GID: stranger}, []byte("a program"))
	b.add("/others", other)
	own := other
	own.UID, own.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	b.add("/own", own)
	capable := other
	capable.Mode, capable.Attrs = 0o755, []catalog.Attr{{Name: "security.capability", Value: "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}}
	b.add("/capable", capable)
	b.add("/device", catalog.Entry{Type: catalog.Char, Mode: 0o666, Rdev: 0x103})
	target := t.TempDir()
	res, err := Run(context.Background(), Config{Catalog: b.done(), Target: target})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"/others": 0o755, "/own": 0o755 | os.ModeSetuid | os.ModeSetgid, "/capable": 0o755} {
		info, err := os.Lstat(target + name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	if n, err := unix.Lgetxattr(target+"/capable", "security.capability", nil); err == nil {
		t.Errorf("a capability of %d bytes was restored for a plain user", n)
	}
	if res.WarningCount != 2 || res.Progress.Failed != 1 || res.Failed[0].Path != "/device" {
		t.Errorf("warnings %v, failed %v; want two and the device", res.Warnings, res.Failed)
	}
}
