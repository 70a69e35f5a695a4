package mail_test

import (
	"context"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

var admin = access.Caller{Kind: access.AdminKind, User: "a", Org: "o", Role: access.ServerAdmin, Name: "admin"}

// fixture is a database with a queue, and what a server needs to send it.
type fixture struct {
	t    *testing.T
	dsn  string
	d    *db.DB
	ring *keys.Ring

	mu   sync.Mutex
	skew time.Duration // the clock is so much ahead
	log  strings.Builder
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dsn: dbtest.DSN(t), ring: ring}
	f.d = dbtest.Open(t, f.dsn)
	f.d.Now = f.now
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.skew)
}

func (f *fixture) later(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skew += d
}

// Write takes what the sender logs.
func (f *fixture) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(line)
}

func (f *fixture) logged() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

func (f *fixture) write(do func(ctx context.Context, tx *db.Tx) error) {
	f.t.Helper()
	if err := f.d.Write(f.t.Context(), func(tx *db.Tx) error { return do(f.t.Context(), tx) }); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) queue(mails ...mail.Mail) {
	f.t.Helper()
	f.write(func(ctx context.Context, tx *db.Tx) error {
		for _, m := range mails {
			if err := mail.Queue(ctx, tx, f.ring, m); err != nil {
				return err
			}
		}
		return nil
	})
}

// use has mail go out by s.
func (f *fixture) use(s *mailtest.Server) {
	f.t.Helper()
	f.write(func(ctx context.Context, tx *db.Tx) error {
		err := settings.Change(ctx, tx, admin, func(set *settings.Settings) error {
			set.Mail = s.Settings
			return nil
		})
		if err != nil {
			return err
		}
		return settings.SetMailPassword(ctx, tx, admin, f.ring, s.Password)
	})
}

// start runs a sender on d until the end of the test, or until stop is called.
func (f *fixture) start(d *db.DB, roots *x509.CertPool) (stop func()) {
	s := &mail.Sender{DB: d, Keys: f.ring, Log: slog.New(slog.NewTextHandler(f, nil)), Name: "Backup of Éole",
		URL: func() string { return "https://backup.example.org" }, Roots: roots}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	f.t.Cleanup(stop)
	return stop
}

func (f *fixture) list(filter mail.Filter) (list []mail.Row) {
	f.t.Helper()
	f.write(func(ctx context.Context, tx *db.Tx) (err error) {
		list, err = mail.List(ctx, tx, admin, filter)
		return err
	})
	return list
}

// until waits for the newest mail to be as ok wants it.
func (f *fixture) until(what string, ok func(mail.Row) bool) mail.Row {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if list := f.list(mail.Filter{}); len(list) > 0 && ok(list[0]) {
			return list[0]
		}
	}
	f.t.Fatalf("the mail never was %s: %+v", what, f.list(mail.Filter{}))
	return mail.Row{}
}

func is(state mail.State) func(mail.Row) bool {
	return func(r mail.Row) bool { return r.State == state }
}

const resetLink = "https://backup.example.org/link?token=c2VjcmV0LXRva2Vu"

func reset(to string) mail.Mail {
	return mail.Mail{To: to, Language: "fr", User: "u", Org: "o", Template: mail.Reset,
		Values: map[string]string{"username": "marie", "link": resetLink, "minutes": "30"}}
}

func TestSend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options []mailtest.Option
	}{
		{"in the clear", nil},
		{"STARTTLS", []mailtest.Option{mailtest.Security(settings.StartTLS), mailtest.Login("backup", "Mail-Password-1")}},
		{"TLS", []mailtest.Option{mailtest.Security(settings.TLS), mailtest.Login("backup", "Mail-Password-1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, server := newFixture(t), mailtest.New(t, c.options...)
			f.use(server)
			f.start(f.d, server.Roots)
			begin := time.Now()
			f.queue(reset("marie@example.org"))
			m := server.Wait("marie@example.org", mail.Reset)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if m.Link() != resetLink || m.Subject != "Un nouveau mot de passe pour marie" || m.FromName != "Backstay" {
				t.Errorf("it came as %q from %q with %q", m.Subject, m.FromName, m.Links)
			}
			if !strings.Contains(m.HTML, `href="`+resetLink+`"`) || !strings.Contains(m.Text, "(backup.example.org)") {
				t.Errorf("it says\n%s\n%s", m.Text, m.HTML)
			}
			for name, want := range map[string]string{"Auto-Submitted": "auto-generated", "Mime-Version": "1.0"} {
				if got := m.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if id := m.Header.Get("Message-Id"); !strings.HasSuffix(id, "@backstay.example>") {
				t.Errorf("Message-ID: %s", id)
			}
			if at, err := m.Header.Date(); err != nil || time.Since(at).Abs() > time.Minute {
				t.Errorf("Date: %v, %v", at, err)
			}
			r := f.until("sent", is(mail.Sent))
			if r.Tries != 1 || r.Err != nil || r.SentAt.IsZero() || r.To != "marie@example.org" || r.User != "u" || r.Org != "o" {
				t.Errorf("the queue has %+v", r)
			}
			if log := f.logged(); strings.Contains(log, "Mail-Password") || strings.Contains(log, "token") {
				t.Errorf("the log has secrets: %s", log)
			}
		})
	}
}
