package keys

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// OpenSnapshot opens the private part of a manifest that the vault holds: the
// root key is in it. For the owner the login is the approval; an administrator
// needs the right to restore others' data, and the vault, which alone calls
// this, asks accounts.MayOpen whether the owner lets them. It is recorded in tx
// under the action that it is, so a Read cannot open anything; the caller uses
// the result only when tx was committed.
func (r *Ring) OpenSnapshot(ctx context.Context, tx *db.Tx, by access.Caller, m *snapshot.Manifest) ([]byte, error) {
	org, owner := access.OrgID(m.Org.String()), access.UserID(m.User.String())
	action := access.RestoreOthers
	if by.Kind == access.UserKind {
		action = access.ReadOwnData
	}
	hash := m.Hash()
	details := []audit.Detail{audit.Note("device", m.Device.String()), audit.Note("seq", m.Seq)}
	if by.Device != "" {
		details = append(details, audit.Note("at", by.Device))
	}
	err := audit.Check(ctx, tx, by, action, org, owner, "snapshot/"+hash.String(), details...)
	if err != nil {
		return nil, err
	}
	private, err := r.open(m)
	if errs.KindOf(err) == errs.Forbidden {
		return nil, err
	}
	if err != nil {
		// Not in the chain: what the vault checked at the commit and cannot
		// open is ours to mend.
		return nil, fmt.Errorf("opening snapshot %s: %v", hash.Short(), err)
	}
	return private, nil
}

// open uses the organisation's copy; without one the snapshot is private.
func (r *Ring) open(m *snapshot.Manifest) ([]byte, error) {
	for _, s := range m.Sealed {
		if s.Recipient != snapshot.ToOrg {
			continue
		}
		g, err := r.byID(m.Org, s.KeyID)
		if err != nil {
			return nil, err
		}
		return m.Open(g.keys.SealPrivate, g.keys.SealPublic)
	}
	return nil, errs.New(errs.Forbidden, "snapshot.private")
}

// OpenSnapshotFor is OpenSnapshot for a reader who holds the private half of
// recipient, a one-time X-Wing key: the result can be read by nobody else.
func (r *Ring) OpenSnapshotFor(ctx context.Context, tx *db.Tx, by access.Caller, m *snapshot.Manifest, recipient []byte) ([]byte, error) {
	if len(recipient) != crypt.PublicKeySize {
		return nil, errs.New(errs.Invalid, "device.key.invalid")
	}
	private, err := r.OpenSnapshot(ctx, tx, by, m)
	if err != nil {
		return nil, err
	}
	return Reseal(private, m.Hash(), recipient)
}

// Reseal seals an opened private part to a reader's one-time key.
func Reseal(private []byte, manifest backup.Hash, recipient []byte) ([]byte, error) {
	sealed, err := crypt.SealOpening(recipient, manifest, private)
	if err != nil {
		return nil, errs.New(errs.Invalid, "device.key.invalid").Because(err)
	}
	return sealed, nil
}

// SignReceipt signs the server's word that it has a snapshot of the
// organisation.
func (r *Ring) SignReceipt(org access.OrgID, receipt *snapshot.Receipt) error {
	id, err := backup.ParseUUID(string(org))
	if err != nil {
		return fmt.Errorf("organisation %q: %w", org, err)
	}
	g, err := r.current(id)
	if err != nil {
		return err
	}
	receipt.Sign(g.keys.Receipt)
	return nil
}
