package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
)

func id(t *testing.T) string {
	t.Helper()
	u, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// world is an organisation with a user and an enrolled device.
type world struct {
	ring   *keys.Ring
	org    access.OrgID
	user   access.UserID
	device access.DeviceID
	record *snapshot.OrgRecord
	keys   keys.UserKeys

	signing   ed25519.PrivateKey
	enrolment []byte // private
	enrolled  keys.Enrolled
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ring, err := keys.Open(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ring: ring, org: access.OrgID(id(t)), user: access.UserID(id(t)), device: access.DeviceID(id(t))}
	o, err := ring.NewOrg(w.org)
	if err != nil {
		t.Fatal(err)
	}
	if w.record, err = snapshot.DecodeOrgRecord(o.Record); err != nil {
		t.Fatal(err)
	}
	if w.keys, err = ring.NewUser(w.org, w.user); err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.signing = private
	var once []byte
	if w.enrolment, once, err = crypt.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	w.enrolled, err = ring.Enrol(keys.Enrolment{Org: w.org, User: w.user, Device: w.device, Gen: w.keys.Gen, Wrapped: w.keys.Wrapped,
		SigningKey: public, EnrolmentKey: once, Serial: 1, NotBefore: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestChainOfCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user, err := snapshot.DecodeUserCert(w.keys.Cert)
	if err != nil {
		t.Fatal(err)
	}
	device, err := snapshot.DecodeDeviceCert(w.enrolled.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.VerifyChain(w.record, user, device); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(device.Key[:], w.signing.Public().(ed25519.PublicKey)) || device.Serial != 1 || device.Device.String() != string(w.device) {
		t.Errorf("the certificate is for device %s, serial %d", device.Device, device.Serial)
	}
}

// A second device of the user gets the same secrets, so that it deduplicates
// with the first; a device of another user gets others.
func TestSecretsAreTheUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secrets := func(user access.UserID, k keys.UserKeys) crypt.Secrets {
		t.Helper()
		device := access.DeviceID(id(t))
		private, public, err := crypt.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		signing, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.ring.Enrol(keys.Enrolment{Org: w.org, User: user, Device: device, Gen: k.Gen, Wrapped: k.Wrapped,
			SigningKey: signing, EnrolmentKey: public, Serial: 1, NotBefore: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		u, _ := backup.ParseUUID(string(user))
		d, _ := backup.ParseUUID(string(device))
		s, err := crypt.OpenEnrolment(private, u, d, signing, e.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		if s.Epoch != e.Epoch || s.KeyGen != k.Gen {
			t.Errorf("secrets of generation %d, epoch %d; want %d, %d", s.KeyGen, s.Epoch, k.Gen, e.Epoch)
		}
		return s
	}
	first, second := secrets(w.user, w.keys), secrets(w.user, w.keys)
	if first != second {
		t.Error("two devices of one user have different secrets")
	}
	other := access.UserID(id(t))
	k, err := w.ring.NewUser(w.org, other)
	if err != nil {
		t.Fatal(err)
	}
	if third := secrets(other, k); third.Scope == first.Scope || third.Chunker == first.Chunker {
		t.Error("two users share a secret")
	}
}

func TestEnrolRefusesBadKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, public, err := crypt.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	good := keys.Enrolment{Org: w.org, User: w.user, Device: w.device, Gen: 1, Wrapped: w.keys.Wrapped,
		SigningKey: make([]byte, 32), EnrolmentKey: public, Serial: 1, NotBefore: time.Now()}
	for name, spoil := range map[string]func(*keys.Enrolment){
		"no signing key":        func(e *keys.Enrolment) { e.SigningKey = nil },
		"a long signing key":    func(e *keys.Enrolment) { e.SigningKey = make([]byte, 33) },
		"no enrolment key":      func(e *keys.Enrolment) { e.EnrolmentKey = nil },
		"a short enrolment key": func(e *keys.Enrolment) { e.EnrolmentKey = public[1:] },
		"a wrong enrolment key": func(e *keys.Enrolment) { e.EnrolmentKey = bytes.Repeat([]byte{0xff}, len(public)) },
	} {
		e := good
		spoil(&e)
		if _, err := w.ring.Enrol(e); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	// Another user's wrap does not open for this one, and the answer is not an
	// expected failure.
	e := good
	e.User = access.UserID(id(t))
	if _, err := w.ring.Enrol(e); err == nil || errs.Find(err) != nil {
		t.Errorf("another user's wrap: %v, want an unexpected error", err)
	}
}

// manifest is one that the world's device would commit, to the recipients.
func (w *world) manifest(t *testing.T, root backup.Key, to ...snapshot.Recipient) *snapshot.Manifest {
	t.Helper()
	m := &snapshot.Manifest{}
	m.Org, _ = backup.ParseUUID(string(w.org))
	m.User, _ = backup.ParseUUID(string(w.user))
	m.Device, _ = backup.ParseUUID(string(w.device))
	m.Seq, m.Status, m.KeyGen, m.Epoch = 1, snapshot.Complete, 1, 1
	m.DedupScope, m.Chunker, m.Profile, m.Scope = snapshot.ScopeUser, 1, 1, m.User
	for _, r := range to {
		public := w.keys.PublicKey
		if r == snapshot.ToOrg {
			public = w.record.PublicKey
		}
		if err := m.Seal(r, public, &snapshot.Private{RootKey: root, RootLen: 9, Host: "laptop"}); err != nil {
			t.Fatal(err)
		}
	}
	m.Sign(w.signing)
	return m
}

func TestOpenSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := dbtest.New(t)
	root := backup.Key{1, 2, 3}
	m := w.manifest(t, root, snapshot.ToUser, snapshot.ToOrg)
	owner := access.Caller{Kind: access.UserKind, User: w.user, Org: w.org}
	admin := access.Caller{Kind: access.AdminKind, User: "a", Org: w.org, Role: access.OrgAdmin}
	for _, c := range []struct {
		name   string
		by     access.Caller
		action access.Action // "" when refused
		kind   errs.Kind
	}{
		{"the owner", owner, access.ReadOwnData, 0},
		{"an administrator", admin, access.RestoreOthers, 0},
		{"a colleague", access.Caller{Kind: access.UserKind, User: "v", Org: w.org}, "", errs.NotFound},
		{"the device", access.Caller{Kind: access.DeviceKind, User: w.user, Org: w.org, Device: w.device}, "", errs.Forbidden},
		{"a viewer", access.Caller{Kind: access.AdminKind, User: "b", Org: w.org, Role: access.Viewer}, "", errs.Forbidden},
		{"an administrator elsewhere", access.Caller{Kind: access.AdminKind, User: "c", Org: "p", Role: access.OrgAdmin}, "", errs.NotFound},
		{"nobody", access.Caller{}, "", errs.Unauthenticated},
	} {
		var private []byte
		err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			private, err = w.ring.OpenSnapshot(t.Context(), tx, c.by, m)
			return err
		})
		if c.action == "" {
			if errs.KindOf(err) != c.kind || private != nil {
				t.Errorf("%s: %v, want kind %d and nothing opened", c.name, err, c.kind)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		p, err := snapshot.DecodePrivate(private)
		if err != nil || p.RootKey != root || p.Host != "laptop" {
			t.Errorf("%s: %v, or another private part", c.name, err)
		}
		err = d.Read(t.Context(), func(tx *db.Tx) error {
			rows, err := audit.List(t.Context(), tx, access.System("test"), audit.Filter{Action: c.action, Object: "snapshot/" + m.Hash().String()})
			if err == nil && (len(rows) != 1 || rows[0].ActorID != string(c.by.User) || rows[0].Owner != w.user) {
				t.Errorf("%s: %d records of the opening", c.name, len(rows))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	// Without the record there is no opening.
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		_, err := w.ring.OpenSnapshot(t.Context(), tx, owner, m)
		return err
	})
	if err == nil {
		t.Error("a Read opened a snapshot")
	}
}

func TestOpenSnapshotFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := dbtest.New(t)
	m := w.manifest(t, backup.Key{7}, snapshot.ToUser, snapshot.ToOrg)
	private, public, err := crypt.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	owner := access.Caller{Kind: access.UserKind, User: w.user, Org: w.org, Device: w.device}
	var opening []byte
	err = d.Write(t.Context(), func(tx *db.Tx) (err error) {
		opening, err = w.ring.OpenSnapshotFor(t.Context(), tx, owner, m, public)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := crypt.OpenOpening(private, m.Hash(), opening)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := snapshot.DecodePrivate(got); err != nil || p.RootKey != (backup.Key{7}) {
		t.Errorf("%v, or another key", err)
	}
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := w.ring.OpenSnapshotFor(t.Context(), tx, owner, m, public[1:])
		return err
	})
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("a short key: %v, want Invalid", err)
	}
}

func TestPrivateSnapshotStaysClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := dbtest.New(t)
	m := w.manifest(t, backup.Key{7}, snapshot.ToUser)
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := w.ring.OpenSnapshot(t.Context(), tx, access.Caller{Kind: access.UserKind, User: w.user, Org: w.org}, m)
		return err
	})
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("got %v, want Forbidden", err)
	}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := &snapshot.Receipt{Seq: 3}
	if err := w.ring.SignReceipt(w.org, r); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(w.record.Receipt[:]); err != nil {
		t.Error(err)
	}
}

// The folder, opened again, gives the same keys; another folder none.
func TestRingIsKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	first, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	org := access.OrgID(id(t))
	want, err := first.NewOrg(org)
	if err != nil {
		t.Fatal(err)
	}
	again, err := first.NewOrg(org)
	if err != nil || !bytes.Equal(again.Record, want.Record) {
		t.Errorf("NewOrg again made other keys: %v", err)
	}
	second, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := second.NewOrg(org)
	if err != nil || !bytes.Equal(got.Record, want.Record) {
		t.Errorf("opened again, the keys are others: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d files, %v; want the key file and one key", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", e.Name(), info.Mode().Perm())
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %o, want 700", info.Mode().Perm())
	}
}

func TestRingRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"a lost key file":  {func(dir string) error { return os.Remove(filepath.Join(dir, "keyfile")) }, "missing"},
		"an open key file": {func(dir string) error { return os.Chmod(filepath.Join(dir, "keyfile"), 0o640) }, "open to others"},
		"a cut key file":   {func(dir string) error { return os.Truncate(filepath.Join(dir, "keyfile"), 31) }, "31 bytes"},
	} {
		dir := t.TempDir()
		ring, err := keys.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.NewOrg(access.OrgID(id(t))); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
}

// Another key file opens nothing, and no organisation opens another's.
func TestWrongKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ring, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	org := access.OrgID(id(t))
	if _, err := ring.NewOrg(org); err != nil {
		t.Fatal(err)
	}
	other := access.OrgID(id(t))
	if err := os.Rename(filepath.Join(dir, string(org)+"-1.key"), filepath.Join(dir, string(other)+"-1.key")); err != nil {
		t.Fatal(err)
	}
	ring, err = keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.NewUser(other, access.UserID(id(t))); err == nil || errs.Find(err) != nil {
		t.Errorf("another organisation's key: %v, want an unexpected error", err)
	}
	if err := os.Rename(filepath.Join(dir, string(other)+"-1.key"), filepath.Join(dir, string(org)+"-1.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keyfile"), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err = keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.NewUser(org, access.UserID(id(t))); err == nil {
		t.Error("another key file opened the key")
	}
}

func TestSeveralOpenANewFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	org := access.OrgID(id(t))
	rings := make([]*keys.Ring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			ring, err := keys.Open(dir)
			if err != nil {
				t.Error(err)
			}
			rings[i] = ring
		})
	}
	wg.Wait()
	for _, ring := range rings {
		if ring == nil {
			continue
		}
		if _, err := ring.NewOrg(org); err != nil {
			t.Errorf("one of them has another key file: %v", err)
		}
	}
}
