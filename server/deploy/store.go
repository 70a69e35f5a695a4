package deploy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/server/db"
)

const columns = `t.id, t.org, t.secret, t.name, COALESCE(t.profile, ''), t.networks, t.systems, t.hosts, t.max_uses, t.approve, t.create_users,
	t.domains, t.prompt, t.created_by, t.created_at, t.expires_at, t.revoked_at, t.last_used_at, t.last_failed_at, t.failures,
	(SELECT count(*) FROM deploy_uses x WHERE x.token = t.id)`

func scan(row db.Row) (t Token, err error) {
	var networks, systems, hosts, domains string
	var created, expires, revoked, used, failed int64
	err = row.Scan(&t.ID, &t.Org, &t.secret, &t.Name, &t.Profile, &networks, &systems, &hosts, &t.MaxUses, &t.Approve, &t.CreateUsers,
		&domains, &t.Prompt, &t.CreatedBy, &created, &expires, &revoked, &used, &failed, &t.Failures, &t.Uses)
	if err != nil {
		return Token{}, err
	}
	t.Networks, t.Systems, t.Hosts, t.Domains = lines(networks), lines(systems), lines(hosts), lines(domains)
	t.CreatedAt, t.ExpiresAt, t.RevokedAt, t.LastUsedAt, t.LastFailedAt = db.Time(created), db.Time(expires), db.Time(revoked), db.Time(used), db.Time(failed)
	return t, nil
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// find returns a token, sql.ErrNoRows when there is none.
func find(ctx context.Context, tx *db.Tx, id string) (Token, error) {
	t, err := scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM deploy_tokens t WHERE t.id = $1", id))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("reading deployment token %s: %w", id, err)
	}
	return t, err
}

func insert(ctx context.Context, tx *db.Tx, t Token) error {
	join := func(list []string) string { return strings.Join(list, "\n") }
	_, err := tx.Exec(ctx, `INSERT INTO deploy_tokens (id, org, secret, name, profile, networks, systems, hosts, max_uses, approve, create_users,
			domains, prompt, created_by, created_at, expires_at, revoked_at, last_used_at, last_failed_at, failures)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, 0, 0, 0)`,
		t.ID, t.Org, t.secret, t.Name, db.Null(t.Profile), join(t.Networks), join(t.Systems), join(t.Hosts), t.MaxUses, t.Approve, t.CreateUsers,
		join(t.Domains), t.Prompt, t.CreatedBy, db.Micros(t.CreatedAt), db.Micros(t.ExpiresAt))
	if err != nil {
		return fmt.Errorf("making a deployment token: %w", err)
	}
	return nil
}

// use notes that a computer used the token, unless it was used up meanwhile. What
// a computer begins again is the same use.
func (t Token) use(ctx context.Context, tx *db.Tx, u use) (bool, error) {
	n, err := tx.Changed(ctx, `INSERT INTO deploy_uses (token, request_id, ip, hostname, os, how, used_at)
		SELECT t.id, $2, $3, $4, $5, $6, CAST($7 AS BIGINT) FROM deploy_tokens t
		WHERE t.id = $1 AND (t.max_uses = 0 OR t.max_uses > (SELECT count(*) FROM deploy_uses x WHERE x.token = t.id AND x.request_id <> $2))
		ON CONFLICT (token, request_id) DO UPDATE SET ip = excluded.ip, how = excluded.how`,
		t.ID, u.request, u.ip, u.hostname, u.os, u.how, db.Micros(tx.Now()))
	if err == nil && n > 0 {
		_, err = tx.Exec(ctx, "UPDATE deploy_tokens SET last_used_at = $2 WHERE id = $1", t.ID, db.Micros(tx.Now()))
	}
	if err != nil {
		return false, fmt.Errorf("noting a use of deployment token %s: %w", t.ID, err)
	}
	return n > 0, nil
}

// used reports whether a computer's request has used the token before.
func (t Token) used(ctx context.Context, tx *db.Tx, request string) (used bool, err error) {
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM deploy_uses WHERE token = $1 AND request_id = $2)", t.ID, request).Scan(&used)
	if err != nil {
		return false, fmt.Errorf("looking for a use of deployment token %s: %w", t.ID, err)
	}
	return used, nil
}
