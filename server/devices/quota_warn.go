package devices

import (
	"context"
	"fmt"
	"strconv"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
)

// warnings are how full a quota is when somebody is told, in percent.
var warnings = []int64{80, 95, 100}

// calm is by how many percent it has to fall before it is told again.
const calm = 5

// due says what is to be noted of a quota that was told of at noted percent, and
// whether somebody is to be told: once at each of the warnings.
func due(noted, percent int64) (note int64, tell bool) {
	reached := int64(0)
	for _, w := range warnings {
		if percent >= w {
			reached = w
		}
	}
	switch {
	case reached > noted:
		return reached, true
	case noted > 0 && percent < noted-calm:
		return reached, false
	}
	return noted, false
}

// WarnOfQuotas tells users and administrators of quotas that are nearly used up,
// and administrators of their organisation's.
func WarnOfQuotas(ctx context.Context, d *db.DB, ring *keys.Ring) error {
	var all []orgs.Org
	err := d.Read(ctx, func(tx *db.Tx) (err error) {
		all, err = orgs.List(ctx, tx, access.System("quotas"))
		return err
	})
	for _, o := range all {
		if err == nil {
			err = warnOrg(ctx, d, ring, o)
		}
		for after := ""; err == nil; {
			if after, err = warnUsers(ctx, d, ring, o.ID, after); after == "" {
				break
			}
		}
	}
	return err
}

func warnOrg(ctx context.Context, d *db.DB, ring *keys.Ring, o orgs.Org) error {
	return d.Write(ctx, func(tx *db.Tx) error {
		q, err := QuotaOfOrg(ctx, tx, o.ID)
		if err != nil {
			return err
		}
		tell, err := note(ctx, tx, "orgs", string(o.ID), q)
		if err != nil || !tell {
			return err
		}
		return orgs.NotifyEach(ctx, tx, ring, o.ID, func(say *locale.Printer) mail.Mail {
			return mail.Mail{Template: mail.OrgQuotaFilling, Values: values(say, q, "org", o.Name)}
		})
	})
}

// warnUsers does a page of users, and returns where the next one begins.
func warnUsers(ctx context.Context, d *db.DB, ring *keys.Ring, org orgs.ID, after string) (next string, err error) {
	err = d.Write(ctx, func(tx *db.Tx) error {
		var list []accounts.User
		list, next, err = accounts.List(ctx, tx, access.System("quotas"),
			accounts.Filter{Org: org, Kind: access.UserKind, State: accounts.Active, After: after, Limit: 500})
		if err != nil {
			return err
		}
		quotas, err := QuotasOfUsers(ctx, tx, list)
		if err != nil {
			return err
		}
		for _, u := range list {
			if err := warnUser(ctx, tx, ring, u, quotas[u.ID]); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}

// WarnOfQuota is WarnOfQuotas for one user, whose device has just backed up:
// between two looks at all of them a quota can fill up.
func WarnOfQuota(ctx context.Context, d *db.DB, ring *keys.Ring, user accounts.ID) error {
	var u accounts.User
	var q Quota
	look := func(tx *db.Tx) (err error) {
		if u, err = accounts.Find(ctx, tx, user); err == nil {
			q, err = QuotaOf(ctx, tx, u)
		}
		return err
	}
	var before int64
	err := d.Read(ctx, func(tx *db.Tx) (err error) {
		if err = look(tx); err == nil {
			before, err = noted(ctx, tx, "users", string(user))
		}
		return err
	})
	if now, _ := due(before, q.Percent()); err != nil || now == before {
		return err
	}
	return d.Write(ctx, func(tx *db.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		return warnUser(ctx, tx, ring, u, q)
	})
}

func warnUser(ctx context.Context, tx *db.Tx, ring *keys.Ring, u accounts.User, q Quota) error {
	tell, err := note(ctx, tx, "users", string(u.ID), q)
	if err == nil && tell {
		err = warn(ctx, tx, ring, u, q)
	}
	return err
}

// noted is of how many percent of a quota was told last.
func noted(ctx context.Context, tx *db.Tx, table, id string) (percent int64, err error) {
	if err = tx.QueryRow(ctx, "SELECT quota_noted FROM "+table+" WHERE id = $1", id).Scan(&percent); err != nil {
		return 0, fmt.Errorf("reading what was told of a quota: %w", err)
	}
	return percent, nil
}

// note keeps what was told last, and says whether to tell now.
func note(ctx context.Context, tx *db.Tx, table, id string, q Quota) (tell bool, err error) {
	before, err := noted(ctx, tx, table, id)
	if err != nil {
		return false, err
	}
	now, tell := due(before, q.Percent())
	if now == before {
		return false, nil
	}
	if _, err := tx.Exec(ctx, "UPDATE "+table+" SET quota_noted = $2 WHERE id = $1", id, now); err != nil {
		return false, fmt.Errorf("noting what is told of a quota: %w", err)
	}
	return tell, nil
}

func warn(ctx context.Context, tx *db.Tx, ring *keys.Ring, u accounts.User, q Quota) error {
	return tellOf(ctx, tx, ring, u, func(say *locale.Printer) mail.Mail {
		m := mail.Mail{Template: mail.QuotaFilling, Values: values(say, q, "username", u.Username)}
		if q.Percent() >= 100 {
			m.Template = mail.QuotaUsedUp
			delete(m.Values, "used")
			delete(m.Values, "percent")
		}
		return m
	})
}

// tellOf mails what is about a user to them and to their administrators.
func tellOf(ctx context.Context, tx *db.Tx, ring *keys.Ring, u accounts.User, about func(*locale.Printer) mail.Mail) error {
	if u.Email != "" {
		lang, _ := locale.Parse(u.Language)
		m := about(locale.For(lang))
		m.User, m.Org, m.To, m.Language = u.ID, u.Org, u.Email, u.Language
		if err := mail.Queue(ctx, tx, ring, m); err != nil {
			return err
		}
	}
	return orgs.NotifyEach(ctx, tx, ring, u.Org, about)
}

func values(say *locale.Printer, q Quota, whose, name string) map[string]string {
	return map[string]string{whose: name, "percent": strconv.FormatInt(q.Percent(), 10), "used": say.Bytes(q.Used), "limit": say.Bytes(q.Limit)}
}
