package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// maxKnown bounds the statements that a connection keeps. Lists of many lengths
// make many texts; when there are too many, all are forgotten.
const maxKnown = 60

// openReaders opens SQLite with connections that keep the statements they have
// read by. SQLite takes as long to understand most of them as to answer.
func openReaders(dsn string) (*sql.DB, error) {
	d, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	defer d.Close() // it has connected to nothing
	return sql.OpenDB(readers{dsn, d.Driver()}), nil
}

type readers struct {
	dsn    string
	driver driver.Driver
}

func (r readers) Driver() driver.Driver { return r.driver }

func (r readers) Connect(context.Context) (driver.Conn, error) {
	conn, err := r.driver.Open(r.dsn)
	if err != nil {
		return nil, err
	}
	able, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of SQLite is a %T", conn), conn.Close())
	}
	return &reader{sqliteConn: able, known: map[string]queryStmt{}}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type queryStmt interface {
	driver.Stmt
	driver.StmtQueryContext
}

// reader is a connection that keeps statements which nobody uses, by their text.
type reader struct {
	sqliteConn
	known map[string]queryStmt
}

var _ driver.QueryerContext = (*reader)(nil)

// QueryContext runs a query. Its statement is taken out for as long as its rows
// are read.
func (r *reader) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, ok := r.known[query]
	if ok {
		delete(r.known, query)
	} else {
		made, err := r.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		if s, ok = made.(queryStmt); !ok {
			return nil, errors.Join(fmt.Errorf("a statement of SQLite is a %T", made), made.Close())
		}
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &readRows{Rows: rows, reader: r, query: query, stmt: s}, nil
}

// keep keeps a statement for the next query of its text.
func (r *reader) keep(query string, s queryStmt) error {
	if r.known[query] != nil {
		return s.Close() // it was asked while it was being read
	}
	if len(r.known) >= maxKnown {
		if err := r.forget(); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	r.known[query] = s
	return nil
}

func (r *reader) forget() error {
	var all []error
	for _, s := range r.known {
		all = append(all, s.Close())
	}
	clear(r.known)
	return errors.Join(all...)
}

// Close closes the statements first, as SQLite wants it.
func (r *reader) Close() error { return errors.Join(r.forget(), r.sqliteConn.Close()) }

// readRows are rows whose statement is kept when they are done.
type readRows struct {
	driver.Rows
	reader *reader
	query  string
	stmt   queryStmt
}

func (r *readRows) Close() error {
	if r.stmt == nil {
		return nil
	}
	s := r.stmt
	r.stmt = nil
	if err := r.Rows.Close(); err != nil {
		return errors.Join(err, s.Close()) // its state is not known
	}
	return r.reader.keep(r.query, s)
}
