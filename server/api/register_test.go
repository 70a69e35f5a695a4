package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/wire"
)

func ann() wire.Register {
	return wire.Register{Email: "ann@Example.ORG", FirstName: "Ann", LastName: "Lee", Password: "Anns-Own-Secret-7", Language: "fr"}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	h.open()
	c := h.client("", nil)
	r, err := c.Register(t.Context(), ann())
	if err != nil || len(r.Pending) < 40 || r.ResendAfter != 60 || r.CodeMinutes != 10 {
		t.Fatalf("Register = %+v, %v", r, err)
	}
	m := box.Wait("ann@example.org", mail.RegistrationCode)
	if m.Code == "" || !strings.Contains(m.Text, "ann@example.org") || !strings.Contains(m.Text, "Bonjour") && m.Header.Get("Content-Language") != "fr" {
		t.Errorf("the mail says %q", m.Text)
	}
	in := request(t, "ann@example.org")
	in.Password = ann().Password
	if _, err := c.Activate(t.Context(), in); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("activating before the code = %v, want E1101", err)
	}
	if _, err := c.ResendCode(t.Context(), r.Pending); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("another code at once = %v, want E1104", err)
	}
	wrong := "000000"
	if m.Code == wrong {
		wrong = "111111"
	}
	for left := int64(4); left >= 3; left-- {
		_, err := c.ConfirmRegistration(t.Context(), r.Pending, wrong)
		if !errs.Is(err, errs.WrongConfirmation) || errs.Find(err).Args["n"] != left {
			t.Errorf("a wrong code = %v, want E1108 with %d", err, left)
		}
	}
	h.later(61 * time.Second)
	again, err := c.ResendCode(t.Context(), r.Pending)
	if err != nil || again.Pending != r.Pending || again.ResendAfter != 60 {
		t.Fatalf("ResendCode = %+v, %v", again, err)
	}
	newer := box.Wait("ann@example.org", mail.RegistrationCode)
	if newer.Code != m.Code {
		if _, err := c.ConfirmRegistration(t.Context(), r.Pending, m.Code); !errs.Is(err, errs.WrongConfirmation) {
			t.Errorf("the older code = %v, want E1108", err)
		}
	}
	done, err := c.ConfirmRegistration(t.Context(), r.Pending, newer.Code)
	if err != nil || done.Username != "ann@example.org" {
		t.Fatalf("ConfirmRegistration = %+v, %v", done, err)
	}
	if _, err := c.ConfirmRegistration(t.Context(), r.Pending, newer.Code); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("the code again = %v, want E1107", err)
	}
	in = request(t, "ANN@example.org")
	in.Password = ann().Password
	if got, err := c.Activate(t.Context(), in); err != nil || got.Username != "ann@example.org" {
		t.Errorf("Activate = %q, %v", got.Username, err)
	}
}

// What may be wrong about a registration, and what must not be told.
func TestRegisterRefusals(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	c := h.client("", nil)
	try := func(edit func(*wire.Register)) (wire.Registering, error) {
		in := ann()
		edit(&in)
		return c.Register(t.Context(), in)
	}
	if _, err := try(func(*wire.Register) {}); errs.KindOf(err) != errs.Forbidden || errs.Find(err).Key != "registration.off" {
		t.Errorf("where it is off: %v", err)
	}
	h.open()
	for name, edit := range map[string]func(*wire.Register){
		"no address":           func(r *wire.Register) { r.Email = "" },
		"half an address":      func(r *wire.Register) { r.Email = "ann@" },
		"a line in an address": func(r *wire.Register) { r.Email = "ann@example.org\r\nBcc: all@example.org" },
		"another domain":       func(r *wire.Register) { r.Email = "ann@example.net" },
		"a domain below":       func(r *wire.Register) { r.Email = "ann@evil.example.org.example.net" },
		"a control character":  func(r *wire.Register) { r.Username = "ann\x00" },
		"a long name":          func(r *wire.Register) { r.Username = strings.Repeat("a", 65) },
		"a reserved name":      func(r *wire.Register) { r.Username = "Admin" },
		"a long first name":    func(r *wire.Register) { r.FirstName = strings.Repeat("a", 101) },
		"a control in a name":  func(r *wire.Register) { r.LastName = "Lee\n" + "x" },
		"no password":          func(r *wire.Register) { r.Password = "" },
		"a weak password":      func(r *wire.Register) { r.Password = "password" },
		"a forbidden sign":     func(r *wire.Register) { r.Password = "Anns-Own<Secret-7" },
		"a long password":      func(r *wire.Register) { r.Password = strings.Repeat("Aa1-", 100) },
		"an unknown language":  func(r *wire.Register) { r.Language = "tlh" },
	} {
		if _, err := try(edit); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
		h.later(time.Hour) // ten are allowed in each
	}
	_, err := try(func(r *wire.Register) { r.Password = "pass<word" })
	if broken := wire.BrokenRules(err); len(broken) != 3 {
		t.Errorf("the rules that are broken are %+v, of %v", broken, err)
	} else {
		for _, rule := range broken {
			if rule.Key == "" || strings.Contains(fmt.Sprint(rule.Data), "pass<word") {
				t.Errorf("a rule is %+v", rule)
			}
		}
	}

	// A name that is taken gives the same answer, and no code confirms it.
	h.newUser("bob")
	taken, err := try(func(r *wire.Register) { r.Username = "BOB" })
	if err != nil || len(taken.Pending) < 40 || taken.ResendAfter != 60 {
		t.Errorf("a taken name = %+v, %v", taken, err)
	}
	box.Wait("ann@example.org", mail.RegistrationTaken)
	if _, err := c.ConfirmRegistration(t.Context(), taken.Pending, "123456"); !errs.Is(err, errs.WrongConfirmation) && !errs.Is(err, errs.LinkExpired) {
		t.Errorf("confirming a taken name = %v", err)
	}
	for _, pending := range []string{"", "x", strings.Repeat("A", 43), taken.Pending + "A"} {
		if _, err := c.ConfirmRegistration(t.Context(), pending, "123456"); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("confirming %q = %v, want E1107", pending, err)
		}
		if _, err := c.ResendCode(t.Context(), pending); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("resending for %q = %v, want E1107", pending, err)
		}
	}
}

// The code dies by five wrong tries and by its age; another registration of the
// same address takes the place of the first.
func TestRegistrationsEnd(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	h.open()
	c := h.client("", nil)
	begin := func() (string, string) {
		t.Helper()
		r, err := c.Register(t.Context(), ann())
		if err != nil {
			t.Fatal(err)
		}
		return r.Pending, box.Wait("ann@example.org", mail.RegistrationCode).Code
	}
	pending, code := begin()
	for range 5 {
		if _, err := c.ConfirmRegistration(t.Context(), pending, "no"); err == nil {
			t.Error("no code was right")
		}
	}
	if _, err := c.ConfirmRegistration(t.Context(), pending, code); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("the right code after five wrong ones = %v, want E1107", err)
	}
	h.later(2 * time.Minute)
	first, firstCode := begin()
	h.later(2 * time.Minute)
	second, secondCode := begin()
	if _, err := c.ConfirmRegistration(t.Context(), first, firstCode); err == nil {
		t.Error("the first of two registrations still works")
	}
	h.later(11 * time.Minute)
	if _, err := c.ConfirmRegistration(t.Context(), second, secondCode); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("a code of eleven minutes = %v, want E1107", err)
	}
}

func TestRegisterWithSerial(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	var l orgs.Licence
	err := h.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		l, err = orgs.CreateLicence(t.Context(), tx, access.System("test"), h.Keys, orgs.NewLicence{Org: h.org.ID, Name: "One", SeatsActive: 5, SeatsPreserved: 1})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.set(func(s *settings.Settings) { s.Registration.Mode = settings.RegistrationSerial })
	c := h.client("", nil)
	if got, err := c.SignIn(t.Context()); err != nil || got.Registration != wire.RegistrationSerial || !got.SerialRequired {
		t.Errorf("SignIn = %+v, %v", got, err)
	}
	typed := orgs.FormatSerial(l.Serial)
	wrong := []byte(typed)
	wrong[13] = map[bool]byte{true: 'A', false: 'B'}[wrong[13] == 'B']
	for _, serial := range []string{"", "x", string(wrong), strings.Repeat("0", 25)} {
		in := ann()
		in.Serial = serial
		_, err := c.Register(t.Context(), in)
		if !errs.Is(err, errs.BadSerial) {
			t.Errorf("serial %q: %v, want E1302", serial, err)
		}
	}
	in := ann()
	in.Serial = strings.ToLower(typed)
	r, err := c.Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ConfirmRegistration(t.Context(), r.Pending, box.Wait("ann@example.org", mail.RegistrationCode).Code); err != nil {
		t.Error(err)
	}
	// Serials cannot be guessed: ten tries an hour.
	var err1104 error
	for range 12 {
		in.Serial = strings.Repeat("0", 25)
		if _, err1104 = c.Register(t.Context(), in); errs.Is(err1104, errs.TooManyAttempts) {
			break
		}
	}
	if !errs.Is(err1104, errs.TooManyAttempts) {
		t.Errorf("after many tries: %v, want E1104", err1104)
	}
}

func TestTooManyCarryRetryAfter(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mails()
	h.open()
	r, err := h.client("", nil).Register(t.Context(), ann())
	if err != nil {
		t.Fatal(err)
	}
	answer, p := h.raw("POST", "register/resend", "application/json", strings.NewReader(`{"pending":"`+r.Pending+`"}`))
	if answer.StatusCode != http.StatusTooManyRequests || p.Code != "E1104" || !p.Retryable || answer.Header.Get("Retry-After") == "" || p.RequestID != "R1" {
		t.Errorf("the answer is %d %+v, %v", answer.StatusCode, p, answer.Header)
	}
}
