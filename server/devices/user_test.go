package devices_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

func (w *world) setDevice(id devices.ID, to devices.State) {
	w.Helper()
	w.Write(func(tx *db.Tx) error { return devices.SetState(w.Context(), tx, system, id, to, reason) })
}

// hard is a licence of which nobody takes more seats than it has.
func (w *world) hard(seats int) orgs.Licence {
	w.Helper()
	w.Set(func(s *settings.Settings) { s.Licences.GraceDays = 0 })
	return w.Licence("Hard", seats, 1)
}

func (w *world) taken(l orgs.Licence) (n int) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		n, _, err = orgs.Seats(w.Context(), tx, l.ID)
		return err
	})
	return n
}

// Devices stop and wake with their user, all but those that were disabled by
// themselves.
func TestDevicesFollowTheirUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, computerA := w.device(w.una, "a")
	b, computerB := w.device(w.una, "b")
	w.setDevice(b.ID, devices.Disabled)
	tokenA := w.token(a, computerA)
	for _, c := range []struct {
		to   accounts.State
		told errs.Code
		by   string
	}{{accounts.Disabled, errs.AccountDisabled, devices.UserDisabled}, {accounts.Preserved, errs.AccountPreserved, devices.UserPreserved}} {
		w.Put(w.una.ID, c.to)
		if _, err := verify(t, w.DB, tokenA); !errs.Is(err, c.told) {
			t.Errorf("%s: %v, want %s", c.to, err, c.told)
		}
		if got := w.find(a.ID); got.State != devices.Active || got.DisabledBy() != c.by || got.Works() || got.Owner != c.to {
			t.Errorf("%s: %s by %q", c.to, got.State, got.DisabledBy())
		}
		if got := w.find(b.ID); got.DisabledBy() != devices.ByAdministrator {
			t.Errorf("%s: the one that was disabled before, by %q", c.to, got.DisabledBy())
		}
		w.Put(w.una.ID, accounts.Active)
		if _, err := verify(t, w.DB, w.token(a, computerA)); err != nil || w.find(a.ID).DisabledBy() != "" {
			t.Errorf("%s and back: %v", c.to, err)
		}
		if got := w.find(b.ID); got.State != devices.Disabled || got.DisabledBy() != devices.ByAdministrator {
			t.Errorf("%s and back woke what was disabled by itself: %s", c.to, got.State)
		}
	}
	w.setDevice(b.ID, devices.Active)
	gone, _ := w.device(w.una, "gone")
	w.setDevice(gone.ID, devices.Deactivated)
	w.Put(w.una.ID, accounts.Disabled)
	if got := w.find(gone.ID); got.DisabledBy() != "" {
		t.Errorf("a revoked device is disabled by %q", got.DisabledBy())
	}
	w.Put(w.una.ID, accounts.Active)
	if _, err := verify(t, w.DB, w.token(b, computerB)); err != nil {
		t.Errorf("enabled by itself: %v", err)
	}
}

// A deleted user's devices are gone from every list, and come back with the
// user alone.
func TestADeletedUserHidesTheDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, computer := w.device(w.una, "laptop")
	count := func(f devices.Filter) (n int) {
		t.Helper()
		w.Read(func(tx *db.Tx) (err error) {
			n, err = devices.Count(t.Context(), tx, system, f)
			return err
		})
		return n
	}
	active := func() (n int) {
		t.Helper()
		w.Read(func(tx *db.Tx) error {
			s, err := devices.Sum(t.Context(), tx, system, w.Org.ID)
			n = s.Devices
			return err
		})
		return n
	}
	if count(devices.Filter{}) != 1 || active() != 1 {
		t.Fatal("the device is not listed")
	}
	w.Put(w.una.ID, accounts.Deleted)
	if count(devices.Filter{}) != 0 || count(devices.Filter{State: devices.Active}) != 0 || active() != 0 {
		t.Error("the device of a deleted user is listed")
	}
	if count(devices.Filter{User: w.una.ID}) != 1 {
		t.Error("who decides on bringing the user back does not see the device")
	}
	w.Write(func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, system, w.una.ID, "") })
	if count(devices.Filter{}) != 1 {
		t.Error("the device did not come back")
	}
	if _, err := verify(t, w.DB, w.token(d, computer)); err != nil {
		t.Errorf("the device does not work: %v", err)
	}
	w.Put(w.una.ID, accounts.Disabled)
	if active() != 0 || count(devices.Filter{}) != 1 {
		t.Error("the device of a disabled user counts as one that should back up, or is hidden")
	}
}

// The first device takes the seat, the last one gives it back.
func TestSeatGoesWithTheDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vic := w.user("vic")
	l := w.hard(1)
	a, _ := w.device(w.una, "a")
	b, _ := w.device(w.una, "b")
	if n := w.taken(l); n != 1 {
		t.Errorf("two devices take %d seats", n)
	}
	if _, err := w.activate(vic, w.computer("v")); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("a second user: %v, want E1301", err)
	}
	w.Read(func(tx *db.Tx) error {
		if n, err := devices.Count(t.Context(), tx, system, devices.Filter{User: vic.ID}); n != 0 || err != nil {
			t.Errorf("%d devices were made without a seat, %v", n, err)
		}
		return nil
	})
	w.setDevice(a.ID, devices.Deleted)
	w.setDevice(b.ID, devices.Deactivated) // it can come back
	if n := w.taken(l); n != 1 {
		t.Errorf("with a deactivated device %d seats are taken, want 1", n)
	}
	w.setDevice(b.ID, devices.Deleted)
	if n := w.taken(l); n != 0 {
		t.Errorf("without a device %d seats are taken", n)
	}
	w.Read(func(tx *db.Tx) error {
		u, err := accounts.Find(t.Context(), tx, w.una.ID)
		if u.State != accounts.Active {
			t.Errorf("without a device the user is %s", u.State)
		}
		return err
	})
	if _, err := w.activate(vic, w.computer("v")); err != nil {
		t.Errorf("into the freed seat: %v", err)
	}
	if _, err := w.activate(w.una, w.computer("c")); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("back without a seat: %v, want E1301", err)
	}
}

// Of many computers at once exactly one user gets the last seat.
func TestActivatingForTheLastSeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users []accounts.User
	for n := range 6 {
		users = append(users, w.user(fmt.Sprint("u", n)))
	}
	l := w.hard(1)
	results := make(chan error)
	for _, u := range users {
		c := w.computer(u.Username)
		go func() {
			_, err := w.activate(u, c)
			results <- err
		}()
	}
	made := 0
	for range users {
		if err := <-results; err == nil {
			made++
		} else if !errs.Is(err, errs.NoFreeSeat) {
			t.Errorf("got %v, want E1301", err)
		}
	}
	if made != 1 || w.taken(l) != 1 {
		t.Errorf("%d were activated, %d seats are taken", made, w.taken(l))
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	d, computer := w.device(w.una, "Unas-Laptop")
	other, _ := w.device(w.user("vic"), "vics")
	token := w.token(d, computer)
	w.Put(w.una.ID, accounts.Deleted)
	purge := func() (n int64) {
		t.Helper()
		w.Write(func(tx *db.Tx) (err error) {
			if _, err = accounts.Purge(t.Context(), tx); err != nil {
				return err
			}
			n, err = devices.Purge(t.Context(), tx)
			return err
		})
		return n
	}
	if n := purge(); n != 0 {
		t.Errorf("%d devices purged in the window", n)
	}
	move(7 * 24 * time.Hour)
	if n := purge(); n != 1 {
		t.Errorf("%d devices purged, want 1", n)
	}
	if n := purge(); n != 0 {
		t.Errorf("%d devices purged again", n)
	}
	got := w.find(d.ID)
	h := got.Hardware
	if got.State != devices.Purged || got.Name != string(d.ID) || h.Hostname+h.Serial+h.MachineID+h.OSUser+got.LastIP != "" || len(got.Folders) > 0 {
		t.Errorf("left is %+v", got)
	}
	if _, err := verify(t, w.DB, token); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("its token: %v, want Unauthenticated", err)
	}
	w.Read(func(tx *db.Tx) error {
		var left int
		err := tx.QueryRow(t.Context(), "SELECT count(*) FROM device_tokens WHERE device = $1", d.ID).Scan(&left)
		if left != 0 {
			t.Errorf("%d tokens are left", left)
		}
		return err
	})
	if w.find(other.ID).State != devices.Active {
		t.Error("somebody else's device was purged")
	}
}
