package deploy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
)

// fleet makes n devices of a token that wait for an administrator, copies of one
// another.
func (w *world) fleet(n int) deploy.Token {
	w.Helper()
	token, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}, Approve: true})
	d, err := w.enrol(w.computer("c", secret, "email:una@example.org"))
	if err != nil {
		w.Fatal(err)
	}
	w.Write(func(tx *db.Tx) error {
		device := dbtest.Copier(w.T, tx, "devices", string(d.ID))
		for i := 1; i < n; i++ {
			name := fmt.Sprintf("c%d", i)
			device(map[string]any{"id": name, "name": name, "name_key": name, "search": name, "request_id": name})
		}
		return nil
	})
	return token
}

// inState counts a token's devices.
func (w *world) inState(t deploy.Token, s devices.State) (n int) {
	w.Helper()
	w.Read(func(tx *db.Tx) error {
		list, err := devices.OfToken(w.Context(), tx, t.ID, s, time.Time{})
		n = len(list)
		return err
	})
	return n
}

// E-13, E-02: whatever is decided upon is decided upon for all of a fleet, however
// many wait, and nobody waits meanwhile for longer than for a part of it.
func TestDecideUponMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 2_100
	token := w.fleet(n)
	w.Read(func(tx *db.Tx) error {
		list, total, err := deploy.Waiting(t.Context(), tx, w.admin, w.Org.ID, deploy.Filter{}, 10)
		if len(list) != 10 || total != n {
			t.Errorf("%d of %d wait, want 10 of %d", len(list), total, n)
		}
		return err
	})
	w.Move(time.Minute) // they become devices after they came
	if got, err := deploy.Decide(t.Context(), w.DB, w.admin, w.Org.ID, deploy.Filter{Search: "c20"}, nil, false); err != nil || got != 111 {
		t.Errorf("refused %d, %v; want c20, c200 to c209 and c2000 to c2099", got, err)
	}
	if got, err := deploy.Decide(t.Context(), w.DB, w.admin, w.Org.ID, deploy.Filter{}, nil, true); err != nil || got != n-111 {
		t.Errorf("approved %d, %v; want %d", got, err, n-111)
	}
	if got := w.inState(token, devices.Active); got != n-111 {
		t.Errorf("%d are active, want %d", got, n-111)
	}

	// Whoever has begun a quarantine does not end it by closing the page.
	gone, leave := context.WithCancel(t.Context())
	leave()
	got, err := deploy.Quarantine(gone, w.DB, w.admin, token.ID, time.Time{})
	if err != nil || got != n-111 {
		t.Errorf("put into quarantine: %d, %v; want %d", got, err, n-111)
	}
	w.Read(func(tx *db.Tx) error {
		list, total, err := deploy.Quarantined(t.Context(), tx, w.admin, token, 10)
		if len(list) != 10 || total != n-111 || list[0].Username == "" {
			t.Errorf("%d of %d are in quarantine, want 10 of %d", len(list), total, n-111)
		}
		return err
	})
	var recorded int
	w.Read(func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*) FROM audit WHERE object_kind = 'device' AND actor_name = 'ada' AND details LIKE '%quarantine:%'`).Scan(&recorded)
	})
	if recorded != n-111 {
		t.Errorf("the record has %d of them, want %d", recorded, n-111)
	}
}
