package accounts

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	Default bool // with Profile: also those who have none of their own
	Licence string
	Seat    Seat      // empty: whichever
	Before  time.Time // only who has been in their state since before then
	Search  string    // in username, address and names
	After   string    // where the page before ended
	Limit   int       // 0 means 50, at most 500
}

func (f Filter) where() (string, []any) {
	where, args := f.inAnyState()
	if f.State == "" {
		return where + " AND state NOT IN ('deleted', 'purged')", args
	}
	args = append(args, f.State)
	return where + fmt.Sprintf(" AND state = $%d", len(args)), args
}

// inAnyState is where for all that the filter says but the state.
func (f Filter) inAnyState() (string, []any) {
	where := []string{"1 = 1"}
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
	if f.Profile != "" && f.Default {
		add("(profile = $%d OR profile IS NULL)", f.Profile)
	} else if f.Profile != "" {
		add("profile = $%d", f.Profile)
	}
	if f.Licence != "" {
		add("licence = $%d", f.Licence)
	}
	if f.Seat != "" {
		add("seat = $%d", f.Seat)
	}
	if !f.Before.IsZero() {
		add("state_at < $%d", db.Micros(f.Before))
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
	users, err = db.All(ctx, tx, scan, "SELECT "+columns+" FROM users WHERE "+where+
		fmt.Sprintf(" AND username_key > $%d ORDER BY username_key LIMIT $%d", len(args)-1, len(args)), args...)
	if err != nil {
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

// CountStates is how many accounts a filter chooses in each state, whichever
// state it names.
func CountStates(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) (map[State]int, error) {
	if err := audit.See(by, access.ViewUsers, f.Org, "", "users"); err != nil {
		return nil, err
	}
	where, args := f.inAnyState()
	counts, err := db.Counts[State](ctx, tx, "SELECT state, count(*) FROM users WHERE "+where+" GROUP BY state", args...)
	if err != nil {
		return nil, fmt.Errorf("counting accounts: %w", err)
	}
	return counts, nil
}
