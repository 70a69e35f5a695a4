package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

// reservedFor is how long a username that was given up, or whose account was
// purged, is nobody else's: mails and records still speak of it.
const reservedFor = 90 * 24 * time.Hour

// ours are usernames that nobody registers under: they sound as if we were
// speaking. An administrator may give them.
var ours = []string{"admin", "administrator", "root", "system"}

// isOurs reports whether a username reads like one of ours, in full width too.
func isOurs(username string) bool {
	return slices.Contains(ours, orgs.Fold(norm.NFKC.String(username)))
}

// freeUsername refuses a username that another account has or keeps.
func freeUsername(ctx context.Context, tx *db.Tx, u User) error {
	key := orgs.Fold(u.Username)
	if u.State == Pending && isOurs(u.Username) {
		return errs.New(errs.Invalid, "user.username.reserved", "username", u.Username)
	}
	var others int
	err := tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM users WHERE username_key = $1 AND id <> $2)
		+ (SELECT count(*) FROM reserved_usernames WHERE username_key = $1 AND user_id <> $2 AND until > $3)`,
		key, u.ID, db.Micros(tx.Now())).Scan(&others)
	if err != nil {
		return fmt.Errorf("looking for username %q: %w", u.Username, err)
	}
	if others > 0 {
		return errs.New(errs.Conflict, "user.username.taken", "username", u.Username)
	}
	return nil
}

// freeEmail refuses an address that another account has, where the settings
// forbid to share them.
func freeEmail(ctx context.Context, tx *db.Tx, u User) error {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	if s.Registration.SharedEmails || u.Email == "" {
		return nil
	}
	var others int
	err = tx.QueryRow(ctx, `SELECT count(*) FROM users WHERE email_key = $1 AND id <> $2 AND state NOT IN ('deleted', 'purged')`,
		orgs.Fold(u.Email), u.ID).Scan(&others)
	if err != nil {
		return fmt.Errorf("looking for an address: %w", err)
	}
	if others > 0 {
		return errs.New(errs.Conflict, "user.email.taken")
	}
	return nil
}

// reserve keeps a username for its owner until then.
func reserve(ctx context.Context, tx *db.Tx, u User, until time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO reserved_usernames (username_key, user_id, until) VALUES ($1, $2, $3)
		ON CONFLICT (username_key) DO UPDATE SET user_id = excluded.user_id, until = excluded.until`,
		orgs.Fold(u.Username), u.ID, db.Micros(until))
	if err != nil {
		return fmt.Errorf("reserving username %q: %w", u.Username, err)
	}
	return nil
}
