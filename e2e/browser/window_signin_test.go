package browser_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web/webtest"
	"github.com/backstay/backstay/wire"
)

// Who signs in at the window and is not simply let in: accounts that are
// disabled or preserved, too many attempts, an administrator's key in place of a
// password, several accounts of one address with a second factor, and a computer
// that an administrator has to approve.
func TestWindowSignsIn(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	secret := people(t, s)
	c := newClient(t, s)
	b := webtest.Open(t)
	b.Enter(c.window().link)
	b.Arrive("/activate")
	c.reaches(b, s.URL, s.Fingerprint, "off", "/password")
	refuses(t, b, "window-disabled", servertest.UserPassword, 403, map[locale.Lang]string{
		locale.English: "Your account is disabled. Contact your administrator. E1102",
		locale.French:  "Votre compte est désactivé. Contactez votre administrateur. E1102",
	})
	another(b, "kept")
	refuses(t, b, "window-preserved", servertest.UserPassword, 403, map[locale.Lang]string{
		locale.English: "Your account is preserved and cannot sign in. E1103",
		locale.French:  "Votre compte est conservé et ne permet pas de se connecter. E1103",
	})
	another(b, "guessed")
	for range 3 {
		b.Type("Wrong-Password-1")
		b.Submit("\r")
		refusedBy(t, b, 401)
	}
	refuses(t, b, "window-too-many", servertest.UserPassword, 429, map[locale.Lang]string{
		locale.English: "Too many attempts. Try again in ",
		locale.French:  "Trop de tentatives. Réessayez dans ",
	})

	// What was typed is there again in another language, a password is not.
	b.Follow("p.aside a")
	b.Fill("#f-user", "somebody else")
	speak(b, locale.French)
	if got := webtest.Eval[string](b, `document.querySelector('#f-user').value`); got != "somebody else" {
		t.Errorf("in the other language the name is %q", got)
	}
	speak(b, locale.English)
	b.Click(`button[value="/key"]`)
	b.Arrive("/key")
	want(t, b, "a key", "Activation key", "It takes the place of name and password")
	b.Fill("#f-key", "bsy_wrong")
	b.Follow("#submit")
	want(t, b, "a wrong key", "The activation key is not valid, has expired or was used.")
	b.Problems()
	lookWindow(t, b, "window-key")
	b.Fill("#f-key", activationKey(t, s))
	b.Click("#submit")
	b.Arrive("/ready")
	want(t, b, "by a key", "Ready for Backup", "user’s device")

	t.Run("several accounts and a second factor", func(t *testing.T) {
		newClient(t, s).logsIn(b, s, "twins@example.org")
		want(t, b, "several accounts", "Which account?", "Your password is right for several accounts. Choose one.", "twin-one", "twin-two")
		if page := b.Text(); strings.Contains(page, "twin-three") {
			t.Errorf("an account whose password it is not is named:\n%s", page)
		}
		lookWindow(t, b, "window-accounts")
		b.Follow("button[value=twin-two]")
		want(t, b, "the second factor", "Second factor", "Six digits from your authenticator app, or a recovery code.")
		lookWindow(t, b, "window-factor")
		b.Type("000000")
		b.Submit("\r")
		want(t, b, "a wrong code", "That code is not correct, or it was used already.")
		refusedBy(t, b, 401)
		speak(b, locale.French)
		want(t, b, "the same step in French", "Second facteur")
		speak(b, locale.English)
		b.Type(appCode(t, secret, 30*time.Second))
		b.Click("#submit")
		b.Arrive("/ready")
		want(t, b, "the end", "Ready for Backup", "twin-two’s device")
	})

	t.Run("too many codes", func(t *testing.T) {
		newClient(t, s).logsIn(b, s, "twin-two")
		for range 3 {
			want(t, b, "the second factor", "One more proof that it is you.")
			b.Type("000000")
			b.Submit("\r")
			b.Problems()
		}
		b.Type("000000")
		b.Submit("\r")
		refusedBy(t, b, 429)
		want(t, b, "the sign-in is over", "Too many attempts. Try again in ", "E1104", "Recover lost password")
		b.Shot(pictures, "window-too-many-codes")
		b.Follow("p.aside a")
		b.Arrive("/activate")
	})

	t.Run("waiting for an administrator", func(t *testing.T) {
		c := newClient(t, s)
		c.deploy()
		b.Enter(c.window().link)
		b.Arrive("/waiting")
		want(t, b, "it waits", "Waiting for your administrator", "An administrator has to approve this computer.", "Look again", "Cancel")
		inEach(b, func(lang locale.Lang) {
			stay(b)
			look(t, b, lang, "window-waiting")
		})
		b.Follow("#submit")
		want(t, b, "not yet", "Waiting for your administrator")
		write(t, s, func(tx *db.Tx) error {
			var id devices.ID
			if err := tx.QueryRow(t.Context(), "SELECT id FROM devices WHERE state = $1", devices.Waiting).Scan(&id); err != nil {
				return err
			}
			return devices.SetState(t.Context(), tx, access.System("test"), id, devices.Active, "")
		})
		b.Follow("#submit")
		b.Arrive("/ready")
		want(t, b, "approved", "Ready for Backup", "newcomer@example.org’s device")
	})
}

// people are the accounts of the walk above. It returns the secret of the app of
// twin-two.
func people(t *testing.T, s *servertest.Server) (secret string) {
	t.Helper()
	by := access.System("test")
	twins := "twins@example.org"
	for name, make := range map[string]func(tx *db.Tx, id accounts.ID) error{
		"guessed": func(*db.Tx, accounts.ID) error { return nil },
		"off": func(tx *db.Tx, id accounts.ID) error {
			return accounts.Disable(t.Context(), tx, by, id, "on leave until March")
		},
		"kept": func(tx *db.Tx, id accounts.ID) error {
			return accounts.Preserve(t.Context(), tx, by, id, "left the company")
		},
	} {
		u := s.NewUser(name)
		write(t, s, func(tx *db.Tx) error { return make(tx, u.ID) })
	}
	for name, password := range map[string]string{"twin-one": servertest.UserPassword, "twin-two": servertest.UserPassword, "twin-three": "Another-Password-1"} {
		u, err := s.NewAccount(t.Context(), by, accounts.New{Org: s.Org.ID, Kind: access.UserKind, Username: name, Email: twins}, password)
		if err != nil {
			t.Fatal(err)
		}
		if name == "twin-two" {
			secret = withApp(t, s, u)
		}
	}
	write(t, s, func(tx *db.Tx) error {
		return settings.Change(t.Context(), tx, by, func(x *settings.Settings) error {
			x.SignIn.LockAfter = 3
			return nil
		})
	})
	return secret
}

// refuses types a password in every language and sees why it is not taken.
func refuses(t *testing.T, b *webtest.Browser, name, password string, status int, why map[locale.Lang]string) {
	t.Helper()
	inEach(b, func(lang locale.Lang) {
		b.Type(password)
		b.Submit("\r")
		refusedBy(t, b, status)
		want(t, b, name, why[lang])
		look(t, b, lang, name)
	})
}

// another goes back and says who somebody else is.
func another(b *webtest.Browser, user string) {
	b.Follow("p.aside a")
	b.Fill("#f-user", user)
	b.Click("#submit")
	b.Arrive("/password")
}

// stay keeps a page that sends its form by itself from doing so.
func stay(b *webtest.Browser) {
	webtest.Eval[bool](b, `(() => { for (let i = setTimeout(() => {}); i > 0; i--) clearTimeout(i); return true })()`)
}

func activationKey(t *testing.T, s *servertest.Server) (text string) {
	t.Helper()
	write(t, s, func(tx *db.Tx) (err error) {
		text, _, err = devices.IssueKey(t.Context(), tx, s.Admin.Caller(access.Caller{}), s.Keys, s.URL, s.User.ID, wire.Add, "")
		return err
	})
	return text
}

// deploy makes the computer a device by a token that needs an administrator's
// approval.
func (c *client) deploy() {
	c.t.Helper()
	var token string
	write(c.t, c.s, func(tx *db.Tx) (err error) {
		_, token, err = deploy.Create(c.t.Context(), tx, access.System("test"), c.s.Org.ID,
			deploy.Rules{Name: "Laptops", Approve: true, CreateUsers: true, Domains: []string{"example.org"}}, deploy.DefaultLife)
		return err
	})
	file := filepath.Join(c.t.TempDir(), "deploy.toml")
	text := fmt.Sprintf("server = %q\nca_sha256 = %q\ntoken = %q\nidentity = \"email:newcomer@example.org\"\nsystem = %t\n", c.s.URL, c.s.Fingerprint, token, os.Geteuid() == 0)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(c.bin, "deploy", "--config", file, "--once", "--state", c.state)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if exit := (&exec.ExitError{}); !errors.As(err, &exit) {
		c.t.Fatalf("backstay deploy does not wait: %v\n%s", err, out)
	}
}
