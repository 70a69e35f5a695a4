package signin_test

import (
	"testing"
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
	"github.com/backstay/backstay/server/signin"
)

// in reports whether a token opens the portal's pages.
func (w *world) in(portal accounts.Portal, token string) bool {
	w.Helper()
	_, _, err := accounts.FindSession(w.Context(), w.DB, portal, token)
	if err != nil && errs.KindOf(err) != errs.Unauthenticated {
		w.Fatal(err)
	}
	return err == nil
}

func (w *world) by(s signin.Started) access.Caller {
	return w.Find(s.Session.User).Caller(access.Caller{IP: "192.0.2.1", Session: s.Session.ID})
}

func (w *world) fresh(s signin.Started) bool {
	w.Helper()
	err := w.DB.Read(w.Context(), func(tx *db.Tx) error { return w.g.Fresh(w.Context(), tx, s.Session) })
	if e := errs.Find(err); err != nil && (e == nil || e.Key != "login.stepup") {
		w.Fatal(err)
	}
	return err == nil
}

// invite makes an account with a temporary secret.
func (w *world) invite(username, secret string, life time.Duration) accounts.User {
	w.Helper()
	u, err := w.Create(system, accounts.New{Username: username, Email: username + "@example.org", PasswordHash: w.Hash(secret), Temporary: life})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

// A temporary secret leads to a new password, and nowhere else.
func TestFirstPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const secret = "Bofad-Likum-Zarev-42"
	u := w.invite("una", secret, time.Hour)
	s := w.comeBy(accounts.ToPortal, "una", secret)
	if s.Session.Stage != accounts.StagePassword || w.in(accounts.ToPortal, s.Token) {
		t.Fatalf("stage %q, lets in: %v", s.Session.Stage, w.in(accounts.ToPortal, s.Token))
	}
	staged, _, err := accounts.FindStaged(t.Context(), w.DB, accounts.ToPortal, s.Token)
	if err != nil || staged.Stage != accounts.StagePassword {
		t.Fatalf("FindStaged = %+v, %v", staged, err)
	}
	if _, err := w.g.StepUp(t.Context(), w.by(s), s.Session, secret, ""); err == nil {
		t.Error("the stage is ended by proving oneself")
	}
	if _, err := w.g.Enrolled(t.Context(), w.by(s), s.Session); err == nil {
		t.Error("the stage is ended by another one's end")
	}
	for name, bad := range map[string]string{"the same": secret, "a short one": "Ab1", "a common one": "Password1"} {
		if _, err := w.g.SetFirstPassword(t.Context(), w.by(s), s.Session, bad); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	done, err := w.g.SetFirstPassword(t.Context(), w.by(s), s.Session, password)
	if err != nil || done.Session.Stage != accounts.StageDone || done.Token == s.Token {
		t.Fatalf("SetFirstPassword = %+v, %v", done, err)
	}
	if !w.in(accounts.ToPortal, done.Token) || w.in(accounts.ToPortal, s.Token) {
		t.Error("not exactly the new token is good")
	}
	if got := w.Find(u.ID); got.State != accounts.Active || !got.TemporaryUntil.IsZero() || got.MustChangePassword {
		t.Errorf("the account is %+v", got)
	}
	if _, err := w.login(accounts.ToPortal, "una", secret); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("the temporary secret afterwards: %v", err)
	}
	if _, err := w.g.SetFirstPassword(t.Context(), w.by(s), s.Session, "Another one 3"); err == nil {
		t.Error("the stage ends twice")
	}
}

func TestTemporarySecretEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.invite("una", "Bofad-Likum-Zarev-42", time.Hour)
	w.Move(time.Hour - time.Second)
	if _, err := w.login(accounts.ToPortal, "una", "Bofad-Likum-Zarev-42"); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	w.Move(time.Second)
	if _, err := w.login(accounts.ToPortal, "una", "Bofad-Likum-Zarev-42"); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("after its end: %v", err)
	}
	if got := w.reasons(1); len(got) != 1 || got[0] != "temporary_expired" {
		t.Errorf("the audit says %v", got)
	}
}

// The client has no session: it is told E1105, and replaces the secret.
func TestReplaceTemporary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.invite("una", "Bofad-Likum-Zarev-42", time.Hour)
	if _, err := w.login(accounts.ToClient, "una", "Bofad-Likum-Zarev-42"); !errs.Is(err, errs.PasswordChange) {
		t.Fatalf("at the client: %v, want E1105", err)
	}
	if _, err := w.g.ReplaceTemporary(t.Context(), from, "una", "wrong", password); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("by a wrong one: %v", err)
	}
	u, err := w.g.ReplaceTemporary(t.Context(), from, "una", "Bofad-Likum-Zarev-42", password)
	if err != nil || u.State != accounts.Active {
		t.Fatalf("ReplaceTemporary = %v, %v", u.State, err)
	}
	if _, err := w.login(accounts.ToClient, "una", password); err != nil {
		t.Error(err)
	}
}

// Who has a second factor gives it: the password alone opens nothing.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	secret := w.app(u)
	s := w.come("una")
	if s.Session.Stage != accounts.StageFactor || s.Known != "" || w.in(accounts.ToPortal, s.Token) || w.fresh(s) {
		t.Fatalf("after the password: %+v", s)
	}
	if !w.Find(u.ID).LastLoginAt.IsZero() {
		t.Error("half a login counts as one")
	}
	if _, err := w.g.Prove(t.Context(), w.by(s), s.Session, "123456", ""); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("a wrong code: %v", err)
	}
	done, err := w.g.Prove(t.Context(), w.by(s), s.Session, w.code(secret), "")
	if err != nil || done.Session.Stage != accounts.StageDone || done.Session.Factor != factors.ByTOTP || done.Known == "" {
		t.Fatalf("Prove = %+v, %v", done, err)
	}
	if !w.in(accounts.ToPortal, done.Token) || w.in(accounts.ToPortal, s.Token) || !w.fresh(done) {
		t.Error("not exactly the new token is good")
	}
	if w.Find(u.ID).LastLoginAt.IsZero() {
		t.Error("the login was not noted")
	}
	// The code was used, in this session and in others.
	other := w.come("una")
	if _, err := w.g.Prove(t.Context(), w.by(other), other.Session, w.code(secret), ""); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("the code again: %v", err)
	}
	// At the client the code is part of the attempt.
	client := func(code string) error {
		_, err := w.g.Login(t.Context(), from, signin.Attempt{Portal: accounts.ToClient, Identifier: "una", Password: password, Code: code})
		return err
	}
	err = client("")
	if e := errs.Find(err); e == nil || e.Key != "login.second_factor" || len(e.Args["methods"].([]string)) != 1 {
		t.Errorf("at the client without a code: %v", err)
	}
	if err := client("123456"); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("at the client with a wrong one: %v", err)
	}
	w.Move(time.Minute)
	if err := client(w.code(secret)); err != nil {
		t.Errorf("at the client with the code: %v", err)
	}
}

// A temporary password comes after the second factor.
func TestFactorThenPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	secret := w.app(u)
	hash := w.Hash("Temporary one 1")
	w.Write(func(tx *db.Tx) error { return accounts.SetPassword(t.Context(), tx, system, u.ID, hash, true) })
	s := w.comeBy(accounts.ToPortal, "una", "Temporary one 1")
	if s.Session.Stage != accounts.StageFactor {
		t.Fatalf("first %q", s.Session.Stage)
	}
	if _, err := w.g.SetFirstPassword(t.Context(), w.by(s), s.Session, password); err == nil {
		t.Error("a password is set before the second factor is given")
	}
	s, err := w.g.Prove(t.Context(), w.by(s), s.Session, w.code(secret), "")
	if err != nil || s.Session.Stage != accounts.StagePassword {
		t.Fatalf("then %q, %v", s.Session.Stage, err)
	}
	s, err = w.g.SetFirstPassword(t.Context(), w.by(s), s.Session, password)
	if err != nil || s.Session.Stage != accounts.StageDone || s.Session.Factor != factors.ByTOTP {
		t.Fatalf("at last %+v, %v", s.Session, err)
	}
}

// Administrators have some days for a second factor, users what their profile
// says.
func TestSecondFactorIsDemanded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	ada := w.Admin("ada", access.OrgAdmin)
	stage := func() accounts.Stage {
		w.Helper()
		return w.comeBy(accounts.ToConsole, "ada", password).Session.Stage
	}
	w.Move(30 * 24 * time.Hour) // before the first login nothing runs
	if got := stage(); got != accounts.StageDone {
		t.Errorf("at the first login: %q", got)
	}
	w.Move(7*24*time.Hour - time.Minute)
	if got := stage(); got != accounts.StageDone {
		t.Errorf("on the seventh day: %q", got)
	}
	w.Move(time.Minute)
	s := w.comeBy(accounts.ToConsole, "ada", password)
	if s.Session.Stage != accounts.StageEnrol || w.in(accounts.ToConsole, s.Token) {
		t.Fatalf("after it: %q", s.Session.Stage)
	}
	if _, err := w.g.Enrolled(t.Context(), w.by(s), s.Session); err == nil {
		t.Error("the stage ends without a second factor")
	}
	w.app(ada)
	done, err := w.g.Enrolled(t.Context(), w.by(s), s.Session)
	if err != nil || done.Session.Stage != accounts.StageDone || !w.in(accounts.ToConsole, done.Token) || !w.fresh(done) {
		t.Errorf("with one: %+v, %v", done, err)
	}
	w.Set(func(s *settings.Settings) { s.SignIn.AdminFactorDays = 0 })
	w.Admin("bob", access.Viewer)
	if got := w.comeBy(accounts.ToConsole, "bob", password).Session.Stage; got != accounts.StageEnrol {
		t.Errorf("with no days: %q", got)
	}

	w.User("una")
	if got := w.come("una").Session.Stage; got != accounts.StageDone {
		t.Errorf("a user: %q", got)
	}
	w.profile(func(s *profile.Settings) { s.SecondFactor = profile.Required })
	if got := w.come("una").Session.Stage; got != accounts.StageEnrol {
		t.Errorf("a user whose profile asks for it: %q", got)
	}
	_, err = w.login(accounts.ToClient, "una", password)
	if e := errs.Find(err); e == nil || e.Key != "login.second_factor.missing" {
		t.Errorf("at the client: %v", err)
	}
}

func (w *world) profile(edit func(*profile.Settings)) {
	w.Helper()
	w.Write(func(tx *db.Tx) error {
		p, err := profiles.Default(w.Context(), tx, w.Org.ID)
		if err != nil {
			return err
		}
		edit(&p.Settings)
		_, err = profiles.Save(w.Context(), tx, system, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
}

// What matters asks for a proof of the last minutes: the password, and a second
// factor where there is one.
func TestStepUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	s := w.come("una")
	if !w.fresh(s) {
		t.Error("a login is no proof")
	}
	w.Move(5*time.Minute - time.Second)
	if !w.fresh(s) {
		t.Error("the proof ends early")
	}
	w.Move(time.Second)
	if w.fresh(s) {
		t.Error("the proof does not end")
	}
	if _, err := w.g.StepUp(t.Context(), w.by(s), s.Session, "wrong", ""); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("a wrong password: %v", err)
	}
	again, err := w.g.StepUp(t.Context(), w.by(s), s.Session, password, "")
	if err != nil || !w.fresh(again) || again.Token == s.Token || w.in(accounts.ToPortal, s.Token) || !w.in(accounts.ToPortal, again.Token) {
		t.Fatalf("StepUp = %+v, %v", again, err)
	}
	secret := w.app(u)
	if w.fresh(again) {
		t.Error("with a second factor the password is still proof enough")
	}
	if _, err := w.g.StepUp(t.Context(), w.by(again), again.Session, password, ""); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("the password in place of a second factor: %v", err)
	}
	strong, err := w.g.StepUp(t.Context(), w.by(again), again.Session, "", w.code(secret))
	if err != nil || !w.fresh(strong) {
		t.Errorf("the second factor: %v", err)
	}
}

func TestSessionLimitsAreSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.Set(func(s *settings.Settings) { s.SignIn.UserIdleMinutes, s.SignIn.UserAbsoluteMinutes = 10, 25 })
	w.User("una")
	s := w.come("una")
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{9 * time.Minute, true}, {9 * time.Minute, true}, {6 * time.Minute, true}, {time.Minute, false}} {
		w.Move(c.after)
		if got := w.in(accounts.ToPortal, s.Token); got != c.want {
			t.Errorf("another %v later: in %v, want %v", c.after, got, c.want)
		}
	}
	s = w.come("una")
	w.Move(10 * time.Minute)
	if w.in(accounts.ToPortal, s.Token) {
		t.Error("an idle session goes on")
	}
	// A shorter limit holds for sessions that there are.
	w.Set(func(s *settings.Settings) { s.SignIn.UserIdleMinutes, s.SignIn.UserAbsoluteMinutes = 60, 600 })
	s = w.come("una")
	w.Set(func(s *settings.Settings) { s.SignIn.UserIdleMinutes, s.SignIn.UserAbsoluteMinutes = 20, 30 })
	w.Move(15 * time.Minute)
	if !w.in(accounts.ToPortal, s.Token) {
		t.Error("ended early")
	}
	w.Move(15 * time.Minute)
	if w.in(accounts.ToPortal, s.Token) {
		t.Error("a session outlives a shorter limit")
	}
}

// Who looks at their sessions sees those that open something.
func TestListedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	w.come("una")
	w.Move(8 * time.Hour) // idle for too long
	second := w.come("una")
	w.Write(func(tx *db.Tx) error {
		list, err := accounts.Sessions(t.Context(), tx, u.Caller(from), u.ID)
		if len(list) != 1 || list[0].ID != second.Session.ID {
			t.Errorf("listed: %+v", list)
		}
		return err
	})
}

// The browser's session of before ends with a login, whoever's it was, and so
// does what it was known by.
func TestStartReplaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	old := w.come("una")
	s, err := w.g.Start(t.Context(), from, u, accounts.ToPortal, "Browser/1", old.Token, old.Known, "fr")
	if err != nil || w.in(accounts.ToPortal, old.Token) || !w.in(accounts.ToPortal, s.Token) {
		t.Fatalf("Start = %+v, %v", s, err)
	}
	if s.Known == old.Known {
		t.Error("the browser keeps its token")
	}
	if w.Find(u.ID).Language != "fr" {
		t.Error("the language was not kept")
	}
}

// Wrong codes end the log-in that awaits one, and are counted at the account
// all the same. A session that is complete survives them.
func TestWrongCodesEndTheLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	secret := w.app(u)
	staged := func(token string) bool {
		_, _, err := accounts.FindStaged(t.Context(), w.DB, accounts.ToPortal, token)
		return err == nil
	}
	guess := func(s signin.Started) error {
		w.Move(2 * time.Minute) // longer than the delays, within which none counts
		_, err := w.g.Prove(t.Context(), w.by(s), s.Session, "000000", "")
		return err
	}
	s, beside := w.come("una"), w.come("una")
	for i := 1; i < 5; i++ {
		if err := guess(s); errs.KindOf(err) != errs.Unauthenticated || signin.Over(err) || !staged(s.Token) {
			t.Fatalf("wrong code %d: %v", i, err)
		}
	}
	if err := guess(beside); signin.Over(err) {
		t.Errorf("another log-in pays for it: %v", err)
	}
	if err := guess(s); !signin.Over(err) || errs.KindOf(err) != errs.Unauthenticated || staged(s.Token) || !staged(beside.Token) {
		t.Fatalf("the fifth: %v", err)
	}
	w.Move(time.Minute)
	if _, err := w.g.Prove(t.Context(), w.by(s), s.Session, w.code(secret), ""); errs.Find(err) == nil || errs.Find(err).Key != "login.session.ended" {
		t.Errorf("the right code afterwards: %v", err)
	}
	// The account's own count went on: six so far, and ten lock it.
	again := w.come("una")
	for range 4 {
		if err := guess(again); errs.KindOf(err) != errs.Unauthenticated || signin.Over(err) {
			t.Fatal(err)
		}
	}
	if w.Find(u.ID).LockedUntil.IsZero() {
		t.Error("wrong codes of several log-ins lock nothing")
	}
	w.Move(20 * time.Minute)
	done, err := w.g.Prove(t.Context(), w.by(beside), beside.Session, w.code(secret), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if err := guess(done); signin.Over(err) {
			t.Fatalf("a complete session: %v", err)
		}
	}
	if !w.in(accounts.ToPortal, done.Token) {
		t.Error("wrong codes end a complete session")
	}
	ended := 0
	for _, row := range w.Audit(audit.Filter{Action: access.Logout}) {
		if row.ObjectID == s.Session.ID {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("the end is recorded %d times", ended)
	}
}
