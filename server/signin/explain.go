package signin

import (
	"context"
	"slices"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/settings"
)

// Fix is what an administrator can do with one click about a line of an
// Explanation.
type Fix string

// The fixes.
const (
	NoFix           Fix = ""
	FixActivate     Fix = "activate"       // Activate the account
	FixUnlock       Fix = "unlock"         // Gate.Unlock
	FixInvite       Fix = "invite"         // accounts.Invite: another link or temporary secret
	FixReset        Fix = "reset"          // Gate.SendReset: mail a link for a new password
	FixWebRestore   Fix = "web_restore"    // turn "Allow restore from web browser" on, for Affects users
	FixSecondFactor Fix = "second_factors" // factors.Reset
	FixLicence      Fix = "licence"        // look at the licence
)

// Line is one line of the checklist.
type Line struct {
	Name string // state, lock, password, factor, web, seat, licence: stable, for tests
	OK   bool
	Key  string // of the sentence
	Args []any  // its values
	Fix  Fix
}

// Explanation says why an account can or cannot sign in (B-03).
type Explanation struct {
	Lines    []Line
	Attempts []audit.Row // the last ten, with their true reasons in the detail "reason"
	URL      string      // the address to send
}

// OK reports whether nothing stands in the way.
func (e Explanation) OK() bool {
	for _, l := range e.Lines {
		if !l.OK {
			return false
		}
	}
	return true
}

// attempts is how many of them an Explanation has.
const attempts = 10

// facts are what the lines are about.
type facts struct {
	now       time.Time
	user      accounts.User
	settings  settings.Settings
	locked    time.Time // until when, zero for not
	factors   factors.Summary
	demanded  bool // a second factor
	profile   profiles.Effective
	licensed  bool // the organisation has licences
	licence   orgs.Standing
	seatError error // why there would be no seat
}

// Explain goes through what an account needs to sign in.
func (g *Gate) Explain(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID) (Explanation, error) {
	u, err := accounts.View(ctx, tx, by, id)
	if err != nil {
		return Explanation{}, err
	}
	f, err := g.facts(ctx, tx, u)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{URL: g.link(u, "", ""), Lines: []Line{f.state(), f.lock(), f.password(), f.factor()}}
	if u.Kind == access.UserKind {
		x.Lines = append(x.Lines, f.web(), f.seat())
		if f.licensed {
			x.Lines = append(x.Lines, f.terms())
		}
	}
	if access.Allow(by, access.ViewAudit, u.Org, u.ID) {
		x.Attempts, err = Attempts(ctx, tx, by, u, attempts)
	}
	return x, err
}

// Attempts are an account's newest n log-ins and those that were refused. A
// page that was refused to somebody who is in is no attempt, and has no reason.
func Attempts(ctx context.Context, tx *db.Tx, by access.Caller, u accounts.User, n int) (list []audit.Row, err error) {
	f := audit.Filter{Org: u.Org, Object: "user/" + string(u.ID), Action: access.Login, Limit: 5 * n}
	all, err := audit.List(ctx, tx, by, f)
	for _, row := range all {
		reasoned := slices.ContainsFunc(row.Details, func(d audit.Detail) bool { return d.Name == "reason" })
		if len(list) < n && (row.Outcome == audit.Done || reasoned) {
			list = append(list, row)
		}
	}
	return list, err
}

func (g *Gate) facts(ctx context.Context, tx *db.Tx, u accounts.User) (f facts, err error) {
	f.now, f.user = tx.Now(), u
	if f.settings, err = settings.Load(ctx, tx); err != nil {
		return f, err
	}
	for _, kind := range []string{"login", "factor"} {
		c, err := count(ctx, tx, g.guard(kind, access.Caller{}, u.ID, "").account)
		if err != nil {
			return f, err
		}
		if f.now.Before(c.until) && c.until.After(f.locked) {
			f.locked = c.until
		}
	}
	if f.factors, err = factors.Of(ctx, tx, u.ID); err != nil {
		return f, err
	}
	if f.demanded, err = g.demanded(ctx, tx, u, f.settings.SignIn); err != nil || u.Kind != access.UserKind {
		return f, err
	}
	if f.profile, err = profiles.Of(ctx, tx, u); err != nil {
		return f, err
	}
	return f, f.read(ctx, tx, g)
}

// read finds out how the account stands with its licence.
func (f *facts) read(ctx context.Context, tx *db.Tx, g *Gate) error {
	grace := time.Duration(f.settings.Licences.GraceDays) * 24 * time.Hour
	id := orgs.LicenceID(f.user.Licence)
	if id == "" {
		chosen, err := orgs.Choose(ctx, tx, g.Keys, f.user.Org, grace)
		if f.seatError = err; err != nil && errs.Find(err) == nil {
			return err
		}
		f.licensed = err != nil || chosen != ""
		if id = chosen; id == "" {
			return nil
		}
	}
	l, err := orgs.FindLicence(ctx, tx, g.Keys, id)
	if err != nil {
		return err
	}
	active, preserved, err := orgs.Seats(ctx, tx, id)
	if err != nil {
		return err
	}
	f.licensed, f.licence = true, l.Stands(active, preserved, f.now, f.settings.Licences)
	f.seatError = l.MayActivate(active, f.now, grace)
	return nil
}

func good(name, key string, args ...any) Line {
	return Line{Name: name, OK: true, Key: key, Args: args}
}

func bad(name string, fix Fix, key string, args ...any) Line {
	return Line{Name: name, Key: key, Args: args, Fix: fix}
}

func (f facts) state() Line {
	u := f.user
	switch u.State {
	case accounts.Active:
		return good("state", "signin.state.active")
	case accounts.Invited:
		return bad("state", FixInvite, "signin.state.invited")
	case accounts.Disabled:
		return bad("state", FixActivate, "signin.state.disabled")
	case accounts.Preserved:
		return bad("state", FixActivate, "signin.state.preserved")
	case accounts.Pending:
		return bad("state", NoFix, "signin.state.pending")
	}
	return bad("state", NoFix, "signin.state.deleted")
}

func (f facts) lock() Line {
	if f.locked.IsZero() {
		return good("lock", "signin.lock.none")
	}
	return bad("lock", FixUnlock, "signin.lock.locked", "n", int((f.locked.Sub(f.now)+time.Minute-1)/time.Minute))
}

func (f facts) password() Line {
	u := f.user
	again := FixReset
	if u.State == accounts.Invited {
		again = FixInvite
	}
	switch {
	case !u.HasPassword():
		return bad("password", again, "signin.password.none")
	case !u.TemporaryUntil.IsZero() && !f.now.Before(u.TemporaryUntil):
		return bad("password", again, "signin.password.temporary_over")
	case !u.TemporaryUntil.IsZero():
		return good("password", "signin.password.temporary", "until", u.TemporaryUntil)
	case mustReplace(f.now, u, f.settings.SignIn):
		return good("password", "signin.password.change")
	}
	return good("password", "signin.password.set", "since", u.PasswordAt)
}

func (f facts) factor() Line {
	switch {
	case f.factors.Any():
		l := good("factor", "signin.factor.has")
		l.Fix = FixSecondFactor
		return l
	case f.demanded:
		return good("factor", "signin.factor.demanded")
	}
	return good("factor", "signin.factor.none")
}

// web is what the profile says about the portal. Turning it on affects all
// users of the profile, which the fix says before it does.
func (f facts) web() Line {
	p := f.profile
	switch {
	case p.Settings.WebRestore:
		return good("web", "signin.web.on", "profile", p.Name)
	case p.Settings.Sharing:
		l := good("web", "signin.web.sharing", "profile", p.Name)
		l.Fix = FixWebRestore
		return l
	}
	return bad("web", FixWebRestore, "signin.web.off", "profile", p.Name)
}

func (f facts) seat() Line {
	switch {
	case !f.licensed:
		return good("seat", "signin.seat.unlicensed")
	case f.user.Seat == accounts.ActiveSeat:
		return good("seat", "signin.seat.has")
	case f.seatError == nil:
		return good("seat", "signin.seat.free")
	}
	return bad("seat", FixLicence, "signin.seat.none")
}

func (f facts) terms() Line {
	if f.licence.Key == "" {
		return bad("licence", FixLicence, "signin.seat.none")
	}
	return Line{Name: "licence", OK: !f.licence.Bad, Key: f.licence.Key, Args: f.licence.Args, Fix: f.licenceFix()}
}

func (f facts) licenceFix() Fix {
	if f.licence.Bad {
		return FixLicence
	}
	return NoFix
}
