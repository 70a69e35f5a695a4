package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Latest names the newest snapshot.
const Latest = "latest"

// Find chooses a snapshot from a list, newest first, by the beginning of its
// id, or the newest by Latest or "".
func Find(list []wire.Snapshot, id string) (wire.Snapshot, error) {
	if id == "" || id == Latest {
		if len(list) == 0 {
			return wire.Snapshot{}, errs.Of(errs.NoSuchSnapshot, "what", Latest).Because(fmt.Errorf("this device has no snapshot yet"))
		}
		return list[0], nil
	}
	var found []wire.Snapshot
	for _, s := range list {
		if strings.HasPrefix(s.Hash, strings.ToLower(id)) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return wire.Snapshot{}, errs.Of(errs.NoSuchSnapshot, "what", id).Because(fmt.Errorf("no snapshot of this device begins with %q", id))
	}
	return wire.Snapshot{}, errs.New(errs.Invalid, "snapshot.ambiguous", "id", id, "n", int64(len(found)))
}

// Opened is a snapshot that can be read.
type Opened struct {
	Manifest *snapshot.Manifest
	Private  *snapshot.Private
	Catalog  *catalog.Reader
	Root     backup.Ref
	Fetch    backup.FetchFunc
}

// Open opens a snapshot of the device for its user: the manifest must be the
// one that was asked for and carry the device's signature, and its private part
// comes sealed to a key that was made for this call.
func Open(ctx context.Context, device *state.Device, user *wire.User, hash string) (*Opened, error) {
	want, err := backup.ParseHash(hash)
	if err != nil {
		return nil, err
	}
	private, public, err := crypt.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("making the one-time key: %w", err)
	}
	out, err := user.Open(ctx, hash, public)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.Decode(out.Manifest)
	if err != nil {
		return nil, err
	}
	if m.Hash() != want {
		return nil, backup.Mismatched("manifest", fmt.Errorf("it is that of snapshot %s", m.Hash().Short()))
	}
	if err := verifySigner(device, m, out.DeviceCert); err != nil {
		return nil, err
	}
	plain, err := crypt.OpenOpening(private, want, out.Opening)
	if err != nil {
		return nil, err
	}
	p, err := snapshot.DecodePrivate(plain)
	if err != nil {
		return nil, err
	}
	o := &Opened{Manifest: m, Private: p, Root: p.Root(&m.Header), Fetch: user.Fetch(device.User, m.Scope)}
	o.Catalog = catalog.NewReader(o.Root, o.Fetch)
	return o, nil
}

// verifySigner checks that a key of the device's user signed a manifest: the
// device's own, or the one that the user's identity certifies in signer.
func verifySigner(device *state.Device, m *snapshot.Manifest, signer []byte) error {
	c, err := decodeCerts(device)
	if err != nil {
		return err
	}
	if len(signer) > 0 {
		if c.device, err = snapshot.DecodeDeviceCert(signer); err != nil {
			return err
		}
		if err := snapshot.VerifyChain(c.org, c.user, c.device); err != nil {
			return err
		}
	}
	return snapshot.VerifyManifest(m, c.device)
}
