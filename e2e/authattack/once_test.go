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
	"github.com/backstay/backstay/server/servertest"
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
func links(t *testing.T) {
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
	// The second factor is asked for all the same.
	w.app(w.User)
	b.post("/forgot", "username", "user")
	if a := use(w.token(mail.Reset)); a.StatusCode == http.StatusSeeOther {
		if b := w.browser(); b.try("user", "Another-Password-1").to() != "/factor" {
			t.Error("a mailed link got past the second factor")
		}
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
func codes(t *testing.T) {
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
		together(10, func(int) func() {
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
func registrations(t *testing.T) {
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

// What may not be undone, and what a thief would begin with, asks who is there,
// by the strongest that the account has.
func stepUp(t *testing.T) {
	w := newWorld(t)
	values := w.victim()
	victim := w.account(accounts.New{Kind: access.UserKind, Username: "victim", Email: "victim@example.org"})
	values["user"] = string(victim.ID)
	admin, user := w.console().login("admin"), w.browser().login("user")
	w.wait(6 * time.Minute) // a coffee, and the screen was not locked
	asks := map[string]bool{}
	aide := w.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "aide"})
	before := w.dump()
	for _, target := range w.targets(values, access.WholeLogin) {
		b := user
		if portalOf(target.path) != "" {
			b = admin
		}
		target.path = strings.Replace(target.path, "/administrators/"+string(victim.ID), "/administrators/"+string(aide.ID), 1)
		if target.method != http.MethodPost || strings.HasSuffix(target.path, "/confirm") && strings.Count(target.path, "/") < 3 {
			continue
		}
		if sensitive(target.Pattern) {
			a := b.send(target, append([]string{"confirm", "victim"}, forms...)...)
			asks[target.Pattern] = true
			if to := strings.TrimPrefix(a.to(), "/admin"); to != "/confirm" && !strings.Contains(a.body, "/confirm") {
				t.Errorf("%s without a fresh proof = %s %s", target.Pattern, a.Status, a.problem())
			}
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed without a fresh proof: %s", line)
	}
	if len(asks) < 10 {
		t.Errorf("only %d routes were tried", len(asks))
	}

	// Whoever has a second factor proves by that; the password is weaker.
	secret := w.app(w.User)
	b := w.browser().half("user")
	b.post("/factor", "code", w.code(secret))
	w.wait(6 * time.Minute)
	remove := func() answer { return b.post("/account/security/totp/remove") }
	b.post("/confirm", "password", servertest.UserPassword)
	if a := remove(); a.to() != "/confirm" {
		t.Errorf("after the password alone = %s %s", a.Status, a.to())
	}
	b.post("/confirm", "password", servertest.UserPassword, "code", "000000")
	if a := remove(); a.to() != "/confirm" {
		t.Errorf("after a wrong code = %s %s", a.Status, a.to())
	}
	token := b.session()
	if a := b.post("/confirm", "code", w.code(secret)); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the right code = %s %s", a.Status, a.problem())
	}
	if b.session() == token {
		t.Error("the proof did not make another token")
	}
	if a := remove(); a.to() != "/account/security" {
		t.Errorf("after the right code = %s %s", a.Status, a.to())
	}
}

// A factor that was just set up counts at once: what was proved before it by
// the password alone is not enough any more.
func stepUpAfterEnrolment(t *testing.T) {
	w := newWorld(t)
	b := w.browser().login("user")
	secret := w.app(w.User)
	if a := b.post("/account/security/codes"); a.to() != "/confirm" {
		t.Errorf("by the password of before = %s %s", a.Status, a.to())
	}
	b.post("/confirm", "code", w.code(secret))
	if a := b.post("/account/security/codes"); a.StatusCode != http.StatusOK {
		t.Errorf("by the new factor = %s %s", a.Status, a.to())
	}
}

// sensitive reports whether a route must ask for a fresh proof.
func sensitive(pattern string) bool {
	for _, part := range []string{"/security/totp", "/security/codes", "/security/passkey", "/account/email", "/account/export",
		"{user}/delete", "{user}/factors", "{user}/hold", "{user}/role"} {
		if strings.Contains(pattern, part) && !strings.HasSuffix(pattern, "/code") && !strings.HasSuffix(pattern, "/confirm") && !strings.HasSuffix(pattern, "/name") && !strings.HasSuffix(pattern, "/passkey") {
			return true
		}
	}
	return false
}

// Passwords: what the two policies take, and that a password is what was typed.
func passwordRules(t *testing.T) {
	w := newWorld(t)
	current := servertest.UserPassword
	b := w.browser().login("user")
	change := func(to string) bool {
		a := b.post("/account/password", "old", current, "password", to, "again", to)
		if a.StatusCode == http.StatusSeeOther {
			current = to
			return true
		}
		return false
	}
	long := strings.Repeat("Ab1-", 20)
	for _, test := range []struct {
		password string
		ok       bool
	}{
		{"Abcde1x", false}, {"kestrel1x", false}, {"KESTREL1X", false}, {"Kestrelxx", false},
		{`Kestrel1"`, false}, {"Kestrel1'", false}, {"Kestrel1<", false}, {"Kestrel1>", false}, {"Kestrel1&", false}, {"Kestrel1;", false},
		{"Kestrel1x", true}, {"Kestrel 1 x", true}, {"Été à la mer 1A", true}, {long, true}, {long + strings.Repeat("x", 256-len(long)), true}, {strings.Repeat("Ab1-", 65), false},
		{"Password1", false}, {"User1234", false},
	} {
		if change(test.password) != test.ok {
			t.Errorf("classic takes %q: %v", test.password, !test.ok)
		}
	}
	if a := b.post("/account/password", "old", "wrong", "password", "Kestrel-42-x", "again", "Kestrel-42-x"); a.StatusCode == http.StatusSeeOther {
		t.Error("a password was changed without the old one")
	}

	// Byte for byte: no end is cut off, no case is changed, nothing is trimmed.
	w.wait(time.Hour)
	if !change(long + "1") {
		t.Fatal("a long password was refused")
	}
	for _, near := range []string{long + "2", long, strings.ToLower(long) + "1", long + "1 ", " " + long + "1", (long + "1")[:72]} {
		w.wait(time.Hour)
		if a := w.browser().try("user", near); a.StatusCode == http.StatusSeeOther {
			t.Errorf("%q is good for %q", near, current)
		}
	}
	// The same letters, as another keyboard sends them.
	w.wait(time.Hour)
	b.login2("user", current)
	if !change("Caf\u00e9-au-lait-1") {
		t.Fatal("a password with an accent was refused")
	}
	if a := w.browser().try("user", "Cafe\u0301-au-lait-1"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the same letters decomposed = %s", a.Status)
	}

	w.settings(func(s *settings.Settings) error { s.SignIn.UserPolicy = "modern"; return nil })
	// What was good under the policy before lets its owner in, to replace it.
	b.login2("user", current)
	if a := b.post("/first-password", "password", "kestrel over x", "again", "kestrel over x"); a.StatusCode == http.StatusSeeOther {
		t.Error("modern takes 14 characters")
	}
	current = "kestrel over xy"
	if a := b.post("/first-password", "password", current, "again", current); a.StatusCode != http.StatusSeeOther || !b.in() {
		t.Errorf("replacing a password of the policy before = %s %s", a.Status, a.problem())
	}
	for _, test := range []struct {
		password string
		ok       bool
	}{
		{strings.Repeat("long ", 30), true}, {"qwertyuiopasdfghjkl", false}, {"backstay12345678", false},
		{"\"quotes\" & <all> of; 'them'", true},
	} {
		if change(test.password) != test.ok {
			t.Errorf("modern takes %q: %v", test.password, !test.ok)
		}
	}
	// A password is good until somebody changes it.
	w.wait(400 * 24 * time.Hour)
	if b.login2("user", current); !b.in() {
		t.Error("a password is not good any more after a year")
	}
	page := b.get("/account/security").body
	if strings.Contains(page, "onpaste") || !strings.Contains(page, `autocomplete="new-password"`) || !strings.Contains(page, `type="password"`) {
		t.Error("the form is in the way of password managers")
	}
	w.write(func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, "SELECT password FROM users WHERE password <> ''")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var hash string
			if err := rows.Scan(&hash); err != nil {
				return err
			}
			if !strings.HasPrefix(hash, "$argon2id$") {
				t.Errorf("a password is kept as %.12s", hash)
			}
		}
		return rows.Err()
	})
}

// login2 logs in with another password than usual.
func (b *browser) login2(username, password string) {
	b.w.Helper()
	b.post("/logout")
	if a := b.try(username, password); a.StatusCode != http.StatusSeeOther {
		b.w.Fatalf("logging in as %s: %s %s", username, a.Status, a.problem())
	}
}
