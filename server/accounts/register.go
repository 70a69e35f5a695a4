package accounts

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// Tidy brings the fields into the form in which Create keeps them, and refuses
// what cannot be one, or what nobody registers under. It asks the database
// nothing, and so tells nobody which accounts there are.
func (n *New) Tidy() error {
	u := User{Kind: n.Kind, Role: n.Role, Username: n.Username, Email: n.Email, FirstName: n.FirstName, LastName: n.LastName, Language: n.Language}
	if err := u.normalise(); err != nil {
		return err
	}
	if isOurs(u.Username) {
		return errs.New(errs.Invalid, "user.username.reserved", "username", u.Username)
	}
	// Under the address of somebody else they would get what is mailed to who
	// forgot the password and types the address.
	if strings.Contains(u.Username, "@") && orgs.Fold(u.Username) != orgs.Fold(u.Email) {
		return errs.New(errs.Invalid, "user.username.address")
	}
	n.Username, n.Email, n.FirstName, n.LastName = u.Username, u.Email, u.FirstName, u.LastName
	return nil
}

// DropPending deletes the registrations of an address that wait for their code:
// somebody begins anew.
func DropPending(ctx context.Context, tx *db.Tx, by access.Caller, email string) error {
	old, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM users WHERE email_key = $1 AND state = $2", orgs.Fold(email), Pending)
	if err != nil {
		return fmt.Errorf("looking for registrations: %w", err)
	}
	for _, u := range old {
		if err := dropPending(ctx, tx, by, u); err != nil {
			return err
		}
	}
	return nil
}

// dropPending deletes a registration, of which there is nothing to keep.
func dropPending(ctx context.Context, tx *db.Tx, by access.Caller, u User) error {
	if err := manage(ctx, tx, by, u, audit.Change("state", u.State, nil)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM users WHERE id = $1", u.ID); err != nil {
		return fmt.Errorf("deleting registration %s: %w", u.ID, err)
	}
	return recount(ctx, tx, u.Licence)
}
