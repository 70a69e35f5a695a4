package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

const columns = `t.id, t.org, t.secret, t.name, t.scopes, t.maker, u.username, u.role, u.kind, u.state, u.org, t.created_at, t.expires_at, t.revoked_at,
	t.last_used_at, t.last_ip FROM api_tokens t JOIN users u ON u.id = t.maker`

func scan(row db.Row) (t Token, err error) {
	var maker accounts.User
	var created, expires, revoked, used int64
	err = row.Scan(&t.ID, &t.Org, &t.secret, &t.Name, &t.Scopes, &t.Maker, &t.MakerName, &t.role, &maker.Kind, &maker.State, &maker.Org, &created, &expires,
		&revoked, &used, &t.LastIP)
	t.CreatedAt, t.ExpiresAt, t.RevokedAt, t.LastUsedAt = db.Time(created), db.Time(expires), db.Time(revoked), db.Time(used)
	t.stands = maker.Kind == access.AdminKind && maker.State == accounts.Active && maker.Org == t.Org
	return t, err
}

// find returns a token, sql.ErrNoRows when there is none.
func find(ctx context.Context, tx *db.Tx, id string) (Token, error) {
	t, err := scan(tx.QueryRow(ctx, "SELECT "+columns+" WHERE t.id = $1", id))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("reading API token %s: %w", id, err)
	}
	return t, err
}

func insert(ctx context.Context, tx *db.Tx, t Token) error {
	_, err := tx.Exec(ctx, `INSERT INTO api_tokens (id, org, secret, name, scopes, maker, created_at, expires_at, revoked_at, last_used_at, last_ip)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, '')`, t.ID, t.Org, t.secret, t.Name, t.Scopes, t.Maker, db.Micros(t.CreatedAt), db.Micros(t.ExpiresAt))
	if err != nil {
		return fmt.Errorf("adding an API token: %w", err)
	}
	return nil
}
