package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
)

const (
	// KeyPrefix begins every activation key.
	KeyPrefix = "bsy_"

	keyLife  = 72 * time.Hour
	keyTries = 3
	keepKeys = 30 * 24 * time.Hour // after they are over, for those who look what became of them
)

// Key is an activation key: with it a computer activates itself for a user, once.
type Key struct {
	ID        string
	User      accounts.ID
	Choice    string // wire.Add, wire.Replace, wire.Reactivate or Succeed
	Device    ID     // of the choice, empty with wire.Add
	Tries     int    // left
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time
}

// Over reports whether a key is good for nothing any more.
func (k Key) Over(now time.Time) bool {
	return !k.UsedAt.IsZero() || k.Tries <= 0 || !now.Before(k.ExpiresAt)
}

// IssueKey makes a key for a user, and returns its text, which nothing keeps. It
// lasts 72 hours, for three tries. A user who keeps administrators out gets
// none: whoever holds one could restore what is theirs.
func IssueKey(ctx context.Context, tx *db.Tx, by access.Caller, user accounts.ID, choice string, device ID) (text string, k Key, err error) {
	u, err := accounts.Find(ctx, tx, user)
	if err != nil {
		return "", Key{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", Key{}, fmt.Errorf("naming an activation key: %w", err)
	}
	k = Key{ID: id.String(), User: u.ID, Choice: choice, Device: device, Tries: keyTries, CreatedBy: by.ID(), CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(keyLife)}
	err = audit.Check(ctx, tx, by, access.ManageDevices, u.Org, u.ID, "user/"+string(u.ID), audit.Note("activation_key", k.ID),
		audit.Note("choice", choice), audit.Note("device", device))
	if err != nil {
		return "", Key{}, err
	}
	if by.Kind == access.UserKind {
		return "", Key{}, errs.New(errs.Forbidden, "access.denied").
			Because(&audit.Denial{Action: access.ManageDevices, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID)})
	}
	if err := k.check(ctx, tx, u); err != nil {
		return "", Key{}, err
	}
	text, hash := accounts.NewToken(KeyPrefix)
	_, err = tx.Exec(ctx, `INSERT INTO activation_keys (id, org, user_id, secret, choice, device, tries, created_by, created_at, expires_at, used_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)`,
		k.ID, u.Org, k.User, hash, k.Choice, k.Device, k.Tries, k.CreatedBy, db.Micros(k.CreatedAt), db.Micros(k.ExpiresAt))
	if err != nil {
		return "", Key{}, fmt.Errorf("making an activation key: %w", err)
	}
	return text, k, nil
}

func (k Key) check(ctx context.Context, tx *db.Tx, u accounts.User) error {
	if u.Kind != access.UserKind || u.State != accounts.Active {
		return errs.New(errs.Conflict, "activation_key.user")
	}
	if u.PrivacyOn {
		return errs.New(errs.Forbidden, "activation_key.private")
	}
	if k.Choice == wire.Add && k.Device == "" {
		return nil
	}
	if !slices.Contains([]string{wire.Replace, wire.Reactivate, Succeed}, k.Choice) {
		return errs.New(errs.Invalid, "device.activation.choice")
	}
	d, err := Find(ctx, tx, k.Device)
	if err == nil && d.User != u.ID {
		err = errs.New(errs.NotFound, "device.unknown")
	}
	if err == nil && !replaceable(d) {
		err = errs.New(errs.Conflict, "device.activation.gone", "name", d.Name)
	}
	return err
}

// TryKey returns the user whom a key is for, and the key, of which one try is
// used up. A key that is none, or over, is Forbidden.
func TryKey(ctx context.Context, tx *db.Tx, text string) (accounts.User, Key, error) {
	over := errs.New(errs.Forbidden, "activation_key.over")
	hash, ok := accounts.HashToken(KeyPrefix, text)
	if !ok {
		return accounts.User{}, Key{}, over
	}
	k, err := scanKey(tx.QueryRow(ctx, "SELECT "+keyColumns+" FROM activation_keys WHERE secret = $1", hash))
	if errors.Is(err, sql.ErrNoRows) || err == nil && k.Over(tx.Now()) {
		return accounts.User{}, Key{}, over
	}
	if err != nil {
		return accounts.User{}, Key{}, fmt.Errorf("looking for an activation key: %w", err)
	}
	n, err := tx.Changed(ctx, "UPDATE activation_keys SET tries = tries - 1 WHERE id = $1 AND tries > 0 AND used_at = 0", k.ID)
	if err != nil {
		return accounts.User{}, Key{}, fmt.Errorf("trying activation key %s: %w", k.ID, err)
	}
	if n != 1 {
		return accounts.User{}, Key{}, over
	}
	k.Tries--
	u, err := accounts.Find(ctx, tx, k.User)
	if err == nil && u.PrivacyOn {
		err = errs.New(errs.Forbidden, "activation_key.private")
	}
	return u, k, err
}

// useKey ends a key with the device that came of it.
func useKey(ctx context.Context, tx *db.Tx, id string) error {
	n, err := tx.Changed(ctx, "UPDATE activation_keys SET used_at = $2 WHERE id = $1 AND used_at = 0 AND expires_at > $2", id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("using activation key %s: %w", id, err)
	}
	if n != 1 {
		return errs.New(errs.Forbidden, "activation_key.over")
	}
	return nil
}

// KeysOf are a user's keys, the newest first, also those that are over.
func KeysOf(ctx context.Context, tx *db.Tx, by access.Caller, user accounts.ID) ([]Key, error) {
	u, err := accounts.Find(ctx, tx, user)
	if err != nil {
		return nil, err
	}
	if err := audit.See(by, access.ViewDevices, u.Org, u.ID, "user/"+string(u.ID)); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, scanKey, "SELECT "+keyColumns+" FROM activation_keys WHERE user_id = $1 ORDER BY created_at DESC, id DESC", u.ID)
	if err != nil {
		return nil, fmt.Errorf("listing the activation keys of user %s: %w", u.ID, err)
	}
	return list, nil
}

// RevokeKey makes a key good for nothing.
func RevokeKey(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	k, err := scanKey(tx.QueryRow(ctx, "SELECT "+keyColumns+" FROM activation_keys WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return errs.New(errs.NotFound, "activation_key.unknown")
	}
	if err != nil {
		return fmt.Errorf("reading activation key %s: %w", id, err)
	}
	u, err := accounts.Find(ctx, tx, k.User)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, u.Org, u.ID, "user/"+string(u.ID), audit.Note("activation_key_revoked", k.ID)); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE activation_keys SET tries = 0, expires_at = $2 WHERE id = $1 AND used_at = 0 AND expires_at > $2", id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("revoking activation key %s: %w", id, err)
	}
	return nil
}

const keyColumns = "id, user_id, choice, device, tries, created_by, created_at, expires_at, used_at"

func scanKey(row db.Row) (k Key, err error) {
	var created, expires, used int64
	err = row.Scan(&k.ID, &k.User, &k.Choice, &k.Device, &k.Tries, &k.CreatedBy, &created, &expires, &used)
	k.CreatedAt, k.ExpiresAt, k.UsedAt = db.Time(created), db.Time(expires), db.Time(used)
	return k, err
}
