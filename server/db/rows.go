package db

import "context"

// Row is a row to scan: *sql.Row, or the current one of *sql.Rows.
type Row = interface{ Scan(...any) error }

// All runs a query and returns what scan makes of each row, in order. The rows
// are closed when it returns.
func All[T any](ctx context.Context, tx *Tx, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return list, nil
}

// Column scans rows of one column.
func Column[T any](row Row) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}

// Counts runs a query of two columns, what is counted and how often it is there.
func Counts[K comparable](ctx context.Context, tx *Tx, query string, args ...any) (map[K]int, error) {
	counts := map[K]int{}
	_, err := All(ctx, tx, func(row Row) (n int, err error) {
		var k K
		err = row.Scan(&k, &n)
		counts[k] = n
		return n, err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return counts, nil
}
