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
	list := make([]any, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	active, err := db.All(ctx, tx, func(row db.Row) (d Device, err error) {
		err = row.Scan(&d.ID, &d.Org, &d.User)
		return d, err
	}, "SELECT id, org, user_id FROM devices WHERE state = 'active' AND id IN ("+db.In(len(list), 1)+") ORDER BY id", list...)
	if err != nil {
		return fmt.Errorf("looking for devices to reset: %w", err)
	}
	for _, d := range active {
		err := audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(d.ID), audit.Change("state", Active, Deactivated), why)
		if err == nil {
			err = accounts.EndTokens(ctx, tx, d.ID)
		}
		if err != nil {
			return err
		}
	}
	now, in := db.Micros(tx.Now()), db.In(len(list), 2)
	args := append([]any{now}, list...)
	for _, statement := range []string{
		"UPDATE activations SET expires_at = $1 WHERE ended_at = 0 AND expires_at > $1 AND target IN (" + in + ")",
		"UPDATE activations SET expires_at = $1 WHERE ended_at = 0 AND expires_at > $1 AND previous IN (" + in + ")",
		"UPDATE activation_keys SET expires_at = $1, tries = 0 WHERE used_at = 0 AND expires_at > $1 AND device IN (" + in + ")",
		"UPDATE devices SET state = 'deactivated', state_at = $1, reset_at = $1, changed_at = $1, inactive_at = 0, noted_at = 0 WHERE state = 'active' AND id IN (" + in + ")",
	} {
		if _, err := tx.Exec(ctx, statement, args...); err != nil {
			return fmt.Errorf("resetting devices: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET state_reason = $1 WHERE state = 'deactivated' AND reset_at = state_at AND id IN ("+in+")",
		append([]any{reason}, list...)...); err != nil {
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
