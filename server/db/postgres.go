package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresConns bounds a server's connections, so that several servers fit
// into PostgreSQL's default of 100. postgresPeeks of them are for Peek.
const (
	postgresConns = 16
	postgresPeeks = 4
)

func openPostgres(_ context.Context, dsn string) (*DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// The error of pgx quotes the address with its password masked only
		// in part of the cases.
		return nil, errors.New("the database's address is not a valid postgres:// address")
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	pool.SetConnMaxIdleTime(time.Minute)
	place := fmt.Sprintf("%s@%s:%d/%s", config.User, config.Host, config.Port, config.Database)
	transactions := newLane(postgresConns - postgresPeeks)
	return &DB{Now: time.Now, write: pool, read: pool, dialect: postgres, place: place, again: make(chan struct{}, 1),
		writes: transactions, reads: transactions, peeks: newLane(postgresPeeks)}, nil
}

func versionPostgres(ctx context.Context, d *sql.DB) (int64, error) {
	var exists bool
	if err := d.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, versionTable).Scan(&exists); err != nil {
		return 0, fmt.Errorf("reading database: %w", err)
	}
	if !exists {
		return 0, nil
	}
	return maxVersion(ctx, d)
}

func postgresCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func postgresRetry(err error) bool {
	switch postgresCode(err) {
	case "40001", "40P01": // serialization failure, deadlock
		return true
	}
	return false
}

// postgresGone reports whether the server stopped, or ended the connection, while
// a transaction ran.
func postgresGone(err error) bool {
	code := postgresCode(err)
	return strings.HasPrefix(code, "57P0") || strings.HasPrefix(code, "08")
}

// postgresUnreached reports whether a query did not come through to the server, or
// its answer back.
func postgresUnreached(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

func postgresFull(err error) bool { return postgresCode(err) == "53100" }

func postgresDuplicate(err error) bool { return postgresCode(err) == "23505" }
