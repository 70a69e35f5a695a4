package accounts_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

func (w *world) purge() (n int64) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		n, err = accounts.Purge(w.Context(), tx)
		return err
	})
	return n
}

func TestPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	u, err := w.Create(system, accounts.New{Username: "Una", Email: "una@example.org", FirstName: "Una", LastName: "Nemo", Language: "fr",
		PasswordHash: w.Hash(password)})
	if err != nil {
		t.Fatal(err)
	}
	vic := w.User("vic")
	if err := w.setState(u.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	move(7*day - time.Microsecond)
	if n := w.purge(); n != 0 {
		t.Errorf("%d purged before the window was over", n)
	}
	move(time.Microsecond)
	if n := w.purge(); n != 1 {
		t.Errorf("%d purged when the window was over, want 1", n)
	}
	got := w.Find(u.ID)
	if got.State != accounts.Purged || got.Username != string(u.ID) || got.Email+got.FirstName+got.LastName+got.Language != "" || got.HasPassword() ||
		got.Keys.Wrapped != nil || got.Keys.PublicKey != nil || got.Keys.IdentityKey != nil || got.Keys.Cert != nil {
		t.Errorf("left is %+v", got)
	}
	if n := w.purge(); n != 0 {
		t.Errorf("%d purged again", n)
	}
	rows := w.Audit(audit.Filter{Object: "user/" + string(u.ID)})
	if rows[0].ActorKind != access.SystemKind || !slices.Contains(rows[0].Details, audit.Detail{Name: "state", Before: "deleted", After: "purged"}) {
		t.Errorf("recorded %+v", rows[0])
	}
	if err := w.Try(func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, system, u.ID, "") }); errs.KindOf(err) != errs.Conflict {
		t.Errorf("bringing it back: %v, want Conflict", err)
	}
	if w.Find(vic.ID).State != accounts.Active {
		t.Error("somebody else was purged")
	}

	// Nobody takes the name for 90 days.
	move(90*day - time.Microsecond)
	if _, err := w.Create(system, accounts.New{Username: "UNA"}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("the name is free already: %v", err)
	}
	move(time.Microsecond)
	if _, err := w.Create(system, accounts.New{Username: "UNA"}); err != nil {
		t.Errorf("the name is not free after 90 days: %v", err)
	}
}

// kept are the tables in which a purged user's rows stay: as tombstones without
// a name, or for others to retire.
var kept = []string{
	"devices", "sets", "snapshots", "packs", "backup_sessions", "vault_users", // devices.Purge, vault.Purge
	"outbox",             // mail forgets what it has sent
	"reserved_usernames", // that is its purpose
	"reset_devices",      // which says how many a security reset was about
}

// Every table that will ever have something of a user is emptied of it, or
// stands in the list above for a reason.
func TestPurgeForgetsNoTable(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	var purged []string
	for _, table := range tablesWithUsers(t, dsn) {
		if !slices.Contains(kept, table) {
			purged = append(purged, table)
		}
	}
	want := slices.Sorted(slices.Values(accounts.Personal))
	if slices.Sort(purged); !slices.Equal(purged, want) {
		t.Errorf("tables with a user_id: %v\nPurge empties:         %v", purged, want)
	}
}

func tablesWithUsers(t *testing.T, dsn string) (tables []string) {
	t.Helper()
	driver, address := "pgx", dsn
	query := "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'user_id'"
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, address = "sqlite", "file:"+path
		query = "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'user_id'"
	}
	pool, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	rows, err := pool.QueryContext(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if len(tables) < 10 {
		t.Fatalf("only %v", tables)
	}
	return tables
}

func TestPurgeTakesSomeAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	for n := range 60 {
		u, err := w.Create(system, accounts.New{Username: fmt.Sprint("u", n)})
		if err == nil {
			err = w.setState(u.ID, accounts.Deleted)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	move(7 * day)
	if a, b, c := w.purge(), w.purge(), w.purge(); a != 50 || b != 10 || c != 0 {
		t.Errorf("purged %d, %d and %d", a, b, c)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	pending := w.in(accounts.Pending, "pending")
	invited := w.in(accounts.Invited, "invited")
	forget := func() (n int64) {
		t.Helper()
		w.Write(func(tx *db.Tx) (err error) {
			n, err = accounts.Forget(t.Context(), tx)
			return err
		})
		return n
	}
	move(day - time.Microsecond)
	if n := forget(); n != 0 {
		t.Errorf("%d forgotten within a day", n)
	}
	move(time.Microsecond)
	if n := forget(); n != 1 {
		t.Errorf("%d forgotten after a day, want 1", n)
	}
	err := w.Try(func(tx *db.Tx) error {
		_, err := accounts.Find(t.Context(), tx, pending.ID)
		return err
	})
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("the registration is still there: %v", err)
	}
	if rows := w.Audit(audit.Filter{Object: "user/" + string(pending.ID), Limit: 1}); rows[0].Details[0].Before != "pending" {
		t.Errorf("recorded %+v", rows[0].Details)
	}
	// Its name is free for a second try; who was invited stays.
	if _, err := w.Create(system, accounts.New{Username: "pending", State: accounts.Pending}); err != nil {
		t.Error(err)
	}
	w.Find(invited.ID)
}
