package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

// edit runs a statement on a database that nobody else has open.
func edit(t *testing.T, dsn, statement string, args ...any) {
	t.Helper()
	d, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), statement, args...)
		return err
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseVersions(t *testing.T) {
	t.Parallel()
	newer, older, same := dbtest.DSN(t), dbtest.DSN(t), dbtest.DSN(t)
	edit(t, newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, TRUE)`, db.Target()+1)
	edit(t, older, `DELETE FROM goose_db_version WHERE version_id = $1`, db.Target())
	data := t.TempDir()
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"serve a newer one", []string{"serve", "--db", newer}, 1, "E1602"},
		{"make an account in a newer one", []string{"user", "create", "--db", newer, "x"}, 1, "E1602"},
		{"migrate a newer one", []string{"migrate", "--db", newer}, 1, "E1602"},
		{"serve an older one", []string{"serve", "--db", older}, 1, "backstay-server migrate"},
		{"migrate one of this version", []string{"migrate", "--db", same}, 0, "already"},
		{"migrate nothing", []string{"migrate", "--db", "sqlite:" + data + "/new.db"}, 0, "from version 0"},
		{"migrate what is no database", []string{"migrate", "--db", "mysql://x"}, 1, "sqlite:"},
	} {
		status, out, err := command(t, nil, append(c.args, "--data", data)...)
		if status != c.status || !strings.Contains(out+err, c.want) {
			t.Errorf("%s: status %d, %q, %q; want %d and %q", c.name, status, out, err, c.status, c.want)
		}
	}
}

// TestMoveDatabase moves a server's database and works on with it.
func TestMoveDatabase(t *testing.T) {
	t.Parallel()
	old, moved, data := dbtest.DSN(t), "sqlite:"+t.TempDir()+"/moved.db", t.TempDir()
	run := func(want int, says string, args ...string) {
		t.Helper()
		status, out, err := command(t, nil, append(args, "--data", data)...)
		if status != want || !strings.Contains(out+err, says) {
			t.Fatalf("%v: status %d, %q, %q; want %d and %q", args, status, out, err, want, says)
		}
	}
	run(0, "", "org", "create", "--db", old, "Élan")
	run(0, "compared", "migrate", "--db", old, "--to", moved)
	run(0, "Élan", "org", "list", "--db", moved)
	run(1, "was moved to", "org", "list", "--db", old)
	run(1, "was moved to", "serve", "--db", old)
	run(1, "not empty", "migrate", "--db", moved, "--to", moved)
}
