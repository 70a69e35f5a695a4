package accounts

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// Filter chooses accounts.
type Filter struct {
	Org     orgs.ID // empty: every organisation, for those who may
	Kind    access.Kind
	State   State // empty: all but deleted and purged ones
	Profile access.ProfileID
	Search  string // in username, address and names
	After   string // where the page before ended
	Limit   int    // 0 means 50, at most 500
}

func (f Filter) where() (string, []any) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	if f.Org != "" {
		add("org = $%d", f.Org)
	}
	if f.Kind != "" {
		add("kind = $%d", f.Kind)
	}
	if f.State != "" {
		add("state = $%d", f.State)
	} else {
		where = append(where, "state NOT IN ('deleted', 'purged')")
	}
	if f.Profile != "" {
		add("profile = $%d", f.Profile)
	}
	for _, word := range strings.Fields(orgs.Fold(f.Search)) {
		add(`search LIKE $%d ESCAPE '\'`, db.Contains(word))
	}
	return strings.Join(where, " AND "), args
}

// List returns accounts in the order of their usernames, and where the next
// page begins, "" after the last.
func List(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) (users []User, after string, err error) {
	if err := audit.See(by, access.ViewUsers, f.Org, "", "users"); err != nil {
		return nil, "", err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 500)
	where, args := f.where()
	args = append(args, f.After, limit+1)
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM users WHERE "+where+
		fmt.Sprintf(" AND username_key > $%d ORDER BY username_key LIMIT $%d", len(args)-1, len(args)), args...)
	if err != nil {
		return nil, "", fmt.Errorf("listing accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		u, err := scan(rows)
		if err != nil {
			return nil, "", fmt.Errorf("listing accounts: %w", err)
		}
		users = append(users, u)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("listing accounts: %w", err)
	}
	if len(users) > limit {
		users = users[:limit]
		after = orgs.Fold(users[limit-1].Username)
	}
	return users, after, nil
}

// Count is how many accounts a filter chooses, on all pages.
func Count(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) (int, error) {
	if err := audit.See(by, access.ViewUsers, f.Org, "", "users"); err != nil {
		return 0, err
	}
	where, args := f.where()
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM users WHERE "+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting accounts: %w", err)
	}
	return n, nil
}
