package catalog

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"runtime"
	"sync"

	"github.com/backstay/backstay/backup"
)

// SealFunc seals a plaintext as an object of kind, sees that it is stored, and
// returns its ref. It is called from several goroutines; plain is valid only
// during the call.
type SealFunc func(kind backup.Kind, plain []byte) (backup.Ref, error)

// WriterConfig is what a Writer needs.
type WriterConfig struct {
	Secret backup.Key // K of the epoch: it decides where pages end
	Seal   SealFunc
	Known  *Known // pages that need no sealing, or nil
}

// Totals are the figures of a whole catalog.
type Totals struct {
	Entries, Files, Bytes uint64
	Unreadable            uint64 // entries with that flag
}

// Writer writes a catalog. Entries are added in catalog order; pages are cut,
// and sealed in the background, as they fill, so that the memory it takes does
// not grow with the catalog, but for the set of ids. After an error it is of
// no more use. A Writer is for one goroutine.
type Writer struct {
	cfg    WriterConfig
	cuts   *cutter
	leaf   leaf
	last   struct{ folder, name string }
	levels []level // levels[i] makes the pages of level i+1, and holds back one of level i
	sealer *sealer
	ids    map[backup.ID]struct{}
	totals Totals
}

// level collects finished pages of one level as children of the next. One is
// held back: a page that stays alone on its level is the root.
type level struct {
	held     *written
	children []*written
	size     int
}

// written is a finished page. Its ref is known when done is closed.
type written struct {
	first   string
	entries uint64
	bytes   uint64
	done    chan struct{}
	ref     backup.Ref
}

// sealer seals pages on a few goroutines and keeps the first failure.
type sealer struct {
	slots chan struct{}
	runs  sync.WaitGroup
	mu    sync.Mutex
	err   error
}

// NewWriter begins a catalog.
func NewWriter(cfg WriterConfig) *Writer {
	return &Writer{
		cfg:    cfg,
		cuts:   newCutter(cfg.Secret),
		leaf:   leaf{index: map[backup.ID]uint32{}},
		sealer: &sealer{slots: make(chan struct{}, runtime.GOMAXPROCS(0))},
		ids:    map[backup.ID]struct{}{},
	}
}

// Fork returns a second Writer that has been given the same entries so far.
// The two go on apart; what they share is sealed once. A partial snapshot is
// finished on a fork.
func (w *Writer) Fork() *Writer {
	f := *w
	f.cuts = newCutter(w.cfg.Secret)
	f.leaf = w.leaf.clone()
	f.ids = maps.Clone(w.ids)
	f.levels = make([]level, len(w.levels))
	for i, l := range w.levels {
		f.levels[i] = level{l.held, append([]*written(nil), l.children...), l.size}
	}
	return &f
}

// Totals returns the figures of what was added so far.
func (w *Writer) Totals() Totals { return w.totals }

// Use says that the catalog needs these objects although no page names them:
// the chunks in lists of extents.
func (w *Writer) Use(ids ...backup.ID) {
	for _, id := range ids {
		w.ids[id] = struct{}{}
	}
}

// IDs returns the set of all objects the catalog needs, pages included. It is
// whole after Close, and belongs to the Writer.
func (w *Writer) IDs() map[backup.ID]struct{} { return w.ids }

// Add appends an entry, which must come after all others in catalog order. It
// does not keep e.
func (w *Writer) Add(e *Entry) error {
	if err := w.check(e); err != nil {
		return fmt.Errorf("adding %q to the catalog: %w", e.Path(), err)
	}
	before := w.leaf.mark()
	w.leaf.add(e)
	if w.leaf.size() > backup.MaxPage && w.leaf.entries > 1 {
		w.leaf.back(before)
		if err := w.cutLeaf(); err != nil {
			return err
		}
		w.leaf.add(e)
	}
	w.count(e)
	if n := w.leaf.size(); n > backup.MaxPageRead {
		return fmt.Errorf("adding %q to the catalog: the entry is too large for a page", e.Path())
	} else if n >= backup.MinPage && w.cuts.after(0, e.Folder, e.Name) {
		return w.cutLeaf()
	}
	return nil
}

func (w *Writer) check(e *Entry) error {
	if e.Folder != w.last.folder {
		if err := checkFolder(e.Folder); err != nil {
			return err
		}
	}
	if w.totals.Entries > 0 && Compare(w.last.folder, w.last.name, e.Folder, e.Name) >= 0 {
		return errors.New("out of order")
	}
	if err := e.check(); err != nil {
		return err
	}
	if e.Type == File && e.Size > math.MaxUint64-w.totals.Bytes {
		return errors.New("sums too large")
	}
	w.last.folder, w.last.name = e.Folder, e.Name
	return nil
}

func (w *Writer) count(e *Entry) {
	w.totals.Entries++
	if e.Type == File {
		w.totals.Files++
		w.totals.Bytes += e.Size
	}
	if e.Flags&Unreadable != 0 {
		w.totals.Unreadable++
	}
}

// cutLeaf ends the leaf page and has it sealed in the background.
func (w *Writer) cutLeaf() error {
	for i := range w.leaf.refs {
		w.ids[w.leaf.refs[i].ID] = struct{}{}
	}
	p := &written{first: w.leaf.first, entries: w.leaf.entries, bytes: w.leaf.bytes, done: make(chan struct{})}
	buf := pageBuffers.Get().(*[]byte)
	plain := w.leaf.encode((*buf)[:0])
	w.leaf.reset()

	w.sealer.slots <- struct{}{}
	w.sealer.runs.Go(func() {
		defer close(p.done)
		defer func() { <-w.sealer.slots }()
		w.seal(p, plain)
		*buf = plain
		pageBuffers.Put(buf)
	})
	if err := w.sealer.failed(); err != nil {
		return err
	}
	return w.finished(0, p)
}

var pageBuffers = sync.Pool{New: func() any { return new([]byte) }}

// seal gives p its ref: the one of an equal page that is stored already, or a
// new one.
func (w *Writer) seal(p *written, plain []byte) {
	ref, known := w.cfg.Known.find(plain)
	if !known {
		var err error
		if ref, err = w.cfg.Seal(backup.Page, plain); err != nil {
			w.sealer.fail(fmt.Errorf("sealing a page of the catalog: %w", err))
			return
		}
	}
	p.ref = ref
}

// finished takes a page that has just ended and hands the one before it on its
// level to the level above.
func (w *Writer) finished(at int, p *written) error {
	if at == len(w.levels) {
		w.levels = append(w.levels, level{})
	}
	held := w.levels[at].held
	w.levels[at].held = p
	if held == nil {
		return nil
	}
	return w.addChild(at, held)
}

func (w *Writer) addChild(at int, p *written) error {
	l := &w.levels[at]
	size := 4 + len(p.first) + backup.RefSize + 16
	if len(l.children) > 0 && innerHead+l.size+size > backup.MaxPage {
		if err := w.cutInner(at); err != nil {
			return err
		}
		l = &w.levels[at]
	}
	l.children = append(l.children, p)
	l.size += size
	folder, name := Split(p.first)
	if innerHead+l.size >= backup.MinPage && w.cuts.after(uint8(at+1), folder, name) {
		return w.cutInner(at)
	}
	return nil
}

const innerHead = 2 + 4

// cutInner ends the page of level at+1. Inner pages are few, so this waits for
// its children and seals it at once.
func (w *Writer) cutInner(at int) error {
	l := &w.levels[at]
	children := l.children
	l.children, l.size = nil, 0

	p := &written{first: children[0].first, done: make(chan struct{})}
	e := backup.Encoder{}
	e.U8(pageVersion)
	e.U8(uint8(at + 1))
	e.Count(len(children))
	for _, c := range children {
		if err := w.wait(c); err != nil {
			return err
		}
		e.String(c.first)
		e.Ref(c.ref)
		e.U64(c.entries)
		e.U64(c.bytes)
		p.entries += c.entries
		p.bytes += c.bytes
	}
	w.seal(p, e.B)
	close(p.done)
	return w.finished(at+1, p)
}

// wait waits until p is sealed, and counts it among the objects needed.
func (w *Writer) wait(p *written) error {
	<-p.done
	if err := w.sealer.failed(); err != nil {
		return err
	}
	w.ids[p.ref.ID] = struct{}{}
	return nil
}

// Wait returns when no page is being sealed any more, of this Writer and of its
// forks. It is for whoever gives up: after Close there is nothing to wait for.
func (w *Writer) Wait() { w.sealer.runs.Wait() }

// Close ends the catalog and returns the ref of its root, when every page is
// sealed.
func (w *Writer) Close() (backup.Ref, error) {
	if w.leaf.entries > 0 || w.totals.Entries == 0 {
		if err := w.cutLeaf(); err != nil {
			return backup.Ref{}, err
		}
	}
	for at := 0; ; at++ {
		held := w.levels[at].held
		if len(w.levels[at].children) == 0 && at+1 == len(w.levels) {
			err := w.wait(held)
			return held.ref, err
		}
		if err := w.addChild(at, held); err != nil {
			return backup.Ref{}, err
		}
		if len(w.levels[at].children) > 0 {
			if err := w.cutInner(at); err != nil {
				return backup.Ref{}, err
			}
		}
	}
}

func (s *sealer) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *sealer) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// cutter decides by content where pages end, with a secret, so that nobody
// else can say where.
type cutter struct {
	mac hash.Hash
	buf []byte
}

func newCutter(secret backup.Key) *cutter {
	return &cutter{mac: hmac.New(sha256.New, secret[:])}
}

// after reports whether a page of the level ends after the item at this path.
func (c *cutter) after(level uint8, folder, name string) bool {
	c.buf = append(c.buf[:0], "backstay/v1/page-cut\x00"...)
	c.buf = append(c.buf, level)
	if folder != "/" {
		c.buf = append(c.buf, folder...)
	}
	c.buf = append(c.buf, '/')
	c.buf = append(c.buf, name...)
	c.mac.Reset()
	c.mac.Write(c.buf)
	c.buf = c.mac.Sum(c.buf[:0])
	return c.buf[sha256.Size-1] == 0
}

// Known remembers pages by their plaintext. A Reader that is given one fills
// it, and a Writer then takes equal pages over as they are. It is safe for
// concurrent use.
type Known struct {
	Except map[backup.ID]bool // pages that have to be sealed again all the same

	mu    sync.Mutex
	pages map[[sha256.Size]byte]backup.Ref
}

func (k *Known) add(plain []byte, ref backup.Ref) {
	if k == nil || k.Except[ref.ID] {
		return
	}
	sum := sha256.Sum256(plain)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pages == nil {
		k.pages = map[[sha256.Size]byte]backup.Ref{}
	}
	k.pages[sum] = ref
}

func (k *Known) find(plain []byte) (backup.Ref, bool) {
	if k == nil {
		return backup.Ref{}, false
	}
	sum := sha256.Sum256(plain)
	k.mu.Lock()
	defer k.mu.Unlock()
	ref, ok := k.pages[sum]
	return ref, ok
}
