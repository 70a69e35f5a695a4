//go:build linux

package scripttest

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/server/db"
)

// serverDB is the variable by which the server programs find their database.
// Without it that is a file in the folder server-data.
const serverDB = "BACKSTAY_SERVER_DB"

// database is the address of the servers' database.
func database(ts *testscript.TestScript) string {
	return cmp.Or(ts.Getenv(serverDB), "sqlite:"+ts.MkAbs("server-data/backstay.db"))
}

func openDB(ts *testscript.TestScript) *db.DB {
	d, err := db.Open(context.Background(), database(ts))
	ts.Check(err)
	return d
}

// sqlCommand does something to the database behind the server's back: sql
// STATEMENT [TEXT]. What is selected must come to hold the text.
func sqlCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: sql STATEMENT [TEXT]")
	}
	driver, dsn := "pgx", database(ts)
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(5000)"
	}
	d, err := sql.Open(driver, dsn)
	ts.Check(err)
	defer d.Close()
	statement := args[0]
	if !strings.HasPrefix(statement, "SELECT") {
		_, err = d.Exec(statement)
		ts.Check(err)
		return
	}
	var value, want string
	if len(args) > 1 {
		want = args[1]
	}
	if !within(30*time.Second, func() bool {
		ts.Check(d.QueryRow(statement).Scan(&value))
		return strings.Contains(value, want)
	}) {
		ts.Fatalf("%s is never %s, at last %s", statement, want, value)
	}
	fmt.Fprintln(ts.Stdout(), value)
}
