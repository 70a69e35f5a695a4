package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// undoWithin is how long a replacement can be taken back.
const undoWithin = 14 * 24 * time.Hour

// Replacement is one that can be taken back.
type Replacement struct {
	At, Until time.Time
	Name      string // of the device before
	Hostname  string // of the computer that was replaced
	OS        string
	Kept      int64 // snapshots that stay with the computer of before, or go back to it
	Moved     int64 // snapshots that the computer of now has made

	// Succession says that the computer of before was another device, which is one
	// of its own again. Both go on.
	Succession bool
}

// Undoable returns the replacement of a device that can be taken back, false
// when there is none.
func Undoable(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (Replacement, bool, error) {
	d, err := View(ctx, tx, by, id)
	if err != nil {
		return Replacement{}, false, err
	}
	was, before, err := undoable(ctx, tx, d)
	if err != nil || was == nil && before == nil {
		return Replacement{}, false, err
	}
	x := Replacement{Succession: before != nil}
	made, after := since, int64(0)
	if x.Succession {
		x.At, x.Name, x.Hostname, x.OS = before.StateAt, before.Name, before.Hardware.Hostname, before.Hardware.OS
		made = "NOT (" + inherited + ") AND seq > $2"
	} else {
		x.At, x.Name, x.Hostname, x.OS, after = was.ended, was.name, was.hardware.Hostname, was.hardware.OS, was.lastSeq
	}
	x.Until = x.At.Add(undoWithin)
	err = tx.QueryRow(ctx, "SELECT CAST(coalesce(sum(CASE WHEN "+made+" THEN 1 ELSE 0 END), 0) AS BIGINT), count(*) FROM snapshots WHERE device = $1 AND state = 'live'",
		id, after).Scan(&x.Moved, &x.Kept)
	if err != nil {
		return Replacement{}, false, fmt.Errorf("counting what undoing on device %s moves: %w", id, err)
	}
	x.Kept -= x.Moved
	return x, true, nil
}

// since chooses the snapshots of device $1 that it made after number $2 of its
// set.
const since = "seq > $2 AND set_id = (SELECT id FROM sets WHERE device = $1 ORDER BY created_at DESC, id DESC LIMIT 1)"

// undoable is what taking back a device's last replacement gives back: the
// computer that it was, or the device that it succeeded. Both are nil when there
// is none of the last 14 days.
func undoable(ctx context.Context, tx *db.Tx, d Device) (was *identity, before *Device, err error) {
	if !replaceable(d) {
		return nil, nil, nil
	}
	list, err := identities(ctx, tx, d.ID)
	if err != nil {
		return nil, nil, err
	}
	recent := func(at time.Time) bool { return tx.Now().Before(at.Add(undoWithin)) }
	if i := slices.IndexFunc(list, func(i identity) bool { return i.why == wasReplaced && !i.undone }); i >= 0 && recent(list[i].ended) {
		was = &list[i]
	}
	before, err = succeeded(ctx, tx, d.ID)
	if err != nil || before == nil || !recent(before.StateAt) || was != nil && was.ended.After(before.StateAt) {
		return was, nil, err
	}
	return nil, before, nil
}

// UndoReplace gives a computer its device back that another one has replaced: it
// backs up again as if nothing had been. The other one becomes a device of its
// own, with the snapshots that it made; it goes on when it is activated again,
// by its key. Where the other one was a device of its own all along, as
// successors are, it simply goes on. What was replaced before that stays so.
// The second is the device that there is more of.
func UndoReplace(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (second Device, err error) {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return Device{}, err
	}
	was, before, err := undoable(ctx, tx, d)
	if err != nil {
		return Device{}, err
	}
	host := ""
	switch {
	case was != nil:
		host = was.hardware.Hostname
		second, err = split(d, tx.Now())
	case before != nil:
		host, second = before.Hardware.Hostname, *before
	}
	if err != nil {
		return Device{}, err
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Note("undo", wasReplaced),
		audit.Change("hostname", d.Hardware.Hostname, host), audit.Note("second", second.ID))
	switch {
	case err != nil:
		return Device{}, err
	case was != nil:
		return undoTakeOver(ctx, tx, by, d, *was, second)
	case before != nil:
		return undoSuccession(ctx, tx, by, d, *before)
	}
	return Device{}, errs.New(errs.Conflict, "device.undo.impossible", "name", d.Name)
}

// undoTakeOver makes d the computer that it was, and second a device for the
// one that it is now.
func undoTakeOver(ctx context.Context, tx *db.Tx, by access.Caller, d Device, old identity, second Device) (_ Device, err error) {
	if err := giveBack(ctx, tx, by, d, old); err != nil {
		return Device{}, err
	}
	if second.Name, err = freeName(ctx, tx, d.User, second.Name, true); err != nil {
		return Device{}, err
	}
	if err := insert(ctx, tx, second); err != nil {
		return Device{}, fmt.Errorf("splitting device %s: %w", d.ID, err)
	}
	if err := writeLock(ctx, tx, second.ID, second.LockedAt); err != nil {
		return Device{}, err
	}
	set, err := uuid.NewV7()
	if err != nil {
		return Device{}, fmt.Errorf("creating a set: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO sets (id, org, user_id, device, created_at) VALUES ($1, $2, $3, $4, $5)",
		set.String(), d.Org, d.User, second.ID, db.Micros(tx.Now()))
	if err != nil {
		return Device{}, fmt.Errorf("creating the set of device %s: %w", second.ID, err)
	}
	if err := relist(ctx, tx, d.ID, second.ID, since, old.lastSeq); err != nil {
		return Device{}, err
	}
	return second, noteNewestOf(ctx, tx, d.ID, second.ID)
}

// split is the computer that a device is now as one of its own. It waits for its
// user: nobody but the computer can be given the secrets.
func split(d Device, now time.Time) (Device, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Device{}, fmt.Errorf("splitting device %s: %w", d.ID, err)
	}
	second := d
	second.ID, second.requestID, second.State, second.CertSerial, second.Cert = ID(id.String()), uuid.NewString(), Deactivated, 0, []byte{}
	second.Replaces, second.RootEpoch, second.CreatedAt = "", 1, now
	return second, nil
}

// giveBack makes a device the computer that it was.
func giveBack(ctx context.Context, tx *db.Tx, by access.Caller, d Device, old identity) error {
	if err := endIdentity(ctx, tx, by, d, wasUndone); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE device_identities SET undone_at = $2 WHERE number = $1", old.number, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("taking back what replaced device %s: %w", d.ID, err)
	}
	name := d.Name
	if orgs.Fold(old.name) != orgs.Fold(d.Name) {
		var err error
		if name, err = freeName(ctx, tx, d.User, old.name, true); err != nil {
			return err
		}
	}
	if old.hardware.OS != d.Hardware.OS {
		d.RootEpoch++
	}
	d.Name, d.Named, d.Hardware, d.System, d.SigningKey, d.Cert, d.CertSerial = name, old.named, old.hardware, old.system, old.signingKey, old.cert, old.certSerial
	d.Choices, d.State, d.requestID, d.ActivatedAt = old.choices, Active, uuid.NewString(), old.activated
	d.Token = old.token
	if err := writeLock(ctx, tx, d.ID, old.locked); err != nil {
		return err
	}
	if err := cancelRequests(ctx, tx, d.ID); err != nil {
		return err
	}
	if err := cancelRestores(ctx, tx, d, wasUndone); err != nil {
		return err
	}
	if err := revoke(ctx, tx, Active, d.ID); err != nil {
		return err
	}
	return d.writeIdentity(ctx, tx)
}

// relist lists snapshots of a device under another one. Their manifests name the
// one that signed them all the same. where is about the device $1 and the
// number $2.
func relist(ctx context.Context, tx *db.Tx, from, to ID, where string, after int64) error {
	_, err := tx.Exec(ctx, "UPDATE snapshots SET signed_as = CASE WHEN signed_as = '' THEN device ELSE signed_as END, device = $3 WHERE device = $1 AND "+where, from, after, to)
	if err != nil {
		return fmt.Errorf("listing the snapshots of device %s under %s: %w", from, to, err)
	}
	return nil
}

func noteNewestOf(ctx context.Context, tx *db.Tx, ids ...ID) error {
	for _, id := range ids {
		if err := noteNewest(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// noteNewest writes down anew which snapshot of a device is the newest.
func noteNewest(ctx context.Context, tx *db.Tx, id ID) error {
	var hash []byte
	var at, complete, bytes, files int64
	var status string
	err := tx.QueryRow(ctx, `SELECT hash, committed_at, status, bytes, files, (SELECT coalesce(max(committed_at), 0) FROM snapshots
			WHERE device = $1 AND state = 'live' AND status = 'complete' AND carried = 0)
		FROM snapshots WHERE device = $1 AND state = 'live' ORDER BY committed_at DESC, number DESC LIMIT 1`, id).
		Scan(&hash, &at, &status, &bytes, &files, &complete)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("looking for the newest snapshot of device %s: %w", id, err)
	}
	short := ""
	if len(hash) == len(backup.Hash{}) {
		short = backup.Hash(hash).Short()
	}
	_, err = tx.Exec(ctx, `UPDATE devices SET last_backup_at = $2, last_snapshot = $3, last_status = $4, stored_bytes = $5, stored_files = $6,
		complete_at = $7 WHERE id = $1`, id, at, short, status, bytes, files, complete)
	if err != nil {
		return fmt.Errorf("noting the newest snapshot of device %s: %w", id, err)
	}
	return nil
}
