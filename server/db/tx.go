package db

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay/errs"
)

// Tx is a running transaction. It is for one goroutine, and ends when the
// closure that was given it returns. Rows of a query must be closed before the
// next statement.
type Tx struct {
	tx  *sql.Tx
	now time.Time
}

// Now is the time of the transaction, the same in all of it, in UTC and whole
// microseconds.
func (tx *Tx) Now() time.Time { return tx.now }

// Exec runs a statement that returns no rows.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return tx.tx.ExecContext(ctx, query, args...)
}

// Query runs a query.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.tx.QueryContext(ctx, query, args...)
}

// QueryRow runs a query of at most one row. Scan gives sql.ErrNoRows when there
// is none.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, query, args...)
}

// Changed runs a statement and reports how many rows it changed.
func (tx *Tx) Changed(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.tx.ExecContext(ctx, query, args...)
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
	return d.run(ctx, d.read, opts, f)
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
	err := d.run(ctx, d.write, opts, f)
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
		err = d.run(ctx, d.write, opts, f)
		if err == nil || !d.retry(err) {
			return d.explain(err)
		}
		wait = min(2*wait, lastWait)
	}
	return errs.Of(errs.ServerBusy, "n", 1).Because(err)
}

func (d *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, f func(*Tx) error) error {
	tx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	// After a commit this does nothing; after an error or a panic it undoes all.
	defer tx.Rollback()
	if err := f(&Tx{tx: tx, now: d.Now().UTC().Truncate(time.Microsecond)}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

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
