package authattack_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
)

// person is somebody who tries things that are not theirs.
type person struct {
	name string
	*browser
}

// What belongs to one organisation or user is, for everybody of another, as if
// it were not there: the same answer as for what nobody has, byte for byte, and
// nothing of it changes. Who asks for it is recorded, which takes one more
// write: its time tells only who can name one of 2^122 ids, and so knows it.
func othersThings(t testing.TB) {
	w := newWorld(t)
	victim := w.victim()
	victim["passkey"] = w.passkey(w.User)
	people := w.strangers()
	before := w.dump()
	for _, p := range people {
		for _, target := range w.targets(victim, access.WholeLogin) {
			if !open(target.Route) || portalOf(target.path) != p.base {
				continue
			}
			for _, name := range names(target.Pattern) {
				if victim[name] == "" {
					t.Fatalf("%s names a %s, and the victim has none", target.Pattern, name)
				}
			}
			foreign := p.send(target, forms...)
			nobodys := target
			_, path, _ := strings.Cut(target.Pattern, " ")
			nobodys.path = filled(path, nil)
			none := p.send(nobodys, forms...)
			if foreign.StatusCode != none.StatusCode || plain(foreign, target.path) != plain(none, nobodys.path) {
				t.Errorf("%s: %s tells what there is:\n%s\nfor what nobody has:\n%s", p.name, target.Pattern,
					differing(plain(foreign, target.path), plain(none, nobodys.path)), differing(plain(none, nobodys.path), plain(foreign, target.path)))
			}
			if foreign.StatusCode < 300 || foreign.StatusCode >= 500 {
				t.Errorf("%s: %s = %s", p.name, target.Pattern, foreign.Status)
			}
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed by somebody else: %s", line)
	}
}

// names are what a pattern's path leaves open.
func names(pattern string) (list []string) {
	for _, part := range strings.Split(pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && name != "$}" {
			list = append(list, strings.TrimSuffix(name, "}"))
		}
	}
	return list
}

// passkey gives an account one, as its page names it.
func (w *world) passkey(u accounts.User) string {
	w.Helper()
	id := []byte("a passkey of " + u.Username)
	w.write(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO passkeys (id, user_id, name, credential, created_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6)",
			id, u.ID, "the key", "{}", db.Micros(tx.Now()), 0)
		return err
	})
	return base64.RawURLEncoding.EncodeToString(id)
}

// Nobody sets what is not theirs to set by a field that a form does not have,
// and no page shows what it has no need to.
func fields(t testing.TB) {
	w := newWorld(t)
	other := w.org("Other")
	boss := w.account(accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "boss"})
	people := map[accounts.ID]*browser{w.User.ID: w.browser().login("user")}
	for name, role := range map[string]access.Role{"viewer": access.Viewer, "org-admin": access.OrgAdmin} {
		people[w.account(accounts.New{Kind: access.AdminKind, Role: role, Username: name}).ID] = w.console().login(name)
	}
	surplus := []string{"role", "server_admin", "kind", "administrator", "org", string(other.ID), "org_id", string(other.ID), "state", "active",
		"legal_hold", "on", "must_change_password", "", "seat", "active", "verified", "true", "email_verified", "true", "quota", "999999",
		"id", string(boss.ID), "user", string(boss.ID), "user_id", string(boss.ID), "language", "fr", "licence", "", "locked_until", "0"}
	before := map[accounts.ID]accounts.User{}
	for id := range people {
		before[id] = w.find(id)
	}
	for id, b := range people {
		for _, target := range w.targets(map[string]string{"user": string(id)}, access.WholeLogin) {
			if target.method == http.MethodPost && portalOf(target.path) == b.base && !strings.Contains(target.path, "/end") {
				b.send(target, surplus...)
			}
		}
	}
	for id, was := range before {
		is := w.find(id)
		if is.Role != was.Role || is.Kind != was.Kind || is.Org != was.Org || is.LegalHold != was.LegalHold || is.Licence != was.Licence || is.Seat != was.Seat ||
			is.State != was.State || is.Email != was.Email || is.Username != was.Username {
			t.Errorf("%s is %+v, was %+v", was.Username, is, was)
		}
	}
	w.shown()
}

// shown sees that no page shows what is kept to check others by, or a secret
// that can only be written.
func (w *world) shown() {
	w.Helper()
	const post = "the mail server's password"
	w.write(func(ctx context.Context, tx *db.Tx) error {
		if err := settings.Change(ctx, tx, system, func(s *settings.Settings) error {
			s.Mail.Host, s.Mail.Port, s.Mail.Security, s.Mail.From, s.Mail.Username = "127.0.0.1", 9, "starttls", "backstay@example.org", "post"
			return nil
		}); err != nil {
			return err
		}
		return settings.SetMailPassword(ctx, tx, system, w.Keys, post)
	})
	values := w.victim()
	app := w.app(w.User)
	user, admin := w.browser().half("user"), w.console().login("admin")
	user.post("/factor", "code", w.code(app))
	secrets := []string{"$argon2id$", post, app}
	for _, target := range w.targets(values, access.WholeLogin) {
		if target.method != http.MethodGet {
			continue
		}
		b := user
		if portalOf(target.path) != "" {
			b = admin
		}
		a := b.send(target)
		if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(a.body, s) }); i >= 0 {
			w.Errorf("%s shows %q", target.Pattern, secrets[i])
		}
	}
}
