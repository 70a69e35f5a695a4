package accounts

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
)

// HasPassword reports whether the account has a password, temporary or not.
func (u User) HasPassword() bool { return u.password != "" }

// Knows reports whether password is the account's. For an account without one
// it takes as long, and says no; so it does for the zero User.
func (u User) Knows(ctx context.Context, h *passwords.Hasher, password string) (bool, error) {
	return h.Verify(ctx, u.password, password)
}

// SetPassword gives an account a password, whose hash comes from Hasher.Hash:
// its owner, or an administrator, who has it changed at the next login. All
// other sessions, all tokens, all links for a password of the account and all
// activations of computers that were begun with the password before end.
func SetPassword(ctx context.Context, tx *db.Tx, by access.Caller, id ID, hash string, mustChange bool) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if by.User == u.ID {
		err = audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID), audit.Note("changed", "password"))
	} else if err = KeepOut(by, u); err == nil {
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
	if err := endBegun(ctx, tx, u.ID); err != nil {
		return err
	}
	if err := EndSecrets(ctx, tx, u.ID, ForReset, ForActivation); err != nil {
		return err
	}
	u.password, u.PasswordAt, u.TemporaryUntil = hash, tx.Now(), time.Time{}
	u.MustChangePassword, u.UpdatedAt = mustChange, tx.Now()
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("setting the password of account %s: %w", id, err)
	}
	if u.State == Invited {
		return begin(ctx, tx, by, u)
	}
	return nil
}

// Remember keeps the hash of an account's password, with those of the ones
// before, n in all: none of them is to come back.
func Remember(ctx context.Context, tx *db.Tx, id ID, n int) error {
	if n > 0 {
		_, err := tx.Exec(ctx, `INSERT INTO password_history (user_id, password, created_at)
			SELECT id, password, $2 FROM users WHERE id = $1 AND password <> '' AND temporary_until = 0`, id, db.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("remembering the password of account %s: %w", id, err)
		}
	}
	_, err := tx.Exec(ctx, `DELETE FROM password_history WHERE user_id = $1 AND number NOT IN (
		SELECT number FROM password_history WHERE user_id = $1 ORDER BY number DESC LIMIT $2)`, id, n)
	if err != nil {
		return fmt.Errorf("forgetting passwords of account %s: %w", id, err)
	}
	return nil
}

// Remembered returns the hashes that Remember kept, the newest n.
func Remembered(ctx context.Context, tx *db.Tx, id ID, n int) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT password FROM password_history WHERE user_id = $1 ORDER BY number DESC LIMIT $2", id, n)
	if err != nil {
		return nil, fmt.Errorf("reading the earlier passwords of account %s: %w", id, err)
	}
	defer rows.Close()
	var hashes []string
	for rows.Next() {
		var hash string
		if err := rows.Scan(&hash); err != nil {
			return nil, fmt.Errorf("reading the earlier passwords of account %s: %w", id, err)
		}
		hashes = append(hashes, hash)
	}
	return hashes, rows.Err()
}
