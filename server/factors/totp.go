package factors

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

const (
	secretSize = 20 // bytes: 160 bits, what RFC 4226 asks for
	period     = 30 // seconds that a code is shown
	digits     = 6

	// skew is how many steps an app's clock may be off, either way.
	skew = 1

	// setUpWithin is how long an app may take to be confirmed.
	setUpWithin = time.Hour
)

// App is an authenticator app being set up: what its owner scans or types.
type App struct {
	Secret string // base32
	URI    string // otpauth://
	QR     QR     // the URI
}

// BeginTOTP makes the secret of an authenticator app for the caller. It counts
// only when ConfirmTOTP has seen a code of it; beginning again replaces it.
func (f *Factors) BeginTOTP(ctx context.Context, tx *db.Tx, by access.Caller) (App, error) {
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return App{}, err
	}
	if err := audit.See(by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID)); err != nil {
		return App{}, err
	}
	secret := make([]byte, secretSize)
	rand.Read(secret)
	sealed, err := f.Keys.Seal(purpose(u.ID), secret)
	if err != nil {
		return App{}, fmt.Errorf("sealing the secret of an authenticator app: %w", err)
	}
	n, err := tx.Changed(ctx, `INSERT INTO totp (user_id, secret, confirmed_at, last_step, created_at) VALUES ($1, $2, 0, 0, $3)
		ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, last_step = 0, created_at = excluded.created_at
			WHERE totp.confirmed_at = 0`, u.ID, sealed, db.Micros(tx.Now()))
	if err != nil {
		return App{}, fmt.Errorf("storing the secret of an authenticator app: %w", err)
	}
	if n == 0 {
		return App{}, errs.New(errs.Conflict, "factor.totp.exists")
	}
	return f.app(u, secret)
}

// PendingTOTP returns what BeginTOTP made and nobody confirmed yet, so that a
// page can show it again after a wrong code. Without one it is Conflict,
// factor.totp.over.
func (f *Factors) PendingTOTP(ctx context.Context, tx *db.Tx, by access.Caller) (App, error) {
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return App{}, err
	}
	if err := audit.See(by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID)); err != nil {
		return App{}, err
	}
	secret, err := f.secret(ctx, tx, u.ID, false)
	if errors.Is(err, sql.ErrNoRows) {
		return App{}, errs.New(errs.Conflict, "factor.totp.over")
	}
	if err != nil {
		return App{}, err
	}
	return f.app(u, secret)
}

// app is what the owner of a secret scans or types.
func (f *Factors) app(u accounts.User, secret []byte) (App, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: f.Name, AccountName: u.Username, Secret: secret, Period: period})
	if err != nil {
		return App{}, fmt.Errorf("making the address of an authenticator app: %w", err)
	}
	qr, err := drawQR(key)
	if err != nil {
		return App{}, err
	}
	return App{Secret: key.Secret(), URI: key.URL(), QR: qr}, nil
}

// secret opens an account's secret, confirmed or not; sql.ErrNoRows when there
// is no such.
func (f *Factors) secret(ctx context.Context, tx *db.Tx, id accounts.ID, confirmed bool) ([]byte, error) {
	var sealed []byte
	err := tx.QueryRow(ctx, "SELECT secret FROM totp WHERE user_id = $1 AND (confirmed_at > 0) = $2", id, confirmed).Scan(&sealed)
	if err != nil {
		return nil, fmt.Errorf("reading the authenticator app of account %s: %w", id, err)
	}
	secret, err := f.Keys.Unseal(purpose(id), sealed)
	if err != nil {
		return nil, fmt.Errorf("reading the authenticator app of account %s: %w", id, err)
	}
	return secret, nil
}

// ConfirmTOTP makes the app that BeginTOTP set up count, when code is one of
// its. The code is used up by that.
func (f *Factors) ConfirmTOTP(ctx context.Context, tx *db.Tx, by access.Caller, code string) error {
	if err := f.changed(ctx, tx, by, "totp_added", audit.Change("second_factor", nil, ByTOTP)); err != nil {
		return err
	}
	step, err := f.step(ctx, tx, by.User, code, false)
	if err != nil {
		return err
	}
	n, err := tx.Changed(ctx, "UPDATE totp SET confirmed_at = $2, last_step = $3 WHERE user_id = $1 AND confirmed_at = 0",
		by.User, db.Micros(tx.Now()), step)
	if err != nil {
		return fmt.Errorf("confirming an authenticator app: %w", err)
	}
	if n == 0 {
		return errs.New(errs.Conflict, "factor.totp.exists")
	}
	return nil
}

// RemoveTOTP takes the authenticator app from the caller's account. Who calls
// it has made sure that the owner is there.
func (f *Factors) RemoveTOTP(ctx context.Context, tx *db.Tx, by access.Caller) error {
	n, err := tx.Changed(ctx, "DELETE FROM totp WHERE user_id = $1", by.User)
	if err != nil {
		return fmt.Errorf("removing an authenticator app: %w", err)
	}
	if n == 0 {
		return nil // there is none, which is what was asked for
	}
	if err := f.changed(ctx, tx, by, "totp_removed", audit.Change("second_factor", ByTOTP, nil)); err != nil {
		return err
	}
	return dropCodes(ctx, tx, by.User)
}

// UseCode checks a code that somebody typed, of the authenticator app or a
// recovery code, uses it up, and says which it was. A wrong one, or one that
// was used, is Unauthenticated, factor.code.wrong; the caller counts those.
func (f *Factors) UseCode(ctx context.Context, tx *db.Tx, id accounts.ID, code string) (factor string, err error) {
	code = tidy(code)
	if len(code) != digits {
		return ByRecovery, f.useRecovery(ctx, tx, id, code)
	}
	step, err := f.step(ctx, tx, id, code, true)
	if err != nil {
		return "", err
	}
	// No step before one that was used is good either: whoever looked over a
	// shoulder cannot be the second.
	n, err := tx.Changed(ctx, "UPDATE totp SET last_step = $2 WHERE user_id = $1 AND confirmed_at > 0 AND last_step < $2", id, step)
	if err != nil {
		return "", fmt.Errorf("using a code of account %s: %w", id, err)
	}
	if n == 0 {
		return "", wrongCode()
	}
	return ByTOTP, nil
}

// step returns the step that code is of, around now. It uses nothing up.
func (f *Factors) step(ctx context.Context, tx *db.Tx, id accounts.ID, code string, confirmed bool) (int64, error) {
	secret, err := f.secret(ctx, tx, id, confirmed)
	if errors.Is(err, sql.ErrNoRows) && confirmed {
		return 0, wrongCode()
	}
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errs.New(errs.Conflict, "factor.totp.over")
	}
	if err != nil {
		return 0, err
	}
	now, found := tx.Now().Unix()/period, int64(0)
	for step := now - skew; step <= now+skew; step++ {
		want, err := hotp.GenerateCodeCustom(encode(secret), uint64(step), hotp.ValidateOpts{Digits: digits, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, fmt.Errorf("computing a code of account %s: %w", id, err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(tidy(code))) == 1 {
			found = step
		}
	}
	if found == 0 {
		return 0, wrongCode()
	}
	return found, nil
}

// purpose binds a sealed secret to its account: copied into another's row it
// does not open.
func purpose(id accounts.ID) string { return "totp of " + string(id) }

func encode(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

func wrongCode() error { return errs.New(errs.Unauthenticated, "factor.code.wrong") }

// tidy takes out of a code what people type for their eyes.
func tidy(code string) string {
	return strings.NewReplacer(" ", "", "-", "", "\t", "", "\u00a0", "", "\u202f", "", "\u2011", "", "\u2013", "").Replace(code)
}
