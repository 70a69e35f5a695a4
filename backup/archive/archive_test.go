package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
)

func TestEverythingComesBack(t *testing.T) {
	d, v := newDisk(), newVault()
	home(d)
	d.items["/home/ann/link"].attrs = []catalog.Attr{{Name: "user.small", Value: "x"}}
	d.items["/home/ann/media/3"].attrs = []catalog.Attr{{Name: "user.large", Value: strings.Repeat("x", 5000)}}
	r := back(t, d, v, nil)
	same(t, d, v, r)
	if r.New != r.Totals.Files || r.Changed != 0 || r.Errors != 0 {
		t.Errorf("%d new and %d changed of %d, %d errors", r.New, r.Changed, r.Totals.Files, r.Errors)
	}
	got := v.entries(t, r.Root)
	if a := got["/home/ann/link"].Attrs; len(a) != 1 || a[0].Value != "x" {
		t.Errorf("the small attribute is %v", a)
	}
	large := got["/home/ann/media/3"]
	if large.AttrsRef == nil || len(large.Attrs) > 0 {
		t.Fatalf("the large attribute is not apart: %v", large.Attrs)
	}
	err := v.fetch(t.Context(), backup.Attrs, []backup.Ref{*large.AttrsRef}, func(_ int, plain []byte) error {
		a, err := catalog.DecodeAttrs(plain)
		if len(a) != 1 || len(a[0].Value) != 5000 {
			t.Errorf("the large attribute is %v", a)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The same tree gives the same objects, whatever the timing and the number of
// workers.
func TestTimingChangesNothing(t *testing.T) {
	var want []backup.ID
	for i := range 4 {
		d, v := newDisk(), newVault()
		home(d)
		d.jitter = i > 0
		r := back(t, d, v, nil, func(c *Config) { c.Workers = 1 + i })
		ids := slices.SortedFunc(maps.Keys(r.IDs), func(a, b backup.ID) int { return bytes.Compare(a[:], b[:]) })
		if want == nil {
			want = ids
		}
		if !slices.Equal(ids, want) || len(v.objects) != len(want) {
			t.Errorf("run %d made %d objects for a catalog that needs %d, want the %d of the first", i, len(v.objects), len(ids), len(want))
		}
	}
}

func TestNothingChanged(t *testing.T) {
	d, v := newDisk(), newVault()
	home(d)
	first := back(t, d, v, nil)
	clear(d.opened)
	v.puts = 0
	second := back(t, d, v, first)
	if second.Root != first.Root || v.puts != 0 || len(d.opened) != 0 || second.New+second.Changed+second.Read != 0 {
		t.Errorf("root %v, %d puts, %d files opened, %d new, %d changed", second.Root == first.Root, v.puts, len(d.opened), second.New, second.Changed)
	}
	honest(t, v, second)
}

func TestOnlyWhatChangedIsRead(t *testing.T) {
	d, v := newDisk(), newVault()
	home(d)
	first := back(t, d, v, nil)
	clear(d.opened)
	d.write("/home/ann/docs/3/letter 170", []byte("rewritten"))
	d.write("/home/ann/media/6", noise(9, 8<<20))
	d.file("/home/ann/docs/3/letter 170b", []byte("new"))
	d.remove("/home/ann/docs/1")
	d.touch(d.items["/home/ann/docs/4/letter 222"]) // same content
	second := back(t, d, v, first)
	same(t, d, v, second)
	want := []string{"/home/ann/docs/3/letter 170", "/home/ann/docs/3/letter 170b", "/home/ann/docs/4/letter 222", "/home/ann/media/6"}
	if got := slices.Sorted(maps.Keys(d.opened)); !slices.Equal(got, want) {
		t.Errorf("opened %q, want %q", got, want)
	}
	if second.New != 1 || second.Changed != 3 {
		t.Errorf("%d new and %d changed, want 1 and 3", second.New, second.Changed)
	}
	old, new := v.entries(t, first.Root), v.entries(t, second.Root)
	if path := "/home/ann/docs/4/letter 222"; old[path].Extents[0] != new[path].Extents[0] {
		t.Error("a file whose content did not change was stored again")
	}
}

// A file that changed within a tick of the last run's beginning is not trusted.
func TestRecentFilesAreReadAgain(t *testing.T) {
	d, v := newDisk(), newVault()
	d.file("/old", []byte("old"))
	d.clock += 100
	began := d.clock
	d.file("/recent", []byte("1"))
	first := back(t, d, v, nil)
	clear(d.opened)
	d.items["/recent"].data = []byte("2") // within the tick: the times are the same
	second := back(t, d, v, first, func(c *Config) { c.Since = time.Unix(began, 0) })
	same(t, d, v, second)
	if len(d.opened) != 1 {
		t.Errorf("opened %v, want /recent alone", d.opened)
	}
}

func TestRootsThatAreNotWalkedAreCarried(t *testing.T) {
	d, v := newDisk(), newVault()
	for _, path := range []string{"/a/1", "/a/2", "/b/c/1", "/b/c/d/1", "/b/x", "/e/1", "/f"} {
		d.file(path, []byte(path))
	}
	first := back(t, d, v, nil)
	clear(d.opened)
	for _, path := range []string{"/a/1", "/b/c/1", "/b/c/d/1", "/b/x", "/e/1"} {
		d.remove(path)
	}
	d.write("/a/2", []byte("changed, not walked"))
	d.roots = []string{"/b/c"}
	second := back(t, d, v, first, func(c *Config) { c.Carried = []string{"/a", "/b"} })
	got := v.entries(t, second.Root)
	// Files of /b/c were walked and are gone, /e and /f are of no root.
	want := []string{"/a", "/a/1", "/a/2", "/b", "/b/c", "/b/c/d", "/b/x"}
	if paths := slices.Sorted(maps.Keys(got)); !slices.Equal(paths, want) {
		t.Errorf("the catalog has %q, want %q", paths, want)
	}
	if len(d.opened) > 0 || string(v.content(t, got["/a/2"])) != "/a/2" {
		t.Errorf("opened %v, /a/2 is %q", d.opened, v.content(t, got["/a/2"]))
	}
}

func TestHardLinksAreReadOnce(t *testing.T) {
	d, v := newDisk(), newVault()
	link := func(path string, first *item) {
		twin := *first
		d.items[path] = &twin
		d.items[path].Folder, d.items[path].Name = catalog.Split(path)
	}
	small := d.add("/a/small", &item{data: []byte("small"), Entry: catalog.Entry{Nlink: 3}})
	large := d.add("/a/large", &item{data: noise(1, 2<<20), Entry: catalog.Entry{Nlink: 2}})
	denied := d.add("/a/denied", &item{data: []byte("denied"), openErr: errDenied, Entry: catalog.Entry{Nlink: 2}})
	d.file("/b/x", nil)
	link("/b/small", small)
	link("/b/small too", small)
	link("/b/large", large)
	link("/b/denied", denied)
	r := back(t, d, v, nil)
	if d.opened["/a/small"] != 1 || d.opened["/a/large"] != 1 || len(d.opened) != 4 {
		t.Errorf("opened %v", d.opened)
	}
	got := v.entries(t, r.Root)
	for _, pair := range [][2]string{{"/a/small", "/b/small"}, {"/a/small", "/b/small too"}, {"/a/large", "/b/large"}} {
		a, b := *got[pair[0]], got[pair[1]]
		a.Folder, a.Name = b.Folder, b.Name
		if !a.Equal(b) {
			t.Errorf("%s is %+v, its other name %+v", pair[0], a, b)
		}
	}
	if r.Errors != 2 || got["/b/denied"].Flags != catalog.Unreadable {
		t.Errorf("problems %v", r.Problems)
	}
	denied.openErr = nil
	d.items["/b/denied"].openErr = nil
	second := back(t, d, v, r)
	same(t, d, v, second)

	// A fourth name: all have changed, and the content is read once.
	clear(d.opened)
	link("/c/small", small)
	d.add("/c/x", &item{})
	d.clock++
	for _, path := range []string{"/a/small", "/b/small", "/b/small too", "/c/small"} {
		d.items[path].Nlink, d.items[path].Ctime = 4, catalog.Time{Sec: d.clock}
	}
	third := back(t, d, v, second)
	same(t, d, v, third)
	if want := map[string]int{"/a/small": 1}; !maps.Equal(d.opened, want) {
		t.Errorf("opened %v, want %v", d.opened, want)
	}

	// All names unchanged but one, which is new to the backup.
	clear(d.opened)
	d.items["/b/new here"] = d.items["/b/small"]
	d.remove("/b/small")
	moved := *d.items["/b/new here"]
	moved.Name = "new here"
	d.items["/b/new here"] = &moved
	fourth := back(t, d, v, third)
	same(t, d, v, fourth)
	if len(d.opened) > 0 {
		t.Errorf("opened %v, want nothing", d.opened)
	}

	// The same, after the device was given another number.
	for _, i := range d.items {
		i.Dev = 99
	}
	moved.Dev, moved.Name = 99, "newer"
	d.items["/b/newer"] = &moved
	delete(d.items, "/b/new here")
	fifth := back(t, d, v, fourth)
	same(t, d, v, fifth)
	all := v.entries(t, fifth.Root)
	if len(d.opened) > 0 || all["/b/newer"].Dev != all["/a/small"].Dev {
		t.Errorf("opened %v; the names are on devices %d and %d", d.opened, all["/a/small"].Dev, all["/b/newer"].Dev)
	}
}

func TestRepetitionsAreStoredOnce(t *testing.T) {
	d, v := newDisk(), newVault()
	for i := range 50 {
		d.file(fmt.Sprintf("/small/%d", i), noise(1, 90_000))
		d.file(fmt.Sprintf("/large/%d", i), noise(2, 900_000))
	}
	r := back(t, d, v, nil)
	same(t, d, v, r)
	if len(v.objects) != 3 || v.puts != 3 {
		t.Errorf("%d objects in %d puts, want a bundle, a chunk and a page", len(v.objects), v.puts)
	}
}

// Bundles are cut as the format says: computed here by itself.
func TestBundlesFollowTheFormat(t *testing.T) {
	d, v := newDisk(), newVault()
	for i := range 150 {
		d.file(fmt.Sprintf("/%03d", i), noise(uint64(i), (i*7919)%200_000+1))
	}
	r := back(t, d, v, nil)
	same(t, d, v, r)
	got := v.entries(t, r.Root)
	c := chunk.NewChunker(secret)
	size, ended := 0, true
	var bundle backup.Ref
	for i := range 150 {
		e := got[fmt.Sprintf("/%03d", i)]
		n := int(e.Size)
		if size+n > 4194304 {
			ended = true
		}
		x := e.Extents[0]
		if ended != (x.Ref != bundle) || len(e.Extents) != 1 {
			t.Fatalf("file %d: a bundle of %d bytes ends %v, but the file's is new: %v", i, size, ended, x.Ref != bundle)
		}
		if ended {
			size, bundle = 0, x.Ref
		}
		if int(x.Offset) != size {
			t.Fatalf("file %d is at %d, want %d", i, x.Offset, size)
		}
		size += n
		ended = c.BundleEnds(e.Hash, n, size)
	}
}

// Few changed files among very many that are not: a bundle does not stay open
// over all of them, and nothing waits for ever.
func TestBundleEndsAfterManyEntries(t *testing.T) {
	d, v := newDisk(), newVault()
	const n = 2 * maxWaiting
	for i := range n {
		d.add(fmt.Sprintf("/%06d", i), &item{Entry: catalog.Entry{Type: catalog.Fifo}})
	}
	first := back(t, d, v, nil)
	d.file("/000000a", []byte("first"))
	d.file("/000000b", []byte("first too"))
	d.file("/050000a", []byte("middle"))
	d.file(fmt.Sprintf("/%06da", maxWaiting-3), []byte("just within"))
	second := back(t, d, v, first)
	same(t, d, v, second)
	got := v.entries(t, second.Root)
	a := got["/000000a"].Extents[0].Ref
	if got["/000000b"].Extents[0].Ref != a || got["/050000a"].Extents[0].Ref == a {
		t.Error("the bundle does not end where it should")
	}
	// The first file of the bundle is entry 1, so entry 32,768 stands within.
	if got[fmt.Sprintf("/%06da", maxWaiting-3)].Extents[0].Ref != a {
		t.Error("the bundle ends too soon")
	}
}

// A partial catalog is what is done so far, then the rest of the old one, and
// everything it needs is stored when it is offered.
func TestPartial(t *testing.T) {
	d, v := newDisk(), newVault()
	for i := range 1200 {
		d.file(fmt.Sprintf("/%02d/%04d", i/100, i), noise(uint64(i), 500))
	}
	first := back(t, d, v, nil)
	for i := 0; i < 1200; i += 3 {
		d.write(fmt.Sprintf("/%02d/%04d", i/100, i), noise(uint64(i)+1, 700))
	}
	d.remove("/11")
	old := v.entries(t, first.Root)
	partials := 0
	clock := time.Unix(0, 0)
	final := back(t, d, v, first, func(c *Config) {
		c.Interval = time.Minute
		c.Now = func() time.Time { clock = clock.Add(45 * time.Second); return clock }
		c.Partial = func(_ context.Context, r *Result) error {
			partials++
			honest(t, v, r)
			fresh := true
			for e, err := range v.reader(r.Root).All(t.Context()) {
				if err != nil {
					return err
				}
				if e.Type != catalog.File {
					continue
				}
				o := old[e.Path()]
				isOld := o.Equal(e)
				now := d.get(e.Path())
				isNew := now != nil && now.Mtime == e.Mtime
				if fresh && !isNew {
					fresh = false
				}
				if !fresh && !isOld {
					t.Errorf("partial %d: after the first old entry %s is new", partials, e.Path())
				}
			}
			return nil
		}
	})
	same(t, d, v, final)
	if partials < 2 {
		t.Errorf("%d partials, want some", partials)
	}

	// Without an old catalog it is a prefix.
	d2, v2 := newDisk(), newVault()
	home(d2)
	last := uint64(0)
	back(t, d2, v2, nil, func(c *Config) {
		c.Interval = 1
		c.Partial = func(_ context.Context, r *Result) error {
			honest(t, v2, r)
			if r.Totals.Entries < last {
				t.Error("a partial is shorter than the one before")
			}
			last = r.Totals.Entries
			return nil
		}
	})
	fails := errors.New("the commit failed")
	cfg := config(d2, v2)
	cfg.Interval, cfg.Partial = 1, func(context.Context, *Result) error { return fails }
	if _, err := Run(t.Context(), cfg); !errors.Is(err, fails) {
		t.Errorf("got %v, want %v", err, fails)
	}
}

func TestManyExtentsAreStoredApart(t *testing.T) {
	v := newVault()
	r := &run{Config: Config{Sink: v, Sealer: sealer, Secret: secret}, seals: make(chan struct{}, 1)}
	r.setDefaults()
	c := newCollector(r)
	c.ctx = t.Context()
	c.catalog = catalog.NewWriter(catalog.WriterConfig{Secret: secret, Seal: func(kind backup.Kind, plain []byte) (backup.Ref, error) {
		return r.seal(t.Context(), kind, plain)
	}})
	part := newPending()
	ref, err := r.seal(t.Context(), backup.Data, noise(1, 1000))
	if err != nil {
		t.Fatal(err)
	}
	part.ref = ref
	close(part.done)
	e := &catalog.Entry{Folder: "/", Name: "huge", Type: catalog.File}
	s := &slot{task: content, entry: e}
	for range 2*backup.MaxExtents + 5 {
		s.pieces = append(s.pieces, piece{part, 0, 1000})
		e.Size += 1000
	}
	if err := c.add(s); err != nil {
		t.Fatal(err)
	}
	if len(e.Lists) != 3 || len(e.Extents) != 0 {
		t.Fatalf("%d lists and %d extents", len(e.Lists), len(e.Extents))
	}
	first, err := c.finish(c.catalog)
	if err != nil {
		t.Fatal(err)
	}
	honest(t, v, first)
	if got := v.content(t, v.entries(t, first.Root)["/huge"]); uint64(len(got)) != e.Size {
		t.Errorf("%d bytes came back, want %d", len(got), e.Size)
	}

	// Carried over, its chunks are still known to be needed.
	d := newDisk()
	d.items["/huge"] = &item{Entry: *e}
	second := back(t, d, v, first)
	if second.Root != first.Root {
		t.Error("the entry was not carried over")
	}
	honest(t, v, second)
}

// A file that is left for later stays as it was backed up last, and says so;
// the one after that reads it.
func TestDeferred(t *testing.T) {
	d, v := newDisk(), newVault()
	mailbox, document := noise(1, 3*backup.MaxChunk), []byte("a letter")
	d.file("/home/mailbox", mailbox)
	d.file("/home/document", document)
	first := back(t, d, v, nil)
	large := func(c *Config) {
		c.Defer = func(e *catalog.Entry, _ bool) bool { return e.Size > backup.MaxChunk }
	}

	clear(d.opened)
	before := *d.items["/home/mailbox"]
	d.write("/home/mailbox", noise(2, 3*backup.MaxChunk))
	d.write("/home/document", []byte("another letter"))
	d.file("/home/film", noise(3, 2*backup.MaxChunk)) // new: there is nothing to stand for it
	second := back(t, d, v, first, large)
	if second.Deferred != 1 || d.opened["/home/mailbox"] > 0 || d.opened["/home/document"] == 0 || d.opened["/home/film"] == 0 {
		t.Errorf("%d deferred, opened %v; want the mailbox alone left for later", second.Deferred, d.opened)
	}
	got := v.entries(t, second.Root)["/home/mailbox"]
	if got.Flags != catalog.Deferred || got.Mtime != before.Mtime || !bytes.Equal(v.content(t, got), mailbox) {
		t.Errorf("the mailbox is %+v, want it as it was, marked", got)
	}
	honest(t, v, second)

	// Changed or not since: it is still not the newest.
	third := back(t, d, v, second, large)
	if got := v.entries(t, third.Root)["/home/mailbox"]; third.Deferred != 1 || got.Flags != catalog.Deferred {
		t.Errorf("the second time: %d deferred, %+v", third.Deferred, got)
	}
	fourth := back(t, d, v, third)
	same(t, d, v, fourth)
	if fourth.Deferred != 0 {
		t.Errorf("%d deferred where nothing is", fourth.Deferred)
	}
}

// What the server has lost is read again, however large.
func TestDeferredIsNotKeptFromRenewal(t *testing.T) {
	d, v := newDisk(), newVault()
	d.file("/mailbox", noise(1, 2*backup.MaxChunk))
	first := back(t, d, v, nil)
	id := v.entries(t, first.Root)["/mailbox"].Extents[0].Ref.ID
	d.write("/mailbox", noise(2, 2*backup.MaxChunk))
	second := back(t, d, v, first, func(c *Config) {
		c.Defer = func(*catalog.Entry, bool) bool { return true }
		c.Renew = map[backup.ID]bool{id: true}
	})
	same(t, d, v, second)
}

// What is kept stays as it was, whatever is found in its place: the files of
// another computer that are still to come.
func TestKept(t *testing.T) {
	d, v := newDisk(), newVault()
	for _, path := range []string{"/old/1", "/old/sub/2", "/new/3", "/new/4", "/new/5"} {
		d.file(path, []byte(path))
	}
	first := back(t, d, v, nil)
	clear(d.opened)
	for _, path := range []string{"/old/1", "/old/sub/2", "/new/3", "/new/5"} {
		d.remove(path)
	}
	d.write("/new/4", []byte("another one of this computer"))
	d.file("/new/5/in the way", []byte("of a file"))
	d.file("/new/6", []byte("of this computer"))
	d.roots = []string{"/new"}
	keep := map[string]bool{"/old": true, "/old/1": true, "/old/sub": true, "/old/sub/2": true, "/new/3": true, "/new/4": true, "/new/5": true}
	second := back(t, d, v, first, func(c *Config) {
		c.Walked = []string{"/new"}
		c.Keep = func(e *catalog.Entry) (bool, error) { return keep[e.Path()], nil }
	})
	got := v.entries(t, second.Root)
	want := []string{"/new", "/new/3", "/new/4", "/new/5", "/new/6", "/old", "/old/1", "/old/sub", "/old/sub/2"}
	if paths := slices.Sorted(maps.Keys(got)); !slices.Equal(paths, want) {
		t.Errorf("the catalog has %q, want %q", paths, want)
	}
	if s := string(v.content(t, got["/new/4"])); s != "/new/4" {
		t.Errorf("what is kept is %q", s)
	}
	if d.opened["/new/6"] != 1 || len(d.opened) != 1 {
		t.Errorf("opened %v, want only what is of this computer", d.opened)
	}
	honest(t, v, second)

	// Once it is back, what is found counts.
	third := back(t, d, v, second, func(c *Config) { c.Walked = []string{"/new"} })
	if paths, want := slices.Sorted(maps.Keys(v.entries(t, third.Root))), []string{"/new", "/new/4", "/new/5", "/new/5/in the way", "/new/6"}; !slices.Equal(paths, want) {
		t.Errorf("afterwards the catalog has %q, want %q", paths, want)
	}
	broken := errors.New("broken")
	cfg := config(d, v)
	cfg.Previous, cfg.Keep = v.reader(second.Root), func(*catalog.Entry) (bool, error) { return false, broken }
	if _, err := Run(t.Context(), cfg); !errors.Is(err, broken) {
		t.Errorf("a failure to know what is kept: %v", err)
	}
}

// hints are of a walk that passes over these folders.
type hints struct {
	over            []string
	gone, unsettled []string
}

func (h *hints) Whole() bool                 { return false }
func (h *hints) Unlisted(folder string) bool { return slices.Contains(h.over, folder) }
func (h *hints) Gone(folder string)          { h.gone = append(h.gone, folder) }
func (h *hints) Unsettled(folder string)     { h.unsettled = append(h.unsettled, folder) }

// backHinted makes a backup by a walk that passes over folders.
func backHinted(t *testing.T, d *disk, v *vault, previous *Result, over ...string) (*Result, *hints) {
	t.Helper()
	h := &hints{over: over}
	r := back(t, d, v, previous, func(c *Config) {
		w := d.walk()
		w.items = slices.DeleteFunc(w.items, func(i Item) bool { return i.Entry != nil && slices.Contains(over, i.Entry.Folder) })
		c.Source, c.Hints = w, h
	})
	honest(t, v, r)
	return r, h
}

// What a walk passes over is as it was, unless the folder it lies in has gone.
func TestWhatWasPassedOverIsCarried(t *testing.T) {
	d, v := newDisk(), newVault()
	for _, path := range []string{"/a/1", "/a/b/2", "/c/d/3", "/e/4", "/top"} {
		d.file(path, []byte(path))
	}
	first := back(t, d, v, nil)
	clear(d.opened)
	d.write("/top", []byte("other"))
	d.remove("/c")
	second, h := backHinted(t, d, v, first, "/a", "/a/b", "/c", "/c/d", "/e")
	same(t, d, v, second)
	if !slices.Equal(h.gone, []string{"/c", "/c/d"}) || len(d.opened) != 1 {
		t.Errorf("gone %v, opened %v", h.gone, d.opened)
	}

	// A folder that vanishes between being found and being looked at takes with it
	// what was passed over.
	d.touch(d.items["/a"])
	d.items["/a"].attrErr = fs.ErrNotExist
	third, h := backHinted(t, d, v, second, "/a", "/a/b", "/e")
	for path := range v.entries(t, third.Root) {
		if catalog.Inside("/a", path) {
			t.Errorf("%s is there, in a folder that is not", path)
		}
	}
	if !slices.Equal(h.gone, []string{"/a", "/a/b"}) {
		t.Errorf("gone %v", h.gone)
	}
}

// Also when the walk is long through, and what is left is to read a few large
// files, each of which takes its time. Here each waits for a partial catalog of
// those before it.
func TestPartialBetweenLargeFiles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, v := newDisk(), newVault()
	const files = 6
	for i := range files {
		d.file(fmt.Sprint("/", i), noise(uint64(i), 300_000))
	}
	made := 0
	mayRead := make([]chan struct{}, files+1)
	for i := range mayRead {
		mayRead[i] = make(chan struct{})
	}
	close(mayRead[0])
	d.onRead = func(path string) {
		select {
		case <-mayRead[path[1]-'0']:
		case <-ctx.Done():
		}
	}
	cfg := config(d, v)
	cfg.Interval, cfg.Partial = 1, func(_ context.Context, r *Result) error {
		made++
		for i := range r.Totals.Files {
			if next := mayRead[i+1]; !closed(next) {
				close(next)
			}
		}
		return nil
	}
	if _, err := Run(ctx, cfg); err != nil {
		t.Errorf("the run got stuck behind %d partial catalogs: %v", made, err)
	}
	if ctx.Err() != nil || made < files-1 {
		t.Errorf("%d partial catalogs of %d files", made, files)
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// When partial catalogs are made of a run that lasts for an hour.
func TestPartialAfter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		soon bool
		want string
	}{
		{false, "[10m0s 20m0s 30m0s 40m0s 50m0s]"},
		{true, "[1m0s 2m0s 4m0s 8m0s 16m0s 26m0s 36m0s 46m0s 56m0s]"},
	} {
		c := Config{Interval: 10 * time.Minute, Soon: test.soon}
		var made []time.Duration
		last := time.Duration(0)
		for at := time.Duration(0); at < time.Hour; at += time.Second {
			if at-last >= c.partialAfter(last) {
				last = at
				made = append(made, at)
			}
		}
		if fmt.Sprint(made) != test.want {
			t.Errorf("soon %v: at %v, want %s", test.soon, made, test.want)
		}
	}
}
