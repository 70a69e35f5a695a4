package signin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
)

// open lets people with addresses at example.org register.
func (w *world) open() {
	w.Helper()
	w.Set(func(s *settings.Settings) {
		s.Registration.Mode, s.Registration.Domains, s.Registration.Org = settings.RegistrationOpen, []string{"example.org"}, w.Org.ID
	})
}

func asked(name string) signin.Registration {
	return signin.Registration{Email: name + "@Example.ORG", Username: name, FirstName: "First", LastName: "Last", Language: "fr"}
}

func (w *world) register(ip string, r signin.Registration) (string, error) {
	w.Helper()
	pending, err := w.g.Register(w.Context(), access.Caller{IP: ip}, r)
	w.g.Wait()
	return pending, err
}

func TestRegisterByLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	if _, err := w.register("192.0.2.1", asked("una")); errs.KindOf(err) != errs.Forbidden {
		t.Fatalf("without having turned it on: %v", err)
	}
	w.open()
	pending, err := w.register("192.0.2.1", asked("una"))
	if err != nil || pending != "" {
		t.Fatalf("Register = %q, %v", pending, err)
	}
	u := w.Named("una")
	if u.State != accounts.Invited || u.Email != "una@example.org" || u.Org != w.Org.ID || u.Kind != access.UserKind || u.Language != "fr" {
		t.Errorf("made %+v", u)
	}
	mails := w.mails()
	if len(mails) != 1 || mails[0].Template != mail.Activation || mails[0].Values["secret"] != "" {
		t.Fatalf("mailed %+v", mails)
	}
	if err := w.g.SetPasswordByLink(t.Context(), from, w.Token(mails[0].Values["link"], "/password"), password); err != nil {
		t.Fatal(err)
	}
	if _, err := w.login(accounts.ToPortal, "una", password); err != nil {
		t.Error(err)
	}

	// A username that is taken: the same answer, and a mail that says so.
	r := asked("una")
	r.Email = "other@example.org"
	pending, err = w.register("192.0.2.1", r)
	if err != nil || pending != "" {
		t.Errorf("a taken username: %q, %v", pending, err)
	}
	mails = w.mails()
	if last := mails[len(mails)-1]; last.Template != mail.RegistrationTaken || last.To != "other@example.org" || last.Values["username"] != "una" {
		t.Errorf("mailed %+v", mails)
	}
	for name, edit := range map[string]func(*signin.Registration){
		"a reserved name": func(r *signin.Registration) { r.Username = "ROOT" },
		"another's":       func(r *signin.Registration) { r.Username = "una@example.org" },
		"no name":         func(r *signin.Registration) { r.Username = " " },
		"no address":      func(r *signin.Registration) { r.Email = "" },
		"half an address": func(r *signin.Registration) { r.Email = "una@" },
		"another domain":  func(r *signin.Registration) { r.Email = "una@example.com" },
		"a domain below":  func(r *signin.Registration) { r.Email = "una@x.example.org" },
		"control":         func(r *signin.Registration) { r.Username = "a\x00" },
	} {
		r := asked("new")
		edit(&r)
		if _, err := w.register("198.51.100."+fmt.Sprint(len(name)), r); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(w.mails()) != len(mails) {
		t.Error("what was refused is mailed")
	}
}

func (w *world) codeFor(address string) (code string) {
	w.Helper()
	for _, m := range w.mailsOf(mail.RegistrationCode) {
		if strings.EqualFold(m.To, address) {
			code = m.Values["code"]
		}
	}
	return code
}

func byClient(name string) signin.Registration {
	return signin.Registration{Email: name + "@example.org", Password: password, Language: "en"}
}

func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestRegisterByCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.open()
	if _, err := w.register("192.0.2.1", signin.Registration{Email: "una@example.org", Password: "weak"}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a weak password: %v", err)
	}
	pending, err := w.register("192.0.2.1", byClient("una"))
	if err != nil || pending == "" {
		t.Fatalf("Register = %q, %v", pending, err)
	}
	u := w.Named("una@example.org")
	if u.State != accounts.Pending {
		t.Fatalf("made %+v", u)
	}
	if _, err := w.login(accounts.ToClient, "una@example.org", password); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("a login before the code: %v", err)
	}
	code := w.codeFor("una@example.org")
	confirm := func(pending, code string) error {
		_, err := w.g.ConfirmRegistration(t.Context(), from, pending, code)
		return err
	}
	other, err := w.register("192.0.2.1", byClient("vic"))
	if err != nil {
		t.Fatal(err)
	}
	if err := confirm(other, code); code != w.codeFor("vic@example.org") && !errs.Is(err, errs.WrongConfirmation) {
		t.Errorf("a code of another registration: %v", err)
	}
	for name, bad := range map[string]string{"cut": pending[1:], "changed": "A" + pending[1:], "empty": "", "an id": string(u.ID)} {
		if bad == pending {
			continue
		}
		if err := confirm(bad, code); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("a pending id %s: %v", name, err)
		}
	}
	if err := confirm(pending, wrong(code)); !errs.Is(err, errs.WrongConfirmation) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := confirm(pending, code); err != nil {
		t.Fatal(err)
	}
	if got := w.Find(u.ID); got.State != accounts.Active {
		t.Errorf("then the account is %s", got.State)
	}
	if _, err := w.login(accounts.ToClient, "UNA@example.org", password); err != nil {
		t.Error(err)
	}
	if err := confirm(pending, code); err == nil {
		t.Error("the code works twice")
	}
}

// A code can be typed before the registration is written down: the answer does
// not wait for that.
func TestConfirmAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	for i := range 5 {
		pending, err := w.g.Register(t.Context(), access.Caller{IP: "192.0.2.1"}, byClient(fmt.Sprintf("una%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.g.ConfirmRegistration(t.Context(), from, pending, "000000")
		if !errs.Is(err, errs.WrongConfirmation) {
			t.Errorf("a wrong code at once: %v", err)
		}
	}
}

// Where addresses are not shared, the one that has an account is told its name,
// and not that a free one is taken.
func TestRegisterSharedAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	w.User("una")
	w.Set(func(s *settings.Settings) { s.Registration.SharedEmails = false })
	second := asked("una2")
	second.Email = w.Named("una").Email
	if _, err := w.register("192.0.2.1", second); err != nil {
		t.Fatal(err)
	}
	if told := w.mailsOf(mail.Usernames); len(told) != 1 || told[0].Values["usernames"] != "una" || len(w.mails()) != 1 {
		t.Errorf("mailed %+v", w.mails())
	}
	if _, err := w.register("192.0.2.1", asked("ｒｏｏｔ")); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a name of ours in full width: %v", err)
	}
}

// For who types, a username that is taken is like one that is not: wrong codes
// count down, codes can be resent, and all end.
func TestTakenIsNotSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.open()
	w.User("una")
	taken := byClient("free")
	taken.Username = "una"
	real, err := w.register("192.0.2.1", byClient("new"))
	if err != nil {
		t.Fatal(err)
	}
	fake, err := w.register("192.0.2.1", taken)
	if err != nil {
		t.Fatal(err)
	}
	if len(real) != len(fake) {
		t.Error("the pending ids look different")
	}
	if w.codeFor("free@example.org") != "" {
		t.Error("a code was mailed for a taken username")
	}
	say := func(pending, code string) string {
		_, err := w.g.ConfirmRegistration(t.Context(), from, pending, code)
		return fmt.Sprint(err)
	}
	resend := func(pending string) string {
		wait, err := w.g.ResendCode(t.Context(), from, pending)
		w.g.Wait()
		return fmt.Sprint(wait, err)
	}
	compare := func(what, a, b string) {
		t.Helper()
		if a != b {
			t.Errorf("%s: %s, of a taken one %s", what, a, b)
		}
	}
	code := wrong(w.codeFor("new@example.org"))
	compare("a first wrong code", say(real, code), say(fake, code))
	compare("resending at once", resend(real), resend(fake))
	w.Move(time.Minute)
	compare("resending", resend(real), resend(fake))
	code = wrong(w.codeFor("new@example.org"))
	for i := range 7 {
		compare(fmt.Sprintf("wrong code %d", i+1), say(real, code), say(fake, code))
	}
	w.Move(time.Minute)
	compare("resending then", resend(real), resend(fake))
	code = wrong(w.codeFor("new@example.org"))
	compare("a wrong code then", say(real, code), say(fake, code))
	w.Move(11 * time.Minute)
	compare("a code that ended", say(real, code), say(fake, code))
}

func TestResending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.open()
	pending, err := w.register("192.0.2.1", byClient("una"))
	if err != nil {
		t.Fatal(err)
	}
	first := w.codeFor("una@example.org")
	resend := func() error {
		_, err := w.g.ResendCode(t.Context(), from, pending)
		w.g.Wait()
		return err
	}
	if err := resend(); !errs.Is(err, errs.TooManyAttempts) || errs.Find(err).Args["n"] != 60 {
		t.Errorf("at once: %v", err)
	}
	w.Move(time.Minute)
	if err := resend(); err != nil {
		t.Fatal(err)
	}
	if second := w.codeFor("una@example.org"); second != first {
		if _, err := w.g.ConfirmRegistration(t.Context(), from, pending, first); !errs.Is(err, errs.WrongConfirmation) {
			t.Errorf("the older code: %v", err)
		}
	}
	sent := 2
	for range 20 {
		w.Move(time.Minute)
		if resend() == nil {
			sent++
		}
	}
	if sent != 5 {
		t.Errorf("%d codes to one address within an hour", sent)
	}
	for range 200 {
		w.Move(10 * time.Minute)
		if w.Past() > 20*time.Hour {
			break
		}
		if resend() == nil {
			sent++
		}
	}
	if sent != 10 {
		t.Errorf("%d codes to one address within a day", sent)
	}
	// After a day there is nothing left to confirm.
	w.Move(25*time.Hour - w.Past())
	if err := resend(); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("after a day: %v", err)
	}
}

// Who begins anew with the same address replaces the registration of before.
func TestRegisteringAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.open()
	first, err := w.register("192.0.2.1", byClient("una"))
	if err != nil {
		t.Fatal(err)
	}
	old, code := w.Named("una@example.org"), w.codeFor("una@example.org")
	second, err := w.register("192.0.2.1", byClient("una"))
	if err != nil || w.Named("una@example.org").ID == old.ID {
		t.Fatalf("not replaced: %v", err)
	}
	if _, err := w.g.ConfirmRegistration(t.Context(), from, first, code); err == nil {
		t.Error("the first registration can still be confirmed")
	}
	if _, err := w.g.ConfirmRegistration(t.Context(), from, second, w.codeFor("una@example.org")); err != nil {
		t.Error(err)
	}
	// An account that is there is no registration.
	if _, err := w.register("192.0.2.1", byClient("una")); err != nil || w.Named("una@example.org").State != accounts.Active {
		t.Errorf("over an active account: %v", err)
	}
}

func TestRegisterBySerial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	l := w.Licence("Test", 1, 1)
	w.Set(func(s *settings.Settings) { s.Registration.Mode = settings.RegistrationSerial })
	r := asked("una")
	for serial, want := range map[string]errs.Code{"": errs.BadSerial, "ABCDE-ABCDE-ABCDE-ABCDE-ABCDE": errs.BadSerial} {
		r.Serial = serial
		if _, err := w.register("192.0.2.1", r); !errs.Is(err, want) {
			t.Errorf("with %q: %v, want %s", serial, err, want)
		}
	}
	r.Serial = strings.ToLower(orgs.FormatSerial(l.Serial))
	if _, err := w.register("192.0.2.1", r); err != nil {
		t.Fatal(err)
	}
	if u := w.Named("una"); u.Licence != string(l.ID) || u.Org != l.Org {
		t.Errorf("made %+v", u)
	}
	w.Write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE users SET seat = 'active' WHERE username = 'una'")
		return err
	})
	r = asked("vic")
	r.Serial = l.Serial
	if _, err := w.register("192.0.2.1", r); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("a full licence: %v", err)
	}
	// Ten an hour, of whatever outcome: then a right one is not looked at.
	for range 10 {
		w.register("192.0.2.1", r)
	}
	if _, err := w.register("192.0.2.1", r); !errs.Is(err, errs.TooManyAttempts) {
		t.Errorf("guessing: %v", err)
	}
	if _, err := w.register("192.0.2.2", r); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("from elsewhere: %v", err)
	}
	w.Move(time.Hour)
	if _, err := w.register("192.0.2.1", r); !errs.Is(err, errs.NoFreeSeat) {
		t.Errorf("an hour later: %v", err)
	}
	var rows []audit.Row
	w.Read(func(tx *db.Tx) (err error) {
		rows, err = audit.List(t.Context(), tx, system, audit.Filter{Action: access.Register, Limit: 100})
		return err
	})
	codes := map[string]int{}
	for _, row := range rows {
		codes[string(row.Code)]++
	}
	if codes["E1302"] == 0 || codes["E1301"] == 0 || codes["E1104"] == 0 {
		t.Errorf("the audit has %v", codes)
	}
}
