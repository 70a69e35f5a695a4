package accounts

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// Purpose is what a link or a code that works once is for. One made for one
// purpose is worth nothing for another.
type Purpose string

// The purposes.
const (
	ForActivation   Purpose = "activation"   // a link: set the first password
	ForReset        Purpose = "reset"        // a link: set another password
	ForEmail        Purpose = "email"        // confirm a new address
	ForEmailUndo    Purpose = "email_undo"   // a link: have the old address back
	ForRegistration Purpose = "registration" // a code: confirm a registration
)

// CodeTries is how many wrong tries end a code.
const CodeTries = 5

// codeSpace is how many codes there are: six digits.
const codeSpace = 1_000_000

// NewLink makes the token of a link that works once, within life, and ends
// those of the same purpose that the account had: the newest one counts, but of
// ForEmailUndo all do. data
// is kept with it as JSON, for whoever uses the link; nil for none.
func NewLink(ctx context.Context, tx *db.Tx, p Purpose, id ID, life time.Duration, data any) (token string, err error) {
	token, hash := NewToken("")
	return token, newSecret(ctx, tx, hash, p, id, life, data, 0)
}

func newSecret(ctx context.Context, tx *db.Tx, secret []byte, p Purpose, id ID, life time.Duration, data any, tries int) error {
	text := ""
	if data != nil {
		b, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("making a secret for %s: %w", p, err)
		}
		text = string(b)
	}
	// An address that was changed twice can be had back by the first one, too.
	if p != ForEmailUndo {
		if err := EndSecrets(ctx, tx, id, p); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO one_time_secrets (secret, purpose, user_id, data, tries, created_at, expires_at, used_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0)`,
		secret, p, id, text, tries, db.Micros(tx.Now()), db.Micros(tx.Now().Add(life)))
	if err != nil {
		return fmt.Errorf("making a secret for %s: %w", p, err)
	}
	return nil
}

// EndSecrets ends an account's links and codes of some purposes, of all when
// none is named.
func EndSecrets(ctx context.Context, tx *db.Tx, id ID, purposes ...Purpose) error {
	query, args := "DELETE FROM one_time_secrets WHERE user_id = $1", []any{id}
	if len(purposes) > 0 {
		query += " AND purpose IN (" + db.In(len(purposes), 2) + ")"
		args = append(args, db.Args(purposes)...)
	}
	if _, err := tx.Exec(ctx, query, args...); err != nil {
		return fmt.Errorf("ending the secrets of account %s: %w", id, err)
	}
	return nil
}

// Waits reports whether an account has a link or code for a purpose that can
// still be used.
func Waits(ctx context.Context, tx *db.Tx, p Purpose, id ID) (bool, error) {
	var waits bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM one_time_secrets WHERE user_id = $1 AND purpose = $2 AND used_at = 0 AND expires_at > $3)`,
		id, p, db.Micros(tx.Now())).Scan(&waits)
	if err != nil {
		return false, fmt.Errorf("looking for a link of account %s: %w", id, err)
	}
	return waits, nil
}

// PeekLink returns the account of a link that can still be used, and the data
// that NewLink was given, and uses nothing up: mail scanners follow links. Any
// other link is E1107.
func PeekLink(ctx context.Context, tx *db.Tx, p Purpose, token string) (User, json.RawMessage, error) {
	hash, ok := HashToken("", token)
	if !ok {
		return User{}, nil, errs.Of(errs.LinkExpired)
	}
	return readSecret(ctx, tx, `secret = $1 AND purpose = $2 AND used_at = 0 AND expires_at > $3`, hash, p, db.Micros(tx.Now()))
}

func readSecret(ctx context.Context, tx *db.Tx, where string, args ...any) (User, json.RawMessage, error) {
	var id ID
	var data string
	err := tx.QueryRow(ctx, "SELECT user_id, data FROM one_time_secrets WHERE "+where, args...).Scan(&id, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, nil, errs.Of(errs.LinkExpired)
	}
	if err != nil {
		return User{}, nil, fmt.Errorf("looking for a link: %w", err)
	}
	u, err := Find(ctx, tx, id)
	if err != nil {
		return User{}, nil, err
	}
	if u.State == Deleted || u.State == Purged {
		return User{}, nil, errs.Of(errs.LinkExpired)
	}
	return u, json.RawMessage(data), nil
}

// UseLink uses a link up, and returns what PeekLink does. Of many who try at
// once, one succeeds; the others get E1107. It is used only when tx commits.
func UseLink(ctx context.Context, tx *db.Tx, p Purpose, token string) (User, json.RawMessage, error) {
	hash, ok := HashToken("", token)
	if !ok {
		return User{}, nil, errs.Of(errs.LinkExpired)
	}
	now := db.Micros(tx.Now())
	n, err := tx.Changed(ctx, `UPDATE one_time_secrets SET used_at = $3 WHERE secret = $1 AND purpose = $2 AND used_at = 0 AND expires_at > $3`, hash, p, now)
	if err != nil {
		return User{}, nil, fmt.Errorf("using a link: %w", err)
	}
	if n == 0 {
		return User{}, nil, errs.Of(errs.LinkExpired)
	}
	return readSecret(ctx, tx, `secret = $1`, hash)
}

// NewCode makes a code of six digits that works once, within life, for this
// account and purpose, and ends the one before. data is as for NewLink.
func NewCode(ctx context.Context, tx *db.Tx, ring *keys.Ring, p Purpose, id ID, life time.Duration, data any) (code string, err error) {
	n, err := rand.Int(rand.Reader, big.NewInt(codeSpace))
	if err != nil {
		return "", fmt.Errorf("making a code: %w", err)
	}
	code = fmt.Sprintf("%06d", n)
	return code, newSecret(ctx, tx, hashCode(ring, p, id, code), p, id, life, data, CodeTries)
}

// hashCode is what is kept of a code: nobody who reads the table can try out
// all million without the server's key.
func hashCode(ring *keys.Ring, p Purpose, id ID, code string) []byte {
	return ring.MAC("code", []byte(p), []byte(id), []byte(code))
}

// UseCode uses a code up and does, in the same transaction, what it was asked
// for: with the data that NewCode was given. When effect fails, the code is as
// it was. A wrong code is E1108, which says how many tries are left, and is
// counted whatever comes after; after the last one, as after its life or its
// use, there is no code, and that is E1107. Spaces in what was typed are
// ignored.
func UseCode(ctx context.Context, d *db.DB, ring *keys.Ring, p Purpose, id ID, code string, effect func(tx *db.Tx, data json.RawMessage) error) error {
	code = strings.Join(strings.Fields(code), "")
	var wrong error
	err := d.Write(ctx, func(tx *db.Tx) error {
		wrong = nil
		now := db.Micros(tx.Now())
		n, err := tx.Changed(ctx, `UPDATE one_time_secrets SET used_at = $3
			WHERE secret = $1 AND purpose = $2 AND tries > 0 AND used_at = 0 AND expires_at > $3`, hashCode(ring, p, id, code), p, now)
		if err != nil {
			return fmt.Errorf("using a code: %w", err)
		}
		if n == 0 {
			wrong, err = wrongCode(ctx, tx, p, id)
			return err
		}
		_, data, err := readSecret(ctx, tx, "user_id = $1 AND purpose = $2", id, p)
		if err != nil {
			return err
		}
		return effect(tx, data)
	})
	if err != nil {
		return err
	}
	return wrong
}

// wrongCode counts a wrong try, and returns what the person is told.
func wrongCode(ctx context.Context, tx *db.Tx, p Purpose, id ID) (told, err error) {
	var left int
	err = tx.QueryRow(ctx, `UPDATE one_time_secrets SET tries = tries - 1
		WHERE user_id = $1 AND purpose = $2 AND tries > 0 AND used_at = 0 AND expires_at > $3 RETURNING tries`,
		id, p, db.Micros(tx.Now())).Scan(&left)
	if errors.Is(err, sql.ErrNoRows) {
		return errs.Of(errs.LinkExpired), nil
	}
	if err != nil {
		return nil, fmt.Errorf("counting a wrong code: %w", err)
	}
	return errs.Of(errs.WrongConfirmation, "n", left), nil
}
