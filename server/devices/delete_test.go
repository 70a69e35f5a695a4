package devices_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/settings"
)

const day = 24 * time.Hour

func (w *world) delete(by access.Caller, id devices.ID, reason string) error {
	w.Helper()
	return w.Try(func(tx *db.Tx) error { return devices.Delete(w.Context(), tx, by, id, reason) })
}

func (w *world) undelete(by access.Caller, id devices.ID) error {
	w.Helper()
	return w.Try(func(tx *db.Tx) error { return devices.Undelete(w.Context(), tx, by, id) })
}

func (w *world) purge() (n int64) {
	w.Helper()
	w.Write(func(tx *db.Tx) (err error) {
		n, err = devices.Purge(w.Context(), tx)
		return err
	})
	return n
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	d, c := w.device(w.una, "Laptop")
	boss, una := admin(w, access.OrgAdmin), w.una.Caller(from)
	for _, c := range []struct {
		by     access.Caller
		reason string
		kind   errs.Kind
	}{
		{boss, "", errs.Invalid}, {boss, "too short", errs.Invalid}, {boss, strings.Repeat("é", 151), errs.Invalid}, {boss, "with a\nline of its own", errs.Invalid},
		{una, reason, errs.Forbidden}, {admin(w, access.Viewer), reason, errs.Forbidden},
	} {
		if err := w.delete(c.by, d.ID, c.reason); errs.KindOf(err) != c.kind || w.find(d.ID).State != devices.Active {
			t.Errorf("by %s for %q: %v, want kind %d", c.by.Kind, c.reason, err, c.kind)
		}
	}
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, w.una.ID, true) })
	if err := w.delete(boss, d.ID, reason); !errs.Is(err, errs.LegalHold) {
		t.Errorf("on legal hold: %v, want E1404", err)
	}
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, w.una.ID, false) })

	token := w.token(d, c)
	if err := w.delete(boss, d.ID, reason); err != nil {
		t.Fatal(err)
	}
	got := w.find(d.ID)
	if got.State != devices.Deleted || got.StateBefore != devices.Active || got.StateReason != reason || !got.PurgeAt.Equal(got.StateAt.Add(7*day)) {
		t.Errorf("it is %s, was %s, until %v: %q", got.State, got.StateBefore, got.PurgeAt, got.StateReason)
	}
	// The computer is told which end this is.
	if _, err := verify(t, w.DB, token); !errs.Is(err, errs.DeviceDeactivated) || errs.Find(err).Key != "error.E1208.deleted" {
		t.Errorf("the device is told %v", err)
	}
	w.Read(func(tx *db.Tx) error {
		if _, err := devices.View(t.Context(), tx, una, d.ID); errs.KindOf(err) != errs.NotFound {
			t.Errorf("its user sees it: %v", err)
		}
		if _, err := devices.View(t.Context(), tx, boss, d.ID); err != nil {
			t.Errorf("an administrator does not: %v", err)
		}
		return nil
	})
	rows := w.Audit(audit.Filter{Object: "device/" + string(d.ID)})
	if !slices.Contains(rows[0].Details, audit.Detail{Name: "reason", After: reason}) {
		t.Errorf("recorded %+v", rows[0])
	}
	if err := w.undelete(una, d.ID); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("its user brings it back: %v", err)
	}

	// Its name was taken meanwhile.
	w.device(w.una, "laptop")
	move(7*day - time.Second)
	if n := w.purge(); n != 0 {
		t.Errorf("%d purged before the window was over", n)
	}
	if err := w.undelete(boss, d.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.find(d.ID); got.State != devices.Active || got.Name != "Laptop-2" || !got.PurgeAt.IsZero() || got.StateBefore != "" {
		t.Errorf("back as %+v", got)
	}
	if _, err := verify(t, w.DB, w.token(d, c)); err != nil {
		t.Errorf("it does not work again: %v", err)
	}
	if err := w.undelete(boss, d.ID); errs.KindOf(err) != errs.Conflict {
		t.Errorf("back twice: %v", err)
	}
}

func TestDeletedDevicesArePurged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	boss := admin(w, access.OrgAdmin)
	d, _ := w.device(w.una, "one")
	other, _ := w.device(w.una, "two")
	kept := w.user("kept")
	held, _ := w.device(kept, "held")
	for _, id := range []devices.ID{d.ID, held.ID} {
		if err := w.delete(boss, id, reason); err != nil {
			t.Fatal(err)
		}
	}
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, kept.ID, true) })
	// Who shortens the window hurries nothing.
	w.Set(func(s *settings.Settings) { s.Users.RollbackDays = 1 })
	move(2 * day)
	if err := w.delete(boss, other.ID, reason); err != nil {
		t.Fatal(err)
	}
	if got := w.find(other.ID); got.PurgeAt.Sub(got.StateAt) != 7*day {
		t.Errorf("the window is %v while the old one has not passed", got.PurgeAt.Sub(got.StateAt))
	}
	move(5 * day)
	if err := w.undelete(boss, d.ID); errs.KindOf(err) != errs.Gone {
		t.Errorf("after the window: %v", err)
	}
	if n := w.purge(); n != 1 {
		t.Errorf("purged %d, want 1", n)
	}
	got := w.find(d.ID)
	if got.State != devices.Purged || got.Name != string(d.ID) || got.Hardware.MachineID+got.Hardware.Serial+got.Hardware.Hostname+got.Hardware.OSUser+got.LastIP != "" {
		t.Errorf("left is %+v", got)
	}
	rows := w.Audit(audit.Filter{Object: "device/" + string(d.ID)})
	if rows[0].ActorKind != access.SystemKind || !slices.Contains(rows[0].Details, audit.Detail{Name: "state", Before: "deleted", After: "purged"}) {
		t.Errorf("recorded %+v", rows[0])
	}
	if w.find(held.ID).State != devices.Deleted || w.find(other.ID).State != devices.Deleted {
		t.Error("one on legal hold, or whose window is not over, was purged")
	}
	if err := w.undelete(boss, d.ID); errs.KindOf(err) != errs.Conflict {
		t.Errorf("what is purged comes back: %v", err)
	}
}

// The seat goes with the last device and is needed for it to come back.
func TestUndeleteTakesTheSeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.hard(1)
	vic := w.user("vic")
	d, _ := w.device(w.una, "a")
	if err := w.delete(system, d.ID, reason); err != nil {
		t.Fatal(err)
	}
	if n := w.taken(l); n != 0 {
		t.Errorf("%d seats are taken without a device", n)
	}
	if got := w.Find(w.una.ID).State; got != accounts.Active {
		t.Errorf("the user is %s", got)
	}
	v, _ := w.device(vic, "v")
	if err := w.undelete(system, d.ID); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("without a seat: %v, want E1301", err)
	}
	if err := w.delete(system, v.ID, reason); err != nil {
		t.Fatal(err)
	}
	if err := w.undelete(system, d.ID); err != nil || w.taken(l) != 1 {
		t.Errorf("with one: %v, %d seats are taken", err, w.taken(l))
	}
}

// A deleted user and what is theirs are one: none of it goes or comes alone.
func TestDeletedUserIsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, c := w.device(w.una, "a")
	b, _ := w.device(w.una, "b")
	if err := w.delete(system, b.ID, reason); err != nil {
		t.Fatal(err)
	}
	w.Put(w.una.ID, accounts.Deleted)
	if err := w.undelete(system, b.ID); errs.KindOf(err) != errs.Conflict || errs.Find(err).Key != "device.undelete.user" {
		t.Errorf("a device without its user: %v", err)
	}
	if err := w.delete(system, a.ID, reason); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a device of a deleted user: %v", err)
	}
	w.Write(func(tx *db.Tx) error { return accounts.Undelete(t.Context(), tx, system, w.una.ID, "") })
	if got := w.find(b.ID).State; got != devices.Deleted {
		t.Errorf("what was deleted before is %s", got)
	}
	if _, err := verify(t, w.DB, w.token(a, c)); err != nil {
		t.Errorf("what was not, does not work: %v", err)
	}
	// Of a preserved user: the seat is asked for when the user comes back.
	w.Put(w.una.ID, accounts.Preserved)
	if err := w.delete(system, a.ID, reason); err != nil {
		t.Fatal(err)
	}
	for _, id := range []devices.ID{a.ID, b.ID} {
		if err := w.undelete(system, id); err != nil {
			t.Error(err)
		}
	}
	if u := w.Find(w.una.ID); u.SeatBefore != accounts.ActiveSeat || u.Seat != accounts.PreservedSeat {
		t.Errorf("preserved with a device, seat %q, before %q", u.Seat, u.SeatBefore)
	}
}
