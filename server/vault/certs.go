package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
)

// certs is who signs a manifest, and to whom it must be sealed.
type certs struct {
	rawOrg, rawUser, rawDevice []byte

	org    *snapshot.OrgRecord
	user   *snapshot.UserCert
	device *snapshot.DeviceCert
}

// certsOf reads what certifies a device.
func (v *Vault) certsOf(ctx context.Context, tx *db.Tx, by access.Caller) (c certs, err error) {
	device, err := devices.Find(ctx, tx, by.Device)
	if err != nil {
		return certs{}, err
	}
	user, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return certs{}, err
	}
	org, err := orgs.Find(ctx, tx, by.Org)
	if err != nil {
		return certs{}, err
	}
	c.rawOrg, c.rawUser, c.rawDevice = org.Record, user.Keys.Cert, device.Cert
	c.org, err = snapshot.DecodeOrgRecord(c.rawOrg)
	if err == nil {
		c.user, err = snapshot.DecodeUserCert(c.rawUser)
	}
	if err == nil {
		c.device, err = snapshot.DecodeDeviceCert(c.rawDevice)
	}
	if err == nil {
		err = snapshot.VerifyChain(c.org, c.user, c.device)
	}
	if err != nil {
		return certs{}, fmt.Errorf("reading the certificates of device %s: %w", by.Device, err)
	}
	return c, nil
}

// keptCerts remembers which certificates are in the store.
type keptCerts struct {
	mu    sync.Mutex
	names map[string]bool
}

// keepCerts puts the certificates into the store beside the manifests that they
// prove, so that a copy of the store is enough to check them.
func (v *Vault) keepCerts(ctx context.Context, c certs) error {
	org, user, device := c.org.Org.Hex(), c.user.User.Hex(), c.device.Device.Hex()
	for _, cert := range []struct {
		name string
		data []byte
	}{
		{fmt.Sprintf("certs/orgs/%s/%d", org, c.org.Gen), c.rawOrg},
		{fmt.Sprintf("certs/users/%s/%s/%d", org, user, c.user.Gen), c.rawUser},
		{fmt.Sprintf("certs/devices/%s/%s/%s/%d", org, user, device, c.device.Serial), c.rawDevice},
	} {
		if err := v.keepCert(ctx, cert.name, cert.data); err != nil {
			return fmt.Errorf("storing a certificate: %w", err)
		}
	}
	return nil
}

func (v *Vault) keepCert(ctx context.Context, name string, data []byte) error {
	v.kept.mu.Lock()
	known := v.kept.names[name]
	v.kept.mu.Unlock()
	if known {
		return nil
	}
	if err := blob.Write(ctx, v.blobs, name, data); err != nil {
		return err
	}
	v.kept.mu.Lock()
	defer v.kept.mu.Unlock()
	if v.kept.names == nil {
		v.kept.names = map[string]bool{}
	}
	v.kept.names[name] = true
	return nil
}

// maxCount bounds the figures of a manifest.
const maxCount = 1 << 62

// checkManifest compares a manifest with all that the server knows, and decodes
// the refs that it names.
func (v *Vault) checkManifest(c *commit, s session) error {
	m := c.m
	if err := snapshot.VerifyManifest(m, c.certs.device); err != nil {
		return errs.New(errs.Invalid, "manifest.signature").Because(err)
	}
	user := c.certs.user
	for _, field := range []struct {
		name string
		ok   bool
	}{
		{"org", m.Org == user.Org},
		{"set", m.Set.String() == s.set},
		{"store", m.Store == v.id},
		{"nonce", m.Nonce == s.nonce},
		{"keys", m.KeyGen == user.Gen && sealedRight(m, user, c.certs.org)},
		{"scope", m.DedupScope == snapshot.ScopeUser && m.Scope == user.User},
		{"counts", max(m.Entries, m.Files, m.Bytes, m.Unreadable, m.RefsCount, m.Time) < maxCount},
		{"refs", snapshot.RefsID(c.refs) == m.RefsID},
	} {
		if !field.ok {
			return errs.New(errs.Invalid, "manifest.field", "field", field.name)
		}
	}
	var err error
	if c.r, err = snapshot.DecodeRefs(c.refs); err != nil {
		return errs.New(errs.Invalid, "refs.form").Because(err)
	}
	if len(c.r.Added) == 0 && !c.r.Delta {
		return errs.New(errs.Invalid, "refs.form").Because(errors.New("no object at all"))
	}
	return nil
}

// sealedRight reports whether a manifest can be opened by its user and, as
// managed mode has it, by the organisation, and names nobody else.
func sealedRight(m *snapshot.Manifest, user *snapshot.UserCert, org *snapshot.OrgRecord) bool {
	want := map[snapshot.Recipient]backup.Hash{
		snapshot.ToUser: crypt.KeyID(user.PublicKey),
		snapshot.ToOrg:  crypt.KeyID(org.PublicKey),
	}
	for _, sealed := range m.Sealed {
		id, ok := want[sealed.Recipient]
		if !ok || id != sealed.KeyID {
			return false
		}
		delete(want, sealed.Recipient)
	}
	return len(want) == 0
}
