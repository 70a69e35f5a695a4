package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/e2e/oracle"
	"github.com/backstay/backstay/errs"
)

func root() bool { return os.Geteuid() == 0 }

// mustRun restores, and takes nothing but success without a word.
func mustRun(t testing.TB, cfg Config) *Result {
	t.Helper()
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(res.Failed, res.Warnings...) {
		t.Errorf("%s: %v", p.Path, p.Err)
	}
	for _, p := range res.Renamed {
		t.Errorf("%s: what was there is now %q", p.Path, p.Name)
	}
	return res
}

// sameTrees compares with code that is not the product's.
func sameTrees(t testing.TB, want, got string) {
	t.Helper()
	if diffs := oracle.Compare(read(t, want), read(t, got)); len(diffs) > 0 {
		t.Errorf("the trees differ:\n%s", oracle.Report(diffs, 20))
	}
}

func read(t testing.TB, dir string) *oracle.Tree {
	t.Helper()
	tree, err := oracle.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// list returns every path below dir.
func list(t testing.TB, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTorture(t *testing.T) {
	t.Parallel()
	torture(t)
}

const asUser = "BACKSTAY_TEST_AS_USER"

// The same without rights: files are the user's own, modes keep him out of his
// own folders.
func TestTortureAsUser(t *testing.T) {
	t.Parallel()
	if os.Getenv(asUser) != "" {
		torture(t)
		return
	}
	if !root() {
		return // TestTorture was it
	}
	dir, err := os.MkdirTemp("", "restore-as-user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "test")
	if out, err := exec.Command("cp", os.Args[0], binary).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^TestTortureAsUser$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asUser+"=1", "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestTortureAsUser") {
		t.Errorf("as a plain user: %v\n%s", err, out)
	}
}

func torture(t *testing.T) {
	src, target := t.TempDir(), t.TempDir()
	if err := oracle.Torture(src, 1); err != nil {
		t.Fatal(err)
	}
	if !root() { // what the scan below cannot read is no matter of restoring
		locked := filepath.Join(src, "modes", "locked")
		if err := os.Chmod(locked, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range list(t, src) {
			if info, err := os.Lstat(filepath.Join(src, name)); err == nil && info.Mode().IsRegular() && info.Mode()&0o400 == 0 {
				os.Chmod(filepath.Join(src, name), info.Mode()|0o400)
			}
		}
	}
	b := newTree(t)
	b.scan(src)
	cfg := Config{Catalog: b.done(), Target: target, Privileged: root()}
	if !root() {
		cfg.Paths = []string{src} // the folders above are not the user's
	}
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+rwx", src, target).Run() })
	res := mustRestore(t, cfg)
	sameTrees(t, src, filepath.Join(target, src))
	if res.Files == 0 || res.Folders == 0 || res.Others == 0 || res.Bytes == 0 {
		t.Errorf("result %+v: nothing of some sort was restored", res.Progress)
	}
	// Once more over it: everything is there already.
	again := mustRestore(t, cfg)
	sameTrees(t, src, filepath.Join(target, src))
	if again.Progress != res.Progress || again.Kept != again.Files+again.Others {
		t.Errorf("repeated: %+v, %d kept; want %+v, all kept", again.Progress, again.Kept, res.Progress)
	}
	lockedFolders(t)
}

// lockedFolders restores twice what nobody but root could look into after the
// first time.
func lockedFolders(t *testing.T) {
	b := newTree(t)
	b.add("/l", catalog.Entry{Type: catalog.Folder, Mode: 0, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
	b.add("/l/m", catalog.Entry{Type: catalog.Folder, Mode: 0o100, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
	b.file("/l/m/file", "content")
	c, target := b.done(), t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+rwx", target).Run() })
	for i := range int64(2) {
		if res := mustRun(t, Config{Catalog: c, Target: target}); res.Kept != i {
			t.Errorf("restore %d of locked folders kept %d, want %d", i+1, res.Kept, i)
		}
	}
	if info, err := os.Lstat(target + "/l"); err != nil || info.Mode().Perm() != 0 {
		t.Errorf("a locked folder came back as %v, %v", info, err)
	}
}

// mustRestore is mustRun, but that a plain user cannot give folders above his
// own back to others.
func mustRestore(t *testing.T, cfg Config) *Result {
	t.Helper()
	res, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(slices.Clone(res.Failed), res.Warnings...) {
		if root() || slices.ContainsFunc(cfg.Paths, func(path string) bool { return catalog.Inside(path, p.Path) }) {
			t.Errorf("%s: %v", p.Path, p.Err)
		}
	}
	for _, p := range res.Renamed {
		t.Errorf("%s: what was there is now %q", p.Path, p.Name)
	}
	return res
}

func TestSelection(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for _, p := range []string{"/a", "/a/b", "/a/b/c", "/a/bb", "/d", "/d/e"} {
		b.folder(p)
	}
	for _, p := range []string{"/a/1", "/a/b/2", "/a/b/c/3", "/a/bb/4", "/d/5", "/d/e/6", "/7"} {
		b.file(p, "content of "+p)
	}
	c := b.done()
	for _, tt := range []struct {
		paths, want []string
	}{
		{nil, []string{"/7", "/a", "/a/1", "/a/b", "/a/b/2", "/a/b/c", "/a/b/c/3", "/a/bb", "/a/bb/4", "/d", "/d/5", "/d/e", "/d/e/6"}},
		{[]string{"/"}, []string{"/7", "/a", "/a/1", "/a/b", "/a/b/2", "/a/b/c", "/a/b/c/3", "/a/bb", "/a/bb/4", "/d", "/d/5", "/d/e", "/d/e/6"}},
		{[]string{"/a/b"}, []string{"/a", "/a/b", "/a/b/2", "/a/b/c", "/a/b/c/3"}},
		{[]string{"/a/b/c/3"}, []string{"/a", "/a/b", "/a/b/c", "/a/b/c/3"}},
		{[]string{"/a/b/2", "/a/b"}, []string{"/a", "/a/b", "/a/b/2", "/a/b/c", "/a/b/c/3"}},
		{[]string{"/d/e/", "/a/bb", "/7", "/a/b/c"}, []string{"/7", "/a", "/a/b", "/a/b/c", "/a/b/c/3", "/a/bb", "/a/bb/4", "/d", "/d/e", "/d/e/6"}},
	} {
		target := filepath.Join(t.TempDir(), "made", "for it")
		res := mustRun(t, Config{Catalog: c, Target: target, Paths: tt.paths})
		if got := list(t, target); !slices.Equal(got, tt.want) {
			t.Errorf("%v gave %v, want %v", tt.paths, got, tt.want)
		}
		if n := res.Files + res.Folders; int(n) != len(tt.want) {
			t.Errorf("%v: %d counted, want %d", tt.paths, n, len(tt.want))
		}
	}
	target := filepath.Join(t.TempDir(), "not made")
	for _, paths := range [][]string{{"/a", "/nothing"}, {"/a/1/x"}, {"a"}, {""}} {
		if _, err := Run(t.Context(), Config{Catalog: c, Target: target, Paths: paths}); !errs.Is(err, errs.NoSuchSnapshot) {
			t.Errorf("%v: %v, want E1504", paths, err)
		}
	}
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the target was touched for paths that do not exist: %v", err)
	}
}

// Ancestors of what is selected get their metadata, and keep their times when
// things are made in them.
func TestMetadataOfFolders(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	old := catalog.Time{Sec: 1_000_000_000, Nsec: 123456789}
	for p, mode := range map[string]uint32{"/a": 0o750, "/a/ro": 0o555, "/a/ro/sub": 0o500, "/a/ro/none": 0, "/a/sticky": 0o1777} {
		b.add(p, catalog.Entry{Type: catalog.Folder, Mode: mode, Mtime: old})
	}
	b.file("/a/ro/sub/file", "x")
	b.file("/a/ro/file", "y")
	b.file("/a/other", "z")
	target := t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+rwx", target).Run() })
	mustRun(t, Config{Catalog: b.done(), Target: target, Paths: []string{"/a/ro", "/a/sticky"}})
	for p, mode := range map[string]uint32{"/a": 0o750, "/a/ro": 0o555, "/a/ro/sub": 0o500, "/a/ro/none": 0, "/a/sticky": 0o1777} {
		var st unix.Stat_t
		if err := unix.Lstat(target+p, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o7777 != mode || st.Mtim.Sec != old.Sec || st.Mtim.Nsec != int64(old.Nsec) {
			t.Errorf("%s has mode %o and time %v, want %o and %v", p, st.Mode&0o7777, st.Mtim, mode, old)
		}
	}
}

// now makes the names of what was in the way.
func now() time.Time { return time.Date(2026, 11, 22, 5, 4, 3, 0, time.Local) }

const before = " (before restore 2026-11-22 05.04.03)"

// H-03: nothing is overwritten, whatever is in the way of whatever.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, outside+"/kept", "outside")
	inWay := map[string]func(path string){
		"file":   func(p string) { write(t, p, "mine") },
		"folder": func(p string) { write(t, p+"/inner", "mine") },
		"link to a folder": func(p string) {
			if err := os.Symlink(outside, p); err != nil {
				t.Fatal(err)
			}
		},
		"link to a file": func(p string) {
			if err := os.Symlink(outside+"/kept", p); err != nil {
				t.Fatal(err)
			}
		},
		"broken link": func(p string) {
			if err := os.Symlink("nowhere", p); err != nil {
				t.Fatal(err)
			}
		},
		"fifo": func(p string) {
			if err := unix.Mkfifo(p, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, put := range inWay {
		for _, kind := range []catalog.Type{catalog.File, catalog.Folder, catalog.Symlink, catalog.Fifo, catalog.Socket} {
			if what == "folder" && kind == catalog.Folder || what == "fifo" && kind == catalog.Fifo {
				continue // it is taken
			}
			b := newTree(t)
			b.folder("/f")
			switch kind {
			case catalog.File:
				b.file("/f/x", "restored")
			case catalog.Folder:
				b.folder("/f/x")
				b.file("/f/x/kept", "restored")
			case catalog.Symlink:
				b.add("/f/x", catalog.Entry{Type: kind, Target: "elsewhere"})
			default:
				b.add("/f/x", catalog.Entry{Type: kind, Mode: 0o600})
			}
			target := t.TempDir()
			if err := os.MkdirAll(target+"/f", 0o755); err != nil {
				t.Fatal(err)
			}
			put(target + "/f/x")
			was, err := os.Lstat(target + "/f/x")
			if err != nil {
				t.Fatal(err)
			}
			res, err := Run(t.Context(), Config{Catalog: b.done(), Target: target, Now: now})
			if err != nil || res.Progress.Failed > 0 {
				t.Errorf("%s in the way of %v: %v, %v", what, kind, err, res.Failed)
				continue
			}
			want := []Renamed{{"/f/x", "x" + before}}
			if !slices.Equal(res.Renamed, want) || res.RenamedCount != 1 {
				t.Errorf("%s in the way of %v: renamed %v, want %v", what, kind, res.Renamed, want)
			}
			if is, err := os.Lstat(target + "/f/x" + before); err != nil || !os.SameFile(was, is) {
				t.Errorf("%s in the way of %v: it is gone: %v", what, kind, err)
			}
			if kind == catalog.File && content(t, target+"/f/x") != "restored" {
				t.Errorf("%s in the way: other content", what)
			}
		}
	}
	if got := list(t, outside); !slices.Equal(got, []string{"/kept"}) || content(t, outside+"/kept") != "outside" {
		t.Errorf("outside the target there is now %v", got)
	}
}

func TestIdenticalFileIsKept(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	mtime := catalog.Time{Sec: 1_600_000_000, Nsec: 5}
	e := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644, Mtime: mtime}, []byte("the same content"))
	b.add("/file", e)
	c := b.done()
	for name, tt := range map[string]struct {
		content string
		mtime   time.Time
		kept    int64
	}{
		"same":            {"the same content", mtime.Time(), 1},
		"another time":    {"the same content", time.Now(), 0},
		"another length":  {"the same", mtime.Time(), 0},
		"another content": {"The same content", mtime.Time(), 0},
	} {
		target := t.TempDir()
		write(t, target+"/file", tt.content)
		if err := os.Chtimes(target+"/file", tt.mtime, tt.mtime); err != nil {
			t.Fatal(err)
		}
		was, _ := os.Lstat(target + "/file")
		res, err := Run(t.Context(), Config{Catalog: c, Target: target, Now: now})
		if err != nil || res.Progress.Failed > 0 {
			t.Fatal(err, res.Failed)
		}
		is, _ := os.Lstat(target + "/file")
		if res.Kept != tt.kept || os.SameFile(was, is) != (tt.kept == 1) || res.RenamedCount != 1-tt.kept || res.Files != 1 {
			t.Errorf("%s: %d kept, %d renamed, want %d kept", name, res.Kept, res.RenamedCount, tt.kept)
		}
		if content(t, target+"/file") != "the same content" {
			t.Errorf("%s: other content", name)
		}
	}
}

func TestNamesOfWhatWasInTheWay(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 255)
	b := newTree(t)
	b.file("/"+long, "restored")
	b.file("/x", "restored")
	target := t.TempDir()
	write(t, target+"/"+long, "mine")
	write(t, target+"/x", "mine")
	write(t, target+"/x"+before, "mine, from before")
	res, err := Run(t.Context(), Config{Catalog: b.done(), Target: target, Now: now})
	if err != nil || res.Progress.Failed > 0 {
		t.Fatal(err, res.Failed)
	}
	for name, want := range map[string]string{
		"/" + long: "restored", "/" + long[:255-len(before)] + before: "mine",
		"/x": "restored", "/x" + before: "mine, from before", "/x" + before + " 2": "mine",
	} {
		if got := content(t, target+name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
}

// bigTree has a file over several windows, and small ones around it.
func bigTree(t testing.TB) *tree {
	b := newTree(t)
	b.folder("/d")
	for i := range 200 {
		b.file("/d/"+string(rune('a'+i%26))+strings.Repeat("x", i/26), strings.Repeat(string(rune('0'+i%10)), 2000+i))
	}
	b.add("/d/big", b.content(catalog.Entry{Type: catalog.File, Mode: 0o600}, noise(40<<20)))
	return b
}

func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func TestDamageCostsOnlyItsFiles(t *testing.T) {
	t.Parallel()
	b := bigTree(t)
	c := b.done()
	e, err := c.Lookup(t.Context(), "/d/big")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(id backup.ID){
		"missing": func(id backup.ID) { b.store.sealed[id] = nil },
		"damaged": func(id backup.ID) { b.store.sealed[id] = append(slices.Clone(b.store.sealed[id]), 0) },
	} {
		for _, at := range []int{0, len(e.Extents) / 2, len(e.Extents) - 1} {
			id := e.Extents[at].Ref.ID
			was := b.store.sealed[id]
			spoil(id)
			target := t.TempDir()
			res, err := Run(t.Context(), Config{Catalog: c, Target: target})
			b.store.sealed[id] = was
			if err != nil || res.Progress.Failed != 1 || len(res.Failed) != 1 || res.Failed[0].Path != "/d/big" || !errs.Is(res.Failed[0].Err, errs.Mismatch) || res.Files != 200 {
				t.Errorf("chunk %d %s: %+v, failed %v, %v", at, name, res.Progress, res.Failed, err)
			}
			if got := list(t, target); len(got) != 201 || slices.Contains(got, "/d/big") {
				t.Errorf("chunk %d %s: the target holds %d things", at, name, len(got))
			}
		}
	}
}

// A source that stops at the first bad object does not make its neighbours bad.
func TestSourceThatStopsEarly(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		b.file("/"+name, strings.Repeat(name, 1000))
		b.flush() // a chunk each
	}
	c := b.done()
	e, err := c.Lookup(t.Context(), "/b")
	if err != nil {
		t.Fatal(err)
	}
	bad := e.Extents[0].Ref.ID
	stopping := func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		for _, ref := range refs {
			if ref.ID == bad {
				return backup.Mismatched("object", errors.New("is lost"))
			}
		}
		return c.Fetch(ctx, kind, refs, each)
	}
	res, err := Run(t.Context(), Config{Catalog: c, Fetch: stopping, Target: t.TempDir()})
	if err != nil || res.Files != 3 || len(res.Failed) != 1 || res.Failed[0].Path != "/b" {
		t.Errorf("%d files, failed %v, %v; want all but /b", res.Files, res.Failed, err)
	}
}

// R25: chunks may verify and still not be the file.
func TestContentMustHaveItsHash(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	e := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644}, []byte("content"))
	e.Hash[0] ^= 1
	b.add("/wrong", e)
	sparse := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644, Holes: []catalog.Hole{{Offset: 3, Length: 5000}}}, []byte("abcdef"))
	sparse.Holes = []catalog.Hole{{Offset: 4, Length: 5000}}
	b.add("/hole elsewhere", sparse)
	target := t.TempDir()
	res, err := Run(t.Context(), Config{Catalog: b.done(), Target: target})
	if err != nil || res.Progress.Failed != 2 || !errs.Is(res.Failed[0].Err, errs.Mismatch) {
		t.Errorf("failed %v, %v; want both", res.Failed, err)
	}
	if got := list(t, target); len(got) != 0 {
		t.Errorf("the target holds %v", got)
	}
}

func TestSourceError(t *testing.T) {
	t.Parallel()
	b := bigTree(t)
	c := b.done()
	gone := errors.New("connection refused")
	calls := 0
	flaky := func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		if calls++; calls == 3 {
			return gone
		}
		return c.Fetch(ctx, kind, refs, each)
	}
	target := t.TempDir()
	res, err := Run(t.Context(), Config{Catalog: c, Fetch: flaky, Target: target})
	var source *SourceError
	if !errors.As(err, &source) || !errors.Is(err, gone) {
		t.Errorf("Run = %v, want a SourceError for %v", err, gone)
	}
	if slices.ContainsFunc(list(t, target), func(p string) bool { return strings.Contains(p, ".backstay-restore-") }) {
		t.Error("a temporary file was left")
	}
	first := res.Files
	// The connection is back: what was done is not done again.
	res = mustRun(t, Config{Catalog: c, Target: target})
	if res.Files != 201 || res.Kept != first || first == 0 {
		t.Errorf("repeated: %d files, %d kept of %d done before", res.Files, res.Kept, first)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := bigTree(t)
	target := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Config{Catalog: b.done(), Target: target, Progress: func(p Progress) {
		if p.Bytes > 20<<20 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
	if got := list(t, target); slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, ".backstay-restore-") }) {
		t.Errorf("a temporary file was left: %v", got)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if err := localError(&fs.PathError{Op: "write", Err: syscall.ENOSPC}); !errs.Is(err, errs.LocalDiskFull) {
		t.Errorf("ENOSPC is %v, want E1505", err)
	}
	target := t.TempDir()
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=30m"); err != nil {
		t.Logf("a full disk is tried end to end only as root: %v", err)
		return
	}
	defer unix.Unmount(target, 0)
	res, err := Run(t.Context(), Config{Catalog: bigTree(t).done(), Target: target})
	if !errs.Is(err, errs.LocalDiskFull) {
		t.Errorf("Run = %v, %d failed, want E1505", err, res.Progress.Failed)
	}
	if got := list(t, target); slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, ".backstay-restore-") }) {
		t.Errorf("a temporary file was left: %v", got)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var last Progress
	res := mustRun(t, Config{Catalog: bigTree(t).done(), Target: t.TempDir(), Progress: func(p Progress) {
		if p.Bytes < last.Bytes || p.Files < last.Files {
			t.Errorf("progress went from %+v to %+v", last, p)
		}
		last = p
	}})
	if last != res.Progress || last.Files != 201 {
		t.Errorf("the last progress is %+v, the result %+v", last, res.Progress)
	}
}

// Each chunk is fetched once, though files over a window's end share it.
func TestChunksAreFetchedOnce(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	for i := range 3000 {
		b.file(fmt.Sprintf("/%04d", i), string(noise(20000 + i)[i:])) // in catalog order, as a backup bundles them
	}
	mustRun(t, Config{Catalog: b.done(), Target: t.TempDir()})
	for id, n := range b.store.reads {
		if n != 1 && b.store.kind[id] == backup.Data {
			t.Errorf("chunk %v was read %d times", id, n)
		}
	}
	if b.chunks < 40 {
		t.Errorf("only %d chunks: no window ended", b.chunks)
	}
}
