package factors

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

const (
	maxPasskeys = 20
	maxName     = 60 // characters
)

// Passkey is a key pair in its owner's device, of which we have the public half.
type Passkey struct {
	ID         string // for addresses and forms
	Name       string // its owner's
	CreatedAt  time.Time
	LastUsedAt time.Time // never: zero

	credential webauthn.Credential
}

// passkeys returns an account's passkeys, the oldest first.
func passkeys(ctx context.Context, tx *db.Tx, id accounts.ID) ([]Passkey, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (p Passkey, err error) {
		var key []byte
		var text string
		var created, used int64
		if err := row.Scan(&key, &p.Name, &text, &created, &used); err != nil {
			return p, err
		}
		p.ID = base64.RawURLEncoding.EncodeToString(key)
		p.CreatedAt, p.LastUsedAt = db.Time(created), db.Time(used)
		err = json.Unmarshal([]byte(text), &p.credential)
		return p, err
	}, "SELECT id, name, credential, created_at, last_used_at FROM passkeys WHERE user_id = $1 ORDER BY created_at, id", id)
	if err != nil {
		return nil, fmt.Errorf("listing the passkeys of account %s: %w", id, err)
	}
	return list, nil
}

// RemovePasskey takes a passkey from the caller's account. Who calls it has
// made sure that the owner is there.
func (f *Factors) RemovePasskey(ctx context.Context, tx *db.Tx, by access.Caller, passkey string) error {
	key, err := base64.RawURLEncoding.Strict().DecodeString(passkey)
	if err != nil {
		return errs.New(errs.NotFound, "factor.passkey.unknown")
	}
	n, err := tx.Changed(ctx, "DELETE FROM passkeys WHERE id = $1 AND user_id = $2", key, by.User)
	if err != nil {
		return fmt.Errorf("removing a passkey: %w", err)
	}
	if n == 0 {
		return errs.New(errs.NotFound, "factor.passkey.unknown")
	}
	if err := f.changed(ctx, tx, by, "passkey_removed", audit.Change("second_factor", ByPasskey, nil), audit.Note("passkey", passkey)); err != nil {
		return err
	}
	return dropCodes(ctx, tx, by.User)
}

// RenamePasskey gives one of the caller's passkeys another name.
func (f *Factors) RenamePasskey(ctx context.Context, tx *db.Tx, by access.Caller, passkey, name string) error {
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(passkey)
	if err != nil {
		return errs.New(errs.NotFound, "factor.passkey.unknown")
	}
	n, err := tx.Changed(ctx, "UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2", key, by.User, name)
	if err != nil {
		return fmt.Errorf("renaming a passkey: %w", err)
	}
	if n == 0 {
		return errs.New(errs.NotFound, "factor.passkey.unknown")
	}
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	return audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID), audit.Note("passkey", passkey), audit.Note("name", name))
}

// cleanName is a passkey's name without what surrounds it.
func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, bad) {
		return "", errs.New(errs.Invalid, "factor.passkey.name", "max", maxName)
	}
	return name, nil
}
