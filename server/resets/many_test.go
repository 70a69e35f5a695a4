package resets_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/resets"
)

// Two servers run a reset of many devices at once: each device is revoked, and
// each user written to, once.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const users = 600
	w.many(users)
	w.Move(time.Minute)
	r := w.begin(resets.New{})
	beside := dbtest.Open(t, w.DSN)
	beside.Now = w.DB.Now
	both := func() {
		t.Helper()
		var all sync.WaitGroup
		for _, store := range []*db.DB{w.DB, beside} {
			all.Go(func() {
				if err := resets.Run(t.Context(), store, w.Ring); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	both()
	w.Write(func(tx *db.Tx) error { return resets.Tell(w.Context(), tx, w.ada, r.ID, letter) })
	both()
	var revoked, mails, last int64
	w.Read(func(tx *db.Tx) error {
		err := tx.QueryRow(w.Context(), "SELECT count(*) FROM audit WHERE object_kind = 'device' AND actor_name = 'security reset'").Scan(&revoked)
		if err != nil {
			return err
		}
		return tx.QueryRow(w.Context(), "SELECT count(DISTINCT recipient), max(next_at) FROM outbox WHERE template = 'security_reset'").Scan(&mails, &last)
	})
	if revoked != users || mails != users {
		t.Errorf("revoked %d, wrote to %d; want %d", revoked, mails, users)
	}
	// Five a second.
	if took := db.Time(last).Sub(w.DB.Now()); took < (users-1)*200*time.Millisecond {
		t.Errorf("%d mails within %s", users, took)
	}
}

// many makes users with a device each, copies of one another.
func (w *world) many(n int) {
	w.Helper()
	u := w.User("u0")
	c := w.computer(u, "c", "linux")
	w.Write(func(tx *db.Tx) error {
		user, device := dbtest.Copier(w.T, tx, "users", string(u.ID)), dbtest.Copier(w.T, tx, "devices", string(c.id))
		for i := 1; i < n; i++ {
			name := fmt.Sprintf("u%d", i)
			user(map[string]any{"id": name, "username": name, "username_key": name, "email": name + "@example.org"})
			device(map[string]any{"id": "d" + name, "user_id": name})
		}
		return nil
	})
}

// Ten thousand devices are revoked in parts that keep nobody waiting for long.
func TestTenThousand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 10_000
	w.many(n)
	w.Write(func(tx *db.Tx) error { // a database that is in use knows its tables
		_, err := tx.Exec(w.Context(), "ANALYZE")
		return err
	})
	w.Move(time.Minute)
	begun := time.Now()
	r := w.begin(resets.New{})
	asked := time.Now()
	w.run()
	t.Logf("%d devices: asked, previewed and approved in %s, revoked in %s", n, asked.Sub(begun), time.Since(asked))
	got, p := w.follow(r.ID)
	if want := (resets.Progress{Devices: n, Missing: n}); p != want || got.State != resets.Revoked {
		t.Errorf("revoked: %s, %+v, want %+v", got.State, p, want)
	}
}
