package chunk

import (
	"io"

	"github.com/backstay/backstay/backup"
)

// Cut returns the length of the first chunk of b, which begins where a chunk
// begins. final says that nothing follows b: then a chunk is always found,
// unless b is empty. Otherwise the answer is 0 when more is needed to tell,
// which never happens when b has backup.MaxChunk bytes.
func (c *Chunker) Cut(b []byte, final bool) int {
	if len(b) > backup.MaxChunk {
		b = b[:backup.MaxChunk]
	}
	if len(b) > backup.MinChunk {
		var h uint64
		for _, x := range b[backup.MinChunk-window : backup.MinChunk] {
			h = h<<1 + c.table[x]
		}
		// n is at least MeanChunk at the byte with index MeanChunk-1.
		mean := min(len(b), backup.MeanChunk-1)
		n, h := c.find(b[:mean], backup.MinChunk, h, hardLimit)
		if n == 0 {
			n, _ = c.find(b, mean, h, softLimit)
		}
		if n > 0 {
			return n
		}
	}
	if final || len(b) == backup.MaxChunk {
		return len(b)
	}
	return 0
}

// find hashes b from the index at on, and returns the length of b up to and
// with the first byte after which the hash is under limit, or 0 and the hash at
// the end of b. It takes four bytes in one step: what they add to the hash does
// not wait for the hash of the step before.
func (c *Chunker) find(b []byte, at int, h, limit uint64) (int, uint64) {
	i := at
	t := &c.table
	for p := b[at:]; len(p) >= 4; p = p[4:] {
		one := t[p[0]]
		two := one<<1 + t[p[1]]
		three := two<<1 + t[p[2]]
		four := three<<1 + t[p[3]]
		if h<<1+one < limit {
			return i + 1, 0
		}
		if h<<2+two < limit {
			return i + 2, 0
		}
		if h<<3+three < limit {
			return i + 3, 0
		}
		if h = h<<4 + four; h < limit {
			return i + 4, 0
		}
		i += 4
	}
	for ; i < len(b); i++ {
		if h = h<<1 + t[b[i]]; h < limit {
			return i + 1, 0
		}
	}
	return 0, h
}

// Reader cuts a stream.
type Reader struct {
	c          *Chunker
	r          io.Reader
	buf        []byte
	start, end int
	err        error // what r ended with
}

// NewReader returns a Reader of r that works in buf, which has at least
// backup.MaxChunk bytes; twice as many save copying.
func (c *Chunker) NewReader(r io.Reader, buf []byte) *Reader {
	if len(buf) < backup.MaxChunk {
		panic("chunk: buffer is too small")
	}
	return &Reader{c: c, r: r, buf: buf}
}

// Next returns the next chunk, a part of the buffer that is valid until the
// next call, and io.EOF after the last. The chunks of a stream that fails are
// returned up to the last whole one, then its error.
func (r *Reader) Next() ([]byte, error) {
	if r.end-r.start < backup.MaxChunk && r.err == nil {
		r.fill()
	}
	if r.err != nil && r.err != io.EOF {
		return nil, r.err
	}
	n := r.c.Cut(r.buf[r.start:r.end], r.err == io.EOF)
	if n == 0 {
		return nil, io.EOF
	}
	chunk := r.buf[r.start : r.start+n]
	r.start += n
	return chunk, nil
}

func (r *Reader) fill() {
	if r.start > 0 && len(r.buf)-r.start < backup.MaxChunk {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	for r.err == nil && r.end < len(r.buf) && r.end-r.start < backup.MaxChunk {
		var n int
		n, r.err = r.r.Read(r.buf[r.end:])
		r.end += n
	}
}
