package pack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/backstay/backstay/backup"
)

// Writer writes one pack.
type Writer struct {
	w       io.Writer
	class   backup.Class
	head    []byte
	at      uint64
	entries []Entry
	scratch []byte
	err     error
}

// NewWriter begins a pack on w. Many small writes go to w: it should buffer
// them when that matters.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	if !h.Class.Valid() {
		return nil, fmt.Errorf("writing a pack: %v is unknown", h.Class)
	}
	p := &Writer{w: w, class: h.Class, head: h.encode()}
	p.write(p.head)
	return p, p.err
}

// Add writes a record. It does not check that sealed hashes to id. A record
// that no longer fits is ErrFull and changes nothing; any other error is w's,
// and the pack is then lost.
func (p *Writer) Add(kind backup.Kind, id backup.ID, sealed []byte) error {
	if p.err != nil {
		return p.err
	}
	if !kind.Valid() || kind.Class() != p.class {
		return fmt.Errorf("writing a pack: an object of kind %d does not belong to %v", kind, p.class)
	}
	if len(sealed) < minSealed || len(sealed) > backup.MaxSealed {
		return fmt.Errorf("writing a pack: %d bytes are no object", len(sealed))
	}
	if p.Records()+int64(RecordHead+len(sealed)) > backup.MaxPack {
		return ErrFull
	}
	p.scratch = AppendHead(p.scratch[:0], kind, id, len(sealed))
	p.write(p.scratch)
	p.entries = append(p.entries, Entry{Kind: kind, ID: id, Offset: p.at, Len: uint32(len(sealed))})
	p.write(sealed)
	return p.err
}

// Records returns how many bytes of records were written.
func (p *Writer) Records() int64 { return int64(p.at) - int64(HeadSize) }

// Entries returns the index so far.
func (p *Writer) Entries() []Entry { return p.entries }

// Size returns how many bytes were written; after Close, the pack's length.
func (p *Writer) Size() int64 { return int64(p.at) }

// Close writes index and tail. It does not close or sync w.
func (p *Writer) Close() error {
	if p.err != nil {
		return p.err
	}
	if len(p.entries) == 0 {
		return errors.New("writing a pack: it has no records")
	}
	at := p.at
	e := backup.Encoder{B: make([]byte, 0, 4+len(p.entries)*entrySize+tailSize)}
	e.Count(len(p.entries))
	for _, en := range p.entries {
		e.U8(uint8(en.Kind))
		e.Raw(en.ID[:])
		e.U64(en.Offset)
		e.U32(en.Len)
	}
	sum := indexSum(p.head, e.B)
	e.U64(at)
	e.Raw(sum[:])
	e.Text(tailMagic)
	p.write(e.B)
	return p.err
}

func (p *Writer) write(b []byte) {
	if p.err != nil {
		return
	}
	n, err := p.w.Write(b)
	p.at += uint64(n)
	if err != nil {
		p.err = fmt.Errorf("writing a pack: %w", err)
	}
}

func indexSum(head, index []byte) (sum [32]byte) {
	h := sha256.New()
	h.Write(head)
	h.Write(index)
	h.Sum(sum[:0])
	return sum
}
