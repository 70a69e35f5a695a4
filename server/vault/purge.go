package vault

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Purge lets go of what purged users had: their snapshots are no longer live,
// so that nothing needs their objects any more. It takes one user at a time and
// returns how many it took.
func Purge(ctx context.Context, tx *db.Tx) (int64, error) {
	users, err := purged(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("looking for purged users: %w", err)
	}
	for _, user := range users {
		if _, err := change(ctx, tx, user, true); err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, `UPDATE snapshots SET state = 'expired' WHERE user_id = $1 AND state <> 'expired'`, string(user)); err != nil {
			return 0, fmt.Errorf("letting go of the snapshots of user %s: %w", user, err)
		}
	}
	return int64(len(users)), nil
}

// purged are users of whom something is to be let go of.
func purged(ctx context.Context, tx *db.Tx) ([]access.UserID, error) {
	return db.All(ctx, tx, db.Column[access.UserID], `SELECT u.id FROM users u WHERE u.state = 'purged'
		AND EXISTS (SELECT 1 FROM snapshots s WHERE s.user_id = u.id AND s.state IN ('live', 'replaced')) ORDER BY u.id LIMIT 1`)
}
