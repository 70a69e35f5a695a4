package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
)

// disk is a tree of files in memory, whose failures are at the test's will.
type disk struct {
	mu      sync.Mutex
	items   map[string]*item
	lost    map[string]error // paths that cannot be looked at
	closed  map[string]error // folders that cannot be listed
	opened  map[string]int
	inodes  uint64
	clock   int64
	jitter  bool
	onRead  func(path string) // before each read
	roots   []string          // that are walked
	endless chan struct{}     // when set, Next hangs here at the end
}

type item struct {
	catalog.Entry
	data    []byte // without holes
	openErr error
	readErr error
	attrs   []catalog.Attr
	attrErr error
}

func newDisk() *disk {
	return &disk{items: map[string]*item{}, lost: map[string]error{}, closed: map[string]error{}, opened: map[string]int{},
		clock: 1e9, roots: []string{"/"}}
}

// add puts an item on the disk, and the folders above it.
func (d *disk) add(path string, i *item) *item {
	d.mu.Lock()
	defer d.mu.Unlock()
	folder, name := catalog.Split(path)
	for f := folder; f != "/" && d.items[f] == nil; {
		up, base := catalog.Split(f)
		d.items[f] = &item{Entry: catalog.Entry{Folder: up, Name: base, Type: catalog.Folder, Mode: 0o755, Ino: d.ino(), Nlink: 2}}
		f = up
	}
	i.Folder, i.Name = folder, name
	if i.Type == 0 {
		i.Type = catalog.File
	}
	if i.Ino == 0 {
		i.Ino = d.ino()
	}
	if i.Nlink == 0 {
		i.Nlink = 1
	}
	i.Size = uint64(len(i.data))
	for _, h := range i.Holes {
		i.Size += h.Length
	}
	d.touch(i)
	d.items[path] = i
	return i
}

func (d *disk) ino() uint64 { d.inodes++; return d.inodes }

// touch moves an item's times on.
func (d *disk) touch(i *item) {
	d.clock++
	i.Mtime, i.Ctime = catalog.Time{Sec: d.clock}, catalog.Time{Sec: d.clock}
}

func (d *disk) file(path string, data []byte) *item { return d.add(path, &item{data: data}) }

// write changes a file's content.
func (d *disk) write(path string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := *d.items[path]
	i.data, i.Size = data, uint64(len(data))
	d.touch(&i)
	d.items[path] = &i
}

func (d *disk) remove(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.items {
		if catalog.Inside(path, p) {
			delete(d.items, p)
		}
	}
}

// walk is one walk of the disk: a Source.
type walk struct {
	d     *disk
	items []Item
}

func (d *disk) walk() *walk {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &walk{d: d}
	hidden := func(path string) bool {
		for p := range d.lost {
			if catalog.Inside(p, path) {
				return true
			}
		}
		for p := range d.closed {
			if p != path && catalog.Inside(p, path) {
				return true
			}
		}
		return false
	}
	for path, i := range d.items {
		if !hidden(path) && (inside(d.roots, path) || above(d.roots, path)) {
			e := i.Entry
			e.Owner, e.Group, e.Target, e.Holes = "", "", "", nil
			w.items = append(w.items, Item{Entry: &e})
		}
	}
	for path, err := range d.lost {
		w.items = append(w.items, Item{Path: path, Err: err})
	}
	for path, err := range d.closed {
		w.items = append(w.items, Item{Path: path, Listing: true, Err: err})
	}
	slices.SortFunc(w.items, func(a, b Item) int {
		fa, na := a.place()
		fb, nb := b.place()
		return catalog.Compare(fa, na, fb, nb)
	})
	return w
}

func (i *Item) place() (folder, name string) {
	switch {
	case i.Entry != nil:
		return i.Entry.Folder, i.Entry.Name
	case i.Listing:
		return i.Path, ""
	}
	return catalog.Split(i.Path)
}

func (w *walk) Next(ctx context.Context) (Item, error) {
	if len(w.items) == 0 {
		if w.d.endless != nil {
			<-ctx.Done()
			return Item{}, context.Cause(ctx)
		}
		return Item{}, io.EOF
	}
	i := w.items[0]
	w.items = w.items[1:]
	return i, nil
}

func (w *walk) Complete(e *catalog.Entry) error {
	i := w.d.get(e.Path())
	if i == nil {
		return fs.ErrNotExist
	}
	return i.complete(e)
}

func (i *item) complete(e *catalog.Entry) error {
	e.Owner, e.Group, e.Target = "ann", "users", i.Target
	e.Attrs = i.attrs
	return i.attrErr
}

func (d *disk) get(path string) *item {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.items[path]
}

func (w *walk) Open(e *catalog.Entry) (File, error) {
	path := e.Path()
	i := w.d.get(path)
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	w.d.mu.Lock()
	w.d.opened[path]++
	w.d.mu.Unlock()
	if i.openErr != nil {
		return nil, i.openErr
	}
	return &open{w.d, path}, nil
}

type open struct {
	d    *disk
	path string
}

func (o *open) Close() error { return nil }

func (o *open) Stat(e *catalog.Entry) error {
	i := o.d.get(o.path)
	now := i.Entry
	now.Holes = nil
	now.Flags, now.Owner, now.Group = e.Flags, e.Owner, e.Group
	*e = now
	return nil
}

func (o *open) Complete(e *catalog.Entry) error { return o.d.get(o.path).complete(e) }

func (o *open) Holes(size uint64) ([]catalog.Hole, error) {
	return slices.Clone(o.d.get(o.path).Holes), nil
}

func (o *open) ReadAt(p []byte, off int64) (int, error) {
	if o.d.onRead != nil {
		o.d.onRead(o.path)
	}
	if o.d.jitter {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
	i := o.d.get(o.path)
	if i.readErr != nil {
		return 0, i.readErr
	}
	all := i.whole()
	if off >= int64(len(all)) {
		return 0, io.EOF
	}
	n := copy(p, all[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// whole is the content with the holes as zeros.
func (i *item) whole() []byte {
	if len(i.Holes) == 0 {
		return i.data
	}
	all := make([]byte, 0, i.Size)
	data := i.data
	for _, h := range i.Holes {
		n := int(h.Offset) - len(all)
		all = append(all, data[:n]...)
		data = data[n:]
		all = append(all, make([]byte, h.Length)...)
	}
	return append(all, data...)
}

// vault is a Sink that keeps everything.
type vault struct {
	mu      sync.Mutex
	objects map[backup.ID]backup.Object
	puts    int
	fail    error
	after   int // puts until fail
}

func newVault() *vault { return &vault{objects: map[backup.ID]backup.Object{}} }

func (v *vault) Put(_ context.Context, o backup.Object) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		if v.after--; v.after < 0 {
			return v.fail
		}
	}
	v.puts++
	if _, ok := v.objects[o.Ref.ID]; !ok {
		o.Sealed = slices.Clone(o.Sealed)
		v.objects[o.Ref.ID] = o
	}
	return nil
}

var (
	user   = backup.UUID{1}
	secret = backup.Key{2}
	sealer = crypt.NewSealer(backup.Key{3}, user, crypt.Profile1)
)

func (v *vault) fetch(_ context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
	for i, ref := range refs {
		v.mu.Lock()
		o, ok := v.objects[ref.ID]
		v.mu.Unlock()
		if !ok {
			return fmt.Errorf("object %s is not in the vault", ref.ID)
		}
		plain, err := crypt.Open(nil, user, kind, ref, o.Sealed)
		if err != nil {
			return err
		}
		if err := each(i, plain); err != nil {
			return err
		}
	}
	return nil
}

func (v *vault) reader(root backup.Ref) *catalog.Reader { return catalog.NewReader(root, v.fetch) }

// config is a run of d into v.
func config(d *disk, v *vault) Config {
	return Config{Source: d.walk(), Sink: v, Sealer: sealer, Secret: secret, Walked: d.roots}
}

// back makes a backup; previous may be nil.
func back(t testing.TB, d *disk, v *vault, previous *Result, edit ...func(*Config)) *Result {
	t.Helper()
	cfg := config(d, v)
	if previous != nil {
		cfg.Previous = v.reader(previous.Root)
	}
	for _, f := range edit {
		f(&cfg)
	}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// entries reads a catalog.
func (v *vault) entries(t testing.TB, root backup.Ref) map[string]*catalog.Entry {
	t.Helper()
	all := map[string]*catalog.Entry{}
	for e, err := range v.reader(root).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[e.Path()] = e
	}
	return all
}

// content reads a file back, by its extents and holes.
func (v *vault) content(t testing.TB, e *catalog.Entry) []byte {
	t.Helper()
	extents := e.Extents
	if len(e.Lists) > 0 {
		lists := make([][]catalog.Extent, len(e.Lists))
		err := v.fetch(t.Context(), backup.Extents, e.Lists, func(i int, plain []byte) (err error) {
			lists[i], err = catalog.DecodeExtents(plain)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		extents = slices.Concat(lists...)
	}
	var data []byte
	for _, x := range extents {
		err := v.fetch(t.Context(), backup.Data, []backup.Ref{x.Ref}, func(_ int, plain []byte) error {
			data = append(data, plain[x.Offset:x.Offset+x.Length]...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	i := item{Entry: *e, data: data}
	return i.whole()
}

// same checks that the snapshot is the disk as it is now.
func same(t testing.TB, d *disk, v *vault, r *Result) {
	t.Helper()
	got := v.entries(t, r.Root)
	for path, i := range d.items {
		e := got[path]
		delete(got, path)
		if e == nil {
			t.Errorf("%s is missing", path)
			continue
		}
		if e.Type != i.Type || e.Mtime != i.Mtime || e.Flags != 0 || e.Size != i.Size && i.Type == catalog.File || e.Target != i.Target {
			t.Errorf("%s is %+v, want %+v", path, e, i.Entry)
		}
		if i.Type != catalog.File {
			continue
		}
		data := i.whole()
		if e.Hash != sha256.Sum256(data) {
			t.Errorf("%s: wrong hash", path)
		}
		if !slices.Equal(v.content(t, e), data) {
			t.Errorf("%s: wrong content", path)
		}
	}
	for path := range got {
		t.Errorf("%s is there and should not", path)
	}
	honest(t, v, r)
}

// honest checks that the result's ids are what the catalog needs, and all there.
func honest(t testing.TB, v *vault, r *Result) {
	t.Helper()
	ids := map[backup.ID]bool{}
	err := v.reader(r.Root).Objects(t.Context(), func(_ backup.Kind, ref backup.Ref) error {
		ids[ref.ID] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != len(r.IDs) {
		t.Errorf("the result lists %d objects, the catalog needs %d", len(r.IDs), len(ids))
	}
	v.mu.Lock() // a partial comes while others put
	defer v.mu.Unlock()
	for id := range ids {
		if _, ok := r.IDs[id]; !ok {
			t.Errorf("object %s is not in the result", id)
		}
		if _, ok := v.objects[id]; !ok {
			t.Errorf("object %s was not put", id)
		}
	}
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// home fills the disk with files of all sizes.
func home(d *disk) {
	for i := range 250 {
		d.file(fmt.Sprintf("/home/ann/docs/%d/letter %03d", i/50, i), noise(uint64(i), i*53))
	}
	for i, size := range []int{0, 1, backup.MinChunk - 1, backup.MinChunk, backup.MinChunk + 1, backup.MaxChunk + 1, 6 << 20} {
		d.file(fmt.Sprintf("/home/ann/media/%d", i), noise(1000+uint64(i), size))
	}
	d.file("/home/ann/zeros", make([]byte, 5<<20))
	d.add("/home/ann/link", &item{Entry: catalog.Entry{Type: catalog.Symlink, Target: "docs"}})
	d.add("/home/ann/pipe", &item{Entry: catalog.Entry{Type: catalog.Fifo}})
	d.add("/home/ann/sparse", &item{data: noise(7, 700<<10), Entry: catalog.Entry{Holes: []catalog.Hole{{Offset: 0, Length: 1 << 20}, {Offset: 1<<20 + 300<<10, Length: 5 << 20}}}})
	d.add("/home/ann/small sparse", &item{data: noise(8, 3000), Entry: catalog.Entry{Holes: []catalog.Hole{{Offset: 1000, Length: 9000}}}})
	d.add("/home/ann/all hole", &item{Entry: catalog.Entry{Holes: []catalog.Hole{{Offset: 0, Length: 3 << 20}}}})
	d.add("/home/ann/small hole", &item{Entry: catalog.Entry{Holes: []catalog.Hole{{Offset: 0, Length: 3 << 10}}}})
}
