package vault

import (
	"fmt"
	"testing"

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
