package pack

import (
	"errors"
	"fmt"
	"io"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

// ReadIndex reads the head and the index of a pack of size bytes, from its
// tail. A pack that has no sound end is E1506; Scan may still read it. The
// records are not read.
func ReadIndex(r io.ReaderAt, size int64) (Head, []Entry, error) {
	if size < int64(HeadSize+tailSize) {
		return Head{}, nil, backup.Mismatched("pack", errors.New("is too short"))
	}
	tail, err := readAt(r, size-int64(tailSize), tailSize)
	if err != nil {
		return Head{}, nil, err
	}
	d := backup.NewDecoder("tail of a pack", tail)
	at, sum := d.U64(), d.Hash()
	d.Magic(tailMagic)
	if err := d.Finish(); err != nil {
		return Head{}, nil, err
	}
	end := size - int64(tailSize)
	if at < uint64(HeadSize) || at > uint64(HeadSize)+backup.MaxPack || int64(at) > end || end-int64(at) > 4+maxCount*int64(entrySize) {
		return Head{}, nil, backup.Mismatched("pack", errors.New("its index lies elsewhere"))
	}
	head, err := readAt(r, 0, HeadSize)
	if err != nil {
		return Head{}, nil, err
	}
	index, err := readAt(r, int64(at), int(end-int64(at)))
	if err != nil {
		return Head{}, nil, err
	}
	if indexSum(head, index) != sum {
		return Head{}, nil, backup.Mismatched("pack", errors.New("its index is damaged"))
	}
	h, err := decodeHead(head)
	if err != nil {
		return Head{}, nil, err
	}
	entries, err := decodeIndex(index, h.Class, at)
	return h, entries, err
}

// decodeIndex checks that the entries are exactly the records between the head
// and end.
func decodeIndex(b []byte, class backup.Class, end uint64) ([]Entry, error) {
	d := backup.NewDecoder("index of a pack", b)
	entries := make([]Entry, d.Count(maxCount, entrySize))
	at := uint64(HeadSize)
	for i := range entries {
		e := Entry{Kind: backup.Kind(d.U8()), ID: d.ID(), Offset: d.U64(), Len: d.U32()}
		at += uint64(RecordHead)
		if !e.Kind.Valid() || e.Kind.Class() != class || e.Offset != at || e.Len < minSealed || e.Len > backup.MaxSealed {
			d.Fail("an entry is not that of a record")
			break
		}
		at += uint64(e.Len)
		entries[i] = e
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	if len(entries) == 0 || at != end {
		return nil, backup.Mismatched("index of a pack", errors.New("does not tell of all records"))
	}
	return entries, nil
}

// Scan reads a pack from its head, record by record, for when ReadIndex finds
// no sound end. each is called with every whole record and where it lies, and
// checks its hash; sealed is valid during the call. The records end where what
// follows is none of the pack's class: at the index, or a torn or damaged end.
func Scan(r io.Reader, each func(e Entry, sealed []byte) error) (Head, error) {
	head := make([]byte, HeadSize)
	if _, err := io.ReadFull(r, head); err != nil && !torn(err) {
		return Head{}, fmt.Errorf("scanning a pack: %w", err)
	}
	h, err := decodeHead(head)
	if err != nil {
		return Head{}, err
	}
	at := uint64(HeadSize)
	for records := NewReader(r, false); at < uint64(HeadSize)+backup.MaxPack; {
		rec, err := records.Next()
		if err != nil && !torn(err) {
			return h, fmt.Errorf("scanning a pack: %w", err)
		}
		if err != nil || rec.Kind.Class() != h.Class {
			break
		}
		e := Entry{Kind: rec.Kind, ID: rec.ID, Offset: at + uint64(RecordHead), Len: uint32(len(rec.Sealed))}
		if err := each(e, rec.Sealed); err != nil {
			return h, err
		}
		at = e.Offset + uint64(e.Len)
	}
	return h, nil
}

// torn reports whether err means the end of what can be read as records, not
// a failure to read.
func torn(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errs.Is(err, errs.Mismatch)
}

func readAt(r io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, at, int64(n)), b); err != nil {
		return nil, fmt.Errorf("reading a pack: %w", err)
	}
	return b, nil
}
