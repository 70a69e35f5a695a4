package deploy_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

// pass lets days pass, in which the server forgets what is over.
func (w *world) pass(days int) {
	w.Helper()
	w.Move(time.Duration(days) * 24 * time.Hour)
	w.Write(func(tx *db.Tx) error {
		_, err := devices.Expire(w.Context(), tx)
		return err
	})
}

// E-13: who decides takes their time, longer than an activation and the token
// last. The computer that waits gets in all the same.
func TestDecidedLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}, Approve: true})
	c := w.computer("one", secret, "email:new@example.org")
	a, err := w.begin(c)
	if err != nil {
		t.Fatal(err)
	}
	waits := func(when string) devices.ID {
		t.Helper()
		done, err := w.finish(c, a, wire.Add, "")
		if err != nil || done.Device.State != devices.Waiting || len(done.Secrets) != 0 {
			t.Fatalf("%s: %s, %v", when, done.Device.State, err)
		}
		return done.Device.ID
	}
	id := waits("at once")
	w.pass(3)
	waits("after three days")
	w.Write(func(tx *db.Tx) error { return deploy.Revoke(t.Context(), tx, w.admin, token.ID) })
	waits("when the token is revoked")
	w.Write(func(tx *db.Tx) error { return devices.SetState(t.Context(), tx, w.admin, id, devices.Active, "") })
	w.pass(3)
	done, err := w.finish(c, a, wire.Add, "")
	if err != nil || done.Device.ID != id || done.Device.State != devices.Active || len(done.Secrets) == 0 {
		t.Errorf("decided late: %s %s, %v", done.Device.ID, done.Device.State, err)
	}
}

// A computer that lost an answer begins again, days later too: it uses the token
// no second time, and is the device that it became.
func TestBegunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var secret string
	w.Write(func(tx *db.Tx) (err error) {
		_, secret, err = deploy.Create(t.Context(), tx, w.admin, w.Org.ID, deploy.Rules{Name: "Fleet", CreateUsers: true, Domains: []string{"example.org"}, MaxUses: 1}, 30*24*time.Hour)
		return err
	})
	c := w.computer("one", secret, "email:new@example.org")
	if _, err := w.begin(c); err != nil {
		t.Fatal(err)
	}
	w.pass(2)
	d, err := w.enrol(c)
	if err != nil {
		t.Fatalf("begun again after two days: %v", err)
	}
	w.pass(2)
	a, err := w.begin(c)
	if err != nil {
		t.Fatalf("begun again as a device: %v", err)
	}
	if done, err := w.finish(c, a, a.Suggest, ""); err != nil || done.Device.ID != d.ID || len(done.Secrets) == 0 {
		t.Errorf("it is %s now, want %s: %v", done.Device.ID, d.ID, err)
	}
	other := w.computer("other", secret, "email:other@example.org")
	other.RequestID = c.RequestID
	if a, err := w.begin(other); err == nil {
		t.Errorf("another computer with the same request: %+v", a)
	}
}

// What the device map has come back comes back also when the computer lost the
// first answer and begins again.
func TestBringsOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.user("una")
	_, secret := w.create(deploy.Rules{})
	var old devices.Activated
	before := w.computer("old", "", "")
	w.Write(func(tx *db.Tx) (err error) {
		old, err = devices.Activate(t.Context(), tx, una.Caller(from), w.Ring, una, devices.Activation{RequestID: before.RequestID, Name: "old",
			Hardware: before.Hardware, ClientVersion: "0.1", SigningKey: before.SigningKey, EnrolmentKey: before.enrolment})
		return err
	})
	err := w.mapRow(w.admin, 0, map[string]string{"email": "una", "device_id": "m-new", "id_type": "uuid", "old_device_name": old.Device.Name, "data_restore": "DATA"})
	if err != nil {
		t.Fatal(err)
	}
	c := w.computer("new", secret, "")
	if _, err := w.begin(c); err != nil {
		t.Fatal(err)
	}
	d, err := w.enrol(c)
	if err != nil || d.Replaces != old.Device.ID {
		t.Fatalf("it succeeds %q: %v", d.Replaces, err)
	}
	var brings string
	w.Read(func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT brings FROM devices WHERE id = $1", d.ID).Scan(&brings)
	})
	if brings != "DATA" {
		t.Errorf("what comes back is %q, want DATA", brings)
	}
}
