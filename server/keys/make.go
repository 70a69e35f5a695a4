package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
)

// OrgKeys is what may be known of an organisation's keys.
type OrgKeys struct {
	Gen    uint64
	Record []byte // org record, docs/format.md 8
}

// NewOrg makes the first keys of an organisation and stores them, durably,
// before it returns. Called again for the same organisation it returns the same.
func (r *Ring) NewOrg(org access.OrgID) (OrgKeys, error) {
	id, err := backup.ParseUUID(string(org))
	if err != nil {
		return OrgKeys{}, fmt.Errorf("organisation %q: %w", org, err)
	}
	r.making.Lock()
	defer r.making.Unlock()
	all, err := r.generations(id)
	if err != nil {
		return OrgKeys{}, err
	}
	if len(all) == 0 {
		if err := r.make(id, 1); err != nil {
			return OrgKeys{}, fmt.Errorf("making the key of organisation %s: %w", org, err)
		}
	}
	g, err := r.current(id)
	if err != nil {
		return OrgKeys{}, err
	}
	record := snapshot.OrgRecord{Org: id, Gen: g.gen, PublicKey: g.keys.SealPublic}
	copy(record.Root[:], g.keys.Root.Public().(ed25519.PublicKey))
	copy(record.Receipt[:], g.keys.Receipt.Public().(ed25519.PublicKey))
	record.Sign(g.keys.Root)
	return OrgKeys{Gen: g.gen, Record: record.Encode()}, nil
}

func (r *Ring) make(org backup.UUID, gen uint64) error {
	var ork backup.Key
	rand.Read(ork[:])
	return durable.WriteFile(r.path(org, gen), crypt.WrapOrg(r.keyFile, org, gen, ork), 0o600)
}

// UserKeys is what the server keeps of a user's keys: nothing that opens
// anything without the organisation's key.
type UserKeys struct {
	Gen         uint64
	PublicKey   []byte // pk_u
	IdentityKey []byte // IK
	Wrapped     []byte // W_org
	Cert        []byte // user cert
}

// NewUser makes the keys of a new user. The root key is made here and is gone
// when NewUser returns, but for the copy that is sealed to the organisation.
func (r *Ring) NewUser(org access.OrgID, user access.UserID) (UserKeys, error) {
	o, u, err := ids(org, user)
	if err != nil {
		return UserKeys{}, err
	}
	g, err := r.current(o)
	if err != nil {
		return UserKeys{}, err
	}
	const gen = 1
	var urk backup.Key
	rand.Read(urk[:])
	k, err := crypt.DeriveUser(urk, gen, epoch)
	if err != nil {
		return UserKeys{}, fmt.Errorf("making the keys of user %s: %w", user, err)
	}
	wrapped, err := crypt.SealUser(g.keys.SealPublic, u, gen, urk)
	if err != nil {
		return UserKeys{}, fmt.Errorf("sealing the key of user %s: %w", user, err)
	}
	cert := snapshot.UserCert{Org: o, User: u, Gen: gen, PublicKey: k.SealPublic}
	copy(cert.Identity[:], k.Identity.Public().(ed25519.PublicKey))
	cert.Sign(g.keys.Root)
	return UserKeys{Gen: gen, PublicKey: k.SealPublic, IdentityKey: cert.Identity[:], Wrapped: wrapped, Cert: cert.Encode()}, nil
}

// Enrolment is a device that asks to write for a user.
type Enrolment struct {
	Org     access.OrgID
	User    access.UserID
	Device  access.DeviceID
	Gen     uint64 // of the user's keys
	Wrapped []byte // W_org

	SigningKey   []byte // DSK, Ed25519
	EnrolmentKey []byte // X-Wing, for this once
	Serial       uint64 // of the certificate, one more each time for a device
	NotBefore    time.Time
}

// Enrolled is what makes a device able to write. Only the holder of the
// enrolment key's private half can read Sealed.
type Enrolled struct {
	Epoch  uint64
	Sealed []byte
	Cert   []byte
}

// Enrol certifies a device's signing key with the user's identity and seals the
// secrets for writing to it. Who calls it has checked that the device is the
// user's; it is recorded there.
func (r *Ring) Enrol(e Enrolment) (Enrolled, error) {
	if len(e.SigningKey) != ed25519.PublicKeySize || len(e.EnrolmentKey) != crypt.PublicKeySize {
		return Enrolled{}, errs.New(errs.Invalid, "device.key.invalid")
	}
	o, u, err := ids(e.Org, e.User)
	if err != nil {
		return Enrolled{}, err
	}
	d, err := backup.ParseUUID(string(e.Device))
	if err != nil {
		return Enrolled{}, fmt.Errorf("device %q: %w", e.Device, err)
	}
	k, err := r.user(o, u, e.Gen, e.Wrapped)
	if err != nil {
		return Enrolled{}, fmt.Errorf("opening the key of user %s: %v", e.User, err)
	}
	sealed, err := crypt.SealEnrolment(e.EnrolmentKey, u, d, e.SigningKey,
		crypt.Secrets{KeyGen: e.Gen, Epoch: epoch, Scope: k.Scope, Chunker: k.Chunker})
	if err != nil {
		// The right length, and no point of the curve.
		return Enrolled{}, errs.New(errs.Invalid, "device.key.invalid").Because(err)
	}
	cert := snapshot.DeviceCert{Org: o, User: u, Device: d, Serial: e.Serial, Caps: snapshot.CapAppend,
		NotBefore: uint64(e.NotBefore.UnixMicro())}
	copy(cert.Key[:], e.SigningKey)
	cert.Sign(k.Identity)
	return Enrolled{Epoch: epoch, Sealed: sealed, Cert: cert.Encode()}, nil
}

// user opens a user's keys. What wraps them may be of an older generation of
// the organisation's.
func (r *Ring) user(org, user backup.UUID, gen uint64, wrapped []byte) (crypt.User, error) {
	all, err := r.generations(org)
	if err != nil {
		return crypt.User{}, err
	}
	err = fmt.Errorf("there is no key of organisation %s", org)
	for i := len(all) - 1; i >= 0; i-- {
		var urk backup.Key
		if urk, err = crypt.OpenUser(all[i].keys.SealPrivate, user, gen, wrapped); err == nil {
			return crypt.DeriveUser(urk, gen, epoch)
		}
	}
	return crypt.User{}, err
}
