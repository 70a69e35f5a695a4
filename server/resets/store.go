package resets

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
)

const columns = `id, org, name, reason, filter, distrust, batch, state, approval, created_by, created_at, started_at, ended_at,
	letter, told_by, reminded_at`

func scan(row db.Row) (r Reset, err error) {
	var filter, letter string
	var created, started, ended, reminded int64
	err = row.Scan(&r.ID, &r.Org, &r.Name, &r.Reason, &filter, &r.Distrust, &r.Batch, &r.State, &r.Approval, &r.CreatedBy, &created, &started, &ended,
		&letter, &r.ToldBy, &reminded)
	if err != nil {
		return r, err
	}
	r.CreatedAt, r.StartedAt, r.EndedAt, r.RemindedAt = db.Time(created), db.Time(started), db.Time(ended), db.Time(reminded)
	if letter != "" {
		r.Letter = new(Letter)
		if err := json.Unmarshal([]byte(letter), r.Letter); err != nil {
			return r, err
		}
	}
	return r, json.Unmarshal([]byte(filter), &r.Filter)
}

func find(ctx context.Context, tx *db.Tx, id string) (Reset, error) {
	r, err := scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM resets WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return Reset{}, errs.New(errs.NotFound, "reset.unknown")
	}
	if err != nil {
		return Reset{}, fmt.Errorf("reading reset %s: %w", id, err)
	}
	return r, nil
}

func insert(ctx context.Context, tx *db.Tx, r Reset, chosen []devices.Chosen) error {
	filter, err := json.Marshal(r.Filter)
	if err != nil {
		return fmt.Errorf("asking for a reset: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO resets ("+columns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, 0, 0, '', '', 0)",
		r.ID, r.Org, r.Name, r.Reason, string(filter), r.Distrust, r.Batch, r.State, r.CreatedBy, db.Micros(r.CreatedAt))
	for len(chosen) > 0 && err == nil {
		part := chosen[:min(len(chosen), atOnce)]
		chosen = chosen[len(part):]
		var values strings.Builder
		args := []any{r.ID}
		for i, c := range part {
			fmt.Fprintf(&values, ", ($1, $%d, $%d, 0, '', 0)", 2*i+2, 2*i+3)
			args = append(args, string(c.ID), string(c.User))
		}
		_, err = tx.Exec(ctx, "INSERT INTO reset_devices (reset, device, user_id, deactivated_at, mailed, told_at) VALUES "+values.String()[2:], args...)
	}
	if err != nil {
		return fmt.Errorf("asking for a reset: %w", err)
	}
	return nil
}

func setState(ctx context.Context, tx *db.Tx, id string, to State) error {
	_, err := tx.Exec(ctx, `UPDATE resets SET state = $2, started_at = CASE WHEN $2 = 'running' AND started_at = 0 THEN $3 ELSE started_at END,
		ended_at = CASE WHEN $2 IN ('done', 'cancelled') THEN $3 ELSE 0 END WHERE id = $1`, id, to, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("moving reset %s to %s: %w", id, to, err)
	}
	return nil
}
