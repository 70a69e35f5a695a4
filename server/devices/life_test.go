package devices_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/wire"
)

func (w *world) report(d devices.Device, host, ip string) {
	w.Helper()
	by := caller(d)
	by.IP = ip
	s := wire.Status{State: wire.StateIdle, Hardware: wire.Hardware{Hostname: host}}
	if _, err := devices.Report(w.Context(), w.DB, w.Ring, by, s); err != nil {
		w.Fatal(err)
	}
}

func (w *world) found(word string) (names []string) {
	w.Helper()
	w.Read(func(tx *db.Tx) error {
		list, _, err := devices.List(w.Context(), tx, system, devices.Filter{Search: word})
		for _, d := range list {
			names = append(names, d.Name)
		}
		return err
	})
	return names
}

// A device is called as its computer is, until somebody calls it otherwise; what
// it was called still finds it.
func TestNamesFollowTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.find(w.onlyNamed("desk"))
	c := w.computer("host")
	c.activation.Name = "Marie's laptop"
	made, err := w.activate(w.una, c)
	if err != nil {
		t.Fatal(err)
	}
	chosen := made.Device
	w.device(w.una, "taken")
	if plain.Named || !chosen.Named {
		t.Fatalf("chosen: %v and %v", plain.Named, chosen.Named)
	}
	w.report(plain, "desk.other.example", "192.0.2.1") // only its domain
	if got := w.find(plain.ID); got.Name != plain.Name || got.Names != "" {
		t.Errorf("in another domain it is %q, was %q", got.Name, got.Names)
	}
	w.report(plain, "atelier.example.org", "192.0.2.1")
	w.report(chosen, "atelier-2.example.org", "192.0.2.1")
	if a, b := w.find(plain.ID).Name, w.find(chosen.ID).Name; a != "atelier" || b != "Marie's laptop" {
		t.Errorf("renamed to %q and %q", a, b)
	}
	if got := w.found("desk"); !slices.Equal(got, []string{"atelier"}) {
		t.Errorf("by the old name: %q", got)
	}
	rows := w.Audit(audit.Filter{Object: "device/" + string(plain.ID)})
	if !slices.Contains(rows[0].Details, audit.Detail{Name: "name", Before: plain.Name, After: "atelier"}) || rows[0].ActorKind != access.DeviceKind {
		t.Errorf("recorded %+v", rows[0])
	}
	w.report(plain, "TAKEN", "192.0.2.1")
	if got := w.find(plain.ID).Name; got != "TAKEN-2" {
		t.Errorf("by a taken name: %q", got)
	}
	rename := func(name string) {
		t.Helper()
		w.Write(func(tx *db.Tx) error { return devices.Rename(t.Context(), tx, w.una.Caller(from), plain.ID, name) })
	}
	rename("Mine")
	w.report(plain, "fourth", "192.0.2.1")
	if got := w.find(plain.ID); got.Name != "Mine" || !slices.Equal(got.OldNames(), []string{plain.Name, "atelier", "TAKEN", "TAKEN-2"}) && len(got.OldNames()) < 3 {
		t.Errorf("once chosen: %q, was %q", got.Name, got.OldNames())
	}
	rename("Fourth") // the computer's: it follows again
	w.report(plain, "fifth", "192.0.2.1")
	if got := w.find(plain.ID).Name; got != "fifth" {
		t.Errorf("given back: %q", got)
	}
	for i := range 30 {
		w.report(plain, fmt.Sprint("host", i), "192.0.2.1")
	}
	if n := len(w.find(plain.ID).OldNames()); n > 20 {
		t.Errorf("%d names are kept", n)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	boss, una := admin(w, access.OrgAdmin), w.una.Caller(from)
	lock := func(by access.Caller, why string) error {
		return w.Try(func(tx *db.Tx) error { return devices.Lock(t.Context(), tx, by, d.ID, why) })
	}
	allowed := func() (err error) {
		w.Read(func(tx *db.Tx) error {
			err = devices.Unlocked(t.Context(), tx, access.Caller{Kind: access.DeviceKind, Device: d.ID})
			return nil
		})
		return err
	}
	for by, kind := range map[access.Caller]errs.Kind{una: errs.Forbidden, admin(w, access.Viewer): errs.Forbidden} {
		if err := lock(by, reason); errs.KindOf(err) != kind {
			t.Errorf("by %s: %v", by.Kind, err)
		}
	}
	if err := lock(boss, "stolen"); errs.KindOf(err) != errs.Invalid || allowed() != nil {
		t.Errorf("without a reason: %v", err)
	}
	if err := lock(boss, reason); err != nil {
		t.Fatal(err)
	}
	if err := allowed(); errs.KindOf(err) != errs.Forbidden || errs.Find(err).Key != "device.locked" {
		t.Errorf("locked, it may: %v", err)
	}
	if _, err := verify(t, w.DB, w.token(d, c)); err != nil {
		t.Errorf("it does not back up: %v", err)
	}
	// Where it is, is recorded, each place once.
	for _, ip := range []string{"198.51.100.1", "198.51.100.1", "198.51.100.2"} {
		w.report(d, "", ip)
	}
	seen := 0
	for _, row := range w.Audit(audit.Filter{Object: "device/" + string(d.ID)}) {
		if row.Action == access.Report {
			seen++
		}
	}
	if seen != 2 || w.find(d.ID).LastIP != "198.51.100.2" {
		t.Errorf("%d places are recorded, it was last at %s", seen, w.find(d.ID).LastIP)
	}
	if err := w.Try(func(tx *db.Tx) error { return devices.Unlock(t.Context(), tx, una, d.ID) }); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("its user unlocks it: %v", err)
	}
	w.Write(func(tx *db.Tx) error { return devices.Unlock(t.Context(), tx, boss, d.ID) })
	if err := allowed(); err != nil {
		t.Errorf("unlocked: %v", err)
	}
}

// C-09: a disk that was copied after it was activated. Both computers have the
// key, and report in turn; administrators hear of it once, and the device keeps
// its name. Who renames a computer, and is not in two minds, is no clone.
func TestCopiedWithItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	w.Boss()
	d, _ := w.device(w.una, "gold")
	told := func() (hosts []string) {
		for _, m := range w.Mails() {
			if m.Template == mail.DeviceCloned {
				hosts = append(hosts, m.Values["hostname"])
			}
		}
		return hosts
	}
	for _, host := range []string{"silver", "gold", "silver", "gold", "silver"} {
		move(time.Minute)
		w.report(d, host, "192.0.2.1")
	}
	if got := w.find(d.ID); got.CloneAt.IsZero() || got.Name != "silver" {
		t.Errorf("the device is %q, two computers since %v", got.Name, got.CloneAt)
	}
	if got := told(); !slices.Equal(got, []string{"silver"}) {
		t.Errorf("told of %q, want one mail about silver", got)
	}
	other, _ := w.device(w.una, "bronze")
	for _, host := range []string{"copper", "bronze"} {
		move(25 * time.Hour)
		w.report(other, host, "192.0.2.1")
	}
	if got := w.find(other.ID); !got.CloneAt.IsZero() || got.Name != "bronze" {
		t.Errorf("renamed there and back, it is %q, two computers since %v", got.Name, got.CloneAt)
	}
}

// D-13: who holds a locked computer and knows the password cannot make it
// another device that is not locked. Another computer is not the one that was
// stolen.
func TestLockIsOnTheComputer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "stolen")
	w.Write(func(tx *db.Tx) error {
		return devices.Lock(t.Context(), tx, admin(w, access.OrgAdmin), d.ID, reason)
	})
	become := func(c computer, choice string, id devices.ID) devices.Device {
		t.Helper()
		done, err := w.become(w.una, c, choice, id)
		if err != nil {
			t.Fatal(err)
		}
		return w.find(done.Device.ID)
	}
	if got := become(w.again(c), wire.Replace, d.ID); got.LockedAt.IsZero() {
		t.Error("it takes its own place and is free")
	}
	again := w.again(c)
	again.activation.Hardware.Hostname = "mine"
	if got := become(again, wire.Add, ""); got.LockedAt.IsZero() {
		t.Error("it becomes one more device and is free")
	}
	if got := become(w.computer("new"), wire.Replace, d.ID); !got.LockedAt.IsZero() {
		t.Error("the computer that was bought instead is locked")
	}
}

// The lock stays on the stolen computer when what became of its device is taken
// back, and when it says that it is another one by its name.
func TestLockStaysOnTheComputer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, stolen := w.device(w.una, "stolen")
	lock := func() {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			return devices.Lock(t.Context(), tx, admin(w, access.OrgAdmin), d.ID, reason)
		})
	}
	undo := func() (second devices.Device) {
		t.Helper()
		w.Write(func(tx *db.Tx) (err error) {
			second, err = devices.UndoReplace(t.Context(), tx, admin(w, access.OrgAdmin), d.ID)
			return err
		})
		return w.find(second.ID)
	}
	lock()
	bought := w.computer("bought")
	if _, err := w.become(w.una, bought, wire.Replace, d.ID); err != nil {
		t.Fatal(err)
	}
	if second := undo(); w.find(d.ID).LockedAt.IsZero() || !second.LockedAt.IsZero() {
		t.Errorf("taken back, the stolen computer is locked at %s, the other one at %s", w.find(d.ID).LockedAt, second.LockedAt)
	}
	w.Write(func(tx *db.Tx) error { return devices.Unlock(t.Context(), tx, admin(w, access.OrgAdmin), d.ID) })
	if _, err := w.become(w.una, w.computer("borrowed"), wire.Replace, d.ID); err != nil {
		t.Fatal(err)
	}
	lock()
	if second := undo(); !w.find(d.ID).LockedAt.IsZero() || second.LockedAt.IsZero() {
		t.Errorf("taken back, the first computer is locked at %s, the one that was locked at %s", w.find(d.ID).LockedAt, second.LockedAt)
	}

	lock()
	other, _ := w.device(w.una, "desk")
	posing := w.again(stolen)
	posing.activation.Hardware.Hostname = "desk"
	posing.activation.Hardware.MachineID = ""
	if _, err := w.become(w.una, posing, wire.Reactivate, other.ID); err != nil {
		t.Fatal(err)
	}
	if w.find(other.ID).LockedAt.IsZero() {
		t.Error("by the name of another one it is free")
	}
}

// D-13: another computer in the place of the stolen one does not set that free.
// It is let in no more, where it tries is recorded, and with the user's password
// it is a locked device again. An administrator sees that, and can end it.
func TestReplacedWhileLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	boss := admin(w, access.OrgAdmin)
	d, stolen := w.device(w.una, "stolen")
	w.Write(func(tx *db.Tx) error { return devices.Lock(t.Context(), tx, boss, d.ID, reason) })
	if _, err := w.become(w.una, w.computer("bought"), wire.Replace, d.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.proves(d.ID, stolen.signing); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the stolen computer is let in: %v", err)
	}
	former := func() (i devices.Identity) {
		t.Helper()
		w.Read(func(tx *db.Tx) error {
			list, err := devices.Identities(t.Context(), tx, boss, d.ID)
			i = list[1]
			return err
		})
		return i
	}
	if i := former(); i.LockedAt.IsZero() || i.SeenIP != from.IP || !i.SeenAt.Equal(w.DB.Now()) {
		t.Errorf("the stolen computer is %+v", i)
	}
	marked := func() (n int) {
		t.Helper()
		w.Read(func(tx *db.Tx) error {
			list, _, err := devices.List(t.Context(), tx, boss, devices.Filter{Org: w.Org.ID, Marked: devices.MarkedLocked})
			n = len(list)
			return err
		})
		return n
	}
	if n := marked(); n != 1 {
		t.Errorf("%d devices are listed as locked, want the one that was stolen", n)
	}
	made, err := w.become(w.una, w.again(stolen), wire.Add, "")
	if err != nil || w.find(made.Device.ID).LockedAt.IsZero() {
		t.Errorf("activated again it is free: %v", err)
	}
	unlock := func(by access.Caller) error {
		return w.Try(func(tx *db.Tx) error { return devices.UnlockFormer(t.Context(), tx, by, d.ID, former().Serial) })
	}
	if err := unlock(w.una.Caller(from)); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("its user unlocks it: %v", err)
	}
	if err := unlock(boss); err != nil || !former().LockedAt.IsZero() {
		t.Errorf("it is locked still: %v", err)
	}
	if err := unlock(boss); errs.KindOf(err) != errs.Conflict {
		t.Errorf("unlocked twice: %v", err)
	}
	w.Write(func(tx *db.Tx) error { return devices.Unlock(t.Context(), tx, boss, made.Device.ID) })
	if n := marked(); n != 0 {
		t.Errorf("%d devices are listed as locked that are not", n)
	}
	free := w.again(stolen)
	free.activation.Hardware.Hostname = "found"
	if made, err := w.become(w.una, free, wire.Add, ""); err != nil || !w.find(made.Device.ID).LockedAt.IsZero() {
		t.Errorf("unlocked and activated again it is locked: %v", err)
	}
}

// Nor does the deletion of its device, while that can be undone; and who unlocks
// a device unlocks the computer that it was all along.
func TestLockOutlivesTheDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := admin(w, access.OrgAdmin)
	d, stolen := w.device(w.una, "stolen")
	w.Write(func(tx *db.Tx) error { return devices.Lock(t.Context(), tx, boss, d.ID, reason) })
	if _, err := w.become(w.una, w.again(stolen), wire.Replace, d.ID); err != nil || w.find(d.ID).LockedAt.IsZero() {
		t.Fatalf("it took its own place: %v", err)
	}
	w.Write(func(tx *db.Tx) error { return devices.Unlock(t.Context(), tx, boss, d.ID) })
	if _, err := w.become(w.una, w.again(stolen), wire.Replace, d.ID); err != nil || !w.find(d.ID).LockedAt.IsZero() {
		t.Errorf("unlocked, it is locked when it takes its own place: %v", err)
	}
	w.Write(func(tx *db.Tx) error { return devices.Lock(t.Context(), tx, boss, d.ID, reason) })
	w.Write(func(tx *db.Tx) error { return devices.Delete(t.Context(), tx, boss, d.ID, reason) })
	if made, err := w.become(w.una, w.again(stolen), wire.Add, ""); err != nil || w.find(made.Device.ID).LockedAt.IsZero() {
		t.Errorf("its device deleted, it is free: %v", err)
	}
}

func (w *world) inactive() (warned []string) {
	w.Helper()
	for range 2 { // it must do nothing twice
		w.Write(func(tx *db.Tx) error {
			_, err := devices.Inactive(w.Context(), tx, w.Ring)
			return err
		})
	}
	for _, m := range w.Mails() {
		if m.Template == mail.InactiveExpiring {
			warned = append(warned, m.Values["days"]+": "+strings.ReplaceAll(m.Values["devices"], "\n", " "))
		}
	}
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.Context(), "DELETE FROM outbox")
		return err
	})
	return warned
}

func TestInactive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	w.Boss()
	d, _ := w.device(w.una, "one")
	busy, _ := w.device(w.una, "busy")
	disabled, _ := w.device(w.una, "disabled")
	w.setDevice(disabled.ID, devices.Disabled)
	kept, held := w.user("kept"), w.user("held")
	preserved, _ := w.device(kept, "preserved")
	onHold, _ := w.device(held, "on hold")
	w.Put(kept.ID, accounts.Preserved)
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, held.ID, true) })
	backUp := func(id devices.ID, status string) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			return devices.Committed(t.Context(), tx, id, devices.Backup{Status: status, At: tx.Now()})
		})
	}
	marked := func(id devices.ID, want bool) {
		t.Helper()
		if got := w.find(id).InactiveAt; got.IsZero() == want {
			t.Errorf("%s is inactive since %v, want %v", w.find(id).Name, got, want)
		}
	}
	// Marked after the profile's 30 days; nothing is ever deleted unless it says so.
	move(30*day - time.Second)
	backUp(busy.ID, "complete")
	backUp(d.ID, "partial")
	w.inactive()
	marked(d.ID, false)
	move(time.Second)
	w.inactive()
	marked(d.ID, true)
	for _, id := range []devices.ID{busy.ID, disabled.ID, preserved.ID, onHold.ID} {
		marked(id, false)
	}
	// By a longer time it is not.
	w.settings(func(s *profile.Settings) { s.InactiveDays = 31 })
	w.inactive()
	marked(d.ID, false)
	w.settings(func(s *profile.Settings) { s.InactiveDays = 30 })
	w.inactive()
	marked(d.ID, true)
	if warned := w.inactive(); len(warned) > 0 {
		t.Errorf("warned %q though nothing is deleted", warned)
	}
	backUp(d.ID, "complete")
	marked(d.ID, false)

	w.settings(func(s *profile.Settings) { s.AutoDeleteInactiveDays = 40 })
	var warned []string
	began := false
	for n := range 90 {
		move(day)
		backUp(busy.ID, "complete")
		for _, said := range w.inactive() {
			warned = append(warned, fmt.Sprintf("day %d, %s", n+1, said))
		}
		if got := w.find(d.ID).State == devices.Deleted; got && !began {
			began = true
			warned = append(warned, fmt.Sprintf("day %d, deleted", n+1))
		}
	}
	if want := []string{"day 40, 30: one (una)", "day 63, 7: one (una)", "day 69, 1: one (una)", "day 70, deleted"}; !slices.Equal(warned, want) {
		t.Errorf("%q, want %q", warned, want)
	}
	if got := w.find(d.ID); got.StateReason != "inactive for 40 days" || got.PurgeAt.Sub(got.StateAt) != 7*day || !got.InactiveAt.IsZero() {
		t.Errorf("deleted: %+v", got)
	}
	for _, id := range []devices.ID{busy.ID, disabled.ID, preserved.ID, onHold.ID} {
		if s := w.find(id).State; s == devices.Deleted {
			t.Errorf("%s was deleted", w.find(id).Name)
		}
	}
}

// Whoever was stopped for long is warned of again before anything is deleted.
func TestInactiveIsWarnedOfAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	w.Boss()
	d, _ := w.device(w.una, "one")
	w.settings(func(s *profile.Settings) { s.AutoDeleteInactiveDays = 30 })
	move(30 * day)
	w.inactive()
	move(29 * day)
	if warned := w.inactive(); !slices.Equal(warned, []string{"1: one (una)"}) {
		t.Errorf("a day before: %q", warned)
	}
	w.Put(w.una.ID, accounts.Disabled)
	move(100 * day)
	if warned := w.inactive(); len(warned) > 0 || w.find(d.ID).State != devices.Active {
		t.Errorf("with its user disabled: %q, %s", warned, w.find(d.ID).State)
	}
	w.Put(w.una.ID, accounts.Active)
	if warned := w.inactive(); !slices.Equal(warned, []string{"1: one (una)"}) || w.find(d.ID).State != devices.Active {
		t.Errorf("back: %q, %s", warned, w.find(d.ID).State)
	}
	move(day)
	if w.inactive(); w.find(d.ID).State != devices.Deleted {
		t.Errorf("a day later it is %s", w.find(d.ID).State)
	}
	if err := w.undelete(system, d.ID); err != nil {
		t.Fatal(err)
	}
	if w.inactive(); w.find(d.ID).State != devices.Active {
		t.Error("brought back, it is deleted at once")
	}
}
