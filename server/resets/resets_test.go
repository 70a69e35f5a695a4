package resets_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

const reason = "the old server was broken into"

// world has two administrators, and users with devices.
type world struct {
	*accountstest.World
	desk     *approvals.Desk
	ada, bob access.Caller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: accountstest.New(t)}
	w.Write(func(tx *db.Tx) error {
		_, err := profiles.Create(t.Context(), tx, accountstest.System, w.Org.ID, "Default", "", profile.Defaults())
		return err
	})
	w.Stop(time.Now().UTC().Truncate(time.Microsecond).Add(time.Minute))
	w.desk = approvals.New(w.Ring, func() string { return accountstest.Address }, resets.Kind())
	w.ada, w.bob = w.Admin("ada", access.OrgAdmin).Caller(access.Caller{}), w.Admin("bob", access.OrgAdmin).Caller(access.Caller{})
	return w
}

// computer is one that is, or was, a device.
type computer struct {
	id      devices.ID
	user    accounts.User
	signing ed25519.PrivateKey
	in      devices.Activation
}

func (w *world) computer(u accounts.User, name, os string) *computer {
	w.Helper()
	of := wiretest.NewComputer(w.T)
	c := &computer{user: u, signing: of.Signing, in: devices.Activation{RequestID: uuid.NewString(), Name: name, ClientVersion: "0.1", SigningKey: of.SigningKey(), EnrolmentKey: of.Enrolment,
		Hardware: wire.Hardware{MachineID: "m-" + name, Serial: "s-" + name, Hostname: name, OS: os, Arch: "amd64", OSUser: "u"}}}
	d, err := w.activate(c)
	if err != nil {
		w.Fatal(err)
	}
	c.id = d.ID
	return c
}

func (w *world) activate(c *computer) (devices.Device, error) {
	w.Helper()
	var a devices.Activated
	err := w.Try(func(tx *db.Tx) (err error) {
		a, err = devices.Activate(w.Context(), tx, c.user.Caller(access.Caller{}), w.Ring, c.user, c.in)
		return err
	})
	return a.Device, err
}

// again activates the computer once more, showing the key that it had.
func (w *world) again(c *computer) (devices.Device, error) {
	w.Helper()
	device, err := backup.ParseUUID(string(c.id))
	if err != nil {
		w.Fatal(err)
	}
	old := c.signing
	c.in.RequestID = uuid.NewString()
	request, err := backup.ParseUUID(c.in.RequestID)
	if err != nil {
		w.Fatal(err)
	}
	now := wiretest.NewComputer(w.T)
	c.in.SigningKey, c.signing = now.SigningKey(), now.Signing
	c.in.Previous = &wire.Previous{DeviceID: string(c.id), Signature: wire.SignPrevious(old, device, request, c.in.SigningKey)}
	return w.activate(c)
}

func (w *world) state(id devices.ID) devices.State {
	w.Helper()
	var d devices.Device
	w.Read(func(tx *db.Tx) (err error) {
		d, err = devices.Find(w.Context(), tx, id)
		return err
	})
	return d.State
}

func (w *world) preview(f resets.Filter) (c resets.Choice) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		c, err = resets.Preview(w.Context(), tx, w.ada, w.Org.ID, f)
		return err
	})
	return c
}

func (w *world) ask(n resets.New) (r resets.Reset, err error) {
	w.Helper()
	n.Org = w.Org.ID
	if n.Name == "" {
		n.Name = "Reset"
	}
	if n.Reason == "" {
		n.Reason = reason
	}
	err = w.Try(func(tx *db.Tx) (err error) {
		r, err = resets.Ask(w.Context(), tx, w.ada, w.desk, n)
		return err
	})
	return r, err
}

// begin asks for a reset and has it approved.
func (w *world) begin(n resets.New) resets.Reset {
	w.Helper()
	n.Expect = w.preview(n.Filter).Devices
	r, err := w.ask(n)
	if err != nil {
		w.Fatal(err)
	}
	w.Write(func(tx *db.Tx) error {
		_, err := w.desk.Approve(w.Context(), tx, w.bob, r.Approval)
		return err
	})
	a, err := w.desk.CarryOut(w.Context(), w.DB, r.Approval)
	if err != nil || a.State != approvals.Done {
		w.Fatalf("carried out: %s, %v, %v", a.State, a.Failure, err)
	}
	return r
}

func (w *world) run() {
	w.Helper()
	if err := resets.Run(w.Context(), w.DB, w.Ring); err != nil {
		w.Fatal(err)
	}
}

func (w *world) follow(id string) (r resets.Reset, p resets.Progress) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		r, p, err = resets.Follow(w.Context(), tx, w.ada, id)
		return err
	})
	return r, p
}

func (w *world) do(f func(context.Context, *db.Tx, access.Caller, string) error, by access.Caller, id string) error {
	w.Helper()
	return w.Try(func(tx *db.Tx) error { return f(w.Context(), tx, by, id) })
}

func key(err error) string {
	if e := errs.Find(err); e != nil {
		return e.Key
	}
	return ""
}

var letter = resets.Letter{Window: "21 November, 22:00", Since: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), Link: "https://help.example.org/", Contact: "help@example.org"}

// All devices are reset, their users told, and the reset ends when the last one
// is back. The one that is deleted meanwhile is waited for no longer.
func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, ugo := w.User("una"), w.User("ugo")
	laptop, desktop, other := w.computer(una, "laptop", "linux"), w.computer(una, "desktop", "windows"), w.computer(ugo, "other", "linux")
	w.Move(time.Minute)
	r := w.begin(resets.New{})
	if got := w.state(laptop.id); got != devices.Active {
		t.Errorf("before it runs a device is %s", got)
	}
	w.run()
	for _, c := range []*computer{laptop, desktop, other} {
		if got := w.state(c.id); got != devices.Deactivated {
			t.Errorf("the device is %s", got)
		}
	}
	got, p := w.follow(r.ID)
	if want := (resets.Progress{Devices: 3, Missing: 3}); p != want || got.State != resets.Revoked {
		t.Errorf("revoked: %s, %+v, want %+v", got.State, p, want)
	}
	// Each user gets one mail, however often it is sent.
	tell := func(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
		return resets.Tell(ctx, tx, by, id, letter)
	}
	for range 2 {
		if err := w.do(tell, w.ada, r.ID); err != nil {
			t.Fatal(err)
		}
		w.run()
	}
	told := func() (list []string) {
		for _, m := range w.Mails() {
			if m.Template == mail.SecurityReset {
				list = append(list, m.To+m.Values["again"])
			}
		}
		slices.Sort(list)
		return list
	}
	if got := told(); !slices.Equal(got, []string{"ugo@example.org", "una@example.org"}) {
		t.Errorf("told: %q", got)
	}
	// One comes back by its key.
	w.Move(time.Hour)
	if d, err := w.again(laptop); err != nil || d.ID != laptop.id {
		t.Fatalf("again: %v, %v", d.ID, err)
	}
	if err := w.do(resets.Remind, w.ada, r.ID); err != nil {
		t.Fatal(err)
	}
	w.run()
	if got := told(); !slices.Equal(got, []string{"ugo@example.org", "ugo@example.orgyes", "una@example.org", "una@example.orgyes"}) {
		t.Errorf("reminded: %q", got)
	}
	if err := w.do(resets.Remind, w.ada, r.ID); key(err) != "reset.reminded" {
		t.Errorf("reminded twice on a day: %v", err)
	}
	var csv bytes.Buffer
	w.Write(func(tx *db.Tx) error { return resets.Laggards(w.Context(), tx, w.ada, r.ID, &csv) })
	if strings.Contains(csv.String(), "laptop") || !strings.Contains(csv.String(), "desktop") || strings.Count(csv.String(), "\n") != 3 {
		t.Errorf("laggards:\n%s", csv.String())
	}
	if _, err := w.again(desktop); err != nil {
		t.Fatal(err)
	}
	w.Write(func(tx *db.Tx) error { return devices.Delete(w.Context(), tx, w.ada, other.id, reason) })
	w.run()
	got, p = w.follow(r.ID)
	if want := (resets.Progress{Devices: 3, Back: 2, Gone: 1, Told: 2}); p != want || got.State != resets.Done {
		t.Errorf("at the end: %s, %+v, want %+v", got.State, p, want)
	}
	for _, c := range []*computer{laptop, desktop} {
		rows := w.Audit(audit.Filter{Limit: 500})
		if !slices.ContainsFunc(rows, func(row audit.Row) bool { return row.ObjectID == string(c.id) && row.ActorName == "security reset" }) {
			t.Errorf("nothing is recorded of %s", c.in.Name)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, ugo := w.User("una"), w.Made(accounts.New{Username: "ugo", PasswordHash: w.Hash(accountstest.Password)})
	w.computer(una, "old", "linux")
	disabled := w.computer(una, "stopped", "linux")
	w.Write(func(tx *db.Tx) error {
		return devices.SetState(w.Context(), tx, w.ada, disabled.id, devices.Disabled, reason)
	})
	w.Move(48 * time.Hour)
	now := w.DB.Now()
	w.computer(ugo, "new", "windows")
	var p profiles.Profile
	w.Write(func(tx *db.Tx) (err error) {
		if p, err = profiles.Create(w.Context(), tx, accountstest.System, w.Org.ID, "Field", "", profile.Defaults()); err != nil {
			return err
		}
		return profiles.Assign(w.Context(), tx, accountstest.System, ugo.ID, p.ID)
	})
	for _, c := range []struct {
		name string
		f    resets.Filter
		want int
	}{
		{"all", resets.Filter{}, 2},
		{"a user", resets.Filter{Users: []string{"UNA"}}, 1},
		{"both users", resets.Filter{Users: []string{"una", "ugo"}}, 2},
		{"a system", resets.Filter{OS: "windows"}, 1},
		{"a profile", resets.Filter{Profile: p.ID}, 1},
		{"activated before", resets.Filter{ActivatedBefore: now.Add(-time.Hour)}, 1},
		{"seen since", resets.Filter{SeenSince: now.Add(-time.Hour)}, 1},
		{"a token", resets.Filter{Token: "none"}, 0},
		{"two things at once", resets.Filter{OS: "windows", ActivatedBefore: now.Add(-time.Hour)}, 0},
	} {
		if got := w.preview(c.f); got.Devices != c.want || len(got.First) != c.want {
			t.Errorf("%s: %d devices, want %d", c.name, got.Devices, c.want)
		}
	}
	all := w.preview(resets.Filter{})
	if all.Users != 2 || all.Unreachable != 1 || all.Disabled != 1 || all.Systems["linux"] != 1 || all.Systems["windows"] != 1 {
		t.Errorf("all: %+v", all)
	}
	for _, c := range []struct {
		name string
		n    resets.New
		want string
	}{
		{"somebody unknown", resets.New{Filter: resets.Filter{Users: []string{"nobody"}}}, "reset.users.unknown"},
		{"none", resets.New{Filter: resets.Filter{OS: "plan9"}}, "reset.none"},
		{"others than before", resets.New{Expect: 1}, "reset.others"},
		{"no name", resets.New{Name: " ", Expect: 2}, "reset.name.empty"},
		{"no reason", resets.New{Reason: "so", Expect: 2}, "user.reason.invalid"},
		{"less than none a minute", resets.New{Batch: -1, Expect: 2}, "reset.batch"},
	} {
		if _, err := w.ask(c.n); key(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// A reset in stages revokes so many a minute, rests and goes on.
func TestStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 7 {
		w.computer(w.User(fmt.Sprintf("u%d", i)), fmt.Sprintf("c%d", i), "linux")
	}
	w.Move(time.Minute)
	r := w.begin(resets.New{Batch: 3})
	left := func(want int, state resets.State) {
		t.Helper()
		w.run()
		if got, p := w.follow(r.ID); p.Left != want || got.State != state {
			t.Errorf("%s, %d left; want %s, %d", got.State, p.Left, state, want)
		}
	}
	left(4, resets.Running)
	left(4, resets.Running)
	w.Move(61 * time.Second)
	if err := w.do(resets.Pause, w.ada, r.ID); err != nil {
		t.Fatal(err)
	}
	left(4, resets.Paused)
	if err := w.do(resets.Pause, w.ada, r.ID); key(err) != "reset.state" {
		t.Errorf("paused twice: %v", err)
	}
	if err := w.do(resets.Continue, w.bob, r.ID); err != nil {
		t.Fatal(err)
	}
	left(1, resets.Running)
	if err := w.do(resets.Cancel, w.bob, r.ID); err != nil {
		t.Fatal(err)
	}
	w.Move(time.Hour)
	left(1, resets.Cancelled)
	if _, p := w.follow(r.ID); p.Missing != 6 {
		t.Errorf("what was revoked: %+v", p)
	}
}

// What is not approved is not done, nor anything else than what was approved.
func TestApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.computer(w.User("una"), "laptop", "linux")
	one, err := w.ask(resets.New{Expect: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.run()
	if got := w.state(c.id); got != devices.Active {
		t.Errorf("before it is approved the device is %s", got)
	}
	for _, f := range []func(context.Context, *db.Tx, access.Caller, string) error{resets.Pause, resets.Continue, resets.Cancel} {
		if err := w.do(f, w.ada, one.ID); key(err) != "reset.state" {
			t.Errorf("before it is approved: %v", err)
		}
	}
	w.Write(func(tx *db.Tx) error {
		_, err := w.desk.Withdraw(w.Context(), tx, w.ada, one.Approval)
		return err
	})
	if r, _ := w.follow(one.ID); r.State != resets.Cancelled {
		t.Errorf("withdrawn it is %s", r.State)
	}
	// One more device, slipped in between.
	two, err := w.ask(resets.New{Expect: 1})
	if err != nil {
		t.Fatal(err)
	}
	more := w.computer(w.User("ugo"), "other", "linux")
	w.Write(func(tx *db.Tx) error {
		if _, err := w.desk.Approve(w.Context(), tx, w.bob, two.Approval); err != nil {
			return err
		}
		_, err := tx.Exec(w.Context(), "INSERT INTO reset_devices (reset, device, user_id, deactivated_at, mailed, told_at) VALUES ($1, $2, $3, 0, '', 0)", two.ID, more.id, more.user.ID)
		return err
	})
	a, err := w.desk.CarryOut(w.Context(), w.DB, two.Approval)
	if err != nil || a.State != approvals.Failed || a.Failure.Key != "approval.changed" {
		t.Errorf("with one more: %s, %v, %v", a.State, a.Failure, err)
	}
	w.run()
	if w.state(c.id) != devices.Active || w.state(more.id) != devices.Active {
		t.Error("a device was reset")
	}
}

// Keys that were there before a reset which distrusts them do not say any more
// which device a computer is.
func TestDistrust(t *testing.T) {
	t.Parallel()
	for _, distrust := range []bool{false, true} {
		w := newWorld(t)
		c := w.computer(w.User("una"), "laptop", "linux")
		stolen := *c
		w.Move(time.Minute)
		w.begin(resets.New{Distrust: distrust})
		w.run()
		w.Move(time.Minute)
		// In a thief's hands, on another computer.
		stolen.in.Hardware, stolen.in.Name = wire.Hardware{MachineID: "thief", Serial: "thief", Hostname: "thief", OS: "linux", Arch: "amd64", OSUser: "x"}, "thief"
		d, err := w.again(&stolen)
		if err != nil {
			t.Fatal(err)
		}
		if is := d.ID == c.id; is == distrust {
			t.Errorf("distrusted %v: the key gives device %s, the old one is %s", distrust, d.ID, c.id)
		}
	}
	// A key from after the reset is as good as any.
	w := newWorld(t)
	c := w.computer(w.User("una"), "laptop", "linux")
	w.Move(time.Minute)
	w.begin(resets.New{Distrust: true})
	w.run()
	w.Move(time.Minute)
	w.Write(func(tx *db.Tx) error { // as its user does it, who signs in at the same computer
		out, err := devices.Begin(w.Context(), tx, c.user.Caller(access.Caller{}), w.Ring, c.user, devices.Beginning{RequestID: uuid.NewString(), Hardware: c.in.Hardware,
			ClientVersion: "0.1", SigningKey: c.in.SigningKey, Proof: devices.ByPassword})
		if err != nil {
			return err
		}
		if out.Match == nil || out.Match.DeviceID != string(c.id) || out.Match.By != wire.ByMachine {
			t.Errorf("the user's computer: %+v", out.Match)
		}
		done, err := devices.Finish(w.Context(), tx, access.Caller{}, w.Ring, wire.FinishActivation{Activation: out.Activation, Choice: wire.Reactivate, DeviceID: string(c.id),
			EnrolmentKey: c.in.EnrolmentKey, Signature: wire.SignFinish(c.signing, out.Activation, c.in.EnrolmentKey)})
		if err == nil && done.Device.ID != c.id {
			t.Errorf("reactivated is %s, want %s", done.Device.ID, c.id)
		}
		return err
	})
	w.Move(time.Minute)
	if d, err := w.again(c); err != nil || d.ID != c.id {
		t.Errorf("with the key of after: %s, %v", d.ID, err)
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una := w.User("una")
	w.computer(una, "laptop", "linux")
	w.Move(time.Minute)
	r := w.begin(resets.New{})
	viewer := w.Admin("vic", access.Viewer).Caller(access.Caller{})
	foreign := access.Caller{Kind: access.AdminKind, User: "x", Org: "other", Role: access.OrgAdmin, Name: "x"}
	for name, f := range map[string]func(context.Context, *db.Tx, access.Caller, string) error{
		"pause": resets.Pause, "continue": resets.Continue, "cancel": resets.Cancel, "remind": resets.Remind,
		"tell": func(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
			return resets.Tell(ctx, tx, by, id, letter)
		},
		"laggards": func(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
			return resets.Laggards(ctx, tx, by, id, &bytes.Buffer{})
		},
		"ask": func(ctx context.Context, tx *db.Tx, by access.Caller, _ string) error {
			_, err := resets.Ask(ctx, tx, by, w.desk, resets.New{Org: w.Org.ID, Name: "x", Reason: reason, Expect: 1})
			return err
		},
	} {
		for _, by := range []access.Caller{viewer, foreign, una.Caller(access.Caller{}), {}} {
			if kind := errs.KindOf(w.do(f, by, r.ID)); kind != errs.Forbidden && kind != errs.NotFound && kind != errs.Unauthenticated {
				t.Errorf("%s by %q: %v", name, by.Name, kind)
			}
		}
	}
}
