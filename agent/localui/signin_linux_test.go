package localui

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/wire"
)

// Where people sign in elsewhere, the window says what they do instead of asking
// for a password that they do not have.
func TestSignInElsewhere(t *testing.T) {
	t.Parallel()
	w := open(t)
	c := browser(t)
	enter(t, w, c)
	password := wire.SignInMethod{Method: wire.MethodPassword}
	elsewhere := wire.SignInMethod{Method: "sso", Issuer: "login.example.org"}
	const form, sentence, key = `type="password"`, "Your organisation signs in by login.example.org", "Enter an activation key"
	for _, test := range []struct {
		name        string
		method      wire.Discovered
		says, lacks []string
	}{
		{"a password", wire.Discovered{SignInMethod: password}, []string{form}, []string{sentence, key}},
		{"elsewhere", wire.Discovered{SignInMethod: elsewhere}, []string{sentence, "Ask your administrator for an activation key", key}, []string{form}},
		{"either", wire.Discovered{SignInMethod: elsewhere, Alternatives: []wire.SignInMethod{password}}, []string{form, sentence, "log in with it"}, nil},
	} {
		w.change(func(f *flow) {
			*f = flow{server: "https://backup.example.org", user: "ada", trial: &trial{done: true, report: wire.Report{Method: test.method}}}
		})
		status, page := ask(t, c, http.MethodGet, "http://"+w.addr+w.base+"/password", nil)
		if status != http.StatusOK {
			t.Errorf("%s: the page is %d", test.name, status)
		}
		for _, text := range test.says {
			if !strings.Contains(page, text) {
				t.Errorf("%s: the page lacks %q:\n%s", test.name, text, page)
			}
		}
		for _, text := range test.lacks {
			if strings.Contains(page, text) {
				t.Errorf("%s: the page says %q:\n%s", test.name, text, page)
			}
		}
	}
}

// A page that answers a form is found again where its form is.
func TestWhereAPageIs(t *testing.T) {
	t.Parallel()
	w := open(t)
	for sent, found := range map[string]string{
		"/password":                        "/password",
		"/preview?choice=replace&device=7": "/preview?choice=replace&device=7",
		"/proxy/test":                      "/proxy",
		"/register/code/resend":            "/register/code",
		"/settings/password":               "/settings",
		"/pause":                           "/",
		"/forgot?of=username":              "/forgot?of=username",
		"/nothing/of/the/kind?at=all":      "/",
	} {
		u, err := url.Parse(w.base + sent)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.at(&http.Request{Method: http.MethodPost, URL: u}); got != w.base+found {
			t.Errorf("what is sent to %s is found at %s, want %s", sent, strings.TrimPrefix(got, w.base), found)
		}
	}
}

// While another agent works, the window looks again less and less often; when it
// has ended, as often as before.
func TestPause(t *testing.T) {
	t.Parallel()
	wait := look
	for _, want := range []time.Duration{10, 20, 40, 60, 60} {
		if wait = pause(wait, true); wait != want*time.Second {
			t.Errorf("the window waits %v, want %v", wait, want*time.Second)
		}
	}
	if wait = pause(wait, false); wait != look {
		t.Errorf("afterwards it waits %v", wait)
	}
}
