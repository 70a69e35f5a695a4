package browser_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web/webtest"
)

// withMail gives a server a mail server.
func withMail(t *testing.T, s *servertest.Server, edit func(*settings.Settings)) *mailtest.Server {
	t.Helper()
	m := mailtest.New(t)
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		return settings.Change(t.Context(), tx, access.System("test"), func(x *settings.Settings) error {
			x.Mail = m.Settings
			edit(x)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// local is a mailed link at the address where the test's server is.
func local(t *testing.T, s *servertest.Server, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil || u.Path == "" {
		t.Fatalf("link %q: %v", link, err)
	}
	return s.URL + u.RequestURI()
}

// paste pastes text into the field that the selector finds.
func paste(b *webtest.Browser, selector, text string) {
	webtest.Eval[bool](b, `(() => {
		const data = new DataTransfer();
		data.setData('text', '`+text+`');
		return document.querySelector('`+selector+`').dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
	})()`)
}

// count is how many elements a selector finds.
func count(b *webtest.Browser, selector string) int64 {
	return webtest.Eval[int64](b, `document.querySelectorAll('`+selector+`').length`)
}

// Registering with a serial number, by the link in the mail.
func TestRegister(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	m := withMail(t, s, func(x *settings.Settings) { x.Registration.Mode = settings.RegistrationSerial })
	var licence orgs.Licence
	err := s.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		licence, err = orgs.CreateLicence(t.Context(), tx, access.System("test"), s.Keys, orgs.NewLicence{Org: s.Org.ID, Name: "Laboratory", SeatsActive: 5})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	serial := orgs.FormatSerial(licence.Serial)

	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	b.Follow(`a[href="/register"]`)
	want(t, b, "register", "Register", "Serial number", "First name", "Last name")
	b.Go(s.URL + "/register")
	b.Type("marie@example.org\tmarie\tMarie\tCurie\t")
	wrong := []byte(serial)
	wrong[14] = map[bool]byte{true: '3', false: '2'}[wrong[14] == '2']
	paste(b, "[name=serial]", strings.ToLower(string(wrong)))
	b.Submit("\r")
	want(t, b, "a wrong serial number", "E1302")
	if got := webtest.Eval[string](b, `[...document.querySelectorAll('[name=serial]')].map((x) => x.classList.contains('is-invalid') ? 1 : 0).join('')`); got != "00100" {
		t.Errorf("the marked groups are %s, want the third", got)
	}
	b.Shot(pictures, "entry-register-wrong")
	b.Problems() // its status is 400
	paste(b, "[name=serial]", serial)
	b.Submit("\r")
	want(t, b, "registered", "Check your e-mail")

	link := local(t, s, m.Wait("marie@example.org", mail.Activation).Link())
	b.Go(link)
	want(t, b, "activation", "New password", "marie")
	setPassword(t, b, "entry-password", "Radium-1898-Polonium")
	want(t, b, "activated", "Your new password is set.")
	b.Type("marie\tRadium-1898-Polonium")
	b.Submit("\r")
	want(t, b, "first log-in", "No computer is backed up yet")
}

// setPassword types a bad password and then a good one where a page asks for
// one twice, and looks at the checklist.
func setPassword(t *testing.T, b *webtest.Browser, picture, password string) {
	t.Helper()
	b.Type("<a")
	broken := count(b, ".rules li:not(.holds)")
	if broken < 3 {
		t.Errorf("the checklist says that %d rules do not hold for <a", broken)
	}
	b.Type("\t\t<a")
	b.Submit("\r")
	if got := count(b, ".rules .fails"); got < 3 {
		t.Errorf("%d rules are marked after a bad password, want all that it breaks", got)
	}
	b.Problems() // its status is 400
	b.Shot(pictures, picture+"-refused")
	b.Type(password)
	if got := count(b, ".rules li:not(.holds)"); got > 1 { // one only the server can check
		t.Errorf("%d rules do not turn green for %q", got, password)
	}
	b.Type("\t\t" + password)
	b.Shot(pictures, picture)
	b.Submit("\r")
}

// A forgotten password and a forgotten username, in French.
func TestForgotten(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	m := withMail(t, s, func(*settings.Settings) {})
	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	language(b, "fr")
	b.Follow(`a[href="/forgot"]`)
	want(t, b, "forgotten password", "Mot de passe oublié")
	b.Go(s.URL + "/forgot")
	b.Type("nobody")
	b.Submit("\r")
	neutral := b.Text()
	b.Go(s.URL + "/forgot")
	b.Type("user")
	b.Submit("\r")
	if got := b.Text(); got != neutral {
		t.Errorf("the page for an account differs from that for none:\n%s\n---\n%s", got, neutral)
	}
	link := local(t, s, m.Wait("user@example.org", mail.Reset).Link())
	b.Go(link)
	want(t, b, "new password", "Nouveau mot de passe", "user")
	b.Go(link)
	setPassword(t, b, "entry-password-fr", "Une-Autre-Phrase-9")
	want(t, b, "new password is set", "Votre nouveau mot de passe est enregistré.")
	m.Wait("user@example.org", mail.PasswordChanged)

	b.Go(link)
	want(t, b, "used link", "E1107", "M’envoyer un nouveau lien")
	refusedBy(t, b, 410)
	look(t, b, locale.French, "entry-link-over")

	b.Go(s.URL + "/forgot/username")
	b.Type("user@example.org")
	b.Submit("\r")
	if got := m.Wait("user@example.org", mail.Usernames); !strings.Contains(got.Text, "user") {
		t.Errorf("the mail lacks the username:\n%s", got.Text)
	}
}

// The first log-in with a temporary password.
func TestFirstLogin(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	_, err := s.NewAccount(t.Context(), access.System("test"), accounts.New{Org: s.Org.ID, Kind: access.UserKind, Username: "neu", MustChangePassword: true}, "Temporary-1")
	if err != nil {
		t.Fatal(err)
	}
	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	b.Type("neu\tTemporary-1")
	b.Submit("\r")
	want(t, b, "first log-in", "Choose a new password", "Verify", "Continue", "Cancel")
	b.Go(s.URL + "/account")
	want(t, b, "another page", "Choose a new password")
	setPassword(t, b, "entry-first-typed", "My-Own-Password-7")
	want(t, b, "after it", "About you", "neu")
}

// appCode is the code of an authenticator app, some seconds from now: none is
// good twice.
func appCode(t *testing.T, secret string, later time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), time.Now().Add(later))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// An authenticator app is set up, and asked for at the next log-in; so is a
// recovery code, once.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := webtest.Open(t)
	enter := func() {
		b.Go(s.URL + "/login")
		b.Type("user\t" + servertest.UserPassword)
		b.Submit("\r")
	}
	enter()
	b.Go(s.URL + "/account/security")
	want(t, b, "security", "Authenticator app", "Set up")
	b.Follow(`form[action$="/totp"] button`)
	want(t, b, "set-up", "Scan this", "type this key")
	secret := webtest.Eval[string](b, "document.querySelector('#totp-secret').textContent")
	b.Type("000000")
	b.Submit("\r")
	want(t, b, "a wrong code", "That code is not correct")
	b.Problems() // its status is 401
	if again := webtest.Eval[string](b, "document.querySelector('#totp-secret').textContent"); again != secret {
		t.Error("a wrong code changes the secret that was scanned")
	}
	b.Type(appCode(t, secret, -20*time.Second))
	b.Submit("\r")
	want(t, b, "recovery codes", "Recovery codes", "I have kept them")
	b.Shot(pictures, "entry-codes")
	recovery := strings.Fields(webtest.Eval[string](b, "document.querySelector('#recovery-codes').textContent"))
	if len(recovery) != 10 {
		t.Fatalf("%d recovery codes are shown, want 10", len(recovery))
	}
	b.Go(s.URL + "/account/security")
	want(t, b, "security", "10 codes are left.")
	inBoth(t, b, map[string]string{"account-security-app": s.URL + "/account/security"})

	b.ForgetCookies()
	enter()
	want(t, b, "second factor", "Second factor", "authenticator app")
	b.Go(s.URL + "/activity")
	want(t, b, "another page", "Second factor")
	b.Type("123456")
	b.Submit("\r")
	want(t, b, "a wrong code", "That code is not correct")
	b.Problems()
	b.Type(appCode(t, secret, 20*time.Second))
	b.Submit("\r")
	want(t, b, "let in", "Who opened your backups")

	b.ForgetCookies()
	enter()
	b.Type(strings.ToLower(recovery[0]))
	b.Submit("\r")
	want(t, b, "let in by a recovery code", "Data Sources")
	b.Go(s.URL + "/account/security")
	want(t, b, "security", "9 codes are left.")
	b.Follow(`form[action$="/totp/remove"] button`)
	want(t, b, "without the app", "The authenticator app is removed.", "Set up")
}

// Who guesses waits, and sees for how long; caps lock is hinted at.
func TestWaiting(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	b.Type("user\t")
	caps := func(on bool) bool {
		return webtest.Eval[bool](b, fmt.Sprintf(`(() => {
			document.querySelector('#f-password').dispatchEvent(new KeyboardEvent('keydown', {key: 'a', modifierCapsLock: %t}));
			return document.querySelector('#caps-f-password').hidden;
		})()`, on))
	}
	if caps(true) || !caps(false) {
		t.Error("the hint about caps lock does not follow caps lock")
	}
	b.Type("wrong")
	b.Submit("\r")
	for range 8 {
		if count(b, "[data-wait]") > 0 {
			break
		}
		b.Type("wrong")
		b.Submit("\r")
	}
	want(t, b, "too many attempts", "Too many attempts. Try again in", "E1104")
	b.Problems() // their statuses are 401 and 429
	if text := b.Text(); strings.Contains(text, `"`) {
		t.Errorf("the page shows what is meant for its script:\n%s", text)
	}
	if count(b, "#submit:disabled") != 1 {
		t.Error("one may try before the time")
	}
	b.Shot(pictures, "entry-waiting")
	for range 100 {
		if count(b, "#submit:disabled") == 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if count(b, "#submit:disabled") != 0 || strings.Contains(b.Text(), "E1104") {
		t.Errorf("the wait does not end:\n%s", b.Text())
	}
}

// The pages of Account, in both portals and both languages.
func TestAccount(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	m := withMail(t, s, func(*settings.Settings) {})
	c := newClient(t, s)
	c.backedUp()
	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	b.Type("user\t" + servertest.UserPassword)
	b.Submit("\r")
	b.Follow("a.stretched-link") // an opening, for Activity
	b.Go(s.URL + "/activity")
	want(t, b, "activity", "Opened a snapshot in the browser", "Logged in to the portal", "Activated a device", "ATELIER-07", "you")

	b.Go(s.URL + "/account")
	b.Fill("#f-email", "new@example.org")
	b.Follow("#submit")
	want(t, b, "e-mail", "We sent a code to the new address.")
	paste(b, "[name=code]", m.Wait("new@example.org", mail.EmailConfirm).Code)
	b.Submit("\r")
	want(t, b, "changed address", "Your new address is set.", "new@example.org")
	b.Go(local(t, s, m.Wait("user@example.org", mail.EmailChanged).Link()))
	want(t, b, "undo", "Undo the change of the address?", "user")
	b.Shot(pictures, "entry-undo")
	b.Follow("main form button")
	want(t, b, "undone", "Your old address is back.")

	b.Type("user\t" + servertest.UserPassword)
	b.Submit("\r")
	b.Go(s.URL + "/account/sessions")
	want(t, b, "sessions", "this browser", "ATELIER-07")
	b.Follow(`a[href*="/account/devices/"]`)
	want(t, b, "device", "Deactivate ATELIER-07?")
	b.Shot(pictures, "account-device-end")
	b.Follow("button.btn-danger")
	want(t, b, "ended device", "ATELIER-07 is deactivated.")
	b.Go(s.URL + "/account/privacy")
	b.Follow("button.btn-outline-danger")
	want(t, b, "deletion", "Your request was sent to your administrator.")
}
