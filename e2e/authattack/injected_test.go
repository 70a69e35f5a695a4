package authattack_test

import (
	"context"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// injections are texts that mean something to somebody else: a database, a
// template, a shell, a terminal.
var injections = []string{
	"'", "''", `"`, "`", `\`, "';--", "' OR '1'='1", "1 OR 1=1", "') OR ('1'='1", "' UNION SELECT password FROM users--", "'; DROP TABLE users;--",
	"1; SELECT pg_sleep(5)--", "' AND (SELECT 1 FROM pg_sleep(5))--", "$1", "?", "%", "_", `%' ESCAPE '\`, "{{.}}", "${7*7}", "<svg onload=alert(1)>",
	"\x00", "\xff\xfe", "-1", "9223372036854775808", "99999999999999999999", "1e309", "NaN", "a\r\nb: c", "\u202e", strings.Repeat("a", 300),
	"../../etc/passwd", "=cmd|' /C calc'!A0", "null", "[]", "{}",
}

// What people type is data, in every field and on both databases.
func injected(t testing.TB) {
	w := newWorld(t)
	user, admin, stranger := w.browser().login("user"), w.console().login("admin"), w.browser()
	values := w.victim()
	before := w.dump()
	for _, target := range w.targets(values, access.Anyone, access.WholeLogin) {
		if strings.HasPrefix(target.path, "/agent/") || strings.HasPrefix(target.path, web.StaticPath) || target.method != http.MethodGet {
			continue
		}
		b := user
		if portalOf(target.path) != "" {
			b = admin
		}
		// Each field has another text each time: in so many rounds each has had
		// its share, and every text has been everywhere.
		for round := range 9 {
			query := url.Values{}
			for i, name := range parameters {
				query.Set(name, injections[(i*5+round*4)%len(injections)])
			}
			r := b.request("GET", target.path, nil)
			r.URL.RawQuery = query.Encode()
			checkInjected(t, target, query.Get("q"), b.do(r))
			if open(target.Route) {
				_, pattern, _ := strings.Cut(target.Pattern, " ")
				text, odd := injections[round*4], map[string]string{}
				for name := range values {
					odd[name] = url.PathEscape(text)
				}
				checkInjected(t, target, text, b.raw("GET", filled(pattern, odd)))
			}
		}
	}
	for i, text := range injections {
		for _, path := range []string{"/login", "/login/choose", "/forgot", "/forgot/username", "/register", "/password", "/preferences", "/email/undo"} {
			if i%2 > 0 && path != "/login" {
				continue
			}
			var fields []string
			for _, name := range parameters {
				fields = append(fields, name, text)
			}
			checkInjected(t, target{path: path}, text, stranger.post(path, fields...))
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed: %s", line)
	}
}

// parameters are the names of all fields that our pages read.
var parameters = []string{"q", "state", "show", "how", "sort", "order", "page", "after", "before", "from", "to", "profile", "licence", "interval", "outcome",
	"path", "class", "next", "username", "email", "password", "again", "token", "id", "code", "serial", "first_name", "last_name", "language", "theme", "zone", "back",
	"org", "actor", "action", "name", "revision", "e", "user", "device", "template"}

func checkInjected(t testing.TB, at target, text string, a answer) {
	t.Helper()
	body := strings.ToLower(a.body)
	for _, word := range []string{"sql logic", "sqlite error", "jackc/pgx", "syntax error", "sqlstate", "goroutine ", "panic"} {
		// The id of the request may be any word.
		if strings.Contains(body, word) && strings.Contains(strings.ToLower(requestID.ReplaceAllString(a.body, "")), word) {
			t.Errorf("%s with %.30q says %q", at.path, text, word)
		}
	}
	if a.StatusCode >= 500 && a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s with %.30q = %s", at.path, text, a.Status)
	}
	if strings.Contains(a.body, "<svg onload=") || a.Header.Get("B") != "" {
		t.Errorf("%s with %.30q writes it as it came", at.path, text)
	}
}

// What is done with a form's fields, by whoever may fill it, is the same for
// every text: it is taken or refused, and nothing else happens.
func injectedForms(t testing.TB) {
	w := newWorld(t)
	values := w.victim()
	user, admin := w.browser().login("user"), w.console().login("admin")
	for _, target := range w.targets(values, access.WholeLogin) {
		over := strings.HasSuffix(target.path, "/end") || strings.Contains(target.path, "/sessions/") || strings.Contains(target.path, "/account/delete") ||
			strings.Contains(target.path, "/settings/signin") || strings.Contains(target.path, "/settings/users")
		if target.method != http.MethodPost || over {
			continue // it would end what the others need
		}
		b := user
		if portalOf(target.path) != "" {
			b = admin
		}
		// Two texts in all fields at once, and then another in each.
		for round := range 4 {
			var fields []string
			for i, name := range parameters {
				text := injections[(i*5+round*11)%len(injections)]
				if round < 2 {
					text = []string{"'", "<svg onload=alert(1)>"}[round]
				}
				fields = append(fields, name, text)
			}
			checkInjected(t, target, fields[1], b.send(target, fields...))
		}
	}
	if !admin.in() {
		t.Error("the administrator is out")
	}
	var users int
	w.read(func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM users").Scan(&users)
	})
	if users < 2 {
		t.Errorf("%d users are left", users)
	}
}

// What a list goes on with, and what narrows it, shows no more than the list
// itself: an administrator of another organisation names what there is here.
func forgedPages(t testing.TB) {
	w := newWorld(t)
	u := w.account(accounts.New{Kind: access.UserKind, Username: "zebrafinch", Email: "zebrafinch@example.org"})
	d := w.NewDevice(u, "zebra-laptop")
	w.account(accounts.New{Org: w.org("Other").ID, Kind: access.AdminKind, Role: access.OrgAdmin, Username: "other-admin"})
	ids := w.victim()
	narrowed := map[string][]string{"after": {"0", "a", "zebra", "9999999"}, "before": {"9999999"}, "q": {"zebra"}, "org": {string(w.Org.ID)},
		"user": {string(u.ID)}, "device": {d.DeviceID}, "profile": {ids["profile"]}, "licence": {ids["licence"]}}
	b := w.console().login("other-admin")
	for _, target := range w.targets(nil, access.WholeLogin) {
		if open(target.Route) || target.method != http.MethodGet || portalOf(target.path) == "" {
			continue
		}
		for name, values := range narrowed {
			for _, value := range values {
				query := url.Values{name: {value}}
				if name == "user" {
					query = url.Values{"user": {value}, "owner": {value}, "actor": {value}, "id": {value}}
				}
				r := b.request(http.MethodGet, target.path, nil)
				r.URL.RawQuery = query.Encode()
				a := b.do(r)
				text := strings.ReplaceAll(a.body, html.EscapeString(value), "") // may be said again
				if strings.Contains(text, "zebrafinch") || strings.Contains(text, "zebra-laptop") || a.StatusCode >= 500 {
					t.Errorf("%s with %s %q shows what belongs to others: %s", target.Pattern, name, value, a.Status)
				}
			}
		}
	}
}

// What devices send is data, too, of the type that is asked for.
func injectedMessages(t testing.TB) {
	w := newWorld(t)
	w.settings(func(s *settings.Settings) error { s.SignIn.NetworkPerHour = 100_000; return nil })
	d := w.NewDevice(w.User, "laptop")
	token, user := w.deviceToken(d), w.userToken(d)
	before := w.about(d)
	odd := []any{1, -1, 1e30, true, nil, []any{}, []any{"x"}, map[string]any{"x": 1}}
	for _, text := range injections {
		odd = append(odd, text)
	}
	for _, r := range w.Routes() {
		method, pattern, _ := strings.Cut(r.Pattern, " ")
		call, ours := strings.CutPrefix(pattern, wire.Prefix)
		if !ours || strings.HasSuffix(call, "/have") || strings.HasSuffix(call, "/commit") || strings.Contains(call, "/packs/") || call == "read" || call == "next" || call == "status" {
			continue // bytes, which the protocol's own tests are about
		}
		for i, value := range odd {
			text, ok := value.(string)
			if i%3 > 0 && r.Guard != access.Anyone {
				continue
			}
			if !ok {
				text = "x"
			}
			path := filled(call, map[string]string{"number": url.PathEscape(text), "hash": url.PathEscape(text)}) + "?wait=0&after=" + url.QueryEscape(text)
			var body []byte
			if method != http.MethodGet {
				body = message("username", value, "email", value, "password", value, "new_password", value, "second_factor", value, "serial", value, "first_name", value,
					"last_name", value, "language", value, "pending", value, "code", value, "device_id", value, "challenge", value, "signature", value, "set_id", value,
					"recipient_key", value, "state", value, "request_id", value, "name", value, "hardware", value)
			}
			a := w.device(method, path, token, user, body)
			checkInjected(t, target{path: pattern}, text, a)
			if !json.Valid([]byte(a.body)) && a.body != "" {
				t.Errorf("%s with %.30q = %s, and no JSON: %.80q", r.Pattern, text, a.Status, a.body)
			}
		}
	}
	for _, line := range lost(before, w.about(d)) {
		t.Errorf("changed: %s", line)
	}
}
