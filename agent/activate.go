package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"

	"github.com/google/uuid"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// Activation is what somebody says to make this computer a device.
type Activation struct {
	Server      string
	Fingerprint string // of the server's key, or "" to trust the system's roots
	Username    string
	Password    string
	Code        string // of the second factor, "" while nobody asked for one
	Name        string // of the device
	System      bool   // it backs up with the system's rights
}

// Activate makes this computer a device of the user and remembers it. The name
// may come back with a number at its end, when the user has a device of that
// name. The caller holds the state folder's lock. When the way to the server
// breaks after it has decided, activating again with the same words gives the
// same device.
func Activate(ctx context.Context, st *state.State, client *wire.Client, in Activation) (*state.Device, error) {
	pending, err := begin(st, in)
	if err != nil {
		return nil, err
	}
	private, public, err := crypt.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("making the one-time key: %w", err)
	}
	signing := ed25519.NewKeyFromSeed(pending.SigningSeed)
	out, err := client.Activate(ctx, wire.Activate{
		Username: in.Username, Password: in.Password, SecondFactor: in.Code, RequestID: pending.RequestID,
		Name: in.Name, RenameIfTaken: true, Hardware: Hardware(), ClientVersion: version.Number(), System: in.System,
		SigningKey: signing.Public().(ed25519.PublicKey), EnrolmentKey: public,
	})
	if err != nil {
		return nil, err
	}
	device, err := accept(out, signing, private)
	if err != nil {
		return nil, fmt.Errorf("checking what the server answered: %w", err)
	}
	device.Server, device.Fingerprint, device.System = in.Server, in.Fingerprint, in.System
	profile := state.Profile{Version: out.Profile.Version, Name: out.Profile.Name, Settings: out.Profile.Settings}
	if err := st.SetProfile(profile); err != nil {
		return nil, err
	}
	if err := st.SetDevice(device); err != nil {
		return nil, err
	}
	return device, st.SetPending(nil)
}

// begin returns the activation that was begun with the same words, or a new
// one, on the disk before the server hears of it.
func begin(st *state.State, in Activation) (*state.Pending, error) {
	p, err := st.Pending()
	if err != nil {
		return nil, err
	}
	if p != nil && p.Server == in.Server && p.Username == in.Username && p.Name == in.Name {
		return p, nil
	}
	p = &state.Pending{
		Server: in.Server, Username: in.Username, Name: in.Name,
		RequestID: uuid.NewString(), SigningSeed: make([]byte, ed25519.SeedSize),
	}
	rand.Read(p.SigningSeed)
	return p, st.SetPending(p)
}

// accept checks the answer: the chain of certificates down to this device's
// key, and that the ids and keys are the ones certified.
func accept(out wire.Activated, signing ed25519.PrivateKey, oneTime []byte) (*state.Device, error) {
	d := &state.Device{
		Name: out.DeviceName, Username: out.Username, KeyGen: out.KeyGen, Epoch: out.Epoch, UserKey: out.UserKey,
		DeviceCert: out.DeviceCert, UserCert: out.UserCert, OrgRecord: out.OrgRecord, Signing: signing,
	}
	for _, id := range []struct {
		text string
		to   *backup.UUID
	}{{out.DeviceID, &d.ID}, {out.SetID, &d.Set}, {out.UserID, &d.User}, {out.OrgID, &d.Org}, {out.ScopeID, &d.Scope}} {
		var err error
		if *id.to, err = backup.ParseUUID(id.text); err != nil {
			return nil, err
		}
	}
	var err error
	if d.Store, err = state.ParseStore(out.StoreID); err != nil {
		return nil, err
	}
	certs, err := decodeCerts(d)
	if err != nil {
		return nil, err
	}
	public := signing.Public().(ed25519.PublicKey)
	if certs.device.Device != d.ID || certs.device.User != d.User || certs.device.Org != d.Org ||
		!bytes.Equal(certs.device.Key[:], public) || !bytes.Equal(certs.user.PublicKey, d.UserKey) || certs.user.Gen != d.KeyGen {
		return nil, errs.Of(errs.Mismatch).Because(fmt.Errorf("the certificates are not for this device"))
	}
	secrets, err := crypt.OpenEnrolment(oneTime, d.User, d.ID, public, out.SealedSecrets)
	if err != nil {
		return nil, err
	}
	if secrets.KeyGen != d.KeyGen || secrets.Epoch != d.Epoch {
		return nil, errs.Of(errs.Mismatch).Because(fmt.Errorf("the secrets are of another generation"))
	}
	d.ScopeSecret, d.ChunkerSecret = secrets.Scope, secrets.Chunker
	return d, nil
}

type certs struct {
	org    *snapshot.OrgRecord
	user   *snapshot.UserCert
	device *snapshot.DeviceCert
}

// decodeCerts reads a device's certificates and checks their chain.
func decodeCerts(d *state.Device) (c certs, err error) {
	if c.org, err = snapshot.DecodeOrgRecord(d.OrgRecord); err != nil {
		return c, err
	}
	if c.user, err = snapshot.DecodeUserCert(d.UserCert); err != nil {
		return c, err
	}
	if c.device, err = snapshot.DecodeDeviceCert(d.DeviceCert); err != nil {
		return c, err
	}
	return c, snapshot.VerifyChain(c.org, c.user, c.device)
}
