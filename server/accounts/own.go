package accounts

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// SetNames is an account's own change of its first and last name. What cannot
// be a name changes nothing.
func SetNames(ctx context.Context, tx *db.Tx, by access.Caller, first, last string) error {
	old, err := Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	u := old
	u.FirstName, u.LastName = first, last
	if err := u.normalise(); err != nil {
		return err
	}
	var details []audit.Detail
	if u.FirstName != old.FirstName {
		details = append(details, audit.Change("first_name", old.FirstName, u.FirstName))
	}
	if u.LastName != old.LastName {
		details = append(details, audit.Change("last_name", old.LastName, u.LastName))
	}
	if len(details) == 0 {
		return nil
	}
	if err := audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, object(u.ID), details...); err != nil {
		return err
	}
	u.UpdatedAt = tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("changing the name of account %s: %w", u.ID, err)
	}
	return nil
}
