package accounts

import (
	"context"
	"fmt"
	"slices"

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
	Disabled  State = "disabled"  // stopped by an administrator, data kept
	Preserved State = "preserved" // gone, data kept
	Deleted   State = "deleted"   // hidden until its window for undoing ends
	Purged    State = "purged"    // data gone
)

// next is which states may follow which.
var next = map[State][]State{
	Pending:   {Invited, Active, Deleted},
	Invited:   {Active, Deleted},
	Active:    {Disabled, Preserved, Deleted},
	Disabled:  {Active, Preserved, Deleted},
	Preserved: {Active, Deleted},
	Deleted:   {Purged},
}

// SetState moves an account to another state, for a reason that is recorded.
// Leaving Active ends its sessions and tokens in the same transaction; its
// devices are refused from then on, since each of their requests looks at the
// owner's state.
func SetState(ctx context.Context, tx *db.Tx, by access.Caller, id ID, to State, reason string) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := manage(ctx, tx, by, u, audit.Change("state", u.State, to), audit.Note("reason", reason)); err != nil {
		return err
	}
	if !slices.Contains(next[u.State], to) {
		return errs.New(errs.Conflict, "user.state.impossible", "from", string(u.State), "to", string(to))
	}
	if to == Active && u.password == "" {
		return errs.New(errs.Conflict, "user.password.none")
	}
	if u.State == Active {
		if err := keepOne(ctx, tx, u); err != nil {
			return err
		}
		if err := endAll(ctx, tx, u.ID, ""); err != nil {
			return err
		}
	}
	u.State, u.StateAt, u.UpdatedAt = to, tx.Now(), tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("changing the state of account %s: %w", id, err)
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
