package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/db"
)

// piece is an object that a user may have, and where it lies.
type piece struct {
	i    int // in the list that was asked for
	id   backup.ID
	kind backup.Kind
	pack string
	off  int64
	len  int
}

// locatePieces finds those of ids that the user's live snapshots need, in the
// order in which they are read best. The others are not among them, nor those
// that the one snapshot only does not need, where it is named.
func (v *Vault) locatePieces(ctx context.Context, org access.OrgID, user access.UserID, only string, ids []backup.ID) ([]piece, error) {
	type place struct {
		piece
		pack int64
	}
	var places []place
	packs := map[int64]string{}
	err := v.db.Read(ctx, func(tx *db.Tx) error {
		number, err := orgNumber(ctx, tx, org)
		if err != nil || number == 0 {
			return err
		}
		mine, err := v.live(ctx, tx, user)
		if err != nil {
			return err
		}
		if only != "" {
			if mine, err = within(ctx, tx, mine, only); err != nil {
				return err
			}
		}
		rows := make(map[backup.ID]row, len(ids))
		err = lookup(ctx, tx, number, ids, func(id backup.ID, r row) {
			if r.state == sound && mine.Contains(r.number) {
				rows[id] = r
			}
		})
		if err != nil {
			return err
		}
		for i, id := range ids {
			if r, ok := rows[id]; ok {
				places = append(places, place{piece{i: i, id: id, kind: r.kind, off: r.off, len: r.len}, r.pack})
				packs[r.pack] = ""
			}
		}
		return packNames(ctx, tx, packs)
	})
	if err != nil {
		return nil, err
	}
	pieces := make([]piece, len(places))
	for i, p := range places {
		pieces[i] = p.piece
		pieces[i].pack = packs[p.pack]
	}
	slices.SortFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.off, b.off), cmp.Compare(a.i, b.i))
	})
	return pieces, nil
}

// within are those of a user's objects that one snapshot needs. It need not be
// live any more: a newer one of its session may have taken its place.
func within(ctx context.Context, tx *db.Tx, mine *roaring.Bitmap, snapshot string) (*roaring.Bitmap, error) {
	hash, err := backup.ParseHash(snapshot)
	if err != nil {
		return nil, err
	}
	needed := roaring.New()
	err = unite(ctx, tx, needed, "SELECT r.refs FROM snapshots s JOIN snapshot_refs r ON r.snapshot = s.number WHERE s.hash = $1", hash[:])
	if err != nil {
		return nil, err
	}
	return roaring.And(mine, needed), nil
}

func packNames(ctx context.Context, tx *db.Tx, packs map[int64]string) error {
	numbers := make([]int64, 0, len(packs))
	for n := range packs {
		numbers = append(numbers, n)
	}
	return fill(numbers, func(part []int64) error {
		rows, err := tx.Query(ctx, `SELECT number, name FROM packs WHERE number IN (`+db.In(len(part), 1)+`)`, db.Args(part)...)
		if err != nil {
			return fmt.Errorf("looking up packs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var n int64
			var name string
			if err := rows.Scan(&n, &name); err != nil {
				return fmt.Errorf("looking up packs: %w", err)
			}
			packs[n] = name
		}
		return rows.Err()
	})
}

// One read takes up to maxRun bytes of a pack, or one object that is longer,
// and reads over a gap of up to maxGap rather than ask twice. It is the memory
// of a stream, whose client may be slow.
const (
	maxRun = 1 << 20
	maxGap = 64 << 10
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readPieces reads pieces, in the order given, and calls each with the sealed
// bytes, which are valid during the call. Pieces that cannot be read are
// returned as lost.
func (v *Vault) readPieces(ctx context.Context, pieces []piece, each func(piece, []byte) error) (gone []piece, err error) {
	for len(pieces) > 0 {
		n := 1
		for n < len(pieces) && pieces[n].pack == pieces[0].pack {
			n++
		}
		part, err := v.readPack(ctx, pieces[:n], each)
		if err != nil {
			return nil, err
		}
		gone = append(gone, part...)
		pieces = pieces[n:]
	}
	return gone, nil
}

func (v *Vault) readPack(ctx context.Context, pieces []piece, each func(piece, []byte) error) (gone []piece, err error) {
	name := pieces[0].pack
	b, err := v.blobs.Open(ctx, packName(name))
	if errors.Is(err, fs.ErrNotExist) {
		v.log.Error("a pack is lost", "pack", name, "objects", len(pieces))
		return pieces, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading pack %s: %w", name, err)
	}
	defer b.Close()
	for len(pieces) > 0 {
		n, size := run(pieces)
		part, err := v.readRun(ctx, b, pieces[:n], size, each)
		if err != nil {
			return nil, fmt.Errorf("reading pack %s: %w", name, err)
		}
		gone = append(gone, part...)
		pieces = pieces[n:]
	}
	return gone, nil
}

// run is how many of the pieces are read together, and how many bytes that is.
func run(pieces []piece) (n int, size int64) {
	start := pieces[0].off
	end := start + int64(pieces[0].len)
	for n = 1; n < len(pieces); n++ {
		p := pieces[n]
		if p.off-end > maxGap || max(end, p.off+int64(p.len))-start > maxRun {
			break
		}
		end = max(end, p.off+int64(p.len))
	}
	return n, end - start
}

func (v *Vault) readRun(ctx context.Context, b blob.Blob, pieces []piece, size int64, each func(piece, []byte) error) (gone []piece, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = slices.Grow((*buf)[:0], int(size))[:size]
	start := pieces[0].off
	n, err := b.ReadAt(*buf, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, p := range pieces {
		at := int(p.off - start)
		if at+p.len > n {
			v.log.Error("a pack is too short", "pack", p.pack)
			gone = append(gone, p)
			continue
		}
		if err := each(p, (*buf)[at:at+p.len]); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// Read writes the objects ids to w as records, in the order that is cheapest to
// read. One that the user's live snapshots do not need, or that is lost, is
// written as a record of kind 0.
func (v *Vault) Read(ctx context.Context, by access.Caller, ids []backup.ID, w io.Writer) error {
	defer v.line.Restoring()()
	pieces, err := v.locatePieces(ctx, by.Org, by.User, by.Snapshot, ids)
	if err != nil {
		return err
	}
	there := make([]bool, len(ids))
	for _, p := range pieces {
		there[p.i] = true
	}
	var head []byte
	gone, err := v.readPieces(ctx, pieces, func(p piece, sealed []byte) error {
		head = pack.AppendHead(head[:0], p.kind, p.id, len(sealed))
		if _, err := w.Write(head); err != nil {
			return err
		}
		_, err := w.Write(sealed)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range gone {
		there[p.i] = false
	}
	for i, ok := range there {
		if ok {
			continue
		}
		if _, err := w.Write(pack.AppendMissing(head[:0], ids[i])); err != nil {
			return err
		}
	}
	return nil
}

// fetchBatch is how many objects a fetch looks up at once.
const fetchBatch = 1000

// fetcher opens objects of a user's snapshot for the server's own pages. It
// holds the buffers of one read and one object at a time.
func (v *Vault) fetcher(org access.OrgID, user access.UserID, scope backup.UUID) backup.FetchFunc {
	return func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		for start := 0; start < len(refs); start += fetchBatch {
			part := refs[start:min(start+fetchBatch, len(refs))]
			if err := v.fetch(ctx, org, user, scope, kind, part, func(i int, plain []byte) error {
				return each(start+i, plain)
			}); err != nil {
				return err
			}
		}
		return nil
	}
}

func (v *Vault) fetch(ctx context.Context, org access.OrgID, user access.UserID, scope backup.UUID, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
	ids := make([]backup.ID, len(refs))
	for i := range refs {
		ids[i] = refs[i].ID
	}
	pieces, err := v.locatePieces(ctx, org, user, "", ids)
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	gone, err := v.readPieces(ctx, pieces, func(p piece, sealed []byte) error {
		plain, err := crypt.Open((*buf)[:0], scope, kind, refs[p.i], sealed)
		if err != nil {
			return fmt.Errorf("opening object %s: %w", p.id, err)
		}
		*buf = plain
		return each(p.i, plain)
	})
	if err != nil {
		return err
	}
	if n := len(refs) - len(pieces) + len(gone); n > 0 {
		return backup.Mismatched("vault", fmt.Errorf("%d of %d objects are not there", n, len(refs)))
	}
	return nil
}
