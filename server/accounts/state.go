package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// State says where an account is in its life.
type State string

// The states. Only an active account can log in and back up.
const (
	Pending   State = "pending"   // registered, the address not confirmed
	Invited   State = "invited"   // made, no password yet
	Active    State = "active"    // works
	Disabled  State = "disabled"  // stopped by an administrator, data and seat kept
	Preserved State = "preserved" // gone, data kept on a seat of another kind
	Deleted   State = "deleted"   // hidden until its window for undoing ends
	Purged    State = "purged"    // nothing left but that it was
)

// rules are what a step of the table asks for.
type rules struct {
	password bool // there is one to log in with
	reason   bool // of 10 to 150 characters
	release  bool // not under a legal hold
	user     bool // no administrator, who owns no data
	undo     bool // only by Undelete, to where the account was
	window   bool // only by the purge, when the window for undoing is over
}

// steps is the life of an account: which state may follow which, and on what
// conditions. What a step does beside, move does for all of them: it ends what
// is logged in, moves the seat and writes the record. Devices follow without
// being touched: each of their requests looks at its owner's state, so that
// all wake with the owner but those that were disabled by themselves.
var steps = map[State]map[State]rules{
	Pending:   {Invited: {}, Active: {password: true}, Deleted: {reason: true, release: true}},
	Invited:   {Active: {password: true}, Deleted: {reason: true, release: true}},
	Active:    {Disabled: {}, Preserved: {user: true}, Deleted: {reason: true, release: true}},
	Disabled:  {Active: {password: true}, Preserved: {user: true}, Deleted: {reason: true, release: true}},
	Preserved: {Active: {password: true}, Deleted: {reason: true, release: true}},
	Deleted: {Invited: {undo: true}, Active: {undo: true}, Disabled: {undo: true}, Preserved: {undo: true},
		Purged: {window: true, release: true}},
}

// The bounds of a reason that must be given, and of one that may.
const (
	minReason = 10
	maxReason = 150
)

// CheckReason refuses a reason for what is hard to undo that has not from 10 to
// 150 characters.
func CheckReason(reason string) error {
	if reason = strings.TrimSpace(reason); !explains(reason) || utf8.RuneCountInString(reason) < minReason {
		return badReason()
	}
	return nil
}

func badReason() error {
	return errs.New(errs.Invalid, "user.reason.invalid", "min", minReason, "max", maxReason)
}

// explains reports whether a text can stand as a reason.
func explains(reason string) bool {
	return utf8.RuneCountInString(reason) <= maxReason && printable(reason)
}

// Disable stops an account: nobody logs in by it and its devices are refused,
// from their next request on.
func Disable(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	return SetState(ctx, tx, by, id, Disabled, reason)
}

// Activate lets a disabled or preserved account work again, and with it the
// devices that were not disabled by themselves. A preserved one needs a free
// seat when it had one before: without, it is E1301 and the account stays
// preserved.
func Activate(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	return SetState(ctx, tx, by, id, Active, reason)
}

// Preserve keeps the data of somebody who is gone: the active seat is free at
// once, and one for preserved users taken, E1301 when there is none.
func Preserve(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	return SetState(ctx, tx, by, id, Preserved, reason)
}

// Delete hides an account, for a reason of 10 to 150 characters, until the
// window for undoing is over; then it is purged. A legal hold forbids it: E1404.
func Delete(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	return SetState(ctx, tx, by, id, Deleted, reason)
}

// Undelete brings a deleted account back as it was, with its devices. The seat
// it had must be free: E1301. After the window there is nothing to bring back.
func Undelete(ctx context.Context, tx *db.Tx, by access.Caller, id ID, reason string) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	return move(ctx, tx, by, u, u.StateBefore, reason, true)
}

// SetState moves an account to another state, as far as the table of steps
// allows it. The reason is recorded.
func SetState(ctx context.Context, tx *db.Tx, by access.Caller, id ID, to State, reason string) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	return move(ctx, tx, by, u, to, reason, false)
}

// begin makes an invited account active that got its password. It is nobody's
// decision but follows, whoever by is.
func begin(ctx context.Context, tx *db.Tx, by access.Caller, u User) error {
	from := access.System("first password")
	from.IP, from.RequestID = by.IP, by.RequestID
	return move(ctx, tx, from, u, Active, "", false)
}

// move is the one place where an account changes its state.
func move(ctx context.Context, tx *db.Tx, by access.Caller, u User, to State, reason string, undo bool) error {
	reason = strings.TrimSpace(reason)
	old := u
	if err := MayManage(by, u); err != nil {
		return err
	}
	if err := u.may(tx.Now(), to, reason, undo); err != nil {
		return refusedTo(u, err)
	}
	if err := keepOne(ctx, tx, u); err != nil {
		return err
	}
	if err := moveSeat(ctx, tx, &u, to); err != nil {
		return refusedTo(u, err)
	}
	if to != Active {
		if err := end(ctx, tx, by, u.ID, to); err != nil {
			return err
		}
	}
	u.State, u.StateAt, u.StateReason, u.UpdatedAt = to, tx.Now(), reason, tx.Now()
	u.StateBefore, u.PurgeAt, u.NotedAt = "", time.Time{}, time.Time{}
	if to == Deleted {
		u.StateBefore = old.State
		window, err := Window(ctx, tx)
		if err != nil {
			return err
		}
		u.PurgeAt = tx.Now().Add(window)
	}
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("changing the state of account %s: %w", u.ID, err)
	}
	details := []audit.Detail{audit.Change("state", old.State, to), audit.Note("reason", reason)}
	if u.Seat == old.Seat {
		return manage(ctx, tx, by, u, details...)
	}
	if err := recount(ctx, tx, u.Licence); err != nil {
		return err
	}
	return manage(ctx, tx, by, u, append(details, audit.Change("seat", old.Seat, u.Seat))...)
}

// refusedTo makes a refusal with a code, such as that of a legal hold, one that
// is recorded.
func refusedTo(u User, err error) error {
	e := errs.Find(err)
	if e == nil || e.Code == "" {
		return err
	}
	denial := &audit.Denial{Action: access.ManageUsers, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID)}
	return e.Because(errors.Join(e.Err, denial))
}

// end ends what an account could come in by, when it is not active any more. The
// link that undoes a change of the address stays good for when it is again.
func end(ctx context.Context, tx *db.Tx, by access.Caller, id ID, to State) error {
	if err := endAll(ctx, tx, id, ""); err != nil {
		return err
	}
	if err := EndSecrets(ctx, tx, id, ForActivation, ForReset, ForEmail, ForRegistration); err != nil {
		return err
	}
	if to == Deleted {
		return closeRequests(ctx, tx, by, id, requestDone)
	}
	return nil
}

// may says why an account may not take a step, nil when it may.
func (u User) may(now time.Time, to State, reason string, undo bool) error {
	r, ok := steps[u.State][to]
	switch {
	case !ok, r.user && u.Kind != access.UserKind, r.undo != undo, r.window && (u.PurgeAt.IsZero() || now.Before(u.PurgeAt)):
		return errs.New(errs.Conflict, "user.state.impossible", "from", string(u.State), "to", string(to))
	case r.release && u.LegalHold:
		return errs.Of(errs.LegalHold)
	case r.undo && !now.Before(u.PurgeAt):
		return errs.New(errs.Gone, "user.undelete.late")
	case r.reason && CheckReason(reason) != nil, !explains(reason):
		return badReason()
	case r.password && u.password == "":
		return errs.New(errs.Conflict, "user.password.none")
	}
	return nil
}

// keepOne refuses to take away u when it is the last who can administer the
// server.
func keepOne(ctx context.Context, tx *db.Tx, u User) error {
	if u.Kind != access.AdminKind || u.Role != access.ServerAdmin || u.State != Active {
		return nil
	}
	var others int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM users WHERE kind = $1 AND role = $2 AND state = $3 AND id <> $4`,
		access.AdminKind, access.ServerAdmin, Active, u.ID).Scan(&others)
	if err != nil {
		return fmt.Errorf("counting administrators: %w", err)
	}
	if others == 0 {
		return errs.New(errs.Conflict, "user.administrator.last")
	}
	return nil
}
