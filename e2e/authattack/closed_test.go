package authattack_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/servertest"
)

// databaseWords are what the failures of databases say, and no random token of a
// page does.
var databaseWords = regexp.MustCompile(`(?i)sql:|sqlite|postgres|pgx|database is closed`)

// A server whose database is gone lets nobody in; one that is new has no
// account, and no page that would make one.
func failsClosed(t testing.TB) {
	w := newWorld(t)
	b := w.browser().login("user")
	device := w.NewDevice(w.User, "laptop")
	if _, _, err := device.Client.Profile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/account", "/account/security"} {
		if a := b.get(path); a.StatusCode != http.StatusOK {
			t.Fatalf("GET %s = %s", path, a.Status)
		}
	}
	if err := w.DB.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/account", "/account/security"} {
		if a := b.get(path); a.StatusCode < 500 || databaseWords.MatchString(a.body) {
			t.Errorf("GET %s without a database = %s", path, a.Status)
		}
	}
	if a := b.post("/login", "username", "user", "password", "User-Password-1"); a.StatusCode < 500 || len(a.Cookies()) > 0 && b.in() {
		t.Errorf("logging in without a database = %s", a.Status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // it would try for longer
	defer cancel()
	if _, _, err := device.Client.Profile(ctx, 0); err == nil {
		t.Error("a device is served without a database")
	}
	if a := b.get("/healthz"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/healthz without a database = %s", a.Status)
	}
}

// Nobody is let in by a name that everybody knows.
func noDefaults(t testing.TB) {
	w := newWorld(t)
	w.write(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM users")
		return err
	})
	for _, name := range []string{"admin", "root", "system", "user", ""} {
		for _, password := range []string{"Administrator-1", name} {
			for _, b := range []*browser{w.browser(), w.console()} {
				if a := b.try(name, password); a.StatusCode == http.StatusSeeOther || b.session() != "" {
					t.Errorf("%q with %q gets in", name, password)
				}
			}
		}
	}
	for _, path := range []string{"/setup", "/install", "/admin/setup", "/admin/install", "/admin/first", "/register"} {
		a := w.browser().get(path)
		if a.StatusCode != http.StatusNotFound && a.to() != "/admin/login" {
			t.Errorf("GET %s on a new server = %s", path, a.Status)
		}
	}
}

// What cannot be recorded is not done, and nobody gets in by it.
func failsUnrecorded(t testing.TB) {
	w := newWorld(t)
	admin, late := w.console().login("admin"), w.browser()
	late.get("/login")
	w.write(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "ALTER TABLE audit RENAME TO audit_elsewhere")
		return err
	})
	before := w.dump()
	if a := late.try("user", servertest.UserPassword); a.StatusCode == http.StatusSeeOther || late.session() != "" {
		t.Errorf("a log-in that is not recorded = %s", a.Status)
	}
	if a := admin.post("/users/"+string(w.User.ID)+"/disable", "confirm", "user", "reason", "because it is so"); a.StatusCode < 500 {
		t.Errorf("an act that is not recorded = %s", a.Status)
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed without a record: %s", line)
	}
}

// Without its keys a server does not start, and makes no new ones beside what
// the old ones have sealed.
func failsWithoutKeys(t testing.TB) {
	w := newWorld(t)
	w.app(w.User)
	w.Stop()
	file := filepath.Join(w.Config.Data, "keys", "keyfile")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	again, err := server.New(t.Context(), w.Config)
	if err == nil {
		again.Close()
		t.Error("a server without its key file starts")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("another key file was made")
	}
}

// What has ended stays so when the server's clock is set back.
func failsWhenSetBack(t testing.TB) {
	w := newWorld(t)
	secret := w.app(w.User)
	b := w.browser().half("user")
	code, at := w.code(secret), w.clock()
	if a := b.post("/factor", "code", code); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the code = %s", a.Status)
	}
	w.account(accounts.New{Kind: access.UserKind, Username: "third"})
	b = w.browser().login("third")
	token := b.session()
	b.post("/logout")
	w.account(accounts.New{Kind: access.UserKind, Username: "other", Email: "other@example.org"})
	b.post("/forgot", "username", "other")
	link := w.token(mail.Reset)
	use := func() answer {
		return b.post("/password", "token", link, "password", "Another-Password-1", "again", "Another-Password-1")
	}
	if a := use(); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the link = %s", a.Status)
	}
	for range 10 {
		w.browser().try("admin", "wrong")
		w.console().try("admin", "wrong")
		w.wait(time.Minute)
	}
	w.wait(-time.Hour)
	late := w.browser().half("user")
	w.wait(at.Sub(w.clock())) // when the code was of that time
	w.over("the clock was set back", b, token)
	if a := use(); a.StatusCode != http.StatusGone {
		t.Errorf("a link that was used, when the clock is set back = %s", a.Status)
	}
	if a := w.console().try("admin", servertest.AdminPassword); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a locked account, when the clock is set back = %s", a.Status)
	}
	if a := late.post("/factor", "code", code); a.StatusCode == http.StatusSeeOther {
		t.Error("a code that was used is good when the clock is set back")
	}
}
