// Package pack holds many sealed objects in one blob, as docs/format.md
// section 9 says: a head, records that describe themselves, an index, and a
// tail that finds the index. The same records are what a device sends and
// gets; only there, a record of kind backup.Missing says that an object is not
// to be had.
//
// A pack whose end is lost is read from its head (Scan): the store is the
// truth, and the server's database can be made again from it (R5).
package pack

import (
	"errors"

	"github.com/backstay/backstay/backup"
)

const (
	magic     = "BSPACK01"
	tailMagic = "BSPACKIX"

	// HeadSize is the length of a pack's head, RecordHead of what stands
	// before an object's bytes in a record.
	HeadSize   = len(magic) + 1 + 1 + 3*16 + 8
	RecordHead = 1 + 32 + 4

	entrySize = 1 + 32 + 8 + 4
	tailSize  = 8 + 32 + len(tailMagic)

	// minSealed is the least that an object can have: nothing, sealed.
	minSealed = 5 + 16
	maxCount  = backup.MaxPack / (RecordHead + minSealed)
)

// ErrFull is returned for a record that would take a pack over its limit.
var ErrFull = errors.New("the pack is full")

// Head says whose objects a pack holds, and who sent them when.
type Head struct {
	Class  backup.Class
	Org    backup.UUID
	User   backup.UUID
	Device backup.UUID
	Time   uint64 // µs since 1970
}

func (h Head) encode() []byte {
	e := backup.Encoder{B: make([]byte, 0, HeadSize)}
	e.Text(magic)
	e.U8(backup.Suite)
	e.U8(uint8(h.Class))
	e.Raw(h.Org[:])
	e.Raw(h.User[:])
	e.Raw(h.Device[:])
	e.U64(h.Time)
	return e.B
}

func decodeHead(b []byte) (Head, error) {
	d := backup.NewDecoder("head of a pack", b)
	d.Magic(magic)
	d.One(backup.Suite, backup.Suite)
	h := Head{
		Class: backup.Class(d.One(uint8(backup.ClassData), uint8(backup.ClassMetadata))),
		Org:   d.UUID(), User: d.UUID(), Device: d.UUID(),
		Time: d.U64(),
	}
	return h, d.Finish()
}

// Entry says where an object lies in a pack.
type Entry struct {
	Kind   backup.Kind
	ID     backup.ID
	Offset uint64 // of the sealed bytes, from the start of the pack
	Len    uint32 // of the sealed bytes
}
