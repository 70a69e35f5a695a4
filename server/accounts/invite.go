package accounts

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
)

// PortalOf is the address of an account's portal on the server at address.
func PortalOf(address string, u User) string {
	address = strings.TrimRight(address, "/")
	if u.Kind == access.AdminKind {
		return address + "/admin"
	}
	return address
}

// LinkOf is a link to a page of an account's portal with a token of NewLink:
// "password" sets one, "email/undo" has the old address back.
func LinkOf(address string, u User, page, token string) string {
	return PortalOf(address, u) + "/" + page + "?token=" + url.QueryEscape(token)
}

// InviteOptions are how an account is invited.
type InviteOptions struct {
	// Secret is a temporary one from passwords.Readable, for the client's
	// screen. Hash is that of Secret, from Hasher.HashRandom, and replaces the
	// one before; empty when Create was given it.
	Secret, Hash string

	Command string // what the user types to activate a computer; may be empty
	NoMail  bool   // return the link instead, for the administrator to hand over
}

// Invite makes a new activation link for an account without a password, and
// mails it; all older ones are void. address is the server's. The link is
// returned only when no mail is sent, and the record says so.
func Invite(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, address string, id ID, opts InviteOptions) (link string, err error) {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return "", err
	}
	link, m, err := invite(ctx, tx, by, address, u, opts)
	if err != nil || opts.NoMail {
		return link, err
	}
	return "", mail.Queue(ctx, tx, ring, m)
}

// invite is Invite without sending the mail.
func invite(ctx context.Context, tx *db.Tx, by access.Caller, address string, u User, opts InviteOptions) (link string, m mail.Mail, err error) {
	if err := MayManage(by, u); err != nil {
		return "", m, err
	}
	if u.State != Invited {
		return "", m, errs.New(errs.Conflict, "user.invite.impossible")
	}
	if u.Email == "" && !opts.NoMail {
		return "", m, errs.New(errs.Invalid, "user.email.none")
	}
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return "", m, err
	}
	days := s.SignIn.ActivationDays
	life := time.Duration(days) * 24 * time.Hour
	if opts.Hash != "" {
		u.password, u.PasswordAt, u.TemporaryUntil, u.UpdatedAt = opts.Hash, tx.Now(), tx.Now().Add(life), tx.Now()
		if err := update(ctx, tx, u); err != nil {
			return "", m, fmt.Errorf("giving account %s a temporary secret: %w", u.ID, err)
		}
	}
	token, err := NewLink(ctx, tx, ForActivation, u.ID, life, nil)
	if err != nil {
		return "", m, err
	}
	link = LinkOf(address, u, "password", token)
	if opts.NoMail {
		return link, m, manage(ctx, tx, by, u, audit.Note("invitation", "link_copied"))
	}
	m = mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.Activation, Values: map[string]string{
		"username": u.Username, "link": link, "portal": PortalOf(address, u), "days": strconv.Itoa(days)}}
	for name, value := range map[string]string{"secret": opts.Secret, "command": opts.Command} {
		if value != "" {
			m.Values[name] = value
		}
	}
	return link, m, manage(ctx, tx, by, u, audit.Note("invitation", "mailed"))
}
