package mail_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

// refuseFirst refuses the first n times at a stage.
func refuseFirst(n int, stage string, answer error) func(stage, who string) error {
	var mu sync.Mutex
	return func(at, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if at != stage || n == 0 {
			return nil
		}
		n--
		return answer
	}
}

func TestTriesAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stage string
		err   error
		key   string
	}{
		{"to", mailtest.Temporary("try later"), "mail.error.recipient"},
		{"data", mailtest.Temporary("disk full"), "mail.error.content"},
		{"connect", mailtest.Temporary("busy"), "mail.error.answer"},
		// What is about us and not about the mail may be put right by somebody.
		{"from", mailtest.Lasting("not yours"), "mail.error.sender"},
		{"login", mailtest.Lasting("no such user"), "mail.error.login"},
		{"to", mailtest.Lasting("relay access denied"), "mail.error.relay"},
	} {
		t.Run(c.stage+" "+c.key, func(t *testing.T) {
			t.Parallel()
			f, server := newFixture(t), mailtest.New(t, mailtest.Login("backup", "Mail-Password-1"))
			f.use(server)
			times := 1
			if c.stage == "connect" {
				times = 2 // EHLO and HELO
			}
			server.Refuse(refuseFirst(times, c.stage, c.err))
			f.start(f.d, nil)
			f.queue(reset("marie@example.org"))
			r := f.until("refused", func(r mail.Row) bool { return r.State == mail.Waiting && r.Tries == 1 })
			if r.Err == nil || r.Err.Key != c.key {
				t.Errorf("it waits because of %v, want %s", r.Err, c.key)
			}
			if wait := r.NextAt.Sub(f.now()); wait < 50*time.Second || wait > time.Minute {
				t.Errorf("it is tried again in %v, want a minute", wait)
			}
			_, said, _ := strings.Cut(c.err.Error(), ": ")
			if answer := fmt.Sprint(r.Err.Args["answer"]); said == "" || !strings.HasSuffix(answer, said) {
				t.Errorf("the answer %q is given as %q", said, answer)
			}
			f.later(time.Minute)
			server.Wait("marie@example.org", mail.Reset)
			r = f.until("sent", is(mail.Sent))
			if r.Tries != 2 || r.Err != nil {
				t.Errorf("the queue has %+v", r)
			}
			if strings.Contains(f.logged(), "Mail-Password") {
				t.Errorf("the log has the password: %s", f.logged())
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		for _, stage := range []string{"to", "data"} {
			f, server := newFixture(t), mailtest.New(t)
			f.use(server)
			server.Refuse(refuseFirst(1, stage, mailtest.Lasting("no such mailbox")))
			f.start(f.d, nil)
			f.queue(reset("marie@example.org"))
			if r := f.until("given up", is(mail.Failed)); r.Tries != 1 || r.Err == nil {
				t.Errorf("refused at %s the queue has %+v", stage, r)
			}
		}
	})
	t.Run("no address", func(t *testing.T) {
		t.Parallel()
		f, server := newFixture(t), mailtest.New(t)
		f.use(server)
		f.start(f.d, nil)
		f.queue(reset("marie@example.org\r\nBcc: other@example.org"))
		if r := f.until("given up", is(mail.Failed)); r.Err == nil || r.Err.Key != "mail.error.address" {
			t.Errorf("the queue has %+v", r)
		}
	})
	t.Run("after two days", func(t *testing.T) {
		t.Parallel()
		f, server := newFixture(t), mailtest.New(t)
		server.Refuse(refuseFirst(-1, "connect", mailtest.Temporary("closed")))
		f.start(f.d, nil)
		f.queue(reset("marie@example.org"))
		var tries int
		took := time.Duration(0)
		for ; ; tries++ {
			wait, again := mail.After(tries + 1)
			if !again {
				break
			}
			took += wait
		}
		if took < 47*time.Hour || took > 49*time.Hour {
			t.Errorf("given up after %v and %d tries", took, tries)
		}
		f.write(func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE outbox SET tries = $1", tries)
			return err
		})
		f.use(server)
		if r := f.until("given up", is(mail.Failed)); r.Tries != tries+1 || r.Err == nil {
			t.Errorf("the queue has %+v", r)
		}
	})
}

func TestRollback(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	undone := errors.New("undone")
	err := f.d.Write(t.Context(), func(tx *db.Tx) error {
		if err := mail.Queue(t.Context(), tx, f.ring, reset("marie@example.org")); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) || len(f.list(mail.Filter{})) != 0 {
		t.Errorf("%v, and there are %v", err, f.list(mail.Filter{}))
	}
	f.queue(reset(""))
	if n := len(f.list(mail.Filter{})); n != 0 {
		t.Errorf("%d mails to nobody", n)
	}
}

// A mail lacks a value, or has one too many, only by a mistake in the program.
func TestQueueChecksValues(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, m := range []mail.Mail{
		{To: "a@example.org", Template: "gossip"},
		{To: "a@example.org", Template: mail.Reset, Values: map[string]string{"username": "a", "minutes": "3"}},
		{To: "a@example.org", Template: mail.TestMail, Values: map[string]string{"link": "x"}},
		{To: "a@example.org", Template: mail.EmailConfirm, Values: map[string]string{"username": "a", "minutes": "3"}},
	} {
		err := f.d.Write(t.Context(), func(tx *db.Tx) error { return mail.Queue(t.Context(), tx, f.ring, m) })
		if err == nil || errs.Find(err) != nil {
			t.Errorf("Queue(%s, %v) = %v, want a defect", m.Template, m.Values, err)
		}
	}
}

func TestEachMailOnce(t *testing.T) {
	t.Parallel()
	const n = 40
	f, server := newFixture(t), mailtest.New(t)
	f.use(server)
	var mails []mail.Mail
	for i := range n {
		mails = append(mails, reset(fmt.Sprintf("user%d@example.org", i)))
	}
	for range 2 {
		d := dbtest.Open(t, f.dsn)
		f.start(d, nil)
	}
	f.queue(mails...)
	for i := range n {
		server.Wait(fmt.Sprintf("user%d@example.org", i), mail.Reset)
	}
	f.until("all sent", func(mail.Row) bool { return len(f.list(mail.Filter{State: mail.Sent})) == n })
	// Were one sent twice, it would be by now.
	if got := len(server.All()); got != n {
		t.Errorf("%d mails came, want %d", got, n)
	}
	for _, r := range f.list(mail.Filter{}) {
		if r.Tries != 1 {
			t.Errorf("%s was tried %d times", r.To, r.Tries)
		}
	}
}

// A server that died has mails in hand, which another one takes over.
func TestTakesOver(t *testing.T) {
	t.Parallel()
	f, server := newFixture(t), mailtest.New(t)
	f.queue(reset("marie@example.org"))
	f.use(server)
	f.write(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE outbox SET state = 'sending', tries = 1, claimed_at = $1", db.Micros(tx.Now()))
		return err
	})
	f.start(f.d, nil)
	f.later(9 * time.Minute)
	time.Sleep(1500 * time.Millisecond)
	if n := len(server.All()); n != 0 {
		t.Errorf("%d mails were taken from a server that may live", n)
	}
	f.later(time.Minute)
	server.Wait("marie@example.org", mail.Reset)
	if r := f.until("sent", is(mail.Sent)); r.Tries != 2 {
		t.Errorf("the queue has %+v", r)
	}
}

// A server that stops finishes what it has in hand.
func TestStops(t *testing.T) {
	t.Parallel()
	f, server := newFixture(t), mailtest.New(t)
	f.use(server)
	in, out := make(chan bool), make(chan bool)
	server.Refuse(func(stage, _ string) error {
		if stage == "data" {
			in <- true
			<-out
		}
		return nil
	})
	stop := f.start(f.d, nil)
	f.queue(reset("marie@example.org"))
	<-in
	stopped := make(chan bool)
	go func() {
		stop()
		close(stopped)
	}()
	select {
	case <-stopped:
		t.Error("it stopped with a mail in hand")
	case <-time.After(200 * time.Millisecond):
	}
	close(out)
	<-stopped
	if r := f.list(mail.Filter{})[0]; r.State != mail.Sent {
		t.Errorf("the queue has %+v", r)
	}
}

// Without a mail server nothing is tried; what waited is sent when there is one.
func TestWaitsForSettings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.start(f.d, nil)
	f.queue(reset("marie@example.org"))
	time.Sleep(1500 * time.Millisecond)
	if r := f.list(mail.Filter{})[0]; r.State != mail.Waiting || r.Tries != 0 {
		t.Errorf("without settings the queue has %+v", r)
	}
	server := mailtest.New(t)
	f.use(server)
	server.Wait("marie@example.org", mail.Reset)
}

// A dump of the database is no way into an account.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	f, server := newFixture(t), mailtest.New(t)
	code := mail.Mail{To: "marie@example.org", Template: mail.RegistrationCode,
		Values: map[string]string{"username": "marie", "code": "402913", "minutes": "10"}}
	f.queue(reset("marie@example.org"), code)
	dump := func() (all string) {
		f.t.Helper()
		f.write(func(ctx context.Context, tx *db.Tx) error {
			rows, err := tx.Query(ctx, "SELECT number, org, user_id, template, recipient, COALESCE(body, $1), error FROM outbox", []byte{})
			if err != nil {
				return err
			}
			defer rows.Close()
			all = ""
			for rows.Next() {
				var number int64
				var org, user, template, to, problem string
				var body []byte
				if err := rows.Scan(&number, &org, &user, &template, &to, &body, &problem); err != nil {
					return err
				}
				all += fmt.Sprintln(number, org, user, template, to, string(body), problem)
			}
			return rows.Err()
		})
		if path, ok := strings.CutPrefix(f.dsn, "sqlite:"); ok {
			for _, suffix := range []string{"", "-wal"} {
				file, err := os.ReadFile(path + suffix)
				if err != nil {
					t.Fatal(err)
				}
				all += string(file)
			}
		}
		return all
	}
	clear := func(when, all string) {
		t.Helper()
		if !strings.Contains(all, "marie@example.org") {
			t.Fatalf("%s the dump lacks the mails", when)
		}
		for _, secret := range []string{"c2VjcmV0LXRva2Vu", "402913", "/link?"} {
			if strings.Contains(all, secret) {
				t.Errorf("%s the database has %q", when, secret)
			}
		}
	}
	clear("waiting", dump())
	f.use(server)
	f.start(f.d, nil)
	server.Wait("marie@example.org", mail.Reset)
	server.Wait("marie@example.org", mail.RegistrationCode)
	f.until("sent", func(mail.Row) bool { return len(f.list(mail.Filter{State: mail.Sent})) == 2 })
	clear("sent", dump())
	f.write(func(ctx context.Context, tx *db.Tx) error {
		var n int
		err := tx.QueryRow(ctx, "SELECT count(*) FROM outbox WHERE body IS NOT NULL").Scan(&n)
		if n != 0 {
			t.Errorf("%d mails that were sent can still be read", n)
		}
		return err
	})
}

func TestCampaign(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mails []mail.Mail
	for i := range 10 {
		mails = append(mails, mail.Mail{To: fmt.Sprintf("user%d@example.org", i), User: access.UserID(fmt.Sprint(i)), Template: mail.SecurityReset,
			Values: map[string]string{"username": "u", "window": "w", "since": "s", "link": "https://a.example", "contact": "c"}})
	}
	mails[3].To = ""
	for range 2 {
		f.write(func(ctx context.Context, tx *db.Tx) error { return mail.QueueAll(ctx, tx, f.ring, mails) })
	}
	list := f.list(mail.Filter{})
	if len(list) != 18 {
		t.Fatalf("%d mails wait, want 18", len(list))
	}
	for i := range 17 {
		if gap := list[i].NextAt.Sub(list[i+1].NextAt); gap < 200*time.Millisecond {
			t.Errorf("%s follows %s by %v", list[i].To, list[i+1].To, gap)
		}
	}
	if spread := list[0].NextAt.Sub(list[17].NextAt); spread > 5*time.Second {
		t.Errorf("18 mails take %v", spread)
	}
}

func TestWorks(t *testing.T) {
	t.Parallel()
	f, server := newFixture(t), mailtest.New(t)
	works := func(when string, want bool) {
		t.Helper()
		f.write(func(ctx context.Context, tx *db.Tx) error {
			got, err := mail.Works(ctx, tx)
			if got != want {
				t.Errorf("%s: it works is %v", when, got)
			}
			return err
		})
	}
	record := func(failure error) {
		t.Helper()
		f.later(time.Second)
		f.write(func(ctx context.Context, tx *db.Tx) error {
			return mail.RecordTest(ctx, tx, admin, "admin@example.org", "fr", failure)
		})
	}
	works("without settings", false)
	f.use(server)
	works("never tried", false)
	record(errs.New(errs.Unavailable, "mail.error.refused", "host", "h", "port", "25"))
	works("after a test that failed", false)
	record(nil)
	works("after a test", true)
	server.Refuse(refuseFirst(1, "to", mailtest.Lasting("no such mailbox")))
	f.start(f.d, nil)
	f.queue(reset("gone@example.org"))
	f.until("given up", is(mail.Failed))
	works("after a wrong address", true)
	server.Refuse(refuseFirst(1, "from", mailtest.Lasting("not yours")))
	f.queue(reset("marie@example.org"))
	f.until("refused", func(r mail.Row) bool { return r.Err != nil })
	works("after the server refused us", false)
	f.later(time.Minute)
	f.until("sent", is(mail.Sent))
	works("in the end", true)
	f.later(time.Second)
	f.write(func(ctx context.Context, tx *db.Tx) error {
		return settings.Change(ctx, tx, admin, func(s *settings.Settings) error {
			s.Mail.From = "other@backstay.example"
			return nil
		})
	})
	works("with other settings", false)
}
