package backup

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/backstay/backstay/errs"
)

// Encoder writes the canonical encoding of format.md section 1, by appending
// to B. The zero value is ready for use.
type Encoder struct{ B []byte }

// U8 writes one byte.
func (e *Encoder) U8(v uint8) { e.B = append(e.B, v) }

// U24 writes three bytes; v must fit.
func (e *Encoder) U24(v uint32) { e.B = append(e.B, byte(v>>16), byte(v>>8), byte(v)) }

// U32 writes four bytes.
func (e *Encoder) U32(v uint32) { e.B = binary.BigEndian.AppendUint32(e.B, v) }

// U64 writes eight bytes.
func (e *Encoder) U64(v uint64) { e.B = binary.BigEndian.AppendUint64(e.B, v) }

// I64 writes eight bytes, two's complement.
func (e *Encoder) I64(v int64) { e.U64(uint64(v)) }

// Raw writes b as it is.
func (e *Encoder) Raw(b []byte) { e.B = append(e.B, b...) }

// Text writes s as it is.
func (e *Encoder) Text(s string) { e.B = append(e.B, s...) }

// Bytes writes b after its length.
func (e *Encoder) Bytes(b []byte) {
	e.U32(uint32(len(b)))
	e.Raw(b)
}

// String writes s after its length.
func (e *Encoder) String(s string) {
	e.U32(uint32(len(s)))
	e.Text(s)
}

// Count begins a list of n.
func (e *Encoder) Count(n int) { e.U32(uint32(n)) }

// Ref writes a ref.
func (e *Encoder) Ref(r Ref) {
	e.Raw(r.ID[:])
	e.Raw(r.Key[:])
	e.U32(r.Len)
}

// Decoder reads the canonical encoding. After the first failure every method
// returns zero values, and Finish the failure; so a caller reads a whole value
// and checks once, but must not loop on a number it was given without having
// bounded it: Count does.
type Decoder struct {
	b    []byte
	what string
	err  error
}

// NewDecoder reads b; what names the value in errors. Results of Raw and Bytes
// are parts of b.
func NewDecoder(what string, b []byte) *Decoder { return &Decoder{b: b, what: what} }

// Fail makes the decoder fail for a rule that the value breaks.
func (d *Decoder) Fail(reason string) {
	if d.err == nil {
		d.err = Mismatched(d.what, errors.New(reason))
	}
	d.b = nil
}

// Failed reports whether the decoder has failed.
func (d *Decoder) Failed() bool { return d.err != nil }

// Err returns the failure so far.
func (d *Decoder) Err() error { return d.err }

// Finish returns the failure, and bytes that were left over are one.
func (d *Decoder) Finish() error {
	if d.err == nil && len(d.b) > 0 {
		d.Fail("bytes left over")
	}
	return d.err
}

// Left returns how many bytes are not yet read.
func (d *Decoder) Left() int { return len(d.b) }

// Raw reads n bytes.
func (d *Decoder) Raw(n int) []byte {
	if n > len(d.b) || n < 0 {
		d.Fail("ends too soon")
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// U8 reads one byte.
func (d *Decoder) U8() uint8 {
	if b := d.Raw(1); b != nil {
		return b[0]
	}
	return 0
}

// U24 reads three bytes.
func (d *Decoder) U24() uint32 {
	if b := d.Raw(3); b != nil {
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	return 0
}

// U32 reads four bytes.
func (d *Decoder) U32() uint32 {
	if b := d.Raw(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 reads eight bytes.
func (d *Decoder) U64() uint64 {
	if b := d.Raw(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// I64 reads eight bytes, two's complement.
func (d *Decoder) I64() int64 { return int64(d.U64()) }

// Bytes reads a length of at most limit and so many bytes.
func (d *Decoder) Bytes(limit int) []byte {
	n := d.U32()
	if uint64(n) > uint64(limit) {
		d.Fail("longer than allowed")
		return nil
	}
	return d.Raw(int(n))
}

// String is Bytes as a copy.
func (d *Decoder) String(limit int) string { return string(d.Bytes(limit)) }

// Count reads the length of a list: at most limit, and no more than the bytes
// left can hold at size bytes an item, the least that one takes. So memory for
// the list may be taken at once.
func (d *Decoder) Count(limit, size int) int {
	n := d.U32()
	if uint64(n) > uint64(limit) || uint64(n)*uint64(size) > uint64(len(d.b)) {
		d.Fail("longer than allowed")
		return 0
	}
	return int(n)
}

// Magic reads len(want) bytes that must be want.
func (d *Decoder) Magic(want string) {
	if b := d.Raw(len(want)); b != nil && string(b) != want {
		d.Fail("not " + want)
	}
}

// One reads a byte that must be between low and high: the numbers a version
// of the format knows.
func (d *Decoder) One(low, high uint8) uint8 {
	v := d.U8()
	if d.err == nil && (v < low || v > high) {
		d.Fail(fmt.Sprintf("unknown number %d", v))
		return low
	}
	return v
}

// UUID reads 16 bytes.
func (d *Decoder) UUID() (u UUID) { copy(u[:], d.Raw(16)); return u }

// ID reads an object id.
func (d *Decoder) ID() (id ID) { copy(id[:], d.Raw(32)); return id }

// Hash reads a hash.
func (d *Decoder) Hash() (h Hash) { copy(h[:], d.Raw(32)); return h }

// Key reads a key.
func (d *Decoder) Key() (k Key) { copy(k[:], d.Raw(32)); return k }

// Ref reads a ref, whose length must be possible.
func (d *Decoder) Ref() Ref {
	r := Ref{ID: d.ID(), Key: d.Key(), Len: d.U32()}
	if r.Len > MaxPlain {
		d.Fail("ref longer than allowed")
		return Ref{}
	}
	return r
}

// Mismatched is the failure E1506: what was read is not what was stored, for
// the reason that cause gives.
func Mismatched(what string, cause error) error {
	return errs.Of(errs.Mismatch).Because(fmt.Errorf("%s: %w", what, cause))
}
