package signin

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

const (
	// remembered is how long failures count as being in a row.
	remembered = 24 * time.Hour
	// resolved is within which time an attempt has come to its end, or its
	// server has.
	resolved = time.Minute
	// warnAfter is after how many failures the owner is told, when they come in.
	warnAfter = 5
	// noted is how many refusals for one subject the audit takes in an hour:
	// it is no place for a flood.
	noted = 20
)

// guard counts an attempt to prove something about one account, or about what
// would be one: whoever is not there is counted alike.
//
// Two things are counted. Failures in a row at the account, wherever they come
// from, end in a lock for some minutes. Failures from one network at it make
// that network wait 1, 2, 4, 8 seconds. An attempt is counted for both before
// its outcome is known and taken back when it succeeds, so that many at once do
// not get more tries than one after the other.
//
// Whoever was known before, as a browser or a device, is counted apart: a lock
// that somebody else caused does not hold for them, and what they do locks
// nobody else out.
type guard struct {
	account []byte // subject of the lock
	near    []byte // subject of the delays
	user    accounts.ID
}

// guards are those of an attempt: one for each account that the identifier may
// mean, so that username and address share a count, or one for what was typed.
// known is by what the account is known from before, "" for not.
func (g *Gate) guards(from access.Caller, candidates []accounts.User, identifier string, known func(accounts.ID) string) []guard {
	if len(candidates) == 0 {
		typed := orgs.Fold(strings.TrimSpace(identifier))
		return []guard{{account: g.subject("typed", typed), near: g.subject("typed near", typed, network(from.IP))}}
	}
	var list []guard
	for _, u := range candidates {
		list = append(list, g.guard("login", from, u.ID, known(u.ID)))
	}
	return list
}

func (g *Gate) guard(kind string, from access.Caller, id accounts.ID, known string) guard {
	if known != "" {
		return guard{user: id, account: g.subject(kind, string(id), known), near: g.subject(kind+" near", string(id), known)}
	}
	return guard{user: id, account: g.subject(kind, string(id)), near: g.subject(kind+" near", string(id), network(from.IP))}
}

// admit refuses an attempt with E1104 as long as it has to wait, and counts it
// as a failure otherwise. The next one waits from now on, not only when this one
// has turned out wrong: to check a password takes a while, in which many more
// could be asked about.
func (b guard) admit(ctx context.Context, tx *db.Tx, s settings.SignIn) error {
	lock, err := count(ctx, tx, b.account)
	if err != nil {
		return err
	}
	near, err := count(ctx, tx, b.near)
	if err != nil {
		return err
	}
	now := tx.Now()
	switch {
	case now.Before(lock.until):
		return tooMany(lock.until.Sub(now))
	case lock.failures < s.LockAfter:
	case lock.until.IsZero() && now.Before(lock.last.Add(resolved)):
		return tooMany(time.Second) // that many are being tried right now
	default:
		lock.failures = 0 // it was locked, and is not any more
	}
	if lock.failures == 0 {
		lock.first = now
	} else if now.Before(near.until) && !near.first.Before(lock.first) {
		return tooMany(near.until.Sub(now))
	}
	lock.failures++
	lock.last, lock.until, lock.expires = now, time.Time{}, now.Add(remembered)
	if err := lock.store(ctx, tx); err != nil {
		return err
	}
	near.row(lock, now)
	near.failures++
	return near.wait(ctx, tx, now)
}

// row begins the delays anew when they are not of the row of failures that lock
// counts: those before it ended with a success, or a lock.
func (c *counter) row(lock counter, now time.Time) {
	if c.failures == 0 || c.first.Before(lock.first) {
		c.failures, c.first = 0, now
	}
}

// wait makes what is counted wait from an instant on, as long as its failures say.
func (c counter) wait(ctx context.Context, tx *db.Tx, from time.Time) error {
	c.last, c.until, c.expires = from, from.Add(delay(c.failures)), from.Add(remembered)
	return c.store(ctx, tx)
}

// failed lets the wait after an attempt begin now that it is over, and reports
// whether the account is locked by it.
func (b guard) failed(ctx context.Context, tx *db.Tx, s settings.SignIn) (locked bool, err error) {
	now := tx.Now()
	near, err := count(ctx, tx, b.near)
	if err != nil {
		return false, err
	}
	lock, err := count(ctx, tx, b.account)
	if err != nil {
		return false, err
	}
	near.row(lock, now)
	near.failures = max(near.failures, 1) // somebody came in meanwhile, and ended the row
	if err := near.wait(ctx, tx, now); err != nil {
		return false, err
	}
	if lock.failures < s.LockAfter || now.Before(lock.until) {
		return false, nil
	}
	lock.last, lock.until = now, now.Add(time.Duration(s.LockMinutes)*time.Minute)
	lock.expires = lock.until.Add(time.Second)
	return true, lock.store(ctx, tx)
}

// delay is how long to wait after so many failures: 0, 0, 0, 1, 2, 4, 8 seconds.
func delay(failures int) time.Duration {
	if failures < 4 {
		return 0
	}
	return time.Second << min(failures-4, 10)
}

// release takes an attempt back that neither failed nor succeeded.
func (b guard) release(ctx context.Context, tx *db.Tx) error {
	lock, err := count(ctx, tx, b.account)
	if err != nil {
		return err
	}
	if lock.failures > 0 {
		lock.failures--
		if err := lock.store(ctx, tx); err != nil {
			return err
		}
	}
	near, err := count(ctx, tx, b.near)
	if err != nil || near.failures == 0 {
		return err
	}
	near.failures--
	return near.wait(ctx, tx, near.last)
}

// passed ends the count, and says how many failures there were in a row before.
func (b guard) passed(ctx context.Context, tx *db.Tx) (failures int, err error) {
	c, err := count(ctx, tx, b.account)
	if err != nil {
		return 0, err
	}
	if err := forget(ctx, tx, b.near); err != nil {
		return 0, err
	}
	return max(c.failures-1, 0), forget(ctx, tx, b.account)
}

func tooMany(wait time.Duration) error {
	return errs.Of(errs.TooManyAttempts, "n", int((wait+time.Second-1)/time.Second))
}

// network counts an attempt for the network it comes from, whatever accounts it
// is about, and refuses with E1104 when that has failed too often within the
// hour. As with a guard, what succeeds is taken back, by networkBack.
func (g *Gate) network(ctx context.Context, tx *db.Tx, from access.Caller, s settings.SignIn) error {
	wait, err := hit(ctx, tx, g.subject("network", network(from.IP)), time.Hour, s.NetworkPerHour)
	if err != nil || wait == 0 {
		return err
	}
	return tooMany(wait)
}

func (g *Gate) networkBack(ctx context.Context, tx *db.Tx, from access.Caller) error {
	c, err := count(ctx, tx, g.subject("network", network(from.IP)))
	if err != nil || c.failures == 0 {
		return err
	}
	c.failures--
	return c.store(ctx, tx)
}

// locked shows a lock on the account's page, and tells its owner how to come in
// nevertheless.
func (g *Gate) locked(ctx context.Context, tx *db.Tx, from access.Caller, u accounts.User, s settings.SignIn) error {
	if err := accounts.SetLock(ctx, tx, u.ID, tx.Now().Add(time.Duration(s.LockMinutes)*time.Minute)); err != nil {
		return err
	}
	wait, err := hit(ctx, tx, g.subject("lock mail", string(u.ID)), time.Hour, 1)
	if err != nil || wait > 0 || u.Email == "" || u.State != accounts.Active {
		return err
	}
	// A new link ends the one before, which its owner may have asked for: who
	// has one gets the news alone.
	waits, err := accounts.Waits(ctx, tx, accounts.ForReset, u.ID)
	if err != nil {
		return err
	}
	link := ""
	if !waits {
		token, err := accounts.NewLink(ctx, tx, accounts.ForReset, u.ID, time.Duration(s.ResetMinutes)*time.Minute, nil)
		if err != nil {
			return err
		}
		link = g.link(u, "password", token)
	}
	return g.mail(ctx, tx, u, mail.Locked, "minutes", strconv.Itoa(s.LockMinutes), "link", link, "ip", from.IP)
}

// warn tells an account's owner, who is in now, that somebody tried before.
func (g *Gate) warn(ctx context.Context, tx *db.Tx, from access.Caller, u accounts.User, failures int) error {
	return g.mail(ctx, tx, u, mail.FailedLogins, "count", strconv.Itoa(failures), "at", tx.Now().Format(time.RFC3339),
		"ip", from.IP, "link", g.link(u, "forgot", ""))
}

// Unlock ends a lock and every count of failures at an account: an
// administrator's doing.
func (g *Gate) Unlock(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID) error {
	u, err := accounts.Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := accounts.CheckManage(ctx, tx, by, u, audit.Note("changed", "unlocked")); err != nil {
		return err
	}
	_, err = g.unlock(ctx, tx, id, by)
	return err
}

// unlock ends what is counted at an account, whoever caused it, and says how
// many failures there were.
func (g *Gate) unlock(ctx context.Context, tx *db.Tx, id accounts.ID, from access.Caller) (failures int, err error) {
	for _, kind := range []string{"login", "factor"} {
		n, err := g.endCount(ctx, tx, kind, id, from)
		if err != nil {
			return 0, err
		}
		failures += n
	}
	return failures, accounts.SetLock(ctx, tx, id, time.Time{})
}

// endCount ends what is counted of one kind at an account, and says how many
// failures there were.
func (g *Gate) endCount(ctx context.Context, tx *db.Tx, kind string, id accounts.ID, from access.Caller) (failures int, err error) {
	b := g.guard(kind, from, id, "")
	c, err := count(ctx, tx, b.account)
	if err != nil {
		return 0, err
	}
	for _, subject := range [][]byte{b.account, b.near} {
		if err := forget(ctx, tx, subject); err != nil {
			return 0, err
		}
	}
	return c.failures, nil
}

// mail queues a mail to an account's owner: values are pairs of name and value.
func (g *Gate) mail(ctx context.Context, tx *db.Tx, u accounts.User, t mail.Template, values ...string) error {
	m := mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: t, Values: map[string]string{"username": u.Username}}
	for i := 0; i+1 < len(values); i += 2 {
		if values[i+1] != "" {
			m.Values[values[i]] = values[i+1]
		}
	}
	if err := mail.Queue(ctx, tx, g.Keys, m); err != nil {
		return fmt.Errorf("telling account %s: %w", u.ID, err)
	}
	return nil
}
