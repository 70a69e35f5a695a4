package accounts

import (
	"context"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
)

// Request is what a user asks of the administrators.
type Request struct {
	ID        string
	Org       orgs.ID
	User      ID
	Username  string
	Kind      string // delete_account
	State     string // open, done, refused
	CreatedAt time.Time
	ClosedAt  time.Time
}

// RequestDeletion asks the administrators to delete the caller's own account.
// The answer is the same whether or not a legal hold keeps them from doing it.
func RequestDeletion(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring) error {
	return errs.New(errs.Unavailable, "user.unknown")
}

// Requests returns the open requests of an organisation, the oldest first.
func Requests(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]Request, error) {
	return nil, nil
}

// RefuseRequest closes a request without doing what it asks. Deleting the
// account closes it, too.
func RefuseRequest(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	return errs.New(errs.NotFound, "user.unknown")
}
