package agent

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// Where things go that somebody wants back, and from which folder on what is
// there already is left as it is.
func TestBatches(t *testing.T) {
	t.Parallel()
	roots := []string{"/home/ann/Documents", "/home/ann/Music", "/srv/data"}
	there := []string{"/", "/home", "/home/ann", "/home/ann/Documents", "/srv", "/srv/data"}
	for _, test := range []struct {
		name       string
		paths      []string
		target     string
		privileged bool
		want       string
	}{
		{"a file, its folder is there", []string{"/home/ann/Documents/a"}, "", false,
			"/home/ann/Documents: /home/ann/Documents/a"},
		{"a file, its folder is gone", []string{"/home/ann/Music/2026/a"}, "", false,
			"/home/ann: /home/ann/Music/2026/a"},
		{"files of several folders", []string{"/srv/data/x", "/home/ann/Music/a", "/home/ann/Documents/b"}, "", false,
			"/home/ann/Documents: /home/ann/Documents/b; /home/ann: /home/ann/Music/a; /srv/data: /srv/data/x"},
		{"a folder above those that are backed up", []string{"/home"}, "", false,
			"/home/ann: /home/ann/Documents /home/ann/Music"},
		{"everything", []string{"/"}, "", false,
			"/home/ann: /home/ann/Documents /home/ann/Music; /srv: /srv/data"},
		{"a folder and what is in it", []string{"/home/ann/Documents/b", "/home/ann/Documents", "/home/ann/Documents"}, "", false,
			"/home/ann: /home/ann/Documents"},
		// Nobody can put a link into the way of an administrator's restore: it goes
		// down from the top, and follows none.
		{"an administrator", []string{"/home/ann/Documents/a", "/srv/data/x"}, "", true,
			"/: /home/ann/Documents/a /srv/data/x"},

		{"elsewhere", []string{"/home/ann/Documents/a", "/home/ann/Documents/b"}, "/tmp/x", false,
			"/home/ann/Documents → /tmp/x: /home/ann/Documents/a /home/ann/Documents/b"},
		{"elsewhere, of several folders", []string{"/home/ann/Documents/2026/a", "/home/ann/Music/b"}, "/tmp/x", false,
			"/home/ann → /tmp/x: /home/ann/Documents/2026/a /home/ann/Music/b"},
		{"elsewhere, all", []string{"/"}, "/tmp/x", true,
			"/ → /tmp/x: /home/ann/Documents /home/ann/Music /srv/data"},
	} {
		got := ""
		for i, b := range (Wanted{Paths: test.paths, Target: test.target}).batches(roots, test.privileged, func(path string) bool { return slices.Contains(there, path) }) {
			if i > 0 {
				got += "; "
			}
			if got += b.base; b.target != b.base {
				got += " → " + b.target
			}
			got += ":"
			for _, p := range b.paths {
				got += " " + p
			}
		}
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

// Names that begin alike are not inside each other.
func TestMeant(t *testing.T) {
	t.Parallel()
	got := meant([]string{"/home/ann", "/home/anna"}, []string{"/home/ann", "/home/ann.txt", "/home/ann/x"})
	if want := []string{"/home/ann", "/home/ann.txt"}; !reflect.DeepEqual(got, want) {
		t.Errorf("meant = %v, want %v", got, want)
	}
	if got := fmt.Sprint(common([]string{"/home/ann/a", "/home/anna/b"})); got != "/home" {
		t.Errorf("common = %s, want /home", got)
	}
}
