package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// inherited chooses the snapshots of device $1 that it did not make: they are of
// the device that it succeeded.
const inherited = "set_id NOT IN (SELECT id FROM sets WHERE device = $1)"

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
	if err := write(ctx, tx, Replaced, "", time.Time{}, d.ID); err != nil {
		return err
	}
	if err := cancelRequests(ctx, tx, d.ID); err != nil {
		return err
	}
	// With the tokens gone it proves itself again, and is told since when.
	if err := revoke(ctx, tx, Active, d.ID); err != nil {
		return err
	}
	// What it was, it is again when that is taken back.
	if _, err := tx.Exec(ctx, "UPDATE devices SET successor = $2, state_before = $3 WHERE id = $1", d.ID, id, d.State); err != nil {
		return fmt.Errorf("noting the successor of device %s: %w", d.ID, err)
	}
	if err := cancelRestores(ctx, tx, d, wasReplaced); err != nil {
		return err
	}
	if err := relist(ctx, tx, d.ID, id, "seq > $2", 0); err != nil {
		return err
	}
	return offerRestore(ctx, tx, n)
}

// succeeded is the device whose place another one took last, nil when there is
// none or it has gone since.
func succeeded(ctx context.Context, tx *db.Tx, id ID) (*Device, error) {
	d, err := findWhere(ctx, tx, "d.successor = $1 AND d.state = 'replaced' ORDER BY d.state_at DESC LIMIT 1", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking whose place device %s took: %w", id, err)
	}
	return &d, nil
}

// undoSuccession makes before a device of its own again, in the state in which
// it was succeeded and with its snapshots. d goes on with those that it made.
func undoSuccession(ctx context.Context, tx *db.Tx, by access.Caller, d, before Device) (Device, error) {
	to := before.StateBefore
	if to == "" {
		to = Deactivated // it was deleted in between: its user says that it is to go on
	}
	err := audit.Record(ctx, tx, by, audit.Event{Action: access.ManageDevices, Org: before.Org, Owner: before.User, Object: object(before.ID),
		Outcome: audit.Done, Details: []audit.Detail{audit.Change("state", before.State, to), audit.Note("succeeded", d.ID)}})
	if err != nil {
		return Device{}, err
	}
	if err := comeBack(ctx, tx, before); err != nil {
		return Device{}, err
	}
	if err := write(ctx, tx, to, "", time.Time{}, before.ID); err != nil {
		return Device{}, err
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET successor = '' WHERE id = $1", before.ID); err != nil {
		return Device{}, fmt.Errorf("ending the succession of device %s: %w", before.ID, err)
	}
	// The other one waits to be told that nothing is offered to it any more.
	if _, err := tx.Exec(ctx, "UPDATE devices SET changed_at = $2 WHERE id = $1", d.ID, db.Micros(tx.Now())); err != nil {
		return Device{}, fmt.Errorf("ending the succession by device %s: %w", d.ID, err)
	}
	if err := cancelRestores(ctx, tx, d, wasUndone); err != nil {
		return Device{}, err
	}
	_, err = tx.Exec(ctx, "UPDATE snapshots SET signed_as = CASE WHEN signed_as = $2 THEN '' ELSE signed_as END, device = $2 WHERE device = $1 AND "+inherited, d.ID, before.ID)
	if err != nil {
		return Device{}, fmt.Errorf("giving the snapshots of device %s back: %w", before.ID, err)
	}
	if err := noteNewestOf(ctx, tx, d.ID, before.ID); err != nil {
		return Device{}, err
	}
	return Find(ctx, tx, before.ID)
}
