package accounts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// TokenLife is how long a user token is good.
const TokenLife = 15 * time.Minute

// UserTokenPrefix begins every user token.
const UserTokenPrefix = "bsu_"

const tokenSize = 32

// NewToken makes a token of 32 random bytes and the hash that is stored of it.
// The prefix says what it is for, and is part of what is hashed: a token of one
// kind is never one of another.
func NewToken(prefix string) (token string, hash []byte) {
	var random [tokenSize]byte
	rand.Read(random[:])
	token = prefix + base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(token))
	return token, sum[:]
}

// HashToken is the hash under which a token would be stored, and false when it
// cannot be a token with that prefix: another length, another alphabet, or one
// of the spellings that decode to the same bytes.
func HashToken(prefix, token string) ([]byte, bool) {
	text, ok := strings.CutPrefix(token, prefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return nil, false
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(text); err != nil {
		return nil, false
	}
	sum := sha256.Sum256([]byte(token))
	return sum[:], true
}

// IssueToken makes a user token: u is present at the device and has just proved
// it by the password, and at factorAt by the second factor, which is zero for
// whoever has none. by is the device.
func IssueToken(ctx context.Context, tx *db.Tx, by access.Caller, u User, device access.DeviceID, factorAt time.Time) (token string, expires time.Time, err error) {
	token, hash := NewToken(UserTokenPrefix)
	expires = tx.Now().Add(TokenLife)
	_, err = tx.Exec(ctx, `INSERT INTO user_tokens (token, user_id, device, created_at, expires_at, factor_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		hash, u.ID, device, db.Micros(tx.Now()), db.Micros(expires), db.Micros(factorAt))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("issuing a user token: %w", err)
	}
	err = audit.Record(ctx, tx, by, audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "device/" + string(device),
		Outcome: audit.Done, Details: []audit.Detail{audit.Note("token", "user")}})
	return token, expires, err
}

// FindToken returns the user who is present at the device, as the caller that
// may read their own data from there. The account is looked at each time: one
// that was disabled has no token any more.
func FindToken(ctx context.Context, tx *db.Tx, token string, device access.DeviceID, from access.Caller) (access.Caller, error) {
	ended := errs.New(errs.Unauthenticated, "login.token.ended")
	hash, ok := HashToken(UserTokenPrefix, token)
	if !ok {
		return access.Caller{}, ended
	}
	var id ID
	err := tx.QueryRow(ctx, `SELECT user_id FROM user_tokens WHERE token = $1 AND device = $2 AND expires_at > $3`,
		hash, device, db.Micros(tx.Now())).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return access.Caller{}, ended
	}
	if err != nil {
		return access.Caller{}, fmt.Errorf("looking for a user token: %w", err)
	}
	u, err := Find(ctx, tx, id)
	if err != nil {
		return access.Caller{}, err
	}
	if u.State != Active {
		return access.Caller{}, ended
	}
	c := u.Caller(from)
	c.Device = device
	// A name for this token's time, from which it cannot be made.
	c.Session = hex.EncodeToString(hash[:16])
	return c, nil
}

// TokenFactor is when the second factor was given that a user token stands for:
// zero when there was none, or when the token is not good for the user at the
// device.
func TokenFactor(ctx context.Context, tx *db.Tx, token string, id ID, device access.DeviceID) (time.Time, error) {
	hash, ok := HashToken(UserTokenPrefix, token)
	if !ok {
		return time.Time{}, nil
	}
	var at int64
	err := tx.QueryRow(ctx, "SELECT factor_at FROM user_tokens WHERE token = $1 AND user_id = $2 AND device = $3 AND expires_at > $4",
		hash, id, device, db.Micros(tx.Now())).Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("looking for the second factor of a user token: %w", err)
	}
	return db.Time(at), nil
}

// FindTokenAlone is FindToken for who shows the token and no device: enough to
// be known, and not to read anything.
func FindTokenAlone(ctx context.Context, tx *db.Tx, token string, from access.Caller) (access.Caller, error) {
	hash, _ := HashToken(UserTokenPrefix, token)
	var device access.DeviceID
	err := tx.QueryRow(ctx, "SELECT device FROM user_tokens WHERE token = $1", hash).Scan(&device)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return access.Caller{}, fmt.Errorf("looking for a user token's device: %w", err)
	}
	return FindToken(ctx, tx, token, device, from)
}

// EndTokens ends the user tokens of devices, whoever's they are.
func EndTokens(ctx context.Context, tx *db.Tx, devices ...access.DeviceID) error {
	if _, err := tx.Exec(ctx, "DELETE FROM user_tokens WHERE device IN ("+db.In(len(devices), 1)+")", db.Args(devices)...); err != nil {
		return fmt.Errorf("ending the user tokens of %d devices: %w", len(devices), err)
	}
	return nil
}

// Expire deletes sessions, tokens, links and codes that are over, and returns how many.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	now := db.Micros(tx.Now())
	tokens, err := tx.Changed(ctx, "DELETE FROM user_tokens WHERE expires_at <= $1", now)
	if err != nil {
		return 0, fmt.Errorf("deleting expired user tokens: %w", err)
	}
	sessions, err := tx.Changed(ctx, "DELETE FROM login_sessions WHERE expires_at <= $1", now)
	if err != nil {
		return 0, fmt.Errorf("deleting expired sessions: %w", err)
	}
	secrets, err := tx.Changed(ctx, "DELETE FROM one_time_secrets WHERE expires_at <= $1", now)
	if err != nil {
		return 0, fmt.Errorf("deleting expired links and codes: %w", err)
	}
	return tokens + sessions + secrets, nil
}
