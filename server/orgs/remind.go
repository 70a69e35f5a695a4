package orgs

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
)

// Remind tells the administrators of every organisation about licences with
// too many seats taken, each day, and about those that end soon, as many days
// before as the settings say, then 7 days and one day before. On one day it
// tells of a licence once, on whatever server it runs. It returns the invalid
// licences, which are for the log.
func Remind(ctx context.Context, tx *db.Tx, ring *keys.Ring, rules settings.Licences, link string) (faulty []Licence, err error) {
	all, err := licences(ctx, tx, ring, "state <> $1", LicenceRevoked)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if l.State == LicenceInvalid {
			faulty = append(faulty, l)
			continue
		}
		// Whoever changes seats counts them again; what was changed otherwise is
		// found here.
		if err := Recount(ctx, tx, l.ID); err != nil {
			return nil, err
		}
		if err := remind(ctx, tx, ring, l, rules, link); err != nil {
			return nil, fmt.Errorf("reminding of licence %s: %w", l.ID, err)
		}
	}
	return faulty, nil
}

func remind(ctx context.Context, tx *db.Tx, ring *keys.Ring, l Licence, rules settings.Licences, link string) error {
	now := tx.Now()
	if l.NotedAt.Truncate(24 * time.Hour).Equal(now.Truncate(24 * time.Hour)) {
		return nil
	}
	taken, _, err := Seats(ctx, tx, l.ID)
	if err != nil {
		return err
	}
	org, err := Find(ctx, tx, l.Org)
	if err != nil {
		return err
	}
	var mails []mail.Mail
	if taken > l.SeatsActive {
		mails = append(mails, mail.Mail{Template: mail.LicenceOver, Values: map[string]string{
			"licence": l.Name, "seats": strconv.Itoa(l.SeatsActive), "taken": strconv.Itoa(taken),
			"until": stamp(l.graceEnd(now, days(rules.GraceDays))), "org": org.Name, "link": link}})
	}
	if l.ending(now, rules.ExpiryDays) {
		left := (l.ValidTo.Sub(now) + 24*time.Hour - 1) / (24 * time.Hour)
		mails = append(mails, mail.Mail{Template: mail.LicenceExpiring, Values: map[string]string{
			"licence": l.Name, "at": stamp(l.ValidTo), "days": strconv.Itoa(int(left)), "org": org.Name, "link": link}})
	}
	if len(mails) == 0 {
		return nil
	}
	if err := Notify(ctx, tx, ring, l.Org, mails...); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE licences SET noted_at = $2 WHERE id = $1", l.ID, db.Micros(now))
	return err
}

// ending reports whether one of the days on which the end of a licence is told
// has come since its administrators were last told anything.
func (l Licence) ending(now time.Time, first int) bool {
	if l.ValidTo.IsZero() || l.Expired(now) {
		return false
	}
	for _, n := range []int{first, 7, 1} {
		at := l.ValidTo.Add(-days(n))
		if n <= first && !now.Before(at) && l.NotedAt.Before(at) {
			return true
		}
	}
	return false
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Notify queues mails to the administrators of an organisation who can do
// something about it. When none of them has an address, the server
// administrators are told.
func Notify(ctx context.Context, tx *db.Tx, ring *keys.Ring, org ID, mails ...mail.Mail) error {
	for _, m := range mails {
		if err := NotifyEach(ctx, tx, ring, org, func(*locale.Printer) mail.Mail { return m }); err != nil {
			return err
		}
	}
	return nil
}

// NotifyEach is Notify with a mail that is made in the language of each of them.
// What is the server's, of no organisation, its administrators are told.
func NotifyEach(ctx context.Context, tx *db.Tx, ring *keys.Ring, org ID, write func(*locale.Printer) mail.Mail) error {
	to, err := administrators(ctx, tx, "org = $2 AND role <> $3", org, access.Viewer)
	if err == nil && len(to) == 0 {
		to, err = administrators(ctx, tx, "role = $2", access.ServerAdmin)
	}
	if err != nil {
		return fmt.Errorf("looking for administrators: %w", err)
	}
	for _, t := range to {
		language, _ := locale.Parse(t.Language)
		m := write(locale.For(language))
		m.User, m.To, m.Language, m.Org = t.User, t.To, t.Language, org
		if err := mail.Queue(ctx, tx, ring, m); err != nil {
			return err
		}
	}
	return nil
}

// administrators are the active ones with an address for whom where holds, each
// as an empty mail to them. Its arguments begin with $2.
func administrators(ctx context.Context, tx *db.Tx, where string, args ...any) ([]mail.Mail, error) {
	return db.All(ctx, tx, func(row db.Row) (m mail.Mail, err error) {
		err = row.Scan(&m.User, &m.To, &m.Language)
		return m, err
	}, `SELECT id, email, language FROM users
		WHERE kind = $1 AND state = 'active' AND email <> '' AND `+where+` ORDER BY username_key`, append([]any{access.AdminKind}, args...)...)
}
