package devices_test

import (
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/wire"
)

func (w *world) retire(kinds ...string) {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		return settings.Change(w.Context(), tx, accountstest.System, func(s *settings.Settings) error {
			s.Devices.Retired = kinds
			return nil
		})
	})
}

func (w *world) retired(d devices.Device) (is bool) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		is, err = devices.Retired(w.Context(), tx, d)
		return err
	})
	return is
}

// A kind that is no longer offered is added by nobody, whoever ordered it; what
// there is of it goes on, comes back, and can be replaced.
func TestRetiredKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.una
	have, _ := w.device(u, "laptop")
	w.retire(settings.UserDevices)

	next := w.computer("desktop")
	if a := w.begin(u, next); a.Refusal != string(errs.AddDeviceNotAllowed) || !a.Retired || a.Suggest != wire.Replace {
		t.Errorf("offered to another computer: %+v", a)
	}
	var key devices.Key
	w.Write(func(tx *db.Tx) (err error) {
		_, key, err = devices.IssueKey(w.Context(), tx, system, w.Ring, "", u.ID, wire.Add, "")
		return err
	})
	for what, try := range map[string]struct {
		of     accounts.User
		change func(*devices.Beginning)
	}{
		"its user":         {u, nil},
		"an administrator": {u, func(b *devices.Beginning) { b.Proof, b.Credential, b.Choice = devices.ByKey, key.ID, wire.Add }},
		"a deployment":     {w.user("new"), func(b *devices.Beginning) { b.Proof, b.Credential, b.Choice = devices.ByToken, "t", devices.First }},
	} {
		c := w.computer("desktop of " + what)
		a, err := w.beginWith(try.of, c, try.change)
		if err == nil {
			_, err = w.finish(c, wire.FinishActivation{Activation: a.Activation, Choice: wire.Add})
		}
		if e := errs.Find(err); e == nil || e.Code != errs.AddDeviceNotAllowed || e.Key != "error.E1202.retired" {
			t.Errorf("%s adds one: %v", what, err)
		}
	}
	system := w.computer("server")
	system.activation.System = true
	if _, err := w.become(u, system, wire.Add, ""); err != nil {
		t.Errorf("a device of another kind: %v", err)
	}

	if !w.retired(have) {
		t.Error("the device does not say that it is the last of its kind")
	}
	if _, err := w.become(u, next, wire.Replace, have.ID); err != nil {
		t.Errorf("replacing the device: %v", err)
	}
	w.retire()
	if w.retired(have) {
		t.Error("the kind is offered again, and its device denies it")
	}
}
