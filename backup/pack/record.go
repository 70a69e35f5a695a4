package pack

import (
	"errors"
	"fmt"
	"io"

	"github.com/backstay/backstay/backup"
)

// Record is one object on its way, or the answer that it is missing.
type Record struct {
	Kind   backup.Kind
	ID     backup.ID
	Sealed []byte
}

// AppendHead appends what stands before the n sealed bytes of a record. A
// record is this and then those.
func AppendHead(b []byte, kind backup.Kind, id backup.ID, n int) []byte {
	e := backup.Encoder{B: b}
	e.U8(uint8(kind))
	e.Raw(id[:])
	e.U32(uint32(n))
	return e.B
}

// AppendMissing appends the record that says that id is not to be had.
func AppendMissing(b []byte, id backup.ID) []byte { return AppendHead(b, backup.Missing, id, 0) }

// Reader reads a stream of records. It checks their form and limits, not
// their hashes.
type Reader struct {
	r       io.Reader
	missing bool
	head    [RecordHead]byte
	buf     []byte
}

// NewReader returns a Reader of r. With missing it also takes records of kind
// backup.Missing; without, they are errors like any other unknown kind.
func NewReader(r io.Reader, missing bool) *Reader { return &Reader{r: r, missing: missing} }

// Next returns the next record, whose Sealed is valid until the next call. At
// the end of the stream it returns io.EOF, and io.ErrUnexpectedEOF when the
// stream ends inside a record. A record that breaks the format is E1506.
func (r *Reader) Next() (Record, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return Record{}, err
	}
	rec, n, err := decodeRecordHead(r.head[:], r.missing)
	if err != nil {
		return Record{}, err
	}
	if cap(r.buf) < n {
		// A quarter more, so that slowly growing records do not make
		// one buffer each.
		r.buf = make([]byte, min(n+n/4, backup.MaxSealed))
	}
	rec.Sealed = r.buf[:n]
	if _, err := io.ReadFull(r.r, rec.Sealed); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Record{}, err
	}
	return rec, nil
}

func decodeRecordHead(b []byte, missing bool) (rec Record, n int, err error) {
	d := backup.NewDecoder("record", b)
	rec = Record{Kind: backup.Kind(d.U8()), ID: d.ID()}
	n = int(d.U32())
	if err := d.Finish(); err != nil {
		return Record{}, 0, err
	}
	switch {
	case missing && rec.Kind == backup.Missing && n == 0:
	case !rec.Kind.Valid():
		err = fmt.Errorf("unknown kind %d", rec.Kind)
	case n < minSealed || n > backup.MaxSealed:
		err = fmt.Errorf("%d bytes are no object", n)
	}
	if err != nil {
		return Record{}, 0, backup.Mismatched("record", err)
	}
	return rec, n, nil
}
