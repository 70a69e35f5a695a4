package devices

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
)

const day = 24 * time.Hour

// staleNote is after how long a warning is given again before a device is
// deleted: nobody remembers it.
const staleNote = 7 * day

// inactiveAtOnce bounds a transaction of Inactive.
const inactiveAtOnce = 200

// EndsAt is when an inactive device is deleted by the settings of its profile,
// zero for never.
func (d Device) EndsAt(s profile.Settings) time.Time {
	if d.InactiveAt.IsZero() || s.AutoDeleteInactiveDays == 0 {
		return time.Time{}
	}
	return d.InactiveAt.Add(time.Duration(s.AutoDeleteInactiveDays) * day)
}

// Inactive marks the devices that have had no complete backup for as many days
// as their profiles say, and takes the mark from those to which that no longer
// applies. Where a profile has marked devices deleted after some more days, it
// warns the administrators 30, 7 and one day before, and then deletes them, so
// that it can still be undone. Devices that were stopped, by themselves or with
// their users, and those of users on legal hold are left alone. It returns how
// many devices it did something about; there may be more.
func Inactive(ctx context.Context, tx *db.Tx, ring *keys.Ring) (int64, error) {
	list, err := profiles.Every(ctx, tx)
	if err != nil {
		return 0, err
	}
	var all int64
	for _, p := range list {
		n, err := mark(ctx, tx, p)
		if err != nil {
			return 0, fmt.Errorf("looking for inactive devices of profile %s: %w", p.ID, err)
		}
		ended, err := endInactive(ctx, tx, ring, p)
		if err != nil {
			return 0, err
		}
		all += n + ended
	}
	return all, nil
}

// working chooses the working devices of a profile's users, $1 being the
// profile, $2 its organisation and $3 whether it is the default there.
const working = ` d.state = 'active' AND d.org = $2 AND d.user_id IN (SELECT u.id FROM users u WHERE u.org = $2 AND u.state = 'active'
	AND NOT u.legal_hold AND (u.profile = $1 OR u.profile IS NULL AND $3))`

// quiet is since when a device has had no complete backup.
const quiet = "CASE WHEN d.complete_at > d.activated_at THEN d.complete_at ELSE d.activated_at END"

func mark(ctx context.Context, tx *db.Tx, p profiles.Profile) (int64, error) {
	before := db.Micros(tx.Now().Add(-time.Duration(p.Settings.InactiveDays) * day))
	marked, err := tx.Changed(ctx, "UPDATE devices SET inactive_at = $5 WHERE id IN (SELECT d.id FROM devices d WHERE"+working+
		" AND d.inactive_at = 0 AND "+quiet+" <= $4)", p.ID, p.Org, p.Default, before, db.Micros(tx.Now()))
	if err != nil {
		return 0, err
	}
	cleared, err := tx.Changed(ctx, "UPDATE devices SET inactive_at = 0, noted_at = 0 WHERE id IN (SELECT d.id FROM devices d WHERE"+working+
		" AND d.inactive_at > 0 AND "+quiet+" > $4)", p.ID, p.Org, p.Default, before)
	return marked + cleared, err
}

// endInactive warns of the end of a profile's inactive devices, and ends those
// whose time is up.
func endInactive(ctx context.Context, tx *db.Tx, ring *keys.Ring, p profiles.Profile) (done int64, err error) {
	if p.Settings.AutoDeleteInactiveDays == 0 {
		return 0, nil
	}
	first := tx.Now().Add(time.Duration(profiles.FirstWarning-p.Settings.AutoDeleteInactiveDays) * day)
	list, err := db.All(ctx, tx, scanOne, "SELECT "+columns+" FROM devices d WHERE"+working+
		` AND d.inactive_at > 0 AND d.inactive_at <= $4 AND (d.noted_at <= $5 OR d.inactive_at <= $6) ORDER BY d.name_key, d.id`,
		p.ID, p.Org, p.Default, db.Micros(first), db.Micros(tx.Now().Add(-day)),
		db.Micros(tx.Now().Add(-time.Duration(p.Settings.AutoDeleteInactiveDays)*day)))
	if err != nil {
		return 0, fmt.Errorf("looking for inactive devices of profile %s: %w", p.ID, err)
	}
	soon := map[int][]string{} // by the days that are left
	for _, d := range list {
		due, noted := d.EndsAt(p.Settings), d.NotedAt
		late := !tx.Now().Before(due)
		if late && tx.Now().Sub(noted) >= staleNote {
			noted = time.Time{}
		}
		switch left := profiles.WarningDue(tx.Now(), due, noted); {
		case done >= inactiveAtOnce:
		case left > 0:
			var u accounts.User
			if u, err = accounts.Find(ctx, tx, d.User); err != nil {
				return 0, err
			}
			soon[left] = append(soon[left], d.Name+" ("+u.Username+")")
			_, err = tx.Exec(ctx, "UPDATE devices SET noted_at = $2 WHERE id = $1", d.ID, db.Micros(tx.Now()))
			done++
		case late && tx.Now().Sub(noted) >= day:
			err = Delete(ctx, tx, access.System("inactive devices"), d.ID, fmt.Sprintf("inactive for %d days", p.Settings.AutoDeleteInactiveDays))
			done++
		}
		if err != nil {
			return 0, err
		}
	}
	for left, names := range soon {
		o, err := orgs.Find(ctx, tx, p.Org)
		if err != nil {
			return 0, err
		}
		err = orgs.Notify(ctx, tx, ring, p.Org, mail.Mail{Template: mail.InactiveExpiring, Values: map[string]string{
			"devices": strings.Join(names, "\n"), "days": strconv.Itoa(left), "org": o.Name}})
		if err != nil {
			return 0, err
		}
	}
	return done, nil
}
