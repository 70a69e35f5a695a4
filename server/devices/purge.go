package devices

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/db"
)

// purgeAtOnce bounds a transaction of Purge.
const purgeAtOnce = 500

// Purge blanks the devices of users that are purged: what is left says that
// they were, and gives what was stored its tombstones. It returns how many.
func Purge(ctx context.Context, tx *db.Tx) (int64, error) {
	const chosen = `(SELECT d.id FROM devices d JOIN users u ON u.id = d.user_id
		WHERE u.state = 'purged' AND d.state <> 'purged' ORDER BY d.id LIMIT $1)`
	for _, table := range []string{"device_tokens", "device_challenges", "device_requests"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE device IN "+chosen, purgeAtOnce); err != nil {
			return 0, fmt.Errorf("purging devices: %w", err)
		}
	}
	n, err := tx.Changed(ctx, `UPDATE devices SET state = 'purged', state_at = $2, state_reason = '', name = id, name_key = id, search = '',
		machine_id = '', serial = '', hostname = '', os_user = '', folders = '', last_ip = '', status = '', status_code = '', progress = '',
		next_run_at = 0, changed_at = $2 WHERE id IN `+chosen, purgeAtOnce, db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("purging devices: %w", err)
	}
	return n, nil
}
