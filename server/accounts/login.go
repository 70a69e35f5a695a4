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
	"github.com/backstay/backstay/server/passwords"
)

// Portal is where somebody logs in.
type Portal string

// The portals. Users log in to the first and the last, administrators to the
// console.
const (
	ToPortal  Portal = "portal"
	ToConsole Portal = "console"
	ToClient  Portal = "client"
)

// Kind is the kind of accounts that a portal is for.
func (p Portal) Kind() access.Kind {
	if p == ToConsole {
		return access.AdminKind
	}
	return access.UserKind
}

// maxCandidates is how many accounts under one address a password is tried on.
const maxCandidates = 10

// Identified returns the accounts that an identifier may mean: the one with
// that username, and those with that address, deleted ones left out. It asks
// nobody's permission, and is for finding out who logs in.
func Identified(ctx context.Context, tx *db.Tx, identifier string) ([]User, error) {
	key := orgs.Fold(strings.TrimSpace(identifier))
	if key == "" || !printable(key) {
		return nil, nil
	}
	query, args := "username_key = $1", []any{key}
	if strings.Contains(key, "@") {
		query = "username_key = $1 OR email_key = $1"
	}
	args = append(args, key, maxCandidates)
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM users WHERE state NOT IN ('deleted', 'purged') AND ("+query+`)
		ORDER BY CASE WHEN username_key = $2 THEN 0 ELSE 1 END, username_key LIMIT $3`, args...)
	if err != nil {
		return nil, fmt.Errorf("looking for an account: %w", err)
	}
	defer rows.Close()
	var users []User
	for rows.Next() {
		u, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("looking for an account: %w", err)
		}
		users = append(users, u)
	}
	return users, rows.Err()
}

// HasPassword reports whether the account has a password, temporary or not.
func (u User) HasPassword() bool { return u.password != "" }

// Knows reports whether password is the account's. For an account without one
// it takes as long, and says no; so it does for the zero User.
func (u User) Knows(ctx context.Context, h *passwords.Hasher, password string) (bool, error) {
	return h.Verify(ctx, u.password, password)
}

// NoteLogin records that u logged in to a portal.
func NoteLogin(ctx context.Context, tx *db.Tx, by access.Caller, u User, portal Portal) error {
	_, err := tx.Exec(ctx, "UPDATE users SET last_login_at = $2 WHERE id = $1", u.ID, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("noting a login: %w", err)
	}
	return audit.Record(ctx, tx, u.Caller(by), audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID),
		Outcome: audit.Done, Details: []audit.Detail{audit.Note("portal", portal)}})
}

// SetPassword gives an account a password, whose hash comes from Hasher.Hash:
// its owner, or an administrator, who has it changed at the next login. All
// other sessions and all tokens of the account end.
func SetPassword(ctx context.Context, tx *db.Tx, by access.Caller, id ID, hash string, mustChange bool) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if by.User == u.ID {
		err = audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID), audit.Note("changed", "password"))
	} else {
		err = manage(ctx, tx, by, u, audit.Note("changed", "password"))
	}
	if err != nil {
		return err
	}
	if hash == "" {
		return errs.New(errs.Invalid, "user.password.none")
	}
	keep := ""
	if by.User == u.ID {
		keep = by.Session
	}
	if err := endAll(ctx, tx, u.ID, keep); err != nil {
		return err
	}
	u.password, u.PasswordAt, u.MustChangePassword, u.UpdatedAt = hash, tx.Now(), mustChange, tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("setting the password of account %s: %w", id, err)
	}
	if u.State == Invited {
		return begin(ctx, tx, by, u)
	}
	return nil
}
