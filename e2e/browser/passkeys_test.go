package browser_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// A passkey from its making to its end, in both portals: the script, the
// browser's own part and the server's.
func TestPasskeys(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Named)
	b := webtest.Open(t)
	b.Authenticator()
	for _, p := range []struct{ base, username, password string }{
		{"", "user", servertest.UserPassword}, {"/admin", "admin", servertest.AdminPassword},
	} {
		at := s.URL + p.base
		logIn := func() {
			t.Helper()
			b.Go(at + "/login")
			b.Type(p.username + "\t" + p.password)
			b.Submit("\r")
		}
		logIn()
		b.Go(at + "/account/security")
		b.Fill(".passkey input", "Laptop <key>")
		b.Follow(".passkey button")
		if strings.Contains(b.Text(), "Recovery codes") && !strings.HasSuffix(b.URL(), "/account/security") {
			b.Go(at + "/account/security")
		}
		want(t, b, "enrolled", "Laptop <key>", "not used yet")
		b.Shot(pictures, "passkey"+strings.ReplaceAll(p.base, "/", "-"))

		b.ForgetCookies()
		logIn()
		want(t, b, "second factor", "Use a passkey")
		b.Follow(".passkey button")
		b.Go(at + "/account/security")
		want(t, b, "proved", "Laptop <key>")
		if strings.Contains(b.Text(), "not used yet") {
			t.Error("the use of the passkey was not noted")
		}

		b.Follow(`form[action$="/remove"] button`)
		b.Go(at + "/account/security")
		if text := b.Text(); strings.Contains(text, "Laptop <key>") {
			t.Errorf("the passkey is still there:\n%s", text)
		}
		b.ForgetCookies()
		logIn()
		b.Go(at + "/account")
		if !strings.HasSuffix(b.URL(), p.base+"/account") {
			t.Errorf("without a passkey the password leads to %s", b.URL())
		}
		b.ForgetCookies()
	}
}
