package signin

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

// knownPrefix begins the token of a known browser.
const knownPrefix = "bsk_"

// KnownLife is how long a browser stays known after its account's last login.
const KnownLife = 180 * 24 * time.Hour

// knownBrowser returns whose browser token belongs to, and a name for it that
// the token cannot be made from.
func knownBrowser(ctx context.Context, tx *db.Tx, token string) (id accounts.ID, name string, err error) {
	hash, ok := accounts.HashToken(knownPrefix, token)
	if !ok {
		return "", "", nil
	}
	err = tx.QueryRow(ctx, "SELECT user_id FROM known_browsers WHERE token = $1 AND expires_at > $2", hash, db.Micros(tx.Now())).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("looking for a known browser: %w", err)
	}
	return id, "browser " + hex.EncodeToString(hash), nil
}

// know makes a browser known in which u has just come in, and ends what it was
// known by before. So nobody can have planted its token.
func know(ctx context.Context, tx *db.Tx, u accounts.User, old string) (token string, err error) {
	if hash, ok := accounts.HashToken(knownPrefix, old); ok {
		if _, err := tx.Exec(ctx, "DELETE FROM known_browsers WHERE token = $1", hash); err != nil {
			return "", fmt.Errorf("replacing a known browser: %w", err)
		}
	}
	token, hash := accounts.NewToken(knownPrefix)
	_, err = tx.Exec(ctx, "INSERT INTO known_browsers (token, user_id, created_at, used_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
		hash, u.ID, db.Micros(tx.Now()), db.Micros(tx.Now()), db.Micros(tx.Now().Add(KnownLife)))
	if err != nil {
		return "", fmt.Errorf("noting a known browser: %w", err)
	}
	return token, nil
}

// forgetBrowsers ends all that an account's browsers were known by.
func forgetBrowsers(ctx context.Context, tx *db.Tx, id accounts.ID) error {
	if _, err := tx.Exec(ctx, "DELETE FROM known_browsers WHERE user_id = $1", id); err != nil {
		return fmt.Errorf("forgetting the browsers of account %s: %w", id, err)
	}
	return nil
}
