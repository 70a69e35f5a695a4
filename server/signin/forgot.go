package signin

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// How many mails may be asked for within an hour. What is over is done silently
// like nothing.
const (
	asksPerAccount = 3
	asksPerHost    = 20
)

// link is the address of a page of an account's portal, with a token when it
// has one.
func (g *Gate) link(u accounts.User, page, token string) string {
	to := strings.TrimRight(g.Address(u.Kind), "/")
	if u.Kind == access.AdminKind {
		to += "/admin"
	}
	to += "/" + page
	if token != "" {
		to += "?token=" + url.QueryEscape(token)
	}
	return to
}

// ForgotPassword has a link for a new password mailed to the address of the
// account with that username. It answers the same, as fast, for every input:
// the work is done after the answer.
func (g *Gate) ForgotPassword(ctx context.Context, from access.Caller, username string) error {
	return g.later(ctx, from, func(ctx context.Context) error { return g.forgotPassword(ctx, from, username) })
}

func (g *Gate) forgotPassword(ctx context.Context, from access.Caller, username string) error {
	return g.DB.Write(ctx, func(tx *db.Tx) error {
		users, err := accounts.Identified(ctx, tx, username)
		if err != nil {
			return err
		}
		if len(users) > 0 && orgs.Fold(users[0].Username) == orgs.Fold(strings.TrimSpace(username)) {
			users = users[:1] // a username means one account, whoever's address it looks like
		}
		subject := g.subject("asked typed", orgs.Fold(strings.TrimSpace(username)))
		if len(users) > 0 {
			subject = g.subject("asked", string(users[0].ID))
		}
		if may, err := g.mayAsk(ctx, tx, from, subject); err != nil || !may {
			return err
		}
		switch len(users) {
		case 0:
			return nil
		case 1:
			return g.mailLink(ctx, tx, from, users[0])
		}
		return g.mailUsernames(ctx, tx, from, users) // the password of which, they can say then
	})
}

// mayAsk counts a mail that somebody asks for.
func (g *Gate) mayAsk(ctx context.Context, tx *db.Tx, from access.Caller, subject []byte) (bool, error) {
	for _, c := range []struct {
		subject []byte
		limit   int
	}{{g.subject("asked host", host(from.IP)), asksPerHost}, {subject, asksPerAccount}} {
		wait, err := hit(ctx, tx, c.subject, time.Hour, c.limit)
		if err != nil || wait > 0 {
			return false, err
		}
	}
	return true, nil
}

// mailLink mails what lets the owner of an account set a password: another
// activation link to who never had one. Who is disabled or gone gets nothing.
func (g *Gate) mailLink(ctx context.Context, tx *db.Tx, from access.Caller, u accounts.User) error {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	switch u.State {
	case accounts.Active:
		token, err := accounts.NewLink(ctx, tx, accounts.ForReset, u.ID, time.Duration(s.SignIn.ResetMinutes)*time.Minute, nil)
		if err != nil {
			return err
		}
		err = g.mail(ctx, tx, u, mail.Reset, "link", g.link(u, "password", token), "minutes", strconv.Itoa(s.SignIn.ResetMinutes))
		if err != nil {
			return err
		}
	case accounts.Invited:
		if err := g.mailActivation(ctx, tx, u, s.SignIn); err != nil {
			return err
		}
	default:
		return nil
	}
	return asked(ctx, tx, from, u, "password_link")
}

func (g *Gate) mailActivation(ctx context.Context, tx *db.Tx, u accounts.User, s settings.SignIn) error {
	token, err := accounts.NewLink(ctx, tx, accounts.ForActivation, u.ID, time.Duration(s.ActivationDays)*24*time.Hour, nil)
	if err != nil {
		return err
	}
	return g.mail(ctx, tx, u, mail.Activation, "link", g.link(u, "password", token), "portal", g.link(u, "", ""), "days", strconv.Itoa(s.ActivationDays))
}

// asked records that somebody who is not known had a mail sent.
func asked(ctx context.Context, tx *db.Tx, from access.Caller, u accounts.User, what string) error {
	from.Kind, from.User, from.Name = access.Anonymous, "", ""
	return audit.Record(ctx, tx, from, audit.Event{Action: access.ChangeAccount, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID),
		Outcome: audit.Done, Details: []audit.Detail{audit.Note("mailed", what)}})
}

// ForgotUsername has the usernames of an address mailed to it, and answers like
// ForgotPassword.
func (g *Gate) ForgotUsername(ctx context.Context, from access.Caller, email string) error {
	return g.later(ctx, from, func(ctx context.Context) error { return g.forgotUsername(ctx, from, email) })
}

func (g *Gate) forgotUsername(ctx context.Context, from access.Caller, email string) error {
	return g.DB.Write(ctx, func(tx *db.Tx) error {
		if may, err := g.mayAsk(ctx, tx, from, g.subject("asked address", orgs.Fold(strings.TrimSpace(email)))); err != nil || !may {
			return err
		}
		users, err := accounts.OfAddress(ctx, tx, email)
		if err != nil || len(users) == 0 {
			return err
		}
		return g.mailUsernames(ctx, tx, from, users)
	})
}

// mailUsernames tells an address which accounts it has.
func (g *Gate) mailUsernames(ctx context.Context, tx *db.Tx, from access.Caller, users []accounts.User) error {
	var names []string
	var last accounts.User
	for _, u := range users {
		if u.State != accounts.Active && u.State != accounts.Invited || u.Email == "" || orgs.Fold(u.Email) != orgs.Fold(users[0].Email) {
			continue
		}
		names, last = append(names, u.Username), u
		if err := asked(ctx, tx, from, u, "username"); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return mail.Queue(ctx, tx, g.Keys, mail.Mail{To: last.Email, Language: last.Language, User: last.ID, Org: last.Org, Template: mail.Usernames,
		Values: map[string]string{"usernames": strings.Join(names, "\n"), "portal": g.link(accounts.User{}, "", "")}})
}

// MailOnly reports whether a link for a new password of u goes by mail alone:
// so whoever has the account learns of it, and nobody else comes in by it.
func MailOnly(ctx context.Context, tx *db.Tx, u accounts.User) (bool, error) {
	if u.Email == "" {
		return false, nil
	}
	return mail.Works(ctx, tx)
}

// SendReset makes a link for a new password for an account: an administrator's
// doing, who neither sees nor picks the password. It is mailed, or returned when
// noMail is set and no mail can bring it, and the record says so.
func (g *Gate) SendReset(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID, noMail bool) (link string, err error) {
	u, err := accounts.Find(ctx, tx, id)
	if err != nil {
		return "", err
	}
	way := "reset_mailed"
	if noMail {
		way = "reset_link_copied"
	}
	if err := accounts.CheckManage(ctx, tx, by, u, audit.Note("password", way)); err != nil {
		return "", err
	}
	switch {
	case u.State != accounts.Active:
		return "", errs.New(errs.Conflict, "user.reset.impossible")
	case u.Email == "" && !noMail:
		return "", errs.New(errs.Conflict, "user.email.none")
	}
	if noMail {
		if err := accounts.KeepOut(by, u); err != nil {
			return "", err
		}
	}
	mailed, err := MailOnly(ctx, tx, u)
	if err != nil {
		return "", err
	}
	if noMail && mailed {
		return "", errs.New(errs.Conflict, "user.reset.by_mail")
	}
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return "", err
	}
	// With the old password, too, nobody gets further than to a new one.
	if err := accounts.MustChange(ctx, tx, u.ID); err != nil {
		return "", err
	}
	minutes := s.SignIn.ResetMinutes
	token, err := accounts.NewLink(ctx, tx, accounts.ForReset, u.ID, time.Duration(minutes)*time.Minute, nil)
	if err != nil {
		return "", err
	}
	link = g.link(u, "password", token)
	if noMail {
		return link, nil
	}
	return "", g.mail(ctx, tx, u, mail.Reset, "link", link, "minutes", strconv.Itoa(minutes))
}

// LinkPage is what the page behind a link for a password shows.
type LinkPage struct {
	Username string
	Purpose  accounts.Purpose // ForActivation or ForReset
	Policy   passwords.Policy
	Context  passwords.Context
}

// linkPurposes are what links for a password are for, and in which states the
// account may be. One whose computer was deployed works before it is activated.
var linkPurposes = map[accounts.Purpose][]accounts.State{
	accounts.ForReset: {accounts.Active}, accounts.ForActivation: {accounts.Invited, accounts.Active},
}

// peek returns the account of a link for a password. The link of an account
// that was stopped since is over.
func peek(ctx context.Context, tx *db.Tx, token string) (accounts.User, accounts.Purpose, error) {
	for purpose, states := range linkPurposes {
		u, _, err := accounts.PeekLink(ctx, tx, purpose, token)
		if errs.Is(err, errs.LinkExpired) {
			continue
		}
		if err != nil {
			return accounts.User{}, "", err
		}
		if slices.Contains(states, u.State) {
			return u, purpose, nil
		}
	}
	return accounts.User{}, "", errs.Of(errs.LinkExpired)
}

// Link says what a link is for, and does not use it up: mail scanners follow
// links. One that is over is E1107.
func (g *Gate) Link(ctx context.Context, token string) (page LinkPage, err error) {
	err = g.DB.Read(ctx, func(tx *db.Tx) error {
		u, purpose, err := peek(ctx, tx, token)
		if err != nil {
			return err
		}
		page = LinkPage{Username: u.Username, Purpose: purpose}
		page.Policy, page.Context, err = g.PolicyFor(ctx, tx, u)
		return err
	})
	return page, err
}

// SetPasswordByLink uses the link up and sets a password, unless the policy
// refuses it: then the link is as it was. All sessions of the account end, and
// all by which its browsers were known; a lock does, too. Nobody is logged in
// by it, and a second factor is asked for as ever.
func (g *Gate) SetPasswordByLink(ctx context.Context, from access.Caller, token, password string) error {
	var u accounts.User
	var purpose accounts.Purpose
	err := g.DB.Read(ctx, func(tx *db.Tx) (err error) {
		u, purpose, err = peek(ctx, tx, token)
		return err
	})
	if err != nil {
		return err
	}
	hash, err := g.fresh(ctx, u, password)
	if err != nil {
		return err
	}
	from.Session = ""
	return g.DB.Write(ctx, func(tx *db.Tx) error {
		if _, _, err := accounts.UseLink(ctx, tx, purpose, token); err != nil {
			return err
		}
		if err := g.set(ctx, tx, u.Caller(from), u, hash); err != nil {
			return err
		}
		// What undoes a change of the address stays: it is the owner's, whoever
		// read this mail.
		if err := accounts.EndSecrets(ctx, tx, u.ID, accounts.ForReset, accounts.ForActivation, accounts.ForEmail); err != nil {
			return err
		}
		if err := forgetBrowsers(ctx, tx, u.ID); err != nil {
			return err
		}
		_, err := g.unlock(ctx, tx, u.ID, from)
		return err
	})
}
