package restore

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

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
