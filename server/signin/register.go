package signin

import (
	"context"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
)

// Registration is who asks for an account of their own.
type Registration struct {
	Email     string
	Username  string // from the client the address when empty
	FirstName string
	LastName  string
	Serial    string // of the licence, where the server asks for it
	Language  string

	// Password is given by the client, and confirmed by a code; without one
	// the mail has a link by which it is set.
	Password string
}

// Register makes an account for who asks: invited and with a link in a mail, or,
// with a password, pending until the code in the mail is typed. The answer is
// the same when the username is taken; then the mail says so. pending names the
// registration for ResendCode and ConfirmRegistration.
func (g *Gate) Register(ctx context.Context, from access.Caller, r Registration) (pending string, err error) {
	return "", errs.Of(errs.ServerBusy, "n", 1)
}

// ResendCode mails another code, the one before is worth nothing then, and says
// how long to wait until the next may be asked for. Before that it is E1104.
func (g *Gate) ResendCode(ctx context.Context, from access.Caller, pending string) (wait time.Duration, err error) {
	return 0, errs.Of(errs.ServerBusy, "n", 1)
}

// ConfirmRegistration makes a pending account active by its code. A wrong one is
// E1108, one that is over E1107.
func (g *Gate) ConfirmRegistration(ctx context.Context, from access.Caller, pending, code string) (accounts.User, error) {
	return accounts.User{}, errs.Of(errs.ServerBusy, "n", 1)
}
