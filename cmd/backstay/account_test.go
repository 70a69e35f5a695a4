//go:build linux

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/wire"
)

// counter is a server that plays a part: an answer for each call, in turn.
type counter struct {
	t     *testing.T
	mux   *http.ServeMux
	flags []string
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := newGreeter(t)
	c.answer("POST discover", wire.Discovered{SignInMethod: wire.SignInMethod{Method: wire.MethodPassword}})
	return c
}

// newGreeter is a server that has said no more than its name so far.
func newGreeter(t *testing.T) *counter {
	t.Helper()
	c := &counter{t: t, mux: http.NewServeMux()}
	s := httptest.NewTLSServer(c.mux)
	t.Cleanup(s.Close)
	c.flags = []string{"--server", s.URL, "--ca-fingerprint", wire.Fingerprint(s.Certificate())}
	c.answer("GET hello", wire.Hello{Version: "0.1", MinClient: "0.1", Name: "Here"})
	return c
}

// answer answers a call always in the same way.
func (c *counter) answer(call string, message any) {
	c.play(call, func(map[string]any) any { return message })
}

// play answers a call by what is in it; a wire.Problem is a refusal.
func (c *counter) play(call string, answer func(in map[string]any) any) {
	method, path, _ := strings.Cut(call, " ")
	c.mux.HandleFunc(method+" "+wire.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
		in := map[string]any{}
		if r.Method != http.MethodGet {
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				c.t.Errorf("%s: %v", call, err)
			}
		}
		out := answer(in)
		w.Header().Set(wire.HeaderVersion, "0.1")
		if p, ok := out.(wire.Problem); ok {
			w.Header().Set("Content-Type", wire.MediaTypeProblem)
			w.WriteHeader(p.Status)
		}
		json.NewEncoder(w).Encode(out)
	})
}

// inTurn gives one answer after another, and the last one for ever.
func inTurn(answers ...any) func(map[string]any) any {
	n := 0
	return func(map[string]any) any {
		out := answers[min(n, len(answers)-1)]
		n++
		return out
	}
}

func refusal(status int, code, key string, data map[string]any) wire.Problem {
	return wire.Problem{Status: status, Code: code, Key: key, Data: data}
}

var serialOffer = wire.SignIn{Registration: wire.RegistrationSerial, SerialRequired: true, PasswordPolicy: wire.PasswordPolicy{
	Name: "classic", Rules: []wire.PasswordRule{{Key: "password.rule.length", Data: map[string]any{"n": 8}}}}}

// Somebody registers at the terminal and makes every mistake on the way once.
func TestRegisterOnATerminal(t *testing.T) {
	c := newCounter(t)
	c.answer("GET sign-in", serialOffer)
	var got []wire.Register
	c.play("POST register", func(in map[string]any) any {
		data, _ := json.Marshal(in)
		var r wire.Register
		json.Unmarshal(data, &r)
		got = append(got, r)
		switch {
		case r.Serial == "WRONG":
			return refusal(400, "E1302", "error.E1302", map[string]any{"group": 3})
		case r.Password == "weak":
			return refusal(400, "", "user.password.policy", map[string]any{"rules": []any{
				map[string]any{"key": "password.wrong.short", "data": map[string]any{"n": 8}},
				map[string]any{"key": "password.wrong.digit"},
				map[string]any{"key": "password.wrong.allowed", "data": map[string]any{"found": "\x1b[2J"}},
			}})
		}
		return wire.Registering{Pending: "P1", ResendAfter: 60, CodeMinutes: 10}
	})
	var codes []any
	c.play("POST register/confirm", func(in map[string]any) any {
		codes = append(codes, in["pending"], in["code"])
		if in["code"] == "000000" {
			return refusal(410, "E1107", "error.E1107", nil)
		}
		if in["code"] != "123456" {
			return refusal(400, "E1108", "error.E1108", map[string]any{"n": 4})
		}
		return wire.Registered{Username: "ann@example.org"}
	})
	c.play("POST register/resend", inTurn(
		refusal(429, "E1104", "error.E1104", map[string]any{"n": 30}),
		wire.Registering{Pending: "P1", ResendAfter: 60, CodeMinutes: 10}))

	dir := t.TempDir()
	s := sit(t, dir, append([]string{"register"}, c.flags...)...)
	s.Answer("E-mail:", "")
	s.Answer("E-mail:", "ann@example.org")
	s.Answer("Username: [ann@example.org]", "")
	s.Answer("First name:", "Ann")
	s.Answer("Last name:", "Lee")
	s.Answer("Serial number:", "WRONG")
	s.Expect("At least 8 characters")
	s.Secret("New password:", "Secret-One")
	s.Secret("Verify new password:", "Secret-Two")
	s.Expect("not the same")
	s.Secret("New password:", "weak")
	s.Secret("Verify new password:", "weak")
	s.Expect("serial number is not valid")
	s.Expect("(E1302)")
	s.Answer("Serial number:", "RIGHT")
	s.Expect("needs at least 8 characters")
	s.Expect("needs a digit")
	s.Expect(`\x1b[2J`)
	s.Secret("New password:", "Secret-One")
	s.Secret("Verify new password:", "Secret-One")
	s.Expect("sent to ann@example.org")
	s.Answer("Code from the e-mail", "654321")
	s.Expect("4 tries left. (E1108)")
	s.Answer("Code from the e-mail", "000000")
	s.Expect("(E1107)")
	s.Answer("Code from the e-mail", "r")
	s.Expect("Try again in 30 seconds")
	s.Answer("Code from the e-mail", "R")
	s.Expect("sent to ann@example.org")
	s.Answer("Code from the e-mail", "123 456")
	s.Expect("ann@example.org is ready")
	s.Answer("Activate this computer now? [y]", "n")
	s.Expect("backstay activate --server")
	if status := s.end(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, secret := range []string{"Secret-One", "Secret-Two", "weak"} {
		if strings.Contains(s.Shown(), secret) {
			t.Errorf("the screen shows the password %s", secret)
		}
	}
	want := wire.Register{Email: "ann@example.org", Username: "ann@example.org", FirstName: "Ann", LastName: "Lee",
		Serial: "RIGHT", Password: "Secret-One", Language: "en"}
	if last := got[len(got)-1]; last != want {
		t.Errorf("the server was sent %+v, want %+v", last, want)
	}
	if len(codes) != 6 || codes[4] != "P1" || codes[5] != "123456" {
		t.Errorf("the codes sent are %v", codes)
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "registration.json")); !os.IsNotExist(err) {
		t.Errorf("the registration is still remembered: %v", err)
	}
}

// In the end this computer is activated, with the password that was chosen.
func TestRegisterAndActivate(t *testing.T) {
	c := newCounter(t)
	c.answer("GET sign-in", wire.SignIn{Registration: wire.RegistrationOpen})
	c.answer("POST register", wire.Registering{Pending: "P1", ResendAfter: 60, CodeMinutes: 10})
	c.answer("POST register/confirm", wire.Registered{Username: "ann"})
	var got map[string]any
	c.play("POST activations", func(in map[string]any) any {
		got = in
		return refusal(402, "E1301", "error.E1301", nil)
	})
	s := sit(t, t.TempDir(), append([]string{"register", "--email", "a@b.example", "--username", "ann"}, c.flags...)...)
	s.Answer("First name:", "")
	s.Answer("Last name:", "")
	s.Secret("New password:", "Secret-One")
	s.Secret("Verify new password:", "Secret-One")
	s.Answer("Code from the e-mail", "123456")
	s.Answer("Activate this computer now? [y]", "")
	s.Expect("No free seat")
	if status := s.end(); status != exitRefused {
		t.Errorf("exit status %d", status)
	}
	if got["username"] != "ann" || got["password"] != "Secret-One" {
		t.Errorf("activated as %v", got["username"])
	}
}

// A registration goes on in another run, and its password is in no file.
func TestRegistrationIsResumed(t *testing.T) {
	c := newCounter(t)
	c.answer("GET sign-in", wire.SignIn{Registration: wire.RegistrationOpen})
	c.answer("POST register", wire.Registering{Pending: "P1", ResendAfter: 60, CodeMinutes: 10})
	c.play("POST register/confirm", func(in map[string]any) any {
		if in["pending"] != "P2" || in["code"] != "123456" {
			return refusal(410, "E1107", "error.E1107", nil)
		}
		return wire.Registered{Username: "ann"}
	})
	c.answer("POST register/resend", wire.Registering{Pending: "P2", ResendAfter: 60, CodeMinutes: 10})
	dir := t.TempDir()
	env := "BACKSTAY_STATE=" + filepath.Join(dir, "state")
	password := filepath.Join(dir, "password")
	os.WriteFile(password, []byte("Secret-One\n"), 0o600)
	status, out, errOut := run(t, env, append([]string{"register", "--email", "ann@example.org", "--username", "ann", "--first-name", "Ann",
		"--last-name", "Lee", "--password-file", password}, c.flags...)...)
	if status != 0 || !strings.Contains(out, "backstay register --code CODE") || !strings.Contains(errOut, "ann@example.org") {
		t.Fatalf("register = %d, %q, %q", status, out, errOut)
	}
	st, err := state.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := st.Registration(); err != nil || r == nil || r.Pending != "P1" || r.Username != "ann" {
		t.Errorf("remembered is %+v, %v", r, err)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "state", "registration.json"))
	if strings.Contains(string(data), "Secret") {
		t.Errorf("the password is kept: %s", data)
	}
	// A code that has ended does not end the registration: another one can be had.
	if status, _, errOut := run(t, env, "register", "--code", "000000"); status != 4 || !strings.Contains(errOut, "E1107") {
		t.Errorf("register with a code that has ended = %d, %q", status, errOut)
	}
	if status, out, _ := run(t, env, "register", "--resend", "--json"); status != 0 || !strings.Contains(out, `"state": "waiting"`) {
		t.Errorf("register --resend = %d, %q", status, out)
	}
	if status, out, _ := run(t, env, "register", "--code", "123-456", "--json"); status != 0 || !strings.Contains(out, `"state": "registered"`) {
		t.Errorf("register --code = %d, %q", status, out)
	}
	if status, _, errOut := run(t, env, "register", "--code", "123456"); status != 1 || !strings.Contains(errOut, "no registration") {
		t.Errorf("register --code again = %d, %q", status, errOut)
	}
}

func TestRegisterInScripts(t *testing.T) {
	c := newCounter(t)
	c.play("GET sign-in", inTurn(wire.SignIn{Registration: wire.RegistrationOff}, serialOffer))
	status, _, errOut := run(t, "", append([]string{"register"}, c.flags...)...)
	if status != exitRefused || !strings.Contains(errOut, "register by themselves") {
		t.Errorf("where registration is off: %d, %q", status, errOut)
	}
	for _, flags := range [][]string{{}, {"--email", "a@b.example"}} {
		status, _, errOut := run(t, "", append(append([]string{"register"}, flags...), c.flags...)...)
		want := []string{"--email", "", "--serial"}[len(flags)]
		if status != exitUsage || !strings.Contains(errOut, want) {
			t.Errorf("register %v = %d, %q; want %s named", flags, status, errOut, want)
		}
	}
}

// A temporary password is replaced on the way, and the second factor given.
func TestActivateAsksForWhatIsMissing(t *testing.T) {
	c := newCounter(t)
	c.answer("GET sign-in", serialOffer)
	var replaced []any
	c.play("POST password/replace", func(in map[string]any) any {
		replaced = append(replaced, in["username"], in["password"], in["new_password"])
		return nil
	})
	var codes []any
	c.play("POST activations", func(in map[string]any) any {
		switch {
		case in["username"] == "a@b.example":
			return refusal(409, "", "login.choose", map[string]any{"usernames": []string{"ann", "bea"}})
		case in["password"] == "Temporary":
			return refusal(403, "E1105", "error.E1105", nil)
		case in["second_factor"] == nil:
			return refusal(401, "", "login.second_factor", map[string]any{"methods": []string{"totp", "recovery"}})
		case in["second_factor"] != "222222":
			codes = append(codes, in["second_factor"])
			return refusal(401, "", "factor.code.wrong", nil)
		}
		codes = append(codes, in["second_factor"])
		return refusal(402, "E1301", "error.E1301", nil)
	})
	s := sit(t, t.TempDir(), append([]string{"activate", "--user", "a@b.example"}, c.flags...)...)
	s.Secret("Password for a@b.example:", "Temporary")
	s.Expect("2  bea")
	s.Answer("Number of the account:", "3")
	s.Answer("Number of the account:", "2")
	s.Expect("must set a new password")
	s.Expect("At least 8 characters")
	s.Secret("New password:", "My-Own-1")
	s.Secret("Verify new password:", "My-Own-1")
	s.Answer("or a recovery code:", "111111")
	s.Expect("not correct")
	s.Answer("or a recovery code:", "222 222")
	s.Expect("No free seat")
	if status := s.end(); status != exitRefused {
		t.Errorf("exit status %d", status)
	}
	if len(replaced) != 3 || replaced[0] != "bea" || replaced[1] != "Temporary" || replaced[2] != "My-Own-1" {
		t.Errorf("replaced %v", replaced)
	}
	if len(codes) != 2 || codes[0] != "111111" || codes[1] != "222222" {
		t.Errorf("codes %v", codes)
	}
}

// A script that lacks something is told which flag gives it, and asks nothing
// twice.
func TestActivateInScripts(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	os.WriteFile(password, []byte("Secret-One\n"), 0o600)
	for _, test := range []struct {
		answer wire.Problem
		flags  []string
		status int
		want   string
	}{
		{refusal(401, "E1101", "error.E1101", nil), nil, 4, "password forgot"},
		{refusal(403, "E1105", "error.E1105", nil), nil, 4, "--new-password-file"},
		{refusal(401, "", "login.second_factor", map[string]any{"methods": []string{"totp"}}), nil, 4, "--code"},
		{refusal(401, "", "login.second_factor", map[string]any{"methods": []string{}}), []string{"--code", "1"}, 4, "passkeys"},
		{refusal(401, "", "login.second_factor", map[string]any{"methods": []string{"totp"}}), []string{"--code", "1"}, 4, "second factor"},
		{refusal(409, "", "login.choose", map[string]any{"usernames": []string{"ann", "bea"}}), nil, 4, "ann"},
		// A server that never has enough is not asked for ever.
		{refusal(403, "E1105", "error.E1105", nil), []string{"--new-password-file", password}, 4, "E1105"},
	} {
		c := newCounter(t)
		c.answer("GET sign-in", serialOffer)
		c.answer("POST password/replace", nil)
		c.answer("POST activations", test.answer)
		args := append(append([]string{"activate", "--user", "ann", "--password-file", password}, test.flags...), c.flags...)
		status, _, errOut := run(t, "", args...)
		if status != test.status || !strings.Contains(errOut, test.want) {
			t.Errorf("%s%s %v: %d, %q; want %d and %q", test.answer.Code, test.answer.Key, test.flags, status, errOut, test.status, test.want)
		}
	}
}

func TestForgot(t *testing.T) {
	c := newCounter(t)
	var asked []any
	c.play("POST password/forgot", func(in map[string]any) any {
		asked = append(asked, in["username"])
		return map[string]any{}
	})
	c.play("POST username/forgot", func(in map[string]any) any {
		asked = append(asked, in["email"])
		return map[string]any{}
	})
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"--username ann", 0, "account ann"},
		{"--email a@b.example", 0, "a@b.example"},
		{"--email a@b.example --json", 0, `"asked": true`},
		{"", 2, "--username"},
		{"--username ann --email a@b.example", 2, "--email"},
	} {
		status, out, errOut := run(t, "", append(append([]string{"password", "forgot"}, strings.Fields(test.args)...), c.flags...)...)
		if status != test.status || !strings.Contains(out+errOut, test.want) {
			t.Errorf("password forgot %s = %d, %q, %q", test.args, status, out, errOut)
		}
	}
	if len(asked) != 3 || asked[0] != "ann" || asked[1] != "a@b.example" {
		t.Errorf("the server was asked for %v", asked)
	}
	for args, want := range map[string]string{"password": "backstay password forgot", "password explode": "explode", "password forgot": "--server",
		"password change": "E1501"} {
		if _, out, errOut := run(t, "", strings.Fields(args)...); !strings.Contains(out+errOut, want) {
			t.Errorf("backstay %s prints %q, %q; want %q", args, out, errOut, want)
		}
	}
}

// Ctrl-C at a question gives the terminal its echo back.
func TestInterruptedQuestion(t *testing.T) {
	c := newCounter(t)
	s := sit(t, t.TempDir(), append([]string{"activate", "--user", "ann"}, c.flags...)...)
	s.Expect("Password for ann:")
	s.WaitEcho(false)
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	self.Signal(os.Interrupt)
	if status := s.end(); status != exitInterrupted {
		t.Errorf("exit status %d", status)
	}
	s.WaitEcho(true)
	c.answer("GET sign-in", serialOffer)
	s2 := sit(t, t.TempDir(), append([]string{"register"}, c.flags...)...)
	s2.Expect("E-mail:")
	s2.Press("\x04") // the end of the input
	if status := s2.end(); status != exitFailed {
		t.Errorf("at the end of the input the exit status is %d", status)
	}
}
