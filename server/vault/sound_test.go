package vault

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/db"
)

// checkSound reads the whole vault and compares it with the index: every sound
// row's bytes hash to its id, every pack's index tells of its records, no pack
// is nameless, and every live snapshot's objects are there.
func (w *world) checkSound(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	good := roaring.New()
	packs := map[string]bool{}
	err := w.db.Read(ctx, func(tx *db.Tx) error {
		rows, err := tx.Query(ctx, `SELECT c.number, c.id, c.off, c.len, c.state, p.name FROM chunks c LEFT JOIN packs p ON p.number = c.pack`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n uint32
			var raw []byte
			var off, size int64
			var state int
			var name sql.NullString
			if err := rows.Scan(&n, &raw, &off, &size, &state, &name); err != nil {
				return err
			}
			if state != sound {
				continue
			}
			packs[name.String] = true
			b, err := w.blobs.Open(ctx, packName(name.String))
			if err != nil {
				t.Errorf("row %d: %v", n, err)
				continue
			}
			data := make([]byte, size)
			_, err = b.ReadAt(data, off)
			b.Close()
			if sum := sha256.Sum256(data); err != nil || backup.ID(sum) != backup.ID(raw) {
				t.Errorf("row %d has other bytes in pack %s (%v)", n, name.String, err)
			}
			good.Add(n)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.blobs.List(ctx, "packs/", func(i blob.Info) error {
		b, err := w.blobs.Open(ctx, i.Name)
		if err != nil {
			return err
		}
		defer b.Close()
		if _, _, err := pack.ReadIndex(b, b.Size()); err != nil {
			t.Errorf("pack %s is not sound: %v", i.Name, err)
		}
		if w.count(`SELECT count(*) FROM packs WHERE name = $1 AND size = $2`, i.Name[len("packs/xx/"):], b.Size()) != 1 {
			t.Errorf("pack %s has no row of its size", i.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	need := roaring.New()
	err = w.db.Read(ctx, func(tx *db.Tx) error {
		return unite(ctx, tx, need, `SELECT r.refs FROM snapshots s JOIN snapshot_refs r ON r.snapshot = s.number WHERE s.state = 'live'`)
	})
	if err != nil {
		t.Fatal(err)
	}
	if need.AndNot(good); !need.IsEmpty() {
		t.Errorf("live snapshots need %d objects that are not there", need.GetCardinality())
	}
}
