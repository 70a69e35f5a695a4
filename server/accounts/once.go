package accounts

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

const (
	oncePrefix = "bso_"
	onceLife   = 24 * time.Hour
)

// NewOnce is the id of something that a form asks for and that must not be done
// twice, however often the form is sent.
func NewOnce() string {
	id, _ := NewToken(oncePrefix)
	return id
}

// Once claims an id of NewOnce for its one use, and returns when that was: first
// says that it is this one. What is no such id is Invalid.
func Once(ctx context.Context, tx *db.Tx, by access.Caller, id string) (at time.Time, first bool, err error) {
	hash, ok := HashToken(oncePrefix, id)
	if !ok {
		return time.Time{}, false, errs.New(errs.Invalid, "form.once")
	}
	n, err := tx.Changed(ctx, `INSERT INTO one_time_secrets (secret, purpose, user_id, data, tries, created_at, expires_at, used_at)
		VALUES ($1, 'once', $2, '', 0, $3, $4, $3) ON CONFLICT (secret) DO NOTHING`,
		hash, by.User, db.Micros(tx.Now()), db.Micros(tx.Now().Add(onceLife)))
	if err != nil {
		return time.Time{}, false, fmt.Errorf("claiming an id: %w", err)
	}
	var used int64
	if err := tx.QueryRow(ctx, "SELECT used_at FROM one_time_secrets WHERE secret = $1", hash).Scan(&used); err != nil {
		return time.Time{}, false, fmt.Errorf("looking for an id: %w", err)
	}
	return db.Time(used), n > 0, nil
}
