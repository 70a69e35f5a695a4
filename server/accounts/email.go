package accounts

import (
	"context"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// BeginEmail is an account's own wish for another address: a code goes there,
// and nothing changes until ConfirmEmail is given it.
func BeginEmail(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, address string) error {
	return errs.New(errs.Unavailable, "user.email.invalid")
}

// ConfirmEmail sets the address that the code was sent to. The old address is
// told, with a link that undoes it for 72 hours. A wrong code is E1108, one
// that is over E1107.
func ConfirmEmail(ctx context.Context, d *db.DB, by access.Caller, ring *keys.Ring, url, code string) error {
	return errs.Of(errs.LinkExpired)
}

// UndoEmail gives an account its address of before back, by the link that was
// mailed there, and ends its sessions.
func UndoEmail(ctx context.Context, tx *db.Tx, from access.Caller, token string) (User, error) {
	return User{}, errs.Of(errs.LinkExpired)
}
