package mail_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
)

func TestList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 5 {
		m := reset(fmt.Sprintf("user%d@example.org", i))
		m.User = access.UserID(fmt.Sprint("u", i%2))
		f.queue(m)
	}
	to := func(list []mail.Row) (s string) {
		for _, r := range list {
			s += r.To[4:5]
		}
		return s
	}
	first := f.list(mail.Filter{Limit: 2})
	if to(first) != "43" {
		t.Fatalf("the first page is %s", to(first))
	}
	if rest := f.list(mail.Filter{Before: first[1].Number}); to(rest) != "210" {
		t.Errorf("the second page is %s", to(rest))
	}
	if got := to(f.list(mail.Filter{User: "u1"})); got != "31" {
		t.Errorf("of one user there are %s", got)
	}
	if got := to(f.list(mail.Filter{State: mail.Failed})); got != "" {
		t.Errorf("failed are %s", got)
	}
	f.write(func(ctx context.Context, tx *db.Tx) error {
		counts, err := mail.Counts(ctx, tx, admin)
		if counts[mail.Waiting] != 5 || counts[mail.Sent] != 0 {
			t.Errorf("counted %v", counts)
		}
		return err
	})
}

func TestOnlyServerAdministratorsSeeTheQueue(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.queue(reset("marie@example.org"))
	for _, by := range []access.Caller{
		{},
		{Kind: access.UserKind, User: "u", Org: "o"},
		{Kind: access.AdminKind, User: "b", Org: "o", Role: access.OrgAdmin},
	} {
		for what, do := range map[string]func(ctx context.Context, tx *db.Tx) error{
			"List": func(ctx context.Context, tx *db.Tx) error {
				_, err := mail.List(ctx, tx, by, mail.Filter{})
				return err
			},
			"Counts": func(ctx context.Context, tx *db.Tx) error {
				_, err := mail.Counts(ctx, tx, by)
				return err
			},
			"Retry": func(ctx context.Context, tx *db.Tx) error { return mail.Retry(ctx, tx, by, 1) },
			"Drop":  func(ctx context.Context, tx *db.Tx) error { return mail.Drop(ctx, tx, by, 1) },
			"Test":  func(ctx context.Context, tx *db.Tx) error { return mail.RecordTest(ctx, tx, by, "x", "en", nil) },
		} {
			err := f.d.Write(t.Context(), func(tx *db.Tx) error { return do(t.Context(), tx) })
			if kind := errs.KindOf(err); kind != errs.NotFound && kind != errs.Unauthenticated {
				t.Errorf("%s by %+v = %v", what, by, err)
			}
		}
	}
	if r := f.list(mail.Filter{}); len(r) != 1 || r[0].State != mail.Waiting {
		t.Errorf("the queue has %+v", r)
	}
}

// audited are the changes that were recorded about the queue, oldest last.
func (f *fixture) audited() (said []string) {
	f.t.Helper()
	f.write(func(ctx context.Context, tx *db.Tx) error {
		rows, err := audit.List(ctx, tx, admin, audit.Filter{Object: "mail"})
		said = nil
		for _, r := range rows {
			said = append(said, fmt.Sprint(r.ObjectID, " ", r.Outcome, " ", r.Details))
		}
		return err
	})
	return said
}

func TestRetryAndDrop(t *testing.T) {
	t.Parallel()
	f, server := newFixture(t), mailtest.New(t)
	f.use(server)
	server.Refuse(refuseFirst(1, "to", mailtest.Lasting("mailbox full")))
	f.start(f.d, nil)
	f.queue(reset("marie@example.org"))
	r := f.until("given up", is(mail.Failed))
	do := func(what func(context.Context, *db.Tx, access.Caller, int64) error, number int64) error {
		return f.d.Write(t.Context(), func(tx *db.Tx) error { return what(t.Context(), tx, admin, number) })
	}
	if err := do(mail.Retry, r.Number); err != nil {
		t.Fatal(err)
	}
	if m := server.Wait("marie@example.org", mail.Reset); m.Link() != resetLink {
		t.Errorf("the link is %s", m.Link())
	}
	f.until("sent", is(mail.Sent))
	for what, f := range map[string]func(context.Context, *db.Tx, access.Caller, int64) error{"Retry": mail.Retry, "Drop": mail.Drop} {
		if err := do(f, r.Number); errs.KindOf(err) != errs.Conflict {
			t.Errorf("%s of a mail that was sent = %v", what, err)
		}
		if err := do(f, 99); errs.KindOf(err) != errs.NotFound {
			t.Errorf("%s of no mail = %v", what, err)
		}
	}
	later := reset("later@example.org")
	later.NotBefore = f.now().Add(time.Hour)
	f.queue(later)
	number := f.list(mail.Filter{})[0].Number
	if err := do(mail.Drop, number); err != nil {
		t.Fatal(err)
	}
	if err := do(mail.Retry, number); errs.KindOf(err) != errs.Conflict {
		t.Errorf("Retry of a mail that was dropped = %v", err)
	}
	if r := f.list(mail.Filter{})[0]; r.State != mail.Dropped {
		t.Errorf("the queue has %+v", r)
	}
	said := f.audited()
	if len(said) != 2 || !strings.Contains(said[0], "drop") || !strings.Contains(said[1], "retry") || !strings.Contains(said[1], "marie@example.org") {
		t.Errorf("the audit has %q", said)
	}
	if all := fmt.Sprint(said); strings.Contains(all, "token") {
		t.Errorf("the audit has the link: %s", all)
	}
}

func TestRecordTest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write(func(ctx context.Context, tx *db.Tx) error {
		return mail.RecordTest(ctx, tx, admin, "admin@example.org", "fr", errs.New(errs.Unavailable, "mail.error.refused", "host", "h", "port", "25"))
	})
	r := f.list(mail.Filter{})[0]
	if r.State != mail.Failed || r.Template != mail.TestMail || r.Language != "fr" || r.Err.Key != "mail.error.refused" || r.Err.Args["port"] != "25" {
		t.Errorf("the queue has %+v", r)
	}
	if said := f.audited(); len(said) != 1 || !strings.HasPrefix(said[0], "test failed") {
		t.Errorf("the audit has %q", said)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	f, server := newFixture(t), mailtest.New(t)
	server.Refuse(func(stage, who string) error {
		if stage == "to" && strings.HasPrefix(who, "bad") {
			return mailtest.Lasting("no such mailbox")
		}
		return nil
	})
	f.use(server)
	to := func(user access.UserID, address string) {
		m := reset(address)
		m.User = user
		f.queue(m)
	}
	to("once", "bad@example.org")
	to("mended", "bad@example.org")
	to("mended", "good@example.org")
	to("worse", "good@example.org")
	to("worse", "bad@example.org")
	to("fine", "good@example.org")
	to("other", "bad@example.org")
	f.start(f.d, nil)
	f.until("done", func(mail.Row) bool {
		return len(f.list(mail.Filter{State: mail.Failed}))+len(f.list(mail.Filter{State: mail.Sent})) == 7
	})
	once := f.list(mail.Filter{User: "once"})[0].Number
	f.write(func(ctx context.Context, tx *db.Tx) error {
		got, err := mail.Failures(ctx, tx, []access.UserID{"once", "mended", "worse", "fine", "nobody"})
		if err != nil {
			return err
		}
		if len(got) != 2 || got["once"] == nil || got["worse"] == nil || got["worse"].Key != "mail.error.recipient" {
			t.Errorf("failures: %v", got)
		}
		// What was taken out counts no more.
		if err := mail.Drop(ctx, tx, admin, once); err != nil {
			return err
		}
		none, err := mail.Failures(ctx, tx, []access.UserID{"once"})
		if len(none) != 0 {
			t.Errorf("failures after a drop: %v", none)
		}
		if err != nil {
			return err
		}
		none, err = mail.Failures(ctx, tx, nil)
		if len(none) != 0 {
			t.Errorf("failures of nobody: %v", none)
		}
		return err
	})
}

func TestExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.queue(reset("marie@example.org"))
	f.write(func(ctx context.Context, tx *db.Tx) error {
		return mail.RecordTest(ctx, tx, admin, "admin@example.org", "en", nil)
	})
	expire := func(after time.Duration, want int64) {
		t.Helper()
		f.later(after)
		f.write(func(ctx context.Context, tx *db.Tx) error {
			n, err := mail.Expire(ctx, tx)
			if n != want {
				t.Errorf("%v later Expire = %d, want %d", after, n, want)
			}
			return err
		})
	}
	day := 24 * time.Hour
	expire(day, 0)
	expire(day+time.Minute, 1) // never tried: there is no mail server
	if r := f.list(mail.Filter{})[1]; r.State != mail.Failed || r.Err == nil || r.Err.Key != "mail.error.late" {
		t.Errorf("the queue has %+v", r)
	}
	expire(time.Minute, 0)
	expire(5*day, 1) // it cannot be tried again
	f.write(func(ctx context.Context, tx *db.Tx) error {
		err := mail.Retry(ctx, tx, admin, 1)
		if errs.KindOf(err) != errs.Conflict {
			t.Errorf("Retry of an empty mail = %v", err)
		}
		return nil
	})
	expire(30*day, 2)
	if list := f.list(mail.Filter{}); len(list) != 0 {
		t.Errorf("the queue has %+v", list)
	}
}
