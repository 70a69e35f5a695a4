package restore

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

// linked is a file with four names, and a link, a FIFO and one like it that is
// not the same file.
func linked(t *testing.T) *tree {
	b := newTree(t)
	for _, p := range []string{"/a", "/a/sub", "/b"} {
		b.folder(p)
	}
	group := b.content(catalog.Entry{Type: catalog.File, Mode: 0o640, Nlink: 4, Ino: 10, Dev: 1}, []byte("content"))
	for _, p := range []string{"/a/1", "/a/sub/2", "/b/3", "/4"} {
		b.add(p, group)
	}
	alike := group
	alike.Ino = 11
	b.add("/a/0", alike)
	link := catalog.Entry{Type: catalog.Symlink, Target: "nowhere", Nlink: 2, Ino: 12, Dev: 1}
	b.add("/a/link", link)
	b.add("/b/link", link)
	fifo := catalog.Entry{Type: catalog.Fifo, Mode: 0o600, Nlink: 2, Ino: 13, Dev: 1}
	b.add("/a/fifo", fifo)
	b.add("/b/fifo", fifo)
	return b
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Lstat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Lstat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// R19: names of one file are one file again, also when only some are restored,
// and when it is done twice.
func TestHardLinks(t *testing.T) {
	t.Parallel()
	c := linked(t).done()
	for _, paths := range [][]string{nil, {"/a/sub/2", "/b"}, {"/b/3", "/4"}, {"/b/3"}} {
		target := t.TempDir()
		res := mustRun(t, Config{Catalog: c, Target: target, Paths: paths})
		var got []string
		for _, p := range []string{"/a/1", "/a/sub/2", "/b/3", "/4"} {
			if _, err := os.Lstat(target + p); err == nil {
				got = append(got, p)
				if !sameFile(t, target+p, target+got[0]) || content(t, target+p) != "content" {
					t.Errorf("%v: %s is not %s", paths, p, got[0])
				}
			}
		}
		if slices.Contains(got, "/a/1") {
			if sameFile(t, target+"/a/0", target+"/a/1") {
				t.Error("a file with the same content became the same file")
			}
			if !sameFile(t, target+"/a/link", target+"/b/link") || !sameFile(t, target+"/a/fifo", target+"/b/fifo") {
				t.Error("a link or FIFO of two names became two")
			}
		}
		again := mustRun(t, Config{Catalog: c, Target: target, Paths: paths})
		if again.Progress != res.Progress || again.Kept != again.Files+again.Others {
			t.Errorf("%v, repeated: %+v with %d kept, want all of %+v", paths, again.Progress, again.Kept, res.Progress)
		}
	}
}

// Something else at the place of a name is moved aside; the same content in
// another file is not the same file.
func TestHardLinkInTheWay(t *testing.T) {
	t.Parallel()
	c := linked(t).done()
	target := t.TempDir()
	write(t, target+"/b/3", "content")
	write(t, target+"/a/sub/2/inner", "mine")
	res, err := Run(t.Context(), Config{Catalog: c, Target: target, Now: now})
	if err != nil || res.Progress.Failed > 0 || res.RenamedCount != 2 {
		t.Fatal(err, res.Failed, res.Renamed)
	}
	if !sameFile(t, target+"/b/3", target+"/4") || !sameFile(t, target+"/a/sub/2", target+"/4") {
		t.Error("not linked")
	}
	if content(t, target+"/b/3"+before) != "content" || content(t, target+"/a/sub/2"+before+"/inner") != "mine" {
		t.Error("what was in the way is gone")
	}
}

// When the content is lost, all names fail, and each is reported.
func TestHardLinksOfALostFile(t *testing.T) {
	t.Parallel()
	b := linked(t)
	c := b.done()
	e, err := c.Lookup(t.Context(), "/4")
	if err != nil {
		t.Fatal(err)
	}
	b.store.sealed[e.Extents[0].Ref.ID] = nil
	res, err := Run(t.Context(), Config{Catalog: c, Target: t.TempDir()})
	var failed []string
	for _, p := range res.Failed {
		failed = append(failed, p.Path)
	}
	slices.Sort(failed)
	if want := []string{"/4", "/a/0", "/a/1", "/a/sub/2", "/b/3"}; err != nil || !slices.Equal(failed, want) {
		t.Errorf("failed %v, %v; want %v", failed, err, want)
	}
}

// A file of more extents than an entry holds, and one whose lists lie.
func TestListsOfExtents(t *testing.T) {
	t.Parallel()
	b := newTree(t)
	var whole strings.Builder
	var refs []backup.Ref
	for range 3 {
		var extents []catalog.Extent
		plain := strings.Repeat("0123456789", 100)
		ref := b.seal([]byte(plain))
		for i := range 990 {
			extents = append(extents, catalog.Extent{Ref: ref, Offset: uint32(i), Length: 7})
			whole.WriteString(plain[i : i+7])
		}
		list, err := b.store.seal(backup.Extents, catalog.EncodeExtents(extents))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, list)
	}
	e := b.content(catalog.Entry{Type: catalog.File, Mode: 0o644}, []byte(whole.String()))
	e.Extents, e.Lists = nil, refs
	b.add("/lists", e)
	short := e
	short.Lists = refs[:2]
	b.add("/short", short)
	long := e
	long.Size -= 7
	b.add("/long", long)
	target := t.TempDir()
	res, err := Run(t.Context(), Config{Catalog: b.done(), Target: target})
	if err != nil || res.Progress.Failed != 2 || res.Files != 1 {
		t.Errorf("%v, failed %v", err, res.Failed)
	}
	if content(t, target+"/lists") != whole.String() {
		t.Error("other content")
	}
	if got := list(t, target); len(got) != 1 {
		t.Errorf("the target holds %v", got)
	}
}
