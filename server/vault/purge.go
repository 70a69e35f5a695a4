package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Purge lets go of what purged users and purged devices had: their snapshots are
// no longer live, so that nothing needs their objects any more. It takes one of
// them at a time and returns how many it took.
func Purge(ctx context.Context, tx *db.Tx) (int64, error) {
	const left = " AND s.state IN ('live', 'replaced')) LIMIT 1"
	for _, of := range []struct{ find, column string }{
		{"SELECT u.id, u.id FROM users u WHERE u.state = 'purged' AND EXISTS (SELECT 1 FROM snapshots s WHERE s.user_id = u.id" + left, "user_id"},
		{"SELECT d.user_id, d.id FROM devices d WHERE d.state = 'purged' AND EXISTS (SELECT 1 FROM snapshots s WHERE s.device = d.id" + left, "device"},
	} {
		var user access.UserID
		var id string
		err := tx.QueryRow(ctx, of.find).Scan(&user, &id)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("looking for what was purged: %w", err)
		}
		if _, err := change(ctx, tx, user, true); err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, "UPDATE snapshots SET state = 'expired' WHERE "+of.column+" = $1 AND state <> 'expired'", id); err != nil {
			return 0, fmt.Errorf("letting go of the snapshots of user %s: %w", user, err)
		}
		return 1, nil
	}
	return 0, nil
}
