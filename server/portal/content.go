package portal

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

// windowBytes is how much plaintext a download holds at a time. One chunk may
// be longer on its own, backup.MaxPlain at most.
const windowBytes = 4 << 20

// contents reads the files of one snapshot, one after the other, through a
// window of chunks. Small files that share a chunk cost one fetch together.
// Its memory is used again and again, so that a long download leaves nothing
// behind for the garbage collector. It is not safe for concurrent use.
type contents struct {
	fetch backup.FetchFunc
	arena []byte
	held  map[backup.ID]span
}

// span is where a chunk lies in the arena.
type span struct{ start, end int }

func newContents(fetch backup.FetchFunc) *contents {
	return &contents{fetch: fetch, held: map[backup.ID]span{}}
}

// piece is a run of bytes of a file: of a chunk, or of a hole.
type piece struct {
	ref    backup.Ref
	offset int64
	length int64
	hole   bool
}

// copy writes n bytes of a file's content, from off, to w. When that is the
// whole file, its hash is verified before the last piece is written; what does
// not verify is the failure E1506, and w then lacks its end.
func (c *contents) copy(ctx context.Context, e *catalog.Entry, w io.Writer, off, n int64) error {
	var sum hash.Hash
	if off == 0 && n == int64(e.Size) {
		sum = sha256.New()
	}
	window, bytes := []piece{}, 0
	wanted := map[backup.ID]bool{}
	flush := func(last bool) error {
		if err := c.hold(ctx, window, wanted); err != nil {
			return err
		}
		err := c.write(w, window, sum, last, e)
		window, bytes = window[:0], 0
		clear(wanted)
		return err
	}
	err := pieces(ctx, c.fetch, e, off, n, func(p piece) error {
		if !p.hole && !wanted[p.ref.ID] {
			if bytes > 0 && bytes+int(p.ref.Len) > windowBytes {
				if err := flush(false); err != nil {
					return err
				}
			}
			wanted[p.ref.ID] = true
			bytes += int(p.ref.Len)
		}
		window = append(window, p)
		return nil
	})
	if err == nil {
		err = flush(true)
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", e.Path(), err)
	}
	return nil
}

// hold fetches the chunks of the window that are not held yet.
func (c *contents) hold(ctx context.Context, window []piece, wanted map[backup.ID]bool) error {
	var refs []backup.Ref
	room := 0
	asked := map[backup.ID]bool{}
	for _, p := range window {
		if _, held := c.held[p.ref.ID]; p.hole || held || asked[p.ref.ID] {
			continue
		}
		asked[p.ref.ID] = true
		refs = append(refs, p.ref)
		room += int(p.ref.Len)
	}
	if len(refs) == 0 {
		return nil
	}
	if len(c.arena)+room > windowBytes {
		c.keep(wanted)
	}
	c.arena = slices.Grow(c.arena, room)
	return c.fetch(ctx, backup.Data, refs, func(i int, plain []byte) error {
		start := len(c.arena)
		c.arena = append(c.arena, plain...)
		c.held[refs[i].ID] = span{start, len(c.arena)}
		return nil
	})
}

// keep drops all chunks but those of the window, which move together.
func (c *contents) keep(wanted map[backup.ID]bool) {
	var ids []backup.ID
	for id := range c.held {
		if wanted[id] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b backup.ID) int { return c.held[a].start - c.held[b].start })
	held, end := map[backup.ID]span{}, 0
	for _, id := range ids {
		at := c.held[id]
		n := copy(c.arena[end:], c.arena[at.start:at.end])
		held[id] = span{end, end + n}
		end += n
	}
	c.held, c.arena = held, c.arena[:end]
}

var zeros [64 << 10]byte

// write writes a window's pieces. The last piece of a file waits until the
// hash is known to be right.
func (c *contents) write(w io.Writer, window []piece, sum hash.Hash, last bool, e *catalog.Entry) error {
	for i, p := range window {
		if p.hole {
			if err := writeZeros(w, p.length, sum); err != nil {
				return err
			}
			continue
		}
		at := c.held[p.ref.ID]
		plain := c.arena[at.start:at.end]
		if p.offset+p.length > int64(len(plain)) {
			return backup.Mismatched("extent", errors.New("it ends after its chunk"))
		}
		data := plain[p.offset : p.offset+p.length]
		if sum != nil {
			sum.Write(data)
			if last && i == len(window)-1 && backup.Hash(sum.Sum(nil)) != e.Hash {
				return backup.Mismatched("file", errors.New("its hash differs"))
			}
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if sum != nil && last && backup.Hash(sum.Sum(nil)) != e.Hash {
		return backup.Mismatched("file", errors.New("its hash differs"))
	}
	return nil
}

func writeZeros(w io.Writer, n int64, sum hash.Hash) error {
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		if sum != nil {
			sum.Write(part)
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// pieces calls each with the pieces of a file's content between off and off+n,
// in their order.
func pieces(ctx context.Context, fetch backup.FetchFunc, e *catalog.Entry, off, n int64, each func(piece) error) error {
	end := off + n
	at := int64(0) // in the file
	holes := e.Holes
	emit := func(p piece) error {
		start, stop := max(at, off), min(at+p.length, end)
		p.offset += start - at
		at += p.length
		if p.length = stop - start; p.length <= 0 {
			return nil
		}
		return each(p)
	}
	skipHoles := func() error {
		for len(holes) > 0 && int64(holes[0].Offset) == at {
			h := holes[0]
			holes = holes[1:]
			if err := emit(piece{hole: true, length: int64(h.Length)}); err != nil {
				return err
			}
		}
		return nil
	}
	err := extents(ctx, fetch, e, func(x catalog.Extent) error {
		offset, length := int64(x.Offset), int64(x.Length)
		for length > 0 {
			if err := skipHoles(); err != nil {
				return err
			}
			take := length
			if len(holes) > 0 {
				take = min(take, int64(holes[0].Offset)-at)
			}
			if err := emit(piece{ref: x.Ref, offset: offset, length: take}); err != nil {
				return err
			}
			offset, length = offset+take, length-take
		}
		if at >= end {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return skipHoles()
}

var errEnough = errors.New("enough")

// extents calls each with a file's extents, reading one list of them at a time.
func extents(ctx context.Context, fetch backup.FetchFunc, e *catalog.Entry, each func(catalog.Extent) error) error {
	for _, x := range e.Extents {
		if err := each(x); err != nil {
			return err
		}
	}
	for _, list := range e.Lists {
		var part []catalog.Extent
		err := fetch(ctx, backup.Extents, []backup.Ref{list}, func(_ int, plain []byte) (err error) {
			part, err = catalog.DecodeExtents(plain)
			return err
		})
		if err != nil {
			return err
		}
		for _, x := range part {
			if err := each(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// seeker is a file's content as http.ServeContent wants it. Close it.
type seeker struct {
	ctx   context.Context
	c     *contents
	entry *catalog.Entry
	at    int64
	pipe  *io.PipeReader
	done  chan struct{} // closed when the copying has ended
	err   error         // what ended it early, apart from nobody reading on
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += int64(s.entry.Size)
	}
	if offset < 0 {
		return 0, errors.New("seeking before the start")
	}
	s.Close()
	s.at = offset
	return offset, nil
}

func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= int64(s.entry.Size) {
		return 0, io.EOF
	}
	if s.pipe == nil {
		r, w := io.Pipe()
		s.pipe, s.done = r, make(chan struct{})
		at, done := s.at, s.done
		go func() {
			defer close(done)
			err := s.c.copy(s.ctx, s.entry, w, at, int64(s.entry.Size)-at)
			if !errors.Is(err, io.ErrClosedPipe) {
				s.err = err
			}
			w.CloseWithError(err)
		}()
	}
	n, err := s.pipe.Read(p)
	s.at += int64(n)
	return n, err
}

// Close ends the copying that a Read began, and returns what went wrong.
func (s *seeker) Close() error {
	if s.pipe != nil {
		s.pipe.Close()
		<-s.done
		s.pipe = nil
	}
	return s.err
}
