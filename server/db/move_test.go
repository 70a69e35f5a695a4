package db_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// elsewhere is a new SQLite file.
func elsewhere(t *testing.T) *db.DB {
	t.Helper()
	return dbtest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "new.db"))
}

func exec(t *testing.T, d *db.DB, statements ...string) {
	t.Helper()
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(t.Context(), s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, d *db.DB, query string) string {
	t.Helper()
	var s string
	err := d.Read(t.Context(), func(tx *db.Tx) error { return tx.QueryRow(t.Context(), query).Scan(&s) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill writes rows with every type of column that there is, and takes the last
// number of a counting column away again.
func fill(t *testing.T, d *db.DB) {
	t.Helper()
	blob := "'\\x00ff27'"
	if d.Kind() == "SQLite" {
		blob = "X'00ff27'"
	}
	org := "INSERT INTO orgs (id, name, name_key, state, key_gen, record, created_at, updated_at) VALUES ('o', 'Élan; ''x''', 'élan', 'active', 1, " + blob + ", 1, 2)"
	profile := "INSERT INTO profiles (id, org, name, name_key, description, is_default, revision, settings, created_at, updated_at) VALUES ('p', 'o', 'P', 'p', '', TRUE, 1, '{}', 1, 2)"
	user := `INSERT INTO users (id, org, kind, role, username, username_key, email, email_key, first_name, last_name, search, language, state, state_at, profile,
		profile_at, password, password_at, must_change_password, locked_until, key_gen, last_login_at, created_at, updated_at)
		VALUES ('u', 'o', 'user', '', 'una', 'una', '', '', '', '', '', '', 'active', 1, 'p', 1, '', 0, FALSE, 0, 1, 0, 9223372036854775807, -1)`
	outbox := `INSERT INTO outbox (org, user_id, template, language, recipient, body, state, tries, error, created_at, next_at, claimed_at, sent_at)
		VALUES ('o', 'u', 't', 'en', 'a@b', NULL, 'sent', 1, '', 1, 1, 1, 1)`
	exec(t, d, org, profile, user, outbox, outbox, outbox, "DELETE FROM outbox WHERE number = 3",
		"UPDATE vault_state SET store = 'abc'")
}

// TestMove moves a database away and back, and looks for what gets lost on such
// ways: blobs, booleans, NULL, the largest numbers, rows of the new database's
// own, and the numbers that were given already.
func TestMove(t *testing.T) {
	t.Parallel()
	first := dbtest.New(t)
	fill(t, first)
	second := elsewhere(t)
	third := dbtest.New(t)
	for _, way := range [][2]*db.DB{{first, second}, {second, third}} {
		from, to := way[0], way[1]
		rows := map[string]int64{}
		if err := from.Move(t.Context(), to, func(table string, n int64) { rows[table] = n }); err != nil {
			t.Fatal(err)
		}
		if rows["users"] != 1 || rows["outbox"] != 2 || rows["vault_state"] != 1 {
			t.Errorf("moved %v", rows)
		}
	}
	for query, want := range map[string]string{
		"SELECT name FROM orgs": "Élan; 'x'",
		"SELECT CASE WHEN record = (SELECT record FROM orgs) AND length(record) = 3 THEN 'same' ELSE 'other' END FROM orgs": "same",
		"SELECT CASE WHEN is_default THEN 'yes' ELSE 'no' END FROM profiles":                                                "yes",
		"SELECT CASE WHEN must_change_password THEN 'yes' ELSE 'no' END FROM users":                                         "no",
		"SELECT CASE WHEN public_key IS NULL THEN 'null' ELSE 'not' END FROM users":                                         "null",
		"SELECT CAST(created_at AS TEXT) FROM users":                                                                        "9223372036854775807",
		"SELECT store FROM vault_state":                                                                                     "abc",
	} {
		if got := text(t, third, query); got != want {
			t.Errorf("%s is %q, want %q", query, got, want)
		}
	}
	exec(t, third, `INSERT INTO outbox (org, user_id, template, language, recipient, body, state, tries, error, created_at, next_at, claimed_at, sent_at)
		VALUES ('o', 'u', 't', 'en', 'a@b', NULL, 'sent', 1, '', 1, 1, 1, 1)`)
	if got := text(t, third, "SELECT CAST(max(number) AS TEXT) FROM outbox"); got != "4" {
		t.Errorf("the next number is %s, want 4: the third was given before", got)
	}
	// What was left behind starts no server any more.
	if err := second.Check(t.Context()); err == nil {
		t.Error("the database that was left behind passes Check")
	}
	if err := third.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	quiet := func(string, int64) {}
	for _, c := range []struct {
		name string
		from func(t *testing.T) *db.DB
		to   func(t *testing.T) *db.DB
		want string
	}{
		{"into one that holds something", dbtestNew, func(t *testing.T) *db.DB {
			d := dbtest.New(t)
			fill(t, d)
			return d
		}, "database.not_empty"},
		{"from one in use", func(t *testing.T) *db.DB {
			dsn := dbtest.DSN(t)
			server := dbtest.Open(t, dsn)
			text(t, server, "SELECT CAST(count(*) AS TEXT) FROM orgs") // it stays connected
			return dbtest.Open(t, dsn)
		}, func(t *testing.T) *db.DB { return elsewhere(t) }, "database.in_use"},
		{"from one that was moved", func(t *testing.T) *db.DB {
			dsn := dbtest.DSN(t)
			if err := dbtest.Open(t, dsn).Move(t.Context(), elsewhere(t), quiet); err != nil {
				t.Fatal(err)
			}
			return dbtest.Open(t, dsn)
		}, func(t *testing.T) *db.DB { return elsewhere(t) }, "database.moved"},
		{"from an empty file", func(t *testing.T) *db.DB { return elsewhere(t) }, func(t *testing.T) *db.DB { return elsewhere(t) }, "error.E1602.older"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			from, to := c.from(t), c.to(t)
			err := from.Move(t.Context(), to, quiet)
			if e := errs.Find(err); e == nil || e.Key != c.want {
				t.Errorf("Move = %v, want %s", err, c.want)
			}
		})
	}
}

func dbtestNew(t *testing.T) *db.DB { return dbtest.New(t) }

// TestMoveBroken cuts a move short: the new database stays empty and takes the
// next try, the old one is not marked.
func TestMoveBroken(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	from, to := dbtest.Open(t, dsn), elsewhere(t)
	fill(t, from)
	stop := errors.New("stop")
	func() {
		defer func() {
			if recover() != stop {
				t.Error("the move was not cut short")
			}
		}()
		from.Move(t.Context(), to, func(table string, _ int64) {
			if table == "users" {
				panic(stop)
			}
		})
	}()
	if got := text(t, to, "SELECT CAST(count(*) AS TEXT) FROM orgs"); got != "0" {
		t.Errorf("%s organisations are left in the new database", got)
	}
	if err := dbtest.Open(t, dsn).Move(t.Context(), to, func(string, int64) {}); err != nil {
		t.Error(err)
	}
}

// TestMoveMovesAll compares what is moved with what the database has.
func TestMoveMovesAll(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
	if d.Kind() != "SQLite" {
		query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	}
	var have []string
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		rows, err := tx.Query(t.Context(), query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			if !strings.HasPrefix(name, "goose_") {
				have = append(have, name)
			}
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	moved := map[string]bool{}
	if err := d.Move(t.Context(), elsewhere(t), func(table string, _ int64) { moved[table] = true }); err != nil {
		t.Fatal(err)
	}
	for _, name := range have {
		if !moved[name] {
			t.Errorf("table %s is not moved", name)
		}
	}
	if len(moved) != len(have) {
		t.Errorf("%d tables were moved of %d", len(moved), len(have))
	}
}
