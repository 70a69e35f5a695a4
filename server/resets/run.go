package resets

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/keys"
)

// atOnce bounds a transaction: others wait for it.
const atOnce = 250

// Run goes on with every reset: it revokes as many devices as are due, queues
// the mails that are, and ends those whose devices are all back. Any server may
// do it, at any time; what one of them did the others do not do again.
func Run(ctx context.Context, store *db.DB, ring *keys.Ring) error {
	var open []string
	err := store.Read(ctx, func(tx *db.Tx) (err error) {
		open, err = db.All(ctx, tx, db.Column[string], `SELECT id FROM resets WHERE state IN ('running', 'revoked')
			OR EXISTS (SELECT 1 FROM reset_devices x WHERE x.reset = resets.id AND x.mailed <> '') ORDER BY created_at`)
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for resets to go on with: %w", err)
	}
	for _, id := range open {
		for _, step := range []func(context.Context, *db.Tx, *keys.Ring, Reset) (bool, error){revoke, write, finish} {
			for more := true; more; {
				err := store.Write(ctx, func(tx *db.Tx) error {
					r, err := find(ctx, tx, id)
					if err == nil {
						more, err = step(ctx, tx, ring, r)
					}
					return err
				})
				if err != nil {
					return fmt.Errorf("going on with reset %s: %w", id, err)
				}
			}
		}
	}
	return nil
}

// revoke takes the credentials of the devices that are due, and reports whether
// more are.
func revoke(ctx context.Context, tx *db.Tx, _ *keys.Ring, r Reset) (more bool, err error) {
	if r.State != Running {
		return false, nil
	}
	most := int64(atOnce)
	if r.Batch > 0 {
		var lately int64
		err := tx.QueryRow(ctx, "SELECT count(*) FROM reset_devices WHERE reset = $1 AND deactivated_at > $2", r.ID, db.Micros(tx.Now().Add(-time.Minute))).Scan(&lately)
		if err != nil {
			return false, err
		}
		if most = min(most, r.Batch-lately); most <= 0 {
			return false, nil
		}
	}
	due, err := db.All(ctx, tx, db.Column[devices.ID], "SELECT device FROM reset_devices WHERE reset = $1 AND deactivated_at = 0 ORDER BY device LIMIT $2", r.ID, most)
	if err != nil {
		return false, err
	}
	if len(due) == 0 {
		return false, r.move(ctx, tx, access.System("security reset"), Revoked, Running)
	}
	err = devices.Reset(ctx, tx, access.System("security reset"), due, r.Reason, r.Distrust, audit.Note("reset", r.ID))
	if err != nil {
		return false, err
	}
	args := append([]any{r.ID, db.Micros(tx.Now()), r.firstMail()}, db.Args(due)...)
	_, err = tx.Exec(ctx, "UPDATE reset_devices SET deactivated_at = $2, mailed = $3 WHERE reset = $1 AND device IN ("+db.In(len(due), 4)+")", args...)
	return true, err
}

// finish ends a reset whose devices are all back, or gone.
func finish(ctx context.Context, tx *db.Tx, _ *keys.Ring, r Reset) (more bool, err error) {
	if r.State != Revoked {
		return false, nil
	}
	var missing bool
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1"+joined+" AND "+isMissing+")", r.ID).Scan(&missing)
	if err != nil || missing {
		return false, err
	}
	return false, r.move(ctx, tx, access.System("security reset"), Done, Revoked)
}

// A device of reset $1 is back when its key is newer than the revocation, or
// another computer has gone on with its data; missing while it is deactivated;
// and gone when something else became of it.
const (
	joined     = " FROM reset_devices x JOIN devices d ON d.id = x.device JOIN users u ON u.id = x.user_id WHERE x.reset = $1"
	isBack     = "x.deactivated_at > 0 AND (d.activated_at > x.deactivated_at OR d.state = 'replaced')"
	isMissing  = "x.deactivated_at > 0 AND d.activated_at <= x.deactivated_at AND d.state = 'deactivated'"
	isGone     = "x.deactivated_at > 0 AND d.activated_at <= x.deactivated_at AND d.state NOT IN ('deactivated', 'replaced')"
	isAffected = isMissing + " AND u.state = 'active' AND u.email <> ''" // and can be told
)
