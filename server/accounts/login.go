package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// Portal is where somebody logs in.
type Portal string

// The portals. Users log in to the first and the last, administrators to the
// console.
const (
	ToPortal  Portal = "portal"
	ToConsole Portal = "console"
	ToClient  Portal = "client"
)

func (p Portal) kind() access.Kind {
	if p == ToConsole {
		return access.AdminKind
	}
	return access.UserKind
}

// maxCandidates is how many accounts under one address a password is tried on.
const maxCandidates = 10

// Choice is in the chain of Login's error when the password is right for
// several accounts under one address. The person is to choose one of Users,
// whose username is then the identifier of another Login.
type Choice struct{ Users []User }

func (c *Choice) Error() string { return fmt.Sprintf("%d accounts match", len(c.Users)) }

// Login finds out who knows the password. The identifier is a username, or an
// e-mail address. Every failure before a right password is E1101, and takes as
// long for an account that there is as for one that there is not; E1102 and E1103
// are told only to who knows it. The true reason stands in the audit. by says
// where the attempt comes from.
//
// The hashing is done outside of transactions. A session or token is the
// caller's to make, with the account that is returned.
func Login(ctx context.Context, d *db.DB, h *Hasher, portal Portal, identifier, password string, by access.Caller) (User, error) {
	start := time.Now()
	var candidates []User
	err := d.Read(ctx, func(tx *db.Tx) (err error) {
		candidates, err = identified(ctx, tx, identifier)
		return err
	})
	if err != nil {
		return User{}, err
	}
	right, err := h.tryAll(ctx, candidates, password)
	if err != nil {
		return User{}, err
	}
	u, err := choose(portal, right)
	if e := errs.Find(err); e != nil && e.Code == errs.AuthFailed && strings.Contains(identifier, "@") {
		pad(ctx, time.Until(start.Add(h.PadTo)))
	}
	if errors.As(err, new(*Choice)) {
		return User{}, err // nobody is logged in yet
	}
	if err != nil {
		return User{}, refused(ctx, d, portal, candidates, right, by, err)
	}
	if err := succeeded(ctx, d, portal, u, by); err != nil {
		return User{}, err
	}
	return u, nil
}

// Confirm is Login for an account that is known, such as a device's user.
func Confirm(ctx context.Context, d *db.DB, h *Hasher, portal Portal, id ID, password string, by access.Caller) (User, error) {
	var u User
	err := d.Read(ctx, func(tx *db.Tx) (err error) {
		u, err = Find(ctx, tx, id)
		return err
	})
	if err != nil {
		return User{}, err
	}
	right, err := h.tryAll(ctx, []User{u}, password)
	if err != nil {
		return User{}, err
	}
	if _, err := choose(portal, right); err != nil {
		return User{}, refused(ctx, d, portal, []User{u}, right, by, err)
	}
	if err := succeeded(ctx, d, portal, u, by); err != nil {
		return User{}, err
	}
	return u, nil
}

// identified returns the accounts that an identifier may mean: the one with
// that username, and those with that address.
func identified(ctx context.Context, tx *db.Tx, identifier string) ([]User, error) {
	key := orgs.Fold(strings.TrimSpace(identifier))
	if key == "" || !printable(key) {
		return nil, nil
	}
	query, args := "username_key = $1", []any{key}
	if strings.Contains(key, "@") {
		query = "username_key = $1 OR email_key = $1"
	}
	args = append(args, key, maxCandidates)
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM users WHERE state NOT IN ('deleted', 'purged') AND ("+query+`)
		ORDER BY CASE WHEN username_key = $2 THEN 0 ELSE 1 END, username_key LIMIT $3`, args...)
	if err != nil {
		return nil, fmt.Errorf("looking for an account: %w", err)
	}
	defer rows.Close()
	var users []User
	for rows.Next() {
		u, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("looking for an account: %w", err)
		}
		users = append(users, u)
	}
	return users, rows.Err()
}

// tryAll returns the accounts whose password it is. Without any it does the
// same work once.
func (h *Hasher) tryAll(ctx context.Context, users []User, password string) ([]User, error) {
	if len(users) == 0 {
		_, err := h.verify(ctx, "", password)
		return nil, err
	}
	var right []User
	for _, u := range users {
		ok, err := h.verify(ctx, u.password, password)
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
func choose(portal Portal, right []User) (User, error) {
	var here, in []User
	for _, u := range right {
		if u.Kind != portal.kind() {
			continue
		}
		here = append(here, u)
		if u.State == Active {
			in = append(in, u)
		}
	}
	switch {
	case len(here) == 0:
		return User{}, errs.Of(errs.AuthFailed)
	case len(in) == 1:
		return in[0], nil
	case len(in) > 1:
		return User{}, errs.New(errs.Conflict, "login.choose").Because(&Choice{in})
	}
	switch here[0].State {
	case Disabled:
		return User{}, errs.Of(errs.AccountDisabled)
	case Preserved:
		return User{}, errs.Of(errs.AccountPreserved)
	}
	return User{}, errs.Of(errs.AuthFailed)
}

// refused records why somebody was not let in, and returns what they are told.
// Of an attempt on no account nothing is kept but that there was one: what was
// typed may be a password in the wrong field.
func refused(ctx context.Context, d *db.DB, portal Portal, candidates, right []User, by access.Caller, told error) error {
	e := audit.Event{Action: access.Login, Object: "user", Outcome: audit.Refuse, Code: errs.Find(told).Code}
	reason := "unknown_account"
	switch {
	case len(right) > 0:
		u := right[0]
		e.Org, e.Owner, e.Object = u.Org, u.ID, "user/"+string(u.ID)
		reason = "state_" + string(u.State)
		if u.Kind != portal.kind() {
			reason = "wrong_portal"
		}
	case len(candidates) > 0:
		u := candidates[0]
		e.Org, e.Owner, e.Object = u.Org, u.ID, "user/"+string(u.ID)
		reason = "wrong_password"
		if u.password == "" {
			reason = "no_password"
		}
	}
	e.Details = []audit.Detail{audit.Note("portal", portal), audit.Note("reason", reason)}
	by.Kind, by.User = access.Anonymous, ""
	err := d.Write(ctx, func(tx *db.Tx) error { return audit.Record(ctx, tx, by, e) })
	if err != nil {
		return err
	}
	return told
}

func succeeded(ctx context.Context, d *db.DB, portal Portal, u User, by access.Caller) error {
	return d.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE users SET last_login_at = $2 WHERE id = $1", u.ID, db.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("noting a login: %w", err)
		}
		return audit.Record(ctx, tx, u.Caller(by), audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID),
			Outcome: audit.Done, Details: []audit.Detail{audit.Note("portal", portal)}})
	})
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

// SetPassword gives an account a password, whose hash comes from Hasher.Hash:
// its owner, or an administrator, who has it changed at the next login. All
// other sessions and all tokens of the account end.
func SetPassword(ctx context.Context, tx *db.Tx, by access.Caller, id ID, hash string, mustChange bool) error {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if by.User == u.ID {
		err = audit.Check(ctx, tx, by, access.ChangeAccount, u.Org, u.ID, "user/"+string(u.ID), audit.Note("changed", "password"))
	} else {
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
	u.password, u.PasswordAt, u.MustChangePassword, u.UpdatedAt = hash, tx.Now(), mustChange, tx.Now()
	if u.State == Invited {
		u.State, u.StateAt = Active, tx.Now()
	}
	if err := update(ctx, tx, u); err != nil {
		return fmt.Errorf("setting the password of account %s: %w", id, err)
	}
	return nil
}

// ChangePassword is the owner's own change: who does not know the old password
// gets E1101.
func ChangePassword(ctx context.Context, d *db.DB, h *Hasher, portal Portal, by access.Caller, old, password string) error {
	u, err := Confirm(ctx, d, h, portal, by.User, old, by)
	if err != nil {
		return err
	}
	if old == password {
		return errs.New(errs.Invalid, "user.password.same")
	}
	hash, err := h.Hash(ctx, password)
	if err != nil {
		return err
	}
	return d.Write(ctx, func(tx *db.Tx) error { return SetPassword(ctx, tx, by, u.ID, hash, false) })
}
