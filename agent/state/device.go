package state

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Device is who this computer is for a server, and what it needs to write
// there. It holds no key that opens a snapshot.
type Device struct {
	Server      string      `json:"server"`
	Fingerprint string      `json:"fingerprint,omitempty"` // of the pinned key, wire.Config
	ID          backup.UUID `json:"device_id"`
	Name        string      `json:"device_name"`
	Set         backup.UUID `json:"set_id"`
	User        backup.UUID `json:"user_id"`
	Username    string      `json:"username"`
	Org         backup.UUID `json:"org_id"`
	Store       backup.UUID `json:"store_id"`
	KeyGen      uint64      `json:"key_gen"`
	Epoch       uint64      `json:"epoch"`
	Scope       backup.UUID `json:"scope_id"` // of deduplication
	UserKey     []byte      `json:"user_key"` // pk_u
	DeviceCert  []byte      `json:"device_cert"`
	UserCert    []byte      `json:"user_cert"`
	OrgRecord   []byte      `json:"org_record"`
	System      bool        `json:"system"` // backs up with the system's rights
	// Offer names the computer whose files may come back here; empty: none.
	Offer string `json:"offer,omitempty"`

	Signing       ed25519.PrivateKey `json:"-"` // DSK
	ScopeSecret   backup.Key         `json:"-"` // S
	ChunkerSecret backup.Key         `json:"-"` // K
}

// LogValue names the device and nothing more.
func (d *Device) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", d.ID.String()), slog.String("name", d.Name))
}

// deviceFile is the file: the device and its secrets, which have no other text
// form.
type deviceFile struct {
	Format int `json:"format"`
	Device
	SigningSeed   []byte `json:"signing_seed"`
	ScopeSecret   []byte `json:"scope_secret"`
	ChunkerSecret []byte `json:"chunker_secret"`
}

// Device returns who this computer is; E1501 when nobody has activated it.
func (s *State) Device() (*Device, error) {
	var f deviceFile
	ok, err := s.read("device.json", &f)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errs.Of(errs.NotActivated)
	}
	if len(f.SigningSeed) != ed25519.SeedSize || len(f.ScopeSecret) != 32 || len(f.ChunkerSecret) != 32 {
		return nil, errs.New(errs.Local, "state.file.damaged", "path", s.path("device.json"))
	}
	d := f.Device
	d.Signing = ed25519.NewKeyFromSeed(f.SigningSeed)
	d.ScopeSecret, d.ChunkerSecret = backup.Key(f.ScopeSecret), backup.Key(f.ChunkerSecret)
	return &d, nil
}

// SetDevice makes this computer the device d.
func (s *State) SetDevice(d *Device) error {
	return s.write("device.json", deviceFile{
		Format: format, Device: *d,
		SigningSeed: d.Signing.Seed(), ScopeSecret: d.ScopeSecret[:], ChunkerSecret: d.ChunkerSecret[:],
	})
}

// SignToken signs a challenge for a device token, protocol.md.
func (d *Device) SignToken(challenge []byte) ([]byte, error) {
	m := append(d.ID[:], d.Store[:]...)
	return crypt.Sign(d.Signing, "token", append(m, challenge...)), nil
}

// ParseStore reads a vault's id, 32 hex digits.
func ParseStore(s string) (id backup.UUID, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%q is no vault's id", s)
	}
	return backup.UUID(raw), nil
}

// Pending is an activation whose end is not known: it goes on where it was, also
// after this computer was switched off.
type Pending struct {
	Format      int    `json:"format"`
	Server      string `json:"server"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Username    string `json:"username"`
	System      bool   `json:"system"`
	RequestID   string `json:"request_id"`
	SigningSeed []byte `json:"signing_seed"`

	// Begun is what the server offers, once it was asked; Choice what was chosen,
	// once that is said. Waits is set when an administrator has to approve it.
	Begun  *wire.Activation       `json:"begun,omitempty"`
	Choice *wire.FinishActivation `json:"choice,omitempty"`
	Waits  bool                   `json:"waits,omitempty"`
	Maps   []PathMap              `json:"maps,omitempty"` // with Choice

	// Root is the fingerprint of the organisation's root key that a deployment
	// token names, "" without one.
	Root string `json:"root,omitempty"`
}

// Pending returns the activation that was begun and not ended, nil when there
// is none.
func (s *State) Pending() (*Pending, error) {
	var p Pending
	ok, err := s.read("activation.json", &p)
	if err != nil || !ok {
		return nil, err
	}
	return &p, nil
}

// SetPending remembers an activation, or with nil that it has ended.
func (s *State) SetPending(p *Pending) error {
	if p != nil {
		p.Format = format
		return s.write("activation.json", p)
	}
	err := durable.Remove(s.path("activation.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
