package snapshot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
)

const (
	receiptMagic = "BSRECPT1"
	orgMagic     = "BSORGREC"
	userMagic    = "BSUSRCRT"
	deviceMagic  = "BSDEVCRT"
)

// CapAppend lets a device add snapshots; there is no other capability.
const CapAppend = 1

// Receipt is the server's word that it has a snapshot.
type Receipt struct {
	Manifest  backup.Hash
	Seq       uint64
	Time      uint64 // µs since 1970, the server's clock
	GCEpoch   uint64
	Signature [crypt.SignatureSize]byte
}

func (r *Receipt) body() []byte {
	var e backup.Encoder
	e.Text(receiptMagic)
	e.Raw(r.Manifest[:])
	e.U64(r.Seq)
	e.U64(r.Time)
	e.U64(r.GCEpoch)
	return e.B
}

// Encode returns the receipt's bytes.
func (r *Receipt) Encode() []byte { return append(r.body(), r.Signature[:]...) }

// Sign signs the receipt with the server's receipt key.
func (r *Receipt) Sign(receipt ed25519.PrivateKey) {
	copy(r.Signature[:], crypt.Sign(receipt, "receipt", r.body()))
}

// Verify checks the signature against the receipt key of the org record.
func (r *Receipt) Verify(receipt ed25519.PublicKey) error {
	return crypt.VerifySignature(receipt, "receipt", r.body(), r.Signature[:])
}

// DecodeReceipt reads a receipt.
func DecodeReceipt(b []byte) (*Receipt, error) {
	d := backup.NewDecoder("receipt", b)
	d.Magic(receiptMagic)
	r := &Receipt{Manifest: d.Hash(), Seq: d.U64(), Time: d.U64(), GCEpoch: d.U64()}
	copy(r.Signature[:], d.Raw(crypt.SignatureSize))
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return r, nil
}

// OrgRecord says which public keys an organisation has. It is signed with its
// own root key: it is trusted because that key is known from elsewhere.
type OrgRecord struct {
	Org       backup.UUID
	Gen       uint64
	Root      [ed25519.PublicKeySize]byte
	Receipt   [ed25519.PublicKeySize]byte
	PublicKey []byte // pk_org
	Signature [crypt.SignatureSize]byte
}

func (r *OrgRecord) body() []byte {
	var e backup.Encoder
	e.Text(orgMagic)
	e.U8(backup.Suite)
	e.Raw(r.Org[:])
	e.U64(r.Gen)
	e.Raw(r.Root[:])
	e.Raw(r.Receipt[:])
	e.Bytes(r.PublicKey)
	return e.B
}

// Encode returns the record's bytes.
func (r *OrgRecord) Encode() []byte { return append(r.body(), r.Signature[:]...) }

// Sign signs the record with the organisation's root key.
func (r *OrgRecord) Sign(root ed25519.PrivateKey) {
	copy(r.Signature[:], crypt.Sign(root, "org", r.body()))
}

// RootFingerprint is that of the root key, as deployment tokens bear it: what a
// computer believes of an organisation it believes because of this.
func RootFingerprint(r *OrgRecord) string {
	sum := sha256.Sum256(r.Root[:])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Verify checks the signature against the record's own root key.
func (r *OrgRecord) Verify() error {
	return crypt.VerifySignature(r.Root[:], "org", r.body(), r.Signature[:])
}

// DecodeOrgRecord reads an org record, which keeps parts of b.
func DecodeOrgRecord(b []byte) (*OrgRecord, error) {
	d := backup.NewDecoder("organisation's record", b)
	d.Magic(orgMagic)
	d.One(backup.Suite, backup.Suite)
	r := &OrgRecord{Org: d.UUID(), Gen: d.U64(), Root: d.Hash(), Receipt: d.Hash(), PublicKey: publicKey(d)}
	copy(r.Signature[:], d.Raw(crypt.SignatureSize))
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return r, nil
}

// UserCert says which public keys a user has.
type UserCert struct {
	Org, User backup.UUID
	Gen       uint64
	Identity  [ed25519.PublicKeySize]byte // IK
	PublicKey []byte                      // pk_u
	Signature [crypt.SignatureSize]byte
}

func (c *UserCert) body() []byte {
	var e backup.Encoder
	e.Text(userMagic)
	e.U8(backup.Suite)
	e.Raw(c.Org[:])
	e.Raw(c.User[:])
	e.U64(c.Gen)
	e.Raw(c.Identity[:])
	e.Bytes(c.PublicKey)
	return e.B
}

// Encode returns the certificate's bytes.
func (c *UserCert) Encode() []byte { return append(c.body(), c.Signature[:]...) }

// Sign signs the certificate with the organisation's root key.
func (c *UserCert) Sign(root ed25519.PrivateKey) {
	copy(c.Signature[:], crypt.Sign(root, "user", c.body()))
}

// Verify checks the signature against the organisation's root key.
func (c *UserCert) Verify(root ed25519.PublicKey) error {
	return crypt.VerifySignature(root, "user", c.body(), c.Signature[:])
}

// DecodeUserCert reads a user's certificate, which keeps parts of b.
func DecodeUserCert(b []byte) (*UserCert, error) {
	d := backup.NewDecoder("user's certificate", b)
	d.Magic(userMagic)
	d.One(backup.Suite, backup.Suite)
	c := &UserCert{Org: d.UUID(), User: d.UUID(), Gen: d.U64(), Identity: d.Hash(), PublicKey: publicKey(d)}
	copy(c.Signature[:], d.Raw(crypt.SignatureSize))
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return c, nil
}

// DeviceCert says which signing key a device has, and what it may do.
type DeviceCert struct {
	Org, User, Device backup.UUID
	Serial            uint64
	Key               [ed25519.PublicKeySize]byte // DSK
	Caps              uint8
	NotBefore         uint64 // µs since 1970
	Signature         [crypt.SignatureSize]byte
}

func (c *DeviceCert) body() []byte {
	var e backup.Encoder
	e.Text(deviceMagic)
	e.U8(backup.Suite)
	e.Raw(c.Org[:])
	e.Raw(c.User[:])
	e.Raw(c.Device[:])
	e.U64(c.Serial)
	e.Raw(c.Key[:])
	e.U8(c.Caps)
	e.U64(c.NotBefore)
	return e.B
}

// Encode returns the certificate's bytes.
func (c *DeviceCert) Encode() []byte { return append(c.body(), c.Signature[:]...) }

// Sign signs the certificate with the user's identity key.
func (c *DeviceCert) Sign(identity ed25519.PrivateKey) {
	copy(c.Signature[:], crypt.Sign(identity, "device", c.body()))
}

// Verify checks the signature against the user's identity key.
func (c *DeviceCert) Verify(identity ed25519.PublicKey) error {
	return crypt.VerifySignature(identity, "device", c.body(), c.Signature[:])
}

// DecodeDeviceCert reads a device's certificate.
func DecodeDeviceCert(b []byte) (*DeviceCert, error) {
	d := backup.NewDecoder("device's certificate", b)
	d.Magic(deviceMagic)
	d.One(backup.Suite, backup.Suite)
	c := &DeviceCert{
		Org: d.UUID(), User: d.UUID(), Device: d.UUID(),
		Serial: d.U64(), Key: d.Hash(), Caps: d.One(CapAppend, CapAppend), NotBefore: d.U64(),
	}
	copy(c.Signature[:], d.Raw(crypt.SignatureSize))
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return c, nil
}

func publicKey(d *backup.Decoder) []byte {
	b := d.Bytes(crypt.PublicKeySize)
	if len(b) != crypt.PublicKeySize {
		d.Fail("has a public key of the wrong length")
	}
	return b
}

// VerifyChain checks the chain from an organisation's record, which the caller
// trusts, to a device's certificate: signatures, and that all speak of the
// same organisation and user.
func VerifyChain(org *OrgRecord, user *UserCert, device *DeviceCert) error {
	if user.Org != org.Org || device.Org != org.Org || device.User != user.User {
		return backup.Mismatched("certificates", errors.New("they do not belong together"))
	}
	if err := org.Verify(); err != nil {
		return err
	}
	if err := user.Verify(org.Root[:]); err != nil {
		return err
	}
	return device.Verify(user.Identity[:])
}

// VerifyManifest checks a manifest against the certificate of the device that
// it names.
func VerifyManifest(m *Manifest, device *DeviceCert) error {
	if m.Org != device.Org || m.User != device.User || m.Device != device.Device {
		return backup.Mismatched("manifest", errors.New("is not of the certificate's device"))
	}
	return m.Verify(device.Key[:])
}
