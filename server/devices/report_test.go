package devices_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

func caller(d devices.Device) access.Caller {
	return access.Caller{Kind: access.DeviceKind, Device: d.ID, User: d.User, Org: d.Org, Computer: d.CertSerial, IP: from.IP}
}

func TestReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	d, c := w.device(w.una, "one")
	next := w.DB.Now().Add(time.Hour)
	s := wire.Status{State: wire.StateRunning, Code: "E1001", Folders: []string{"/home/una", "/srv"}, NextRun: &next,
		Progress: &wire.Progress{Files: 5, Bytes: 6, Folder: "/home/una/secret"}, Hardware: c.activation.Hardware, ClientVersion: "0.2"}
	s.Hardware.Hostname, s.Hardware.MachineID = "renamed", ""
	move(time.Second)
	if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(d), s); err != nil {
		t.Fatal(err)
	}
	got := w.find(d.ID)
	if got.Status != wire.StateRunning || got.StatusCode != "E1001" || len(got.Folders) != 2 || !got.NextRunAt.Equal(next) || got.Progress == nil ||
		got.Progress.Files != 5 || got.Hardware.Hostname != "renamed" || got.Hardware.MachineID != "m-one" || got.ClientVersion != "0.2" ||
		got.Name != "renamed" || !got.LastSeenAt.Equal(w.DB.Now()) {
		t.Errorf("found %+v", got)
	}
	if got.Progress.Folder != "" {
		t.Error("the server keeps which folder the device is in")
	}
	seen := got.LastSeenAt
	move(time.Minute)
	if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(d), s); err != nil {
		t.Fatal(err)
	}
	if got := w.find(d.ID); !got.LastSeenAt.Equal(seen) {
		t.Error("a report with nothing new was written")
	}
	move(3 * time.Minute)
	if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(d), s); err != nil {
		t.Fatal(err)
	}
	if got := w.find(d.ID); !got.LastSeenAt.Equal(w.DB.Now()) {
		t.Error("after four minutes a report with nothing new was not written")
	}
	s.State, s.Progress, s.NextRun, s.Code, s.Folders = wire.StateIdle, nil, nil, "", nil
	if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(d), s); err != nil {
		t.Fatal(err)
	}
	if got := w.find(d.ID); got.Status != wire.StateIdle || got.Progress != nil || !got.NextRunAt.IsZero() || len(got.Folders) != 0 {
		t.Errorf("found %+v", got)
	}

	for name, bad := range map[string]func(*wire.Status){
		"an unknown state":           func(s *wire.Status) { s.State = "dancing" },
		"a long code":                func(s *wire.Status) { s.Code = strings.Repeat("E", 101) },
		"a zero":                     func(s *wire.Status) { s.Folders = []string{"/a\x00"} },
		"many folders":               func(s *wire.Status) { s.Folders = make([]string, 1001) },
		"bad hardware":               func(s *wire.Status) { s.Hardware.OS = "\x00" },
		"no choices":                 func(s *wire.Status) { s.Choices = []byte(`{"cpu": 7}`) },
		"an impossible interval":     func(s *wire.Status) { s.Choices = profile.Choices{IntervalMinutes: 1}.Encode() },
		"a folder that lies nowhere": func(s *wire.Status) { s.Choices = profile.Choices{Folders: []string{"../etc"}}.Encode() },
	} {
		r := s
		bad(&r)
		if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(d), r); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if _, err := devices.Report(t.Context(), w.DB, w.Ring, w.una.Caller(from), s); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user reports: %v", err)
	}
}

// What the user of a device chose is kept as they made it, and in force as far
// as the profile lets it be.
func TestReportedChoices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, c := w.device(w.una, "one")
	report := func(choices []byte) {
		t.Helper()
		s := wire.Status{State: wire.StateIdle, Hardware: c.activation.Hardware, ClientVersion: "0.2", Choices: choices}
		if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(d), s); err != nil {
			t.Fatal(err)
		}
	}
	report(nil)
	if got := w.find(d.ID).Choices; got != nil {
		t.Errorf("a device that never told has the choices %+v", got)
	}
	chosen := profile.Choices{IntervalMinutes: 30, Folders: []string{"/home/una/a folder\nof two lines "}}
	report(chosen.Encode())
	report(nil)
	got := w.find(d.ID)
	if got.Choices == nil || string(got.Choices.Encode()) != string(chosen.Encode()) {
		t.Fatalf("the choices are %+v, want %+v", got.Choices, chosen)
	}
	effective := func() (e profile.Effective) {
		w.Read(func(tx *db.Tx) (err error) {
			e, err = (&devices.Judge{}).Effective(t.Context(), tx, got)
			return err
		})
		return e
	}
	if e := effective(); e.Rhythm.Value.IntervalMinutes != 30 || e.Rhythm.Source != profile.FromUser {
		t.Errorf("in force is %+v", e.Rhythm)
	}
	w.settings(func(s *profile.Settings) { s.UserMay.Schedule = false })
	if e := effective(); e.Rhythm.Value.IntervalMinutes != 240 || e.Rhythm.Ignored != profile.NotAllowed {
		t.Errorf("not allowed, and in force is %+v", e.Rhythm)
	}
	report(profile.Choices{}.Encode())
	if got := w.find(d.ID).Choices; got == nil || got.IntervalMinutes != 0 || got.Folders != nil {
		t.Errorf("taken back, the choices are %+v", got)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.device(w.una, "one")
	other, _ := w.device(w.una, "two")
	ask := func(by access.Caller, kind string) (n int64, err error) {
		err = w.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
			n, err = devices.Ask(t.Context(), tx, by, d.ID, kind, nil)
			return err
		})
		return n, err
	}
	next := func(d devices.Device, after int64) (n wire.Next, news bool) {
		w.Read(func(tx *db.Tx) (err error) {
			n, news, err = devices.Next(t.Context(), tx, caller(d), wire.Known{After: after})
			return err
		})
		return n, news
	}
	answer := func(d devices.Device, number int64, state string) error {
		return w.DB.Write(t.Context(), func(tx *db.Tx) error {
			return devices.Answer(t.Context(), tx, caller(d), number, wire.Outcome{State: state})
		})
	}
	n, news := next(d, 0)
	if !news || len(n.Requests) != 0 || n.ProfileVersion == 0 {
		t.Errorf("before its profile was fetched: %+v, news %v", n, news)
	}
	w.Write(func(tx *db.Tx) error { return devices.Fetched(t.Context(), tx, caller(d), n.ProfileVersion) })
	if _, news := next(d, 0); news {
		t.Error("there are news without any")
	}

	first, err := ask(admin(w, access.OrgAdmin), wire.RequestBackup)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ask(w.una.Caller(from), wire.RequestBackup); err != nil || again != first {
		t.Errorf("asked again: %d, %v; want the waiting %d", again, err, first)
	}
	second, err := ask(w.una.Caller(from), wire.RequestProfile)
	if err != nil || second <= first {
		t.Errorf("another request is %d, %v", second, err)
	}
	n, news = next(d, 0)
	if !news || len(n.Requests) != 2 || n.Requests[0].Number != first || n.Requests[0].Kind != wire.RequestBackup {
		t.Errorf("Next = %+v, %v", n, news)
	}
	if n, _ := next(d, first); len(n.Requests) != 1 || n.Requests[0].Number != second {
		t.Errorf("Next after the first = %+v", n)
	}
	if n, _ := next(other, 0); len(n.Requests) != 0 {
		t.Errorf("another device is told %+v", n)
	}
	for _, by := range []access.Caller{admin(w, access.Viewer), w.user("vic").Caller(from), caller(d)} {
		if _, err := ask(by, wire.RequestBackup); err == nil {
			t.Errorf("%s %s asked the device", by.Kind, by.Role)
		}
	}

	if err := answer(other, first, "done"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("another device answers: %v, want NotFound", err)
	}
	if err := answer(d, first, "eaten"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("an unknown outcome: %v, want Invalid", err)
	}
	for _, state := range []string{"taken", "taken", "done", "done", "failed"} {
		if err := answer(d, first, state); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		// What was taken is told again, should the device have forgotten it.
		if n, _ := next(d, 0); (len(n.Requests) == 2) != (state == "taken") {
			t.Errorf("after %s: %+v", state, n)
		}
	}
	w.Read(func(tx *db.Tx) error {
		var state string
		if err := tx.QueryRow(t.Context(), "SELECT state FROM device_requests WHERE number = $1", first).Scan(&state); err != nil || state != "done" {
			t.Errorf("the first outcome is %s, %v; want done", state, err)
		}
		return nil
	})
	if third, err := ask(system, wire.RequestBackup); err != nil || third <= second {
		t.Errorf("asked after it was done: %d, %v", third, err)
	}
	if err := w.setState(system, d.ID, devices.Deactivated); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(system, "x"); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("asking a deactivated device: %v", err)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	vic := w.user("vic")
	one, _ := w.device(w.una, "one")
	two, _ := w.device(w.una, "two")
	three, _ := w.device(vic, "three")
	var lab profiles.Profile
	w.Write(func(tx *db.Tx) (err error) {
		lab, err = profiles.Create(t.Context(), tx, system, w.Org.ID, "Laboratory", "", profile.Defaults())
		return err
	})
	changed := func(what string, do func(), want ...devices.ID) {
		t.Helper()
		move(time.Second)
		since := w.DB.Now()
		move(time.Second)
		do()
		got := map[devices.ID]bool{}
		w.Read(func(tx *db.Tx) error {
			list, err := devices.Changed(t.Context(), tx, since)
			for _, c := range list {
				got[c.Device] = true
				if !c.At.After(since) {
					t.Errorf("%s: changed at %v, asked since %v", what, c.At, since)
				}
			}
			return err
		})
		if len(got) != len(want) {
			t.Errorf("%s: %d devices changed, want %d", what, len(got), len(want))
		}
		for _, id := range want {
			if !got[id] {
				t.Errorf("%s: device %s is missing", what, w.find(id).Name)
			}
		}
	}
	write := func(f func(*db.Tx) error) func() { return func() { w.Write(f) } }
	changed("nothing", func() {})
	changed("a request", write(func(tx *db.Tx) error {
		_, err := devices.Ask(t.Context(), tx, system, one.ID, wire.RequestBackup, nil)
		return err
	}), one.ID)
	changed("a report", func() {
		if _, err := devices.Report(t.Context(), w.DB, w.Ring, caller(one), wire.Status{State: wire.StateRunning}); err != nil {
			t.Error(err)
		}
	})
	changed("a device disabled", func() {
		if err := w.setState(system, two.ID, devices.Disabled); err != nil {
			t.Error(err)
		}
	}, two.ID)
	changed("a user disabled", write(func(tx *db.Tx) error {
		return accounts.SetState(t.Context(), tx, system, vic.ID, accounts.Disabled, "")
	}), three.ID)
	changed("another profile", write(func(tx *db.Tx) error {
		return profiles.Assign(t.Context(), tx, system, vic.ID, lab.ID)
	}), three.ID)
	changed("the default profile", func() { w.settings(func(s *profile.Settings) { s.WebRestore = false }) }, one.ID, two.ID)
	changed("the other profile", write(func(tx *db.Tx) error {
		s := profile.Defaults()
		s.WebRestore = false
		_, err := profiles.Save(t.Context(), tx, system, lab.ID, lab.Revision, profiles.Changes{Settings: &s})
		return err
	}), three.ID)
}

// What a computer says whose device another one became meanwhile is of itself:
// none of it stands as the device's, and it has to ask who it is.
func TestReportOfTheReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, old := w.device(w.una, "old")
	inFlight := caller(d)
	if _, err := w.become(w.una, w.computer("new"), wire.Replace, d.ID); err != nil {
		t.Fatal(err)
	}
	before := w.find(d.ID)
	s := wire.Status{State: wire.StateFailed, Code: "E1001", Folders: []string{"/old"}, Hardware: old.activation.Hardware, ClientVersion: "0.0"}
	if _, err := devices.Report(t.Context(), w.DB, w.Ring, inFlight, s); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("the report of the old computer: %v, want Unauthenticated", err)
	}
	if got := w.find(d.ID); got.Hardware != before.Hardware || got.Name != before.Name || got.Status != before.Status || len(got.Folders) != 0 || got.ClientVersion != before.ClientVersion {
		t.Errorf("the device is %+v, was %+v", got, before)
	}
}
