package scan

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup/catalog"
)

// find returns the entry of a path.
func find(t *testing.T, root, path string) *catalog.Entry {
	t.Helper()
	for _, i := range all(t, Config{Roots: []string{root}}) {
		if i.Entry != nil && i.Entry.Path() == path {
			return i.Entry
		}
	}
	t.Fatalf("%s was not found", path)
	return nil
}

func content(w *Walk, e *catalog.Entry) (string, error) {
	f, err := w.Open(e)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.Stat(e); err != nil {
		return "", err
	}
	if e.Type != catalog.File {
		return "opened", nil
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	return string(data), err
}

// Between the look and the opening everything may have become something else
// (R16, R17). The next version of a file is read; nothing else is.
func TestReplacedBeforeOpening(t *testing.T) {
	swaps := map[string]struct {
		swap func(t *testing.T, dir, path string)
		want string // content, or empty for a failure
		gone bool
	}{
		"unchanged": {func(*testing.T, string, string) {}, "inside", false},
		"next version": {func(t *testing.T, dir, path string) {
			write(t, path+".new", "next")
			must(t, os.Rename(path+".new", path))
		}, "next", false},
		"gone": {func(t *testing.T, _, path string) { must(t, os.Remove(path)) }, "", true},
		"a link": {func(t *testing.T, dir, path string) {
			must(t, os.Remove(path), os.Symlink(filepath.Join(dir, "outside/file"), path))
		}, "", false},
		"a pipe":   {func(t *testing.T, _, path string) { must(t, os.Remove(path), unix.Mkfifo(path, 0o644)) }, "", false},
		"a folder": {func(t *testing.T, _, path string) { must(t, os.Remove(path), os.Mkdir(path, 0o755)) }, "", false},
		"a link on the way": {func(t *testing.T, dir, path string) {
			must(t, os.Rename(filepath.Dir(path), filepath.Join(dir, "moved")), os.Symlink(filepath.Join(dir, "outside"), filepath.Dir(path)))
		}, "", false},
		"another folder on the way": {func(t *testing.T, dir, path string) {
			must(t, os.Rename(filepath.Dir(path), filepath.Join(dir, "moved")))
			write(t, path, "in another")
		}, "in another", false},
	}
	for name, test := range swaps {
		t.Run(name, func(t *testing.T) {
			dir := temp(t)
			path := filepath.Join(dir, "root/folder/file")
			write(t, path, "inside")
			write(t, filepath.Join(dir, "outside/file"), "outside")
			e := find(t, filepath.Join(dir, "root"), path)
			test.swap(t, dir, path)
			w := New(Config{})
			defer w.Close()
			got, err := content(w, e)
			if got != test.want || (err == nil) != (test.want != "") || errors.Is(err, fs.ErrNotExist) != test.gone {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// A folder that became a link while the walk went on is not listed through it.
func TestFolderReplacedBeforeListing(t *testing.T) {
	dir := temp(t)
	write(t, filepath.Join(dir, "root/a/b/file"), "inside")
	write(t, filepath.Join(dir, "outside/b/secret"), "outside")
	a := filepath.Join(dir, "root/a")
	seen := identify(find(t, filepath.Join(dir, "root"), a+"/b"))
	must(t, os.Rename(a, a+" moved"), os.Symlink(filepath.Join(dir, "outside"), a))
	d, err := new(Walk).openDir(a+"/b", seen, false)
	if err == nil {
		names, _ := d.Names()
		t.Errorf("a folder behind a link was listed: %q", names)
	}
	must(t, os.Remove(a), os.Rename(a+" moved", a))
	d, err = new(Walk).openDir(a+"/b", seen, false)
	must(t, err)
	d.Close()
}

func TestLongPaths(t *testing.T) {
	dir := temp(t)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	name := strings.Repeat("n", 250)
	const depth = 40 // 10,000 bytes
	for range depth {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	_, err = unix.Write(f, []byte("deep"))
	must(t, err, unix.Close(f), unix.Symlinkat("target", fd, "link"), unix.Close(fd))

	items := all(t, Config{Roots: []string{dir}})
	isOrdered(t, items)
	found := 0
	w := New(Config{})
	defer w.Close()
	for _, i := range items {
		if i.Entry == nil {
			t.Fatalf("%d items, then %v", found, i.Err)
		}
		if !catalog.Inside(dir, i.Entry.Path()) {
			continue
		}
		found++
		switch i.Entry.Name {
		case "file":
			if got, err := content(w, i.Entry); got != "deep" {
				t.Errorf("the deep file is %q, %v", got, err)
			}
		default:
			if err := w.Complete(i.Entry); err != nil {
				t.Errorf("completing item %d: %v", found, err)
			}
			if i.Entry.Name == "link" && i.Entry.Target != "target" {
				t.Errorf("the deep link points to %q", i.Entry.Target)
			}
		}
	}
	if want := 1 + depth + 2; found != want {
		t.Errorf("found %d items, want %d", found, want)
	}
}

func TestAccessTimeStays(t *testing.T) {
	dir := temp(t)
	path := filepath.Join(dir, "file")
	write(t, path, "text")
	old := time.Unix(1e9, 0)
	must(t, os.Chtimes(path, old, time.Now()), os.Chtimes(dir, old, time.Now()))
	w := New(Config{})
	defer w.Close()
	if _, err := content(w, find(t, dir, path)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, dir} {
		var st unix.Stat_t
		must(t, unix.Lstat(p, &st))
		if st.Atim.Sec != 1e9 {
			t.Errorf("the access time of %s changed", p)
		}
	}
}
