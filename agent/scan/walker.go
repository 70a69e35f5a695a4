package scan

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
)

const (
	listers  = 2        // goroutines that list folders
	maxAhead = 16 << 10 // items that wait to be taken
	batch    = 1 << 10
)

// walker lists folders side by side and gives their items in order.
//
// It keeps a chain of folders in the order in which their children stand in
// the catalog. A folder's sub-folders are put behind it as soon as they are
// known. The listers take the first folder that nobody has taken; the consumer
// goes along the chain. When much is waiting, only the folder that the consumer
// stands at is listed further. It always is: whoever put it into the chain was
// free to take it then, and took nothing that comes later.
type walker struct {
	w        *Walk
	maxAhead int
	batch    int

	mu      sync.Mutex
	changed sync.Cond
	head    *folder // where the consumer stands
	first   *folder // the first that nobody lists yet, or nil
	ahead   int     // items found and not taken
	stopped bool
	running sync.WaitGroup
}

// folder is a link of the chain.
type folder struct {
	path    string // in the catalog's form
	seen    identity
	above   uint64   // device of the folder it is in
	only    []string // names on the way to roots; nil: all
	next    *folder
	taken   bool
	done    bool
	found   [][]archive.Item
	waiting int // items in found
}

// identity is what an item was when it was looked at. The topmost folder has
// none.
type identity struct {
	known    bool
	dev, ino uint64
	kind     catalog.Type
}

func identify(e *catalog.Entry) identity { return identity{true, e.Dev, e.Ino, e.Type} }

// is reports whether e, which was opened, is what was looked at.
func (id identity) is(e *catalog.Entry) bool {
	return !id.known || id.dev == e.Dev && id.ino == e.Ino && id.kind == e.Type
}

func startWalker(w *Walk) *walker {
	wk := &walker{w: w, maxAhead: w.cfg.maxAhead, batch: w.cfg.batch}
	wk.changed.L = &wk.mu
	if len(w.roots) > 0 {
		wk.head = wk.top()
		wk.first = wk.head
	}
	for range listers {
		wk.running.Go(wk.listAll)
	}
	return wk
}

func (wk *walker) stop() {
	wk.mu.Lock()
	wk.stopped = true
	wk.changed.Broadcast()
	wk.mu.Unlock()
	wk.running.Wait()
}

// top is the root folder, with the first names of the roots.
func (wk *walker) top() *folder {
	f := &folder{path: "/"}
	if wk.w.roots[0] != "/" {
		f.only = wk.way("/")
	}
	return f
}

// way returns the names in a folder that lead to roots, nil for none.
func (wk *walker) way(path string) []string {
	var names []string
	for _, root := range wk.w.roots {
		if root != path && catalog.Inside(path, root) {
			below := strings.TrimPrefix(strings.TrimPrefix(root, path), "/")
			name, _, _ := strings.Cut(below, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// take returns items, some at least, and io.EOF at the end.
func (wk *walker) take(ctx context.Context) ([]archive.Item, error) {
	stop := context.AfterFunc(ctx, func() {
		wk.mu.Lock()
		defer wk.mu.Unlock()
		wk.changed.Broadcast()
	})
	defer stop()
	wk.mu.Lock()
	defer wk.mu.Unlock()
	for {
		if items := wk.collect(); len(items) > 0 {
			wk.ahead -= len(items)
			wk.changed.Broadcast()
			return items, nil
		}
		if wk.head == nil {
			return nil, io.EOF
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if wk.stopped {
			return nil, errors.New("the walk was closed")
		}
		wk.changed.Wait()
	}
}

// collect goes along the chain as far as folders are listed, or until there is
// a batch.
func (wk *walker) collect() []archive.Item {
	var items []archive.Item
	for wk.head != nil && len(items) < wk.batch {
		for _, found := range wk.head.found {
			if items == nil {
				items = found
			} else {
				items = append(items, found...)
			}
		}
		wk.head.found, wk.head.waiting = nil, 0
		if !wk.head.done {
			break
		}
		wk.head = wk.head.next
		wk.changed.Broadcast()
	}
	return items
}

// listAll is what a lister does.
func (wk *walker) listAll() {
	wk.mu.Lock()
	defer wk.mu.Unlock()
	for !wk.stopped {
		f := wk.first
		if f == nil || wk.ahead >= wk.maxAhead && f != wk.head {
			if wk.head == nil {
				return
			}
			wk.changed.Wait()
			continue
		}
		f.taken = true
		wk.advance()
		wk.mu.Unlock()
		children := wk.list(f)
		wk.mu.Lock()
		wk.finish(f, children)
	}
}

// advance moves first to the next folder that nobody lists.
func (wk *walker) advance() {
	for wk.first != nil && wk.first.taken {
		wk.first = wk.first.next
	}
}

// finish puts a listed folder's sub-folders behind it.
func (wk *walker) finish(f *folder, children []*folder) {
	f.done = true
	if len(children) > 0 {
		for i := 1; i < len(children); i++ {
			children[i-1].next = children[i]
		}
		children[len(children)-1].next = f.next
		f.next = children[0]
		if wk.first == nil || catalog.Compare(children[0].path, "", wk.first.path, "") < 0 {
			wk.first = children[0]
		}
	}
	wk.changed.Broadcast()
}

// found hands over items of f, and waits while there is too much of them.
func (wk *walker) found(f *folder, items []archive.Item) (goOn bool) {
	wk.mu.Lock()
	defer wk.mu.Unlock()
	f.found = append(f.found, items)
	f.waiting += len(items)
	wk.ahead += len(items)
	wk.changed.Broadcast()
	for !wk.stopped && (f != wk.head && wk.ahead >= wk.maxAhead || f.waiting >= wk.maxAhead) {
		wk.changed.Wait()
	}
	return !wk.stopped
}

// list lists one folder and returns its sub-folders.
func (wk *walker) list(f *folder) []*folder {
	names := f.only
	if names == nil && wk.w.unchanged(f.path, f.seen) {
		if names = slices.Sorted(slices.Values(wk.w.ways[f.path])); len(names) == 0 {
			return nil
		}
	}
	d, err := wk.w.openDir(f.path, f.seen, names != nil)
	if err != nil {
		wk.notListed(f, err)
		return nil
	}
	defer d.Close()
	if names == nil && !d.Pseudo(f.path, f.above) {
		wk.w.arm(f.path, d)
		if names, err = d.Names(); err != nil {
			wk.notListed(f, err)
			return nil
		}
	}
	var children []*folder
	for len(names) > 0 {
		n := min(len(names), wk.batch)
		items := wk.look(f, d, names[:n], &children)
		if len(items) > 0 && !wk.found(f, items) {
			return nil
		}
		names = names[n:]
	}
	return children
}

// notListed reports a folder whose children cannot be known. On the way to a
// root it is the root that is lost; a folder that vanished is none.
func (wk *walker) notListed(f *folder, err error) {
	if errors.Is(err, fs.ErrNotExist) && f.only == nil {
		return
	}
	wk.w.Unsettled(f.path)
	wk.found(f, []archive.Item{{Path: f.path, Listing: true, Err: err}})
}

// look makes the items of some names, and adds folders to children.
func (wk *walker) look(f *folder, d *dir, names []string, children *[]*folder) []archive.Item {
	entries := make([]catalog.Entry, len(names))
	items := make([]archive.Item, 0, len(names))
	for i, name := range names {
		e := &entries[i]
		e.Folder, e.Name = f.path, name
		err := d.Look(name, e)
		switch {
		case len(wk.w.skip) > 0 && wk.w.skip[e.Path()]:
		case err != nil && (f.only != nil || !errors.Is(err, fs.ErrNotExist)):
			wk.w.Unsettled(f.path)
			items = append(items, archive.Item{Path: e.Path(), Err: err})
		case err != nil || e.Type == 0: // it vanished, or is of a type that no catalog has
		case f.only == nil && wk.w.cfg.Excluded != nil && wk.w.cfg.Excluded(e.Path()):
		default:
			if e.Type == catalog.File && e.Nlink > 1 {
				wk.w.Unsettled(f.path) // it may change by another of its names
			}
			items = append(items, archive.Item{Entry: e})
			if c := wk.child(f, d, e); c != nil {
				*children = append(*children, c)
			}
		}
	}
	return items
}

// child returns the sub-folder that e is, nil when it is none. Something that
// stands where the way to a root should go on is tried like a folder: that it
// cannot be listed tells that the root is lost.
func (wk *walker) child(f *folder, d *dir, e *catalog.Entry) *folder {
	if e.Type != catalog.Folder && f.only == nil {
		return nil
	}
	// The entry itself goes to the archiver, which may change it.
	c := &folder{path: e.Path(), seen: identify(e), above: d.dev}
	if f.only != nil {
		c.only = wk.way(c.path)
	}
	if e.Type != catalog.Folder && c.only == nil {
		return nil
	}
	return c
}
