package accounts

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

const (
	// PendingLife is how long a registration waits for its code.
	PendingLife = 24 * time.Hour

	forgetAtOnce = 100
)

// Forget deletes what nobody came back for: registrations that were not
// confirmed for a day, imports that were not run, and usernames that are no
// longer kept for their owner. It returns how many.
func Forget(ctx context.Context, tx *db.Tx) (int64, error) {
	all, err := forgetPending(ctx, tx)
	if err != nil {
		return 0, err
	}
	for _, statement := range []string{"DELETE FROM user_imports WHERE expires_at <= $1", "DELETE FROM reserved_usernames WHERE until <= $1"} {
		n, err := tx.Changed(ctx, statement, db.Micros(tx.Now()))
		if err != nil {
			return 0, fmt.Errorf("cleaning up after accounts: %w", err)
		}
		all += n
	}
	return all, nil
}

// forgetPending deletes registrations that nobody confirmed.
func forgetPending(ctx context.Context, tx *db.Tx) (int64, error) {
	old, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM users WHERE state = $1 AND state_at <= $2 ORDER BY state_at LIMIT $3",
		Pending, db.Micros(tx.Now().Add(-PendingLife)), forgetAtOnce)
	if err != nil {
		return 0, fmt.Errorf("looking for old registrations: %w", err)
	}
	for _, u := range old {
		if err := dropPending(ctx, tx, access.System("clean-up"), u); err != nil {
			return 0, err
		}
	}
	return int64(len(old)), nil
}
