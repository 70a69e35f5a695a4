package vault

import (
	"fmt"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire/wiretest"
)

// What only a purged user had is needed by nobody any more; what others have
// stays.
func TestPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, vic := w.newUser(w.org), w.newUser(w.org)
	d, other := una.newDevice(), vic.newDevice()
	_, chunks, _ := d.backup("a")
	_, others, _ := other.backup("b")
	purge := func() (n int64) {
		t.Helper()
		err := w.db.Write(t.Context(), func(tx *db.Tx) (err error) {
			n, err = Purge(t.Context(), tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := purge(); n != 0 {
		t.Errorf("let go of %d users when none is purged", n)
	}
	live := func(id any) (n int) {
		t.Helper()
		err := w.db.Read(t.Context(), func(tx *db.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT count(*) FROM snapshots WHERE user_id = $1 AND state <> 'expired'", id).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if live(una.ID) != 1 || live(vic.ID) != 1 {
		t.Fatal("the snapshots are not there")
	}
	// Its live objects are remembered, and must be forgotten.
	s := d.begin()
	if got, err := w.Have(t.Context(), d.caller, s.SessionID, wiretest.IDs(chunks...)); err != nil || fmt.Sprint(got) != "[true]" {
		t.Fatalf("Have = %v, %v", got, err)
	}
	w.write(`UPDATE users SET state = 'purged' WHERE id = $1`, string(una.ID))
	if n := purge(); n != 1 || live(una.ID) != 0 {
		t.Errorf("let go of %d users, %d snapshots are live", n, live(una.ID))
	}
	if n := purge(); n != 0 {
		t.Errorf("let go of %d users again", n)
	}
	if got, err := w.Have(t.Context(), d.caller, s.SessionID, wiretest.IDs(chunks...)); err != nil || fmt.Sprint(got) != "[false]" {
		t.Errorf("Have after it = %v, %v", got, err)
	}
	s = other.begin()
	if got, err := w.Have(t.Context(), other.caller, s.SessionID, wiretest.IDs(others...)); err != nil || fmt.Sprint(got) != "[true]" {
		t.Errorf("Have of somebody else = %v, %v", got, err)
	}
	w.checkSound(t)
}

// What a deleted device had is hidden, comes back when the deletion is undone,
// and is let go of when it is final; the user's other devices keep theirs.
func TestDeletedDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.newUser(w.org)
	d, other := una.newDevice(), una.newDevice()
	c, _, _ := d.backup("a")
	other.backup("b")
	admin := access.Caller{Kind: access.AdminKind, User: "x", Org: una.Org, Role: access.OrgAdmin}
	user := access.Caller{Kind: access.UserKind, User: una.ID, Org: una.Org, Session: "s"}
	hash, err := backup.ParseHash(c.Hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		state             string
		user, admin, left int
		opens             bool
	}{{"active", 2, 2, 2, true}, {"deleted", 1, 2, 2, false}, {"deactivated", 2, 2, 2, true}, {"purged", 1, 1, 1, false}} {
		w.write(`UPDATE devices SET state = $2 WHERE id = $1`, string(d.caller.Device), want.state)
		err := w.db.Write(t.Context(), func(tx *db.Tx) error {
			for {
				if n, err := Purge(t.Context(), tx); n == 0 || err != nil {
					return err
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		err = w.db.Read(t.Context(), func(tx *db.Tx) error {
			for by, n := range map[*access.Caller]int{&user: want.user, &admin: want.admin} {
				list, err := w.Snapshots(t.Context(), tx, *by, Filter{User: una.ID})
				count, err2 := w.Count(t.Context(), tx, *by, Filter{User: una.ID})
				if err != nil || err2 != nil || len(list) != n || count != int64(n) {
					t.Errorf("%s: %s sees %d and %d snapshots, %v, %v; want %d", want.state, by.Kind, len(list), count, err, err2, n)
				}
			}
			var live int
			err := tx.QueryRow(t.Context(), "SELECT count(*) FROM snapshots WHERE state = 'live'").Scan(&live)
			if live != want.left {
				t.Errorf("%s: %d are left, want %d", want.state, live, want.left)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Opening(t.Context(), user, hash); (err == nil) != want.opens || !want.opens && !errs.Is(err, errs.NoSuchSnapshot) {
			t.Errorf("%s: opening says %v", want.state, err)
		}
	}
	w.checkSound(t)
}
