package catalog

import (
	"context"
	"fmt"
	"sort"
	"sync"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

// Reader reads one catalog. It fetches pages as it needs them and checks each
// against its parent; what does not agree is the failure E1506. It is safe for
// concurrent use.
type Reader struct {
	Root  backup.Ref
	Fetch backup.FetchFunc
	Known *Known // filled with every page that is read, or nil

	mu     sync.Mutex
	recent []cached // pages read by Lookup, Folder and Diff, the newest first
}

type cached struct {
	id   backup.ID
	page *page
}

// NewReader returns a Reader of the catalog below root.
func NewReader(root backup.Ref, fetch backup.FetchFunc) *Reader {
	return &Reader{Root: root, Fetch: fetch}
}

// Lookup returns the entry at path, or E1504.
func (r *Reader) Lookup(ctx context.Context, path string) (*Entry, error) {
	folder, name := Split(path)
	at, err := r.seek(ctx, folder, name)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", path, err)
	}
	e, err := at.entry(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", path, err)
	}
	if e == nil || e.Folder != folder || e.Name != name {
		return nil, errs.Of(errs.NoSuchSnapshot, "what", path)
	}
	return e, nil
}

// Folder lists up to n entries of a folder in order of name, those after a
// name, or from the first when after is empty; more says that there are
// others. It reads two or three pages. That the folder exists is not checked:
// an unknown one has no entries.
func (r *Reader) Folder(ctx context.Context, folder, after string, n int) (entries []*Entry, more bool, err error) {
	at, err := r.seek(ctx, folder, after)
	for err == nil {
		var e *Entry
		if e, err = at.entry(ctx); err != nil || e == nil || e.Folder != folder {
			break
		}
		if len(entries) == n {
			return entries, true, nil
		}
		if e.Name != after {
			entries = append(entries, e)
		}
		at.skip()
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing %q: %w", folder, err)
	}
	return entries, false, nil
}

// place is a position in the tree: the way to it from the root.
type place struct {
	r     *Reader
	steps []step
}

type step struct {
	page *page
	next int // the entry or child that comes next
}

// top returns the root's place: everything is still to come.
func (r *Reader) top(ctx context.Context) (*place, error) {
	p, err := r.page(ctx, r.Root, nil)
	if err != nil {
		return nil, err
	}
	return &place{r, []step{{p, 0}}}, nil
}

// seek returns the place of the first entry that is not before folder and name.
func (r *Reader) seek(ctx context.Context, folder, name string) (*place, error) {
	at, err := r.top(ctx)
	if err != nil {
		return nil, err
	}
	for {
		s := &at.steps[len(at.steps)-1]
		p := s.page
		if p.level == 0 {
			s.next = sort.Search(len(p.entries), func(i int) bool {
				return Compare(p.entries[i].Folder, p.entries[i].Name, folder, name) >= 0
			})
			return at, nil
		}
		s.next = p.find(folder, name)
		if err := at.open(ctx); err != nil {
			return nil, err
		}
	}
}

// find returns the child below which an entry would be.
func (p *page) find(folder, name string) int {
	after := sort.Search(len(p.children), func(i int) bool {
		return Compare(p.children[i].folder, p.children[i].name, folder, name) > 0
	})
	return max(0, after-1)
}

// settle leaves finished pages, and reports false at the end of the catalog.
func (at *place) settle() bool {
	for len(at.steps) > 0 {
		s := &at.steps[len(at.steps)-1]
		if s.next < s.page.len() {
			return true
		}
		at.steps = at.steps[:len(at.steps)-1]
	}
	return false
}

func (p *page) len() int { return len(p.entries) + len(p.children) }

// head returns what comes next: an entry, or a child that is not opened, or
// neither at the end.
func (at *place) head() (*Entry, *child) {
	if !at.settle() {
		return nil, nil
	}
	s := at.steps[len(at.steps)-1]
	if s.page.level == 0 {
		return &s.page.entries[s.next], nil
	}
	return nil, &s.page.children[s.next]
}

// level returns the level of the child that comes next.
func (at *place) level() uint8 { return at.steps[len(at.steps)-1].page.level - 1 }

// skip passes over what comes next.
func (at *place) skip() { at.steps[len(at.steps)-1].next++ }

// open goes into the child that comes next.
func (at *place) open(ctx context.Context) error {
	s := &at.steps[len(at.steps)-1]
	parent, i := s.page, s.next
	s.next++
	p, err := at.r.page(ctx, parent.children[i].ref, &under{parent, i})
	if err != nil {
		return err
	}
	at.steps = append(at.steps, step{p, 0})
	return nil
}

// entry returns the entry that comes next, or nil at the end.
func (at *place) entry(ctx context.Context) (*Entry, error) {
	for {
		e, c := at.head()
		if c == nil {
			return e, nil
		}
		if err := at.open(ctx); err != nil {
			return nil, err
		}
	}
}

// recentPages are kept: enough for the way down to some neighbouring folders.
const recentPages = 16

// page returns a page from the recent ones, or fetches it.
func (r *Reader) page(ctx context.Context, ref backup.Ref, u *under) (*page, error) {
	if p := r.recall(ref.ID); p != nil {
		return p, u.check(p)
	}
	var p *page
	err := r.Fetch(ctx, backup.Page, []backup.Ref{ref}, func(_ int, plain []byte) (err error) {
		p, err = r.decode(ref, plain)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading a page of the catalog: %w", err)
	}
	if p == nil {
		return nil, errs.Of(errs.Mismatch).Because(errNotDelivered)
	}
	r.remember(ref.ID, p)
	return p, u.check(p)
}

func (r *Reader) decode(ref backup.Ref, plain []byte) (*page, error) {
	p, err := decode(plain)
	if err != nil {
		return nil, err
	}
	r.Known.add(plain, ref)
	return p, nil
}

func (r *Reader) recall(id backup.ID) *page {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.recent {
		if c.id == id {
			copy(r.recent[1:i+1], r.recent[:i])
			r.recent[0] = c
			return c.page
		}
	}
	return nil
}

func (r *Reader) remember(id backup.ID, p *page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recent) < recentPages {
		r.recent = append(r.recent, cached{})
	}
	copy(r.recent[1:], r.recent)
	r.recent[0] = cached{id, p}
}

// under says where a page stands: it is child number i of parent. For the root
// it is nil.
type under struct {
	parent *page
	i      int
}

// check holds a page to what its parent says.
func (u *under) check(p *page) error {
	if u == nil {
		return nil
	}
	c := &u.parent.children[u.i]
	ok := p.level == u.parent.level-1 && p.len() > 0 && p.count == c.entries && p.bytes == c.bytes
	if ok {
		folder, name := p.first()
		ok = folder == c.folder && name == c.name
	}
	if ok && u.i+1 < len(u.parent.children) {
		next := &u.parent.children[u.i+1]
		folder, name := p.last()
		ok = Compare(folder, name, next.folder, next.name) < 0
	}
	if !ok {
		return backup.Mismatched("catalog", errSums)
	}
	return nil
}

func (p *page) first() (folder, name string) {
	if p.level == 0 {
		return p.entries[0].Folder, p.entries[0].Name
	}
	return p.children[0].folder, p.children[0].name
}

// last returns the last position the page itself names. Below an inner page
// there may be later ones; its children are held to that in turn.
func (p *page) last() (folder, name string) {
	if p.level == 0 {
		e := &p.entries[len(p.entries)-1]
		return e.Folder, e.Name
	}
	c := &p.children[len(p.children)-1]
	return c.folder, c.name
}
