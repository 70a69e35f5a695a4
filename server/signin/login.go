package signin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
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

	// Admit may refuse an account that is who it says; nil admits all.
	Admit Admit
}

// Admit is what a portal asks of an account besides the proof of who it is: its
// error is what the person is told.
type Admit func(ctx context.Context, tx *db.Tx, u accounts.User) error

// Choice is in the chain of Login's error when the password is right for
// several accounts under one address. The person is to choose one of Users;
// Chosen then goes on with it.
type Choice struct{ Users []accounts.User }

func (c *Choice) Error() string { return fmt.Sprintf("%d accounts match", len(c.Users)) }

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
	t := &try{g: g, from: from, portal: a.Portal, password: a.Password, code: a.Code, admits: a.Admit, replacing: replacing}
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
// Since then the account may have been stopped. admit is as in Attempt.
func (g *Gate) Chosen(ctx context.Context, from access.Caller, portal accounts.Portal, id accounts.ID, admit Admit) (accounts.User, error) {
	u, err := g.find(ctx, id)
	if err != nil {
		return accounts.User{}, err
	}
	t := &try{g: g, from: from, portal: portal, admits: admit, known: func(accounts.ID) string { return "" },
		candidates: []accounts.User{u}, guards: []guard{g.guard("login", from, id, "")}}
	if _, err := choose(g.DB.Now(), portal, t.candidates); err != nil {
		return accounts.User{}, t.refused(ctx, u, err)
	}
	var told error
	err = g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if _, err := t.clear(ctx, tx, u); err != nil {
			return err
		}
		if told, err = t.admitted(ctx, tx, u); err != nil {
			return err
		}
		if told != nil {
			return t.record(ctx, tx, u, notAdmitted, told)
		}
		return g.noteLogin(ctx, tx, from, u, portal)
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return accounts.User{}, err
	}
	return u, nil
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
