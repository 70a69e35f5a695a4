package devices

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// The acts that end what was deleted before its window is over. Each takes two
// administrators.
const (
	PurgeUser   = "purge_user"
	PurgeDevice = "purge_device"
)

// purged is what such an act is about. What was brought back and deleted again
// is not what was asked for.
type purged struct {
	ID string    `json:"id"`
	At time.Time `json:"deleted_at"`
}

// PurgeKinds are the acts of purging at once a user, with all devices, and a
// device.
func PurgeKinds() []approvals.Kind {
	return []approvals.Kind{
		{Name: PurgeUser, Action: access.ManageUsers, Do: purgeUser},
		{Name: PurgeDevice, Action: access.ManageDevices, Do: purgeDevice},
	}
}

func purgeUser(ctx context.Context, tx *db.Tx, by access.Caller, a approvals.Approval) error {
	var what purged
	if err := a.Read(&what); err != nil {
		return err
	}
	u, err := accounts.Find(ctx, tx, accounts.ID(what.ID))
	if err != nil {
		return err
	}
	if !u.StateAt.Equal(what.At) {
		return errs.New(errs.Conflict, "approval.changed")
	}
	return accounts.PurgeNow(ctx, tx, by, u.ID)
}

func purgeDevice(ctx context.Context, tx *db.Tx, by access.Caller, a approvals.Approval) error {
	var what purged
	if err := a.Read(&what); err != nil {
		return err
	}
	d, err := Find(ctx, tx, ID(what.ID))
	if err != nil {
		return err
	}
	if !d.StateAt.Equal(what.At) {
		return errs.New(errs.Conflict, "approval.changed")
	}
	if _, err := d.purgeable(ctx, tx); err != nil {
		return err
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(d.ID), audit.Change("state", d.State, Purged), audit.Note("approval", a.ID))
	if err == nil {
		_, err = blank(ctx, tx, "($1)", d.ID)
	}
	return err
}

// AskPurgeUser asks for a deleted user to be purged now, with the devices and
// all their snapshots. A legal hold forbids it: E1404.
func AskPurgeUser(ctx context.Context, tx *db.Tx, by access.Caller, desk *approvals.Desk, id accounts.ID, reason string) (approvals.Approval, error) {
	u, err := accounts.Find(ctx, tx, id)
	if err != nil {
		return approvals.Approval{}, err
	}
	if err := accounts.MayManage(by, u); err != nil {
		return approvals.Approval{}, err
	}
	if err := accounts.CheckPurge(u); err != nil {
		return approvals.Approval{}, err
	}
	sum := struct{ devices, snapshots int }{}
	err = tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM devices WHERE user_id = $1 AND state <> 'purged'),
		(SELECT count(*) FROM snapshots WHERE user_id = $1 AND state <> 'expired')`, id).Scan(&sum.devices, &sum.snapshots)
	if err != nil {
		return approvals.Approval{}, fmt.Errorf("counting what user %s has: %w", id, err)
	}
	return desk.Ask(ctx, tx, by, approvals.Request{Kind: PurgeUser, Org: u.Org, Data: purged{string(id), u.StateAt}, Reason: reason,
		Summary: map[string]any{"name": u.Username, "devices": sum.devices, "n": sum.snapshots}})
}

// AskPurgeDevice asks for a deleted device to be purged now, with all its
// snapshots. A legal hold on its user forbids it: E1404.
func AskPurgeDevice(ctx context.Context, tx *db.Tx, by access.Caller, desk *approvals.Desk, id ID, reason string) (approvals.Approval, error) {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return approvals.Approval{}, err
	}
	if err := audit.See(by, access.ManageDevices, d.Org, d.User, object(id)); err != nil {
		return approvals.Approval{}, err
	}
	u, err := d.purgeable(ctx, tx)
	if err != nil {
		return approvals.Approval{}, err
	}
	var snapshots int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM snapshots WHERE device = $1 AND state <> 'expired'", id).Scan(&snapshots); err != nil {
		return approvals.Approval{}, fmt.Errorf("counting the snapshots of device %s: %w", id, err)
	}
	return desk.Ask(ctx, tx, by, approvals.Request{Kind: PurgeDevice, Org: d.Org, Data: purged{string(id), d.StateAt}, Reason: reason,
		Summary: map[string]any{"name": d.Name, "user": u.Username, "n": snapshots}})
}

// purgeable refuses a device that cannot be purged now, and returns its user.
func (d Device) purgeable(ctx context.Context, tx *db.Tx) (accounts.User, error) {
	u, err := accounts.Find(ctx, tx, d.User)
	switch {
	case err != nil:
	case d.State != Deleted:
		err = impossible(d, Purged)
	case u.LegalHold:
		err = errs.Of(errs.LegalHold).Because(d.denial())
	}
	return u, err
}
