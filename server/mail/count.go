package mail

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Count is how many mails of a template about a user were queued since then,
// whatever has become of them: for who must not have too many sent.
func Count(ctx context.Context, tx *db.Tx, user access.UserID, t Template, since time.Time) (n int, err error) {
	err = tx.QueryRow(ctx, "SELECT count(*) FROM outbox WHERE user_id = $1 AND template = $2 AND created_at > $3", user, t, db.Micros(since)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting the mails about user %s: %w", user, err)
	}
	return n, nil
}
