package settings_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/settings"
)

var admin = access.Caller{Kind: access.AdminKind, User: "a", Org: "o", Role: access.ServerAdmin, Name: "admin"}

type fixture struct {
	t    *testing.T
	d    *db.DB
	ring *keys.Ring
	now  time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, d: dbtest.New(t), ring: ring, now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	f.d.Now = func() time.Time { return f.now }
	return f
}

func (f *fixture) load() (s settings.Settings) {
	f.t.Helper()
	err := f.d.Read(f.t.Context(), func(tx *db.Tx) (err error) {
		s, err = settings.Load(f.t.Context(), tx)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) change(by access.Caller, edit func(*settings.Settings)) error {
	return f.d.Write(f.t.Context(), func(tx *db.Tx) error {
		return settings.Change(f.t.Context(), tx, by, func(s *settings.Settings) error {
			edit(s)
			return nil
		})
	})
}

func (f *fixture) must(edit func(*settings.Settings)) settings.Settings {
	f.t.Helper()
	if err := f.change(admin, edit); err != nil {
		f.t.Fatal(err)
	}
	return f.load()
}

func (f *fixture) setPassword(by access.Caller, password string) error {
	return f.d.Write(f.t.Context(), func(tx *db.Tx) error {
		return settings.SetMailPassword(f.t.Context(), tx, by, f.ring, password)
	})
}

func (f *fixture) password() (password string) {
	f.t.Helper()
	err := f.d.Read(f.t.Context(), func(tx *db.Tx) (err error) {
		password, err = settings.MailPassword(f.t.Context(), tx, f.ring)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return password
}

// records are the details of what was done, newest first.
func (f *fixture) records() (list []audit.Row) {
	f.t.Helper()
	err := f.d.Read(f.t.Context(), func(tx *db.Tx) (err error) {
		list, err = audit.List(f.t.Context(), tx, admin, audit.Filter{Action: access.ManageSettings})
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.load()
	if s.Registration.Mode != settings.RegistrationOff || !s.Registration.SharedEmails {
		t.Errorf("registration by default: %+v", s.Registration)
	}
	if s.SignIn.UserPolicy != settings.PolicyClassic || s.SignIn.LockAfter != 10 || s.SignIn.ActivationDays != 7 || s.SignIn.ResetMinutes != 30 {
		t.Errorf("signing in by default: %+v", s.SignIn)
	}
	if s.Users.RollbackDays != 7 || s.Licences.GraceDays != 14 || s.Mail.Configured() || s.Mail.HasPassword {
		t.Errorf("by default: %+v", s)
	}
	if s.SignIn.Remembered(settings.PolicyStrongAdmin) != 5 || s.SignIn.Remembered(settings.PolicyModern) != s.SignIn.History {
		t.Errorf("earlier passwords are remembered %d times", s.SignIn.Remembered(settings.PolicyModern))
	}
	// What is there by default must be good enough to be set.
	f.must(func(s *settings.Settings) { s.Licences.GraceDays = 15 })
}

// What an earlier version let somebody set is cut to the limits of this one,
// and can be saved again.
func TestWiderLimitsOfBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(func(s *settings.Settings) { s.SignIn.StepUpMinutes, s.SignIn.ResetMinutes = 15, 60 })
	for _, refused := range []func(*settings.Settings){
		func(s *settings.Settings) { s.SignIn.StepUpMinutes = 16 },
		func(s *settings.Settings) { s.SignIn.ResetMinutes = 61 },
		func(s *settings.Settings) { s.SignIn.ResetMinutes = 9 },
	} {
		if err := f.change(admin, refused); errs.KindOf(err) != errs.Invalid {
			t.Errorf("beyond the limits: %v", err)
		}
	}
	err := f.d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE settings SET value = '{"step_up_minutes":60,"reset_minutes":1440}' WHERE section = 'sign_in'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := f.load().SignIn; s.StepUpMinutes != 15 || s.ResetMinutes != 60 {
		t.Errorf("loaded as %d and %d minutes", s.StepUpMinutes, s.ResetMinutes)
	}
	f.must(func(s *settings.Settings) { s.SignIn.LockMinutes = 20 })
}

func TestChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.must(func(s *settings.Settings) {
		s.SignIn.LockMinutes = 30
		s.Registration = settings.Registration{Mode: settings.RegistrationOpen, Domains: []string{" @Example.ORG", "example.org", ""}, Org: "o"}
	})
	if s.SignIn.LockMinutes != 30 || s.SignIn.LockAfter != 10 || s.Registration.SharedEmails ||
		!reflect.DeepEqual(s.Registration.Domains, []string{"example.org"}) {
		t.Errorf("changed to %+v", s)
	}
	records := f.records()
	if len(records) != 2 {
		t.Fatalf("%d records, want one for each section that changed: %+v", len(records), records)
	}
	r := records[0]
	if r.ObjectKind != "settings" || r.ObjectID != "sign_in" || r.ActorID != "a" || len(r.Details) != 1 ||
		r.Details[0].Name != "lock_minutes" || fmt.Sprint(r.Details[0].Before, r.Details[0].After) != "15 30" {
		t.Errorf("recorded %+v", r)
	}
	f.must(func(*settings.Settings) {})
	if n := len(f.records()); n != 2 {
		t.Errorf("%d records after a change of nothing, want 2", n)
	}
	// What the closure refuses, and what is refused later, changes nothing.
	err := f.change(admin, func(s *settings.Settings) { s.SignIn.LockMinutes = 31; s.Licences.GraceDays = -1 })
	if errs.KindOf(err) != errs.Invalid || f.load().SignIn.LockMinutes != 30 {
		t.Errorf("half a change: %v, %+v", err, f.load().SignIn)
	}
}

func TestOnlyServerAdministratorsChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, by := range []access.Caller{
		{},
		{Kind: access.UserKind, User: "u", Org: "o"},
		{Kind: access.AdminKind, User: "b", Org: "o", Role: access.OrgAdmin},
		{Kind: access.AdminKind, User: "c", Org: "o", Role: access.Viewer},
	} {
		if err := f.change(by, func(s *settings.Settings) { s.SignIn.LockMinutes = 1 }); err == nil {
			t.Errorf("%+v changed the settings", by)
		}
		if err := f.setPassword(by, "x"); err == nil {
			t.Errorf("%+v set the password", by)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mail := func(edit func(*settings.Mail)) func(*settings.Settings) {
		return func(s *settings.Settings) {
			s.Mail = settings.Mail{Host: "mail.example.org", Security: settings.StartTLS, From: "backup@example.org"}
			edit(&s.Mail)
		}
	}
	for _, c := range []struct {
		key  string
		edit func(*settings.Settings)
	}{
		{"settings.devices.kind", func(s *settings.Settings) { s.Devices.Retired = []string{"abacus"} }},
		{"settings.registration.mode", func(s *settings.Settings) { s.Registration.Mode = "all" }},
		{"settings.registration.domain", func(s *settings.Settings) { s.Registration.Domains = []string{"a b"} }},
		{"settings.registration.domain", func(s *settings.Settings) { s.Registration.Domains = []string{"org"} }},
		{"settings.registration.domains.none", func(s *settings.Settings) { s.Registration.Mode = settings.RegistrationOpen }},
		{"settings.registration.org", func(s *settings.Settings) {
			s.Registration.Mode, s.Registration.Domains = settings.RegistrationOpen, []string{"a.example"}
		}},
		{"settings.user_policy", func(s *settings.Settings) { s.SignIn.UserPolicy = "" }},
		{"settings.history", func(s *settings.Settings) { s.SignIn.History = 25 }},
		{"settings.expiry_days", func(s *settings.Settings) { s.SignIn.ExpiryDays = 100 }},
		{"settings.lock_minutes", func(s *settings.Settings) { s.SignIn.LockMinutes = 61 }},
		{"settings.activation_days", func(s *settings.Settings) { s.SignIn.ActivationDays = 0 }},
		{"settings.idle_over_absolute", func(s *settings.Settings) { s.SignIn.UserIdleMinutes = 1441 }},
		{"settings.rollback_days", func(s *settings.Settings) { s.Users.RollbackDays = 0 }},
		{"settings.mail.host", mail(func(m *settings.Mail) { m.Host = "mail.example.org:25" })},
		{"settings.mail.host", mail(func(m *settings.Mail) { m.Host = "mail example" })},
		{"settings.mail.port", mail(func(m *settings.Mail) { m.Port = 65536 })},
		{"settings.mail.security", mail(func(m *settings.Mail) { m.Security = "ssl" })},
		{"settings.mail.from.empty", mail(func(m *settings.Mail) { m.From = "" })},
		{"settings.mail.from", mail(func(m *settings.Mail) { m.From = "Backup <backup@example.org>" })},
		{"settings.mail.from", mail(func(m *settings.Mail) { m.From = "backup@example.org\r\nBcc: x@example.org" })},
		{"settings.mail.from_name", mail(func(m *settings.Mail) { m.FromName = "a\r\nBcc: x@example.org" })},
		{"settings.mail.username", mail(func(m *settings.Mail) { m.Username = "a\x00b" })},
		{"settings.mail.unprotected", mail(func(m *settings.Mail) { m.Security = settings.Plain })},
		{"settings.mail.login_unprotected", mail(func(m *settings.Mail) { m.Security, m.Unprotected, m.Username = settings.Plain, true, "u" })},
	} {
		err := f.change(admin, c.edit)
		if e := errs.Find(err); e == nil || e.Kind != errs.Invalid || e.Key != c.key {
			t.Errorf("%v, want %s", err, c.key)
		}
	}
	for _, edit := range []func(*settings.Settings){
		mail(func(m *settings.Mail) {}),
		mail(func(m *settings.Mail) { m.Host = "[2001:db8::1]" }),
		mail(func(m *settings.Mail) { m.Security, m.Unprotected = settings.Plain, true }),
		mail(func(m *settings.Mail) { m.Host, m.Security, m.Username = "127.0.0.1", settings.Plain, "u" }),
		mail(func(m *settings.Mail) { m.Host, m.From = "", "" }),
	} {
		f.must(edit)
	}
}

// What was deleted under a long window can be brought back as long as it was
// promised, also when somebody shortens it.
func TestShorterWindowWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	day := 24 * time.Hour
	set := func(days int) func(*settings.Settings) {
		return func(s *settings.Settings) { s.Users.RollbackDays = days }
	}
	check := func(what string, s settings.Settings, now, then int) {
		t.Helper()
		if s.Users.RollbackDays != now || s.Users.ShorterDays != then || (then == 0) != s.Users.ShorterFrom.IsZero() {
			t.Errorf("%s: %+v, want %d days now and %d later", what, s.Users, now, then)
		}
	}
	check("longer", f.must(set(30)), 30, 0)
	s := f.must(set(1))
	check("shorter", s, 30, 1)
	from := s.Users.ShorterFrom
	if !from.Equal(f.now.Add(30 * day)) {
		t.Errorf("the shorter window begins at %v", from)
	}
	f.now = f.now.Add(10 * day)
	s = f.must(set(1))
	check("again", s, 30, 1)
	if !s.Users.ShorterFrom.Equal(from) {
		t.Errorf("asking again moved it to %v", s.Users.ShorterFrom)
	}
	check("something else", f.must(func(s *settings.Settings) { s.Users.PreservedCapPercent = 20 }), 30, 1)
	// Nobody moves it forward by hand.
	s = f.must(func(s *settings.Settings) { s.Users.ShorterFrom = f.now })
	check("by hand", s, 30, 1)
	f.now = from.Add(-time.Microsecond)
	check("a moment before", f.load(), 30, 1)
	f.now = from
	check("then", f.load(), 1, 0)
	check("longer again", f.must(set(20)), 20, 0)
	f.must(set(2))
	check("taken back", f.must(func(s *settings.Settings) { s.Users.ShorterDays = 0 }), 20, 0)
}

func TestMailPassword(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery"
	f := newFixture(t)
	if got := f.password(); got != "" {
		t.Errorf("the password is %q before there is one", got)
	}
	if err := f.setPassword(admin, secret); err != nil {
		t.Fatal(err)
	}
	if got := f.password(); got != secret || !f.load().Mail.HasPassword {
		t.Errorf("password %q, stored %v", got, f.load().Mail.HasPassword)
	}
	err := f.d.Read(t.Context(), func(tx *db.Tx) error {
		var sealed []byte
		err := tx.QueryRow(context.Background(), "SELECT secret FROM settings WHERE section = 'mail'").Scan(&sealed)
		if bytes.Contains(sealed, []byte(secret[:7])) {
			t.Errorf("the database has the password in clear")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := func(host, security string) func(*settings.Settings) {
		return func(s *settings.Settings) {
			s.Mail.Host, s.Mail.Security, s.Mail.From = host, security, "backup@example.org"
		}
	}
	// A first server has it; the same one keeps it, on another port too.
	f.must(server("mail.example.org", settings.TLS))
	if f.password() != "" {
		t.Error("another server got the password")
	}
	if err := f.setPassword(admin, secret); err != nil {
		t.Fatal(err)
	}
	f.must(server("mail.example.org", settings.StartTLS))
	f.must(func(s *settings.Settings) { s.Mail.Port = 2525 })
	if f.password() != secret {
		t.Error("the same server lost its password")
	}
	s := f.must(server("evil.example.org", settings.StartTLS))
	if f.password() != "" || s.Mail.HasPassword {
		t.Error("another server got the password")
	}
	if err := f.setPassword(admin, secret); err != nil {
		t.Fatal(err)
	}
	f.must(func(s *settings.Settings) { s.Mail.Security, s.Mail.Unprotected = settings.Plain, true })
	if f.password() != "" {
		t.Error("the password goes out without TLS")
	}
	if err := f.setPassword(admin, "a\nb"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a password of two lines: %v", err)
	}
	if text := fmt.Sprint(f.records()); strings.Contains(text, "horse") || !strings.Contains(text, "password") {
		t.Errorf("the records: %s", text)
	}
}
