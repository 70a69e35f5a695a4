package profiles

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

// warnings are how many days before a preserved user is deleted their
// administrators are told, the last one always, and at least a day before.
var warnings = []int{FirstWarning, 7, 1}

const day = 24 * time.Hour

// DeletePreserved deletes the users who have been preserved for as long as their
// profiles say, and warns the administrators before. Nobody is deleted whom
// they were not warned of for a day, however the profile was changed, and
// nobody under a legal hold. It returns how many users it did something about.
func DeletePreserved(ctx context.Context, tx *db.Tx, ring *keys.Ring) (int64, error) {
	users, err := accounts.PreservedUsers(ctx, tx)
	if err != nil {
		return 0, err
	}
	var done int64
	soon := map[orgs.ID]map[int][]string{} // usernames to warn of, by the days that are left
	for _, u := range users {
		p, err := Of(ctx, tx, u)
		if err != nil {
			return 0, err
		}
		days := p.Settings.AutoDeletePreservedDays
		if days == 0 {
			continue
		}
		due := u.StateAt.Add(time.Duration(days) * day)
		switch warning := WarningDue(tx.Now(), due, u.NotedAt); {
		case warning > 0:
			if soon[u.Org] == nil {
				soon[u.Org] = map[int][]string{}
			}
			soon[u.Org][warning] = append(soon[u.Org][warning], u.Username)
			err = accounts.Noted(ctx, tx, u.ID)
		case !tx.Now().Before(due) && tx.Now().Sub(u.NotedAt) >= day:
			err = accounts.Delete(ctx, tx, access.System("preserved users"), u.ID, fmt.Sprintf("preserved for %d days, as profile %s says", days, shorten(p.Name)))
		default:
			continue
		}
		if err != nil {
			return 0, err
		}
		done++
	}
	return done, warn(ctx, tx, ring, soon)
}

// Ending is how many preserved users of an organisation will be deleted within
// a time, as their profiles say.
func Ending(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, within time.Duration) (int, error) {
	list, err := List(ctx, tx, by, org)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, p := range list {
		days := p.Settings.AutoDeletePreservedDays
		if days == 0 {
			continue
		}
		n, err := accounts.Count(ctx, tx, by, accounts.Filter{Org: org, Kind: access.UserKind, State: accounts.Preserved,
			Profile: p.ID, Default: p.Default, Before: tx.Now().Add(within - time.Duration(days)*day)})
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// FirstWarning is how many days before the end the first warning is given.
const FirstWarning = 30

// WarningDue says which warning is to be given now, by its days, 0 for none: the
// nearest one that the time left has come down to, unless it was given.
func WarningDue(now, due, noted time.Time) int {
	for i := len(warnings) - 1; i >= 0; i-- {
		from := due.Add(-time.Duration(warnings[i]) * day)
		if now.Before(from) {
			continue
		}
		if noted.IsZero() || noted.Before(from) {
			return warnings[i]
		}
		return 0
	}
	return 0
}

// shorten cuts a name for a reason, which is short itself.
func shorten(name string) string {
	r := []rune(name)
	return string(r[:min(len(r), 80)])
}

func warn(ctx context.Context, tx *db.Tx, ring *keys.Ring, soon map[orgs.ID]map[int][]string) error {
	for org, byDays := range soon {
		o, err := orgs.Find(ctx, tx, org)
		if err != nil {
			return err
		}
		for days, users := range byDays {
			err := orgs.Notify(ctx, tx, ring, org, mail.Mail{Template: mail.PreservedExpiring, Values: map[string]string{
				"users": strings.Join(users, "\n"), "days": strconv.Itoa(days), "org": o.Name}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
