package db

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
)

// Tx is a running transaction. It is for one goroutine, and ends when the
// closure that was given it returns. Rows of a query must be closed before the
// next statement.
type Tx struct {
	tx      querier
	now     time.Time
	dialect dialect
}

// querier is a transaction of the database, or a connection where Peek does
// without one.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Now is the time of the transaction, the same in all of it, in UTC and whole
// microseconds.
func (tx *Tx) Now() time.Time { return tx.now }

// text is the query as the database reads it best. SQLite takes $1 for a name,
// and both it and its driver look for each name among all the others: a list of
// 250 takes longer to read than to answer. Parameters that come one after
// another, as those of lists do, need no names at all; for others ?1 is at
// least not looked for.
func (tx *Tx) text(query string) string {
	if tx.dialect != sqlite || strings.IndexByte(query, '$') < 0 {
		return query
	}
	numbered := make([]byte, 0, len(query))
	bare := make([]byte, 0, len(query))
	quoted, inOrder := false, true
	for i, next := 0, 1; i < len(query); i++ {
		c := query[i]
		if c == '\'' {
			quoted = !quoted
		}
		if c != '$' || quoted {
			numbered, bare = append(numbered, c), append(bare, c)
			continue
		}
		numbered, bare = append(numbered, '?'), append(bare, '?')
		n := 0
		for ; i+1 < len(query) && '0' <= query[i+1] && query[i+1] <= '9'; i++ {
			numbered = append(numbered, query[i+1])
			n = 10*n + int(query[i+1]-'0')
		}
		inOrder = inOrder && n == next
		next++
	}
	if inOrder {
		return string(bare)
	}
	return string(numbered)
}

// Exec runs a statement that returns no rows.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return tx.tx.ExecContext(ctx, tx.text(query), args...)
}

// Query runs a query.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.tx.QueryContext(ctx, tx.text(query), args...)
}

// QueryRow runs a query of at most one row. Scan gives sql.ErrNoRows when there
// is none.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, tx.text(query), args...)
}

// Changed runs a statement and reports how many rows it changed.
func (tx *Tx) Changed(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.Exec(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Read runs f on a snapshot of the database that does not change while it
// runs. A write in it fails.
func (d *DB) Read(ctx context.Context, f func(*Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if d.dialect == postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return d.run(ctx, d.read, d.reads, opts, f)
}

// Peek runs f, which only reads, without a transaction: each of its queries sees
// the database as it is when it is asked. It is for what is asked all the time by
// queries that each stand for themselves; BEGIN and COMMIT are questions of their
// own to PostgreSQL. It has connections that no transaction takes.
func (d *DB) Peek(ctx context.Context, f func(*Tx) error) error {
	if err := d.peeks.enter(ctx); err != nil {
		return err
	}
	defer d.peeks.leave()
	conn, err := d.read.Conn(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return away(err)
	}
	defer conn.Close()
	err = f(d.begun(conn))
	if err != nil && ctx.Err() == nil && (postgresGone(err) || postgresUnreached(err)) {
		return away(err)
	}
	return err
}

func (d *DB) begun(q querier) *Tx {
	return &Tx{tx: q, now: d.Now().UTC().Truncate(time.Microsecond), dialect: d.dialect}
}

const (
	attempts  = 20
	firstWait = 2 * time.Millisecond
	lastWait  = 200 * time.Millisecond
)

// Write runs f and commits what it did, or nothing when it fails or panics.
// When Write returns nil the changes are on the disk.
//
// Transactions are serializable: SQLite has one writer, which starts with BEGIN
// IMMEDIATE; PostgreSQL finds out which ones are in each other's way and fails
// all but one. Those are repeated here, after a random and growing wait, one at
// a time in this process, so that features need no locks and mean the same on
// both. After 20 attempts it gives up with E1402. A full disk is E1601.
func (d *DB) Write(ctx context.Context, f func(*Tx) error) error {
	opts := &sql.TxOptions{}
	if d.dialect == postgres {
		opts.Isolation = sql.LevelSerializable
	}
	err := d.run(ctx, d.write, d.writes, opts, f)
	if err == nil || !d.retry(err) {
		return d.explain(err)
	}
	select {
	case d.again <- struct{}{}:
		defer func() { <-d.again }()
	case <-ctx.Done():
		return ctx.Err()
	}
	wait := firstWait
	for range attempts - 1 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait)):
		}
		err = d.run(ctx, d.write, d.writes, opts, f)
		if err == nil || !d.retry(err) {
			return d.explain(err)
		}
		wait = min(2*wait, lastWait)
	}
	return errs.Of(errs.ServerBusy, "n", 1).Because(err)
}

func (d *DB) run(ctx context.Context, pool *sql.DB, l lane, opts *sql.TxOptions, f func(*Tx) error) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	tx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		err = fmt.Errorf("beginning a transaction: %w", err)
		if ctx.Err() != nil || d.retry(err) || sqliteFull(err) || postgresFull(err) {
			return err
		}
		return away(err)
	}
	// After a commit this does nothing; after an error or a panic it undoes all.
	defer tx.Rollback()
	if err := f(d.begun(tx)); err != nil {
		if ctx.Err() == nil && postgresGone(err) {
			return away(err)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// away is what people are told of a database that does not answer: that it passes.
func away(err error) error { return errs.New(errs.Unavailable, "error.away").Because(err) }

// retry reports whether a transaction failed only because of another one.
func (d *DB) retry(err error) bool {
	if d.dialect == postgres {
		return postgresRetry(err)
	}
	return sqliteRetry(err)
}

func (d *DB) explain(err error) error {
	if err == nil || errs.Find(err) != nil {
		return err
	}
	if sqliteFull(err) || postgresFull(err) {
		return errs.Of(errs.StorageFull).Because(err)
	}
	return err
}

// Duplicate reports whether err says that a row with the same unique value is
// there already. On PostgreSQL the transaction is lost with it, so that this is
// for the caller of Write, or for the last statement in it.
func Duplicate(err error) bool {
	return sqliteDuplicate(err) || postgresDuplicate(err)
}
