package devices

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Delete hides a device and its snapshots, for a reason of 10 to 150 characters,
// until the window for undoing is over, the one of users; then it is purged.
// With a user's last device the seat is free. A legal hold on the user forbids
// it: E1404.
func Delete(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	return SetState(ctx, tx, by, id, Deleted, reason)
}

// del is what SetState does to delete a device, when the caller may.
func del(ctx context.Context, tx *db.Tx, d Device, reason string) error {
	if err := accounts.CheckReason(reason); err != nil {
		return err
	}
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return err
	}
	switch {
	case u.LegalHold:
		return errs.Of(errs.LegalHold).Because(d.denial())
	case u.State == accounts.Deleted || u.State == accounts.Purged:
		return errs.New(errs.Conflict, "device.delete.user") // they go, and come back, as one
	}
	window, err := accounts.Window(ctx, tx)
	if err != nil {
		return err
	}
	if err := write(ctx, tx, Deleted, reason, tx.Now().Add(window), d.ID); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "DELETE FROM device_requests WHERE device = $1 AND done_at = 0", d.ID)
	if err != nil {
		return fmt.Errorf("withdrawing the requests to device %s: %w", d.ID, err)
	}
	return freeSeat(ctx, tx, d.User)
}

// Undelete brings a deleted device back as it was, with its snapshots. Its user
// must be there, and a seat free when the user gave theirs back: E1301. A name
// that another device took meanwhile gets a number.
func Undelete(ctx context.Context, tx *db.Tx, by access.Caller, id ID) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Change("state", d.State, d.StateBefore))
	if err != nil {
		return err
	}
	if err := d.forAdministrators(by); err != nil {
		return err
	}
	switch {
	case d.State != Deleted || d.StateBefore == "":
		return impossible(d, Active)
	case d.Owner == accounts.Deleted || d.Owner == accounts.Purged:
		return errs.New(errs.Conflict, "device.undelete.user")
	case !tx.Now().Before(d.PurgeAt):
		return errs.New(errs.Gone, "device.undelete.late")
	}
	if !slices.Contains(gone, d.StateBefore) {
		if err := comeBack(ctx, tx, d); err != nil {
			return err
		}
	}
	return write(ctx, tx, d.StateBefore, "", time.Time{}, d.ID)
}

// comeBack gives a device what it needs to count again: a name, and the seat.
func comeBack(ctx context.Context, tx *db.Tx, d Device) error {
	name, err := freeName(ctx, tx, d.User, d.Name, true)
	if err != nil {
		return err
	}
	if name != d.Name {
		d.Name = name
		if err := writeName(ctx, tx, d); err != nil {
			return err
		}
	}
	err = accounts.ReturnSeat(ctx, tx, d.User)
	if e := errs.Find(err); e != nil && e.Code != "" {
		return e.Because(d.denial())
	}
	return err
}

// purgeAtOnce bounds a transaction of Purge.
const purgeAtOnce = 500

// Purge ends deleted devices whose window is over, but not those of users on
// legal hold, and blanks the devices of users that are purged: what is left says
// that they were, and gives what was stored its tombstones. It returns how many.
func Purge(ctx context.Context, tx *db.Tx) (int64, error) {
	due, err := db.All(ctx, tx, scanOne, "SELECT "+columns+` FROM devices d JOIN users u ON u.id = d.user_id
		WHERE d.state = 'deleted' AND d.purge_at > 0 AND d.purge_at <= $1 AND NOT u.legal_hold AND u.state <> 'purged'
		ORDER BY d.purge_at, d.id LIMIT $2`, db.Micros(tx.Now()), purgeAtOnce)
	if err != nil {
		return 0, fmt.Errorf("looking for devices to purge: %w", err)
	}
	for _, d := range due {
		err := audit.Check(ctx, tx, access.System("purge"), access.ManageDevices, d.Org, d.User, object(d.ID), audit.Change("state", d.State, Purged))
		if err == nil {
			_, err = blank(ctx, tx, "($1)", d.ID)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(due) > 0 {
		return int64(len(due)), nil
	}
	return blank(ctx, tx, `(SELECT d.id FROM devices d JOIN users u ON u.id = d.user_id
		WHERE u.state = 'purged' AND d.state <> 'purged' ORDER BY d.id LIMIT $1)`, purgeAtOnce)
}

// blank purges the devices that chosen chooses.
func blank(ctx context.Context, tx *db.Tx, chosen string, arg any) (int64, error) {
	for _, table := range []string{"device_tokens", "device_challenges", "device_requests"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE device IN "+chosen, arg); err != nil {
			return 0, fmt.Errorf("purging devices: %w", err)
		}
	}
	// Their certificates stay: snapshots may be listed under another device.
	_, err := tx.Exec(ctx, "UPDATE device_identities SET name = '', hardware = '{}', choices = '' WHERE device IN "+chosen, arg)
	if err != nil {
		return 0, fmt.Errorf("purging devices: %w", err)
	}
	n, err := tx.Changed(ctx, `UPDATE devices SET state = 'purged', state_at = $2, state_reason = '', state_before = '', purge_at = 0,
		name = id, name_key = id, names = '', search = '', machine_id = '', serial = '', hostname = '', os_user = '', os_home = '', folders = '',
		choices = '', last_ip = '', status = '', status_code = '', progress = '', next_run_at = 0, locked_at = 0, inactive_at = 0, noted_at = 0,
		changed_at = $2 WHERE id IN `+chosen, arg, db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("purging devices: %w", err)
	}
	return n, nil
}
