package devices

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
)

// Lock shuts a device that may be in wrong hands: it goes on backing up, and
// tells from where it does, but nothing is shown or restored on it, from its
// next request on. It is for administrators, for a reason of 10 to 150
// characters.
func Lock(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	if err := accounts.CheckReason(reason); err != nil {
		return err
	}
	if err := accounts.EndTokens(ctx, tx, id); err != nil {
		return err
	}
	return setLock(ctx, tx, by, id, tx.Now(), reason)
}

// Unlock takes a lock away.
func Unlock(ctx context.Context, tx *db.Tx, by access.Caller, id ID) error {
	return setLock(ctx, tx, by, id, time.Time{}, "")
}

func setLock(ctx context.Context, tx *db.Tx, by access.Caller, id ID, at time.Time, reason string) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id),
		audit.Change("locked", !d.LockedAt.IsZero(), !at.IsZero()), audit.Note("reason", reason))
	if err != nil {
		return err
	}
	if err := d.forAdministrators(by); err != nil {
		return err
	}
	if d.State != Active && d.State != Disabled && !at.IsZero() {
		return errs.New(errs.Conflict, "device.lock.impossible")
	}
	return writeLock(ctx, tx, id, at)
}

func writeLock(ctx context.Context, tx *db.Tx, id ID, at time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE devices SET locked_at = $2, changed_at = $3 WHERE id = $1", id, db.Micros(at), db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("locking device %s: %w", id, err)
	}
	return nil
}

// lockOn is since when a user's computer is locked, zero when it is not. A lock is
// on the computer: whoever holds it and knows the password does not come free by
// making it another device, or one more.
func lockOn(ctx context.Context, tx *db.Tx, user accounts.ID, h wire.Hardware) (time.Time, error) {
	have, err := liveOf(ctx, tx, user)
	if err != nil {
		return time.Time{}, err
	}
	for _, d := range have {
		if !d.LockedAt.IsZero() && sameComputer(h, d.Hardware) {
			return d.LockedAt, nil
		}
	}
	return time.Time{}, nil
}

// Unlocked refuses what shows or restores something on a device that is locked.
func Unlocked(ctx context.Context, tx *db.Tx, by access.Caller) error {
	var at int64
	if err := tx.QueryRow(ctx, "SELECT locked_at FROM devices WHERE id = $1", by.Device).Scan(&at); err != nil {
		return fmt.Errorf("looking whether device %s is locked: %w", by.Device, err)
	}
	if at != 0 {
		return errs.New(errs.Forbidden, "device.locked")
	}
	return nil
}

// sighted records from where a locked device reports, whenever that changes.
func (d Device) sighted(ctx context.Context, tx *db.Tx, by access.Caller, before string) error {
	if d.LockedAt.IsZero() || d.LastIP == before {
		return nil
	}
	return audit.Record(ctx, tx, by, audit.Event{Action: access.Report, Org: d.Org, Owner: d.User, Object: object(d.ID), Outcome: audit.Done,
		Details: []audit.Detail{audit.Change("locked_seen_at", before, d.LastIP)}})
}
