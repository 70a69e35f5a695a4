package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// sqliteReaders bounds the connections that read. Each keeps its own page
// cache, and the processor is the limit long before this. sqlitePeeks of them are
// for Peek.
const (
	sqliteReaders = 8
	sqlitePeeks   = 4
)

func openSQLite(path string) (*DB, error) {
	if path == "" {
		return nil, errors.New("the database's address names no file")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", path, err)
	}
	// One writer: SQLite has no more, and waiting for a connection ends with
	// the context, which waiting for SQLite's own lock does less promptly.
	write, err := sql.Open("sqlite", sqliteDSN(abs, url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"},
		"_dqs":    {"0"},
		"_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
			"trusted_schema(0)", "journal_size_limit(67108864)", "cache_size(-32768)", "temp_store(2)",
		},
	}))
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	write.SetConnMaxLifetime(0)
	read, err := openReaders(sqliteDSN(abs, url.Values{
		"mode":    {"rw"}, // a reader may have to recover the log
		"_dqs":    {"0"},
		"_pragma": {"busy_timeout(10000)", "query_only(1)", "trusted_schema(0)", "cache_size(-8192)", "temp_store(2)"},
	}))
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("opening database %s: %w", path, err)
	}
	read.SetMaxOpenConns(sqliteReaders)
	read.SetMaxIdleConns(sqliteReaders)
	return &DB{Now: time.Now, write: write, read: read, dialect: sqlite, path: abs, place: abs, again: make(chan struct{}, 1),
		writes: newLane(1), reads: newLane(sqliteReaders - sqlitePeeks), peeks: newLane(sqlitePeeks)}, nil
}

func sqliteDSN(path string, query url.Values) string {
	u := url.URL{Scheme: "file", Path: path}
	return u.String() + "?" + query.Encode()
}

// createSQLite makes the file itself: SQLite would make it readable to all that
// the umask allows, and gives its log the file's own permissions.
func createSQLite(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	return f.Close()
}

// versionSQLite reads the schema's version and changes nothing: not the file's
// journal mode, and without leaving a log or shared memory beside it. A file
// without a log is read as immutable, since SQLite would otherwise make a log
// to lock. A log that is there must be read with the file; then a server is
// running or has crashed, and SQLite's files are there already.
func versionSQLite(ctx context.Context, path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for database: %w", err)
	}
	query := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(1)"}}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		query.Set("immutable", "1")
	}
	d, err := sql.Open("sqlite", sqliteDSN(path, query))
	if err != nil {
		return 0, fmt.Errorf("opening database %s: %w", path, err)
	}
	defer d.Close()
	var tables int
	if err := d.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1`, versionTable).Scan(&tables); err != nil {
		return 0, fmt.Errorf("reading database %s: %w", path, err)
	}
	if tables == 0 {
		return 0, nil
	}
	return maxVersion(ctx, d)
}

func sqliteCode(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return lib.SQLITE_OK
}

func sqliteRetry(err error) bool {
	// The low byte is the primary code; the rest says why.
	switch sqliteCode(err) & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return true
	}
	return false
}

func sqliteFull(err error) bool { return sqliteCode(err)&0xff == lib.SQLITE_FULL }

func sqliteDuplicate(err error) bool {
	code := sqliteCode(err)
	return code == lib.SQLITE_CONSTRAINT_UNIQUE || code == lib.SQLITE_CONSTRAINT_PRIMARYKEY
}
