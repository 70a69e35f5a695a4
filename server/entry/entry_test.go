package entry_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
)

// browser is somebody's, with cookies of its own.
type browser struct {
	t    *testing.T
	s    *servertest.Server
	http *http.Client
	gzip bool
}

func open(t *testing.T, s *servertest.Server) *browser {
	t.Helper()
	return &browser{t: t, s: s, http: s.Client()}
}

// page is an answer, read.
type page struct {
	*http.Response
	text string
}

func (b *browser) do(r *http.Request, want int) page {
	b.t.Helper()
	answer, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode != want {
		b.t.Fatalf("%s %s: status %d, want %d:\n%s", r.Method, r.URL.Path, answer.StatusCode, want, body)
	}
	return page{answer, string(body)}
}

func (b *browser) get(path string, want int) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.s.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.gzip {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	return b.do(r, want)
}

// post sends a form of fields and values.
func (b *browser) post(path string, want int, form ...string) page {
	b.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.s.URL+path, strings.NewReader(values.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.s.URL)
	return b.do(r, want)
}

// logIn submits the log-in form at the portal whose path is base.
func (b *browser) logIn(base, username, password string, want int) page {
	b.t.Helper()
	b.get(base+"/login", http.StatusOK)
	return b.post(base+"/login", want, "username", username, "password", password)
}

func (p page) has(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.text, text) {
			t.Errorf("%s lacks %q:\n%s", p.Request.URL.Path, text, p.text)
		}
	}
}

func (p page) lacks(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(p.text, text) {
			t.Errorf("%s holds %q:\n%s", p.Request.URL.Path, text, p.text)
		}
	}
}

// leads checks where an answer sends the browser.
func (p page) leads(t *testing.T, to string) {
	t.Helper()
	if got := p.Header.Get("Location"); got != to {
		t.Errorf("%s leads to %q, want %q", p.Request.URL.Path, got, to)
	}
}

func write(t *testing.T, s *servertest.Server, do func(*db.Tx) error) {
	t.Helper()
	if err := s.DB.Write(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

var system = access.System("test")

func setProfile(t *testing.T, s *servertest.Server, edit func(*profile.Settings)) {
	t.Helper()
	write(t, s, func(tx *db.Tx) error {
		p, err := profiles.Default(t.Context(), tx, s.Org.ID)
		if err != nil {
			return err
		}
		edit(&p.Settings)
		_, err = profiles.Save(t.Context(), tx, system, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
}

func setState(t *testing.T, s *servertest.Server, u accounts.User, to accounts.State) {
	t.Helper()
	write(t, s, func(tx *db.Tx) error {
		return accounts.SetState(t.Context(), tx, system, u.ID, to, "for the test")
	})
}

func change(t *testing.T, s *servertest.Server, edit func(*settings.Settings)) {
	t.Helper()
	write(t, s, func(tx *db.Tx) error {
		return settings.Change(t.Context(), tx, system, func(x *settings.Settings) error { edit(x); return nil })
	})
}

// The matrix of B-02, and B-01: who is told what at which door.
func TestLoginOutcomes(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	disabled, preserved := s.NewUser("disabled"), s.NewUser("preserved")
	setState(t, s, disabled, accounts.Disabled)
	setState(t, s, preserved, accounts.Preserved)
	for _, tc := range []struct {
		what, base, username, password string
		status                         int
		code                           string
	}{
		{"a user", "", "user", servertest.UserPassword, 303, ""},
		{"a user by address, in capitals", "", "USER@EXAMPLE.ORG", servertest.UserPassword, 303, ""},
		{"a wrong password", "", "user", "wrong", 401, "E1101"},
		{"nobody", "", "nobody", servertest.UserPassword, 401, "E1101"},
		{"an administrator at the portal", "", "admin", servertest.AdminPassword, 401, "E1101"},
		{"a user at the console", "/admin", "user", servertest.UserPassword, 401, "E1101"},
		{"an administrator", "/admin", "admin", servertest.AdminPassword, 303, ""},
		{"disabled", "", "disabled", servertest.UserPassword, 403, "E1102"},
		{"disabled, wrong password", "", "disabled", "wrong", 401, "E1101"},
		{"preserved", "", "preserved", servertest.UserPassword, 403, "E1103"},
		{"preserved, wrong password", "", "preserved", "wrong", 401, "E1101"},
		{"disabled at the console", "/admin", "disabled", servertest.UserPassword, 401, "E1101"},
	} {
		b := open(t, s)
		got := b.logIn(tc.base, tc.username, tc.password, tc.status)
		if tc.status == http.StatusSeeOther {
			got.leads(t, tc.base+"/")
			b.get(tc.base+"/account", http.StatusOK)
			continue
		}
		got.has(t, `<span class="code">`+tc.code+`</span>`, `value="`+tc.username+`"`)
		got.lacks(t, tc.password)
		b.get(tc.base+"/account", http.StatusSeeOther).leads(t, tc.base+"/login?next="+url.QueryEscape(tc.base+"/account"))
	}
}

// Where people look for their files is said to everyone who stands at the
// console's door, whoever they are.
func TestConsoleNamesThePortal(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	want := `Looking for your files? Use <a href="` + s.URL + `/">`
	b.get("/admin/login", http.StatusOK).has(t, "Management Console", want)
	b.logIn("/admin", "user", servertest.UserPassword, http.StatusUnauthorized).has(t, want)
	b.logIn("/admin", "nobody", "x", http.StatusUnauthorized).has(t, want)
	b.get("/login", http.StatusOK).lacks(t, "Looking for your files?")
}

// What the profile allows counts at the log-in and at the next request.
func TestPortalByProfile(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.get("/account", http.StatusOK).has(t, "Data Sources", "Activity")
	allow := func(restore, sharing bool) {
		setProfile(t, s, func(p *profile.Settings) { p.WebRestore, p.Sharing = restore, sharing })
	}

	allow(false, true)
	b.get("/account", http.StatusOK).lacks(t, "Data Sources")
	b.get("/devices/x", http.StatusForbidden).has(t, "E1106")
	b.get("/", http.StatusSeeOther).leads(t, "/account")
	other := open(t, s)
	other.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	other.get("/account", http.StatusOK).lacks(t, "Data Sources")

	allow(false, false)
	b.get("/account", http.StatusForbidden).has(t, "E1106", "Log out")
	b.get("/activity", http.StatusForbidden)
	done, last := logins(t, s)
	open(t, s).logIn("", "user", servertest.UserPassword, http.StatusForbidden).has(t, "E1106")
	if now, at := logins(t, s); now != done || !at.Equal(last) {
		t.Errorf("a refused log-in is recorded as done: %d rows, want %d; the last log-in %v, want %v", now, done, at, last)
	}
	open(t, s).logIn("", "user", "wrong", http.StatusUnauthorized).has(t, "E1101")

	allow(true, false)
	b.get("/account", http.StatusOK).has(t, "Data Sources")

	var refused int
	err := s.DB.Read(t.Context(), func(tx *db.Tx) error {
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Action: access.Login, Outcome: audit.Refuse})
		for _, row := range rows {
			if row.Code == "E1106" {
				refused++
			}
		}
		return err
	})
	if err != nil || refused != 3 {
		t.Errorf("%d refusals by E1106 are recorded, want 3 (%v)", refused, err)
	}
}

// logins is how often anybody logged in, and when the user did last.
func logins(t *testing.T, s *servertest.Server) (done int, last time.Time) {
	t.Helper()
	err := s.DB.Read(t.Context(), func(tx *db.Tx) error {
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Action: access.Login, Outcome: audit.Done})
		if err != nil {
			return err
		}
		u, err := accounts.Find(t.Context(), tx, s.User.ID)
		done, last = len(rows), u.LastLoginAt
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return done, last
}

func TestVersionIsShown(t *testing.T) {
	t.Parallel()
	shown := servertest.New(t)
	open(t, shown).get("/login", http.StatusOK).has(t, "Version", "Release", "Build", "English", "Français")
	hidden := servertest.New(t, func(cfg *server.Config) { cfg.HideBuild = true })
	b := open(t, hidden)
	for _, path := range []string{"/login", "/admin/login", "/forgot", "/sent"} {
		p := b.get(path, http.StatusOK)
		p.has(t, "Version", "Release")
		p.lacks(t, "Build")
	}
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.get("/account", http.StatusOK).has(t, "Build")
}

// Several accounts of one address: the password is typed once, and the browser
// that typed it chooses, once.
func TestChoice(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	make := func(username, password string) accounts.User {
		u, err := s.NewAccount(t.Context(), system, accounts.New{Org: s.Org.ID, Kind: access.UserKind, Username: username, Email: "Shared@example.org"}, password)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	const password = "Shared-Password-1"
	make("curie-1", password)
	second := make("curie-2", password)
	make("curie-3", "Another-Password-1")

	b := open(t, s)
	b.logIn("", "shared@example.org", "wrong", http.StatusUnauthorized).lacks(t, "curie-")
	b.get("/login", http.StatusOK)
	p := b.post("/login", http.StatusOK, "username", "shared@example.org", "password", password, "next", "/activity")
	p.has(t, "Which account?", "curie-1", "curie-2")
	p.lacks(t, "curie-3", password)

	// Not another browser, not another account, and not twice.
	open(t, s).post("/login/choose", http.StatusGone, "username", "curie-1").has(t, "E1107")
	thief := open(t, s)
	thief.logIn("", "shared@example.org", password, http.StatusOK)
	thief.post("/login/choose", http.StatusUnauthorized, "username", "curie-3").has(t, "E1101")
	thief.post("/login/choose", http.StatusGone, "username", "curie-1")

	b.logIn("", "shared@example.org", password, http.StatusOK)
	b.post("/login/choose", http.StatusSeeOther, "username", "curie-2", "next", "/activity").leads(t, "/activity")
	b.get("/account", http.StatusOK).has(t, "curie-2")
	b.post("/login/choose", http.StatusGone, "username", "curie-1")

	// Whoever knew a password does not come in when there is another since.
	old := open(t, s)
	old.logIn("", "shared@example.org", password, http.StatusOK)
	hash, err := s.Gate.Hasher.Hash(t.Context(), password)
	if err == nil {
		err = s.DB.Write(t.Context(), func(tx *db.Tx) error { return accounts.SetPassword(t.Context(), tx, system, second.ID, hash, false) })
	}
	if err != nil {
		t.Fatal(err)
	}
	old.post("/login/choose", http.StatusUnauthorized, "username", "curie-2").has(t, "E1101")

	// An account that was stopped meanwhile does not come in.
	late := open(t, s)
	late.logIn("", "shared@example.org", password, http.StatusOK)
	setState(t, s, second, accounts.Disabled)
	late.post("/login/choose", http.StatusForbidden, "username", "curie-2").has(t, "E1102")
}

func TestNextStaysHere(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for next, want := range map[string]string{
		"/account": "/account", "https://evil.example/": "/", "//evil.example/": "/", `/\evil.example`: "/", "": "/",
	} {
		b := open(t, s)
		b.get("/login", http.StatusOK)
		b.post("/login", http.StatusSeeOther, "username", "user", "password", servertest.UserPassword, "next", next).leads(t, want)
		b.get("/login?next="+url.QueryEscape(next), http.StatusSeeOther).leads(t, want)
	}
}

func TestLogoutEndsEverything(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	copied := open(t, s)
	here, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	copied.http.Jar.SetCookies(here, b.http.Jar.Cookies(here))
	copied.get("/account", http.StatusOK)
	p := b.post("/logout", http.StatusSeeOther)
	p.leads(t, "/login")
	if got := p.Header.Get("Clear-Site-Data"); got == "" {
		t.Error("the browser keeps what it had of the pages")
	}
	b.get("/login", http.StatusOK).has(t, "You are logged out.")
	copied.get("/account", http.StatusSeeOther)
}

// A session of the one portal is none of the other.
func TestSessionsStaySeparate(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.get("/admin/", http.StatusSeeOther).leads(t, "/admin/login")
	b.logIn("/admin", "admin", servertest.AdminPassword, http.StatusSeeOther)
	b.post("/logout", http.StatusSeeOther)
	b.get("/admin/account", http.StatusOK).has(t, "admin@example.org")
	b.get("/account", http.StatusSeeOther)
}

func TestRegistrationIsOffAtFirst(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	b.get("/login", http.StatusOK).lacks(t, "/register")
	b.get("/register", http.StatusNotFound)
	b.post("/register", http.StatusNotFound, "email", "new@example.org", "username", "new", "first_name", "N", "last_name", "E", "serial", "x")
	change(t, s, func(x *settings.Settings) { x.Registration.Mode = settings.RegistrationSerial })
	b.get("/login", http.StatusOK).has(t, `href="/register"`)
	b.get("/admin/login", http.StatusOK).lacks(t, "/register")
	b.get("/register", http.StatusOK).has(t, "Serial number")
	b.get("/admin/register", http.StatusNotFound)
	p := b.post("/register", http.StatusBadRequest, "email", "new@example.org", "username", "new", "first_name", "N", "last_name", "", "serial", "x")
	p.has(t, "This field is needed.", `value="new@example.org"`)
}

// All that is wrong with a form is said at once, and costs no try.
func TestRegistrationNamesAllFaults(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	change(t, s, func(x *settings.Settings) { x.Registration.Mode = settings.RegistrationSerial })
	b := open(t, s)
	empty := b.post("/register", http.StatusBadRequest)
	if n := strings.Count(empty.text, "This field is needed."); n != 5 {
		t.Errorf("%d of five empty fields are named", n)
	}
	wrong := []string{"email", "nobody", "username", "root", "first_name", strings.Repeat("n", 101), "last_name", "E",
		"serial", "AAAAA", "serial", "BBBBB", "serial", "CCCCC", "serial", "DDDDD", "serial", "EEEEE"}
	for range 12 { // more than there are tries in an hour
		b.post("/register", http.StatusBadRequest, wrong...).has(t, `id="e-email"`, `id="e-username"`, `id="e-first_name"`, `class="code">E1302<`)
	}
	wrong[1], wrong[3], wrong[5] = "new@example.org", "new", "N"
	for range 10 { // but guessing serial numbers does
		b.post("/register", http.StatusBadRequest, wrong...).has(t, `class="code">E1302<`)
	}
	b.post("/register", http.StatusTooManyRequests, wrong...)
}

// What a forgotten password answers says nothing about any account.
func TestForgottenIsNeutral(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for _, base := range []string{"", "/admin"} {
		b := open(t, s)
		b.get(base+"/login", http.StatusOK).has(t, `href="`+base+`/forgot"`)
		b.get(base+"/forgot", http.StatusOK).has(t, `href="`+base+`/forgot/username"`)
		for _, username := range []string{"user", "nobody", "admin", "", strings.Repeat("x", 300)} {
			b.post(base+"/forgot", http.StatusSeeOther, "username", username).leads(t, base+"/sent")
		}
		for _, email := range []string{"user@example.org", "nobody@example.org", "no address"} {
			b.post(base+"/forgot/username", http.StatusSeeOther, "email", email).leads(t, base+"/sent")
		}
		b.get(base+"/sent", http.StatusOK).has(t, "Check your e-mail")
	}
}

// newLink makes the token of a mailed link without the mail.
func newLink(t *testing.T, s *servertest.Server, p accounts.Purpose, u accounts.User) (token string) {
	t.Helper()
	write(t, s, func(tx *db.Tx) (err error) {
		token, err = accounts.NewLink(t.Context(), tx, p, u.ID, time.Hour, nil)
		return err
	})
	return token
}

func TestPasswordByLink(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	old := open(t, s)
	old.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	token := newLink(t, s, accounts.ForReset, s.User)
	b := open(t, s)
	for range 3 { // looking uses nothing up
		p := b.get("/password?token="+token, http.StatusOK)
		p.has(t, "New password", "Confirm new password", "user", `data-rule=`)
	}
	b.gzip = true
	if got := b.get("/password?token="+token, http.StatusOK).Header.Get("Content-Encoding"); got != "" {
		t.Errorf("a page with a token is sent with the encoding %q", got)
	}
	b.gzip = false

	b.post("/password", http.StatusBadRequest, "token", token, "password", "New-Password-1", "again", "New-Password-2").
		has(t, "The two passwords are not the same.", token)
	weak := b.post("/password", http.StatusBadRequest, "token", token, "password", "<a", "again", "<a")
	if n := strings.Count(weak.text, `class="fails"`); n < 4 { // length, upper case, digit, forbidden characters
		t.Errorf("%d rules are shown as broken, want all at once:\n%s", n, weak.text)
	}
	weak.lacks(t, `value="&lt;a"`)
	b.post("/password", http.StatusSeeOther, "token", token, "password", "New-Password-1", "again", "New-Password-1").leads(t, "/login")
	b.get("/login", http.StatusOK).has(t, "Your new password is set.")
	b.get("/account", http.StatusSeeOther) // nobody is logged in by it
	old.get("/account", http.StatusSeeOther)

	b.get("/password?token="+token, http.StatusGone).has(t, "E1107", `href="/forgot"`)
	b.post("/password", http.StatusGone, "token", token, "password", "New-Password-1", "again", "New-Password-1").has(t, "E1107")
	b.get("/password", http.StatusGone).has(t, "E1107")
	b.logIn("", "user", "New-Password-1", http.StatusSeeOther)
}

// A session that must set its password first does that and nothing else.
func TestFirstPassword(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	const temporary, chosen = "Temporary-1", "Chosen-Password-1"
	_, err := s.NewAccount(t.Context(), system, accounts.New{Org: s.Org.ID, Kind: access.UserKind, Username: "new", Email: "new@example.org",
		MustChangePassword: true}, temporary)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, s)
	b.logIn("", "new", temporary, http.StatusSeeOther).leads(t, "/first-password")
	b.get("/activity", http.StatusSeeOther).leads(t, "/first-password?next=%2Factivity")
	b.post("/account/export", http.StatusForbidden).has(t, "E1105")
	b.get("/factor", http.StatusSeeOther).leads(t, "/first-password")
	b.get("/first-password", http.StatusOK).has(t, "New password", "Verify", "Continue", "Cancel")
	b.post("/first-password", http.StatusBadRequest, "password", temporary, "again", temporary)
	b.post("/first-password", http.StatusBadRequest, "password", "<a", "again", "<a").has(t, `class="fails"`)

	b.post("/logout", http.StatusSeeOther) // the temporary one stays good
	b.logIn("", "new", temporary, http.StatusSeeOther)
	b.post("/first-password", http.StatusSeeOther, "password", chosen, "again", chosen, "next", "/activity").leads(t, "/activity")
	b.get("/activity", http.StatusOK)
	b.get("/first-password", http.StatusSeeOther).leads(t, "/")
	open(t, s).logIn("", "new", temporary, http.StatusUnauthorized)
	open(t, s).logIn("", "new", chosen, http.StatusSeeOther).leads(t, "/")
}
