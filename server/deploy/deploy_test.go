package deploy_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

var from = access.Caller{IP: "192.0.2.9", RequestID: "r"}

type world struct {
	*accountstest.World
	admin access.Caller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: accountstest.New(t)}
	w.Write(func(tx *db.Tx) error {
		_, err := profiles.Create(t.Context(), tx, accountstest.System, w.Org.ID, "Default", "", profile.Defaults())
		return err
	})
	w.Stop(time.Now().UTC().Truncate(time.Microsecond).Add(time.Minute))
	w.admin = access.Caller{Kind: access.AdminKind, User: "a", Org: w.Org.ID, Role: access.OrgAdmin, Name: "ada"}
	return w
}

// create makes a token that lives for a day.
func (w *world) create(r deploy.Rules) (deploy.Token, string) {
	w.Helper()
	var t deploy.Token
	var secret string
	if r.Name == "" {
		r.Name = "Fleet"
	}
	w.Write(func(tx *db.Tx) (err error) {
		t, secret, err = deploy.Create(w.Context(), tx, w.admin, w.Org.ID, r, 24*time.Hour)
		return err
	})
	return t, secret
}

func (w *world) user(name string) accounts.User {
	w.Helper()
	return w.Made(accounts.New{Username: name, Email: name + "@example.org", PasswordHash: w.Hash(accountstest.Password)})
}

type computer struct {
	wire.BeginActivation
	signing   ed25519.PrivateKey
	enrolment []byte
}

func (w *world) computer(name, token, identity string) computer {
	w.Helper()
	of := wiretest.NewComputer(w.T)
	return computer{signing: of.Signing, enrolment: of.Enrolment, BeginActivation: wire.BeginActivation{Token: token, Identity: identity,
		RequestID: uuid.NewString(), ClientVersion: "0.1", SigningKey: of.SigningKey(),
		Hardware: wire.Hardware{MachineID: "m-" + name, Serial: "s-" + name, Hostname: name + ".example.org", OS: "linux", Arch: "amd64", OSUser: "una"}}}
}

func (w *world) begin(c computer) (wire.Activation, error) {
	return deploy.Begin(w.Context(), w.DB, w.Ring, from, c.BeginActivation)
}

func (w *world) finish(c computer, a wire.Activation, choice, device string) (done devices.Activated, err error) {
	w.Helper()
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		done, err = devices.Finish(w.Context(), tx, from, w.Ring, wire.FinishActivation{Activation: a.Activation, Choice: choice, DeviceID: device,
			EnrolmentKey: c.enrolment, Signature: wire.SignFinish(c.signing, a.Activation, c.enrolment)})
		return err
	})
	return done, err
}

// enrol makes the computer a device, as it is suggested to it.
func (w *world) enrol(c computer) (devices.Device, error) {
	w.Helper()
	a, err := w.begin(c)
	if err != nil {
		return devices.Device{}, err
	}
	device := ""
	if a.Match != nil && a.Suggest != wire.Add {
		device = a.Match.DeviceID
	}
	done, err := w.finish(c, a, a.Suggest, device)
	return done.Device, err
}

func (w *world) knocks() []deploy.Knock {
	w.Helper()
	var list []deploy.Knock
	w.Read(func(tx *db.Tx) (err error) {
		list, _, err = deploy.Knocks(w.Context(), tx, w.admin, w.Org.ID)
		return err
	})
	return list
}

func (w *world) view(id string) deploy.Token {
	w.Helper()
	var t deploy.Token
	w.Read(func(tx *db.Tx) (err error) {
		t, err = deploy.View(w.Context(), tx, w.admin, id)
		return err
	})
	return t
}

func wantCode(t *testing.T, what string, err error, code errs.Code) {
	t.Helper()
	if !errs.Is(err, code) {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// Whatever is wrong about a token, the computer hears the same; administrators
// see what it was.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rules := deploy.Rules{Domains: []string{"example.org"}, CreateUsers: true}
	plain, secret := w.create(rules)
	limited := rules
	limited.Networks, limited.Systems, limited.Hosts = []string{"10.0.0.0/8"}, []string{"windows"}, []string{"lab-*"}
	only := func(change func(*deploy.Rules)) string {
		r := rules
		change(&r)
		_, s := w.create(r)
		return s
	}
	revoked, revokedSecret := w.create(rules)
	w.Write(func(tx *db.Tx) error { return deploy.Revoke(t.Context(), tx, w.admin, revoked.ID) })
	other, _ := w.create(rules)
	messages := map[string]bool{}
	for _, tc := range []struct{ name, token, knock string }{
		{"nothing", "", ""},
		{"no token", "bsd1.x.y.z", ""},
		{"an unknown id", strings.Replace(secret, plain.ID, "0123456789ab", 1), ""},
		{"the secret of another", strings.Replace(secret, plain.ID, other.ID, 1), ""},
		{"revoked", revokedSecret, "revoked"},
		{"another network", only(func(r *deploy.Rules) { r.Networks = limited.Networks }), "network"},
		{"another system", only(func(r *deploy.Rules) { r.Systems = limited.Systems }), "system"},
		{"another host", only(func(r *deploy.Rules) { r.Hosts = limited.Hosts }), "host"},
	} {
		before := len(w.knocks())
		_, err := w.begin(w.computer("pc", tc.token, "email:new@example.org"))
		wantCode(t, tc.name, err, errs.BadDeployToken)
		messages[errs.Find(err).Error()] = true
		knocks := w.knocks()
		if tc.knock == "" && len(knocks) != before || tc.knock != "" && (len(knocks) != before+1 || !slices.ContainsFunc(knocks, func(k deploy.Knock) bool { return k.Code == tc.knock })) {
			t.Errorf("%s: knocks are %+v", tc.name, knocks)
		}
	}
	if len(messages) != 1 {
		t.Errorf("computers can tell why: %v", messages)
	}
	if got := w.view(other.ID); got.Failures != 1 || got.LastFailedAt.IsZero() || got.Uses != 0 {
		t.Errorf("a wrong secret: %+v", got)
	}
	w.Move(25 * time.Hour)
	_, err := w.begin(w.computer("late", secret, "email:new@example.org"))
	wantCode(t, "expired", err, errs.BadDeployToken)
	w.Move(7 * 24 * time.Hour)
	w.Write(func(tx *db.Tx) error {
		n, err := deploy.Expire(t.Context(), tx)
		if n == 0 {
			t.Error("nothing was cleaned up")
		}
		return err
	})
	if list := w.knocks(); len(list) != 0 {
		t.Errorf("knocks of last week: %v", list)
	}
}

// The hash is kept, the secret is not; users and viewers see none of it.
func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{Networks: []string{" 192.0.2.77/24", "192.0.2.0/24", "", "::ffff:192.0.2.0/120"}, Domains: []string{"@Example.ORG"}})
	if !strings.HasPrefix(secret, "bsd1."+token.ID+".") || strings.Count(secret, ".") != 3 || !slices.Equal(token.Networks, []string{"192.0.2.0/24"}) || token.Domains[0] != "example.org" {
		t.Errorf("Create = %+v, %s", token, secret)
	}
	w.Read(func(tx *db.Tx) error {
		_, err := deploy.View(t.Context(), tx, access.Caller{Kind: access.AdminKind, User: "v", Org: w.Org.ID, Role: access.Viewer}, token.ID)
		if errs.KindOf(err) != errs.Forbidden {
			t.Errorf("a viewer: %v", err)
		}
		return nil
	})
	for _, r := range []deploy.Rules{{}, {Name: "a\nb"}, {Name: "x", MaxUses: -1}, {Name: "x", Networks: []string{"10.0.0.0/33"}}, {Name: "x", Systems: []string{"beos"}},
		{Name: "x", Hosts: []string{"[a"}}, {Name: "x", CreateUsers: true}, {Name: "x", Domains: []string{"localhost"}}} {
		err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, _, err := deploy.Create(t.Context(), tx, w.admin, w.Org.ID, r, time.Hour)
			return err
		})
		if errs.KindOf(err) != errs.Invalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// E-09: an address makes an account in the token's domain and begins one without
// a device; nobody who has data is attached to by it, and nobody private.
func TestEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}, Prompt: true})
	d, err := w.enrol(w.computer("one", secret, "email:New.Hire@Example.org"))
	if err != nil || d.State != devices.Active {
		t.Fatalf("a new user: %+v, %v", d, err)
	}
	var made accounts.User
	w.Read(func(tx *db.Tx) (err error) {
		made, err = accounts.Find(t.Context(), tx, d.User)
		return err
	})
	if made.Email != "New.Hire@example.org" || made.State != accounts.Active {
		t.Errorf("the new account is %+v", made)
	}
	invited := w.Made(accounts.New{Username: "inva", Email: "inva@example.org"})
	if d, err := w.enrol(w.computer("two", secret, "email:inva@example.org")); err != nil || d.User != invited.ID {
		t.Errorf("an invited user: %+v, %v", d, err)
	}
	private := w.user("priva")
	w.Write(func(tx *db.Tx) error { return accounts.SetPrivacy(t.Context(), tx, private.Caller(from), true) })
	for _, identity := range []string{"email:new.hire@example.org", "email:priva@example.org", "email:who@elsewhere.example", ""} {
		_, err := w.begin(w.computer("three", secret, identity))
		e := errs.Find(err)
		if e == nil || e.Key != "deploy.prompt" || !strings.EqualFold("email:"+fmt.Sprint(e.Args["email"]), "email:"+strings.TrimPrefix(identity, "email:")) {
			t.Errorf("%s: %v, want to be asked", identity, err)
		}
	}
	if k := w.knocks(); len(k) != 1 || k[0].Code != deploy.Prompted || k[0].Times != 4 || k[0].Hostname != "three.example.org" {
		t.Errorf("knocks: %+v", k)
	}
	_, silent := w.create(deploy.Rules{Domains: []string{"example.org"}, CreateUsers: true})
	_, err = w.begin(w.computer("four", silent, "email:who@elsewhere.example"))
	wantCode(t, "nobody is asked", err, errs.NoDeviceMapping)
	if d, err := w.enrol(w.computer("five", silent, "auto")); err != nil {
		t.Errorf("the system's user: %+v, %v", d, err)
	}
	root := w.computer("six", silent, "auto")
	root.Hardware.OSUser = "root"
	_, err = w.begin(root)
	wantCode(t, "root is nobody", err, errs.NoDeviceMapping)
}

// Two computers begin for one new user; the second must not end up with what the
// first made.
func TestFirstOfTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}})
	one, two := w.computer("one", secret, "email:new@example.org"), w.computer("two", secret, "email:new@example.org")
	a, err := w.begin(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.begin(two)
	if err != nil {
		t.Fatal(err)
	}
	done, err := w.finish(one, a, wire.Add, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.finish(two, b, wire.Add, "")
	wantCode(t, "the second", err, errs.FirstDeviceOnly)
	if _, err := w.finish(two, b, wire.Replace, string(done.Device.ID)); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("the second replaces the first: %v", err)
	}
	// The first lost its answers and comes again.
	if a, err = w.begin(one); err != nil {
		t.Fatal(err)
	}
	if again, err := w.finish(one, a, wire.Add, ""); err != nil || again.Device.ID != done.Device.ID {
		t.Errorf("again: %+v, %v", again.Device, err)
	}
}

// What comes by a token waits, has no secrets meanwhile, and is quarantined with
// it.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{Approve: true, CreateUsers: true, Domains: []string{"example.org"}})
	var ids []devices.ID
	var when []time.Time
	for _, name := range []string{"one", "two", "three"} {
		when = append(when, w.DB.Now())
		c := w.computer(name, secret, "email:"+name+"@example.org")
		a, err := w.begin(c)
		if err != nil {
			t.Fatal(err)
		}
		done, err := w.finish(c, a, wire.Add, "")
		if err != nil || done.Device.State != devices.Waiting || len(done.Secrets) != 0 {
			t.Fatalf("%s: %+v, %v", name, done, err)
		}
		ids = append(ids, done.Device.ID)
		w.Move(time.Minute)
	}
	begun := w.computer("four", secret, "email:four@example.org")
	a, err := w.begin(begun)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		w.Write(func(tx *db.Tx) error { return devices.SetState(t.Context(), tx, w.admin, id, devices.Active, "") })
	}
	if n, err := deploy.Quarantine(t.Context(), w.DB, w.admin, token.ID, when[1]); err != nil || n != 2 {
		t.Errorf("%d are quarantined, %v", n, err)
	}
	state := func(id devices.ID) (d devices.Device) {
		w.Read(func(tx *db.Tx) (err error) {
			d, err = devices.Find(t.Context(), tx, id)
			return err
		})
		return d
	}
	if state(ids[0]).State != devices.Active || state(ids[1]).State != devices.Disabled || state(ids[2]).State != devices.Disabled {
		t.Error("the wrong ones are disabled")
	}
	if _, err := w.finish(begun, a, wire.Add, ""); errs.KindOf(err) != errs.Gone {
		t.Errorf("what was begun goes on: %v", err)
	}
	w.Write(func(tx *db.Tx) error { return deploy.Release(t.Context(), tx, w.admin, token.ID, ids[1]) })
	if state(ids[1]).State != devices.Active {
		t.Error("it is not released")
	}
	err = w.DB.Write(t.Context(), func(tx *db.Tx) error { return deploy.Release(t.Context(), tx, w.admin, token.ID, ids[0]) })
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("one that is not quarantined: %v", err)
	}
}

// E-02: a device whose user has activated it again by password is not what the
// token let in any more, and is spared. The computer that the token let in comes
// under it again when its replacement is taken back. The rollout goes on counting
// it all the same: the token brought it.
func TestQuarantineSparesWhomTheirUsersVouchFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}})
	since := w.DB.Now()
	one, err := w.enrol(w.computer("one", secret, "email:una@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	w.Move(time.Hour)
	signedIn := func(c computer, choice string) {
		t.Helper()
		var a wire.Activation
		w.Write(func(tx *db.Tx) (err error) {
			u, err := accounts.Find(t.Context(), tx, one.User)
			if err != nil {
				return err
			}
			a, err = devices.Begin(t.Context(), tx, u.Caller(from), w.Ring, u, devices.Beginning{RequestID: c.RequestID, Hardware: c.Hardware,
				ClientVersion: c.ClientVersion, SigningKey: c.SigningKey, Proof: devices.ByPassword})
			return err
		})
		if _, err := w.finish(c, a, choice, string(one.ID)); err != nil {
			t.Fatal(err)
		}
	}
	quarantined := func() int {
		t.Helper()
		n, err := deploy.Quarantine(t.Context(), w.DB, w.admin, token.ID, since)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rollout := func() (e deploy.Enrolment) {
		t.Helper()
		w.Read(func(tx *db.Tx) error {
			list, err := deploy.Rollout(t.Context(), tx, w.admin, w.Org.ID, token.ID, since)
			if len(list) == 1 {
				e = list[0]
			}
			return err
		})
		return e
	}
	signedIn(w.computer("bought", "", ""), wire.Replace)
	if n := quarantined(); n != 0 {
		t.Errorf("%d are quarantined that its user activated", n)
	}
	if e := rollout(); e.Device != string(one.ID) || e.Stage != deploy.StageEnrolled {
		t.Errorf("what came of the token is %+v", e)
	}
	w.Write(func(tx *db.Tx) error {
		_, err := devices.UndoReplace(t.Context(), tx, w.admin, one.ID)
		return err
	})
	if n := quarantined(); n != 1 {
		t.Errorf("%d are quarantined that the token let in, and whose replacement is taken back", n)
	}
	if e := rollout(); e.Device != string(one.ID) {
		t.Errorf("what came of the token, taken back, is %+v", e)
	}
}

// A-24, E-11: with its old key a computer is its device again, and a token alone
// makes nobody somebody's device.
func TestKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}, Prompt: true})
	old := w.computer("one", secret, "email:una@example.org")
	d, err := w.enrol(old)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(func(tx *db.Tx) error {
		return devices.SetState(t.Context(), tx, w.admin, d.ID, devices.Deactivated, "reset")
	})
	w.Write(func(tx *db.Tx) error { return deploy.SetFirstDeviceOnly(t.Context(), tx, w.admin, w.Org.ID, true) })
	rogue := w.computer("one", secret, "email:una@example.org")
	if _, err := w.begin(rogue); errs.Find(err) == nil || errs.Find(err).Key != "deploy.prompt" {
		t.Errorf("the same hardware without the key: %v", err)
	}
	id, err := backup.ParseUUID(string(d.ID))
	if err != nil {
		t.Fatal(err)
	}
	prove := func(c computer, key ed25519.PrivateKey) computer {
		request, err := backup.ParseUUID(c.RequestID)
		if err != nil {
			t.Fatal(err)
		}
		c.Previous = &wire.Previous{DeviceID: string(d.ID), Signature: wire.SignPrevious(key, id, request, c.SigningKey)}
		return c
	}
	if _, err := w.begin(prove(rogue, rogue.signing)); err == nil {
		t.Error("another key proves it, too")
	}
	again := prove(w.computer("one", secret, "auto"), old.signing)
	back, err := w.enrol(again)
	if err != nil || back.ID != d.ID || back.State != devices.Active {
		t.Errorf("with the key: %+v, %v", back, err)
	}
}

// After a reset that distrusts old keys, one of them says which device a
// computer claims to be and no more: an administrator looks first, and what the
// device had stays with it until the computer has a complete backup.
func TestDistrustedKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.create(deploy.Rules{CreateUsers: true, Domains: []string{"example.org"}, Prompt: true})
	old := w.computer("one", secret, "email:una@example.org")
	d, err := w.enrol(old)
	if err != nil {
		t.Fatal(err)
	}
	w.Move(time.Minute)
	w.Write(func(tx *db.Tx) error {
		return devices.Reset(t.Context(), tx, accountstest.System, []devices.ID{d.ID}, "the old server was broken into", true, audit.Note("reset", "r"))
	})
	w.Move(time.Minute)
	w.Write(func(tx *db.Tx) error { return deploy.SetFirstDeviceOnly(t.Context(), tx, w.admin, w.Org.ID, true) })
	again := w.computer("one", secret, "auto")
	id, err := backup.ParseUUID(string(d.ID))
	if err != nil {
		t.Fatal(err)
	}
	request, err := backup.ParseUUID(again.RequestID)
	if err != nil {
		t.Fatal(err)
	}
	again.Previous = &wire.Previous{DeviceID: string(d.ID), Signature: wire.SignPrevious(old.signing, id, request, again.SigningKey)}
	back, err := w.enrol(again)
	if err != nil || back.ID == d.ID || back.State != devices.Waiting || back.Replaces != d.ID {
		t.Fatalf("with the distrusted key: %s, %s, in the place of %s; %v", back.ID, back.State, back.Replaces, err)
	}
	// A user who keeps administrators out signs in.
	w.Write(func(tx *db.Tx) error {
		return accounts.SetPrivacy(t.Context(), tx, access.Caller{Kind: access.UserKind, User: d.User, Org: w.Org.ID}, true)
	})
	again.RequestID = uuid.NewString()
	if request, err = backup.ParseUUID(again.RequestID); err != nil {
		t.Fatal(err)
	}
	again.Previous.Signature = wire.SignPrevious(old.signing, id, request, again.SigningKey)
	if _, err := w.begin(again); errs.Find(err) == nil || errs.Find(err).Key != "deploy.prompt" {
		t.Errorf("of a private user: %v", err)
	}
}

// A hundred computers come at once for three uses.
func TestUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, secret := w.create(deploy.Rules{MaxUses: 3, CreateUsers: true, Domains: []string{"example.org"}})
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := map[string]computer{}
	for n := range 100 {
		c := w.computer(fmt.Sprint("pc", n), secret, fmt.Sprintf("email:u%d@example.org", n))
		wg.Go(func() {
			a, err := w.begin(c)
			if err == nil {
				mu.Lock()
				in[a.UserID] = c
				mu.Unlock()
			} else if !errs.Is(err, errs.BadDeployToken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := w.view(token.ID); len(in) != 3 || got.Uses != 3 || got.State(w.DB.Now()) != deploy.UsedUp {
		t.Fatalf("%d got in, %d uses", len(in), got.Uses)
	}
	for _, c := range in { // once more is not one more
		if _, err := w.enrol(c); err != nil {
			t.Errorf("again: %v", err)
		}
	}
}

// E-10: the option says how many computers it keeps out, all of the week and
// each once, however many others knock.
func TestKeptOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, _ := w.create(deploy.Rules{Name: "one"})
	two, _ := w.create(deploy.Rules{Name: "two"})
	knock := func(token, machine string, code errs.Code, ago time.Duration) {
		w.Write(func(tx *db.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO deploy_knocks (token, machine, hostname, os, os_user, ip, code, times, first_at, last_at)
				VALUES ($1, $2, '', 'linux', '', '', $3, 1, $4, $4)`, token, machine, string(code), db.Micros(tx.Now().Add(-ago)))
			return err
		})
	}
	knock(one.ID, "twice", errs.FirstDeviceOnly, 6*24*time.Hour)
	knock(two.ID, "twice", errs.FirstDeviceOnly, 0)
	knock(one.ID, "gone", errs.FirstDeviceOnly, 8*24*time.Hour)
	knock(one.ID, "early", errs.FirstDeviceOnly, 24*time.Hour)
	for n := range 500 {
		knock(one.ID, fmt.Sprint("other-", n), errs.NoDeviceMapping, time.Hour)
	}
	w.Write(func(tx *db.Tx) error {
		n, err := deploy.KeptOut(t.Context(), tx, w.admin, w.Org.ID)
		if n != 2 {
			t.Errorf("%d computers are kept out, want 2", n)
		}
		return err
	})
}
