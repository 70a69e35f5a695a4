package authattack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/wire"
)

const public = "https://backup.example.org"

// A request's own idea of where the server is decides nothing: no link and no
// redirect is made from it.
func forgedHosts(t testing.TB) {
	w := newWorld(t, func(cfg *server.Config) { cfg.PublicURL = public })
	w.account(accounts.New{Kind: access.UserKind, Username: "somebody", Email: "somebody@example.org"})
	w.settings(func(s *settings.Settings) error {
		s.Registration.Mode, s.Registration.Org, s.Registration.Domains = settings.RegistrationOpen, w.Org.ID, []string{"example.org"}
		return nil
	})
	b := w.browser()
	request := func(method, path string, form url.Values) *http.Request {
		r := b.request(method, path, strings.NewReader(form.Encode()))
		r.Host = "backup.example.org"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	for _, host := range []string{"evil.example", "backup.example.org.evil.example", "evil.example:443", "backup.example.org:8443", "127.0.0.1", "x"} {
		r := request("POST", "/forgot", url.Values{"username": {"user"}})
		r.Host = host
		if a := b.do(r); a.StatusCode != http.StatusMisdirectedRequest && a.StatusCode != http.StatusBadRequest {
			t.Errorf("Host: %s = %s", host, a.Status)
		}
	}
	if n := len(w.letters(mail.Reset)); n != 0 {
		t.Errorf("%d mails were queued for names that are not ours", n)
	}
	for _, forged := range []http.Header{
		{"X-Forwarded-Host": {"evil.example"}}, {"X-Forwarded-Proto": {"http"}}, {"Forwarded": {"host=evil.example;proto=http"}},
		{"X-Host": {"evil.example"}}, {"X-Forwarded-Server": {"evil.example"}}, {"X-Original-Url": {"/admin/users"}}, {"X-Rewrite-Url": {"/admin/users"}},
		{"X-Forwarded-Prefix": {"/evil"}}, {"Origin": {"https://evil.example"}},
	} {
		for path, form := range map[string]url.Values{
			"/forgot": {"username": {"somebody"}}, "/login": {"username": {"somebody"}, "password": {"wrong"}}, "/": nil, "/account": nil,
			"/forgot/username": {"email": {"somebody@example.org"}}, "/admin/forgot": {"username": {"admin"}},
			"/register": {"email": {"new@example.org"}, "username": {"new"}, "first_name": {"New"}, "last_name": {"Comer"}},
		} {
			r := request("POST", path, form)
			if form == nil {
				r.Method, r.Body, r.ContentLength = "GET", nil, 0
			}
			for name, values := range forged {
				r.Header[name] = values
			}
			a := b.do(r)
			text := fmt.Sprint(a.Header) + a.body
			if strings.Contains(text, "evil") || strings.Contains(a.Header.Get("Location"), "http:") {
				t.Errorf("%s with %v writes it: %s", path, forged, a.Status)
			}
		}
		for _, call := range []string{"password/forgot", "username/forgot"} {
			r := b.request(http.MethodPost, wire.Prefix+call, strings.NewReader(`{"username": "somebody", "email": "somebody@example.org"}`))
			r.Host = "backup.example.org"
			r.Header.Set("Content-Type", "application/json")
			for name, values := range forged {
				r.Header[name] = values
			}
			b.do(r)
		}
	}
	templates := map[string]bool{}
	for _, letter := range w.letters("") {
		for name, value := range letter {
			if !strings.Contains(value, "://") {
				continue
			}
			if templates[value[:strings.IndexByte(value+"?", '?')]] = true; !strings.HasPrefix(value, public+"/") {
				t.Errorf("a mail to %s: its %s leads to %s", letter["to"], name, value)
			}
		}
	}
	if len(templates) < 3 {
		t.Errorf("few mails were looked at: %v", templates)
	}
}

// roles that must not become more than they are.
func escalation(t testing.TB) {
	w := newWorld(t)
	w.account(accounts.New{Kind: access.AdminKind, Role: access.Viewer, Username: "viewer"})
	w.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "org-admin"})
	boss := w.account(accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "boss"})
	values := w.victim()

	// A viewer changes nothing.
	b := w.console().login("viewer")
	before := w.dump()
	for _, target := range w.targets(values, access.WholeLogin) {
		own := strings.HasPrefix(target.path, "/admin/account") || target.path == "/admin/confirm"
		if target.method != http.MethodPost || portalOf(target.path) != "/admin" || own {
			continue
		}
		if a := b.send(target, forms...); a.StatusCode == http.StatusOK {
			t.Errorf("a viewer, %s = %s", target.Pattern, a.Status)
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed by a viewer: %s", line)
	}

	// An organisation's administrator has no hand on one above them.
	admin := w.console().login("org-admin")
	bosss := map[string]string{"user": string(boss.ID)}
	before = w.dump()
	for _, target := range w.targets(bosss, access.WholeLogin) {
		if !strings.Contains(target.Pattern, "{user}") || target.method != http.MethodPost {
			continue
		}
		if a := admin.send(target, forms...); a.StatusCode == http.StatusOK {
			t.Errorf("an organisation's administrator, %s of one of the server's = %s", target.Pattern, a.Status)
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed by an organisation's administrator: %s", line)
	}
	for _, role := range []string{"server_admin", "org_admin", "owner", ""} {
		admin.post("/users", "kind", "administrator", "role", role, "username", "made-"+role, "email", "x@example.org", "first_name", "a", "last_name", "b", "how", "mail")
	}
	w.write(func(ctx context.Context, tx *db.Tx) error {
		var n int
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM users WHERE role = 'server_admin' AND username LIKE 'made-%'").Scan(&n)
		if n > 0 {
			t.Error("an organisation's administrator made one of the server's")
		}
		return err
	})
}

// What is done and what is refused is written down, once, with who, when and
// from where, and nothing secret with it.
func records(t testing.TB) {
	w := newWorld(t)
	const canary = "Canary-Password-7"
	if _, err := w.NewAccount(t.Context(), system, accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: "canary", Email: "canary@example.org"}, canary); err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	count := func(outcome audit.Outcome) (n int) {
		for _, r := range w.audit(audit.Filter{Action: access.Login}) {
			if r.Outcome == outcome && r.IP == b.ip && r.RequestID != "" && !r.At.IsZero() {
				n++
			}
		}
		return n
	}
	b.try("canary", "wrong-"+canary)
	if n := count(audit.Refuse); n != 1 {
		t.Errorf("%d records of one wrong password", n)
	}
	b.try("no\r\n\x1b[31mbody{\"level\":\"ERROR\"}", canary)
	if n := count(audit.Refuse); n != 2 {
		t.Errorf("%d records of two refusals", n)
	}
	if a := b.try("canary", canary); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("logging in = %s %s", a.Status, a.problem())
	}
	if n := count(audit.Done); n != 1 {
		t.Errorf("%d records of one log-in", n)
	}
	// What is not allowed is recorded where it was tried.
	device := w.NewDevice(w.User, "laptop").DeviceID
	b.get("/devices/" + device)
	denied := slices.ContainsFunc(w.audit(audit.Filter{}), func(r audit.Row) bool {
		return r.Outcome == audit.Refuse && r.ActorName == "canary" && r.ObjectID == device && r.IP == b.ip
	})
	if !denied {
		t.Error("the audit does not know who wanted to see somebody else's device")
	}
	session := b.session()
	b.post("/forgot", "username", "canary")
	token := w.token(mail.Reset)
	b.post("/password", "token", token, "password", "Other-"+canary, "again", "Other-"+canary)
	secret := w.app(w.Admin)
	b = w.console().half("admin")
	was := count(audit.Refuse)
	b.post("/factor", "code", "000000")
	if n := count(audit.Refuse); n != was+1 {
		t.Errorf("%d records of one wrong code", n-was)
	}
	was = count(audit.Done)
	b.post("/factor", "code", w.code(secret))
	if n := count(audit.Done); n != was+1 {
		t.Errorf("%d records of one right code", n-was)
	}

	text := w.logs.String() + fmt.Sprint(w.audit(audit.Filter{}))
	for what, secret := range map[string]string{"a password": canary, "a session": session, "a link": token, "the secret of an app": secret} {
		if strings.Contains(text, secret) {
			t.Errorf("%s stands in the log or in the audit", what)
		}
	}
	for line := range strings.Lines(w.logs.String()) {
		var entry map[string]any
		err := json.Unmarshal([]byte(line), &entry)
		if at, _ := entry["time"].(string); err != nil || !dated(at) {
			t.Errorf("a line of the log that is none: %q", line)
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\r\n") {
			t.Errorf("a line of the log moves the cursor: %q", line)
		}
	}
	// Only who may sees it.
	for _, p := range []*browser{w.browser().login("user"), w.browser()} {
		if a := p.get("/admin/audit"); !refused(a) {
			t.Errorf("the audit is open: %s", a.Status)
		}
	}
}

// dated reports whether a text is a time that says its zone.
func dated(text string) bool {
	_, err := time.Parse(time.RFC3339Nano, text)
	return err == nil
}
