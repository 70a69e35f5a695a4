package vault

import (
	"bytes"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire/wiretest"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.newUser(w.org)
	d, other := alice.newDevice(), alice.newDevice()
	s := d.begin()
	if s.Resumed || s.Known || s.Head != nil || len(s.Nonce) != 32 || s.StoreID != w.StoreID().Hex() {
		t.Errorf("Begin answers %+v", s)
	}
	a := d.Seal(backup.Data, "a")
	d.put(s, backup.ClassData, a)
	again := d.begin()
	if !again.Resumed || !again.Known || again.SessionID != s.SessionID || !bytes.Equal(again.Nonce, s.Nonce) {
		t.Errorf("Begin again answers %+v, want %+v resumed", again, s)
	}
	if got := d.have(again, a); got != "[true]" {
		t.Errorf("Have in the resumed session says %s", got)
	}
	// Somebody else's session or set is one that does not exist.
	if _, err := w.Begin(t.Context(), other.caller, d.SetID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("Begin of another device's set = %v", err)
	}
	if _, err := w.Have(t.Context(), other.caller, s.SessionID, nil); errs.KindOf(err) != errs.NotFound {
		t.Errorf("Have in another device's session = %v", err)
	}
	if _, err := w.Begin(t.Context(), d.caller, "no set"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("Begin of no set = %v", err)
	}
	// After seven days it is over, and its uploads are unpinned.
	w.clock = w.clock.Add(SessionLife)
	if _, err := w.Have(t.Context(), d.caller, s.SessionID, nil); errs.KindOf(err) != errs.Conflict {
		t.Errorf("Have after seven days = %v", err)
	}
	var expired int64
	err := w.db.Write(t.Context(), func(tx *db.Tx) (err error) {
		expired, err = Expire(t.Context(), tx)
		return err
	})
	if err != nil || expired != 1 || w.count(`SELECT count(*) FROM puts`) != 0 {
		t.Errorf("Expire = %d, %v, want 1 and its puts gone", expired, err)
	}
	fresh := d.begin()
	if fresh.Resumed || fresh.SessionID == s.SessionID || d.have(fresh, a) != "[false]" {
		t.Errorf("after seven days Begin answers %+v", fresh)
	}
	if got := w.count(`SELECT count(*) FROM puts`); got != 0 {
		t.Errorf("%d puts are still pinned", got)
	}
}

func TestFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.perDay = 3
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassMetadata, root)
	for range 2 { // the second replaces the first, which then does not count
		d.commit(s, d.prepare(s, snapshot.Partial, root, wiretest.IDs(root)))
	}
	d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(root)))
	d.backup("a")
	d.backup("b")
	if _, err := w.Begin(t.Context(), d.caller, d.SetID); errs.KindOf(err) != errs.TooMany {
		t.Errorf("the fourth Begin of a day = %v, want TooMany", err)
	}
	w.clock = w.clock.Add(25 * time.Hour)
	d.backup("a")
}
