package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// The states of an object's row.
const (
	sound     = 0
	condemned = 1 // found unneeded by the collector; answered as missing
	lost      = 2 // its bytes are gone or damaged
)

// row is an object's place in the index.
type row struct {
	number uint32
	kind   backup.Kind
	state  int
	pack   int64
	off    int64
	len    int
}

// contents is how many bytes of files' contents a row has.
func (r row) contents() int64 {
	if r.kind.Class() != backup.ClassData {
		return 0
	}
	return int64(r.len)
}

// batch is how many values one statement names. Lists are filled up to a power
// of two, so that a database which keeps prepared statements keeps ten, not
// five hundred.
const batch = 512

// fill calls f with parts of values of at most batch, each repeated at its end
// up to a power of two.
func fill[T any](values []T, f func([]T) error) error {
	for len(values) > 0 {
		n := min(len(values), batch)
		size := 1
		for size < n {
			size *= 2
		}
		part := make([]T, size)
		copy(part, values[:n])
		for i := n; i < size; i++ {
			part[i] = values[n-1]
		}
		if err := f(part); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// orgNumber is the short number of an organisation, 0 for one that has stored
// nothing.
func orgNumber(ctx context.Context, tx *db.Tx, org access.OrgID) (int64, error) {
	var n int64
	err := tx.QueryRow(ctx, `SELECT number FROM vault_orgs WHERE org = $1`, string(org)).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the number of organisation %s: %w", org, err)
	}
	return n, nil
}

// numberOrg is orgNumber, and gives one to an organisation without.
func numberOrg(ctx context.Context, tx *db.Tx, org access.OrgID) (int64, error) {
	n, err := orgNumber(ctx, tx, org)
	if err != nil || n != 0 {
		return n, err
	}
	err = tx.QueryRow(ctx, `INSERT INTO vault_orgs (org) VALUES ($1) RETURNING number`, string(org)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("numbering organisation %s: %w", org, err)
	}
	return n, nil
}

// lookup finds the rows of ids that an organisation has, in no order; an id
// that is given twice may come twice.
func lookup(ctx context.Context, tx *db.Tx, org int64, ids []backup.ID, each func(backup.ID, row)) error {
	return fill(ids, func(part []backup.ID) error {
		args := make([]any, 1, len(part)+1)
		args[0] = org
		for i := range part {
			args = append(args, part[i][:])
		}
		rows, err := tx.Query(ctx, `SELECT id, number, kind, state, pack, off, len FROM chunks
			WHERE org = $1 AND id IN (`+db.In(len(part), 2)+`)`, args...)
		if err != nil {
			return fmt.Errorf("looking up objects: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var raw sql.RawBytes
			var r row
			if err := rows.Scan(&raw, &r.number, &r.kind, &r.state, &r.pack, &r.off, &r.len); err != nil {
				return fmt.Errorf("looking up objects: %w", err)
			}
			var id backup.ID
			copy(id[:], raw)
			each(id, r)
		}
		return rows.Err()
	})
}

// names finds the ids of rows, in no order.
func names(ctx context.Context, tx *db.Tx, numbers []uint32, each func(uint32, backup.ID)) error {
	return fill(numbers, func(part []uint32) error {
		args := make([]any, len(part))
		for i, n := range part {
			args[i] = int64(n)
		}
		rows, err := tx.Query(ctx, `SELECT number, id FROM chunks WHERE number IN (`+db.In(len(part), 1)+`)`, args...)
		if err != nil {
			return fmt.Errorf("naming objects: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var n uint32
			var raw sql.RawBytes
			if err := rows.Scan(&n, &raw); err != nil {
				return fmt.Errorf("naming objects: %w", err)
			}
			var id backup.ID
			copy(id[:], raw)
			each(n, id)
		}
		return rows.Err()
	})
}

// indexBatch is how many rows one statement adds. Both bounds are measured:
// twice as many gain nothing.
const indexBatch = 256

// index adds a pack's objects and returns their rows. An object that is
// there and live keeps its place, so its second copy is dead from the start; one
// that is condemned or missing is live again, here.
func index(ctx context.Context, tx *db.Tx, org, number int64, entries []pack.Entry) (*roaring.Bitmap, error) {
	found := roaring.New()
	for len(entries) > 0 {
		part := entries[:min(len(entries), indexBatch)]
		entries = entries[len(part):]
		var q strings.Builder
		q.WriteString(`INSERT INTO chunks (org, id, kind, state, pack, off, len) VALUES `)
		args := make([]any, 0, 6*len(part))
		for i, e := range part {
			if i > 0 {
				q.WriteByte(',')
			}
			n := 6 * i
			fmt.Fprintf(&q, "($%d,$%d,$%d,0,$%d,$%d,$%d)", n+1, n+2, n+3, n+4, n+5, n+6)
			args = append(args, org, e.ID[:], int64(e.Kind), number, int64(e.Offset), int64(e.Len))
		}
		q.WriteString(` ON CONFLICT (org, id) DO UPDATE SET
			kind = CASE WHEN chunks.state = 0 THEN chunks.kind ELSE excluded.kind END,
			pack = CASE WHEN chunks.state = 0 THEN chunks.pack ELSE excluded.pack END,
			off = CASE WHEN chunks.state = 0 THEN chunks.off ELSE excluded.off END,
			len = CASE WHEN chunks.state = 0 THEN chunks.len ELSE excluded.len END,
			state = 0 RETURNING number`)
		if err := numbers(ctx, tx, found, q.String(), args...); err != nil {
			return nil, fmt.Errorf("indexing pack %d: %w", number, err)
		}
	}
	return found, nil
}

// numbers adds the row numbers that a query returns to a set.
func numbers(ctx context.Context, tx *db.Tx, set *roaring.Bitmap, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n uint32
		if err := rows.Scan(&n); err != nil {
			return err
		}
		set.Add(n)
	}
	return rows.Err()
}

// unsound is the set of an organisation's objects that no snapshot may refer to.
func unsound(ctx context.Context, tx *db.Tx, org int64) (*roaring.Bitmap, error) {
	set := roaring.New()
	err := numbers(ctx, tx, set, `SELECT number FROM chunks WHERE org = $1 AND state <> 0`, org)
	if err != nil {
		return nil, fmt.Errorf("listing unsound objects: %w", err)
	}
	return set, nil
}

// encode is a set as the database keeps it.
func encode(set *roaring.Bitmap) ([]byte, error) {
	set.RunOptimize()
	b, err := set.ToBytes()
	if err != nil {
		return nil, fmt.Errorf("encoding a set of objects: %w", err)
	}
	return b, nil
}

// unite adds the sets that a query returns, one a row, to set. A null counts
// as empty.
func unite(ctx context.Context, tx *db.Tx, set *roaring.Bitmap, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("reading sets of objects: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw sql.RawBytes
		if err := rows.Scan(&raw); err != nil {
			return fmt.Errorf("reading sets of objects: %w", err)
		}
		if len(raw) == 0 {
			continue
		}
		part := roaring.New()
		if err := part.UnmarshalBinary(raw); err != nil {
			return fmt.Errorf("reading sets of objects: %w", err)
		}
		set.Or(part)
	}
	return rows.Err()
}
