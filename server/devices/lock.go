package devices

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	if at.IsZero() {
		if err := d.unlockSame(ctx, tx); err != nil {
			return err
		}
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
// making it another device, or one more, nor when its device has become another
// computer or was deleted.
func lockOn(ctx context.Context, tx *db.Tx, user accounts.ID, h wire.Hardware) (time.Time, error) {
	type lock struct {
		on wire.Hardware
		at time.Time
	}
	locks, err := db.All(ctx, tx, func(row db.Row) (l lock, err error) {
		err = row.Scan(instant{&l.at}, &l.on.MachineID, &l.on.Serial)
		return l, err
	}, "SELECT locked_at, machine_id, serial FROM devices WHERE user_id = $1 AND locked_at > 0", user)
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for locked devices of user %s: %w", user, err)
	}
	former, err := db.All(ctx, tx, func(row db.Row) (l lock, err error) {
		var hardware []byte
		if err := row.Scan(instant{&l.at}, &hardware); err != nil {
			return l, err
		}
		return l, json.Unmarshal(hardware, &l.on)
	}, "SELECT i.locked_at, i.hardware FROM device_identities i JOIN devices d ON d.id = i.device WHERE d.user_id = $1 AND "+shutOut, user)
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for locked computers of user %s: %w", user, err)
	}
	for _, l := range append(locks, former...) {
		if sameComputer(h, l.on) {
			return l.at, nil
		}
	}
	return time.Time{}, nil
}

// shutOut chooses the computers that were replaced while they were locked: they
// stay so. identity.shutOut says the same.
const shutOut = "i.locked_at > 0 AND i.ended_why = 'replaced' AND i.undone_at = 0"

func (i identity) shutOut() bool { return !i.locked.IsZero() && i.why == wasReplaced && !i.undone }

// UnlockFormer takes the lock from a computer that a device was, which stayed
// on it when another one took its place; computer is the number of its
// certificate.
func UnlockFormer(ctx context.Context, tx *db.Tx, by access.Caller, id ID, computer uint64) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	list, err := identities(ctx, tx, id)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(list, func(i identity) bool { return i.certSerial == computer && i.shutOut() })
	if n < 0 {
		return errs.New(errs.Conflict, "device.unlock.not")
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Change("locked", true, false), audit.Note("hostname", list[n].hardware.Hostname))
	if err != nil {
		return err
	}
	if err := d.forAdministrators(by); err != nil {
		return err
	}
	return list[n].unlock(ctx, tx)
}

// unlockSame takes the lock from the computer that d is where it stayed on what d
// was before.
func (d Device) unlockSame(ctx context.Context, tx *db.Tx) error {
	list, err := identities(ctx, tx, d.ID)
	if err != nil {
		return err
	}
	for _, i := range list {
		if !i.shutOut() || !sameComputer(i.hardware, d.Hardware) {
			continue
		}
		if err := i.unlock(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// unlock takes the lock from a computer that a device was.
func (i identity) unlock(ctx context.Context, tx *db.Tx) error {
	if _, err := tx.Exec(ctx, "UPDATE device_identities SET locked_at = 0 WHERE number = $1", i.number); err != nil {
		return fmt.Errorf("unlocking a computer that a device was: %w", err)
	}
	return nil
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

// tried records from where a locked device wants to work that may not.
func (d Device) tried(ctx context.Context, tx *db.Tx, by access.Caller) error {
	if d.LockedAt.IsZero() {
		return nil
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET last_seen_at = $2, last_ip = $3 WHERE id = $1", d.ID, db.Micros(tx.Now()), by.IP); err != nil {
		return fmt.Errorf("noting from where device %s calls: %w", d.ID, err)
	}
	before := d.LastIP
	d.LastIP = by.IP
	return d.sighted(ctx, tx, by, before)
}

// sighted records from where a computer wants to be the device again that was
// replaced while it was locked.
func (i identity) sighted(ctx context.Context, tx *db.Tx, d Device, by access.Caller) error {
	_, err := tx.Exec(ctx, "UPDATE device_identities SET seen_at = $2, seen_ip = $3 WHERE number = $1", i.number, db.Micros(tx.Now()), by.IP)
	if err != nil {
		return fmt.Errorf("noting from where a computer calls that device %s was: %w", d.ID, err)
	}
	if by.IP == i.seenIP {
		return nil
	}
	return audit.Record(ctx, tx, by, audit.Event{Action: access.Report, Org: d.Org, Owner: d.User, Object: object(d.ID), Outcome: audit.Done,
		Details: []audit.Detail{audit.Change("locked_seen_at", i.seenIP, by.IP), audit.Note("hostname", i.hardware.Hostname)}})
}
