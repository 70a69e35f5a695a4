package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

// contentBytes is how many bytes of chunks a Contents holds: what comes next,
// and what is left of before. One chunk may be longer on its own.
const contentBytes = 4 << 20

// Contents reads the content of files for downloads. It holds the last chunks,
// so that small files of one bundle, one after another in catalog order, cost
// opening it once. Its memory, some 4 MiB, is used again and again, so that a
// long download leaves little to the garbage collector. It is not safe for
// concurrent use.
type Contents struct {
	fetch backup.FetchFunc
	arena []byte
	held  map[backup.Ref]span
}

// span is where a chunk lies in the arena.
type span struct{ start, end int }

// NewContents returns a Contents that reads through fetch.
func NewContents(fetch backup.FetchFunc) *Contents {
	return &Contents{fetch: fetch, held: map[backup.Ref]span{}}
}

// Content is Copy for a single file.
func Content(ctx context.Context, fetch backup.FetchFunc, e *catalog.Entry, w io.Writer, offset, length int64) error {
	return NewContents(fetch).Copy(ctx, e, w, offset, length)
}

// Copy writes length bytes of a file's content from offset to w, holes as
// zeros. All that it writes has come from objects that verify. When that is the
// whole file, its SHA-256 is checked too, before the last bytes are written:
// after that failure, E1506, w lacks its end, and the caller must break off its
// answer. An error of w is returned as it is.
func (c *Contents) Copy(ctx context.Context, e *catalog.Entry, w io.Writer, offset, length int64) error {
	if offset < 0 || length < 0 || uint64(offset)+uint64(length) > e.Size {
		return errors.New("reading content: the range lies outside the file")
	}
	s := &stream{c: c, ctx: ctx, e: e, w: w, holes: e.Holes, from: uint64(offset), to: uint64(offset) + uint64(length)}
	if length == int64(e.Size) {
		s.sum = sha256.New()
	}
	if err := s.extents(e.Extents); err != nil {
		return err
	}
	for i := 0; i < len(e.Lists) && s.pos < s.to; i++ {
		if err := s.list(e.Lists[i]); err != nil {
			return err
		}
	}
	if err := s.skipHoles(); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if s.pos < s.to {
		return backup.Mismatched("content of a file", errors.New("has another length"))
	}
	return s.verify() // of an empty file, nothing was written yet
}

// stream is one Copy under way.
type stream struct {
	c        *Contents
	ctx      context.Context
	e        *catalog.Entry
	w        io.Writer
	sum      hash.Hash // of a whole file
	written  uint64
	holes    []catalog.Hole // still to come
	from, to uint64
	pos      uint64 // in the content

	queue []part // what comes next, up to pos
	bytes int    // of the chunks in it
}

// part is a stretch of the range: of a chunk, or of a hole.
type part struct {
	hole           bool
	ref            backup.Ref
	offset, length uint64
}

func (s *stream) list(ref backup.Ref) error {
	var extents []catalog.Extent
	err := s.c.fetch(s.ctx, backup.Extents, []backup.Ref{ref}, func(_ int, plain []byte) (err error) {
		extents, err = catalog.DecodeExtents(plain)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading where a file's content lies: %w", err)
	}
	return s.extents(extents)
}

func (s *stream) extents(extents []catalog.Extent) error {
	for _, x := range extents {
		if s.pos >= s.to {
			return nil
		}
		if uint64(x.Offset)+uint64(x.Length) > uint64(x.Ref.Len) {
			return backup.Mismatched("list of a file's content", errors.New("contradicts its chunks"))
		}
		p := part{ref: x.Ref, offset: uint64(x.Offset)}
		for left := uint64(x.Length); left > 0; left -= p.length {
			if err := s.skipHoles(); err != nil {
				return err
			}
			p.offset += p.length
			p.length = left
			if len(s.holes) > 0 {
				p.length = min(left, s.holes[0].Offset-s.pos)
			}
			if err := s.add(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stream) skipHoles() error {
	for len(s.holes) > 0 && s.holes[0].Offset == s.pos {
		h := s.holes[0]
		s.holes = s.holes[1:]
		if err := s.add(part{hole: true, length: h.Length}); err != nil {
			return err
		}
	}
	return nil
}

// add queues what of p lies in the range, and writes the queue before it would
// need more than a Contents holds. Chunks of which the range needs nothing are
// never read.
func (s *stream) add(p part) error {
	start, end := max(s.pos, s.from), min(s.pos+p.length, s.to)
	if start >= end {
		s.pos += p.length
		return nil
	}
	n, more := len(s.queue), 0
	if !p.hole && (n == 0 || s.queue[n-1].ref != p.ref) {
		more = int(p.ref.Len)
	}
	if n >= windowPieces || s.bytes > 0 && s.bytes+more > contentBytes {
		if err := s.flush(); err != nil {
			return err
		}
		more = int(p.ref.Len)
	}
	s.bytes += more
	p.offset += start - s.pos
	s.pos += p.length
	p.length = end - start
	s.queue = append(s.queue, p)
	return nil
}

// flush writes what is queued.
func (s *stream) flush() error {
	err := s.c.hold(s.ctx, s.queue)
	if err != nil {
		return err
	}
	for _, p := range s.queue {
		if p.hole {
			err = s.zeros(p.length)
		} else {
			at := s.c.held[p.ref]
			err = s.write(s.c.arena[at.start:at.end][p.offset:][:p.length])
		}
		if err != nil {
			return err
		}
	}
	s.queue, s.bytes = s.queue[:0], 0
	return nil
}

func (s *stream) zeros(n uint64) error {
	for n > 0 {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		part := zeros[:min(n, uint64(len(zeros)))]
		if err := s.write(part); err != nil {
			return err
		}
		n -= uint64(len(part))
	}
	return nil
}

func (s *stream) write(b []byte) error {
	if s.sum != nil {
		s.sum.Write(b)
	}
	if s.written += uint64(len(b)); s.written == s.to-s.from {
		if err := s.verify(); err != nil {
			return err
		}
	}
	_, err := s.w.Write(b)
	return err
}

func (s *stream) verify() error {
	if s.sum != nil && backup.Hash(s.sum.Sum(nil)) != s.e.Hash {
		return backup.Mismatched("content of a file", errors.New("has another hash"))
	}
	return nil
}

// hold brings the chunks that parts need into the arena.
func (c *Contents) hold(ctx context.Context, parts []part) error {
	var refs []backup.Ref
	wanted, room := map[backup.Ref]bool{}, 0
	for _, p := range parts {
		if p.hole || wanted[p.ref] {
			continue
		}
		wanted[p.ref] = true
		if _, held := c.held[p.ref]; !held {
			refs = append(refs, p.ref)
			room += int(p.ref.Len)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	if len(c.arena)+room > contentBytes {
		c.keep(wanted)
	}
	c.arena = slices.Grow(c.arena, room)
	delivered := 0
	err := c.fetch(ctx, backup.Data, refs, func(i int, plain []byte) error {
		if len(plain) != int(refs[i].Len) {
			return backup.Mismatched("chunk", errShortChunk)
		}
		start := len(c.arena)
		c.arena = append(c.arena, plain...)
		c.held[refs[i]] = span{start, len(c.arena)}
		delivered++
		return nil
	})
	if err != nil {
		return fmt.Errorf("fetching content: %w", err)
	}
	if delivered < len(refs) {
		return backup.Mismatched("chunk", errors.New("was not delivered"))
	}
	return nil
}

// keep drops all chunks but the wanted ones, which move together.
func (c *Contents) keep(wanted map[backup.Ref]bool) {
	var refs []backup.Ref
	for ref := range c.held {
		if wanted[ref] {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b backup.Ref) int { return c.held[a].start - c.held[b].start })
	end := 0
	held := map[backup.Ref]span{}
	for _, ref := range refs {
		at := c.held[ref]
		n := copy(c.arena[end:], c.arena[at.start:at.end])
		held[ref] = span{end, end + n}
		end += n
	}
	c.held, c.arena = held, c.arena[:end]
}
