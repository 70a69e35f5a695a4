package authattack_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
)

// What may not be undone, and what a thief would begin with, asks who is there,
// by the strongest that the account has.
func stepUp(t testing.TB) {
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
}

// Whoever has a second factor proves by that; the password is weaker.
func stepUpByLess(t testing.TB) {
	w := newWorld(t)
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
func stepUpAfterEnrolment(t testing.TB) {
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
func passwordRules(t testing.TB) {
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
