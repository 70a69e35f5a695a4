//go:build linux

package scripttest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/server/db"
)

// soundCommand reads all that the vault holds: every pack is whole, every object in
// it hashes to its id, and the index tells where it lies and of no other: sound
func soundCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: sound")
	}
	dir := ts.MkAbs("server-data/vault/packs")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	ts.Check(err)
	ctx := context.Background()
	d := openDB(ts)
	defer d.Close()
	ts.Check(d.Read(ctx, func(tx *db.Tx) error {
		names, err := db.All(ctx, tx, db.Column[string], `SELECT name FROM packs`)
		if err == nil && len(names) != len(files) {
			err = fmt.Errorf("%d packs are known, and %d lie in the vault", len(names), len(files))
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := soundPack(ctx, tx, filepath.Join(dir, name[:2], name)); err != nil {
				return fmt.Errorf("pack %s: %w", name, err)
			}
		}
		var lost int
		err = tx.QueryRow(ctx, `SELECT count(*) FROM chunks WHERE state <> 0 OR pack NOT IN (SELECT number FROM packs)`).Scan(&lost)
		if err == nil && lost > 0 {
			err = fmt.Errorf("%d objects of the index are nowhere", lost)
		}
		return err
	}))
}

// soundPack checks one pack against the index.
func soundPack(ctx context.Context, tx *db.Tx, path string) error {
	type place struct {
		id          string
		offset, len int64
	}
	rows, err := db.All(ctx, tx, func(r db.Row) (p place, err error) {
		var id []byte
		err = r.Scan(&id, &p.offset, &p.len)
		p.id = string(id)
		return p, err
	}, `SELECT c.id, c.off, c.len FROM chunks c JOIN packs p ON p.number = c.pack WHERE p.name = $1`, filepath.Base(path))
	if err != nil {
		return err
	}
	indexed := map[place]bool{}
	for _, p := range rows {
		indexed[p] = true
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, entries, err := pack.ReadIndex(f, info.Size())
	if err != nil {
		return err
	}
	for _, e := range entries {
		sealed := make([]byte, e.Len)
		if _, err := f.ReadAt(sealed, int64(e.Offset)); err != nil {
			return err
		}
		if sha256.Sum256(sealed) != e.ID {
			return fmt.Errorf("object %s is damaged", e.ID)
		}
		delete(indexed, place{string(e.ID[:]), int64(e.Offset), int64(e.Len)})
	}
	if len(indexed) > 0 {
		return fmt.Errorf("%d objects of the index are not in it", len(indexed))
	}
	return nil
}
