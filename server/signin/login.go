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
// several accounts under one address. The person is to choose one of Users,
// whose username is then the identifier of another Login.
type Choice struct{ Users []accounts.User }

func (c *Choice) Error() string { return fmt.Sprintf("%d accounts match", len(c.Users)) }

// Login finds out who knows the password. Every failure before a right password
// is E1101, and takes as long for an account that there is as for one that there
// is not; E1102 and E1103 are told only to who knows it, and E1104 to whoever
// tries too often, right or wrong. The true reason stands in the audit. from
// says where the attempt comes from.
//
// It does its hashing outside of transactions. Start begins the session of the
// account that is returned; at the client, which has none, an account with a
// second factor needs Code as well.
func (g *Gate) Login(ctx context.Context, from access.Caller, a Attempt) (accounts.User, error) {
	start := time.Now()
	var candidates []accounts.User
	err := g.DB.Read(ctx, func(tx *db.Tx) (err error) {
		candidates, err = accounts.Identified(ctx, tx, a.Identifier)
		return err
	})
	if err != nil {
		return accounts.User{}, err
	}
	right, err := g.tryAll(ctx, candidates, a.Password)
	if err != nil {
		return accounts.User{}, err
	}
	u, err := choose(a.Portal, right)
	if e := errs.Find(err); e != nil && e.Code == errs.AuthFailed && strings.Contains(a.Identifier, "@") {
		pad(ctx, time.Until(start.Add(g.padTo())))
	}
	if errors.As(err, new(*Choice)) {
		return accounts.User{}, err // nobody is logged in yet
	}
	if err != nil {
		return accounts.User{}, g.refused(ctx, from, a.Portal, candidates, right, err)
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) error { return accounts.NoteLogin(ctx, tx, from, u, a.Portal) })
	if err != nil {
		return accounts.User{}, err
	}
	return u, nil
}

// Confirm is Login for an account that is known, such as a device's user.
func (g *Gate) Confirm(ctx context.Context, from access.Caller, portal accounts.Portal, id accounts.ID, password, code string) (accounts.User, error) {
	u, err := g.find(ctx, id)
	if err != nil {
		return accounts.User{}, err
	}
	right, err := g.tryAll(ctx, []accounts.User{u}, password)
	if err != nil {
		return accounts.User{}, err
	}
	if _, err := choose(portal, right); err != nil {
		return accounts.User{}, g.refused(ctx, from, portal, []accounts.User{u}, right, err)
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) error { return accounts.NoteLogin(ctx, tx, from, u, portal) })
	if err != nil {
		return accounts.User{}, err
	}
	return u, nil
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
func choose(portal accounts.Portal, right []accounts.User) (accounts.User, error) {
	var here, in []accounts.User
	for _, u := range right {
		if u.Kind != portal.Kind() {
			continue
		}
		here = append(here, u)
		if u.State == accounts.Active {
			in = append(in, u)
		}
	}
	switch {
	case len(here) == 0:
		return accounts.User{}, errs.Of(errs.AuthFailed)
	case len(in) == 1:
		return in[0], nil
	case len(in) > 1:
		return accounts.User{}, errs.New(errs.Conflict, "login.choose").Because(&Choice{in})
	}
	switch here[0].State {
	case accounts.Disabled:
		return accounts.User{}, errs.Of(errs.AccountDisabled)
	case accounts.Preserved:
		return accounts.User{}, errs.Of(errs.AccountPreserved)
	}
	return accounts.User{}, errs.Of(errs.AuthFailed)
}

// refused records why somebody was not let in, and returns what they are told.
// Of an attempt on no account nothing is kept but that there was one: what was
// typed may be a password in the wrong field.
func (g *Gate) refused(ctx context.Context, from access.Caller, portal accounts.Portal, candidates, right []accounts.User, told error) error {
	e := audit.Event{Action: access.Login, Object: "user", Outcome: audit.Refuse, Code: errs.Find(told).Code}
	reason := "unknown_account"
	switch {
	case len(right) > 0:
		u := right[0]
		e.Org, e.Owner, e.Object = u.Org, u.ID, "user/"+string(u.ID)
		reason = "state_" + string(u.State)
		if u.Kind != portal.Kind() {
			reason = "wrong_portal"
		}
	case len(candidates) > 0:
		u := candidates[0]
		e.Org, e.Owner, e.Object = u.Org, u.ID, "user/"+string(u.ID)
		reason = "wrong_password"
		if !u.HasPassword() {
			reason = "no_password"
		}
	}
	e.Details = []audit.Detail{audit.Note("portal", portal), audit.Note("reason", reason)}
	from.Kind, from.User = access.Anonymous, ""
	err := g.DB.Write(ctx, func(tx *db.Tx) error { return audit.Record(ctx, tx, from, e) })
	if err != nil {
		return err
	}
	return told
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
