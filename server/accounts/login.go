package accounts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
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

// Cookie is the name of the cookie that holds the token of a portal's session.
func (p Portal) Cookie() string { return "__Host-backstay-" + string(p) }

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
	query := "username_key = $1"
	if strings.Contains(key, "@") {
		query = "username_key = $1 OR email_key = $1"
	}
	return identified(ctx, tx, query, key)
}

func identified(ctx context.Context, tx *db.Tx, where, key string) ([]User, error) {
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM users WHERE state NOT IN ('deleted', 'purged') AND ("+where+`)
		ORDER BY CASE WHEN username_key = $1 THEN 0 ELSE 1 END, username_key LIMIT $2`, key, maxCandidates)
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

// IdentifiedAll is Identified for many identifiers: the accounts that each may
// mean, all of them.
func IdentifiedAll(ctx context.Context, tx *db.Tx, identifiers []string) (map[string][]User, error) {
	written := map[string][]string{} // the identifiers, by what is looked for
	for _, identifier := range identifiers {
		key := orgs.Fold(strings.TrimSpace(identifier))
		if key != "" && printable(key) && !slices.Contains(written[key], identifier) {
			written[key] = append(written[key], identifier)
		}
	}
	all := map[string][]User{}
	const atOnce = 250
	for part := range slices.Chunk(slices.Sorted(maps.Keys(written)), atOnce) {
		args := db.Args(part)
		list, err := db.All(ctx, tx, scan, "SELECT "+columns+` FROM users WHERE state NOT IN ('deleted', 'purged')
			AND (username_key IN (`+db.In(len(part), 1)+") OR email_key IN ("+db.In(len(part), len(part)+1)+"))", append(args, args...)...)
		if err != nil {
			return nil, fmt.Errorf("looking for accounts: %w", err)
		}
		for _, u := range list {
			keys := []string{orgs.Fold(u.Username), orgs.Fold(u.Email)}
			for _, key := range slices.Compact(keys) {
				if _, asked := slices.BinarySearch(part, key); !asked {
					continue // it is another part's to say
				}
				for _, identifier := range written[key] {
					all[identifier] = append(all[identifier], u)
				}
			}
		}
	}
	return all, nil
}

// OfAddress returns the accounts with an e-mail address, deleted ones left out,
// at most so many as Identified.
func OfAddress(ctx context.Context, tx *db.Tx, email string) ([]User, error) {
	key := orgs.Fold(strings.TrimSpace(email))
	if key == "" || !printable(key) {
		return nil, nil
	}
	return identified(ctx, tx, "email_key = $1", key)
}

// NoteLogin records that u logged in to a portal.
func NoteLogin(ctx context.Context, tx *db.Tx, by access.Caller, u User, portal Portal, details ...audit.Detail) error {
	_, err := tx.Exec(ctx, "UPDATE users SET last_login_at = $2 WHERE id = $1", u.ID, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("noting a login: %w", err)
	}
	return audit.Record(ctx, tx, u.Caller(by), audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID),
		Outcome: audit.Done, Details: append(LoginDetails(by, portal), details...)})
}

// LoginDetails are what every record of an attempt to log in has: where it was,
// and at which device.
func LoginDetails(from access.Caller, portal Portal) []audit.Detail {
	details := []audit.Detail{audit.Note("portal", portal)}
	if from.Device != "" {
		details = append(details, audit.Note("device", from.Device))
	}
	return details
}

// SetLock notes until when too many failures keep an account from logging in,
// the zero time for no longer. Package signin decides it; here it is shown.
func SetLock(ctx context.Context, tx *db.Tx, id ID, until time.Time) error {
	return set1(ctx, tx, id, "locked_until", db.Micros(until))
}

// SetFactorFrom notes from when a second factor is demanded of an account.
func SetFactorFrom(ctx context.Context, tx *db.Tx, id ID, from time.Time) error {
	return set1(ctx, tx, id, "second_factor_from", db.Micros(from))
}

// MustChange has an account set another password before anything else.
func MustChange(ctx context.Context, tx *db.Tx, id ID) error {
	return set1(ctx, tx, id, "must_change_password", true)
}

// set1 sets one column, which is no change that anybody asked for.
func set1(ctx context.Context, tx *db.Tx, id ID, column string, value any) error {
	if _, err := tx.Exec(ctx, "UPDATE users SET "+column+" = $2 WHERE id = $1", id, value); err != nil {
		return fmt.Errorf("setting %s of account %s: %w", column, id, err)
	}
	return nil
}
