package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// A connection keeps its statements: they answer again with other values, also when
// reading was broken off before, and many texts are no trouble.
func TestSameQueryAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	const numbers = `WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT)) SELECT i FROM n`
	count := func(tx *db.Tx, from, to int) (sum int) {
		t.Helper()
		list, err := db.All(t.Context(), tx, db.Column[int], numbers, from, to)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			sum += i
		}
		return sum
	}
	read := func(f func(tx *db.Tx) error) {
		t.Helper()
		if err := d.Read(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		read(func(tx *db.Tx) error {
			if got := count(tx, 1, 4); got != 10 {
				t.Errorf("1 to 4 is %d, want 10", got)
			}
			if got := count(tx, 5, 6); got != 11 {
				t.Errorf("5 to 6 is %d, want 11", got)
			}
			return nil
		})
		// Left in the middle.
		ctx, cancel := context.WithCancel(t.Context())
		err := d.Read(ctx, func(tx *db.Tx) error {
			rows, err := tx.Query(ctx, numbers, 1, 1_000_000)
			if err != nil {
				return err
			}
			defer rows.Close()
			rows.Next()
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("broken off: %v", err)
		}
	}
	for i := range 200 {
		read(func(tx *db.Tx) error {
			got, err := db.All(t.Context(), tx, db.Column[int], fmt.Sprintf("SELECT %d", i))
			if err == nil && (len(got) != 1 || got[0] != i) {
				t.Errorf("SELECT %d is %v", i, got)
			}
			return err
		})
	}
}
