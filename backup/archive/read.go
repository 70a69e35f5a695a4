package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/bits"
	"slices"
	"sync"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
)

var emptyHash = backup.Hash(sha256.Sum256(nil))

// reader reads files, one after another. There are a few.
type reader struct {
	*run
	ctx     context.Context
	chunker *chunk.Chunker
	hash    hash.Hash
}

func (r *run) read(ctx context.Context) error {
	rd := &reader{run: r, ctx: ctx, chunker: chunk.NewChunker(r.Secret), hash: sha256.New()}
	for {
		select {
		case s, ok := <-r.reads:
			if !ok {
				return nil
			}
			err := rd.file(s)
			close(s.done)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// file reads one file into its slot. It fails only for what ends the run.
func (r *reader) file(s *slot) error {
	f, err := r.Source.Open(s.entry)
	if err != nil {
		s.fail(err)
		return nil
	}
	defer f.Close()
	for try := 0; ; try++ {
		if err := f.Stat(s.entry); err != nil {
			s.fail(err)
			return nil
		}
		whole, err := r.content(s, f)
		var bad *storeError
		if errors.As(err, &bad) {
			return err
		}
		after := *s.entry
		if err == nil {
			err = f.Stat(&after)
		}
		if err != nil {
			s.fail(err)
			return nil
		}
		if whole && sameState(s.entry, &after) {
			break
		}
		if try == rereads {
			s.entry.Flags |= catalog.Torn
			break
		}
	}
	if err := f.Complete(s.entry); err != nil {
		s.err = err
	}
	return r.storeAttrs(r.ctx, s.entry)
}

// fail takes note of why the file could not be read.
func (s *slot) fail(err error) {
	s.data, s.pieces = nil, nil
	s.gone = errors.Is(err, fs.ErrNotExist)
	if !s.gone {
		s.task, s.err = lost, err
	}
}

func sameState(a, b *catalog.Entry) bool {
	return a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime
}

// storeError is a failure to store, which ends the run, among failures to read,
// which do not (R9).
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// content reads the file once, from its first byte to the size it has now:
// into the slot when it is small and was so before, else into chunks. It reports whether so much
// was there. Hash and data come from the same buffers.
func (r *reader) content(s *slot, f File) (whole bool, err error) {
	e := s.entry
	if e.Holes, err = f.Holes(e.Size); err != nil {
		return false, err
	}
	e.Holes = largestHoles(e.Holes)
	putSmall(s.data)
	s.data, s.pieces = nil, nil
	r.hash.Reset()
	in := &ranges{ctx: r.ctx, f: f, hash: r.hash, size: e.Size, holes: e.Holes}
	if e.Size < backup.MinChunk && s.room > 0 {
		err = r.small(s, in)
	} else {
		err = r.large(s, in)
	}
	if err != nil {
		return false, err
	}
	whole = in.at == e.Size
	if !whole {
		e.Size = in.at
		e.Holes = cutHoles(e.Holes, e.Size)
	}
	r.hash.Sum(e.Hash[:0])
	r.Progress.Read.Add(int64(in.data))
	return whole, nil
}

func (r *reader) small(s *slot, in *ranges) error {
	buf := getSmall(int(s.entry.Size))
	n, err := in.fill(buf)
	if err != nil && err != io.EOF {
		putSmall(buf)
		return err
	}
	s.data = buf[:n]
	return nil
}

// large cuts the file by content. Chunks are parts of the block they were read
// into; what is left behind the last cut is copied to the next block.
func (r *reader) large(s *slot, in *ranges) error {
	b, err := r.blocks.get(r.ctx)
	if err != nil {
		return &storeError{err}
	}
	defer func() { b.release() }()
	end := 0
	for {
		n, err := in.fill(b.buf[end:])
		if err != nil && err != io.EOF {
			return err
		}
		end += n
		start := 0
		for {
			cut := r.chunker.Cut(b.buf[start:end], err == io.EOF)
			if cut == 0 {
				break
			}
			if err := r.piece(s, b, b.buf[start:start+cut]); err != nil {
				if errors.Is(err, ErrWaits) {
					return err
				}
				return &storeError{err}
			}
			start += cut
		}
		if err == io.EOF {
			return nil
		}
		next, err := r.blocks.get(r.ctx)
		if err != nil {
			return &storeError{err}
		}
		end = copy(next.buf, b.buf[start:end])
		b.release()
		b = next
	}
}

// piece appends a chunk to the file, and has it sealed unless it came before.
func (r *reader) piece(s *slot, b *block, plain []byte) error {
	if s.waits > 0 {
		return r.heldPiece(s, b, plain)
	}
	c, fresh := r.repeated.chunk(plain)
	s.pieces = append(s.pieces, piece{c, 0, uint32(len(plain))})
	if !fresh {
		return nil
	}
	b.retain()
	c.plain, c.block = plain, b
	return r.send(r.ctx, c)
}

// heldPiece appends a chunk to a file for which there is no room. It fails with
// ErrWaits at the first one that is not stored: what is behind it is not read.
func (r *reader) heldPiece(s *slot, b *block, plain []byte) error {
	c := newPending()
	c.plain, c.block, c.onlyHeld = plain, b, true
	b.retain()
	if err := r.send(r.ctx, c); err != nil {
		return err
	}
	if err := wait(r.ctx, c.done); err != nil {
		return err
	}
	if c.lacking {
		return ErrWaits
	}
	s.pieces = append(s.pieces, piece{c, 0, uint32(len(plain))})
	return nil
}

// ranges reads a file's data in order, and hashes it with its holes as zeros.
type ranges struct {
	ctx   context.Context
	f     File
	hash  hash.Hash
	size  uint64
	holes []catalog.Hole // those ahead
	at    uint64         // offset in the file
	data  uint64         // bytes read
}

// readStep is hashed while it is still in the processor's cache.
const readStep = 256 << 10

// fill reads into buf until it is full, or until the end of the data: io.EOF.
func (in *ranges) fill(buf []byte) (n int, err error) {
	for {
		if err := in.ctx.Err(); err != nil {
			return n, &storeError{context.Cause(in.ctx)}
		}
		if len(in.holes) > 0 && in.holes[0].Offset == in.at {
			if err := in.hole(in.holes[0].Length); err != nil {
				return n, err
			}
			in.holes = in.holes[1:]
			continue
		}
		end := in.size
		if len(in.holes) > 0 {
			end = in.holes[0].Offset
		}
		if in.at == end {
			return n, io.EOF
		}
		if n == len(buf) {
			return n, nil
		}
		step := buf[n:min(len(buf), n+readStep)]
		if left := end - in.at; uint64(len(step)) > left {
			step = step[:left]
		}
		m, err := in.f.ReadAt(step, int64(in.at))
		in.hash.Write(step[:m])
		n += m
		in.at += uint64(m)
		in.data += uint64(m)
		if err == io.EOF && m < len(step) {
			return n, io.EOF
		}
		if err != nil && err != io.EOF {
			return n, fmt.Errorf("reading: %w", err)
		}
	}
}

var zeros [64 << 10]byte

func (in *ranges) hole(n uint64) error {
	in.at += n
	for ; n > 0; n -= min(n, uint64(len(zeros))) {
		if n%(64<<20) < uint64(len(zeros)) && in.ctx.Err() != nil {
			return &storeError{context.Cause(in.ctx)}
		}
		in.hash.Write(zeros[:min(n, uint64(len(zeros)))])
	}
	return nil
}

// largestHoles keeps as many holes as an entry may have; the others are read as
// data.
func largestHoles(holes []catalog.Hole) []catalog.Hole {
	if len(holes) <= backup.MaxHoles {
		return holes
	}
	slices.SortStableFunc(holes, func(a, b catalog.Hole) int { return cmp.Compare(b.Length, a.Length) })
	holes = holes[:backup.MaxHoles]
	slices.SortFunc(holes, func(a, b catalog.Hole) int { return cmp.Compare(a.Offset, b.Offset) })
	return holes
}

// cutHoles keeps what of holes is inside size.
func cutHoles(holes []catalog.Hole, size uint64) []catalog.Hole {
	for i, h := range holes {
		if h.Offset >= size {
			return holes[:i]
		}
		if h.Length > size-h.Offset {
			holes[i].Length = size - h.Offset
			return holes[:i+1]
		}
	}
	return holes
}

// Buffers for small files are kept by the power of two of their size.
var smallBuffers [19]sync.Pool

func getSmall(n int) []byte {
	class := bits.Len(uint(max(n, 1) - 1))
	if b, ok := smallBuffers[class].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, 1<<class)
}

func putSmall(b []byte) {
	if cap(b) > 0 {
		b = b[:0]
		smallBuffers[bits.Len(uint(cap(b)-1))].Put(&b)
	}
}
