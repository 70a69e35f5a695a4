package db

import (
	"context"
	"fmt"
)

// About is what people may know of a database.
type About struct {
	Kind    string // "SQLite" or "PostgreSQL"
	Place   string // the file, or USER@HOST:PORT/NAME; never the password
	Version string // of SQLite or PostgreSQL
	Schema  int64
	Bytes   int64
}

// About asks the database about itself.
func (d *DB) About(ctx context.Context) (About, error) {
	a := About{Kind: d.Kind(), Place: d.place}
	version, bytes := "SELECT sqlite_version()", "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
	if d.dialect == postgres {
		version, bytes = "SHOW server_version", "SELECT pg_database_size(current_database())"
	}
	var err error
	if a.Schema, err = d.Version(ctx); err != nil {
		return About{}, err
	}
	if err = d.read.QueryRowContext(ctx, version).Scan(&a.Version); err != nil {
		return About{}, fmt.Errorf("asking the database for its version: %w", err)
	}
	if err = d.read.QueryRowContext(ctx, bytes).Scan(&a.Bytes); err != nil {
		return About{}, fmt.Errorf("asking the database for its size: %w", err)
	}
	return a, nil
}
