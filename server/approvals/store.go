package approvals

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

const columns = `id, org, kind, data, summary, reason, seal, state, asked_by, asked_name, asked_at, expires_at,
	decided_by, decided_name, decided_at, not_before, ended_at, failure`

func scan(row db.Row) (a Approval, err error) {
	var data, failure string
	var asked, expires, decided, notBefore, ended int64
	err = row.Scan(&a.ID, &a.Org, &a.Kind, &data, &a.summary, &a.Reason, &a.seal, &a.State, &a.AskedBy, &a.AskedName, &asked, &expires,
		&a.DecidedBy, &a.DecidedName, &decided, &notBefore, &ended, &failure)
	if err != nil {
		return a, err
	}
	a.Data = json.RawMessage(data)
	a.AskedAt, a.ExpiresAt, a.DecidedAt, a.NotBefore, a.EndedAt = db.Time(asked), db.Time(expires), db.Time(decided), db.Time(notBefore), db.Time(ended)
	if failure != "" {
		var why errs.Note
		if err := json.Unmarshal([]byte(failure), &why); err != nil {
			return a, err
		}
		a.Failure = why.Failure()
	}
	return a, json.Unmarshal([]byte(a.summary), &a.Summary)
}

// Find returns an act and asks nobody's permission. One whose time is over is
// Expired, also before Expire has come by.
func Find(ctx context.Context, tx *db.Tx, id string) (Approval, error) {
	a, err := scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM approvals WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return Approval{}, errs.New(errs.NotFound, "approval.unknown")
	}
	if err != nil {
		return Approval{}, fmt.Errorf("reading approval %s: %w", id, err)
	}
	return asOf(tx.Now(), a), nil
}

// asOf is an act as it is at a time.
func asOf(now time.Time, a Approval) Approval {
	if a.State == Waiting && !now.Before(a.ExpiresAt) {
		a.State = Expired
	}
	return a
}

// listed is for how long acts that are over stand in the list.
const listed = 365 * 24 * time.Hour

func list(ctx context.Context, tx *db.Tx, org orgs.ID, open bool) ([]Approval, error) {
	where, args := "asked_at > $2", []any{org, db.Micros(tx.Now().Add(-listed))}
	if open {
		where, args = "(state = $2 AND expires_at > $3 OR state = $4)", []any{org, Waiting, db.Micros(tx.Now()), Approved}
	}
	list, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM approvals WHERE org IN ('', $1) AND "+where+" ORDER BY asked_at DESC, id DESC LIMIT 500", args...)
	if err != nil {
		return nil, fmt.Errorf("listing approvals: %w", err)
	}
	for i, a := range list {
		list[i] = asOf(tx.Now(), a)
	}
	return list, nil
}

func insert(ctx context.Context, tx *db.Tx, a Approval) error {
	_, err := tx.Exec(ctx, "INSERT INTO approvals ("+columns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, '')`,
		a.ID, a.Org, a.Kind, string(a.Data), a.summary, a.Reason, a.seal, a.State, a.AskedBy, a.AskedName, db.Micros(a.AskedAt), db.Micros(a.ExpiresAt),
		a.DecidedBy, a.DecidedName, db.Micros(a.DecidedAt), db.Micros(a.NotBefore))
	if err != nil {
		return fmt.Errorf("asking for %s: %w", a.Kind, err)
	}
	return nil
}

// move writes down the state of an act that was before in another one.
func move(ctx context.Context, tx *db.Tx, a Approval, before State) error {
	failure := ""
	if a.Failure != nil {
		text, err := json.Marshal(errs.NoteOf(a.Failure))
		if err != nil {
			return fmt.Errorf("noting why approval %s failed: %w", a.ID, err)
		}
		failure = string(text)
	}
	n, err := tx.Changed(ctx, `UPDATE approvals SET state = $3, decided_by = $4, decided_name = $5, decided_at = $6, not_before = $7, ended_at = $8,
		failure = $9 WHERE id = $1 AND state = $2`,
		a.ID, before, a.State, a.DecidedBy, a.DecidedName, db.Micros(a.DecidedAt), db.Micros(a.NotBefore), db.Micros(a.EndedAt), failure)
	if err != nil {
		return fmt.Errorf("deciding on approval %s: %w", a.ID, err)
	}
	if n != 1 {
		return over(a) // somebody was faster
	}
	return nil
}
