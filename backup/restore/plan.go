package restore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

// What one window holds at most: the bytes of its chunks, and things to do. Two
// windows are in memory, and the garbage collector lets the heap double.
const (
	windowBytes  = 16 << 20
	windowOps    = 4096
	windowPieces = 65536 // of one file
)

// window is a stretch of the restore: things to do, and the chunks they need.
type window struct {
	ops   []op
	refs  []backup.Ref
	at    []int // where each chunk lies in the arena
	index map[backup.Ref]int
	size  int

	arena []byte  // from the fetcher on
	bad   []error // of each chunk, why it cannot be had, or nil
}

// op is one thing to do: an item, or of a long file one part.
type op struct {
	e      *catalog.Entry
	first  bool // the file begins here
	last   bool // and ends here
	pieces []piece
	kept   bool       // it is there already
	before bool       // since an earlier restore: other names of it may come
	group  *linkGroup // of hard links
	leader bool       // the name of the group that is written; the others are linked to it
	attrs  []catalog.Attr
	err    error // it cannot be restored
}

// piece is a part of a chunk.
type piece struct {
	chunk          int
	offset, length uint32
}

func (w *window) chunk(i int) []byte { return w.arena[w.at[i]:][:w.refs[i].Len] }

// linkKey is what all names of one file have in common, format.md section 5.
type linkKey struct {
	dev, ino, size uint64
	kind           catalog.Type
	hash           backup.Hash
}

// linkGroup is a file of several names. The planner counts, the writer fills in
// the rest.
type linkGroup struct {
	left uint32 // names that may still come

	path string      // of the first name
	info os.FileInfo // of the file as restored, nil when it was not
}

type planner struct {
	r   *restorer
	ctx context.Context
	out chan<- *window
	w   *window

	probing bool // the target held something before
	probe   *folder
	probed  string
}

// plan sends windows for all entries selected, in order.
func (r *restorer) plan(ctx context.Context, paths []string, out chan<- *window) error {
	empty, err := r.top.empty()
	if err != nil {
		return fmt.Errorf("listing the folder to restore to: %w", err)
	}
	p := &planner{r: r, ctx: ctx, out: out, w: newWindow(), probing: !empty}
	defer func() { p.look("") }()
	if err := r.each(ctx, paths, p.entry); err != nil {
		return err
	}
	return p.flush()
}

func newWindow() *window { return &window{index: map[backup.Ref]int{}} }

// flush sends the window, and begins the next.
func (p *planner) flush() error {
	if len(p.w.ops) == 0 {
		return nil
	}
	select {
	case p.out <- p.w:
		p.w = newWindow()
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p *planner) entry(e *catalog.Entry) error {
	if p.r.cfg.Skip != nil && p.r.cfg.Skip(e.Path()) {
		return nil
	}
	before := p.before(e)
	if before && (e.Type != catalog.File || e.Nlink == 1 || !p.present(e)) {
		return nil
	}
	if len(p.w.ops) >= windowOps {
		if err := p.flush(); err != nil {
			return err
		}
	}
	o := op{e: e, first: true, last: true, attrs: e.Attrs, before: before}
	if e.Nlink > 1 && e.Type != catalog.Folder {
		p.group(&o)
	}
	if before && !o.leader {
		return nil
	}
	if e.AttrsRef != nil {
		if err := p.largeAttrs(&o); err != nil {
			return err
		}
	}
	if e.Type != catalog.File || o.group != nil && !o.leader {
		p.w.ops = append(p.w.ops, o)
		return nil
	}
	if o.kept = before || p.present(e); o.kept {
		p.w.ops = append(p.w.ops, o)
		return nil
	}
	return p.content(o)
}

// before reports whether an earlier restore has done the entry. Folders that it
// had not come to the end of may lack their metadata.
func (p *planner) before(e *catalog.Entry) bool {
	after := p.r.cfg.After
	if after == "" || catalog.ComparePaths(e.Path(), after) > 0 {
		return false
	}
	return e.Type != catalog.Folder || !catalog.Follows(e.Path(), after)
}

// group finds the other names of the file (R19). The first one selected is
// written, whichever it is.
func (p *planner) group(o *op) {
	e := o.e
	key := linkKey{e.Dev, e.Ino, e.Size, e.Type, e.Hash}
	g := p.r.links[key]
	if g == nil {
		g = &linkGroup{left: e.Nlink}
		p.r.links[key] = g
		o.leader = true
	}
	o.group = g
	if g.left--; g.left == 0 {
		delete(p.r.links, key)
	}
}

func (p *planner) largeAttrs(o *op) error {
	err := p.r.cfg.Fetch(p.ctx, backup.Attrs, []backup.Ref{*o.e.AttrsRef}, func(_ int, plain []byte) (err error) {
		o.attrs, err = catalog.DecodeAttrs(plain)
		return err
	})
	if err != nil && !unsound(err) {
		return &SourceError{err}
	}
	if err != nil {
		p.r.warn(o.e.Path(), fmt.Errorf("reading its attributes: %w", err))
	}
	return nil
}

// content adds the file to as many windows as it needs.
func (p *planner) content(o op) error {
	parts := &fileParts{p: p, o: o, left: o.e.Size}
	for _, h := range o.e.Holes {
		parts.left -= h.Length
	}
	if err := parts.extents(o.e.Extents); err != nil {
		return err
	}
	for i := range o.e.Lists {
		if parts.o.err != nil {
			break
		}
		if err := parts.list(o.e.Lists[i]); err != nil {
			return err
		}
	}
	if parts.left != 0 && parts.o.err == nil {
		parts.o.err = backup.Mismatched("list of a file's content", errors.New("has not the file's size"))
	}
	p.w.ops = append(p.w.ops, parts.o)
	return nil
}

// fileParts cuts one file into ops at the ends of windows.
type fileParts struct {
	p    *planner
	o    op
	left uint64 // bytes of content still to come
}

// list fetches a list of extents that was too long for the entry.
func (f *fileParts) list(ref backup.Ref) error {
	var extents []catalog.Extent
	err := f.p.r.cfg.Fetch(f.p.ctx, backup.Extents, []backup.Ref{ref}, func(_ int, plain []byte) (err error) {
		extents, err = catalog.DecodeExtents(plain)
		return err
	})
	if err != nil && !unsound(err) {
		return &SourceError{err}
	}
	if err != nil {
		f.o.err = fmt.Errorf("reading where its content lies: %w", err)
		return nil
	}
	return f.extents(extents)
}

func (f *fileParts) extents(extents []catalog.Extent) error {
	for _, x := range extents {
		if uint64(x.Length) > f.left || uint64(x.Offset)+uint64(x.Length) > uint64(x.Ref.Len) {
			f.o.err = backup.Mismatched("list of a file's content", errors.New("contradicts the file's size"))
			return nil
		}
		f.left -= uint64(x.Length)
		w := f.p.w
		i, ok := w.index[x.Ref]
		full := !ok && w.size+int(x.Ref.Len) > windowBytes && len(w.refs) > 0
		if full || len(f.o.pieces) == windowPieces {
			if err := f.cut(); err != nil {
				return err
			}
			w, ok = f.p.w, false
		}
		if !ok {
			i = w.add(x.Ref)
		}
		f.o.pieces = append(f.o.pieces, piece{i, x.Offset, x.Length})
	}
	return nil
}

// cut ends the window inside the file, or before it.
func (f *fileParts) cut() error {
	if !f.o.first || len(f.o.pieces) > 0 {
		part := f.o
		part.last = false
		f.p.w.ops = append(f.p.w.ops, part)
		f.o.first, f.o.pieces = false, nil
	}
	return f.p.flush()
}

func (w *window) add(ref backup.Ref) int {
	i := len(w.refs)
	w.index[ref] = i
	w.refs = append(w.refs, ref)
	w.at = append(w.at, w.size)
	w.size += int(ref.Len)
	return i
}

// present reports whether the file is there already, with the same content: an
// earlier restore to this target was interrupted. It need not be fetched then.
func (p *planner) present(e *catalog.Entry) bool {
	if !p.probing {
		return false
	}
	p.look(e.Folder)
	if p.probe == nil {
		return false
	}
	return p.probe.holds(p.ctx, e)
}

// look opens the folder at path, if there is one.
func (p *planner) look(path string) {
	if p.probed == path {
		return
	}
	if p.probe != nil && p.probe != p.r.top {
		p.probe.close()
	}
	p.probe, p.probed = nil, path
	if path != "" {
		p.probe, _ = p.r.walk(path) // not there is the usual answer; another failure comes back when it is made
	}
}
