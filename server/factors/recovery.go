package factors

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

const (
	recoveryCodes = 10
	recoverySize  = 12 // characters of 5 bits: 60 bits
	recoveryGroup = 4
)

// crockford has no letter that is read as a digit.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewRecoveryCodes makes the caller ten codes and kills those of before. They
// are to be shown this once: what is stored cannot give them back.
func (f *Factors) NewRecoveryCodes(ctx context.Context, tx *db.Tx, by access.Caller) ([]string, error) {
	if err := f.changed(ctx, tx, by, "codes_renewed", audit.Note("recovery_codes", "new")); err != nil {
		return nil, err
	}
	had, err := Of(ctx, tx, by.User)
	if err != nil {
		return nil, err
	}
	if !had.Any() {
		return nil, errs.New(errs.Conflict, "factor.recovery.alone")
	}
	if _, err := tx.Exec(ctx, "DELETE FROM recovery_codes WHERE user_id = $1", by.User); err != nil {
		return nil, fmt.Errorf("deleting the recovery codes of account %s: %w", by.User, err)
	}
	codes := make([]string, recoveryCodes)
	for i := range codes {
		code := newRecovery()
		_, err := tx.Exec(ctx, "INSERT INTO recovery_codes (code, user_id, created_at, used_at) VALUES ($1, $2, $3, 0)",
			f.hash(by.User, code), by.User, db.Micros(tx.Now()))
		if err != nil {
			return nil, fmt.Errorf("storing a recovery code of account %s: %w", by.User, err)
		}
		codes[i] = grouped(code)
	}
	return codes, nil
}

func (f *Factors) useRecovery(ctx context.Context, tx *db.Tx, id accounts.ID, code string) error {
	code = readable(code)
	if len(code) != recoverySize {
		return wrongCode()
	}
	n, err := tx.Changed(ctx, "UPDATE recovery_codes SET used_at = $3 WHERE code = $1 AND user_id = $2 AND used_at = 0",
		f.hash(id, code), id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("using a recovery code of account %s: %w", id, err)
	}
	if n == 0 {
		return wrongCode()
	}
	return nil
}

// hash is what is stored of a code. Without the server's key nobody can try
// codes on it.
func (f *Factors) hash(id accounts.ID, code string) []byte {
	return f.Keys.MAC("recovery code", []byte(id), []byte(code))
}

func newRecovery() string {
	b := make([]byte, recoverySize)
	rand.Read(b)
	for i := range b {
		b[i] = crockford[b[i]%byte(len(crockford))] // 256 is a multiple of 32
	}
	return string(b)
}

func grouped(code string) string {
	var groups []string
	for ; len(code) > recoveryGroup; code = code[recoveryGroup:] {
		groups = append(groups, code[:recoveryGroup])
	}
	return strings.Join(append(groups, code), "-")
}

// readable undoes what happens to a code between paper and keyboard.
func readable(code string) string {
	return strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(tidy(code)))
}
