package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/errs"
)

// movedTo is the row of meta that says where a database went.
const movedTo = "moved_to"

// moveParameters bounds those of one statement; SQLite takes 32,766.
const moveParameters = 20_000

// Move copies all that d holds to another database, which must be empty, and
// compares the copy row by row before it counts. Both may be of either kind. d
// keeps its rows and is marked: nothing starts on it any more, since two
// databases of one server would drift apart. Nobody else may use d meanwhile,
// which is checked; a move that fails or is broken off leaves d in use and the
// other one empty. progress hears of each table.
func (d *DB) Move(ctx context.Context, to *DB, progress func(table string, rows int64)) error {
	if err := d.Check(ctx); err != nil {
		return err
	}
	if err := to.empty(ctx); err != nil {
		return err
	}
	if err := to.Migrate(ctx); err != nil {
		return err
	}
	from, err := d.alone(ctx)
	if err != nil {
		return err
	}
	defer from.close()
	if err := copyAll(ctx, from, to, progress); err != nil {
		return fmt.Errorf("moving the database: %w", err)
	}
	_, err = from.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ($1, $2)", movedTo, to.place)
	if err != nil {
		return fmt.Errorf("marking the database as moved: %w", err)
	}
	return nil
}

// moved fails when the database is what a move left behind.
func (d *DB) moved(ctx context.Context) error {
	var place string
	err := d.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = $1", movedTo).Scan(&place)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking where the database is: %w", err)
	}
	return errs.New(errs.Conflict, "database.moved", "place", place)
}

// empty refuses a database that holds anything.
func (d *DB) empty(ctx context.Context) error {
	version, err := d.Version(ctx)
	if err != nil || version == 0 {
		return err
	}
	// A move that was broken off leaves the tables behind.
	if err := d.Check(ctx); err != nil {
		return err
	}
	var rows int64
	err = d.read.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM orgs) + (SELECT count(*) FROM audit) + (SELECT count(*) FROM settings)").Scan(&rows)
	if err != nil {
		return fmt.Errorf("looking into the new database: %w", err)
	}
	if rows > 0 {
		return errs.New(errs.Conflict, "database.not_empty", "place", d.place)
	}
	return nil
}

// source is the only connection to a database that is moved.
type source struct {
	*sql.Conn
	pool    *sql.DB
	dialect dialect
}

func (s source) close() {
	s.Close()
	s.pool.Close()
}

// alone returns the only connection to the database, and closes d's others; it
// fails when a server uses the database.
func (d *DB) alone(ctx context.Context) (s source, err error) {
	s = source{pool: d.write, dialect: d.dialect}
	if d.dialect == sqlite {
		// Ours would count as well. Exclusive from its first look at the file, a
		// connection is let in only when there is no other.
		if err := d.Close(); err != nil {
			return s, err
		}
		s.pool, err = sql.Open("sqlite", sqliteDSN(d.path, url.Values{
			"mode": {"rw"}, "_txlock": {"exclusive"}, "_dqs": {"0"},
			"_pragma": {"busy_timeout(1000)", "locking_mode(EXCLUSIVE)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)"},
		}))
		if err != nil {
			return s, fmt.Errorf("opening database %s: %w", d.path, err)
		}
	}
	s.pool.SetMaxOpenConns(1)
	others := 0
	if s.Conn, err = s.pool.Conn(ctx); err != nil {
		s.pool.Close()
	} else if d.dialect == postgres {
		err = s.QueryRowContext(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").Scan(&others)
	} else {
		_, err = s.ExecContext(ctx, "UPDATE meta SET value = value WHERE name = ''")
	}
	if err == nil && others == 0 {
		return s, nil
	}
	if s.Conn != nil {
		s.close()
	}
	if err == nil || sqliteRetry(err) {
		return s, errs.New(errs.Conflict, "database.in_use", "place", d.place)
	}
	return s, fmt.Errorf("opening the database alone: %w", err)
}

// table is what a migration makes. Its name comes from the migrations, never
// from outside.
type table struct {
	name   string
	serial string // the column that counts by itself, empty: none
}

var (
	createTable = regexp.MustCompile(`(?ms)^CREATE TABLE (\w+) \(\n(.*?)^\);`)
	serialOf    = regexp.MustCompile(`(?m)^\s*(\w+)\s+\{\{serial\}\}`)
)

// tables lists all tables in the order of the migrations, in which none refers
// to a later one.
func tables() []table {
	var all []table
	for _, m := range createTable.FindAllStringSubmatch(Schema(), -1) {
		t := table{name: m[1]}
		if s := serialOf.FindStringSubmatch(m[2]); s != nil {
			t.serial = s[1]
		}
		all = append(all, t)
	}
	return all
}

// copyAll copies and compares in one transaction of the new database.
func copyAll(ctx context.Context, from source, to *DB, progress func(string, int64)) error {
	return to.run(ctx, to.write, to.writes, &sql.TxOptions{}, func(tx *Tx) error {
		all := tables()
		// A new database has some rows of its own.
		for _, t := range slices.Backward(all) {
			if _, err := tx.Exec(ctx, "DELETE FROM "+t.name); err != nil {
				return fmt.Errorf("emptying %s: %w", t.name, err)
			}
		}
		for _, t := range all {
			rows, err := copyTable(ctx, from, tx, t)
			if err != nil {
				return fmt.Errorf("copying %s: %w", t.name, err)
			}
			progress(t.name, rows)
		}
		return nil
	})
}

func copyTable(ctx context.Context, from source, tx *Tx, t table) (int64, error) {
	rows, err := from.QueryContext(ctx, "SELECT * FROM "+t.name)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return 0, err
	}
	columns := make([]string, len(types))
	for i, t := range types {
		columns[i] = t.Name()
	}
	var sent, arrived digest
	batch := make([]any, 0, moveParameters)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := tx.Exec(ctx, insertRows(t.name, columns, len(batch)/len(columns)), batch...)
		batch = batch[:0]
		return err
	}
	for rows.Next() {
		values, err := scanRow(rows, types)
		if err != nil {
			return 0, err
		}
		sent.add(values)
		if batch = append(batch, values...); len(batch)+len(columns) > moveParameters {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	if err := errors.Join(rows.Err(), rows.Close(), flush()); err != nil {
		return 0, err
	}
	if err := arrived.read(ctx, tx, t.name, columns); err != nil {
		return 0, err
	}
	if sent.rows != arrived.rows || sent.sum.Cmp(&arrived.sum) != 0 {
		return 0, fmt.Errorf("%d rows were sent, and the %d that arrived are not the same", sent.rows, arrived.rows)
	}
	return sent.rows, continueSerial(ctx, from, tx, t)
}

func insertRows(name string, columns []string, rows int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", name, strings.Join(columns, ", "))
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + In(len(columns), i*len(columns)+1) + ")")
	}
	return b.String()
}

func scanRow(rows *sql.Rows, types []*sql.ColumnType) ([]any, error) {
	values := make([]any, len(types))
	into := make([]any, len(types))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	for i, t := range types {
		// SQLite keeps numbers where PostgreSQL has truth values.
		if n, ok := values[i].(int64); ok && strings.HasPrefix(t.DatabaseTypeName(), "BOOL") {
			values[i] = n != 0
		}
	}
	return values, nil
}

// digest tells sets of rows apart, whatever their order: the sum of the rows'
// hashes.
type digest struct {
	rows int64
	sum  big.Int
}

func (d *digest) add(values []any) {
	h := sha256.New()
	for _, v := range values {
		text := fmt.Append(nil, v)
		if b, ok := v.([]byte); ok {
			text = b
		}
		fmt.Fprintf(h, "%T", v)
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		h.Write(text)
	}
	d.rows++
	d.sum.Add(&d.sum, new(big.Int).SetBytes(h.Sum(nil)))
}

func (d *digest) read(ctx context.Context, tx *Tx, name string, columns []string) error {
	rows, err := tx.Query(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+name)
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, err := scanRow(rows, types)
		if err != nil {
			return err
		}
		d.add(values)
	}
	return rows.Err()
}

// continueSerial makes a column go on counting where it was: a number that was
// given once is never given again, even when its row is gone.
func continueSerial(ctx context.Context, from source, tx *Tx, t table) error {
	if t.serial == "" {
		return nil
	}
	last, err := from.last(ctx, t)
	if err != nil || last == 0 {
		return err
	}
	if tx.dialect == postgres {
		_, err := tx.Exec(ctx, "SELECT setval(pg_get_serial_sequence($1, $2), $3)", t.name, t.serial, last)
		return err
	}
	n, err := tx.Changed(ctx, "UPDATE sqlite_sequence SET seq = $2 WHERE name = $1", t.name, last)
	if err == nil && n == 0 {
		_, err = tx.Exec(ctx, "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)", t.name, last)
	}
	return err
}

// last is the number that a table's serial column gave last, 0 when it never
// did.
func (s source) last(ctx context.Context, t table) (n int64, err error) {
	query := "SELECT seq FROM sqlite_sequence WHERE name = '" + t.name + "'"
	if s.dialect == postgres {
		var sequence string
		if err := s.QueryRowContext(ctx, "SELECT pg_get_serial_sequence($1, $2)", t.name, t.serial).Scan(&sequence); err != nil {
			return 0, err
		}
		query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM " + sequence
	}
	err = s.QueryRowContext(ctx, query).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}
