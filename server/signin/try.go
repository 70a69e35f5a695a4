package signin

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/settings"
)

// try is an attempt on its way: who it may be about, and what counts it.
type try struct {
	g         *Gate
	from      access.Caller
	portal    accounts.Portal
	password  string
	code      string
	proven    bool // the second factor was given before
	admits    Admit
	replacing bool // the password is
	known     func(accounts.ID) string
	settings  settings.SignIn

	candidates []accounts.User
	guards     []guard
	counted    bool // for the network, too
}

// run is the attempt: admitted, tried, settled.
func (t *try) run(ctx context.Context) (accounts.User, error) {
	if err := t.admit(ctx); err != nil {
		return accounts.User{}, err
	}
	right, err := t.g.tryAll(ctx, t.candidates, t.password)
	if err != nil {
		return accounts.User{}, errors.Join(err, t.release(ctx))
	}
	u, err := choose(t.g.DB.Now(), t.portal, right)
	choice := (*Choice)(nil)
	switch {
	case errors.As(err, &choice):
		return accounts.User{}, errors.Join(t.offer(ctx, choice.Users), t.release(ctx), err) // nobody is logged in yet
	case errs.Is(err, errs.AuthFailed):
		return accounts.User{}, t.failed(ctx, right, err)
	case err != nil:
		return accounts.User{}, t.refused(ctx, right[0], err)
	}
	return t.passed(ctx, u)
}

// admit lets an attempt begin, or says how long it has to wait.
func (t *try) admit(ctx context.Context) error {
	var told error
	err := t.g.DB.Write(ctx, func(tx *db.Tx) error {
		s, err := settings.Load(ctx, tx)
		if err != nil {
			return err
		}
		t.settings = s.SignIn
		told = t.g.network(ctx, tx, t.from, t.settings)
		if told != nil && !errs.Is(told, errs.TooManyAttempts) {
			return told
		}
		t.counted = told == nil
		if told != nil && !t.anyKnown() {
			return t.throttled(ctx, tx, told)
		}
		for i, guard := range t.guards {
			told = guard.admit(ctx, tx, t.settings)
			if told == nil {
				continue
			}
			if !errs.Is(told, errs.TooManyAttempts) {
				return told
			}
			if err := t.giveBack(ctx, tx, t.guards[:i]); err != nil {
				return err
			}
			return t.throttled(ctx, tx, told)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return told
}

func (t *try) anyKnown() bool {
	for _, u := range t.candidates {
		if t.known(u.ID) != "" {
			return true
		}
	}
	return false
}

// offer notes about accounts among which somebody is to choose what their
// password lacks: Chosen does not know it.
func (t *try) offer(ctx context.Context, users []accounts.User) error {
	return t.g.DB.Write(context.WithoutCancel(ctx), func(tx *db.Tx) error {
		for _, u := range users {
			now, err := accounts.Find(ctx, tx, u.ID)
			if err != nil {
				return err
			}
			if !now.PasswordAt.Equal(u.PasswordAt) {
				continue
			}
			if err := t.g.outdated(ctx, tx, &now, t.password); err != nil {
				return err
			}
		}
		return nil
	})
}

// release takes the attempt back: whether the password is right is not known.
func (t *try) release(ctx context.Context) error {
	return t.g.DB.Write(context.WithoutCancel(ctx), func(tx *db.Tx) error { return t.giveBack(ctx, tx, t.guards) })
}

// giveBack takes an attempt back where it was counted.
func (t *try) giveBack(ctx context.Context, tx *db.Tx, from []guard) error {
	for _, guard := range from {
		if err := guard.release(ctx, tx); err != nil {
			return err
		}
	}
	if !t.counted {
		return nil
	}
	return t.g.networkBack(ctx, tx, t.from)
}

// failed counts a failure and records its true reason.
func (t *try) failed(ctx context.Context, right []accounts.User, told error) error {
	u, reason := accounts.User{}, "unknown_account"
	switch {
	case len(right) > 0:
		u = right[0]
		reason = why(t.g.DB.Now(), t.portal, u)
	case len(t.candidates) > 0:
		u, reason = t.candidates[0], "wrong_password"
		if !u.HasPassword() {
			reason = "no_password"
		}
	}
	err := t.g.DB.Write(context.WithoutCancel(ctx), func(tx *db.Tx) error {
		if err := t.record(ctx, tx, u, reason, told); err != nil {
			return err
		}
		for _, guard := range t.guards {
			locked, err := guard.failed(ctx, tx, t.settings)
			if err != nil {
				return err
			}
			if locked {
				if err := t.locked(ctx, tx, guard); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return told
}

// locked tells the owner of an account that it is locked now. A known browser
// or device locks only itself.
func (t *try) locked(ctx context.Context, tx *db.Tx, b guard) error {
	if b.user == "" || t.known(b.user) != "" {
		return nil
	}
	for _, u := range t.candidates {
		if u.ID == b.user {
			return t.g.locked(ctx, tx, t.from, u, t.settings)
		}
	}
	return nil
}

// refused records why somebody who knows the password is not let in.
func (t *try) refused(ctx context.Context, u accounts.User, told error) error {
	err := t.g.DB.Write(ctx, func(tx *db.Tx) error {
		if err := t.record(ctx, tx, u, why(tx.Now(), t.portal, u), told); err != nil {
			return err
		}
		_, err := t.clear(ctx, tx, u)
		return err
	})
	if err != nil {
		return err
	}
	return told
}

// passed ends an attempt with the right password.
func (t *try) passed(ctx context.Context, u accounts.User) (accounts.User, error) {
	var now accounts.User
	var reason string
	var told error
	err := t.g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		// Since it was read, the account may have been stopped or its password
		// changed.
		if now, err = accounts.Find(ctx, tx, u.ID); err != nil {
			return err
		}
		reason, told = "changed_meanwhile", errs.Of(errs.AuthFailed)
		if now.State == u.State && now.PasswordAt.Equal(u.PasswordAt) {
			if reason, told, err = t.settle(ctx, tx, &now); err != nil {
				return err
			}
		}
		if errs.Is(told, errs.TooManyAttempts) {
			return t.throttled(ctx, tx, told)
		}
		if told != nil {
			return t.record(ctx, tx, now, reason, told)
		}
		return t.g.noteLogin(ctx, tx, t.from, now, t.portal)
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return accounts.User{}, err
	}
	return now, nil
}

// settle ends the counts of an account whose password was shown, and says what
// keeps it from coming in nevertheless, for the audit and for the person.
func (t *try) settle(ctx context.Context, tx *db.Tx, u *accounts.User) (reason string, told, err error) {
	if err := t.g.outdated(ctx, tx, u, t.password); err != nil {
		return "", nil, err
	}
	failures, err := t.clear(ctx, tx, *u)
	if err != nil {
		return "", nil, err
	}
	if t.portal == accounts.ToClient {
		if reason, told, err = t.factor(ctx, tx, *u); err != nil || told != nil {
			return reason, told, err
		}
		if !t.replacing && mustReplace(tx.Now(), *u, t.settings) {
			return "must_change_password", errs.Of(errs.PasswordChange), nil
		}
	}
	if told, err = t.admitted(ctx, tx, *u); err != nil || told != nil {
		return notAdmitted, told, err
	}
	if failures >= warnAfter {
		err = t.g.warn(ctx, tx, t.from, *u, failures)
	}
	return "", nil, err
}

// notAdmitted is, for the audit, that the portal itself refused.
const notAdmitted = "not_admitted"

// admitted asks the portal whether it lets u in, and returns what u is told
// when not.
func (t *try) admitted(ctx context.Context, tx *db.Tx, u accounts.User) (told, err error) {
	if t.admits == nil {
		return nil, nil
	}
	told = t.admits(ctx, tx, u)
	if errs.Find(told) == nil {
		return nil, told
	}
	return told, nil
}

// clear ends the counts of an account whose password was shown, and takes the
// attempt back from the others under the same address. It returns how many
// failures there were before.
func (t *try) clear(ctx context.Context, tx *db.Tx, u accounts.User) (failures int, err error) {
	var others []guard
	for _, guard := range t.guards {
		if guard.user != u.ID {
			others = append(others, guard)
			continue
		}
		n, err := guard.passed(ctx, tx)
		if err != nil {
			return 0, err
		}
		failures += n
	}
	if err := t.giveBack(ctx, tx, others); err != nil {
		return 0, err
	}
	if t.known(u.ID) == "" {
		return failures, accounts.SetLock(ctx, tx, u.ID, time.Time{})
	}
	// What others tried is over as well: the owner is here. But not what was
	// counted of codes: who knows the password has yet to give one.
	n, err := t.g.endCount(ctx, tx, "login", u.ID, t.from)
	if err != nil {
		return 0, err
	}
	return failures + n, accounts.SetLock(ctx, tx, u.ID, time.Time{})
}

// factor asks for the second factor of an account at the client. It returns
// what the audit and what the person is told; nothing when it was given.
func (t *try) factor(ctx context.Context, tx *db.Tx, u accounts.User) (reason string, told, err error) {
	has, err := factors.Of(ctx, tx, u.ID)
	if err != nil {
		return "", nil, err
	}
	if !has.Any() {
		demanded, err := t.g.demanded(ctx, tx, u, t.settings)
		if demanded {
			told = errs.New(errs.Forbidden, "login.second_factor.missing")
		}
		return "second_factor_missing", told, err
	}
	if t.proven {
		return "", nil, nil
	}
	if t.code == "" {
		methods := []string{}
		if has.TOTP {
			methods = append(methods, factors.ByTOTP)
		}
		if has.RecoveryLeft > 0 {
			methods = append(methods, factors.ByRecovery)
		}
		return "second_factor_asked", errs.New(errs.Unauthenticated, "login.second_factor", "methods", methods), nil
	}
	_, told, err = t.g.useCode(ctx, tx, t.from, u, t.known(u.ID), t.code, t.settings)
	return "second_factor_wrong", told, err
}

// record writes down why an attempt on u was refused, u being nobody when no
// account was meant. Then nothing is kept but that there was an attempt: what was
// typed may be a password in the wrong field.
func (t *try) record(ctx context.Context, tx *db.Tx, u accounts.User, reason string, told error) error {
	return t.g.record(ctx, tx, t.from, t.portal, u, reason, told)
}

func (g *Gate) record(ctx context.Context, tx *db.Tx, from access.Caller, portal accounts.Portal, u accounts.User, reason string, told error) error {
	e := audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "user", Outcome: audit.Refuse,
		Details: append(accounts.LoginDetails(from, portal), audit.Note("reason", reason))}
	if u.ID != "" {
		e.Object = "user/" + string(u.ID)
	}
	if expected := errs.Find(told); expected != nil {
		e.Code = expected.Code
	}
	from.Kind, from.User = access.Anonymous, ""
	return audit.Record(ctx, tx, from, e)
}

// noteRefusal is record for what can be had without end, as long as that is no
// flood.
func (g *Gate) noteRefusal(ctx context.Context, tx *db.Tx, from access.Caller, portal accounts.Portal, u accounts.User, reason string, told error) error {
	wait, err := hit(ctx, tx, g.subject("noted factor", reason, string(u.ID)), time.Hour, noted)
	if err != nil || wait > 0 {
		return err
	}
	return g.record(ctx, tx, from, portal, u, reason, told)
}

// throttled records that an attempt has to wait, as long as that is no flood.
func (t *try) throttled(ctx context.Context, tx *db.Tx, told error) error {
	wait, err := hit(ctx, tx, t.g.subject("noted", string(t.guards[0].account)), time.Hour, noted)
	if err != nil || wait > 0 {
		return err
	}
	u := accounts.User{}
	if len(t.candidates) > 0 {
		u = t.candidates[0]
	}
	return t.record(ctx, tx, u, "throttled", told)
}
