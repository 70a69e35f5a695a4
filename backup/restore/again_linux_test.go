package restore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/backup/catalog"
)

// A folder of the snapshot goes into another one here, without those that are
// left out.
func TestBase(t *testing.T) {
	b := newTree(t)
	for _, p := range []string{"/home", "/home/old", "/home/old/docs", "/home/old/music", "/srv"} {
		b.folder(p)
	}
	for _, p := range []string{"/home/old/docs/a", "/home/old/music/b", "/home/old/c", "/home/x", "/srv/d"} {
		b.file(p, p)
	}
	c := b.done()
	target := filepath.Join(t.TempDir(), "new")
	mustRun(t, Config{Catalog: c, Target: target, Base: "/home/old", Skip: func(p string) bool { return catalog.Inside("/home/old/music", p) }})
	if got, want := list(t, target), []string{"/c", "/docs", "/docs/a"}; !slices.Equal(got, want) {
		t.Errorf("restored %q, want %q", got, want)
	}
	one := t.TempDir()
	mustRun(t, Config{Catalog: c, Target: one, Base: "/home", Paths: []string{"/home/old/docs"}})
	if got, want := list(t, one), []string{"/old", "/old/docs", "/old/docs/a"}; !slices.Equal(got, want) {
		t.Errorf("restored %q, want %q", got, want)
	}
}

// Ended at any checkpoint, a restore goes on from there: all comes back, what
// was removed meanwhile does not, names of one file stay names of one file, and
// nothing unfinished is left behind.
func TestAfter(t *testing.T) {
	b := newTree(t)
	var paths []string
	for _, f := range []string{"/a", "/a/deep", "/b", "/locked"} {
		b.folder(f)
		paths = append(paths, f)
	}
	b.add("/locked/inner", catalog.Entry{Type: catalog.Folder, Mode: 0o500})
	paths = append(paths, "/locked/inner")
	for _, p := range []string{"/a/1", "/a/deep/2", "/b/3", "/locked/inner/4", "/top"} {
		b.file(p, strings.Repeat(p, 1000))
		paths = append(paths, p)
	}
	twin := b.content(catalog.Entry{Type: catalog.File, Mode: 0o640, Nlink: 2, Ino: 10, Dev: 1}, []byte("two names"))
	for _, p := range []string{"/a/twin", "/locked/twin"} {
		b.add(p, twin)
		paths = append(paths, p)
	}
	b.add("/b/link", catalog.Entry{Type: catalog.Symlink, Target: "../a"})
	paths = append(paths, "/b/link")
	c := b.done()
	slices.Sort(paths)

	for _, after := range paths {
		target := t.TempDir()
		// What an earlier run has done, and was doing.
		mustRun(t, Config{Catalog: c, Target: target, Skip: func(p string) bool { return catalog.ComparePaths(p, after) > 0 }})
		removed := ""
		for _, p := range []string{"/a/1", "/top"} {
			if os.Remove(filepath.Join(target, p)) == nil {
				removed = p
				break
			}
		}
		for _, p := range paths {
			folder, _ := catalog.Split(p)
			if _, err := os.Stat(filepath.Join(target, folder)); err == nil && folder != "/" && catalog.ComparePaths(p, after) > 0 {
				write(t, filepath.Join(target, folder, tempPrefix+"mine-1"), "half")
			}
		}
		var done []string
		mustRun(t, Config{Catalog: c, Target: target, After: after, Name: "mine-", Checkpoint: func(at string, _ Result) error {
			done = append(done, at)
			return nil
		}})
		got := list(t, target)
		for _, p := range paths {
			if (p == removed) == slices.Contains(got, p) {
				t.Errorf("after %s: %s is there: %v, removed was %q", after, p, slices.Contains(got, p), removed)
			}
		}
		for _, p := range got {
			if Unfinished(p) {
				t.Errorf("after %s: %s is left", after, p)
			}
		}
		x, errX := os.Stat(filepath.Join(target, "a/twin"))
		y, errY := os.Stat(filepath.Join(target, "locked/twin"))
		if err := errors.Join(errX, errY); err != nil || !os.SameFile(x, y) {
			t.Errorf("after %s: the two names are of two files: %v", after, err)
		}
		if info, err := os.Stat(filepath.Join(target, "locked/inner")); err != nil || info.Mode().Perm() != 0o500 {
			t.Errorf("after %s: the mode of a folder is %v, %v", after, info.Mode(), err)
		}
		if last := "/locked/inner/4"; after != last && (len(done) == 0 || done[len(done)-1] != last) {
			t.Errorf("after %s: the last checkpoint is %q", after, done)
		}
	}
}

// A checkpoint tells of nothing that is not done, and its error ends the restore.
func TestCheckpoint(t *testing.T) {
	b := newTree(t)
	for _, p := range []string{"/1", "/2", "/3"} {
		b.file(p, p)
	}
	c := b.done()
	target := t.TempDir()
	full := errors.New("full")
	_, err := Run(t.Context(), Config{Catalog: c, Target: target, Checkpoint: func(at string, r Result) error {
		for _, p := range []string{"/1", "/2", "/3"} {
			if p <= at && content(t, filepath.Join(target, p)) != p {
				t.Errorf("at %s, %s is not there", at, p)
			}
		}
		if at == "/3" && r.Files != 3 {
			t.Errorf("at %s %d files are counted", at, r.Files)
		}
		return full
	}})
	if !errors.Is(err, full) {
		t.Errorf("Run = %v, want %v", err, full)
	}
}
