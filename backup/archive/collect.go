package archive

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
)

// maxWaiting entries wait for their chunks. It is also how far a bundle may
// reach, format.md section 3, and that is why waiting for the first of them is
// always waiting for a chunk that is being sealed.
const maxWaiting = 32_768

// collector takes the slots in order. It fills bundles, and gives entries to
// the catalog.
type collector struct {
	*run
	ctx     context.Context
	chunker *chunk.Chunker
	catalog *catalog.Writer
	result  Result
	queue   []*slot // entries waiting for their chunks
	taken   int     // slots taken so far

	bundle   bundle
	small    map[backup.Hash]place // contents of small files in this run
	lastPath struct{ folder, name string }
	began    time.Time
	partial  time.Time // when the last partial was made
}

// bundle is the one being filled. It has a chunk when it holds something.
type bundle struct {
	chunk *pending
	block *block
	size  int
	first int // number of the slot that began it
}

// place is where a small file's content lies.
type place struct {
	chunk  *pending
	offset uint32
}

func newCollector(r *run) *collector {
	now := r.Now()
	return &collector{run: r, chunker: chunk.NewChunker(r.Secret), small: map[backup.Hash]place{}, began: now, partial: now}
}

func (c *collector) collect(ctx context.Context) (*Result, error) {
	c.ctx = ctx
	c.catalog = catalog.NewWriter(catalog.WriterConfig{
		Secret: c.Secret,
		Known:  c.known,
		Seal: func(kind backup.Kind, plain []byte) (backup.Ref, error) {
			return c.seal(ctx, kind, plain)
		},
	})
	if err := c.takeAll(); err != nil {
		return nil, err
	}
	if err := c.endBundle(); err != nil {
		return nil, err
	}
	if err := c.drain(0); err != nil {
		return nil, err
	}
	return c.finish(c.catalog)
}

func (c *collector) finish(w *catalog.Writer) (*Result, error) {
	root, err := w.Close()
	if err != nil {
		return nil, err
	}
	r := c.result
	r.Root, r.Totals, r.IDs = root, w.Totals(), w.IDs()
	r.Read = uint64(c.Progress.Read.Load())
	r.Whole = !c.named.Load()
	return &r, nil
}

func (c *collector) takeAll() error {
	for {
		select {
		case batch, ok := <-c.slots:
			if !ok {
				// plan also ends so when it fails.
				return context.Cause(c.ctx)
			}
			for i := range batch {
				if err := c.take(&batch[i]); err != nil {
					return err
				}
			}
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
		if err := c.partialIfDue(); err != nil {
			return err
		}
	}
}

func (c *collector) take(s *slot) error {
	c.taken++
	if c.bundle.chunk != nil && c.taken-c.bundle.first >= maxWaiting {
		if err := c.endBundle(); err != nil {
			return err
		}
	}
	if s.room > 0 {
		if err := wait(c.ctx, s.done); err != nil {
			return err
		}
		err := c.join(s)
		c.room.Release(int64(s.room))
		if err != nil {
			return err
		}
	}
	c.queue = append(c.queue, s)
	return c.drain(maxWaiting)
}

// join puts a small file's content into the bundle, unless it is stored
// already.
func (c *collector) join(s *slot) error {
	data := s.data
	s.data = nil
	defer putSmall(data)
	if len(data) == 0 {
		return nil
	}
	e := s.entry
	if o := s.old; o != nil && o.Type == catalog.File && o.Hash == e.Hash && o.Size == e.Size && slices.Equal(o.Holes, e.Holes) && !c.renewed(o) {
		e.Extents = o.Extents
		return nil
	}
	if s.waits > 0 {
		s.task, s.err = lost, ErrWaits
		return nil
	}
	at, repeats := c.small[e.Hash]
	if !repeats || len(e.Holes) > 0 {
		var err error
		if at, err = c.append(e.Hash, data); err != nil {
			return err
		}
		if len(e.Holes) == 0 && len(c.small) < maxRepeated {
			c.small[e.Hash] = at
		}
	}
	s.pieces = []piece{{at.chunk, at.offset, uint32(len(data))}}
	return nil
}

// append adds data to the bundle and ends it where the format says.
func (c *collector) append(hash backup.Hash, data []byte) (at place, err error) {
	b := &c.bundle
	if chunk.BundleFull(b.size, len(data)) {
		if err := c.endBundle(); err != nil {
			return at, err
		}
	}
	if b.chunk == nil {
		if b.block, err = c.blocks.get(c.ctx); err != nil {
			return at, err
		}
		b.chunk, b.first = newPending(), c.taken
	}
	at = place{b.chunk, uint32(b.size)}
	b.size += copy(b.block.buf[b.size:], data)
	if c.chunker.BundleEnds(hash, len(data), b.size) {
		err = c.endBundle()
	}
	return at, err
}

// endBundle has the bundle sealed.
func (c *collector) endBundle() error {
	b := c.bundle
	if b.chunk == nil {
		return nil
	}
	c.bundle = bundle{}
	b.chunk.plain, b.chunk.block = b.block.buf[:b.size], b.block
	return c.send(c.ctx, b.chunk)
}

// drain gives entries to the catalog, in order, as long as that needs no
// waiting or more than limit are queued. Where it waits, a partial catalog may
// become due: all that is left of a run may be queued by now.
func (c *collector) drain(limit int) error {
	n := 0
	for n < len(c.queue) {
		ready := c.queue[n].ready()
		if !ready && len(c.queue)-n <= limit {
			break
		}
		if err := c.add(c.queue[n]); err != nil {
			return err
		}
		c.queue[n] = nil
		n++
		if ready {
			continue
		}
		if err := c.partialIfDue(); err != nil {
			return err
		}
	}
	if n == len(c.queue) {
		c.queue = c.queue[:0]
	} else {
		c.queue = c.queue[n:]
	}
	return nil
}

// add finishes an entry and gives it to the catalog.
func (c *collector) add(s *slot) error {
	if s.done != nil {
		if err := wait(c.ctx, s.done); err != nil {
			return err
		}
	}
	e, err := c.entry(s)
	if err != nil {
		return err
	}
	if s.err != nil {
		c.problem(s, e)
	}
	if e == nil {
		return nil
	}
	if e == s.old || s.task == lost || s.task == later {
		if err := c.useLists(c.catalog, e); err != nil {
			return err
		}
	}
	if err := c.catalog.Add(e); err != nil {
		return err
	}
	c.lastPath.folder, c.lastPath.name = e.Folder, e.Name
	if c.Hints != nil && e.Flags != 0 {
		c.Hints.Unsettled(e.Folder)
	}
	c.count(s, e)
	return nil
}

// entry returns a slot's entry as it goes into the catalog, nil for none.
func (c *collector) entry(s *slot) (*catalog.Entry, error) {
	switch {
	case s.gone:
		s.entry = nil
	case s.task == lost:
		s.entry = c.lostEntry(s)
	case s.task == later:
		kept := *s.old
		kept.Flags |= catalog.Deferred
		s.entry = &kept
	case s.task == content:
		return s.entry, c.extents(s)
	case s.task == twin:
		c.twin(s)
	}
	return s.entry, nil
}

// lostEntry is what remains of something unreadable: the last known state, or
// for something new its bare metadata.
func (c *collector) lostEntry(s *slot) *catalog.Entry {
	e := s.entry
	if o := s.old; o != nil && o.Type == e.Type && !c.renewed(o) {
		e = o
	}
	kept := *e
	kept.Flags |= catalog.Unreadable
	if e != s.old && e.Type == catalog.File || c.renewed(e) {
		kept.Size, kept.Hash = 0, emptyHash
		kept.Holes, kept.Extents, kept.Lists, kept.AttrsRef = nil, nil, nil, nil
	}
	return &kept
}

// twin gives another name of a file what the first name has.
func (c *collector) twin(s *slot) {
	first := s.first.entry
	if first == nil || s.first.task == lost {
		c.orphan(s)
		return
	}
	e := *first
	e.Folder, e.Name = s.entry.Folder, s.entry.Name
	s.entry = &e
}

// orphan is a twin whose first name is gone or could not be read. Unless it is
// gone as well, it is a matter for the next run.
func (c *collector) orphan(s *slot) {
	if first := s.first; errors.Is(first.err, ErrWaits) {
		s.task, s.err, s.waits = lost, ErrWaits, first.waits
		s.entry = c.lostEntry(s)
		return
	}
	f, err := c.Source.Open(s.entry)
	if err == nil {
		f.Close()
		err = errTwin
	}
	s.task = lost
	s.fail(err)
	if s.gone {
		s.entry = nil
		return
	}
	s.entry = c.lostEntry(s)
}

var errTwin = errors.New("another name of the file could not be read")

// extents fills in where the content lies.
func (c *collector) extents(s *slot) error {
	e := s.entry
	if len(s.pieces) == 0 {
		return nil
	}
	e.Extents = make([]catalog.Extent, len(s.pieces))
	for i, p := range s.pieces {
		if err := wait(c.ctx, p.chunk.done); err != nil {
			return err
		}
		e.Extents[i] = catalog.Extent{Ref: p.chunk.ref, Offset: p.offset, Length: p.length}
	}
	s.pieces = nil
	if len(e.Extents) <= backup.MaxExtents {
		return nil
	}
	for all := e.Extents; len(all) > 0; {
		n := min(len(all), backup.MaxExtents)
		ref, err := c.seal(c.ctx, backup.Extents, catalog.EncodeExtents(all[:n]))
		if err != nil {
			return err
		}
		c.use(c.catalog, all[:n])
		e.Lists = append(e.Lists, ref)
		all = all[n:]
	}
	e.Extents = nil
	return nil
}

func (c *collector) use(w *catalog.Writer, extents []catalog.Extent) {
	for i := range extents {
		w.Use(extents[i].Ref.ID)
	}
}

// useLists tells the catalog of the chunks in an old entry's lists.
func (c *collector) useLists(w *catalog.Writer, e *catalog.Entry) error {
	if len(e.Lists) == 0 || c.Previous == nil {
		return nil
	}
	return c.Previous.Fetch(c.ctx, backup.Extents, e.Lists, func(_ int, plain []byte) error {
		extents, err := catalog.DecodeExtents(plain)
		c.use(w, extents)
		return err
	})
}

func (c *collector) problem(s *slot, e *catalog.Entry) {
	if errors.Is(s.err, ErrWaits) {
		if c.result.Waiting++; c.result.Waiting == 1 || s.waits < c.result.Least {
			c.result.Least = s.waits
		}
	} else {
		c.result.Errors++
		c.Progress.Errors.Add(1)
	}
	path := s.path
	if e != nil {
		path = e.Path()
	} else if path != "" {
		c.result.Lost++
	}
	if len(c.result.Problems) < maxProblems {
		c.result.Problems = append(c.result.Problems, Problem{path, s.err})
	}
}

func (c *collector) count(s *slot, e *catalog.Entry) {
	if e.Type != catalog.File {
		if e.Type == catalog.Folder {
			c.Progress.Folder.Store(e.Path())
		}
		return
	}
	c.Progress.Files.Add(1)
	c.Progress.Bytes.Add(int64(e.Size))
	switch {
	case s.task == later:
		c.result.Deferred++
	case s.old == e || s.task == lost:
	case s.old == nil:
		c.result.New++
	case !s.old.Equal(e):
		c.result.Changed++
	}
}

// partialAfter is how long after the last partial catalog the next is due, when
// that one came so long after the beginning.
func (c *Config) partialAfter(last time.Duration) time.Duration {
	if !c.Soon {
		return c.Interval
	}
	return min(max(last, c.Interval/10), c.Interval)
}

// partialIfDue makes the catalog of what is done, followed by what the
// previous one has after it, and offers it.
func (c *collector) partialIfDue() error {
	if c.Partial == nil || c.Interval <= 0 || c.lastPath.name == "" || c.Now().Sub(c.partial) < c.partialAfter(c.partial.Sub(c.began)) {
		return nil
	}
	w := c.catalog.Fork()
	if err := c.rest(w); err != nil {
		return err
	}
	r, err := c.finish(w)
	if err != nil {
		return err
	}
	if err := c.Partial(c.ctx, r); err != nil {
		return err
	}
	c.partial = c.Now()
	return nil
}

// rest adds to w what the previous catalog has after the last entry.
func (c *collector) rest(w *catalog.Writer) error {
	if c.Previous == nil {
		return nil
	}
	old := c.Previous.Cursor(c.ctx, catalog.Join(c.lastPath.folder, c.lastPath.name))
	defer old.Close()
	for {
		e, err := old.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if catalog.Compare(e.Folder, e.Name, c.lastPath.folder, c.lastPath.name) <= 0 {
			continue
		}
		if err := c.useLists(w, e); err != nil {
			return err
		}
		if err := w.Add(e); err != nil {
			return err
		}
	}
}
