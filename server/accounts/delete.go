package accounts

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
)

// Window is how long a deletion can be undone, that of an account and that of a
// device. A window that was made shorter counts only when the one before has
// passed: whoever is able to delete shall not be able to hurry.
func Window(ctx context.Context, tx *db.Tx) (time.Duration, error) {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return 0, err
	}
	return time.Duration(s.Users.RollbackDays) * 24 * time.Hour, nil
}

// purgeAtOnce bounds a transaction of Purge.
const purgeAtOnce = 50

// Purge ends what was deleted and whose window is over, but not what is on legal
// hold: of an account it leaves the row and its record in the audit. What it was
// called, how it logged in and the keys of its data are gone, so that what the
// vault still has of it cannot be read. Its username stays reserved for a while.
// It returns how many accounts it took; there may be more.
func Purge(ctx context.Context, tx *db.Tx) (int64, error) {
	due, err := db.All(ctx, tx, scan, "SELECT "+columns+` FROM users WHERE state = 'deleted' AND purge_at > 0 AND purge_at <= $1 AND NOT legal_hold
		ORDER BY purge_at LIMIT $2`, db.Micros(tx.Now()), purgeAtOnce)
	if err != nil {
		return 0, fmt.Errorf("looking for accounts to purge: %w", err)
	}
	for _, u := range due {
		if err := purge(ctx, tx, u); err != nil {
			return 0, fmt.Errorf("purging account %s: %w", u.ID, err)
		}
	}
	return int64(len(due)), nil
}

// personal are the tables with what an account has of its own, apart from its
// devices and data.
var personal = []string{"login_sessions", "user_tokens", "one_time_secrets", "password_history", "known_browsers",
	"totp", "recovery_codes", "passkeys", "passkey_ceremonies", "account_requests",
	"activations", "activation_keys", "device_map", "restores", "turns"}

func purge(ctx context.Context, tx *db.Tx, u User) error {
	if err := move(ctx, tx, access.System("purge"), u, Purged, "", false); err != nil {
		return err
	}
	if err := reserve(ctx, tx, u, tx.Now().Add(reservedFor)); err != nil {
		return err
	}
	for _, table := range personal {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE user_id = $1", u.ID); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `UPDATE users SET username = id, username_key = id, email = '', email_key = '', first_name = '', last_name = '',
		search = '', language = '', password = '', public_key = NULL, identity_key = NULL, wrapped_key = NULL, user_cert = NULL,
		profile = NULL, licence = NULL, seat = '', seat_before = '', last_login_at = 0, privacy_on = FALSE WHERE id = $1`, u.ID)
	return err
}

// PurgeNow ends a deleted account before its window is over; that takes two
// administrators, see the package approvals. A legal hold forbids it: E1404.
func PurgeNow(ctx context.Context, tx *db.Tx, by access.Caller, id ID) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := CheckPurge(u); err != nil {
		return err
	}
	if err := manage(ctx, tx, by, u, audit.Change("purge_at", u.PurgeAt, tx.Now())); err != nil {
		return err
	}
	u.PurgeAt = tx.Now()
	if err := purge(ctx, tx, u); err != nil {
		return fmt.Errorf("purging account %s: %w", id, err)
	}
	return nil
}

// CheckPurge says why an account cannot be purged now, nil when it can.
func CheckPurge(u User) error {
	switch {
	case u.State != Deleted || u.Kind != access.UserKind: // an administrator has nothing to purge
		return errs.New(errs.Conflict, "user.state.impossible", "from", string(u.State), "to", string(Purged))
	case u.LegalHold:
		return refusedTo(u, errs.Of(errs.LegalHold))
	}
	return nil
}

// PreservedUsers are the preserved users that a timer may delete: all that are
// not on legal hold.
func PreservedUsers(ctx context.Context, tx *db.Tx) ([]User, error) {
	users, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM users WHERE state = $1 AND NOT legal_hold ORDER BY username_key", Preserved)
	if err != nil {
		return nil, fmt.Errorf("looking for preserved users: %w", err)
	}
	return users, nil
}

// Noted notes that administrators were warned of the end of a preserved user.
func Noted(ctx context.Context, tx *db.Tx, id ID) error {
	if _, err := tx.Exec(ctx, "UPDATE users SET noted_at = $2 WHERE id = $1", id, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("noting a warning about account %s: %w", id, err)
	}
	return nil
}
