// Package db opens the server's database, SQLite or PostgreSQL, and runs
// transactions on it. Features write their SQL once, with $1 placeholders and
// the few types that both have; this package is the only one that knows which
// of the two it is.
//
// A transaction is a closure: Read for a snapshot that cannot write, Write for
// changes that happen wholly or not at all, as if no other transaction ran
// beside it. A Write closure may run several times, when the database asks for
// a repetition: it must do nothing but use its Tx and set variables of its
// caller. Transactions do not nest; on SQLite a Write inside a Write waits for
// itself until its context ends.
//
// Instants are BIGINT microseconds since 1970, 0 for never; Micros and Time
// convert.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// DB is an open database.
type DB struct {
	// Now is the clock that transactions read. Set it before the first
	// transaction.
	Now func() time.Time

	write, read *sql.DB // one and the same on PostgreSQL
	dialect     dialect
	path        string // SQLite's file
	place       string // for people, without the password

	// Whoever waits for a connection waits in one of these, so that questions do not
	// wait for transactions. On PostgreSQL those that write and those that read wait
	// in one.
	writes, reads, peeks lane

	// again lets one transaction of this process at a time be repeated, so
	// that many which were in each other's way do not stay so.
	again chan struct{}
}

// lane is how many may use connections at once, and lets others in in the order in
// which they came. database/sql takes any of those who wait: when ten thousand
// devices fetched their tokens, some calls waited for 16 s and most for one.
type lane chan struct{}

func newLane(n int) lane { return make(lane, n) }

func (l lane) enter(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lane) leave() { <-l }

type dialect int

const (
	sqlite dialect = iota
	postgres
)

// Open prepares the database that dsn names: "sqlite:PATH" or "postgres://...".
// It creates nothing, and does not look at the schema; Prepare, Check and
// Migrate do.
func Open(ctx context.Context, dsn string) (*DB, error) {
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		return openSQLite(strings.TrimPrefix(dsn, "sqlite:"))
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		return openPostgres(ctx, dsn)
	}
	return nil, errors.New(`the database's address must begin with "sqlite:" or "postgres://"`)
}

// Close ends all connections.
func (d *DB) Close() error {
	err := d.read.Close()
	if d.write != d.read {
		// The writer last: it folds SQLite's log into the file.
		err = errors.Join(err, d.write.Close())
	}
	return err
}

// Kind names the database for people: "SQLite" or "PostgreSQL".
func (d *DB) Kind() string {
	if d.dialect == postgres {
		return "PostgreSQL"
	}
	return "SQLite"
}

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.read.PingContext(ctx); err != nil {
		return fmt.Errorf("asking the database: %w", err)
	}
	return nil
}

// Micros is t as the database keeps it, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the instant that the database keeps as micros, the zero time for 0.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Null is s for a column that may be null: NULL when s is empty.
func Null[S ~string](s S) any {
	if s == "" {
		return nil
	}
	return string(s)
}

// In is a list of n placeholders beginning with $first, for IN (...). With
// n = 0 it is NULL, which nothing is in.
func In(n, first int) string {
	if n == 0 {
		return "NULL"
	}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

// Contains is the pattern for LIKE $n ESCAPE '\' that finds text within a
// column.
func Contains(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

// Args are the values of a list as a statement takes them, for In.
func Args[T any](list []T) []any {
	args := make([]any, len(list))
	for i, v := range list {
		args[i] = v
	}
	return args
}
