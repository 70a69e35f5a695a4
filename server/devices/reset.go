package devices

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Reset deactivates those of the devices that are active, as SetState does one.
// What was begun to bring one of them back is over, and an activation key for
// it: that was before. With distrust their keys of until now let no computer
// back by themselves. Many at once are for the caller to part.
func Reset(ctx context.Context, tx *db.Tx, by access.Caller, ids []ID, reason string, distrust bool, why audit.Detail) error {
	active, err := inState(ctx, tx, Active, ids)
	if err != nil {
		return err
	}
	if err := recordMoved(ctx, tx, by, active, Deactivated, audit.Note("reason", reason), why); err != nil {
		return err
	}
	list := db.Args(ids)
	if err := accounts.EndTokens(ctx, tx, ids...); err != nil {
		return err
	}
	in := db.In(len(list), 2)
	args := append([]any{db.Micros(tx.Now())}, list...)
	for _, statement := range []string{
		"UPDATE activations SET expires_at = $1 WHERE ended_at = 0 AND expires_at > $1 AND (target IN (" + in + ") OR previous IN (" + in + ")" +
			" OR choice = '' AND user_id IN (SELECT user_id FROM devices WHERE id IN (" + in + ")))",
		"UPDATE activation_keys SET expires_at = $1, tries = 0 WHERE used_at = 0 AND expires_at > $1 AND device IN (" + in + ")",
	} {
		if _, err := tx.Exec(ctx, statement, args...); err != nil {
			return fmt.Errorf("ending what would bring devices back: %w", err)
		}
	}
	_, err = tx.Exec(ctx, `UPDATE devices SET state = 'deactivated', state_at = $1, reset_at = $1, changed_at = $1, state_reason = $2, inactive_at = 0, noted_at = 0
		WHERE state = 'active' AND id IN (`+db.In(len(list), 3)+")", append([]any{db.Micros(tx.Now()), reason}, list...)...)
	if err != nil {
		return fmt.Errorf("resetting devices: %w", err)
	}
	if !distrust {
		return nil
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET distrusted_at = $1 WHERE id IN ("+in+")", args...); err != nil {
		return fmt.Errorf("distrusting the keys of devices: %w", err)
	}
	return nil
}
