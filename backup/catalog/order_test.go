package catalog

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCompareByExample(t *testing.T) {
	// In catalog order: a folder's children together, before those of its
	// sub-folders; names by their bytes, also those below the slash's.
	order := []string{"/a", "/a b", "/a!", "/b", "/é", "/a/x", "/a/z", "/a/x/1", "/a/x/1/2", "/a/x!/1", "/a b/0", "/a!/0", "/b/0"}
	for i, a := range order {
		for j, b := range order {
			if got := ComparePaths(a, b); got != cmp.Compare(i, j) {
				t.Errorf("ComparePaths(%q, %q) = %d", a, b, got)
			}
		}
	}
}

// Compare is the order of the definition: component by component.
func TestCompareIsTheDefinition(t *testing.T) {
	name := rapid.StringMatching(`[!a]{1,2}`)
	path := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(name, 1, 4).Draw(t, "names"), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := path.Draw(t, "a"), path.Draw(t, "b")
		namesA, namesB := strings.Split(a[1:], "/"), strings.Split(b[1:], "/")
		want := slices.Compare(namesA[:len(namesA)-1], namesB[:len(namesB)-1])
		if want == 0 {
			want = cmp.Compare(namesA[len(namesA)-1], namesB[len(namesB)-1])
		}
		if got := ComparePaths(a, b); got != want {
			t.Fatalf("ComparePaths(%q, %q) = %d, want %d", a, b, got, want)
		}
		folder, name := Split(a)
		if got := Join(folder, name); got != a {
			t.Fatalf("Join(Split(%q)) = %q", a, got)
		}
	})
}

func TestInside(t *testing.T) {
	for _, test := range []struct {
		folder, path string
		want         bool
	}{
		{"/a", "/a", true}, {"/a", "/a/b", true}, {"/a", "/ab", false}, {"/a/b", "/a", false}, {"/", "/x", true},
	} {
		if got := Inside(test.folder, test.path); got != test.want {
			t.Errorf("Inside(%q, %q) = %v", test.folder, test.path, got)
		}
	}
}

func TestOutermost(t *testing.T) {
	for _, test := range []struct{ paths, want []string }{
		{nil, nil},
		{[]string{"/a", "/a"}, []string{"/a"}},
		{[]string{"/a/b", "/a b", "/a/b/c", "/a"}, []string{"/a", "/a b"}},
		{[]string{"/b", "/a/b/c", "/ab", "/a/b"}, []string{"/a/b", "/ab", "/b"}},
		{[]string{"/a", "/"}, []string{"/"}},
	} {
		given := slices.Clone(test.paths)
		if got := Outermost(given); !slices.Equal(got, test.want) || !slices.Equal(given, test.paths) {
			t.Errorf("Outermost(%q) = %q, want %q", test.paths, got, test.want)
		}
	}
}
