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
	if err := write(ctx, tx, d, to, reason, time.Time{}); err != nil {
		return err
	}
	if slices.Contains(gone, to) {
		return freeSeat(ctx, tx, d.User)
	}
	return nil
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

// write writes a state down, and takes away what a device could use in the one
// before. A deleted device remembers where it was until purgeAt.
func write(ctx context.Context, tx *db.Tx, d Device, to State, reason string, purgeAt time.Time) error {
	if err := revoke(ctx, tx, d.ID, to); err != nil {
		return err
	}
	before := State("")
	if to == Deleted {
		before = d.State
	}
	_, err := tx.Exec(ctx, `UPDATE devices SET state = $2, state_at = $3, state_reason = $4, state_before = $5, purge_at = $6, changed_at = $3,
		inactive_at = 0, noted_at = 0, reset_at = 0 WHERE id = $1`, d.ID, to, db.Micros(tx.Now()), reason, before, db.Micros(purgeAt))
	if err != nil {
		return fmt.Errorf("changing the state of device %s: %w", d.ID, err)
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
