package admission

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// The states of a row.
const (
	Sending = "sending"
	Waiting = "waiting"
)

// Has reports whether a device has a place that was renewed a short while ago.
// When it has not, Enter renews it or finds another.
func Has(ctx context.Context, tx *db.Tx, device access.DeviceID) (bool, error) {
	var n int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM turns WHERE device = $1 AND state = 'sending' AND expires_at > $2`,
		string(device), db.Micros(tx.Now().Add(idle-renewal))).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("looking for the place of device %s: %w", device, err)
	}
	return n > 0, nil
}

// read returns the turn of a device, a new one when it does not wait, and those of
// all others, of whom nothing is to be known when the device has a place.
func read(ctx context.Context, tx *db.Tx, by access.Caller) (me turn, others []turn, err error) {
	me = turn{device: by.Device, user: by.User, since: tx.Now()}
	const turns = `SELECT device, user_id, state, since, due_at FROM turns WHERE expires_at > $1 AND device `
	mine, err := db.All(ctx, tx, scan, turns+"= $2", db.Micros(tx.Now()), string(by.Device))
	if len(mine) > 0 {
		me = mine[0]
	}
	if err != nil || me.sending {
		return me, nil, err
	}
	others, err = db.All(ctx, tx, scan, turns+"<> $2", db.Micros(tx.Now()), string(by.Device))
	return me, others, err
}

func scan(row db.Row) (t turn, err error) {
	var state string
	var since, due int64
	err = row.Scan(&t.device, &t.user, &state, &since, &due)
	t.sending, t.since, t.due = state == Sending, db.Time(since), db.Time(due)
	return t, err
}

// write keeps what was decided about me, and reports whether it holds: meanwhile
// another may have taken the place, me may have lost the one it had, and a request
// of me beside this one may have got it one.
func (v verdict) write(ctx context.Context, tx *db.Tx, me turn, places int) (holds bool, err error) {
	now := tx.Now()
	switch {
	case me.sending:
		n, err := tx.Changed(ctx, `UPDATE turns SET expires_at = $3 WHERE device = $1 AND state = 'sending' AND expires_at > $2`,
			string(me.device), db.Micros(now), db.Micros(now.Add(idle)))
		return n > 0, err
	case v.over != "":
		n, err := tx.Changed(ctx, `DELETE FROM turns WHERE device = $1 AND state = 'sending'`, string(v.over))
		if err != nil || n == 0 {
			return false, err
		}
	case v.admitted:
		taken, err := Counts(ctx, tx)
		if err != nil || taken[Sending] >= places {
			return false, err
		}
	}
	state, since, due, expires := Sending, now, now, now.Add(idle)
	if !v.admitted {
		state, since, due, expires = Waiting, me.since, now.Add(v.delay), now.Add(v.delay+grace)
	}
	n, err := tx.Changed(ctx, `INSERT INTO turns (device, user_id, state, since, due_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (device) DO UPDATE SET user_id = excluded.user_id, state = excluded.state, since = excluded.since, due_at = excluded.due_at, expires_at = excluded.expires_at
		WHERE turns.state = 'waiting' OR turns.expires_at <= $7`,
		string(me.device), string(me.user), state, db.Micros(since), db.Micros(due), db.Micros(expires), db.Micros(now))
	return n > 0, err
}

// Counts is how many devices send and how many wait, by state.
func Counts(ctx context.Context, tx *db.Tx) (map[string]int, error) {
	n, err := db.Counts[string](ctx, tx, `SELECT state, count(*) FROM turns WHERE expires_at > $1 GROUP BY state`, db.Micros(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("counting who backs up: %w", err)
	}
	return n, nil
}

// Expire deletes what was lost because nobody came, and returns how much. It
// counts for nothing before.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	n, err := tx.Changed(ctx, `DELETE FROM turns WHERE expires_at <= $1`, db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("deleting turns that were lost: %w", err)
	}
	return n, nil
}
