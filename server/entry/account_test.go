package entry_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
)

// clock is a time that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func newClock(t *testing.T) (*servertest.Server, *clock) {
	t.Helper()
	c := &clock{}
	return servertest.New(t, func(cfg *server.Config) { cfg.Now = c.now }), c
}

func mailer(t *testing.T, s *servertest.Server) *mailtest.Server {
	t.Helper()
	m := mailtest.New(t)
	change(t, s, func(x *settings.Settings) { x.Mail = m.Settings })
	return m
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	const next = "Quite-Another-9"
	b, other := open(t, s), open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	other.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.post("/account/password", http.StatusUnauthorized, "old", "wrong", "password", next, "again", next).has(t, "This is not your current password.")
	b.post("/account/password", http.StatusBadRequest, "old", servertest.UserPassword, "password", next, "again", "x").has(t, "not the same")
	p := b.post("/account/password", http.StatusBadRequest, "old", servertest.UserPassword, "password", "<a", "again", "<a")
	p.has(t, `class="fails"`)
	p.lacks(t, servertest.UserPassword)
	b.post("/account/password", http.StatusSeeOther, "old", servertest.UserPassword, "password", next, "again", next).leads(t, "/account/security")
	b.get("/account/security", http.StatusOK).has(t, "Your password is changed.")
	other.get("/account", http.StatusSeeOther)
	open(t, s).logIn("", "user", servertest.UserPassword, http.StatusUnauthorized)
}

var sessionLink = regexp.MustCompile(`/account/sessions/[0-9a-f-]{36}/end`)

func TestEndSessions(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	s.NewUser("stranger")
	b, second, third, stranger := open(t, s), open(t, s), open(t, s), open(t, s)
	for _, x := range []*browser{b, second, third} {
		x.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	}
	stranger.logIn("", "stranger", servertest.UserPassword, http.StatusSeeOther)
	p := b.get("/account/sessions", http.StatusOK)
	p.has(t, "this browser", "127.0.0.1", "End all others")
	ends := sessionLink.FindAllString(p.text, -1)
	if len(ends) != 2 {
		t.Fatalf("%d sessions can be ended, want the 2 others", len(ends))
	}
	stranger.get("/account/sessions", http.StatusOK).lacks(t, "End all others")
	stranger.post(ends[0], http.StatusSeeOther) // it is none of theirs: nothing happens
	alive := func() (n int) {
		for _, x := range []*browser{b, second, third} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/account", nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := x.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				n++
			}
		}
		return n
	}
	if n := alive(); n != 3 {
		t.Errorf("%d sessions after a stranger's try, want 3", n)
	}
	b.post(ends[0], http.StatusSeeOther).leads(t, "/account/sessions")
	if n := alive(); n != 2 {
		t.Errorf("%d sessions after one was ended, want 2", n)
	}
	b.post("/account/sessions/end", http.StatusSeeOther)
	if n := alive(); n != 1 {
		t.Errorf("%d sessions after all others were ended, want 1", n)
	}
	b.get("/account", http.StatusOK)
}

// The export holds what is known, and no secret.
func TestExport(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	s.NewDevice(s.User, "ATELIER-07")
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	p := b.post("/account/export", http.StatusOK)
	if got := p.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("Content-Disposition %q", got)
	}
	var x struct {
		Username, Email string
		Sessions        []struct{ IP string }
		Devices         []struct{ Name string }
		Openings        []any `json:"data_openings"`
	}
	if err := json.Unmarshal([]byte(p.text), &x); err != nil {
		t.Fatal(err)
	}
	if x.Username != "user" || x.Email != "user@example.org" || len(x.Sessions) != 1 || len(x.Devices) != 1 || x.Devices[0].Name != "ATELIER-07" || x.Openings == nil {
		t.Errorf("export %s", p.text)
	}
	p.lacks(t, "argon2id", "token", "secret")
	b.logIn("/admin", "admin", servertest.AdminPassword, http.StatusSeeOther)
	b.post("/admin/account/export", http.StatusOK).has(t, "admin@example.org")
}

// What is protected asks again who it is when the last proof is old, and comes
// back.
func TestStepUp(t *testing.T) {
	t.Parallel()
	s, clock := newClock(t)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.post("/account/export", http.StatusOK)
	clock.advance(6 * time.Minute)
	b.post("/account/export", http.StatusSeeOther).leads(t, "/confirm?next=%2Faccount")
	b.post("/account/delete", http.StatusSeeOther).leads(t, "/confirm?next=%2Faccount")
	b.post("/account/security/totp", http.StatusSeeOther).leads(t, "/confirm?next=%2Faccount%2Fsecurity%2Ftotp")
	b.get("/account/security", http.StatusOK)
	b.post("/confirm", http.StatusSeeOther, "password", servertest.UserPassword)
	b.post("/account/security/totp", http.StatusSeeOther).leads(t, "/account/security/totp")
	app := appOf(t, b.get("/account/security/totp", http.StatusOK))
	clock.advance(6 * time.Minute)
	b.get("/account/security/totp", http.StatusSeeOther).leads(t, "/confirm?next=%2Faccount%2Fsecurity%2Ftotp")
	b.post("/account/security/totp/confirm", http.StatusSeeOther, "code", codeAt(t, app, clock.now())).leads(t, "/confirm?next=%2Faccount%2Fsecurity%2Ftotp")

	b.get("/confirm?next=%2Faccount%2Fprivacy", http.StatusOK).has(t, "Is it still you?", `name="password"`)
	b.post("/confirm", http.StatusUnauthorized, "password", "wrong").has(t, "E1101")
	b.post("/account/export", http.StatusSeeOther)
	b.post("/confirm", http.StatusSeeOther, "password", servertest.UserPassword, "next", "/account/privacy").leads(t, "/account/privacy")
	b.post("/account/export", http.StatusOK)
	b.post("/confirm", http.StatusSeeOther, "password", servertest.UserPassword, "next", "//evil.example").leads(t, "/")
}

var secret = regexp.MustCompile(`id="totp-secret">([A-Z2-7 ]+)<`)

// appOf reads the secret that a page shows, as an app would.
func appOf(t *testing.T, p page) string {
	t.Helper()
	found := secret.FindStringSubmatch(p.text)
	if found == nil {
		t.Fatalf("no secret on %s:\n%s", p.Request.URL.Path, p.text)
	}
	return strings.ReplaceAll(found[1], " ", "")
}

func codeAt(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// Whoever must have a second factor sets one up before anything else.
func TestEnrol(t *testing.T) {
	t.Parallel()
	s, clock := newClock(t)
	setProfile(t, s, func(p *profile.Settings) { p.SecondFactor = profile.Required })
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther).leads(t, "/enrol")
	b.get("/activity", http.StatusSeeOther).leads(t, "/enrol?next=%2Factivity")
	b.post("/account/security/totp", http.StatusForbidden).has(t, "Finish logging in first.")
	b.gzip = true
	if got := b.get("/enrol", http.StatusOK).Header.Get("Content-Encoding"); got != "" {
		t.Errorf("a page with a secret is sent with the encoding %q", got)
	}
	b.gzip = false
	app := appOf(t, b.get("/enrol?next=%2Factivity", http.StatusOK))
	if again := appOf(t, b.post("/enrol", http.StatusUnauthorized, "code", "000000")); again != app {
		t.Error("a wrong code changes the secret")
	}
	p := b.post("/enrol", http.StatusOK, "code", codeAt(t, app, clock.now()), "next", "/activity")
	p.has(t, "Recovery codes", `href="/activity"`)
	recovery := regexp.MustCompile(`<li>([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})`).FindAllStringSubmatch(p.text, -1)
	if len(recovery) != 10 {
		t.Fatalf("%d recovery codes, want 10", len(recovery))
	}
	b.get("/activity", http.StatusOK)
	b.post("/account/security/codes", http.StatusOK) // fresh: it was just proved

	clock.advance(time.Minute)
	next := open(t, s)
	next.logIn("", "user", servertest.UserPassword, http.StatusSeeOther).leads(t, "/factor")
	next.get("/account", http.StatusSeeOther).leads(t, "/factor?next=%2Faccount")
	next.post("/factor", http.StatusUnauthorized, "code", recovery[0][1]).has(t, "That code is not correct") // replaced by newer ones
	next.post("/factor", http.StatusUnauthorized, "code", "").has(t, "That code is not correct")
	code := codeAt(t, app, clock.now())
	next.post("/factor", http.StatusSeeOther, "code", code, "next", "/account").leads(t, "/account")
	next.get("/account", http.StatusOK)

	// The proof is asked for before a password is typed, and not only when it is
	// sent.
	const password = "Quite-Another-9"
	next.get("/account/security", http.StatusOK).lacks(t, "disabled")
	clock.advance(6 * time.Minute)
	next.get("/account/security", http.StatusOK).has(t, `<fieldset class="form-narrow" disabled>`, `href="/confirm?next=%2faccount%2fsecurity"`)
	next.post("/account/password", http.StatusSeeOther, "old", servertest.UserPassword, "password", password, "again", password).leads(t, "/confirm?next=%2Faccount%2Fsecurity")
	next.post("/confirm", http.StatusSeeOther, "code", codeAt(t, app, clock.now()), "next", "/account/security").leads(t, "/account/security")
	next.get("/account/security", http.StatusOK).lacks(t, "disabled")

	third := open(t, s)
	third.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	third.post("/factor", http.StatusUnauthorized, "code", code) // never twice
	third.post("/logout", http.StatusSeeOther)
	third.get("/account", http.StatusSeeOther).leads(t, "/login?next=%2Faccount")
}

// The code page of a registration works from its address alone, also without
// cookies, and counts the tries.
func TestRegistrationCode(t *testing.T) {
	t.Parallel()
	s, clock := newClock(t)
	m := mailer(t, s)
	change(t, s, func(x *settings.Settings) {
		x.Registration.Mode, x.Registration.Domains, x.Registration.Org = settings.RegistrationOpen, []string{"example.org"}, s.Org.ID
	})
	const password = "Radium-1898"
	pending, err := s.Gate.Register(t.Context(), system, signin.Registration{Email: "marie@example.org", Username: "marie",
		FirstName: "Marie", LastName: "Curie", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	first := m.Wait("marie@example.org", mail.RegistrationCode).Code
	at := "?id=" + url.QueryEscape(pending)
	b := open(t, s)
	b.http.Jar = nil
	b.get("/register/code"+at, http.StatusOK).has(t, "Confirm registration", "Resend registration code")
	digits := func(code string) (form []string) {
		for _, d := range strings.Split(code, "") {
			form = append(form, "code", d)
		}
		return form
	}
	wrong := "000000"
	if first == wrong {
		wrong = "000001"
	}
	b.post("/register/code"+at, http.StatusBadRequest, digits(wrong)...).has(t, "E1108", "4 tries left")
	b.post("/register/resend"+at, http.StatusOK).has(t, `data-wait=`)
	clock.advance(2 * time.Minute)
	b.post("/register/resend"+at, http.StatusOK)
	second := m.Wait("marie@example.org", mail.RegistrationCode).Code
	if second != first {
		b.post("/register/code"+at, http.StatusBadRequest, digits(first)...).has(t, "E1108")
	}
	b.post("/register/code"+at, http.StatusSeeOther, digits(second)...).leads(t, "/login")
	b.get("/register/code?id=forged", http.StatusOK)
	b.post("/register/code?id=forged", http.StatusGone, digits(second)...).has(t, "E1107")
	open(t, s).logIn("", "marie", password, http.StatusSeeOther).leads(t, "/")
}

// The address is changed by the new one's code, and back by the old one's link.
func TestChangeEmail(t *testing.T) {
	t.Parallel()
	s, _ := newClock(t)
	m := mailer(t, s)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.get("/account/email", http.StatusSeeOther).leads(t, "/account") // no code was mailed
	b.post("/account/email", http.StatusBadRequest, "email", "no address").has(t, "This is not an e-mail address.")
	b.post("/account/email", http.StatusSeeOther, "email", "new@example.org").leads(t, "/account/email")
	b.get("/account/email", http.StatusOK)
	code := m.Wait("new@example.org", mail.EmailConfirm).Code
	b.get("/account", http.StatusOK).has(t, "user@example.org")
	b.post("/account/email/code", http.StatusBadRequest, "code", "1").has(t, "E1108")
	b.post("/account/email/code", http.StatusSeeOther, "code", code).leads(t, "/account")
	b.get("/account", http.StatusOK).has(t, "new@example.org")
	link, err := url.Parse(m.Wait("user@example.org", mail.EmailChanged).Link())
	if err != nil {
		t.Fatal(err)
	}
	stranger := open(t, s)
	for range 2 { // looking changes nothing
		stranger.get(link.RequestURI(), http.StatusOK).has(t, "Undo the change of the address?")
	}
	b.get("/account", http.StatusOK).has(t, "new@example.org")
	token := link.Query().Get("token")
	stranger.post("/email/undo", http.StatusSeeOther, "token", token).leads(t, "/login")
	b.get("/account", http.StatusSeeOther)
	stranger.get(link.RequestURI(), http.StatusGone).has(t, "E1107")
	stranger.post("/email/undo", http.StatusGone, "token", token)
	err = s.DB.Read(t.Context(), func(tx *db.Tx) error {
		u, err := accounts.Find(t.Context(), tx, s.User.ID)
		if err == nil && u.Email != "user@example.org" {
			t.Errorf("address %s after the undoing", u.Email)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A device is ended by its owner and by nobody else.
func TestEndDevice(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	s.NewUser("stranger")
	d := s.NewDevice(s.User, "ATELIER-07")
	at := "/account/devices/" + d.DeviceID
	stranger := open(t, s)
	stranger.logIn("", "stranger", servertest.UserPassword, http.StatusSeeOther)
	stranger.get(at, http.StatusNotFound)
	stranger.post(at, http.StatusNotFound)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.get("/account/sessions", http.StatusOK).has(t, "ATELIER-07", at)
	b.get(at, http.StatusOK).has(t, "Deactivate ATELIER-07?")
	b.post(at, http.StatusSeeOther).leads(t, "/account/sessions")
	b.get("/account/sessions", http.StatusOK).has(t, "ATELIER-07 is deactivated.", "Deactivated")
	b.get("/admin"+at, http.StatusNotFound)
}

// The deletion of an account is asked for; the answer is always the same.
func TestAskDeletion(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	held := s.NewUser("held")
	write(t, s, func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, held.ID, true) })
	for _, username := range []string{"user", "held"} {
		b := open(t, s)
		b.logIn("", username, servertest.UserPassword, http.StatusSeeOther)
		for range 2 {
			b.post("/account/delete", http.StatusSeeOther).leads(t, "/account/privacy")
			b.get("/account/privacy", http.StatusOK).has(t, "Your request was sent to your administrator.", "Your request to delete the account was sent on "+time.Now().UTC().Format("2 Jan 2006")+".")
		}
	}
	admin := open(t, s)
	admin.logIn("/admin", "admin", servertest.AdminPassword, http.StatusSeeOther)
	admin.post("/admin/account/delete", http.StatusNotFound)
}

// A password is never cut: not by the browser, to which no field says a limit,
// and not by the server, which names it.
func TestLongPasswordIsNotCut(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := open(t, s)
	cuts := regexp.MustCompile(`type="password"[^>]*maxlength`)
	if page := b.get("/login", http.StatusOK); cuts.MatchString(page.text) {
		t.Error("the log-in cuts the password")
	}
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	if page := b.get("/account/security", http.StatusOK); cuts.MatchString(page.text) {
		t.Error("the change of the password cuts it")
	}
	long := "Aa1" + strings.Repeat("\U0001F511", 254) // 257 characters, 511 units of UTF-16
	b.post("/account/password", http.StatusBadRequest, "old", servertest.UserPassword, "password", long, "again", long).
		has(t, "8 to 256 characters")
	fits := strings.TrimSuffix(long, "\U0001F511")
	b.post("/account/password", http.StatusSeeOther, "old", servertest.UserPassword, "password", fits, "again", fits)
	open(t, s).logIn("", "user", fits, http.StatusSeeOther)
	open(t, s).logIn("", "user", long, http.StatusUnauthorized)
}
