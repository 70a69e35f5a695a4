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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

var errDenied = fs.ErrPermission

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

// Two names of one file that were seen in different states are read each for
// itself.
func TestNamesSeenInDifferentStates(t *testing.T) {
	d, v := newDisk(), newVault()
	one := d.add("/a", &item{data: []byte("before"), Entry: catalog.Entry{Nlink: 2}})
	two := *one
	two.Folder, two.Name, two.data = "/", "b", []byte("after!")
	two.Ctime.Sec++
	d.items["/b"] = &two
	same(t, d, v, back(t, d, v, nil))
}

// The same content with holes and without is not the same data.
func TestRepetitionsWithHoles(t *testing.T) {
	d, v := newDisk(), newVault()
	data := noise(1, 500)
	sparse := func() *item {
		return &item{data: data, Entry: catalog.Entry{Holes: []catalog.Hole{{Offset: 0, Length: 4096}}}}
	}
	d.add("/a sparse", sparse())
	d.file("/b plain", append(make([]byte, 4096), data...))
	d.add("/c sparse", sparse())
	d.file("/d plain", append(make([]byte, 4096), data...))
	same(t, d, v, back(t, d, v, nil))
}

// What is unreadable and was something else before is not that any more.
func TestUnreadableOfAnotherType(t *testing.T) {
	d, v := newDisk(), newVault()
	d.file("/thing/inside", []byte("x"))
	first := back(t, d, v, nil)
	d.remove("/thing")
	d.file("/thing", []byte("a file now")).openErr = errDenied
	second := back(t, d, v, first)
	got := v.entries(t, second.Root)
	if e := got["/thing"]; e.Type != catalog.File || e.Flags != catalog.Unreadable || got["/thing/inside"] != nil {
		t.Errorf("/thing is %+v", e)
	}
}

// What cannot be looked at, and whose content the vault lost, has none.
func TestLostHereAndThere(t *testing.T) {
	d, v := newDisk(), newVault()
	d.file("/a/file", []byte("content"))
	first := back(t, d, v, nil)
	lost := v.entries(t, first.Root)["/a/file"].Extents[0].Ref.ID
	d.lost["/a"] = errDenied
	second := back(t, d, v, first, func(c *Config) { c.Renew = map[backup.ID]bool{lost: true} })
	if e := v.entries(t, second.Root)["/a/file"]; e.Flags != catalog.Unreadable || e.Size != 0 || e.Hash != emptyHash {
		t.Errorf("/a/file is %+v", e)
	}
	if _, ok := second.IDs[lost]; ok {
		t.Error("the catalog still needs what is lost")
	}
}

func TestHoles(t *testing.T) {
	holes := []catalog.Hole{{Offset: 10, Length: 5}, {Offset: 20, Length: 5}}
	for size, want := range map[uint64]string{5: "[]", 10: "[]", 12: "[{10 2}]", 15: "[{10 5}]", 23: "[{10 5} {20 3}]", 30: "[{10 5} {20 5}]"} {
		if got := fmt.Sprint(cutHoles(slices.Clone(holes), size)); got != want {
			t.Errorf("holes inside %d are %s, want %s", size, got, want)
		}
	}
	var many []catalog.Hole
	for i := range uint64(backup.MaxHoles + 100) {
		many = append(many, catalog.Hole{Offset: i * 20, Length: 1 + i%10})
	}
	kept := largestHoles(slices.Clone(many))
	least := kept[0].Length
	for i, h := range kept {
		least = min(least, h.Length)
		if i > 0 && kept[i-1].Offset >= h.Offset {
			t.Fatal("the holes kept are out of order")
		}
	}
	for _, h := range many {
		if h.Length > least && !slices.Contains(kept, h) {
			t.Errorf("hole %v was dropped for one of %d", h, least)
		}
	}
	if len(kept) != backup.MaxHoles {
		t.Errorf("%d holes kept", len(kept))
	}
	d, v := newDisk(), newVault()
	i := d.add("/full of holes", &item{data: noise(1, 300<<10), Entry: catalog.Entry{Holes: many}})
	r := back(t, d, v, nil)
	if e := v.entries(t, r.Root)["/full of holes"]; len(e.Holes) != backup.MaxHoles || !bytes.Equal(v.content(t, e), i.whole()) {
		t.Errorf("a file with many holes came back with %d of them", len(e.Holes))
	}
}

// slow is a vault that takes its time with pages, whatever becomes of the run.
type slow struct {
	*vault
	page func()       // when the first one comes
	open atomic.Int64 // pages under way
}

func (s *slow) Put(ctx context.Context, o backup.Object) error {
	if o.Kind != backup.Page {
		return s.vault.Put(ctx, o)
	}
	s.open.Add(1)
	defer s.open.Add(-1)
	s.page()
	time.Sleep(50 * time.Millisecond)
	return s.vault.Put(ctx, o)
}

// A run that was given up leaves nobody behind who writes into its Sink.
func TestNothingIsStoredAfterTheEnd(t *testing.T) {
	t.Parallel()
	d := newDisk()
	for i := range 5000 {
		d.file(fmt.Sprintf("/home/a file with quite a long name, so that pages fill %d", i), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &slow{vault: newVault(), page: cancel}
	cfg := config(d, s.vault)
	cfg.Sink = s
	_, err := Run(ctx, cfg)
	if n := s.open.Load(); n != 0 || !errors.Is(err, context.Canceled) || len(s.objects) == 0 {
		t.Errorf("Run = %v, and %d pages are still being stored, %d objects are", err, n, len(s.objects))
	}
}
