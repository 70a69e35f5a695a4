package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"slices"

	"github.com/backstay/backstay/backup"
)

const (
	formFull  = 1
	formDelta = 2
)

// Refs lists the objects a snapshot needs: in full, or against the refs of
// another snapshot of the set. All lists are ascending and without repeats.
type Refs struct {
	Delta   bool
	Base    backup.Hash // refs_id of the base; a delta's only
	Depth   uint8       // 0 for a full list, for a delta the base's plus 1
	Added   []backup.ID // of a full list, all
	Removed []backup.ID
}

// Encode returns the refs' bytes.
func (r *Refs) Encode() []byte {
	e := backup.Encoder{B: make([]byte, 0, 64+32*(len(r.Added)+len(r.Removed)))}
	e.U8(1)
	if r.Delta {
		e.U8(formDelta)
		e.Raw(r.Base[:])
		e.U8(r.Depth)
	} else {
		e.U8(formFull)
	}
	encodeIDs(&e, r.Added)
	if r.Delta {
		encodeIDs(&e, r.Removed)
	}
	return e.B
}

func encodeIDs(e *backup.Encoder, ids []backup.ID) {
	e.U64(uint64(len(ids)))
	for i := range ids {
		e.Raw(ids[i][:])
	}
}

// DecodeRefs reads refs.
func DecodeRefs(b []byte) (*Refs, error) {
	d := backup.NewDecoder("refs", b)
	d.One(1, 1)
	r := &Refs{Delta: d.One(formFull, formDelta) == formDelta}
	if r.Delta {
		r.Base = d.Hash()
		r.Depth = d.One(1, backup.MaxRefsDepth)
	}
	r.Added = decodeIDs(d)
	if r.Delta {
		r.Removed = decodeIDs(d)
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return r, nil
}

func decodeIDs(d *backup.Decoder) []backup.ID {
	n := d.U64()
	if n > uint64(d.Left()/32) {
		d.Fail("longer than allowed")
		return nil
	}
	ids := make([]backup.ID, n)
	for i := range ids {
		ids[i] = d.ID()
		if i > 0 && compareIDs(ids[i-1], ids[i]) >= 0 {
			d.Fail("ids are not in order")
			return nil
		}
	}
	return ids
}

func compareIDs(a, b backup.ID) int { return bytes.Compare(a[:], b[:]) }

// SortIDs puts ids in order and drops repeats, in place.
func SortIDs(ids []backup.ID) []backup.ID {
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// RefsID names encoded refs.
func RefsID(encoded []byte) backup.Hash { return sha256.Sum256(encoded) }

// Materialise returns the full list; base is that of r.Base, and nil when r is
// a full list. Added ids that the base has, and removed ones that it has not,
// are E1506.
func (r *Refs) Materialise(base []backup.ID) ([]backup.ID, error) {
	if !r.Delta {
		return r.Added, nil
	}
	wrong := backup.Mismatched("refs", errors.New("they do not fit their base"))
	if len(r.Removed) > len(base) {
		return nil, wrong
	}
	ids := make([]backup.ID, 0, len(base)-len(r.Removed)+len(r.Added))
	added, removed := r.Added, r.Removed
	for _, id := range base {
		for len(added) > 0 && compareIDs(added[0], id) < 0 {
			ids = append(ids, added[0])
			added = added[1:]
		}
		if len(added) > 0 && added[0] == id {
			return nil, wrong
		}
		if len(removed) > 0 && removed[0] == id {
			removed = removed[1:]
			continue
		}
		ids = append(ids, id)
	}
	if len(removed) > 0 {
		return nil, wrong
	}
	return append(ids, added...), nil
}

// Diff returns which ids must be added to base, and which removed, to get ids.
// Both lists are ascending and without repeats.
func Diff(base, ids []backup.ID) (added, removed []backup.ID) {
	for len(base) > 0 && len(ids) > 0 {
		switch c := compareIDs(base[0], ids[0]); {
		case c < 0:
			removed = append(removed, base[0])
			base = base[1:]
		case c > 0:
			added = append(added, ids[0])
			ids = ids[1:]
		default:
			base, ids = base[1:], ids[1:]
		}
	}
	return append(added, ids...), append(removed, base...)
}

// MerkleRoot returns the Merkle tree hash of RFC 9162, 2.1.1, over a full list.
func MerkleRoot(ids []backup.ID) (root backup.Hash) {
	h := sha256.New()
	if len(ids) == 0 {
		h.Sum(root[:0])
		return root
	}
	// Complete sub-trees still without a right neighbour, the largest first;
	// sizes are the bits set in the number of leaves taken.
	var open [64]backup.Hash
	n := 0
	for i := range ids {
		open[n] = node(h, 0, ids[i][:], nil)
		n++
		for size := i + 1; size&1 == 0; size >>= 1 {
			n--
			open[n-1] = node(h, 1, open[n-1][:], open[n][:])
		}
	}
	for ; n > 1; n-- {
		open[n-2] = node(h, 1, open[n-2][:], open[n-1][:])
	}
	return open[0]
}

func node(h hash.Hash, prefix byte, left, right []byte) (sum backup.Hash) {
	h.Reset()
	h.Write([]byte{prefix})
	h.Write(left)
	h.Write(right)
	h.Sum(sum[:0])
	return sum
}
