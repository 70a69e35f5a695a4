package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
)

var errDenied = fs.ErrPermission

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

func TestUnreadable(t *testing.T) {
	d, v := newDisk(), newVault()
	d.file("/a/known", []byte("known content"))
	d.file("/a/large", noise(1, 1<<20))
	d.file("/closed/in/it", []byte("kept"))
	d.file("/closed/too", []byte("kept too"))
	d.file("/gone/in/it", []byte("kept as well"))
	d.file("/z", []byte("z"))
	first := back(t, d, v, nil)

	d.file("/a/new", []byte("cannot be read")).openErr = errDenied
	d.items["/a/known"].openErr = errDenied
	d.touch(d.items["/a/known"])
	d.items["/a/large"].readErr = errors.New("the disk is broken here")
	d.touch(d.items["/a/large"])
	d.closed["/closed"] = errDenied
	d.lost["/gone"] = errDenied
	d.lost["/never/seen"] = errDenied
	second := back(t, d, v, first)
	got := v.entries(t, second.Root)
	for path, want := range map[string]string{
		"/a/known": "known content", "/closed/in/it": "kept", "/closed/too": "kept too", "/gone/in/it": "kept as well", "/a/new": "",
	} {
		e := got[path]
		if e == nil || e.Flags != catalog.Unreadable || string(v.content(t, e)) != want {
			t.Errorf("%s is %+v, want it marked unreadable with %q", path, e, want)
		}
	}
	if e := got["/a/large"]; e.Flags != catalog.Unreadable || len(v.content(t, e)) != 1<<20 {
		t.Errorf("/a/large is %+v", e)
	}
	if e := got["/closed"]; e.Flags != 0 {
		t.Errorf("the folder that could not be listed is itself %+v", e)
	}
	if e := got["/gone"]; e.Flags != catalog.Unreadable {
		t.Errorf("the folder that could not be looked at is %+v", e)
	}
	if got["/z"].Flags != 0 || got["/never/seen"] != nil {
		t.Error("something else was marked, or made up")
	}
	var paths []string
	for _, p := range second.Problems {
		paths = append(paths, p.Path)
	}
	if want := []string{"/gone", "/a/known", "/a/large", "/a/new", "/closed", "/never/seen"}; !slices.Equal(paths, want) || second.Errors != uint64(len(want)) {
		t.Errorf("problems with %q (%d), want %q", paths, second.Errors, want)
	}
	if second.Totals.Unreadable != 9 || second.Lost != 2 {
		t.Errorf("%d entries unreadable and %d unknown", second.Totals.Unreadable, second.Lost)
	}
	honest(t, v, second)

	// Still so, it stays so; readable again, it is read, although nothing changed.
	third := back(t, d, v, second)
	if third.Root != second.Root {
		t.Error("a second unreadable run changed the catalog")
	}
	clear(d.closed)
	clear(d.lost)
	for _, i := range d.items {
		i.openErr, i.readErr = nil, nil
	}
	same(t, d, v, back(t, d, v, third))
}

func TestVanishedIsNoProblem(t *testing.T) {
	d, v := newDisk(), newVault()
	home(d)
	cfg := config(d, v)
	d.remove("/home/ann/docs/2")
	d.remove("/home/ann/media/6")
	d.remove("/home/ann/link")
	r, err := Run(t.Context(), cfg)
	if err != nil || r.Errors != 0 {
		t.Fatalf("%v, %d problems %v", err, r.Errors, r.Problems)
	}
	// The folder itself was seen before; that it went is for the next run.
	same(t, d, v, back(t, d, v, r))
}

// A file that changes while it is read is read again; one that does so each
// time is marked (R14).
func TestTorn(t *testing.T) {
	for _, size := range []int{1000, 3 << 20} {
		d, v := newDisk(), newVault()
		d.file("/once", noise(1, size))
		d.file("/always", noise(2, size))
		d.file("/shrinks", noise(3, size))
		// Several goroutines read at once.
		var once, shrinks sync.Once
		d.onRead = func(path string) {
			switch path {
			case "/once":
				once.Do(func() { d.write(path, noise(4, size+10)) })
			case "/always":
				d.write(path, noise(5, size+20))
			case "/shrinks":
				shrinks.Do(func() { d.write(path, noise(6, 7)) })
			}
		}
		r := back(t, d, v, nil)
		got := v.entries(t, r.Root)
		if e := got["/once"]; e.Flags != 0 || !bytes.Equal(v.content(t, e), noise(4, size+10)) {
			t.Errorf("/once is %+v", e)
		}
		if e := got["/shrinks"]; e.Flags != 0 || !bytes.Equal(v.content(t, e), noise(6, 7)) {
			t.Errorf("/shrinks is %+v", e)
		}
		if e := got["/always"]; e.Flags != catalog.Torn || !bytes.Equal(v.content(t, e), noise(5, size+20)[:e.Size]) {
			t.Errorf("/always is %+v", e)
		}
		if d.opened["/always"] != 1 || r.Errors != 0 {
			t.Errorf("opened %v, problems %v", d.opened, r.Problems)
		}
		honest(t, v, r)
		d.onRead = nil
		same(t, d, v, back(t, d, v, r))
	}
}

// A small file that becomes large while it waits, and the reverse.
func TestSizeChangesBeforeReading(t *testing.T) {
	d, v := newDisk(), newVault()
	d.file("/grows", noise(1, 100))
	d.file("/shrinks", noise(2, 3<<20))
	d.file("/vanishes to nothing", noise(3, 100))
	cfg := config(d, v)
	d.write("/grows", noise(4, 5<<20))
	d.write("/shrinks", noise(5, 50))
	d.write("/vanishes to nothing", nil)
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	same(t, d, v, r)
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
	same(t, d, v, back(t, d, v, third))
	if len(d.opened) > 0 {
		t.Errorf("opened %v, want nothing", d.opened)
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

func TestStoreErrorEndsTheRun(t *testing.T) {
	for _, after := range []int{0, 1, 5} {
		d, v := newDisk(), newVault()
		home(d)
		v.fail, v.after = errors.New("the store is full"), after
		if _, err := Run(t.Context(), config(d, v)); !errors.Is(err, v.fail) {
			t.Errorf("after %d puts: %v, want %v", after, err, v.fail)
		}
	}
	d, v := newDisk(), newVault()
	home(d)
	first := back(t, d, v, nil)
	for id, o := range v.objects {
		if o.Kind == backup.Page {
			delete(v.objects, id)
		}
	}
	cfg := config(d, v)
	cfg.Previous = v.reader(first.Root)
	if _, err := Run(t.Context(), cfg); err == nil {
		t.Error("a run goes on although it cannot read the previous catalog")
	}
}

func TestCancel(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, when := range []string{"reading", "walking"} {
		d, v := newDisk(), newVault()
		home(d)
		ctx, cancel := context.WithCancel(t.Context())
		if when == "reading" {
			d.onRead = func(path string) {
				if path == "/home/ann/media/6" {
					cancel()
				}
			}
		} else {
			d.endless = make(chan struct{})
			time.AfterFunc(20*time.Millisecond, cancel)
		}
		if _, err := Run(ctx, config(d, v)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while %s: %v", when, err)
		}
		cancel()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
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

// What the vault has lost is made again: chunks by reading the files that need
// them, pages by sealing them.
func TestRenew(t *testing.T) {
	d, v := newDisk(), newVault()
	home(d)
	first := back(t, d, v, nil)
	root := first.Root
	lost := map[backup.ID]bool{root.ID: true}
	needs := map[string]bool{}
	for path, e := range v.entries(t, root) {
		if path == "/home/ann/docs/1/letter 070" || path == "/home/ann/media/6" {
			lost[e.Extents[0].Ref.ID] = true
		}
	}
	for path, e := range v.entries(t, root) {
		for _, x := range e.Extents {
			if lost[x.Ref.ID] {
				needs[path] = true
			}
		}
	}
	kept := maps.Clone(v.objects)
	for id := range lost {
		delete(kept, id)
	}
	clear(d.opened)
	v2 := &vault{objects: kept}
	second := back(t, d, v2, nil, func(c *Config) {
		c.Previous, c.Renew = v.reader(root), lost // the device still has the pages
	})
	same(t, d, v2, second)
	if got := slices.Sorted(maps.Keys(d.opened)); !slices.Equal(got, slices.Sorted(maps.Keys(needs))) {
		t.Errorf("opened %q, want %q", got, slices.Sorted(maps.Keys(needs)))
	}

	// What cannot be read any more is kept as far as it is there.
	d.items["/home/ann/media/6"].openErr = errDenied
	kept = maps.Clone(v.objects)
	for id := range lost {
		delete(kept, id)
	}
	v3 := &vault{objects: kept}
	third := back(t, d, v3, nil, func(c *Config) {
		c.Previous, c.Renew = v.reader(root), lost
	})
	honest(t, v3, third)
	if e := v3.entries(t, third.Root)["/home/ann/media/6"]; e.Flags != catalog.Unreadable || e.Size != 0 {
		t.Errorf("a file that is lost here and there is %+v", e)
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
