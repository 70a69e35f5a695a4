package authattack_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/factors/factorstest"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
)

// hundred is how many try the same secret at once.
const hundred = 100

// race has n do the same at once, and returns for how many it worked.
func (w *world) race(n int, try func() answer) int {
	w.Helper()
	var worked atomic.Int64
	together(n, func(int) func() {
		return func() {
			if a := try(); a.StatusCode == http.StatusSeeOther {
				worked.Add(1)
			}
		}
	})
	return int(worked.Load())
}

// A link works once, for what it is for, and only the newest.
func links(t testing.TB) {
	w := newWorld(t)
	w.account(accounts.New{Kind: access.UserKind, Username: "other", Email: "other@example.org"})
	b := w.browser()
	use := func(token string) answer {
		return b.post("/password", "token", token, "password", "Another-Password-1", "again", "Another-Password-1")
	}
	gone := func(what, token string) {
		t.Helper()
		if a := use(token); a.StatusCode != http.StatusGone {
			t.Errorf("%s = %s", what, a.Status)
		}
	}
	b.post("/forgot", "username", "user")
	first := w.token(mail.Reset)
	b.post("/forgot", "username", "user")
	token := w.token(mail.Reset)
	gone("the link before the newest", first)
	// A scanner of mails looks at every link.
	for range 3 {
		b.get("/password?token=" + url.QueryEscape(token))
		b.do(b.request("HEAD", "/password?token="+url.QueryEscape(token), nil))
	}
	if a := b.post("/email/undo", "token", token); a.StatusCode != http.StatusGone {
		t.Errorf("a link for a password, to undo an address = %s", a.Status)
	}
	for what, wrong := range map[string]string{"shorter": token[:len(token)-1], "longer": token + "A", "upper case": strings.ToUpper(token), "nothing": "", "the table's": "0"} {
		gone(what, wrong)
	}
	sessions := w.browser().login("user")
	if n := w.race(hundred, func() answer { return use(token) }); n != 1 {
		t.Errorf("a link for a password worked %d times", n)
	}
	gone("a link that was used", token)
	if sessions.in() {
		t.Error("a session outlived the new password")
	}
	if b.session() != "" && b.in() {
		t.Error("the link logged somebody in")
	}

	b.post("/forgot", "username", "other")
	token = w.token(mail.Reset)
	w.wait(30 * time.Minute)
	gone("a link of half an hour ago", token)

	// An activation, whose account is made anew: the old link is worth nothing.
	var link string
	u := w.invited("newcomer")
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		link, err = accounts.Invite(ctx, tx, system, w.Keys, w.URL, u.ID, accounts.InviteOptions{NoMail: true})
		return err
	})
	parsed, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	token = parsed.Query().Get("token")
	if n := w.race(hundred, func() answer { return use(token) }); n != 1 {
		t.Errorf("an activation worked %d times", n)
	}
	gone("an activation that was used", token)
	w.replacedAccount(use)
	// The second factor is asked for all the same.
	w.app(w.User)
	b.post("/forgot", "username", "user")
	if a := use(w.token(mail.Reset)); a.StatusCode == http.StatusSeeOther {
		if b := w.browser(); b.try("user", "Another-Password-1").to() != "/factor" {
			t.Error("a mailed link got past the second factor")
		}
	}
}

// replacedAccount makes accounts anew under the name of one that is gone: the
// links and codes of the old one are worth nothing.
func (w *world) replacedAccount(use func(token string) answer) {
	w.Helper()
	u := w.invited("phoenix")
	var link string
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		link, err = accounts.Invite(ctx, tx, system, w.Keys, w.URL, u.ID, accounts.InviteOptions{NoMail: true})
		return err
	})
	parsed, err := url.Parse(link)
	if err != nil {
		w.Fatal(err)
	}
	w.write(func(ctx context.Context, tx *db.Tx) error {
		return accounts.Delete(ctx, tx, system, u.ID, "gone for good")
	})
	if a := use(parsed.Query().Get("token")); a.StatusCode != http.StatusGone {
		w.Errorf("an activation of an account that is deleted = %s", a.Status)
	}
	w.wait(8 * 24 * time.Hour)
	w.write(func(ctx context.Context, tx *db.Tx) error { _, err := accounts.Purge(ctx, tx); return err })
	w.wait(91 * 24 * time.Hour) // a name is kept for so long
	w.invited("phoenix")
	if a := use(parsed.Query().Get("token")); a.StatusCode != http.StatusGone {
		w.Errorf("an activation of the account that had the name before = %s", a.Status)
	}
}

// invited is an account without a password.
func (w *world) invited(username string) (u accounts.User) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		u, err = accounts.Create(ctx, tx, system, w.Keys, accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: username, Email: username + "@example.org"})
		return err
	})
	return u
}

// A code of an app or of the recovery sheet lets one in of many who have it.
func codes(t testing.TB) {
	w := newWorld(t)
	secret := w.app(w.User)
	var sheet []string
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		sheet, err = w.Gate.Factors.NewRecoveryCodes(ctx, tx, caller(w.User))
		return err
	})
	for _, what := range []string{factors.ByTOTP, factors.ByRecovery} {
		// Made when all are ready: an app's code lasts half a minute.
		code := sync.OnceValue(func() string {
			if what == factors.ByTOTP {
				return w.code(secret)
			}
			return sheet[0]
		})
		var in atomic.Int64
		together(20, func(int) func() { // each has given the password
			b := w.browser().half("user")
			return func() {
				if a := b.post("/factor", "code", code()); a.StatusCode == http.StatusSeeOther && b.in() {
					in.Add(1)
				}
			}
		})
		if in.Load() != 1 {
			t.Errorf("%s: %d got in by one code", what, in.Load())
		}
		w.wait(time.Hour) // no lock is in the way of what follows
		b := w.browser().half("user")
		if a := b.post("/factor", "code", code()); a.StatusCode == http.StatusSeeOther {
			t.Errorf("%s: the code is good once more", what)
		}
		w.wait(time.Hour)
	}
	// An old one is none, whatever was used.
	b := w.browser().half("user")
	old := factorstest.Code(t, secret, w.clock().Add(-2*step))
	if a := b.post("/factor", "code", old); a.StatusCode == http.StatusSeeOther {
		t.Error("a code of a minute ago is good")
	}
	// What one browser was asked, another does not answer.
	w.wait(time.Hour)
	if a := w.browser().post("/factor", "code", w.code(secret)); !refused(a) {
		t.Errorf("a code without a session = %s", a.Status)
	}
}

// A registration's code is for that registration, five tries, ten minutes.
func registrations(t testing.TB) {
	w := newWorld(t)
	w.settings(func(s *settings.Settings) error {
		s.Registration.Mode, s.Registration.Org, s.Registration.Domains = settings.RegistrationOpen, w.Org.ID, []string{"example.org"}
		return nil
	})
	ctx := t.Context()
	begin := func(name string) (pending, code string) {
		t.Helper()
		b := w.browser()
		pending, err := w.Gate.Register(ctx, access.Caller{IP: b.ip}, signin.Registration{Email: name + "@example.org", Username: name,
			FirstName: name, LastName: "Body", Password: "Some-Password-1"})
		if err != nil {
			t.Fatal(err)
		}
		return pending, w.letter(mail.RegistrationCode)["code"]
	}
	confirm := func(pending, code string) answer {
		return w.browser().post("/register/code?id="+url.QueryEscape(pending), "code", code)
	}
	annes, anne := begin("anne")
	berts, bert := begin("bert")
	if anne != bert {
		if a := confirm(annes, bert); a.StatusCode == http.StatusSeeOther {
			t.Error("the code of another registration is good")
		}
	}
	if a := confirm(annes+"x", anne); a.StatusCode == http.StatusSeeOther {
		t.Error("a registration that was made up is good")
	}
	if n := w.race(hundred, func() answer { return confirm(berts, bert) }); n != 1 {
		t.Errorf("a registration was confirmed %d times", n)
	}
	for range 5 {
		confirm(annes, wrong(anne))
	}
	if a := confirm(annes, anne); a.StatusCode == http.StatusSeeOther {
		t.Error("the right code is good after five wrong ones")
	}
	claires, claire := begin("claire")
	w.wait(10 * time.Minute)
	if a := confirm(claires, claire); a.StatusCode == http.StatusSeeOther {
		t.Error("a code of ten minutes ago is good")
	}
}

// wrong is another code of as many digits.
func wrong(code string) string {
	digits := []byte(code)
	digits[0] = '0' + (digits[0]-'0'+1)%10
	return string(digits)
}

// addresses: the code for a new address and the link that takes it back work
// once, for whom they are meant.
func addresses(t testing.TB) {
	w := newWorld(t)
	w.account(accounts.New{Kind: access.UserKind, Username: "other", Email: "other@example.org"})
	b, other := w.browser().login("user"), w.browser().login("other")
	ask := func(b *browser, address string) string {
		t.Helper()
		if a := b.post("/account/email", "email", address); a.to() != "/account/email" {
			t.Fatalf("asking for another address = %s %s", a.Status, a.problem())
		}
		return w.letter(mail.EmailConfirm)["code"]
	}
	first := ask(b, "first@example.org")
	w.wait(2 * time.Minute)
	second := ask(b, "second@example.org")
	others := ask(other, "third@example.org")
	if first != second {
		if a := b.post("/account/email/code", "code", first); a.StatusCode == http.StatusSeeOther {
			t.Error("the code before the newest is good")
		}
	}
	if others != second {
		if a := b.post("/account/email/code", "code", others); a.StatusCode == http.StatusSeeOther {
			t.Error("the code of another account is good")
		}
	}
	if n := w.race(hundred, func() answer { return b.post("/account/email/code", "code", second) }); n != 1 {
		t.Errorf("a code for an address worked %d times", n)
	}
	if u := w.find(w.User.ID); u.Email != "second@example.org" {
		t.Errorf("the address is %s", u.Email)
	}
	w.wait(10 * time.Minute)
	if a := other.post("/account/email/code", "code", others); a.StatusCode == http.StatusSeeOther {
		t.Error("a code of ten minutes ago is good")
	}

	token := w.token(mail.EmailChanged)
	if a := b.post("/password", "token", token, "password", "Another-Password-1", "again", "Another-Password-1"); a.StatusCode != http.StatusGone {
		t.Errorf("the link that takes an address back, to set a password = %s", a.Status)
	}
	b.get("/email/undo?token=" + url.QueryEscape(token))
	stranger := w.browser()
	if n := w.race(hundred, func() answer { return stranger.post("/email/undo", "token", token) }); n != 1 {
		t.Errorf("an address was taken back %d times", n)
	}
	if u := w.find(w.User.ID); u.Email != "user@example.org" || b.in() {
		t.Errorf("after it was taken back, the address is %s; whoever changed it is in: %v", u.Email, b.in())
	}
	b.login("user")
	b.post("/account/email/code", "code", ask(b, "fourth@example.org"))
	token = w.token(mail.EmailChanged)
	w.wait(72 * time.Hour)
	if a := stranger.post("/email/undo", "token", token); a.StatusCode != http.StatusGone {
		t.Errorf("a link of three days ago = %s", a.Status)
	}
}
