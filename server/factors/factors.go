// Package factors knows what an account proves itself by besides its password:
// an authenticator app (TOTP), passkeys, and recovery codes for the day when
// neither is at hand. It sets them up, checks them and takes them away. Who must
// have one, how often a code may be guessed and what a proof is good for is
// decided by who calls it.
package factors

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
)

// What an account can prove itself by, as a login session and the audit name it.
const (
	ByTOTP     = "totp"
	ByRecovery = "recovery"
	ByPasskey  = "passkey"
)

// Factors sets up and checks second factors.
type Factors struct {
	DB   *db.DB
	Keys *keys.Ring

	// Name is what apps show as the place that a code or passkey is for.
	Name string
	// URL is the server's address as browsers have it. A passkey is bound to
	// its host, so that a copy of our pages elsewhere gets nothing from it.
	URL func() string
	// Console is the address that administrators have instead, when theirs is
	// another one.
	Console func() string
}

// Summary is what an account has.
type Summary struct {
	TOTP         bool
	Passkeys     []Passkey // the oldest first
	RecoveryLeft int       // codes that were not used
}

// Any reports whether there is a second factor. Recovery codes alone are none:
// they stand in for one.
func (s Summary) Any() bool { return s.TOTP || len(s.Passkeys) > 0 }

// Of returns what an account has.
func Of(ctx context.Context, tx *db.Tx, id accounts.ID) (Summary, error) {
	var s Summary
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM totp WHERE user_id = $1 AND confirmed_at > 0)", id).Scan(&s.TOTP)
	if err != nil {
		return Summary{}, fmt.Errorf("reading the second factors of account %s: %w", id, err)
	}
	if s.Passkeys, err = passkeys(ctx, tx, id); err != nil {
		return Summary{}, err
	}
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1 AND used_at = 0", id).Scan(&s.RecoveryLeft)
	if err != nil {
		return Summary{}, fmt.Errorf("counting the recovery codes of account %s: %w", id, err)
	}
	return s, nil
}

// Reset takes all second factors from an account whose owner has lost them: an
// administrator's doing. Its sessions and user tokens end, its browsers are no
// longer known, and its owner is told: whoever may have had the factor is out.
func (f *Factors) Reset(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID) error {
	u, err := accounts.Find(ctx, tx, id)
	if err != nil {
		return err
	}
	had, err := Of(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := accounts.CheckManage(ctx, tx, by, u, audit.Change("second_factors", had.names(), "")); err != nil {
		return err
	}
	if err := forget(ctx, tx, id); err != nil {
		return err
	}
	sessions, err := accounts.Sessions(ctx, tx, by, id)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := accounts.EndSession(ctx, tx, by, s.ID); err != nil {
			return err
		}
	}
	return f.tell(ctx, tx, u, "reset", "")
}

// forget deletes all that an account has, what was being set up, and what was
// given for a proof by it.
func forget(ctx context.Context, tx *db.Tx, id accounts.ID) error {
	for _, table := range []string{"totp", "passkeys", "recovery_codes", "passkey_ceremonies", "user_tokens", "known_browsers"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE user_id = $1", id); err != nil {
			return fmt.Errorf("deleting the second factors of account %s: %w", id, err)
		}
	}
	return nil
}

// names says for the audit which there are, and no more.
func (s Summary) names() []string {
	names := []string{}
	if s.TOTP {
		names = append(names, ByTOTP)
	}
	for range s.Passkeys {
		names = append(names, ByPasskey)
	}
	return names
}

// changed allows and records a change to the caller's own factors, and tells
// them by mail: who took over a session would begin with this.
func (f *Factors) changed(ctx context.Context, tx *db.Tx, by access.Caller, change string, details ...audit.Detail) error {
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID), details...); err != nil {
		return err
	}
	return f.tell(ctx, tx, u, change, by.IP)
}

// tell queues the mail to an account's owner that its factors have changed.
func (f *Factors) tell(ctx context.Context, tx *db.Tx, u accounts.User, change, ip string) error {
	return mail.Queue(ctx, tx, f.Keys, mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.SecondFactorChanged,
		Values: map[string]string{"username": u.Username, "change": change, "at": tx.Now().Format(time.RFC3339), "ip": ip}})
}

// dropCodes deletes recovery codes that stand in for nothing any more.
func dropCodes(ctx context.Context, tx *db.Tx, id accounts.ID) error {
	s, err := Of(ctx, tx, id)
	if err != nil || s.Any() {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM recovery_codes WHERE user_id = $1", id); err != nil {
		return fmt.Errorf("deleting the recovery codes of account %s: %w", id, err)
	}
	return nil
}

// Expire deletes what was begun and never finished, and returns how much.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	ceremonies, err := tx.Changed(ctx, "DELETE FROM passkey_ceremonies WHERE expires_at <= $1", db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("deleting passkey ceremonies: %w", err)
	}
	apps, err := tx.Changed(ctx, "DELETE FROM totp WHERE confirmed_at = 0 AND created_at <= $1", db.Micros(tx.Now().Add(-setUpWithin)))
	if err != nil {
		return 0, fmt.Errorf("deleting unfinished authenticator apps: %w", err)
	}
	return ceremonies + apps, nil
}

// site is the address that passkeys are bound to. A bare IP address cannot be
// one: browsers refuse it.
func (f *Factors) site(kind access.Kind) (host, origin string, err error) {
	address := f.URL
	if kind == access.AdminKind && f.Console != nil {
		address = f.Console
	}
	u, err := url.Parse(address())
	if err != nil || u.Hostname() == "" {
		return "", "", fmt.Errorf("the server's address %q is none", address())
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return "", "", errs.New(errs.Conflict, "factor.passkey.address", "address", u.Host)
	}
	return u.Hostname(), u.Scheme + "://" + u.Host, nil
}

// CanPasskey reports whether browsers can make passkeys for the address that
// accounts of a kind have.
func (f *Factors) CanPasskey(kind access.Kind) bool {
	_, _, err := f.site(kind)
	return err == nil
}
