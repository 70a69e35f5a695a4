// Package snapshot is the record of one backup: the manifest that a device
// signs, its private part that only the owner (and in managed mode the
// organisation) can open, the refs that tell the server which objects it
// needs, the server's receipt, and the certificates that say whose keys are
// whose. docs/format.md sections 6 to 8 give the exact bytes.
//
// Decoding checks form and limits; Verify checks signatures. What fails either
// is E1506.
package snapshot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
)

// Status says what a snapshot is good for.
type Status uint8

// The statuses.
const (
	Complete   Status = 1
	Partial    Status = 2 // of a backup that goes on; a newer one replaces it
	Suspicious Status = 3
)

// String returns the status's name in the protocol.
func (s Status) String() string {
	switch s {
	case Complete:
		return "complete"
	case Partial:
		return "partial"
	case Suspicious:
		return "suspicious"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Scope says among whose data equal chunks are found.
type Scope uint8

// The scopes.
const (
	ScopeUser Scope = 1
	ScopeOrg  Scope = 2
)

// Recipient says whose key opens a sealed copy of the private part.
type Recipient uint8

// The recipients.
const (
	ToUser Recipient = 1
	ToOrg  Recipient = 2
)

const manifestMagic = "BSMANIF1"

// Header is what a manifest says in clear.
type Header struct {
	Org, User, Device, Set backup.UUID

	Seq   uint64      // 1 for the first snapshot of a set
	Prev  backup.Hash // the previous manifest, zeros for the first
	Store backup.UUID // the vault's id
	Nonce [32]byte    // the backup session's
	Time  uint64      // µs since 1970, the device's clock

	Status                            Status
	Entries, Files, Bytes, Unreadable uint64

	RootID    backup.ID   // the catalog's root page
	RefsID    backup.Hash // SHA-256 of the encoded refs
	RefsRoot  backup.Hash // Merkle root of all ids
	RefsCount uint64

	KeyGen     uint64
	DedupMode  uint8 // 0
	DedupScope Scope
	Scope      backup.UUID // that objects are sealed with
	Epoch      uint64
	Chunker    uint8
	Profile    uint8
}

// Encode returns the header's bytes.
func (h *Header) Encode() []byte {
	var e backup.Encoder
	e.Text(manifestMagic)
	e.U8(backup.Suite)
	e.Raw(h.Org[:])
	e.Raw(h.User[:])
	e.Raw(h.Device[:])
	e.Raw(h.Set[:])
	e.U64(h.Seq)
	e.Raw(h.Prev[:])
	e.Raw(h.Store[:])
	e.Raw(h.Nonce[:])
	e.U64(h.Time)
	e.U8(uint8(h.Status))
	e.U64(h.Entries)
	e.U64(h.Files)
	e.U64(h.Bytes)
	e.U64(h.Unreadable)
	e.Raw(h.RootID[:])
	e.Raw(h.RefsID[:])
	e.Raw(h.RefsRoot[:])
	e.U64(h.RefsCount)
	e.U64(h.KeyGen)
	e.U8(h.DedupMode)
	e.U8(uint8(h.DedupScope))
	e.Raw(h.Scope[:])
	e.U64(h.Epoch)
	e.U8(h.Chunker)
	e.U8(h.Profile)
	return e.B
}

func decodeHeader(d *backup.Decoder) (h Header) {
	d.Magic(manifestMagic)
	d.One(backup.Suite, backup.Suite)
	h.Org, h.User, h.Device, h.Set = d.UUID(), d.UUID(), d.UUID(), d.UUID()
	h.Seq = d.U64()
	h.Prev = d.Hash()
	h.Store = d.UUID()
	h.Nonce = d.Hash()
	h.Time = d.U64()
	h.Status = Status(d.One(uint8(Complete), uint8(Suspicious)))
	h.Entries, h.Files, h.Bytes, h.Unreadable = d.U64(), d.U64(), d.U64(), d.U64()
	h.RootID = d.ID()
	h.RefsID, h.RefsRoot, h.RefsCount = d.Hash(), d.Hash(), d.U64()
	h.KeyGen = d.U64()
	h.DedupMode = d.One(0, 0)
	h.DedupScope = Scope(d.One(uint8(ScopeUser), uint8(ScopeOrg)))
	h.Scope = d.UUID()
	h.Epoch = d.U64()
	h.Chunker = d.One(1, 1)
	h.Profile = d.One(1, 255)
	if h.Seq == 0 || (h.Seq == 1) != (h.Prev == backup.Hash{}) {
		d.Fail("its place in the chain contradicts itself")
	}
	return h
}

// SealedRoot is a sealed copy of the private part.
type SealedRoot struct {
	Recipient Recipient
	KeyID     backup.Hash // of the recipient's public key
	Enc, CT   []byte
}

// Manifest is the signed record of one snapshot. Whoever makes one fills in
// the header, calls Seal for each recipient, and Sign last.
type Manifest struct {
	Header
	Sealed    []SealedRoot
	Signer    backup.Hash // key id of the device's signing key
	Signature [crypt.SignatureSize]byte
}

// Seal adds a copy of p for the holder of public's private key. The header
// must not be changed afterwards: the copy is bound to it.
func (m *Manifest) Seal(to Recipient, public []byte, p *Private) error {
	plain, err := p.Encode()
	if err != nil {
		return err
	}
	enc, ct, err := crypt.SealTo(public, m.sealInfo(), plain)
	if err != nil {
		return fmt.Errorf("sealing a manifest's private part: %w", err)
	}
	m.Sealed = append(m.Sealed, SealedRoot{Recipient: to, KeyID: crypt.KeyID(public), Enc: enc, CT: ct})
	return nil
}

// Open opens the copy sealed to the pair given. It returns the private part's
// bytes; DecodePrivate reads them.
func (m *Manifest) Open(private, public []byte) ([]byte, error) {
	id := crypt.KeyID(public)
	for _, s := range m.Sealed {
		if s.KeyID == id {
			return crypt.OpenWith(private, m.sealInfo(), s.Enc, s.CT)
		}
	}
	return nil, backup.Mismatched("manifest", errors.New("is not sealed to this key"))
}

func (m *Manifest) sealInfo() []byte {
	sum := sha256.Sum256(m.Header.Encode())
	return append([]byte("backstay/v1/snap\x00"), sum[:]...)
}

// Sign signs everything before the signature.
func (m *Manifest) Sign(device ed25519.PrivateKey) {
	m.Signer = crypt.KeyID(device.Public().(ed25519.PublicKey))
	copy(m.Signature[:], crypt.Sign(device, "manifest", m.body()))
}

// Verify checks the signature against the device's public key, as its
// certificate says it.
func (m *Manifest) Verify(device ed25519.PublicKey) error {
	if crypt.KeyID(device) != m.Signer {
		return backup.Mismatched("manifest", errors.New("was signed with another key"))
	}
	return crypt.VerifySignature(device, "manifest", m.body(), m.Signature[:])
}

// body is everything before the signature.
func (m *Manifest) body() []byte {
	e := backup.Encoder{B: m.Header.Encode()}
	e.Count(len(m.Sealed))
	for _, s := range m.Sealed {
		e.U8(uint8(s.Recipient))
		e.Raw(s.KeyID[:])
		e.Bytes(s.Enc)
		e.Bytes(s.CT)
	}
	e.Raw(m.Signer[:])
	return e.B
}

// Encode returns the manifest's bytes.
func (m *Manifest) Encode() []byte { return append(m.body(), m.Signature[:]...) }

// Hash names the manifest: the SHA-256 of its bytes.
func (m *Manifest) Hash() backup.Hash { return sha256.Sum256(m.Encode()) }

// MaxManifest is how long a manifest can be.
const MaxManifest = 1024 + backup.MaxRecipients*(sealedSize+crypt.EncapsulatedSize+maxCT)

const (
	sealedSize = 1 + 32 + 4 + 4
	maxCT      = backup.MaxPrivate + 16
)

// Decode reads a manifest, which keeps parts of b.
func Decode(b []byte) (*Manifest, error) {
	d := backup.NewDecoder("manifest", b)
	m := &Manifest{Header: decodeHeader(d)}
	m.Sealed = make([]SealedRoot, d.Count(backup.MaxRecipients, sealedSize))
	for i := range m.Sealed {
		m.Sealed[i] = SealedRoot{
			Recipient: Recipient(d.One(uint8(ToUser), uint8(ToOrg))),
			KeyID:     d.Hash(),
			Enc:       d.Bytes(crypt.EncapsulatedSize),
			CT:        d.Bytes(maxCT),
		}
	}
	m.Signer = d.Hash()
	copy(m.Signature[:], d.Raw(crypt.SignatureSize))
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return m, nil
}
