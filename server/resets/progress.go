package resets

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
)

// Progress is how far a reset is, in devices.
type Progress struct {
	Devices int
	Left    int // to be revoked
	Back    int
	Missing int // revoked, and not back
	Gone    int // deleted, or stopped in another way, since
	Told    int // users who were written to
	Untold  int // users to be written to
}

// Follow returns how far a reset is.
func Follow(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Reset, Progress, error) {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return Reset{}, Progress{}, err
	}
	p, err := r.progress(ctx, tx)
	return r, p, err
}

func (r Reset) progress(ctx context.Context, tx *db.Tx) (p Progress, err error) {
	sum := func(condition string) string {
		return "COALESCE(sum(CASE WHEN " + condition + " THEN 1 ELSE 0 END), 0)"
	}
	err = tx.QueryRow(ctx, "SELECT count(*), "+sum("x.deactivated_at = 0")+", "+sum(isBack)+", "+sum(isMissing)+", "+sum(isGone)+
		", count(DISTINCT CASE WHEN x.told_at > 0 THEN x.user_id END), count(DISTINCT CASE WHEN x.mailed <> '' THEN x.user_id END)"+joined, r.ID).
		Scan(&p.Devices, &p.Left, &p.Back, &p.Missing, &p.Gone, &p.Told, &p.Untold)
	if err != nil {
		return p, fmt.Errorf("counting the devices of reset %s: %w", r.ID, err)
	}
	return p, nil
}

// Device is a device of a reset.
type Device struct {
	ID                        devices.ID
	Name, OS                  string
	State                     devices.State
	User                      accounts.ID
	Username, FullName, Email string
	SeenAt                    time.Time
	RevokedAt                 time.Time // zero: not yet
	ToldAt                    time.Time // zero: its user was not written to
}

// Missing returns devices of a reset that are not back, or not revoked yet, by
// user and name, as many as wanted.
func Missing(ctx context.Context, tx *db.Tx, by access.Caller, id string, most int) ([]Device, error) {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return nil, err
	}
	return r.missing(ctx, tx, most)
}

func (r Reset) missing(ctx context.Context, tx *db.Tx, most int) ([]Device, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (d Device, err error) {
		var u accounts.User
		var seen, revoked, told int64
		err = row.Scan(&d.ID, &d.Name, &d.OS, &d.State, &u.ID, &u.Username, &u.FirstName, &u.LastName, &d.Email, &seen, &revoked, &told)
		d.User, d.Username, d.FullName = u.ID, u.Username, u.Name()
		d.SeenAt, d.RevokedAt, d.ToldAt = db.Time(seen), db.Time(revoked), db.Time(told)
		return d, err
	}, "SELECT d.id, d.name, d.os, d.state, u.id, u.username, u.first_name, u.last_name, u.email, d.last_seen_at, x.deactivated_at, x.told_at"+joined+
		" AND (x.deactivated_at = 0 OR "+isMissing+") ORDER BY u.username_key, d.name_key, d.id LIMIT $2", r.ID, most)
	if err != nil {
		return nil, fmt.Errorf("listing the devices of reset %s: %w", r.ID, err)
	}
	return list, nil
}

// everyDevice is more than a reset has.
const everyDevice = 10_000_000

// Laggards writes the devices that are not back as CSV, and records that
// somebody took the list.
func Laggards(ctx context.Context, tx *db.Tx, by access.Caller, id string, w io.Writer) error {
	r, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, r.Org, "", r.object(), audit.Note("export", "csv")); err != nil {
		return err
	}
	list, err := r.missing(ctx, tx, everyDevice)
	if err != nil {
		return err
	}
	columns := []string{"username", "name", "email", "device", "os", "state", "last_seen", "revoked_at", "told_at"}
	return accounts.WriteTable(w, columns, func(write func(...string) error) error {
		for _, d := range list {
			err := write(d.Username, d.FullName, d.Email, d.Name, d.OS, string(d.State), stamp(d.SeenAt), stamp(d.RevokedAt), stamp(d.ToldAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// stamp is an instant for a table, empty for never.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
