package db_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

func TestAll(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	const numbers = "SELECT n FROM (SELECT 3 AS n UNION ALL SELECT 1 UNION ALL SELECT 3) AS numbers"
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		list, err := db.All(t.Context(), tx, db.Column[int], numbers+" WHERE n > $1 ORDER BY n", 0)
		if err != nil || !slices.Equal(list, []int{1, 3, 3}) {
			t.Errorf("All = %v, %v", list, err)
		}
		if list, err = db.All(t.Context(), tx, db.Column[int], numbers+" WHERE n > $1", 9); err != nil || len(list) > 0 {
			t.Errorf("All of nothing = %v, %v", list, err)
		}
		counts, err := db.Counts[int](t.Context(), tx, "SELECT n, count(*) FROM ("+numbers+") AS numbers GROUP BY n")
		if err != nil || !maps.Equal(counts, map[int]int{1: 1, 3: 2}) {
			t.Errorf("Counts = %v, %v", counts, err)
		}
		// A row that cannot be read ends it, and leaves the transaction to others.
		unreadable := errors.New("unreadable")
		if list, err := db.All(t.Context(), tx, func(db.Row) (int, error) { return 0, unreadable }, numbers); list != nil || !errors.Is(err, unreadable) {
			t.Errorf("All of what cannot be read = %v, %v", list, err)
		}
		_, err = db.All(t.Context(), tx, db.Column[int], numbers)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
