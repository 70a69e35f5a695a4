package signin

import (
	"context"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// product is the name that no password may be made of.
const product = "Backstay"

// PolicyFor is the policy that an account's password must meet, and what that
// policy needs to know of the account.
func (g *Gate) PolicyFor(ctx context.Context, tx *db.Tx, u accounts.User) (passwords.Policy, passwords.Context, error) {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return "", passwords.Context{}, err
	}
	policy := passwords.Policy(s.SignIn.UserPolicy)
	if u.Kind == access.AdminKind {
		policy = passwords.Policy(s.SignIn.AdminPolicy)
	}
	c := passwords.Context{Username: u.Username, Email: u.Email, Product: product}
	org, err := orgs.Find(ctx, tx, u.Org)
	if err != nil {
		return "", passwords.Context{}, err
	}
	c.Org = org.Name
	if u.ID == "" {
		return policy, c, nil
	}
	has, err := factors.Of(ctx, tx, u.ID)
	c.Factor = has.Any()
	return policy, c, err
}

// outdated notes about an account that logs in that its password breaks the
// policy of today: it must be changed then.
func (g *Gate) outdated(ctx context.Context, tx *db.Tx, u *accounts.User, password string) error {
	policy, c, err := g.PolicyFor(ctx, tx, *u)
	if err != nil || u.MustChangePassword || passwords.Refuse(policy, password, c) == nil {
		return err
	}
	u.MustChangePassword = true
	return accounts.MustChange(ctx, tx, u.ID)
}

// fresh is the hash of a password that u may have from now on: it meets the
// policy, and is neither the one of now nor one of those that are remembered.
// It hashes, and belongs outside of transactions.
func (g *Gate) fresh(ctx context.Context, u accounts.User, password string) (string, error) {
	var earlier []string
	var n int
	err := g.DB.Read(ctx, func(tx *db.Tx) error {
		policy, c, err := g.PolicyFor(ctx, tx, u)
		if err != nil {
			return err
		}
		if err := passwords.Refuse(policy, password, c); err != nil {
			return err
		}
		if n, err = g.remembered(ctx, tx, u); err != nil {
			return err
		}
		earlier, err = accounts.Remembered(ctx, tx, u.ID, n)
		return err
	})
	if err != nil {
		return "", err
	}
	if u.HasPassword() {
		same, err := u.Knows(ctx, g.Hasher, password)
		if err != nil {
			return "", err
		}
		if same {
			return "", errs.New(errs.Invalid, "user.password.same")
		}
	}
	for _, hash := range earlier {
		same, err := g.Hasher.Verify(ctx, hash, password)
		if err != nil {
			return "", err
		}
		if same {
			return "", errs.New(errs.Invalid, "user.password.earlier", "n", n)
		}
	}
	return g.Hasher.Hash(ctx, password)
}

// remembered is how many earlier passwords an account may not have again.
func (g *Gate) remembered(ctx context.Context, tx *db.Tx, u accounts.User) (int, error) {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return 0, err
	}
	policy := s.SignIn.UserPolicy
	if u.Kind == access.AdminKind {
		policy = s.SignIn.AdminPolicy
	}
	return s.SignIn.Remembered(policy), nil
}

// set gives an account a password of its owner's choice. u is the account as it
// was when the old one was shown: when it has changed since, nothing is set.
func (g *Gate) set(ctx context.Context, tx *db.Tx, by access.Caller, u accounts.User, hash string) error {
	now, err := accounts.Find(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if now.State != u.State || !now.PasswordAt.Equal(u.PasswordAt) {
		return errs.New(errs.Conflict, "user.password.changed")
	}
	n, err := g.remembered(ctx, tx, u)
	if err != nil {
		return err
	}
	if err := accounts.Remember(ctx, tx, u.ID, n); err != nil {
		return err
	}
	if err := accounts.SetPassword(ctx, tx, by, u.ID, hash, false); err != nil {
		return err
	}
	if u.State == accounts.Invited {
		return nil // who has just been let in knows
	}
	return g.mail(ctx, tx, u, mail.PasswordChanged, "at", tx.Now().Format(time.RFC3339), "ip", by.IP, "link", g.link(u, "forgot", ""))
}

// ChangePassword is the owner's own change: who does not know the old password
// gets E1101. All other sessions of the account end. An account with a second
// factor has to have given it within the last minutes, as for Fresh.
func (g *Gate) ChangePassword(ctx context.Context, by access.Caller, s accounts.Session, old, password string) error {
	err := g.DB.Read(ctx, func(tx *db.Tx) error { return g.MayChangePassword(ctx, tx, s) })
	if err != nil {
		return err
	}
	return g.change(ctx, by, s.Portal, old, password, "")
}

// MayChangePassword fails, as Fresh does, where ChangePassword will ask for more
// than the old password: an account with a second factor has to have proved it.
func (g *Gate) MayChangePassword(ctx context.Context, tx *db.Tx, s accounts.Session) error {
	has, err := factors.Of(ctx, tx, s.User)
	if err != nil || !has.Any() {
		return err
	}
	return g.Fresh(ctx, tx, s)
}

// ChangeAtClient is ChangePassword at a device, which has no session: an account
// with a second factor needs a code of it.
func (g *Gate) ChangeAtClient(ctx context.Context, by access.Caller, old, password, code string) error {
	return g.change(ctx, by, accounts.ToClient, old, password, code)
}

func (g *Gate) change(ctx context.Context, by access.Caller, portal accounts.Portal, old, password, code string) error {
	u, err := g.Confirm(ctx, by, portal, by.User, old, code)
	if err != nil {
		return err
	}
	hash, err := g.fresh(ctx, u, password)
	if err != nil {
		return err
	}
	by = u.Caller(by)
	return g.DB.Write(ctx, func(tx *db.Tx) error { return g.set(ctx, tx, by, u, hash) })
}

// SetFirstPassword replaces the password of a session in StagePassword, and
// ends that stage. All other sessions of the account end.
func (g *Gate) SetFirstPassword(ctx context.Context, by access.Caller, s accounts.Session, password string) (out Started, err error) {
	if s.Stage != accounts.StagePassword {
		return out, errs.New(errs.Unauthenticated, "login.session.staged")
	}
	u, err := g.find(ctx, s.User)
	if err != nil {
		return out, err
	}
	hash, err := g.fresh(ctx, u, password)
	if err != nil {
		return out, err
	}
	by = u.Caller(by)
	by.Session = s.ID
	err = g.DB.Write(ctx, func(tx *db.Tx) error {
		if err := g.set(ctx, tx, by, u, hash); err != nil {
			return err
		}
		now, err := accounts.Find(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		to, err := g.stage(ctx, tx, now, s.Factor != byPassword)
		if err != nil {
			return err
		}
		out.Token, out.Session, err = accounts.Advance(ctx, tx, s, to, s.Factor)
		return err
	})
	return out, err
}

// ReplaceTemporary is SetFirstPassword for the client, which was told E1105 and
// has no session. An account with a second factor is told to use the portal,
// where there is one.
func (g *Gate) ReplaceTemporary(ctx context.Context, from access.Caller, identifier, old, password string) (accounts.User, error) {
	return g.ReplaceWithCode(ctx, from, identifier, old, password, "")
}

// ReplaceWithCode is ReplaceTemporary with a code of the second factor.
func (g *Gate) ReplaceWithCode(ctx context.Context, from access.Caller, identifier, old, password, code string) (accounts.User, error) {
	u, err := g.login(ctx, from, Attempt{Portal: accounts.ToClient, Identifier: identifier, Password: old, Code: code}, true)
	if err != nil {
		return accounts.User{}, err
	}
	hash, err := g.fresh(ctx, u, password)
	if err != nil {
		return accounts.User{}, err
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) error {
		if err := g.set(ctx, tx, u.Caller(from), u, hash); err != nil {
			return err
		}
		u, err = accounts.Find(ctx, tx, u.ID)
		return err
	})
	return u, err
}
