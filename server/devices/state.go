package devices

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// next is which states SetState may put after which. A deactivated device comes
// back by proving its user again, a deleted one by Undelete; neither is a change
// of state that can be asked for.
var next = map[State][]State{
	Enrolling:       {Waiting, Active, Deleted},
	Waiting:         {Active, Deleted},
	Active:          {Disabled, Deactivated, Decommissioning, Deleted},
	Disabled:        {Active, Deactivated, Deleted},
	Deactivated:     {Deleted},
	Replaced:        {Deleted},
	Decommissioning: {Decommissioned, Deleted},
	Decommissioned:  {Deleted},
}

// SetState moves a device to another state, for a reason that is recorded. Who
// waits for the device's requests hears of it within seconds, and every request
// looks at the state again, on every server. A user can only deactivate a
// device; the rest is for administrators. To delete one needs a reason of 10 to
// 150 characters, and a legal hold forbids it: E1404.
func SetState(ctx context.Context, tx *db.Tx, by access.Caller, id ID, to State, reason string) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	reason = strings.TrimSpace(reason)
	if len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsRune(reason, 0) {
		return errs.New(errs.Invalid, "device.reason.invalid", "n", maxReason)
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Change("state", d.State, to), audit.Note("reason", reason))
	if err != nil {
		return err
	}
	if to != Deactivated {
		if err := d.forAdministrators(by); err != nil {
			return err
		}
	}
	if !slices.Contains(next[d.State], to) {
		return impossible(d, to)
	}
	if to == Deleted {
		return del(ctx, tx, d, reason)
	}
	if err := write(ctx, tx, to, reason, time.Time{}, id); err != nil {
		return err
	}
	if slices.Contains(gone, to) {
		return freeSeat(ctx, tx, d.User)
	}
	return nil
}

// SetStates has an administrator move those of some devices that are in one state
// to another, as SetState does, and returns how many. Those that something else
// became of stay as they are.
func SetStates(ctx context.Context, tx *db.Tx, by access.Caller, ids []ID, from, to State, reason string) (int, error) {
	list, err := inState(ctx, tx, from, ids)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if slices.Contains(gone, to) { // each of them and its user are asked
		for _, d := range list {
			if err := SetState(ctx, tx, by, d.ID, to, reason); err != nil {
				return 0, err
			}
		}
		return len(list), nil
	}
	ids = nil
	for _, d := range list {
		ids = append(ids, d.ID)
		if err := d.forAdministrators(by); err != nil {
			return 0, err
		}
	}
	if !slices.Contains(next[from], to) {
		return 0, impossible(list[0], to)
	}
	if err := recordMoved(ctx, tx, by, list, to, audit.Note("reason", reason)); err != nil {
		return 0, err
	}
	return len(ids), write(ctx, tx, to, reason, time.Time{}, ids...)
}

// inState are those of some devices that are in a state, with what says whose
// they are.
func inState(ctx context.Context, tx *db.Tx, s State, ids []ID) ([]Device, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (d Device, err error) {
		err = row.Scan(&d.ID, &d.Org, &d.User, &d.State)
		return d, err
	}, "SELECT id, org, user_id, state FROM devices WHERE state = $1 AND id IN ("+db.In(len(ids), 2)+") ORDER BY id", append([]any{s}, db.Args(ids)...)...)
	if err != nil {
		return nil, fmt.Errorf("looking for devices that are %s: %w", s, err)
	}
	return list, nil
}

// recordMoved asks whether devices may be moved to a state, and records that they
// are.
func recordMoved(ctx context.Context, tx *db.Tx, by access.Caller, list []Device, to State, why ...audit.Detail) error {
	var events []audit.Event
	for _, d := range list {
		if err := audit.See(by, access.ManageDevices, d.Org, d.User, object(d.ID)); err != nil {
			return err
		}
		events = append(events, audit.Event{Action: access.ManageDevices, Org: d.Org, Owner: d.User, Object: object(d.ID), Outcome: audit.Done,
			Details: append([]audit.Detail{audit.Change("state", d.State, to)}, why...)})
	}
	return audit.Record(ctx, tx, by, events...)
}

// forAdministrators refuses the device's user, who may manage it, what is not
// theirs to do.
func (d Device) forAdministrators(by access.Caller) error {
	if by.Kind == access.UserKind {
		return errs.New(errs.Forbidden, "access.denied").Because(d.denial())
	}
	return nil
}

func (d Device) denial() *audit.Denial {
	return &audit.Denial{Action: access.ManageDevices, Org: d.Org, Owner: d.User, Object: object(d.ID)}
}

func impossible(d Device, to State) error {
	return errs.New(errs.Conflict, "device.state.impossible", "from", string(d.State), "to", string(to))
}

// write writes a state of devices down, and takes away what they could use in the
// one before. A deleted device remembers where it was until purgeAt.
func write(ctx context.Context, tx *db.Tx, to State, reason string, purgeAt time.Time, ids ...ID) error {
	if err := revoke(ctx, tx, to, ids...); err != nil {
		return err
	}
	before := "''"
	if to == Deleted {
		before = "state"
	}
	args := append([]any{to, db.Micros(tx.Now()), reason, db.Micros(purgeAt)}, db.Args(ids)...)
	_, err := tx.Exec(ctx, `UPDATE devices SET state = $1, state_at = $2, state_reason = $3, state_before = `+before+`, purge_at = $4, changed_at = $2,
		inactive_at = 0, noted_at = 0, reset_at = 0 WHERE id IN (`+db.In(len(ids), 5)+")", args...)
	if err != nil {
		return fmt.Errorf("changing the state of %d devices to %s: %w", len(ids), to, err)
	}
	return nil
}

// freeSeat gives the seat of a user back whose last device is gone. The account
// stays, and with it the way to the data that is still there.
func freeSeat(ctx context.Context, tx *db.Tx, user accounts.ID) error {
	left, err := liveOf(ctx, tx, user)
	if err != nil || len(left) > 0 {
		return err
	}
	return accounts.FreeSeat(ctx, tx, user)
}

// The causes why a device is refused though nobody revoked it.
const (
	ByAdministrator = "device"         // it was disabled by itself
	UserDisabled    = "user_disabled"  // its user is: with the user it wakes again
	UserPreserved   = "user_preserved" // likewise
	UserDeleted     = "user_deleted"   // likewise
	UserInactive    = "user"           // its user does not work for another reason
)

// DisabledBy is the cause why a device is refused though nobody revoked it, ""
// when it is not so.
func (d Device) DisabledBy() string {
	switch {
	case d.State == Disabled:
		return ByAdministrator
	case d.State != Active || d.Owner == accounts.Active:
		return ""
	}
	switch d.Owner {
	case accounts.Disabled:
		return UserDisabled
	case accounts.Preserved:
		return UserPreserved
	case accounts.Deleted, accounts.Purged:
		return UserDeleted
	}
	return UserInactive
}

// Works reports whether the device is let in: neither it nor its user was
// stopped.
func (d Device) Works() bool { return d.State == Active && d.Owner == accounts.Active }
