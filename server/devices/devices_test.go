package devices_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

var (
	system = accountstest.System
	from   = access.Caller{IP: "192.0.2.9", RequestID: "r"}
	store  = backup.UUID{1, 2, 3}
)

// world is one with a profile and a user.
type world struct {
	*accountstest.World
	profile profiles.Profile
	una     accounts.User
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: accountstest.New(t)}
	w.Write(func(tx *db.Tx) (err error) {
		w.profile, err = profiles.Create(t.Context(), tx, system, w.Org.ID, "Default", "", profile.Defaults())
		return err
	})
	w.una = w.user("una")
	return w
}

// clock makes the database's time stand still until it is moved.
func (w *world) clock() (move func(time.Duration)) {
	w.Stop(time.Now().UTC().Truncate(time.Microsecond).Add(time.Minute))
	return w.Move
}

func (w *world) user(name string) accounts.User {
	w.Helper()
	return w.Made(accounts.New{Username: name, FirstName: "First", LastName: strings.ToUpper(name), PasswordHash: w.Hash(accountstest.Password)})
}

// computer is one that can be activated.
type computer struct {
	activation devices.Activation
	signing    ed25519.PrivateKey
	enrolment  []byte
}

func (w *world) computer(name string) computer {
	w.Helper()
	public, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.Fatal(err)
	}
	private, enrolment, err := crypt.GenerateKey()
	if err != nil {
		w.Fatal(err)
	}
	return computer{signing: signing, enrolment: private, activation: devices.Activation{RequestID: uuid.NewString(), Name: name,
		Hardware:      wire.Hardware{MachineID: "m-" + name, Serial: "s-" + name, Hostname: name + ".example.org", OS: "linux", OSVersion: "12", Arch: "amd64", OSUser: "una"},
		ClientVersion: "0.1", SigningKey: public, EnrolmentKey: enrolment}}
}

func (w *world) activate(u accounts.User, c computer) (a devices.Activated, err error) {
	w.Helper()
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		a, err = devices.Activate(w.Context(), tx, u.Caller(from), w.Ring, u, c.activation)
		return err
	})
	return a, err
}

// device is one that is active.
func (w *world) device(u accounts.User, name string) (devices.Device, computer) {
	w.Helper()
	c := w.computer(name)
	a, err := w.activate(u, c)
	if err != nil {
		w.Fatal(err)
	}
	return a.Device, c
}

func (w *world) find(id devices.ID) (d devices.Device) {
	w.Helper()
	w.Read(func(tx *db.Tx) (err error) {
		d, err = devices.Find(w.Context(), tx, id)
		return err
	})
	return d
}

const reason = "because it must be"

func (w *world) setState(by access.Caller, id devices.ID, to devices.State) error {
	w.Helper()
	return w.DB.Write(w.Context(), func(tx *db.Tx) error { return devices.SetState(w.Context(), tx, by, id, to, reason) })
}

func (w *world) settings(change func(*profile.Settings)) {
	w.Helper()
	s := w.profile.Settings
	change(&s)
	w.Write(func(tx *db.Tx) (err error) {
		w.profile, err = profiles.Save(w.Context(), tx, system, w.profile.ID, w.profile.Revision, profiles.Changes{Settings: &s})
		return err
	})
}

func admin(w *world, role access.Role) access.Caller {
	return access.Caller{Kind: access.AdminKind, User: "a", Org: w.Org.ID, Role: role, Name: "ada"}
}

func TestActivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.computer("Laptop")
	c.activation.System = true
	a, err := w.activate(w.una, c)
	if err != nil {
		t.Fatal(err)
	}
	d := w.find(a.Device.ID)
	if d.State != devices.Active || d.Name != "Laptop" || d.User != w.una.ID || d.Org != w.Org.ID || d.Hardware != c.activation.Hardware ||
		!d.System || d.LastIP != from.IP || d.CertSerial != 1 || d.ActivatedAt.IsZero() || !d.LastBackupAt.IsZero() {
		t.Errorf("found %+v", d)
	}
	w.Read(func(tx *db.Tx) error {
		set, err := devices.SetOf(t.Context(), tx, d.ID)
		if err != nil || set != a.Set {
			t.Errorf("SetOf = %s, %v; want %s", set, err, a.Set)
		}
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Object: "device/" + string(d.ID)})
		if err != nil || len(rows) != 1 || rows[0].Action != access.Activate || rows[0].ActorID != string(w.una.ID) || rows[0].Owner != w.una.ID {
			t.Errorf("audit %+v, %v", rows, err)
		}
		return nil
	})
	// The device can read its secrets, and check who it belongs to.
	user, _ := backup.ParseUUID(string(w.una.ID))
	device, _ := backup.ParseUUID(string(d.ID))
	secrets, err := crypt.OpenEnrolment(c.enrolment, user, device, c.activation.SigningKey, a.Secrets)
	if err != nil || secrets.KeyGen != 1 || secrets.Epoch != a.Epoch {
		t.Errorf("secrets %d/%d, %v", secrets.KeyGen, secrets.Epoch, err)
	}
	org, err := snapshot.DecodeOrgRecord(w.Org.Record)
	if err != nil {
		t.Fatal(err)
	}
	userCert, err := snapshot.DecodeUserCert(w.una.Keys.Cert)
	if err != nil {
		t.Fatal(err)
	}
	deviceCert, err := snapshot.DecodeDeviceCert(d.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.VerifyChain(org, userCert, deviceCert); err != nil {
		t.Error(err)
	}
}

func TestActivateIsRepeatable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.computer("laptop")
	first, err := w.activate(w.una, c)
	if err != nil {
		t.Fatal(err)
	}
	// The answer was lost, the enrolment key with it.
	private, public, err := crypt.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	c.activation.EnrolmentKey = public
	second, err := w.activate(w.una, c)
	if err != nil || second.Device.ID != first.Device.ID || second.Set != first.Set || string(second.Device.Cert) != string(first.Device.Cert) {
		t.Errorf("again: %s, %v; want device %s", second.Device.ID, err, first.Device.ID)
	}
	user, _ := backup.ParseUUID(string(w.una.ID))
	device, _ := backup.ParseUUID(string(first.Device.ID))
	if _, err := crypt.OpenEnrolment(private, user, device, c.activation.SigningKey, second.Secrets); err != nil {
		t.Error(err)
	}
	other := w.computer("other")
	other.activation.RequestID = c.activation.RequestID
	if _, err := w.activate(w.una, other); errs.KindOf(err) != errs.Conflict {
		t.Errorf("the same request with another key: %v, want Conflict", err)
	}
	// Another user's request of the same id is another.
	other.activation.RequestID = c.activation.RequestID
	if a, err := w.activate(w.user("vic"), other); err != nil || a.Device.ID == first.Device.ID {
		t.Errorf("another user's: %v", err)
	}
	if err := w.setState(system, first.Device.ID, devices.Deactivated); err != nil {
		t.Fatal(err)
	}
	if _, err := w.activate(w.una, c); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("of a deactivated device: %v, want E1208", err)
	}
}

func TestActivateRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.device(w.una, "Laptop")
	vic := w.user("vic")
	disabled := w.user("disabled")
	// By somebody else, after the log-in that brought the account here.
	w.Write(func(tx *db.Tx) error { return accounts.Disable(t.Context(), tx, system, disabled.ID, "") })
	for _, c := range []struct {
		name   string
		by     access.Caller
		change func(*devices.Activation)
		kind   errs.Kind
	}{
		{"no request id", w.una.Caller(from), func(a *devices.Activation) { a.RequestID = "" }, errs.Invalid},
		{"no name at all", w.una.Caller(from), func(a *devices.Activation) { a.Name, a.Hardware.Hostname = " ", "" }, errs.Invalid},
		{"a long name", w.una.Caller(from), func(a *devices.Activation) { a.Name = strings.Repeat("é", 101) }, errs.Invalid},
		{"a line break in the name", w.una.Caller(from), func(a *devices.Activation) { a.Name = "a\nb" }, errs.Invalid},
		{"not UTF-8", w.una.Caller(from), func(a *devices.Activation) { a.Hardware.OS = "\xff" }, errs.Invalid},
		{"a zero in the serial", w.una.Caller(from), func(a *devices.Activation) { a.Hardware.Serial = "\x00" }, errs.Invalid},
		{"a long host name", w.una.Caller(from), func(a *devices.Activation) { a.Hardware.Hostname = strings.Repeat("a", 201) }, errs.Invalid},
		{"a short signing key", w.una.Caller(from), func(a *devices.Activation) { a.SigningKey = a.SigningKey[1:] }, errs.Invalid},
		{"no enrolment key", w.una.Caller(from), func(a *devices.Activation) { a.EnrolmentKey = nil }, errs.Invalid},
		{"the name in another case", w.una.Caller(from), func(a *devices.Activation) { a.Name = "LAPTOP" }, errs.Conflict},
		{"another user", vic.Caller(from), func(*devices.Activation) {}, errs.NotFound},
		{"an administrator", admin(w, access.ServerAdmin), func(*devices.Activation) {}, errs.Forbidden},
	} {
		computer := w.computer("new")
		c.change(&computer.activation)
		err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, err := devices.Activate(t.Context(), tx, c.by, w.Ring, w.una, computer.activation)
			return err
		})
		if errs.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want kind %d", c.name, err, c.kind)
		}
	}
	if _, err := w.activate(disabled, w.computer("x")); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("a disabled user: %v", err)
	}
	// Nothing of all that is left.
	w.Read(func(tx *db.Tx) error {
		n, err := devices.Count(t.Context(), tx, system, devices.Filter{})
		if n != 1 {
			t.Errorf("%d devices, want 1", n)
		}
		return err
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, c := w.device(w.una, "one")
	w.settings(func(s *profile.Settings) { s.MaxDevices = 2 })
	w.device(w.una, "two")
	_, err := w.activate(w.una, w.computer("three"))
	if !errs.Is(err, errs.TooManyDevices) || errs.Find(err).Args["n"] != 2 || len(errs.Find(err).Args["devices"].([]wire.DeviceCard)) != 2 {
		t.Errorf("a third: %v, want E1203 with two candidates", err)
	}
	// A repeated activation is no new device; a disabled one counts, a deleted does not.
	if _, err := w.activate(w.una, c); err != nil {
		t.Errorf("the first again: %v", err)
	}
	if err := w.setState(system, first.ID, devices.Disabled); err != nil {
		t.Fatal(err)
	}
	if _, err := w.activate(w.una, w.computer("three")); !errs.Is(err, errs.TooManyDevices) {
		t.Errorf("beside a disabled one: %v, want E1203", err)
	}
	if err := w.setState(system, first.ID, devices.Deleted); err != nil {
		t.Fatal(err)
	}
	if _, err := w.activate(w.una, w.computer("three")); err != nil {
		t.Errorf("beside a deleted one: %v", err)
	}
	w.settings(func(s *profile.Settings) { s.AllowAddDevices, s.MaxDevices = false, 100 })
	if _, err := w.activate(w.una, w.computer("four")); !errs.Is(err, errs.AddDeviceNotAllowed) {
		t.Errorf("when none may be added: %v, want E1202", err)
	}
}

// Many computers of one name at once get many names, and no more than allowed.
func TestActivateAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settings(func(s *profile.Settings) { s.MaxDevices = 5 })
	second := dbtest.Open(t, w.DSN)
	results := make(chan error)
	const tries = 8
	computers := make([]computer, tries)
	for i := range computers {
		computers[i] = w.computer("laptop")
		computers[i].activation.RenameIfTaken = true
	}
	for i, c := range computers {
		d := []*db.DB{w.DB, second}[i%2]
		go func() {
			results <- d.Write(t.Context(), func(tx *db.Tx) error {
				_, err := devices.Activate(t.Context(), tx, w.una.Caller(from), w.Ring, w.una, c.activation)
				return err
			})
		}()
	}
	made := 0
	for range tries {
		err := <-results
		if err == nil {
			made++
		} else if !errs.Is(err, errs.TooManyDevices) {
			t.Error(err)
		}
	}
	if made != 5 {
		t.Errorf("%d were activated, want 5", made)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.device(w.una, "one")
	for _, c := range []struct {
		by   access.Caller
		to   devices.State
		kind errs.Kind
	}{
		{w.una.Caller(from), devices.Disabled, errs.Forbidden},
		{w.una.Caller(from), devices.Deleted, errs.Forbidden},
		{w.user("vic").Caller(from), devices.Deactivated, errs.NotFound},
		{admin(w, access.Viewer), devices.Disabled, errs.Forbidden},
		{admin(w, access.OrgAdmin), devices.Active, errs.Conflict},
		{admin(w, access.OrgAdmin), "none", errs.Conflict},
		{admin(w, access.OrgAdmin), devices.Disabled, 0},
		{w.una.Caller(from), devices.Active, errs.Forbidden},
		{admin(w, access.OrgAdmin), devices.Active, 0},
		{w.una.Caller(from), devices.Deactivated, 0},
		// Nobody takes a revocation back: the user proves themselves again.
		{w.una.Caller(from), devices.Active, errs.Forbidden},
		{admin(w, access.ServerAdmin), devices.Active, errs.Conflict},
		{admin(w, access.ServerAdmin), devices.Deleted, 0},
		// Only by undoing, and only by the purge.
		{admin(w, access.ServerAdmin), devices.Active, errs.Conflict},
		{admin(w, access.ServerAdmin), devices.Purged, errs.Conflict},
	} {
		before := w.find(d.ID)
		err := w.setState(c.by, d.ID, c.to)
		if c.kind == 0 && err != nil || c.kind != 0 && errs.KindOf(err) != c.kind {
			t.Errorf("%s to %s by %s %s: %v, want kind %d", before.State, c.to, c.by.Kind, c.by.Role, err, c.kind)
		}
		after := w.find(d.ID)
		if changed := after.State != before.State; changed != (c.kind == 0) || changed && (after.StateReason != reason || !after.ChangedAt.After(before.ChangedAt)) {
			t.Errorf("%s to %s: it is %s now, changed at %v", before.State, c.to, after.State, after.ChangedAt)
		}
	}
}

func TestCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.device(w.una, "one")
	at := time.Now().UTC().Truncate(time.Microsecond)
	w.Write(func(tx *db.Tx) error {
		return devices.Committed(t.Context(), tx, d.ID, devices.Backup{Snapshot: "0123456789abcdef", Status: "complete", At: at, Bytes: 1 << 40, Files: 9})
	})
	got := w.find(d.ID)
	if got.LastSnapshot != "0123456789abcdef" || got.LastStatus != "complete" || !got.LastBackupAt.Equal(at) || got.StoredBytes != 1<<40 || got.StoredFiles != 9 {
		t.Errorf("found %+v", got)
	}
}
