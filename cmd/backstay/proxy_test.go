//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/proxytest"
)

// A proxy that wants a name and password gets them from whoever sits there, and
// what is right is kept.
func TestProxyAsksAtTheTerminal(t *testing.T) {
	t.Parallel()
	proxy := proxytest.Start(t, proxytest.Options{Password: true})
	c := newCounter(t)
	c.answer("GET sign-in", wire.SignIn{Registration: wire.RegistrationOff})
	c.flags[1] = strings.Replace(c.flags[1], "127.0.0.1", proxytest.WebHost, 1)
	dir := t.TempDir()
	s := sit(t, dir, append([]string{"register", "--proxy", proxy.Addr}, c.flags...)...)
	s.Expect("requires a user name and password")
	s.Answer("User name for the proxy:", "eve")
	s.Secret("Password for the proxy:", "wrong")
	s.Expect("does not accept")
	s.Answer("User name for the proxy: [eve]", proxytest.Username)
	s.Secret("Password for the proxy:", proxytest.Password)
	if status := s.end(); status != exitRefused {
		t.Errorf("exit status %d; the screen shows\n%s", status, s.Shown())
	}
	if strings.Contains(s.Shown(), proxytest.Password) {
		t.Error("the screen shows the password")
	}
	kept, err := os.ReadFile(filepath.Join(dir, "state", "connection.json"))
	if err != nil || !strings.Contains(string(kept), proxytest.Password) {
		t.Errorf("kept is %s, %v", kept, err)
	}
}

// diagnosis runs "backstay diagnose --json".
func diagnosis(t *testing.T, args ...string) (status int, out reportJSON) {
	t.Helper()
	status, text, errOut := run(t, "", append([]string{"diagnose", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %s %s", err, text, errOut)
	}
	return status, out
}

func TestDiagnoseCommand(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	status, good := diagnosis(t, append(c.flags, "--user", "ann")...)
	if status != 0 || !good.Reached || len(good.Checks) != len(wire.Steps) || good.Checks[6].Details["method"] != wire.MethodPassword {
		t.Errorf("diagnose = %d, %+v", status, good)
	}
	status, bad := diagnosis(t, "--server", c.flags[1])
	check := bad.Checks[3]
	if status != exitFailed || bad.Reached || check.Code != "E1002" || check.Reason != wire.CertAuthority || check.Advice == "" || check.Details["fingerprint"] != c.flags[3] {
		t.Errorf("diagnose = %d, %+v", status, bad)
	}
	// Refused by the server itself.
	busy := newGreeter(t)
	busy.play("POST discover", func(map[string]any) any { return refusal(429, "E1104", "error.E1104", map[string]any{"n": 30}) })
	if status, r := diagnosis(t, append(busy.flags, "--user", "ann")...); status != exitRefused || r.Checks[6].Code != "E1104" {
		t.Errorf("diagnose = %d, %+v", status, r)
	}
	if status, _, errOut := run(t, "", "diagnose"); status != exitUsage || !strings.Contains(errOut, "--server") {
		t.Errorf("diagnose without a server = %d, %s", status, errOut)
	}
}

// Without --server the first of the administrator's list is meant, and what is
// wrong with the list is named by its line.
func TestFirstEdition(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	path := filepath.Join(t.TempDir(), "editions.toml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[[edition]]\nname = \"Main\"\nurl = \"" + c.flags[1] + "\"\nca_fingerprint = \"" + c.flags[3] + "\"\n")
	if status, out, errOut := run(t, "BACKSTAY_EDITIONS="+path, "diagnose", "--user", "ann"); status != 0 || !strings.Contains(out, c.flags[1]) {
		t.Errorf("diagnose = %d, %s %s", status, out, errOut)
	}
	write("[[edition]]\nname = \"Main\"\nurl = \"http://b.example\"\n")
	if status, _, errOut := run(t, "BACKSTAY_EDITIONS="+path, "activate", "--user", "ann"); status != exitFailed || !strings.Contains(errOut, path+", line 3:") {
		t.Errorf("activate = %d, %s", status, errOut)
	}
}

// What a certificate says of itself cannot write on the terminal.
func TestShowCheckIsSafe(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{getenv: func(string) string { return "" }, say: locale.For(locale.English)}
	a.showCheck(&out, wire.Check{Step: wire.StepCertificate, Outcome: wire.CheckFailed, Err: errs.Of(errs.UntrustedCert, "why", wire.CertAuthority, "issuer", "evil\x1b[2J\u202e")})
	if strings.ContainsAny(out.String(), "\x1b\u202e") || !strings.Contains(out.String(), "evil") {
		t.Errorf("shown as %q", out.String())
	}
}
