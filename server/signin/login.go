package signin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/settings"
)

// Attempt is somebody at a portal's door.
type Attempt struct {
	Portal     accounts.Portal
	Identifier string // a username, or an e-mail address
	Password   string

	// Code is of the second factor, for the client, which has no session in
	// which to ask for it.
	Code string

	// Known is the token of a browser that an account logged in from before.
	Known string
}

// Choice is in the chain of Login's error when the password is right for
// several accounts under one address. The person is to choose one of Users;
// Chosen then goes on with it.
type Choice struct{ Users []accounts.User }

func (c *Choice) Error() string { return fmt.Sprintf("%d accounts match", len(c.Users)) }

// try is an attempt on its way: who it may be about, and what counts it.
type try struct {
	g         *Gate
	from      access.Caller
	portal    accounts.Portal
	password  string
	code      string
	proven    bool // the second factor was given before
	replacing bool // the password is
	known     func(accounts.ID) string
	settings  settings.SignIn

	candidates []accounts.User
	guards     []guard
}

// Login finds out who knows the password. Every failure before a right password
// is E1101, and takes as long for an account that there is as for one that there
// is not; E1102 and E1103 are told only to who knows it, and E1104 to whoever
// tries too often, right or wrong. The true reason stands in the audit. from
// says where the attempt comes from.
//
// It does its hashing outside of transactions. Start begins the session of the
// account that is returned. The client has none: there an account with a second
// factor needs Code as well, and one whose password must be changed first gets
// E1105, for ReplaceTemporary.
func (g *Gate) Login(ctx context.Context, from access.Caller, a Attempt) (accounts.User, error) {
	return g.login(ctx, from, a, false)
}

// login is Login; replacing says that the password is about to be replaced.
func (g *Gate) login(ctx context.Context, from access.Caller, a Attempt, replacing bool) (accounts.User, error) {
	start := time.Now()
	t := &try{g: g, from: from, portal: a.Portal, password: a.Password, code: a.Code, replacing: replacing}
	var friend accounts.ID
	var browser string
	err := g.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if t.candidates, err = accounts.Identified(ctx, tx, a.Identifier); err != nil {
			return err
		}
		friend, browser, err = knownBrowser(ctx, tx, a.Known)
		return err
	})
	if err != nil {
		return accounts.User{}, err
	}
	t.known = func(id accounts.ID) string {
		if id == friend {
			return browser
		}
		return ""
	}
	t.guards = g.guards(from, t.candidates, a.Identifier, t.known)
	u, err := t.run(ctx)
	if errs.Is(err, errs.AuthFailed) && strings.Contains(a.Identifier, "@") {
		pad(ctx, time.Until(start.Add(g.padTo())))
	}
	return u, err
}

// Confirm is Login for an account that is known, such as a device's user. What
// comes from its session or its device is counted apart: who has one is known.
func (g *Gate) Confirm(ctx context.Context, from access.Caller, portal accounts.Portal, id accounts.ID, password, code string) (accounts.User, error) {
	return g.confirm(ctx, from, id, &try{portal: portal, password: password, code: code})
}

// ConfirmAgain is Confirm for a device's user who gave the second factor there
// not long ago: it is not asked for once more.
func (g *Gate) ConfirmAgain(ctx context.Context, from access.Caller, id accounts.ID, password string) (accounts.User, error) {
	return g.confirm(ctx, from, id, &try{portal: accounts.ToClient, password: password, proven: true})
}

func (g *Gate) confirm(ctx context.Context, from access.Caller, id accounts.ID, t *try) (accounts.User, error) {
	u, err := g.find(ctx, id)
	if err != nil {
		return accounts.User{}, err
	}
	t.g, t.from, t.candidates = g, from, []accounts.User{u}
	t.known = func(accounts.ID) string {
		switch {
		case from.User != id:
			return ""
		case from.Device != "":
			return "device " + string(from.Device)
		case from.Session != "":
			return "session " + from.Session
		}
		return ""
	}
	t.guards = []guard{g.guard("login", from, id, t.known(id))}
	return t.run(ctx)
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
	switch {
	case errors.As(err, new(*Choice)):
		return accounts.User{}, errors.Join(t.release(ctx), err) // nobody is logged in yet
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
		told = nil
		s, err := settings.Load(ctx, tx)
		if err != nil {
			return err
		}
		t.settings = s.SignIn
		if !t.anyKnown() {
			if told = t.g.networkFull(ctx, tx, t.from, t.settings); told != nil {
				return t.throttled(ctx, tx, told)
			}
		}
		for i, guard := range t.guards {
			told = guard.admit(ctx, tx, t.settings)
			if told == nil {
				continue
			}
			if !errs.Is(told, errs.TooManyAttempts) {
				return told
			}
			for _, admitted := range t.guards[:i] {
				if err := admitted.release(ctx, tx); err != nil {
					return err
				}
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

// release takes the attempt back: whether the password is right is not known.
func (t *try) release(ctx context.Context) error {
	return t.g.DB.Write(context.WithoutCancel(ctx), func(tx *db.Tx) error {
		for _, guard := range t.guards {
			if err := guard.release(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
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
		return t.g.networkFailed(ctx, tx, t.from, t.settings)
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
	var told error
	err := t.g.DB.Write(ctx, func(tx *db.Tx) error {
		told = nil
		// Since it was read, the account may have been stopped or its password
		// changed.
		now, err := accounts.Find(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		if now.State != u.State || !now.PasswordAt.Equal(u.PasswordAt) {
			told = errs.Of(errs.AuthFailed)
			return t.record(ctx, tx, now, "changed_meanwhile", told)
		}
		u = now
		if err := t.g.outdated(ctx, tx, &u, t.password); err != nil {
			return err
		}
		failures, err := t.clear(ctx, tx, u)
		if err != nil {
			return err
		}
		if t.portal == accounts.ToClient {
			// The password first: a code would be used up for nothing.
			if !t.replacing && mustReplace(tx.Now(), u, t.settings) {
				told = errs.Of(errs.PasswordChange)
				return t.record(ctx, tx, u, "must_change_password", told)
			}
			var reason string
			if reason, told, err = t.factor(ctx, tx, u); err != nil {
				return err
			}
			if told != nil {
				return t.record(ctx, tx, u, reason, told)
			}
		}
		if failures >= warnAfter {
			if err := t.g.warn(ctx, tx, t.from, u, failures); err != nil {
				return err
			}
		}
		return t.g.noteLogin(ctx, tx, t.from, u, t.portal)
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return accounts.User{}, err
	}
	return u, nil
}

// clear ends the counts of an account whose password was shown, and takes the
// attempt back from the others under the same address. It returns how many
// failures there were before.
func (t *try) clear(ctx context.Context, tx *db.Tx, u accounts.User) (failures int, err error) {
	for _, guard := range t.guards {
		if guard.user != u.ID {
			if err := guard.release(ctx, tx); err != nil {
				return 0, err
			}
			continue
		}
		n, err := guard.passed(ctx, tx)
		if err != nil {
			return 0, err
		}
		failures += n
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
	_, told, err = t.g.useCode(ctx, tx, t.from, u, t.code, t.settings)
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
		Details: []audit.Detail{audit.Note("portal", portal), audit.Note("reason", reason)}}
	if u.ID != "" {
		e.Object = "user/" + string(u.ID)
	}
	if expected := errs.Find(told); expected != nil {
		e.Code = expected.Code
	}
	from.Kind, from.User = access.Anonymous, ""
	return audit.Record(ctx, tx, from, e)
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

// tryAll returns the accounts whose password it is. Without any it does the
// same work once.
func (g *Gate) tryAll(ctx context.Context, users []accounts.User, password string) ([]accounts.User, error) {
	if len(users) == 0 {
		_, err := accounts.User{}.Knows(ctx, g.Hasher, password)
		return nil, err
	}
	var right []accounts.User
	for _, u := range users {
		ok, err := u.Knows(ctx, g.Hasher, password)
		if err != nil {
			return nil, err
		}
		if ok {
			right = append(right, u)
		}
	}
	return right, nil
}

// choose decides who of those that know the password gets in. An account of the
// other portal is as if it were not there.
func choose(now time.Time, portal accounts.Portal, right []accounts.User) (accounts.User, error) {
	var in, stopped []accounts.User
	for _, u := range right {
		switch why(now, portal, u) {
		case "":
			in = append(in, u)
		case "state_disabled", "state_preserved":
			stopped = append(stopped, u)
		}
	}
	switch {
	case len(in) == 1:
		return in[0], nil
	case len(in) > 1:
		return accounts.User{}, errs.New(errs.Conflict, "login.choose", "usernames", usernames(in)).Because(&Choice{in})
	case len(stopped) == 0:
		return accounts.User{}, errs.Of(errs.AuthFailed)
	case stopped[0].State == accounts.Disabled:
		return accounts.User{}, errs.Of(errs.AccountDisabled)
	}
	return accounts.User{}, errs.Of(errs.AccountPreserved)
}

func usernames(users []accounts.User) []string {
	var names []string
	for _, u := range users {
		names = append(names, u.Username)
	}
	return names
}

// why says, for the audit, what keeps an account whose password was shown from
// a portal: nothing when it is empty. An invited account has a temporary secret
// at most, and that ends.
func why(now time.Time, portal accounts.Portal, u accounts.User) string {
	temporary := !u.TemporaryUntil.IsZero()
	switch {
	case u.Kind != portal.Kind():
		return "wrong_portal"
	case u.State != accounts.Active && (u.State != accounts.Invited || !temporary):
		return "state_" + string(u.State)
	case temporary && !now.Before(u.TemporaryUntil):
		return "temporary_expired"
	}
	return ""
}

// Chosen is the end of a Login that left a Choice: id is one of its users, and
// the screen has made sure that the browser is the one that knew the password.
// Since then the account may have been stopped.
func (g *Gate) Chosen(ctx context.Context, from access.Caller, portal accounts.Portal, id accounts.ID) (accounts.User, error) {
	u, err := g.find(ctx, id)
	if err != nil {
		return accounts.User{}, err
	}
	t := &try{g: g, from: from, portal: portal, known: func(accounts.ID) string { return "" },
		candidates: []accounts.User{u}, guards: []guard{g.guard("login", from, id, "")}}
	if _, err := choose(g.DB.Now(), portal, t.candidates); err != nil {
		return accounts.User{}, t.refused(ctx, u, err)
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) error {
		if _, err := t.clear(ctx, tx, u); err != nil {
			return err
		}
		return g.noteLogin(ctx, tx, from, u, portal)
	})
	return u, err
}

func (g *Gate) padTo() time.Duration {
	if g.PadTo == 0 {
		return 1500 * time.Millisecond
	}
	return g.PadTo
}

func pad(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}
