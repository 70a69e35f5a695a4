package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	Kept      int64 // snapshots that the device keeps
	Moved     int64 // snapshots that the computer of now takes with it
}

// Undoable returns the replacement of a device that can be taken back, false
// when there is none.
func Undoable(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (Replacement, bool, error) {
	d, err := View(ctx, tx, by, id)
	if err != nil {
		return Replacement{}, false, err
	}
	i, ok, err := undoable(ctx, tx, d)
	if err != nil || !ok {
		return Replacement{}, false, err
	}
	x := Replacement{At: i.ended, Until: i.ended.Add(undoWithin), Name: i.name, Hostname: i.hardware.Hostname, OS: i.hardware.OS}
	err = tx.QueryRow(ctx, "SELECT CAST(coalesce(sum(CASE WHEN "+since+" THEN 1 ELSE 0 END), 0) AS BIGINT), count(*) FROM snapshots WHERE device = $1 AND state = 'live'",
		id, i.lastSeq).Scan(&x.Moved, &x.Kept)
	if err != nil {
		return Replacement{}, false, fmt.Errorf("counting what undoing on device %s moves: %w", id, err)
	}
	x.Kept -= x.Moved
	return x, true, nil
}

// since chooses the snapshots of device $1 that it made after number $2 of its
// set.
const since = "seq > $2 AND set_id = (SELECT id FROM sets WHERE device = $1 ORDER BY created_at DESC, id DESC LIMIT 1)"

func undoable(ctx context.Context, tx *db.Tx, d Device) (identity, bool, error) {
	if !replaceable(d) {
		return identity{}, false, nil
	}
	list, err := identities(ctx, tx, d.ID)
	for _, i := range list {
		if i.why == wasReplaced && !i.undone {
			return i, err == nil && tx.Now().Before(i.ended.Add(undoWithin)), err
		}
	}
	return identity{}, false, err
}

// UndoReplace gives a computer its device back that another one has replaced: it
// backs up again as if nothing had been. The other one becomes a device of its
// own, with the snapshots that it made; it goes on when it is activated again,
// by its key. What was replaced before that stays so.
func UndoReplace(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (second Device, err error) {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return Device{}, err
	}
	old, ok, err := undoable(ctx, tx, d)
	if err != nil {
		return Device{}, err
	}
	second, err = split(d, tx.Now())
	if err != nil {
		return Device{}, err
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Note("undo", wasReplaced),
		audit.Change("hostname", d.Hardware.Hostname, old.hardware.Hostname), audit.Note("second", second.ID))
	if err != nil {
		return Device{}, err
	}
	if !ok {
		return Device{}, errs.New(errs.Conflict, "device.undo.impossible", "name", d.Name)
	}
	if err := giveBack(ctx, tx, by, d, old); err != nil {
		return Device{}, err
	}
	if second.Name, err = freeName(ctx, tx, d.User, second.Name, true); err != nil {
		return Device{}, err
	}
	if err := insert(ctx, tx, second); err != nil {
		return Device{}, fmt.Errorf("splitting device %s: %w", id, err)
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
	if err := relist(ctx, tx, id, second.ID, since, old.lastSeq); err != nil {
		return Device{}, err
	}
	for _, id := range []ID{id, second.ID} {
		if err := noteNewest(ctx, tx, id); err != nil {
			return Device{}, err
		}
	}
	return second, nil
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
	if err := cancelRequests(ctx, tx, d.ID); err != nil {
		return err
	}
	if err := endRestores(ctx, tx, d.ID); err != nil {
		return err
	}
	if err := revoke(ctx, tx, d.ID, Active); err != nil {
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

// noteNewest writes down anew which snapshot of a device is the newest.
func noteNewest(ctx context.Context, tx *db.Tx, id ID) error {
	var hash []byte
	var at, complete, bytes, files int64
	var status string
	err := tx.QueryRow(ctx, `SELECT hash, committed_at, status, bytes, files, (SELECT coalesce(max(committed_at), 0) FROM snapshots
			WHERE device = $1 AND state = 'live' AND status = 'complete')
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

// succeed ends a device whose successor has its first complete backup: its
// snapshots are the successor's from here on, and nobody was without protection
// in between.
func succeed(ctx context.Context, tx *db.Tx, id ID) error {
	n, err := Find(ctx, tx, id)
	if err != nil || n.Replaces == "" {
		return err
	}
	d, err := Find(ctx, tx, n.Replaces)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET replaces = '' WHERE id = $1", id); err != nil {
		return fmt.Errorf("ending what device %s replaces: %w", id, err)
	}
	if !replaceable(d) && d.State != Disabled {
		return nil // it is gone already
	}
	err = audit.Record(ctx, tx, access.System("succession"), audit.Event{Action: access.ManageDevices, Org: d.Org, Owner: d.User, Object: object(d.ID),
		Outcome: audit.Done, Details: []audit.Detail{audit.Change("state", d.State, Replaced), audit.Note("successor", id)}})
	if err != nil {
		return err
	}
	if err := write(ctx, tx, d, Replaced, "", time.Time{}); err != nil {
		return err
	}
	if err := cancelRequests(ctx, tx, d.ID); err != nil {
		return err
	}
	// With the tokens gone it proves itself again, and is told since when.
	if err := revoke(ctx, tx, d.ID, Active); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET successor = $2 WHERE id = $1", d.ID, id); err != nil {
		return fmt.Errorf("noting the successor of device %s: %w", d.ID, err)
	}
	if err := endRestores(ctx, tx, d.ID); err != nil {
		return err
	}
	if err := relist(ctx, tx, d.ID, id, "seq > $2", 0); err != nil {
		return err
	}
	return offerRestore(ctx, tx, n)
}
