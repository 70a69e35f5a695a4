package dbtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/db"
)

// Copier copies a row of a table, by its id, as often as it is called, but for the
// columns that it is given. That is how a test has ten thousand of something.
func Copier(t testing.TB, tx *db.Tx, table, id string) func(other map[string]any) {
	t.Helper()
	rows, err := tx.Query(t.Context(), "SELECT * FROM "+table+" WHERE id = $1", id)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil || !rows.Next() {
		t.Fatalf("there is no row %s in %s: %v", id, table, err)
	}
	values, cells := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		cells[i] = &values[i]
	}
	if err := rows.Scan(cells...); err != nil {
		t.Fatal(err)
	}
	statement := "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (" + db.In(len(columns), 1) + ")"
	return func(other map[string]any) {
		t.Helper()
		args := slices.Clone(values)
		for i, name := range columns {
			if v, ok := other[name]; ok {
				args[i] = v
			}
		}
		if _, err := tx.Exec(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
}
