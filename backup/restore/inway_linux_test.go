package restore

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backup/catalog"
)

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
