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

// What a Contents reads ahead of its writer, and keeps for the next file.
const (
	aheadBytes = 4 << 20
	keptBytes  = 8 << 20
)

// Contents reads the content of files for downloads. It keeps the last chunks,
// so that small files of one bundle, one after another in catalog order, cost
// opening it once. Its memory, some 10 MiB, is used again and again, so that a
// long download leaves little to the garbage collector. It is not safe for
// concurrent use.
type Contents struct {
	fetch backup.FetchFunc
	kept  []keptChunk // the one used last is the last
	size  int         // of the kept chunks
	free  [][]byte    // memory of chunks that are no longer kept
}

type keptChunk struct {
	ref   backup.Ref
	plain []byte
}

// NewContents returns a Contents that reads through fetch.
func NewContents(fetch backup.FetchFunc) *Contents { return &Contents{fetch: fetch} }

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
	s.skipHoles()
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
			s.skipHoles()
			p.offset += p.length
			p.length = left
			if len(s.holes) > 0 {
				p.length = min(left, s.holes[0].Offset-s.pos)
			}
			s.add(p)
		}
		if s.bytes >= aheadBytes || len(s.queue) >= windowPieces {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stream) skipHoles() {
	for len(s.holes) > 0 && s.holes[0].Offset == s.pos {
		h := s.holes[0]
		s.holes = s.holes[1:]
		s.add(part{hole: true, length: h.Length})
	}
}

// add queues what of p lies in the range. Chunks of which the range needs
// nothing are never read.
func (s *stream) add(p part) {
	start, end := max(s.pos, s.from), min(s.pos+p.length, s.to)
	if start < end {
		q := p
		q.offset += start - s.pos
		q.length = end - start
		s.queue = append(s.queue, q)
		if n := len(s.queue); !p.hole && (n == 1 || s.queue[n-2].ref != p.ref) {
			s.bytes += int(p.ref.Len)
		}
	}
	s.pos += p.length
}

// flush writes what is queued.
func (s *stream) flush() error {
	chunks, err := s.c.chunks(s.ctx, s.queue)
	if err != nil {
		return err
	}
	for _, p := range s.queue {
		if p.hole {
			err = s.zeros(p.length)
		} else {
			err = s.write(chunks[p.ref][p.offset:][:p.length])
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

// chunks returns the chunks that parts need, from those kept or fetched. They
// are valid until the next call.
func (c *Contents) chunks(ctx context.Context, parts []part) (map[backup.Ref][]byte, error) {
	have := map[backup.Ref][]byte{}
	var refs []backup.Ref
	for _, p := range parts {
		if _, ok := have[p.ref]; ok || p.hole {
			continue
		}
		if have[p.ref] = c.recall(p.ref); have[p.ref] == nil {
			refs = append(refs, p.ref)
		}
	}
	if len(refs) == 0 {
		return have, nil
	}
	c.forget(len(have)-len(refs), refs)
	err := c.fetch(ctx, backup.Data, refs, func(i int, plain []byte) error {
		if len(plain) != int(refs[i].Len) {
			return backup.Mismatched("chunk", errShortChunk)
		}
		have[refs[i]] = append(c.memory(len(plain)), plain...)
		c.kept = append(c.kept, keptChunk{refs[i], have[refs[i]]})
		c.size += len(plain)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fetching content: %w", err)
	}
	for _, ref := range refs {
		if have[ref] == nil {
			return nil, backup.Mismatched("chunk", errors.New("was not delivered"))
		}
	}
	return have, nil
}

// recall returns a chunk that is kept, and makes it the last to go.
func (c *Contents) recall(ref backup.Ref) []byte {
	for i, k := range c.kept {
		if k.ref == ref {
			copy(c.kept[i:], c.kept[i+1:])
			c.kept[len(c.kept)-1] = k
			return k.plain
		}
	}
	return nil
}

// forget makes room for refs, but leaves the chunks that were just recalled.
func (c *Contents) forget(recalled int, refs []backup.Ref) {
	room := 0
	for _, ref := range refs {
		room += int(ref.Len)
	}
	for c.size+room > keptBytes && len(c.kept) > recalled {
		old := c.kept[0].plain
		c.kept[0] = keptChunk{}
		c.kept, c.size = c.kept[1:], c.size-len(old)
		c.free = append(c.free, old[:0])
	}
}

// memory returns room for n bytes, of a forgotten chunk if one was as long.
// What is too short for this one will hardly do for the next, and goes.
func (c *Contents) memory(n int) []byte {
	for i, b := range c.free {
		if cap(b) >= n {
			c.free = slices.Delete(c.free, i, i+1)
			return b
		}
	}
	c.free = nil
	return make([]byte, 0, n)
}
