package devices_test

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/wire"
)

// again is the same computer with new keys, as after its device was deactivated.
func (w *world) again(c computer) computer {
	w.Helper()
	next := w.computer(c.activation.Name)
	next.activation.Hardware = c.activation.Hardware
	return next
}

// previous is the proof that a computer was a device with the key of old.
func previous(t *testing.T, id devices.ID, old ed25519.PrivateKey, c computer) *wire.Previous {
	t.Helper()
	device, err := backup.ParseUUID(string(id))
	if err != nil {
		t.Fatal(err)
	}
	request, err := backup.ParseUUID(c.activation.RequestID)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Previous{DeviceID: string(id), Signature: wire.SignPrevious(old, device, request, c.activation.SigningKey)}
}

func (w *world) beginWith(u accounts.User, c computer, change func(*devices.Beginning)) (a wire.Activation, err error) {
	w.Helper()
	b := devices.Beginning{RequestID: c.activation.RequestID, Hardware: c.activation.Hardware, ClientVersion: "0.1", System: c.activation.System,
		SigningKey: c.activation.SigningKey, Previous: c.activation.Previous, Proof: devices.ByPassword}
	if change != nil {
		change(&b)
	}
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		a, err = devices.Begin(w.Context(), tx, u.Caller(from), w.Ring, u, b)
		return err
	})
	return a, err
}

func (w *world) begin(u accounts.User, c computer) wire.Activation {
	w.Helper()
	a, err := w.beginWith(u, c, nil)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func (w *world) finish(c computer, in wire.FinishActivation) (a devices.Activated, err error) {
	w.Helper()
	in.EnrolmentKey, in.Signature = c.activation.EnrolmentKey, wire.SignFinish(c.signing, in.Activation, c.activation.EnrolmentKey)
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		a, err = devices.Finish(w.Context(), tx, from, w.Ring, in)
		return err
	})
	return a, err
}

// become begins and finishes.
func (w *world) become(u accounts.User, c computer, choice string, id devices.ID) (devices.Activated, error) {
	w.Helper()
	return w.finish(c, wire.FinishActivation{Activation: w.begin(u, c).Activation, Choice: choice, DeviceID: string(id)})
}

func (w *world) preview(a wire.Activation, choice string, id devices.ID) (p wire.Preview, err error) {
	w.Helper()
	err = w.DB.Read(w.Context(), func(tx *db.Tx) (err error) {
		p, err = devices.Preview(w.Context(), tx, from, wire.PreviewActivation{Activation: a.Activation, Choice: choice, DeviceID: string(id)})
		return err
	})
	return p, err
}

// proves asks for a token with a key.
func (w *world) proves(id devices.ID, key ed25519.PrivateKey) error {
	w.Helper()
	challenge := devices.NewChallenge(w.Ring, w.DB.Now(), id)
	device, err := backup.ParseUUID(string(id))
	if err != nil {
		w.Fatal(err)
	}
	signature := crypt.Sign(key, "token", append(append(append([]byte{}, device[:]...), store[:]...), challenge...))
	_, _, err = devices.Prove(w.Context(), w.DB, w.Ring, store, id, challenge, signature, from)
	return err
}

func (w *world) chose(id devices.ID, c profile.Choices) {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.Context(), "UPDATE devices SET choices = $2 WHERE id = $1", id, string(c.Encode()))
		return err
	})
}

// D-08: the same device, whatever the profile says of new ones.
func TestReactivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, c := w.device(w.una, "laptop")
	w.settings(func(s *profile.Settings) { s.AllowAddDevices, s.MaxDevices = false, 1 })
	if err := w.setState(system, first.ID, devices.Deactivated); err != nil {
		t.Fatal(err)
	}
	next := w.again(c)
	next.activation.Previous = previous(t, first.ID, c.signing, next)
	a := w.begin(w.una, next)
	if a.Match == nil || a.Match.DeviceID != string(first.ID) || a.Match.By != wire.ByKey || a.Suggest != wire.Reactivate || a.Refusal != "E1202" {
		t.Fatalf("begun: %+v", a)
	}
	done, err := w.finish(next, wire.FinishActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: a.Match.DeviceID})
	if err != nil {
		t.Fatal(err)
	}
	d := w.find(first.ID)
	if done.Device.ID != first.ID || d.State != devices.Active || d.Name != "laptop" || d.CertSerial != 2 || !slices.Equal(d.SigningKey, next.activation.SigningKey) {
		t.Errorf("the device is %+v", d)
	}
	cert, err := snapshot.DecodeDeviceCert(d.Cert)
	if err != nil || cert.Serial != 2 || string(cert.Key[:]) != string(next.activation.SigningKey) {
		t.Errorf("its certificate is %+v, %v", cert, err)
	}
	w.Read(func(tx *db.Tx) error {
		set, err := devices.SetOf(t.Context(), tx, first.ID)
		certs, certsErr := devices.Certs(t.Context(), tx, first.ID)
		if err != nil || set != done.Set || certsErr != nil || len(certs) != 2 || string(certs[1]) != string(first.Cert) {
			t.Errorf("set %s, %v; %d certificates, %v", set, err, len(certs), certsErr)
		}
		return nil
	})
	if err := w.proves(first.ID, next.signing); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if err := w.proves(first.ID, c.signing); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the old key: %v, want E1208", err)
	}
	// The answer was lost.
	repeated, err := w.finish(next, wire.FinishActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: a.Match.DeviceID})
	if err != nil || repeated.Device.CertSerial != 2 || len(repeated.Secrets) == 0 {
		t.Errorf("again: %+v, %v", repeated.Device, err)
	}
	// In one call, as scripts do it, also while it is active.
	third := w.again(c)
	third.activation.Previous = previous(t, first.ID, next.signing, third)
	if once, err := w.activate(w.una, third); err != nil || once.Device.ID != first.ID || once.Choice != wire.Reactivate || once.Device.CertSerial != 3 {
		t.Errorf("in one call: %+v, %v", once.Device, err)
	}
	// A proof for another request is none.
	fourth := w.again(c)
	fourth.activation.Previous = previous(t, first.ID, third.signing, third)
	if _, err := w.activate(w.una, fourth); !errs.Is(err, errs.AddDeviceNotAllowed) {
		t.Errorf("with a proof of another request: %v, want E1202", err)
	}
}

// D-09: what the user had chosen goes back to the profile's values, after they
// have seen it.
func TestReactivationChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Boss()
	chosen := profile.Choices{IntervalMinutes: 30, UpKbps: 500, CPU: profile.CPUNormal, Unlinked: []string{"~/Music", "~/Documents"}, Folders: []string{"/srv/own"}}
	for _, c := range []struct {
		name       string
		policy     profile.KeepUnlinked
		quota      int64
		keep       bool
		overflows  bool
		returning  []string
		stillTaken []string
	}{
		{"by default", profile.KeepNo, 0, true, true, []string{"~/Music"}, nil},
		{"when the quota would not do", profile.KeepNo, 1 << 30, false, true, []string{"~/Music"}, []string{"~/Music", "~/Documents"}},
		{"with room for them", profile.KeepNo, 1 << 30, true, false, []string{"~/Music"}, nil},
		{"asked, when the quota would not do", profile.KeepAsk, 1 << 30, false, true, []string{"~/Music"}, []string{"~/Music", "~/Documents"}},
		{"asked, and kept", profile.KeepAsk, 0, true, false, []string{"~/Music"}, []string{"~/Music", "~/Documents"}},
		{"asked, and not kept", profile.KeepAsk, 0, false, false, []string{"~/Music"}, nil},
		{"kept by policy", profile.KeepYes, 0, false, false, []string{}, []string{"~/Music", "~/Documents"}},
	} {
		w.settings(func(s *profile.Settings) {
			s.Folders = []profile.Folder{{Path: "~/Music"}, {Path: "~/Documents", Mandatory: true}}
			s.ReactivateKeepUnlinked, s.QuotaBytes, s.IntervalMinutes, s.CPU = c.policy, c.quota, 240, profile.CPULow
		})
		first, computer := w.device(w.una, c.name)
		w.chose(first.ID, chosen)
		next := w.again(computer)
		a := w.begin(w.una, next)
		p, err := w.preview(a, wire.Reactivate, first.ID)
		if err != nil {
			t.Fatal(err)
		}
		settings := []wire.SettingChange{{Name: "interval", Old: "30", New: "240"}, {Name: "bandwidth", Old: "500", New: "0"}, {Name: "cpu", Old: "normal", New: "low"}}
		if !slices.Equal(p.Returning, c.returning) || !slices.Equal(p.Settings, settings) || !p.SameComputer || p.QuotaBytes != c.quota || p.KeepUnlinked != string(c.policy) {
			t.Errorf("%s: the preview is %+v", c.name, p)
		}
		if w.find(first.ID).Choices.UpKbps != 500 {
			t.Errorf("%s: the preview did something", c.name)
		}
		done, err := w.finish(next, wire.FinishActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: string(first.ID), KeepUnlinked: c.keep, Overflows: c.overflows})
		if err != nil {
			t.Fatal(err)
		}
		got := done.Device.Choices
		if got.IntervalMinutes != 0 || got.UpKbps != 0 || got.CPU != "" || !slices.Equal(got.Unlinked, c.stillTaken) || !slices.Equal(got.Folders, chosen.Folders) {
			t.Errorf("%s: the choices are %+v", c.name, got)
		}
		told := slices.ContainsFunc(w.Mails(), func(m mail.Mail) bool {
			return m.Template == mail.QuotaLeftOff && m.To == "boss@example.org" && m.Values["device"] == c.name && m.Values["folders"] == "1"
		})
		if told != (c.overflows && c.quota > 0) {
			t.Errorf("%s: that it stays off for the quota is told: %v", c.name, told)
		}
	}
}

// D-09: what the user chose on a computer that was stopped comes with it.
func TestReactivationBringsChoices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settings(func(s *profile.Settings) { s.Folders, s.IntervalMinutes = []profile.Folder{{Path: "~/Music"}}, 240 })
	first, c := w.device(w.una, "laptop")
	w.chose(first.ID, profile.Choices{IntervalMinutes: 30})
	for _, tc := range []struct {
		name       string
		said       string
		interval   string // of before, "" when it stays
		returning  []string
		goesOnWith []string // folders of the user's own
	}{
		{"what is meant", `{"interval_minutes": 60, "unlinked": ["~/Music"], "folders": ["/srv/own"]}`, "60", []string{"~/Music"}, []string{"/srv/own"}},
		{"what cannot be meant", `{"interval_minutes": -1, "unlinked": ["~/Music"]}`, "", []string{}, []string{"/srv/own"}},
		{"nothing chosen any more", `{}`, "", []string{}, nil},
	} {
		c = w.again(c)
		a := w.begin(w.una, c)
		var p wire.Preview
		err := w.DB.Read(t.Context(), func(tx *db.Tx) (err error) {
			p, err = devices.Preview(t.Context(), tx, from, wire.PreviewActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: string(first.ID), Choices: []byte(tc.said)})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var settings []wire.SettingChange
		if tc.interval != "" {
			settings = []wire.SettingChange{{Name: "interval", Old: tc.interval, New: "240"}}
		}
		if !slices.Equal(p.Returning, tc.returning) || !slices.Equal(p.Settings, settings) {
			t.Errorf("%s: the preview is %+v", tc.name, p)
		}
		done, err := w.finish(c, wire.FinishActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: string(first.ID), Choices: []byte(tc.said)})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.find(first.ID).Choices; !slices.Equal(got.Folders, tc.goesOnWith) || got.IntervalMinutes != 0 || !slices.Equal(done.Device.Choices.Folders, got.Folders) {
			t.Errorf("%s: the device goes on with %+v", tc.name, got)
		}
	}
}

// D-02: another computer goes on with the device.
func TestReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	first, old := w.device(w.una, "laptop")
	w.chose(first.ID, profile.Choices{IntervalMinutes: 30, UpKbps: 500, Folders: []string{"/srv/own"}, PausedAt: w.DB.Now(), PausedUntil: w.DB.Now().Add(time.Hour)})
	w.settings(func(s *profile.Settings) { s.AllowAddDevices, s.UserMay.Bandwidth = false, false })
	ask(t, w, first.ID)
	move(time.Hour)
	next := w.computer("desktop")
	next.activation.Hardware.OS = "windows"
	a := w.begin(w.una, next)
	if a.Match != nil || a.Suggest != wire.Replace || len(a.Devices) != 1 || a.Devices[0].Name != "laptop" {
		t.Fatalf("begun: %+v", a)
	}
	if _, err := w.finish(next, wire.FinishActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: string(first.ID)}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("reactivating as another computer: %v, want Conflict", err)
	}
	if p, err := w.preview(a, wire.Replace, first.ID); err != nil || p.SameComputer || !p.OtherSystem || len(p.Returning)+len(p.Settings) > 0 {
		t.Errorf("the preview is %+v, %v", p, err)
	}
	done, err := w.finish(next, wire.FinishActivation{Activation: a.Activation, Choice: wire.Replace, DeviceID: string(first.ID)})
	if err != nil {
		t.Fatal(err)
	}
	d := w.find(first.ID)
	if done.Device.ID != first.ID || d.Name != "desktop" || d.Hardware != next.activation.Hardware || d.RootEpoch != 2 || d.CertSerial != 2 {
		t.Errorf("the device is %+v", d)
	}
	if c := d.Choices; c.IntervalMinutes != 30 || c.UpKbps != 0 || !slices.Equal(c.Folders, []string{"/srv/own"}) || !c.PausedUntil.IsZero() {
		t.Errorf("its choices are %+v", c)
	}
	replaced := w.DB.Now()
	move(24 * time.Hour)
	err = w.proves(first.ID, old.signing)
	if !errs.Is(err, errs.DeviceDeactivated) {
		t.Fatalf("the old computer: %v, want E1208", err)
	}
	if at, ok := errs.Find(err).Args["replaced_at"].(time.Time); !ok || !at.Equal(replaced) {
		t.Errorf("the old computer was replaced at %v, want %v", at, replaced)
	}
	w.Read(func(tx *db.Tx) error {
		var state, code string
		err := tx.QueryRow(t.Context(), "SELECT state, code FROM device_requests WHERE device = $1", first.ID).Scan(&state, &code)
		if err != nil || state != "failed" || code != "replaced" {
			t.Errorf("what the old computer was asked is %s %s, %v", state, code, err)
		}
		return nil
	})
	// Its key lets the old computer not back in: it is another device now.
	back := w.again(old)
	back.activation.Previous = previous(t, first.ID, old.signing, back)
	if a := w.begin(w.una, back); a.Match != nil {
		t.Errorf("the old computer matches %+v", a.Match)
	}
}

func ask(t *testing.T, w *world, id devices.ID) {
	t.Helper()
	w.Write(func(tx *db.Tx) error {
		_, err := devices.Ask(t.Context(), tx, system, id, wire.RequestBackup, nil)
		return err
	})
}

func TestWhatProfilesSayOfTakenNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy profile.SameName
		want   string // the name, or the code
		same   bool
	}{
		{profile.SamePrompt, "E1201", false}, {profile.SameAllow, "laptop-2", false}, {profile.SameReplace, "laptop", true},
	} {
		w := newWorld(t)
		w.settings(func(s *profile.Settings) { s.SameName = c.policy })
		first, _ := w.device(w.una, "laptop")
		other := w.computer("laptop")
		other.activation.Hardware.MachineID, other.activation.Hardware.Serial = "m-other", "s-other"
		done, err := w.become(w.una, other, wire.Add, "")
		got := done.Device.Name
		if err != nil {
			got = string(errs.Find(err).Code)
		}
		if got != c.want || c.same != (done.Device.ID == first.ID) {
			t.Errorf("%s: %s, %v; want %s", c.policy, got, err, c.want)
		}
	}
}

// Two computers that claim to be one are told apart, and recorded.
func TestClones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	first, c := w.device(w.una, "laptop")
	clone := w.computer("copy")
	clone.activation.Hardware.MachineID = c.activation.Hardware.MachineID
	a := w.begin(w.una, clone)
	if a.Match == nil || a.Match.By != wire.ByClone || a.Suggest != wire.Add || w.find(first.ID).CloneAt.IsZero() {
		t.Errorf("a clone: %+v, noted at %v", a, w.find(first.ID).CloneAt)
	}
	if _, err := w.finish(clone, wire.FinishActivation{Activation: a.Activation, Choice: wire.Reactivate, DeviceID: string(first.ID)}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a clone is reactivated: %v", err)
	}
	// The same host, without the key: reactivated. Then the old key shows up.
	second, d := w.device(w.una, "desk")
	next := w.again(d)
	if _, err := w.become(w.una, next, wire.Reactivate, second.ID); err != nil {
		t.Fatal(err)
	}
	move(23 * time.Hour)
	if err := w.proves(second.ID, d.signing); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the old key: %v, want E1208", err)
	}
	if w.find(second.ID).CloneAt.IsZero() {
		t.Error("the old key within a day was not noted")
	}
}

func TestFinishRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	stopped, stoppedComputer := w.device(w.una, "stopped")
	if err := w.setState(system, stopped.ID, devices.Disabled); err != nil {
		t.Fatal(err)
	}
	gone, _ := w.device(w.una, "gone")
	if err := w.setState(system, gone.ID, devices.Deleted); err != nil {
		t.Fatal(err)
	}
	foreign, _ := w.device(w.user("vic"), "laptop")
	c := w.computer("new")
	a := w.begin(w.una, c)
	for _, bad := range []struct {
		name   string
		choice string
		device devices.ID
		kind   errs.Kind
	}{
		{"an unknown choice", "steal", foreign.ID, errs.Forbidden},
		{"nothing", wire.Replace, "", errs.NotFound},
		{"another user's", wire.Replace, foreign.ID, errs.NotFound},
		{"one that is stopped", wire.Replace, stopped.ID, errs.Forbidden},
		{"one that is gone", wire.Replace, gone.ID, errs.Conflict},
	} {
		if _, err := w.finish(c, wire.FinishActivation{Activation: a.Activation, Choice: bad.choice, DeviceID: string(bad.device)}); errs.KindOf(err) != bad.kind || err == nil {
			t.Errorf("%s: %v, want kind %d", bad.name, err, bad.kind)
		}
	}
	// A stopped device does not start because its computer is activated again.
	back := w.again(stoppedComputer)
	back.activation.Previous = previous(t, stopped.ID, stoppedComputer.signing, back)
	if _, err := w.activate(w.una, back); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a stopped device, in one call: %v, want Forbidden", err)
	}
	// Who holds the token and not the key.
	thief := w.computer("new")
	thief.activation.RequestID = c.activation.RequestID
	if _, err := w.finish(thief, wire.FinishActivation{Activation: a.Activation, Choice: wire.Add}); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("without the key: %v", err)
	}
	if _, err := w.beginWith(w.una, thief, nil); errs.KindOf(err) != errs.Conflict {
		t.Errorf("the same request with another key: %v", err)
	}
	later := w.begin(w.una, c)
	if _, err := w.finish(c, wire.FinishActivation{Activation: a.Activation, Choice: wire.Add}); errs.KindOf(err) != errs.Gone {
		t.Errorf("the token of before: %v, want Gone", err)
	}
	move(24 * time.Hour)
	if _, err := w.finish(c, wire.FinishActivation{Activation: later.Activation, Choice: wire.Add}); errs.KindOf(err) != errs.Gone {
		t.Errorf("after a day: %v, want Gone", err)
	}
	now := w.begin(w.una, c)
	w.Write(func(tx *db.Tx) error { return accounts.Disable(t.Context(), tx, system, w.una.ID, "") })
	if _, err := w.finish(c, wire.FinishActivation{Activation: now.Activation, Choice: wire.Add}); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("of a user who was disabled since: %v, want E1101", err)
	}
}

// A device that waits for approval has no secrets; after it, finishing again
// brings them.
func TestWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.computer("laptop")
	a, err := w.beginWith(w.una, c, func(b *devices.Beginning) { b.Waits, b.Proof, b.Choice = true, devices.ByToken, wire.Add })
	if err != nil || !a.Waiting {
		t.Fatalf("begun: %+v, %v", a, err)
	}
	in := wire.FinishActivation{Activation: a.Activation, Choice: wire.Add}
	for range 2 {
		done, err := w.finish(c, in)
		if err != nil || done.Device.State != devices.Waiting || done.Secrets != nil {
			t.Fatalf("finished: %s, %d bytes of secrets, %v", done.Device.State, len(done.Secrets), err)
		}
		if err := w.proves(done.Device.ID, c.signing); errs.KindOf(err) != errs.Forbidden {
			t.Errorf("a waiting device: %v, want Forbidden", err)
		}
		a.UserID = string(done.Device.ID)
	}
	if err := w.setState(system, devices.ID(a.UserID), devices.Active); err != nil {
		t.Fatal(err)
	}
	if done, err := w.finish(c, in); err != nil || done.Device.State != devices.Active || len(done.Secrets) == 0 {
		t.Errorf("after the approval: %s, %v", done.Device.State, err)
	}
}

// What a credential leaves is all that there is.
func TestOrderedChoices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := w.device(w.una, "laptop")
	other, _ := w.device(w.una, "desk")
	w.settings(func(s *profile.Settings) { s.AllowAddDevices = false })
	c := w.computer("new")
	order := func(choice string, target devices.ID) wire.Activation {
		t.Helper()
		c.activation.RequestID = uuid.NewString()
		a, err := w.beginWith(w.una, c, func(b *devices.Beginning) { b.Choice, b.Target = choice, target })
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := order(wire.Replace, first.ID)
	if a.Suggest != wire.Replace || a.Match == nil || a.Match.DeviceID != string(first.ID) || a.Match.By != wire.ByAdministrator {
		t.Errorf("begun: %+v", a)
	}
	for _, in := range []wire.FinishActivation{{Choice: wire.Add}, {Choice: wire.Replace, DeviceID: string(other.ID)}, {Choice: wire.Reactivate, DeviceID: string(first.ID)}} {
		in.Activation = a.Activation
		if _, err := w.finish(c, in); errs.KindOf(err) != errs.Forbidden {
			t.Errorf("%+v: %v, want Forbidden", in, err)
		}
	}
	if done, err := w.finish(c, wire.FinishActivation{Activation: a.Activation, Choice: wire.Replace, DeviceID: string(first.ID)}); err != nil || done.Device.ID != first.ID {
		t.Errorf("as it was ordered: %v", err)
	}
	// An administrator may order a device that the profile does not allow.
	c = w.computer("more")
	if _, err := w.finish(c, wire.FinishActivation{Activation: order(wire.Add, "").Activation, Choice: wire.Add}); err != nil {
		t.Errorf("an ordered device: %v", err)
	}
}

// C-14: a computer that lost the last answer and begins again days later is the
// device that it became.
func TestBegunAgainAfterDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.computer("laptop")
	first, err := w.become(w.una, c, wire.Add, "")
	if err != nil {
		t.Fatal(err)
	}
	w.Move(48 * time.Hour)
	w.Write(func(tx *db.Tx) error {
		_, err := devices.Expire(t.Context(), tx)
		return err
	})
	done, err := w.become(w.una, c, wire.Add, "")
	if err != nil || done.Device.ID != first.Device.ID || len(done.Secrets) == 0 {
		t.Errorf("begun again it is %s, want %s: %v", done.Device.ID, first.Device.ID, err)
	}
	thief := w.computer("laptop")
	thief.activation.RequestID = c.activation.RequestID
	if _, err := w.beginWith(w.una, thief, nil); errs.KindOf(err) != errs.Conflict {
		t.Errorf("another key with the same request: %v, want Conflict", err)
	}
}

// Whoever proved to be the user by the password of before is nobody any more when
// there is another one: with what they began they could have the user's files.
func TestAnotherPasswordEndsWhatWasBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.device(w.una, "laptop")
	c := w.computer("thief")
	a := w.begin(w.una, c)
	w.Write(func(tx *db.Tx) error {
		return accounts.SetPassword(t.Context(), tx, w.una.Caller(from), w.una.ID, w.Hash("Another-Password-1"), false)
	})
	in := wire.FinishActivation{Activation: a.Activation, Choice: wire.Replace, DeviceID: string(d.ID), Restore: wire.RestoreFiles}
	if _, err := w.finish(c, in); errs.KindOf(err) != errs.Gone {
		t.Errorf("begun with the password of before: %v, want Gone", err)
	}
	if _, err := w.become(w.una, c, wire.Add, ""); err != nil {
		t.Errorf("begun anew: %v", err)
	}
}

// D-10: what was begun before a reset brings none of its devices back, also when
// it named none yet.
func TestResetEndsWhatWasBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.device(w.una, "laptop")
	c := w.computer("laptop")
	a := w.begin(w.una, c)
	w.Write(func(tx *db.Tx) error {
		return devices.Reset(t.Context(), tx, system, []devices.ID{d.ID}, "the old server was broken into", false, audit.Note("reset", "r"))
	})
	for _, choice := range []string{wire.Replace, wire.Reactivate} {
		if _, err := w.finish(c, wire.FinishActivation{Activation: a.Activation, Choice: choice, DeviceID: string(d.ID)}); errs.KindOf(err) != errs.Gone {
			t.Errorf("%s by what was begun before: %v, want Gone", choice, err)
		}
	}
}
