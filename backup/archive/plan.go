package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

// planner merges the source with the previous catalog.
type planner struct {
	*run
	ctx    context.Context
	batch  []slot
	old    *catalog.Cursor // nil without a previous catalog
	since  catalog.Time
	lost   []string // paths at and below which nothing is known, or only below
	hidden []string // folders in the place of something else that is kept
	inodes map[inode]*twins
	there  map[string]bool // folders that are in the new catalog, when the Source passes over some
}

// inode is a file with several names.
type inode struct{ dev, ino uint64 }

// twins is what is remembered of such a file until all its names were seen.
type twins struct {
	first        *slot
	size         uint64
	mtime, ctime catalog.Time
	left         uint32
}

// plan makes the slots, in catalog order, and sends files to the readers.
func (r *run) plan(ctx context.Context) error {
	defer close(r.slots)
	defer close(r.reads)
	p := &planner{run: r, ctx: ctx, inodes: map[inode]*twins{}, there: map[string]bool{}}
	if !r.Since.IsZero() {
		p.since = catalog.TimeOf(r.Since.Add(-clockTick))
	}
	if r.Previous != nil {
		p.old = r.Previous.Cursor(ctx, "")
		defer p.old.Close()
	}
	if err := p.merge(); err != nil {
		return err
	}
	return p.flush()
}

func (p *planner) merge() error {
	item, err := p.next()
	if err != nil && err != io.EOF {
		return err
	}
	found := err == nil
	old, err := p.nextOld()
	if err != nil {
		return err
	}
	for found || old != nil {
		order := -1
		if !found {
			order = 1
		} else if old != nil {
			order = item.compare(old)
		}
		switch {
		case order < 0:
			err = p.item(&item, nil)
		case order > 0:
			err = p.oldOnly(old)
		default:
			err = p.item(&item, old)
		}
		if err != nil {
			return err
		}
		if order <= 0 {
			if item, err = p.next(); err != nil && err != io.EOF {
				return err
			}
			found = err == nil
		}
		if order >= 0 {
			if old, err = p.nextOld(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) next() (Item, error) { return p.Source.Next(p.ctx) }

// nextOld returns nil at the end.
func (p *planner) nextOld() (*catalog.Entry, error) {
	if p.old == nil {
		return nil, nil
	}
	e, err := p.old.Next()
	if err == io.EOF {
		return nil, nil
	}
	return e, err
}

// compare places an item among entries. A failed listing stands before the
// folder's first child.
func (i *Item) compare(e *catalog.Entry) int {
	switch {
	case i.Entry != nil:
		return i.Entry.Compare(e)
	case i.Listing:
		return catalog.Compare(i.Path, "", e.Folder, e.Name)
	}
	folder, name := catalog.Split(i.Path)
	return catalog.Compare(folder, name, e.Folder, e.Name)
}

// item decides about something that the source found.
func (p *planner) item(i *Item, old *catalog.Entry) error {
	kept, err := p.keep(old)
	if !kept && old != nil && i.Entry != nil && i.Entry.Type != old.Type {
		p.dropped(old)
	}
	switch {
	case err != nil:
		return err
	case i.Entry == nil:
		return p.unknown(i, old)
	case inside(p.hidden, i.Entry.Path()):
		return nil
	case kept:
		if i.Entry.Type == catalog.Folder && old.Type != catalog.Folder {
			p.hidden = append(p.hidden, i.Entry.Path())
		}
		return p.carry(old)
	case old == nil || !p.unchanged(i.Entry, old):
		if p.Hints != nil && !p.Hints.Whole() && named(i.Entry, old) {
			p.named.Store(true)
		}
		if p.deferred(i.Entry, old) {
			_, err := p.slot(later, old, old)
			return err
		}
		return p.fresh(i.Entry, old)
	}
	s, err := p.slot(carry, old, old)
	if err == nil && old.Type == catalog.File && old.Nlink > 1 {
		p.remember(s, i.Entry)
	}
	return err
}

// keep reports whether an old entry, or nil, stays whatever was found.
func (p *planner) keep(old *catalog.Entry) (bool, error) {
	if old == nil || p.Keep == nil {
		return false, nil
	}
	return p.Keep(old)
}

// carry makes the slot of an old entry that stays. What the vault has lost of it
// is nowhere else.
func (p *planner) carry(old *catalog.Entry) error {
	work := carry
	if p.renewed(old) {
		work = lost
	}
	_, err := p.slot(work, old, old)
	return err
}

// named reports whether a file has several names, and this one did not know so.
func named(e, old *catalog.Entry) bool {
	return e.Type == catalog.File && e.Nlink > 1 && (old == nil || old.Type != catalog.File || old.Nlink <= 1 || old.Ino != e.Ino)
}

// unknown takes note of a path that could not be looked at. What the previous
// catalog has there stays, marked unreadable: not knowing is not deletion (R23).
func (p *planner) unknown(i *Item, old *catalog.Entry) error {
	p.lost = append(p.lost, i.Path)
	work := nothing
	if old != nil {
		work = lost
	}
	s, err := p.slot(work, old, old)
	if err == nil {
		s.path, s.err = i.Path, i.Err
	}
	return err
}

// oldOnly decides about an entry that the source did not find. Usually it was
// deleted.
func (p *planner) oldOnly(old *catalog.Entry) error {
	path := old.Path()
	if kept, err := p.keep(old); err != nil || kept {
		if err == nil {
			err = p.carry(old)
		}
		return err
	}
	if inside(p.lost, path) {
		_, err := p.slot(lost, old, old)
		return err
	}
	if p.Hints != nil && inside(p.Walked, path) && p.there[old.Folder] && p.Hints.Unlisted(old.Folder) {
		_, err := p.slot(carry, old, old)
		return err
	}
	if inside(p.Walked, path) || !above(p.Carried, path) && !inside(p.Carried, path) {
		p.grow(nil, old)
		p.dropped(old)
		return nil
	}
	_, err := p.slot(carry, old, old)
	return err
}

// dropped says that a folder is no more.
func (p *planner) dropped(old *catalog.Entry) {
	if p.Hints != nil && old.Type == catalog.Folder {
		p.Hints.Gone(old.Path())
	}
}

// inside reports whether path is one of folders or below one.
func inside(folders []string, path string) bool {
	for _, f := range folders {
		if catalog.Inside(f, path) {
			return true
		}
	}
	return false
}

// above reports whether one of folders is below path.
func above(folders []string, path string) bool {
	for _, f := range folders {
		if catalog.Inside(path, f) {
			return true
		}
	}
	return false
}

// unchanged reports whether the old entry holds for what was found. It never
// does for one that was not read well.
func (p *planner) unchanged(e, old *catalog.Entry) bool {
	if e.Type != old.Type || e.Size != old.Size || e.Mtime != old.Mtime || e.Ctime != old.Ctime || e.Ino != old.Ino || old.Flags != 0 {
		return false
	}
	return !p.renewed(old) && (e.Type != catalog.File || !p.recent(old))
}

// deferred reports whether a file is left for a later run, and the version that
// the previous catalog has of it stands for it until then.
func (p *planner) deferred(e, old *catalog.Entry) bool {
	if p.Defer == nil || e.Type != catalog.File {
		return false
	}
	had := old != nil && old.Type == catalog.File && old.Flags&^catalog.Deferred == 0 && !p.renewed(old)
	return p.Defer(e, had) && had
}

// recent reports whether a file had changed so shortly before it was read that
// its times cannot tell whether it has changed since. The time of the last
// change of any kind tells it best, where a system has that.
func (p *planner) recent(old *catalog.Entry) bool {
	changed := old.Ctime
	if changed == (catalog.Time{}) {
		changed = old.Mtime
	}
	return p.since != catalog.Time{} && !changed.Before(p.since)
}

// renewed reports whether an entry needs an object that must not be relied on.
func (r *run) renewed(e *catalog.Entry) bool {
	if len(r.Renew) == 0 {
		return false
	}
	for i := range e.Extents {
		if r.Renew[e.Extents[i].Ref.ID] {
			return true
		}
	}
	for i := range e.Lists {
		if r.Renew[e.Lists[i].ID] {
			return true
		}
	}
	return len(e.Lists) > 0 || e.AttrsRef != nil && r.Renew[e.AttrsRef.ID]
}

// fresh makes the slot of an entry that is new or has changed.
func (p *planner) fresh(e, old *catalog.Entry) error {
	if e.Type != catalog.File || e.Size == 0 {
		p.grow(e, old)
	}
	if e.Type == catalog.File && e.Nlink > 1 {
		if first := p.twin(e); first != nil {
			p.grow(e, old)
			s, err := p.slot(twin, e, old)
			if err == nil {
				s.first = first
			}
			return err
		}
	}
	if e.Type == catalog.File && e.Size > 0 {
		return p.file(e, old)
	}
	if e.Type == catalog.File {
		e.Hash = emptyHash
	}
	err := p.Source.Complete(e)
	if errors.Is(err, fs.ErrNotExist) {
		p.dropped(e)
		return nil
	}
	work := carry
	if err != nil {
		work = lost
	} else if err := p.storeAttrs(p.ctx, e); err != nil {
		return err
	}
	s, slotErr := p.slot(work, e, old)
	if slotErr == nil {
		s.err = err
	}
	return slotErr
}

// file makes the slot of a file to be read, and sends it to the readers. Room
// for a small one is taken in order; while waiting for it, nothing that collect
// needs may be held back.
func (p *planner) file(e, old *catalog.Entry) error {
	waits := p.waits(e, old)
	if waits > 0 && e.Size < backup.MinChunk && sizeOf(old) != int64(e.Size) { // else it may not have changed at all
		s, err := p.slot(lost, e, old)
		if err == nil {
			s.waits, s.err = waits, ErrWaits
		}
		return err
	}
	need := 0
	if e.Size < backup.MinChunk {
		need = int(e.Size)
	}
	if !p.room.TryAcquire(int64(need)) {
		if err := p.flush(); err != nil {
			return err
		}
		if err := p.room.Acquire(p.ctx, int64(need)); err != nil {
			return err
		}
	}
	s, err := p.slot(content, e, old)
	if err != nil {
		return err
	}
	s.room, s.done, s.waits = need, make(chan struct{}), waits
	if e.Nlink > 1 {
		p.remember(s, e)
	}
	select {
	case p.reads <- s:
		return nil
	default:
	}
	if err := p.flush(); err != nil {
		return err
	}
	select {
	case p.reads <- s:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// waits is 0 for a file that there is room for, and takes that; else how many
// bytes it would add, at least one.
func (p *planner) waits(e, old *catalog.Entry) uint64 {
	growth := sizeOf(e) - sizeOf(old)
	if p.Room == nil || p.Progress.Size.Load()+growth <= *p.Room {
		p.Progress.Size.Add(growth)
		return 0
	}
	return uint64(max(growth, 1))
}

// grow notes that an entry takes the place of another; either may be none.
func (p *planner) grow(e, old *catalog.Entry) { p.Progress.Size.Add(sizeOf(e) - sizeOf(old)) }

// sizeOf is what an entry counts in the totals of a catalog.
func sizeOf(e *catalog.Entry) int64 {
	if e == nil || e.Type != catalog.File {
		return 0
	}
	return int64(e.Size)
}

// twin returns the slot of another name of the same file, when it was found in
// the same state.
func (p *planner) twin(e *catalog.Entry) *slot {
	t := p.inodes[inode{e.Dev, e.Ino}]
	if t == nil || t.size != e.Size || t.mtime != e.Mtime || t.ctime != e.Ctime {
		return nil
	}
	p.seen(t, e)
	return t.first
}

// remember keeps the slot of a file with several names, as it was found, for
// the others. Where the slot's entry is an old one its device may have another
// number; then the other names take that over with the rest.
func (p *planner) remember(s *slot, e *catalog.Entry) {
	key := inode{e.Dev, e.Ino}
	if t := p.inodes[key]; t != nil {
		p.seen(t, e)
	} else if len(p.inodes) < maxHardLink {
		p.inodes[key] = &twins{s, e.Size, e.Mtime, e.Ctime, e.Nlink - 1}
	}
}

// seen counts one more name, and forgets the file after the last.
func (p *planner) seen(t *twins, e *catalog.Entry) {
	if t.left--; t.left == 0 {
		delete(p.inodes, inode{e.Dev, e.Ino})
	}
}

// slot appends a slot. It is sent with the others of its batch, and may be
// changed until the next call.
func (p *planner) slot(t task, e, old *catalog.Entry) (*slot, error) {
	if len(p.batch) == cap(p.batch) {
		if err := p.flush(); err != nil {
			return nil, err
		}
		p.batch = make([]slot, 0, slotRun)
	}
	if p.Hints != nil && e != nil && e.Type == catalog.Folder && !p.Hints.Whole() {
		// Only what is in such a folder can be taken over: one may vanish between
		// being found and being looked at.
		p.there[e.Path()] = true
	}
	p.batch = append(p.batch, slot{task: t, entry: e, old: old})
	return &p.batch[len(p.batch)-1], nil
}

// flush sends what is there of the batch; the rest of its memory is used on.
func (p *planner) flush() error {
	if len(p.batch) == 0 {
		return nil
	}
	select {
	case p.slots <- p.batch:
		p.batch = p.batch[len(p.batch):]
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}
