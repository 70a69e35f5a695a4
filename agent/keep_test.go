package agent

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/catalog"
)

// At any moment what is not back is kept, with the folders above it, and what is
// back is not.
func TestMissing(t *testing.T) {
	files := []string{"/home/old/a", "/home/old/docs/b", "/home/old/docs/deep/c", "/home/old/photos/d", "/home/old/z", "/srv/data/e", "/srv/f"}
	part := func(folder, name, to string) state.RestorePart {
		return state.RestorePart{PathMap: state.PathMap{From: []byte(folder), To: []byte(to)}, Name: []byte(name)}
	}
	folders := []string{"/home/new", "/srv"}
	for _, at := range append([]string{""}, files...) {
		for second := range 2 {
			home, srv := part("/home/old", "", "/home/new"), part("/", "srv", "/")
			if home.At = []byte(at); second == 1 {
				home.Done, srv.At = true, []byte(at)
			}
			back := func(file string) bool {
				if strings.HasPrefix(file, "/home") {
					return home.Done || at != "" && catalog.ComparePaths(file, at) <= 0
				}
				return second == 1 && at != "" && catalog.ComparePaths(file, at) <= 0
			}
			k := newKeeping(&state.Restore{Parts: []state.RestorePart{home, srv}}, folders)
			for _, file := range files {
				folder, name := catalog.Split(file)
				if got := k.missing(&catalog.Entry{Folder: folder, Name: name, Type: catalog.File}); got == back(file) {
					t.Errorf("part %d is at %q: %s is kept: %v", second, at, file, got)
				}
				if back(file) {
					continue
				}
				for above, name := catalog.Split(folder); name != ""; above, name = catalog.Split(above) {
					if !k.missing(&catalog.Entry{Folder: above, Name: name, Type: catalog.Folder}) {
						t.Errorf("part %d is at %q: folder %s/%s above %s is not kept", second, at, above, name, file)
					}
				}
			}
		}
	}
}

// What failed stays, and what came back to where no backup looks.
func TestMissingForGood(t *testing.T) {
	home := state.RestorePart{PathMap: state.PathMap{From: []byte("/home/old"), To: []byte("/home/new")}, Done: true, Failed: [][]byte{[]byte("/home/old/docs/odd\xff")}}
	aside := state.RestorePart{PathMap: state.PathMap{From: []byte("/srv"), To: []byte("/home/new/Restored/srv")}, Done: true}
	for _, tt := range []struct {
		folders []string
		path    string
		kind    catalog.Type
		want    bool
	}{
		{[]string{"/home/new"}, "/home/old/docs/odd\xff", catalog.File, true},
		{[]string{"/home/new"}, "/home/old/docs", catalog.Folder, true},
		{[]string{"/home/new"}, "/home/old/docs/other", catalog.File, false},
		{[]string{"/home/new"}, "/srv/a", catalog.File, false},
		{[]string{"/home/new/docs"}, "/srv/a", catalog.File, true},
		{[]string{"/home/new/docs"}, "/srv", catalog.Folder, true},
		{[]string{"/home/new/docs"}, "/home/old/docs/other", catalog.File, false},
		{[]string{"/home/new/docs"}, "/home/old/music", catalog.File, true},
		{[]string{"/home/new"}, "/home/new/own", catalog.File, false},
	} {
		k := newKeeping(&state.Restore{Parts: []state.RestorePart{home, aside}}, tt.folders)
		folder, name := catalog.Split(tt.path)
		if got := k.missing(&catalog.Entry{Folder: folder, Name: name, Type: tt.kind}); got != tt.want {
			t.Errorf("with %q, %q is kept: %v, want %v", tt.folders, tt.path, got, tt.want)
		}
	}
}
