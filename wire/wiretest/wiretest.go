// Package wiretest gives tests the hands of a device that speaks the protocol:
// its keys, the objects it seals, the records it sends them in, and the
// manifests it signs.
package wiretest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// Computer is one that can be activated.
type Computer struct {
	Signing   ed25519.PrivateKey
	Enrolment []byte // the public key to which its secrets are sealed

	private []byte // of Enrolment
}

// NewComputer makes a computer's keys.
func NewComputer(t testing.TB) *Computer {
	t.Helper()
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, public, err := crypt.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &Computer{Signing: signing, Enrolment: public, private: private}
}

// SigningKey is the public half of Signing.
func (c *Computer) SigningKey() ed25519.PublicKey { return c.Signing.Public().(ed25519.PublicKey) }

// Asks is the request to become a device of that name.
func (c *Computer) Asks(username, password, name string) wire.Activate {
	return wire.Activate{
		Username: username, Password: password, RequestID: uuid.NewString(), Name: name,
		Hardware:      wire.Hardware{MachineID: uuid.NewString(), Hostname: name, OS: "linux", Arch: "amd64"},
		ClientVersion: version.Number(), SigningKey: c.SigningKey(), EnrolmentKey: c.Enrolment,
	}
}

// Device is an activated computer.
type Device struct {
	wire.Activated
	Signing ed25519.PrivateKey
	Secrets crypt.Secrets

	t      testing.TB
	sealer *crypt.Sealer
}

// Device is the computer after it was activated so: it has read its secrets.
func (c *Computer) Device(t testing.TB, a wire.Activated) *Device {
	t.Helper()
	d := &Device{Activated: a, Signing: c.Signing, t: t}
	var err error
	if d.Secrets, err = crypt.OpenEnrolment(c.private, d.id(a.UserID), d.id(a.DeviceID), c.SigningKey(), a.SealedSecrets); err != nil {
		t.Fatal(err)
	}
	d.sealer = crypt.NewSealer(d.Secrets.Scope, d.Scope(), crypt.Profile1)
	return d
}

// Scope is where what it seals is found again.
func (d *Device) Scope() backup.UUID { return d.id(d.ScopeID) }

func (d *Device) id(text string) backup.UUID {
	d.t.Helper()
	id, err := backup.ParseUUID(text)
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// Prove signs a challenge for a token.
func (d *Device) Prove(challenge []byte) ([]byte, error) {
	store, err := hex.DecodeString(d.StoreID)
	if err != nil {
		return nil, err
	}
	device := d.id(d.DeviceID)
	return crypt.Sign(d.Signing, "token", append(append(device[:], store...), challenge...)), nil
}

// Seal makes an object of a text.
func (d *Device) Seal(kind backup.Kind, text string) backup.Object {
	d.t.Helper()
	o, err := d.sealer.Seal(kind, []byte(text))
	if err != nil {
		d.t.Fatal(err)
	}
	return o
}

// Manifest is that of the next snapshot in the chain of which a session knows
// the head: it needs ids, refs says so, and root is its root page. It is signed.
func (d *Device) Manifest(s wire.Session, at time.Time, root backup.Object, ids []backup.ID, refs *snapshot.Refs) *snapshot.Manifest {
	d.t.Helper()
	m := &snapshot.Manifest{Header: snapshot.Header{
		Org: d.id(d.OrgID), User: d.id(d.UserID), Device: d.id(d.DeviceID), Set: d.id(d.SetID), Seq: 1, Time: uint64(at.UnixMicro()),
		Status: snapshot.Complete, Entries: 3, Files: 2, Bytes: 1000, RootID: root.Ref.ID,
		RefsID: snapshot.RefsID(refs.Encode()), RefsRoot: snapshot.MerkleRoot(ids), RefsCount: uint64(len(ids)),
		KeyGen: d.KeyGen, DedupScope: snapshot.ScopeUser, Scope: d.Scope(), Epoch: d.Epoch, Chunker: 1, Profile: 1,
	}}
	if _, err := hex.Decode(m.Store[:], []byte(s.StoreID)); err != nil {
		d.t.Fatal(err)
	}
	copy(m.Nonce[:], s.Nonce)
	if s.Head != nil {
		prev, err := backup.ParseHash(s.Head.Hash)
		if err != nil {
			d.t.Fatal(err)
		}
		m.Seq, m.Prev = s.Head.Seq+1, prev
	}
	d.tell(m, &snapshot.Private{RootKey: root.Ref.Key, RootLen: root.Ref.Len, Host: "host", SetName: "set", Roots: []string{"/home"}})
	m.Sign(d.Signing)
	return m
}

// tell seals what is private to the user and to the organisation.
func (d *Device) tell(m *snapshot.Manifest, private *snapshot.Private) {
	d.t.Helper()
	org, err := snapshot.DecodeOrgRecord(d.OrgRecord)
	if err != nil {
		d.t.Fatal(err)
	}
	for to, key := range map[snapshot.Recipient][]byte{snapshot.ToUser: d.UserKey, snapshot.ToOrg: org.PublicKey} {
		if err := m.Seal(to, key, private); err != nil {
			d.t.Fatal(err)
		}
	}
}

// Records are objects as they are sent.
func Records(objects ...backup.Object) []byte {
	var b []byte
	for _, o := range objects {
		b = append(pack.AppendHead(b, o.Kind, o.Ref.ID, len(o.Sealed)), o.Sealed...)
	}
	return b
}

// IDs are those of objects, in order.
func IDs(objects ...backup.Object) []backup.ID {
	var list []backup.ID
	for _, o := range objects {
		list = append(list, o.Ref.ID)
	}
	return snapshot.SortIDs(list)
}

// PutID names a new transfer.
func PutID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Body is a put's body of these records.
func Body(records []byte) func() (io.Reader, int64) {
	return func() (io.Reader, int64) { return bytes.NewReader(records), int64(len(records)) }
}

// Stream is a put's body that is still being made, and is given once.
func Stream(r io.Reader) func() (io.Reader, int64) {
	return func() (io.Reader, int64) { return r, -1 }
}

// Noise is text that nothing makes smaller, always the same for a seed.
func Noise(seed string, size int) string {
	text := make([]byte, size)
	mathrand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(text)
	return string(text)
}
