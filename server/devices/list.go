package devices

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

// Filter chooses devices.
type Filter struct {
	Org    orgs.ID     // empty: every organisation, for those who may
	User   accounts.ID // empty: every user that is not deleted, for those who may
	State  State       // empty: those that are live
	Marked Mark        // only those with this mark

	Users           []accounts.ID    // only theirs; empty: whosever
	Profile         access.ProfileID // of their users
	Default         bool             // with Profile: also of users who have none of their own
	OS              string           // such as linux
	Token           string           // the deployment token that they came, or came back, by
	ActivatedBefore time.Time
	SeenSince       time.Time

	Search string // in the device's names and its user's
	After  string // where the page before ended
	Limit  int    // 0 means 50, at most 500
}

// Mark is something that a device can be besides its state.
type Mark string

// The marks.
const (
	MarkedInactive Mark = "inactive"
	MarkedLocked   Mark = "locked"
	MarkedClone    Mark = "clone"
)

// Listed is a device with its user's names.
type Listed struct {
	Device
	Username string
	UserName string // as people say it
	Barred   bool   // a computer that it was stays locked
}

func (f Filter) where() (string, []any) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(condition, "$", fmt.Sprintf("$%d", len(args))))
	}
	if f.Org != "" {
		add("d.org = $", f.Org)
	}
	if f.User != "" {
		add("d.user_id = $", f.User)
	} else {
		where = append(where, "u.state NOT IN ('deleted', 'purged')")
	}
	switch {
	case f.State != "":
		add("d.state = $", f.State)
	case f.Marked == MarkedLocked: // another device in its place does not take a lock away
		where = append(where, "("+live+" OR d.state = 'replaced')")
	default:
		where = append(where, live)
	}
	if len(f.Users) > 0 {
		where = append(where, "d.user_id IN ("+db.In(len(f.Users), len(args)+1)+")")
		args = append(args, db.Args(f.Users)...)
	}
	if f.Profile != "" && f.Default {
		add("(u.profile = $ OR u.profile IS NULL)", f.Profile)
	} else if f.Profile != "" {
		add("u.profile = $", f.Profile)
	}
	if f.OS != "" {
		add("d.os = $", f.OS)
	}
	if f.Token != "" {
		add("d.token = $", f.Token)
	}
	if !f.ActivatedBefore.IsZero() {
		add("d.activated_at < $", db.Micros(f.ActivatedBefore))
	}
	if !f.SeenSince.IsZero() {
		add("d.last_seen_at >= $", db.Micros(f.SeenSince))
	}
	switch f.Marked {
	case MarkedInactive:
		where = append(where, "d.inactive_at > 0")
	case MarkedLocked:
		where = append(where, "(d.locked_at > 0 OR "+barred+")")
	case MarkedClone:
		where = append(where, "d.clone_at > 0")
	}
	for _, word := range strings.Fields(orgs.Fold(f.Search)) {
		add(`(d.search LIKE $ ESCAPE '\' OR u.search LIKE $ ESCAPE '\')`, db.Contains(word))
	}
	return strings.Join(where, " AND "), args
}

func (f Filter) see(by access.Caller) error {
	org := f.Org
	if org == "" && f.User != "" && f.User == by.User {
		org = by.Org
	}
	return audit.See(by, access.ViewDevices, org, f.User, "devices")
}

const listedColumns = "SELECT " + columns + ", u.username, u.first_name, u.last_name, " + barred

const barred = "EXISTS (SELECT 1 FROM device_identities i WHERE i.device = d.id AND " + shutOut + ")"

func scanListed(row db.Row) (Listed, error) {
	var u accounts.User
	var barred bool
	d, err := scan(row, &u.Username, &u.FirstName, &u.LastName, &barred)
	return Listed{Device: d, Username: u.Username, UserName: u.Name(), Barred: barred}, err
}

const joined = " FROM devices d JOIN users u ON u.id = d.user_id WHERE "

// List returns devices by name, and where the next page begins, "" after the
// last. Users see their own.
func List(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) (list []Listed, after string, err error) {
	if err := f.see(by); err != nil {
		return nil, "", err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 500)
	where, args := f.where()
	if f.After != "" {
		name, id, _ := strings.Cut(f.After, "\n")
		args = append(args, name, id)
		where += fmt.Sprintf(" AND (d.name_key, d.id) > ($%d, $%d)", len(args)-1, len(args))
	}
	args = append(args, limit+1)
	list, err = db.All(ctx, tx, scanListed, listedColumns+joined+where+fmt.Sprintf(" ORDER BY d.name_key, d.id LIMIT $%d", len(args)), args...)
	if err != nil {
		return nil, "", fmt.Errorf("listing devices: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		last := list[limit-1]
		after = orgs.Fold(last.Name) + "\n" + string(last.ID)
	}
	return list, after, nil
}

// Count is how many devices a filter chooses, on all pages.
func Count(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) (int, error) {
	if err := f.see(by); err != nil {
		return 0, err
	}
	where, args := f.where()
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*)"+joined+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting devices: %w", err)
	}
	return n, nil
}

// Chosen is a device that a filter chooses, as those need it who do something to
// many.
type Chosen struct {
	ID     ID
	User   accounts.ID
	OS     string
	Mailed bool // its user has an address
}

// Choose returns all devices that a filter chooses, by id, on one page.
func Choose(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) ([]Chosen, error) {
	if err := f.see(by); err != nil {
		return nil, err
	}
	where, args := f.where()
	list, err := db.All(ctx, tx, func(row db.Row) (c Chosen, err error) {
		var email string
		err = row.Scan(&c.ID, &c.User, &c.OS, &email)
		c.Mailed = email != ""
		return c, err
	}, "SELECT d.id, d.user_id, d.os, u.email"+joined+where+" ORDER BY d.id", args...)
	if err != nil {
		return nil, fmt.Errorf("choosing devices: %w", err)
	}
	return list, nil
}

// Summary is what a list of users says of the live devices of one.
type Summary struct {
	Devices      int
	LastBackupAt time.Time
	StoredBytes  int64
}

// Summaries returns what users have, for those whose accounts the caller has
// been shown. Who has nothing is not in it.
func Summaries(ctx context.Context, tx *db.Tx, users []accounts.ID) (map[accounts.ID]Summary, error) {
	rows, err := tx.Query(ctx, "SELECT d.user_id, count(*), max(d.last_backup_at), CAST(sum(d.stored_bytes) AS BIGINT) FROM devices d WHERE d.user_id IN ("+
		db.In(len(users), 1)+") AND "+live+" GROUP BY d.user_id", db.Args(users)...)
	if err != nil {
		return nil, fmt.Errorf("summing up devices: %w", err)
	}
	defer rows.Close()
	all := map[accounts.ID]Summary{}
	for rows.Next() {
		var id accounts.ID
		var s Summary
		var at int64
		if err := rows.Scan(&id, &s.Devices, &at, &s.StoredBytes); err != nil {
			return nil, fmt.Errorf("summing up devices: %w", err)
		}
		s.LastBackupAt = db.Time(at)
		all[id] = s
	}
	return all, rows.Err()
}

// Totals is how an organisation's active devices stand.
type Totals struct {
	Devices     int
	Recent      int // backed up in the last 24 hours
	Never       int // not backed up yet
	StoredBytes int64
}

// Sum returns how the active devices of an organisation's active users stand,
// or of all.
func Sum(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) (t Totals, err error) {
	if err := audit.See(by, access.ViewDevices, org, "", "devices"); err != nil {
		return Totals{}, err
	}
	where, args := "d.state = 'active' AND u.state = 'active'", []any{db.Micros(tx.Now().Add(-24 * time.Hour))}
	if org != "" {
		where += " AND d.org = $2"
		args = append(args, org)
	}
	err = tx.QueryRow(ctx, `SELECT count(*), COALESCE(sum(CASE WHEN d.last_backup_at >= $1 THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN d.last_backup_at = 0 THEN 1 ELSE 0 END), 0), CAST(COALESCE(sum(d.stored_bytes), 0) AS BIGINT)
		FROM devices d JOIN users u ON u.id = d.user_id WHERE `+where, args...).Scan(&t.Devices, &t.Recent, &t.Never, &t.StoredBytes)
	if err != nil {
		return Totals{}, fmt.Errorf("summing up devices: %w", err)
	}
	return t, nil
}
