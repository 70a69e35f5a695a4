package signin_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
)

// forgot asks for a link, and returns the mails that there are of a template.
func (w *world) forgot(ip, username string, of mail.Template) (list []mail.Mail) {
	w.Helper()
	if err := w.g.ForgotPassword(w.Context(), access.Caller{IP: ip}, username); err != nil {
		w.Fatal(err)
	}
	return w.mailsOf(of)
}

func (w *world) mailsOf(of mail.Template) (list []mail.Mail) {
	w.Helper()
	for _, m := range w.mails() {
		if m.Template == of {
			list = append(list, m)
		}
	}
	return list
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	session, known := w.come("una"), ""
	known = session.Known
	w.fail("203.0.113.1", "una", 10)
	mails := w.forgot("192.0.2.1", " UNA ", mail.Reset)
	if len(mails) != 1 || mails[0].To != "una@example.org" || mails[0].Values["username"] != "una" || mails[0].Values["minutes"] != "30" {
		t.Fatalf("mailed: %+v", mails)
	}
	token := w.Token(mails[0].Values["link"], "/password")
	if !strings.HasPrefix(mails[0].Values["link"], "https://backup.example.org/password?token=") {
		t.Errorf("the link is %s", mails[0].Values["link"])
	}
	for range 3 { // as scanners do
		page, err := w.g.Link(t.Context(), token)
		if err != nil || page.Username != "una" || page.Purpose != accounts.ForReset {
			t.Fatalf("Link = %+v, %v", page, err)
		}
	}
	if err := w.g.SetPasswordByLink(t.Context(), from, token, "short"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a password that breaks the policy: %v", err)
	}
	if err := w.g.SetPasswordByLink(t.Context(), from, token, "Another one 2"); err != nil {
		t.Fatalf("the link after a refused password: %v", err)
	}
	if w.in(accounts.ToPortal, session.Token) {
		t.Error("a session goes on")
	}
	if _, err := w.try("192.0.2.1", "", "una", "Another one 2"); err != nil {
		t.Errorf("the lock holds on, or: %v", err)
	}
	w.fail("203.0.113.1", "una", 10)
	if wait, _ := w.try("192.0.2.1", known, "una", "Another one 2"); wait == 0 {
		t.Error("the browser of before is still known")
	}
	if got := w.mailsOf(mail.PasswordChanged); len(got) != 1 || got[0].To != "una@example.org" || got[0].Values["ip"] != from.IP {
		t.Errorf("the owner was told %+v", got)
	}
	for name, bad := range map[string]string{"again": token, "cut": token[:42], "with a space": token + " ", "in another case": strings.ToUpper(token), "empty": ""} {
		if err := w.g.SetPasswordByLink(t.Context(), from, bad, "Another one 3"); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("the link %s: %v", name, err)
		}
		if _, err := w.g.Link(t.Context(), bad); !errs.Is(err, errs.LinkExpired) {
			t.Errorf("the page of the link %s: %v", name, err)
		}
	}
	for _, row := range w.Audit(audit.Filter{Owner: u.ID, Limit: 500}) {
		if strings.Contains(fmt.Sprint(row), token) {
			t.Error("the token is in the audit")
		}
	}
}

// The newest link counts, for half an hour.
func TestNewestLinkCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.User("una")
	w.forgot("192.0.2.1", "una", mail.Reset)
	mails := w.forgot("192.0.2.1", "una", mail.Reset)
	first, second := w.Token(mails[0].Values["link"], "/password"), w.Token(mails[1].Values["link"], "/password")
	if err := w.g.SetPasswordByLink(t.Context(), from, first, "Another one 2"); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("the older link: %v", err)
	}
	w.Move(30*time.Minute - time.Second)
	if _, err := w.g.Link(t.Context(), second); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	w.Move(time.Second)
	if err := w.g.SetPasswordByLink(t.Context(), from, second, "Another one 2"); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("after its end: %v", err)
	}
}

// Of a hundred who use a link at once, one succeeds.
func TestLinkWorksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Hasher.Waiting = 200
	w.User("una")
	token := w.Token(w.forgot("192.0.2.1", "una", mail.Reset)[0].Values["link"], "/password")
	var mu sync.Mutex
	set := 0
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			err := w.g.SetPasswordByLink(t.Context(), from, token, fmt.Sprintf("Password no %d", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				set++
			case !errs.Is(err, errs.LinkExpired) && !errs.Is(err, errs.ServerBusy) && errs.KindOf(err) != errs.Conflict:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if set != 1 {
		t.Errorf("the link worked %d times", set)
	}
}

// Who is not active gets no link, and nobody is told.
func TestForgottenIsNeutral(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.Put(w.User("disabled").ID, accounts.Disabled)
	w.Put(w.User("preserved").ID, accounts.Preserved)
	if _, err := w.Create(system, accounts.New{Username: "pending", Email: "p@example.org", State: accounts.Pending, PasswordHash: w.Hash(password)}); err != nil {
		t.Fatal(err)
	}
	deleted := w.User("deleted")
	w.Write(func(tx *db.Tx) error {
		return accounts.Delete(t.Context(), tx, system, deleted.ID, "not needed any more")
	})
	for i, name := range []string{"disabled", "preserved", "pending", "deleted", "nobody", "", "a\x00\xff", strings.Repeat("a", 5000)} {
		if err := w.g.ForgotPassword(t.Context(), access.Caller{IP: fmt.Sprintf("192.0.2.%d", i)}, name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := w.mails(); len(got) != 0 {
		t.Errorf("mailed: %+v", got)
	}
	// Who was invited gets the invitation again.
	w.invite("ivo", "Bofad-Likum-Zarev-42", time.Hour)
	got := w.forgot("192.0.2.1", "ivo", mail.Activation)
	if len(got) != 1 {
		t.Fatalf("invited: %+v", w.mails())
	}
	if err := w.g.SetPasswordByLink(t.Context(), from, w.Token(got[0].Values["link"], "/password"), password); err != nil || w.Named("ivo").State != accounts.Active {
		t.Errorf("the invitation: %v", err)
	}
	// A link is worth nothing once its account was stopped.
	una := w.User("una")
	token := w.Token(w.forgot("192.0.2.1", "una", mail.Reset)[0].Values["link"], "/password")
	w.Put(una.ID, accounts.Disabled)
	if err := w.g.SetPasswordByLink(t.Context(), from, token, "Another one 2"); !errs.Is(err, errs.LinkExpired) {
		t.Errorf("the link of a disabled account: %v", err)
	}
}

// Three mails an hour to one account, twenty for one address of the network.
func TestAskingIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	w.User("una")
	for i, name := range []string{"una", "UNA", "una@example.org", "una", "una"} {
		w.forgot(fmt.Sprintf("192.0.2.%d", i), name, mail.Reset)
	}
	if got := len(w.mailsOf(mail.Reset)); got != 3 {
		t.Errorf("one account got %d mails in an hour", got)
	}
	w.Move(time.Hour)
	if got := len(w.forgot("192.0.2.1", "una", mail.Reset)); got != 4 {
		t.Errorf("an hour later it has %d", got)
	}
	for i := range 25 {
		name := fmt.Sprintf("user%d", i)
		w.User(name)
		w.forgot("198.51.100.1", name, mail.Reset)
	}
	if got := len(w.mailsOf(mail.Reset)); got != 4+20 {
		t.Errorf("one host had %d mails sent", got-4)
	}
}

func TestForgottenUsername(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"one", "two"} {
		if _, err := w.Create(system, accounts.New{Username: name, Email: "team@example.org", PasswordHash: w.Hash(password)}); err != nil {
			t.Fatal(err)
		}
	}
	w.Put(w.Named("two").ID, accounts.Disabled)
	if _, err := w.Create(system, accounts.New{Username: "three", Email: "TEAM@example.org", PasswordHash: w.Hash(password)}); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{" Team@Example.org ", "nobody@example.org", "one", ""} {
		if err := w.g.ForgotUsername(t.Context(), from, address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	got := w.mailsOf(mail.Usernames)
	if len(got) != 1 || got[0].Values["usernames"] != "one\nthree" || !strings.EqualFold(got[0].To, "team@example.org") {
		t.Errorf("mailed: %+v", got)
	}
}

// The answer comes before the work, so that its time tells nothing.
func TestAnswerComesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	begun, end := make(chan struct{}), make(chan struct{})
	go w.DB.Write(t.Context(), func(tx *db.Tx) error { // nothing else is written meanwhile
		close(begun)
		<-end
		return nil
	})
	<-begun
	for _, name := range []string{"una", "nobody"} {
		if err := w.g.ForgotPassword(t.Context(), from, name); err != nil {
			t.Error(err)
		}
		if err := w.g.ForgotUsername(t.Context(), from, name+"@example.org"); err != nil {
			t.Error(err)
		}
	}
	close(end)
	if len(w.mails()) != 2 {
		t.Error("what was asked for was not done")
	}
	// More than can wait is told so, whoever is asked about.
	blocked := make(chan struct{})
	go w.DB.Write(t.Context(), func(tx *db.Tx) error {
		close(blocked)
		time.Sleep(200 * time.Millisecond)
		return nil
	})
	<-blocked
	w.flood()
	w.g.Wait()
}

// flood asks for more than can wait while the database is busy.
func (w *world) flood() {
	w.Helper()
	busy := 0
	for range 300 {
		if err := w.g.ForgotPassword(w.Context(), from, "nobody"); errs.Is(err, errs.ServerBusy) {
			busy++
		}
	}
	if busy == 0 && w.DB.Kind() == "SQLite" {
		w.Error("any number of questions can wait")
	}
}

// Who asks for more than can be done keeps nobody else from asking.
func TestFloodIsOfOneHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	begun, end := make(chan struct{}), make(chan struct{})
	go w.DB.Write(t.Context(), func(tx *db.Tx) error {
		close(begun)
		<-end
		return nil
	})
	<-begun
	w.flood()
	if err := w.g.ForgotPassword(t.Context(), access.Caller{IP: "203.0.113.77"}, "una"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	close(end)
	w.g.Wait()
}

func TestSendReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, vic := w.User("una"), w.User("vic")
	ada := w.Admin("ada", access.OrgAdmin)
	send := func(by access.Caller, noMail bool) (link string, err error) {
		err = w.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
			link, err = w.g.SendReset(t.Context(), tx, by, u.ID, noMail)
			return err
		})
		return link, err
	}
	if _, err := send(vic.Caller(from), true); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a colleague: %v", err)
	}
	if link, err := send(ada.Caller(from), false); err != nil || link != "" || len(w.mailsOf(mail.Reset)) != 1 {
		t.Errorf("mailed: %q, %v", link, err)
	}
	if s := w.come("una"); s.Session.Stage != accounts.StagePassword {
		t.Errorf("with the old password the session may do %q", s.Session.Stage)
	}
	link, err := send(ada.Caller(from), true)
	if err != nil || len(w.mailsOf(mail.Reset)) != 1 {
		t.Fatalf("to copy: %v", err)
	}
	if err := w.g.SetPasswordByLink(t.Context(), from, w.Token(link, "/password"), "Another one 2"); err != nil {
		t.Error(err)
	}
	w.Write(func(tx *db.Tx) error {
		err := settings.Change(t.Context(), tx, system, func(s *settings.Settings) error {
			s.Mail = settings.Mail{Host: "mail.example.org", Port: 587, Security: "starttls", From: "backup@example.org"}
			return nil
		})
		if err != nil {
			return err
		}
		return mail.RecordTest(t.Context(), tx, system, "ada@example.org", "en", nil)
	})
	if link, err := send(ada.Caller(from), true); errs.KindOf(err) != errs.Conflict || link != "" {
		t.Errorf("to copy while mail works: %v", err)
	}
	w.Put(u.ID, accounts.Disabled)
	if _, err := send(ada.Caller(from), false); errs.KindOf(err) != errs.Conflict {
		t.Errorf("of a disabled account: %v", err)
	}
}

// Policies, history and expiry hold where a password is set.
func TestPoliciesHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop()
	u := w.User("una")
	s := w.come("una")
	change := func(old, password string) error {
		return w.g.ChangePassword(t.Context(), w.by(s), s.Session, old, password)
	}
	if err := change(password, "Una-2026!"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("the own name: %v", err)
	}
	// A stricter policy lets in, and has the password changed.
	w.Set(func(set *settings.Settings) { set.SignIn.UserPolicy = "modern"; set.SignIn.History = 2 })
	const one, two, three, four = "Strong one of mine", "Strong two of mine", "Strong three of mine", "Strong four of mine"
	hash := w.Hash("Weaker one 1")
	w.Write(func(tx *db.Tx) error { return accounts.SetPassword(t.Context(), tx, system, u.ID, hash, false) })
	s = w.comeBy(accounts.ToPortal, "una", "Weaker one 1")
	if s.Session.Stage != accounts.StagePassword {
		t.Fatalf("with a password of before the policy: %q", s.Session.Stage)
	}
	if _, err := w.login(accounts.ToClient, "una", "Weaker one 1"); !errs.Is(err, errs.PasswordChange) {
		t.Errorf("at the client: %v", err)
	}
	s, err := w.g.SetFirstPassword(t.Context(), w.by(s), s.Session, one)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, password string
		ok            bool
	}{{one, one, false}, {one, two, true}, {two, one, false}, {two, three, true}, {three, one, false}, {three, two, false},
		{three, four, true}, {four, two, false}, {four, one, true}} {
		w.Move(time.Minute)
		if err := change(c.old, c.password); (err == nil) != c.ok {
			t.Errorf("from %q to %q: %v, want ok %v", c.old, c.password, err, c.ok)
		}
	}
	w.Set(func(set *settings.Settings) { set.SignIn.ExpiryDays = 10 })
	w.Move(10*24*time.Hour - time.Hour)
	if s := w.comeBy(accounts.ToPortal, "una", one); s.Session.Stage != accounts.StageDone {
		t.Errorf("on the last day: %q", s.Session.Stage)
	}
	w.Move(time.Hour)
	if s := w.comeBy(accounts.ToPortal, "una", one); s.Session.Stage != accounts.StagePassword {
		t.Errorf("after it: %q", s.Session.Stage)
	}
}

// The owner hears of a change, and other sessions end.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.User("una")
	here, there := w.come("una"), w.come("una")
	if err := w.g.ChangePassword(t.Context(), w.by(here), here.Session, password, "Another one 2"); err != nil {
		t.Fatal(err)
	}
	if !w.in(accounts.ToPortal, here.Token) || w.in(accounts.ToPortal, there.Token) {
		t.Error("not exactly the other session ended")
	}
	if got := w.mailsOf(mail.PasswordChanged); len(got) != 1 {
		t.Errorf("mailed: %+v", w.mails())
	}
	// With a second factor, an old proof is none.
	w.stop()
	secret := w.app(w.Find(here.Session.User))
	err := w.g.ChangePassword(t.Context(), w.by(here), here.Session, "Another one 2", "Another one 3")
	if e := errs.Find(err); e == nil || e.Key != "login.stepup" {
		t.Errorf("without the second factor: %v", err)
	}
	strong, err := w.g.StepUp(t.Context(), w.by(here), here.Session, "", w.code(secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.g.ChangePassword(t.Context(), w.by(strong), strong.Session, "Another one 2", "Another one 3"); err != nil {
		t.Errorf("with it: %v", err)
	}
}
