package signin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/settings"
)

// byPassword is how a session names the proof by password alone; the others
// are those of package factors.
const byPassword = "password"

// Started is a session that began or moved on.
type Started struct {
	Token   string // of the session, for its cookie; the one before is worth nothing
	Known   string // of the browser, for a cookie that stays; "" to leave that as it is
	Session accounts.Session
}

// Start begins a session for an account that Login let in, in the stage that it
// has to pass first. oldToken is what the browser brought along: that session
// ends. known is its token as a known browser, and language what was chosen on
// the page of the login, "" for nothing.
func (g *Gate) Start(ctx context.Context, from access.Caller, u accounts.User, portal accounts.Portal, userAgent, oldToken, known, language string) (Started, error) {
	var out Started
	err := g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		out = Started{}
		if u, err = accounts.Find(ctx, tx, u.ID); err != nil {
			return err
		}
		stage, err := g.stage(ctx, tx, u, false)
		if err != nil {
			return err
		}
		by := u.Caller(from)
		out.Token, out.Session, err = accounts.StartSession(ctx, tx, by, u, accounts.NewSession{
			Portal: portal, UserAgent: userAgent, Old: oldToken, Stage: stage, Factor: byPassword})
		if err != nil || stage == accounts.StageFactor {
			return err
		}
		if out.Known, err = know(ctx, tx, u, known); err != nil || language == "" {
			return err
		}
		return accounts.SetLanguage(ctx, tx, by, language)
	})
	return out, err
}

// stage is what a session of u has to pass first. proven says that it has
// given the second factor.
func (g *Gate) stage(ctx context.Context, tx *db.Tx, u accounts.User, proven bool) (accounts.Stage, error) {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return "", err
	}
	has, err := factors.Of(ctx, tx, u.ID)
	if err != nil {
		return "", err
	}
	switch {
	case has.Any() && !proven:
		return accounts.StageFactor, nil
	case mustReplace(tx.Now(), u, s.SignIn):
		return accounts.StagePassword, nil
	case has.Any():
		return accounts.StageDone, nil
	}
	demanded, err := g.demanded(ctx, tx, u, s.SignIn)
	if err != nil || demanded {
		return accounts.StageEnrol, err
	}
	if u.Kind == access.AdminKind && u.SecondFactorFrom.IsZero() {
		err = accounts.SetFactorFrom(ctx, tx, u.ID, tx.Now().AddDate(0, 0, s.SignIn.AdminFactorDays))
	}
	return accounts.StageDone, err
}

// mustReplace reports whether an account has to set another password first.
func mustReplace(now time.Time, u accounts.User, s settings.SignIn) bool {
	expired := s.ExpiryDays > 0 && !now.Before(u.PasswordAt.AddDate(0, 0, s.ExpiryDays))
	return u.MustChangePassword || !u.TemporaryUntil.IsZero() || expired
}

// demanded reports whether an account without a second factor must set one up
// now: a user when the profile says so, an administrator some days after the
// first login.
func (g *Gate) demanded(ctx context.Context, tx *db.Tx, u accounts.User, s settings.SignIn) (bool, error) {
	if u.Kind == access.UserKind {
		p, err := profiles.Of(ctx, tx, u)
		return p.Settings.SecondFactor == profile.Required, err
	}
	if s.AdminFactorDays == 0 {
		return true, nil
	}
	return !u.SecondFactorFrom.IsZero() && !tx.Now().Before(u.SecondFactorFrom), nil
}

// noteLogin records a login. One that awaits the second factor is none yet.
func (g *Gate) noteLogin(ctx context.Context, tx *db.Tx, from access.Caller, u accounts.User, portal accounts.Portal) error {
	has, err := factors.Of(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if portal == accounts.ToClient || !has.Any() {
		return accounts.NoteLogin(ctx, tx, from, u, portal)
	}
	return audit.Record(ctx, tx, u.Caller(from), audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "user/" + string(u.ID),
		Outcome: audit.Done, Details: append(accounts.LoginDetails(from, portal), audit.Note("awaits", "second_factor"))})
}

// maxWrongCodes is how many wrong codes a log-in survives that awaits one.
const maxWrongCodes = 5

// Over reports whether a failure of Prove ended the session: whoever it was
// begins again with the password.
func Over(err error) bool {
	e := errs.Find(err)
	return e != nil && e.Key == "factor.code.over"
}

// Prove checks a code of the second factor, of an app or for recovery: it ends
// StageFactor, and refreshes the proof of a session that is past it. A wrong
// code is Unauthenticated, factor.code.wrong; the fifth of a session in
// StageFactor ends it, see Over; too many at the account are E1104. known
// is the browser's token, as for Attempt: who has but the password locks no
// browser out that the owner came in by.
func (g *Gate) Prove(ctx context.Context, by access.Caller, s accounts.Session, code, known string) (Started, error) {
	var out Started
	var told error
	err := g.DB.Write(ctx, func(tx *db.Tx) error {
		out, told = Started{}, nil
		u, err := accounts.Find(ctx, tx, s.User)
		if err != nil {
			return err
		}
		set, err := settings.Load(ctx, tx)
		if err != nil {
			return err
		}
		from, err := knownFrom(ctx, tx, s, known)
		if err != nil {
			return err
		}
		var factor string
		if factor, told, err = g.useCode(ctx, tx, by, u, from, code, set.SignIn); err != nil {
			return err
		}
		if errs.Is(told, errs.TooManyAttempts) {
			return g.noteRefusal(ctx, tx, by, s.Portal, u, "throttled", told)
		}
		if told != nil {
			if err := g.record(ctx, tx, by, s.Portal, u, "second_factor_wrong", told); err != nil || s.Stage != accounts.StageFactor {
				return err
			}
			over, err := g.wrongCode(ctx, tx, by, s)
			if over {
				told = errs.New(errs.Unauthenticated, "factor.code.over")
			}
			return err
		}
		out, err = g.proved(ctx, tx, by, u, s, factor)
		return err
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return Started{}, err
	}
	return out, nil
}

// wrongCode counts a wrong code of a session that awaits one, beside what is
// counted at the account, and ends the session at the last it may have.
func (g *Gate) wrongCode(ctx context.Context, tx *db.Tx, by access.Caller, s accounts.Session) (over bool, err error) {
	c, err := count(ctx, tx, g.subject("codes of a session", s.ID))
	if err != nil {
		return false, err
	}
	c.failures++
	c.last, c.expires = tx.Now(), s.ExpiresAt
	if c.failures < maxWrongCodes {
		return false, c.store(ctx, tx)
	}
	if err := forget(ctx, tx, c.subject); err != nil {
		return false, err
	}
	return true, accounts.EndSession(ctx, tx, by, s.ID)
}

// knownFrom is by what the owner of a session is known from before: the session
// itself once the second factor was given or none was there to give, and until
// then at most the browser.
func knownFrom(ctx context.Context, tx *db.Tx, s accounts.Session, token string) (string, error) {
	if s.Stage != accounts.StageFactor {
		return "session " + s.ID, nil
	}
	id, browser, err := knownBrowser(ctx, tx, token)
	if id != s.User {
		browser = ""
	}
	return browser, err
}

// useCode checks a code of an account's second factor, and counts wrong ones;
// apart for what the account is known from before, "" for nothing. told is what
// the person is told about a code that did not do.
func (g *Gate) useCode(ctx context.Context, tx *db.Tx, from access.Caller, u accounts.User, known, code string, s settings.SignIn) (factor string, told, err error) {
	guard := g.guard("factor", from, u.ID, known)
	if err := guard.admit(ctx, tx, s); err != nil {
		if errs.Is(err, errs.TooManyAttempts) {
			return "", err, nil
		}
		return "", nil, err
	}
	factor, err = g.Factors.UseCode(ctx, tx, u.ID, code)
	if err == nil {
		_, err = guard.passed(ctx, tx)
		return factor, nil, err
	}
	if errs.Find(err) == nil {
		return "", nil, err
	}
	told = err
	locked, err := guard.failed(ctx, tx, s)
	if err == nil && locked && known == "" {
		err = g.locked(ctx, tx, from, u, s)
	}
	return "", told, err
}

// proved moves a session on whose owner has just given a second factor.
func (g *Gate) proved(ctx context.Context, tx *db.Tx, by access.Caller, u accounts.User, s accounts.Session, factor string) (out Started, err error) {
	to := s.Stage
	if s.Stage == accounts.StageFactor {
		if to, err = g.stage(ctx, tx, u, true); err != nil {
			return out, err
		}
		if out.Known, err = know(ctx, tx, u, ""); err != nil {
			return out, err
		}
		if err := accounts.NoteLogin(ctx, tx, by, u, s.Portal, audit.Note("factor", factor)); err != nil {
			return out, err
		}
	} else if err := stepped(ctx, tx, by, u, s, factor); err != nil {
		return out, err
	}
	out.Token, out.Session, err = accounts.Advance(ctx, tx, s, to, factor)
	return out, err
}

// stepped records that the owner of a session proved again who they are.
func stepped(ctx context.Context, tx *db.Tx, by access.Caller, u accounts.User, s accounts.Session, factor string) error {
	return audit.Record(ctx, tx, u.Caller(by), audit.Event{Action: access.Login, Org: u.Org, Owner: u.ID, Object: "session/" + s.ID,
		Outcome: audit.Done, Details: []audit.Detail{audit.Note("portal", s.Portal), audit.Note("step_up", factor)}})
}

// BeginPasskey asks for one of the account's passkeys: what it returns is for
// the browser's navigator.credentials.get.
func (g *Gate) BeginPasskey(ctx context.Context, by access.Caller, s accounts.Session) (json.RawMessage, error) {
	return g.Factors.BeginProof(ctx, s.User, s.ID)
}

// ProvePasskey is Prove with the browser's answer to BeginPasskey.
func (g *Gate) ProvePasskey(ctx context.Context, by access.Caller, s accounts.Session, response []byte) (out Started, err error) {
	u, err := g.find(ctx, s.User)
	if err != nil {
		return out, err
	}
	if told := g.Factors.FinishProof(ctx, s.User, s.ID, response); told != nil {
		err := g.DB.Write(ctx, func(tx *db.Tx) error {
			return g.noteRefusal(ctx, tx, by, s.Portal, u, "second_factor_wrong", told)
		})
		if err != nil {
			return out, err
		}
		return out, told
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		out, err = g.proved(ctx, tx, by, u, s, factors.ByPasskey)
		return err
	})
	return out, err
}

// Enrolled ends StageEnrol when the account has a second factor now.
func (g *Gate) Enrolled(ctx context.Context, by access.Caller, s accounts.Session) (out Started, err error) {
	err = g.DB.Write(ctx, func(tx *db.Tx) error {
		has, err := factors.Of(ctx, tx, s.User)
		if err != nil {
			return err
		}
		if s.Stage != accounts.StageEnrol || !has.Any() {
			return errs.New(errs.Unauthenticated, "login.session.staged")
		}
		factor := factors.ByTOTP
		if !has.TOTP {
			factor = factors.ByPasskey
		}
		out.Token, out.Session, err = accounts.Advance(ctx, tx, s, accounts.StageDone, factor)
		return err
	})
	return out, err
}

// StepUp proves again who holds a session: by the code of a second factor when
// the account has one, for which the password alone does not do; otherwise by
// the password. A passkey is asked for by BeginPasskey and ProvePasskey.
func (g *Gate) StepUp(ctx context.Context, by access.Caller, s accounts.Session, password, code string) (out Started, err error) {
	if s.Stage != accounts.StageDone {
		return out, errs.New(errs.Unauthenticated, "login.session.staged")
	}
	var has factors.Summary
	err = g.DB.Read(ctx, func(tx *db.Tx) error {
		has, err = factors.Of(ctx, tx, s.User)
		return err
	})
	if err != nil {
		return out, err
	}
	if has.Any() {
		return g.Prove(ctx, by, s, code, "")
	}
	u, err := g.check(ctx, by, s, password)
	if err != nil {
		return out, err
	}
	err = g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if err := stepped(ctx, tx, by, u, s, byPassword); err != nil {
			return err
		}
		out.Token, out.Session, err = accounts.Advance(ctx, tx, s, s.Stage, byPassword)
		return err
	})
	return out, err
}

// check asks for the password of a session's owner.
func (g *Gate) check(ctx context.Context, by access.Caller, s accounts.Session, password string) (accounts.User, error) {
	return g.Confirm(ctx, by, s.Portal, s.User, password, "")
}

// Fresh reports whether the session's owner has proved who they are within the
// last minutes, by the strongest that the account has. Otherwise it fails with
// login.stepup, and the screens ask for StepUp and come back.
func (g *Gate) Fresh(ctx context.Context, tx *db.Tx, s accounts.Session) error {
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	has, err := factors.Of(ctx, tx, s.User)
	if err != nil {
		return err
	}
	recent := tx.Now().Before(s.AuthAt.Add(time.Duration(set.SignIn.StepUpMinutes) * time.Minute))
	strong := s.Factor != byPassword || !has.Any()
	if s.Stage == accounts.StageDone && recent && strong {
		return nil
	}
	return errs.New(errs.Forbidden, "login.stepup")
}
