package authattack_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/web"
)

// Every answer, of whatever status, carries the headers that protect it.
func headers(t *testing.T) {
	w := newWorld(t)
	user, admin, stranger := w.browser().login("user"), w.console().login("admin"), w.browser()
	values := w.victim()
	var answers []answer
	for _, target := range w.targets(values) {
		if target.method == http.MethodGet {
			answers = append(answers, user.send(target), admin.send(target), stranger.send(target))
		}
	}
	for _, path := range []string{"/nothing", "/admin/nothing", "/static/nothing.js", "/agent/v1/nothing", "/%ff", "/login?%ff", "/healthz"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"} {
			answers = append(answers, stranger.do(stranger.request(method, path, nil)))
		}
	}
	for _, a := range answers {
		checkHeaders(t, a)
	}
	checkCookies(t, answers)

	for _, method := range []string{"TRACE", "CONNECT", "TRACK", "DEBUG"} {
		if a := stranger.do(stranger.request(method, "/login", nil)); a.StatusCode != http.StatusMethodNotAllowed && a.StatusCode != http.StatusNotFound || strings.Contains(a.body, "authattack") {
			t.Errorf("%s = %s", method, a.Status)
		}
	}
	for _, origin := range []string{"https://evil.example", "null", w.URL + ".evil.example"} {
		for _, method := range []string{"OPTIONS", "GET"} {
			r := user.request(method, "/account", nil)
			r.Header.Set("Origin", origin)
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "authorization")
			if a := user.do(r); a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %s: %q may read", method, origin, a.Header.Get("Access-Control-Allow-Origin"))
			}
		}
	}
	// A hostile answer comes as what it is, and says so.
	for _, next := range []string{"https://evil.example", "//evil.example", `/\evil.example`, "javascript:alert(1)", "/a\r\nSet-Cookie: x=y"} {
		b := w.browser()
		b.get("/login")
		a := b.post("/login", "username", "user", "password", "User-Password-1", "next", next)
		if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || to != "/" || a.Header.Get("X") != "" {
			t.Errorf("after the log-in %q leads to %q (%s)", next, to, a.Status)
		}
	}
}

func checkHeaders(t *testing.T, a answer) {
	t.Helper()
	where := a.Request.Method + " " + a.Request.URL.Path + " (" + a.Status + ")"
	for name, want := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.Header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s is %q", where, name, got)
		}
	}
	csp := a.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(csp, want) && !strings.HasPrefix(csp, "sandbox;") {
			t.Errorf("%s: the content policy lacks %s: %q", where, want, csp)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
		t.Errorf("%s: the content policy is %q", where, csp)
	}
	asset := strings.HasPrefix(a.Request.URL.Path, web.StaticPath) && a.StatusCode == http.StatusOK
	if cache := a.Header.Get("Cache-Control"); !asset && !strings.Contains(cache, "no-store") {
		t.Errorf("%s: Cache-Control is %q", where, cache)
	}
	if a.body != "" && a.Request.Method != http.MethodHead {
		kind := a.Header.Get("Content-Type")
		if kind == "" || strings.HasPrefix(kind, "text/") && !strings.Contains(strings.ToLower(kind), "charset=utf-8") {
			t.Errorf("%s: Content-Type is %q", where, kind)
		}
	}
	for _, name := range []string{"Server", "X-Powered-By", "Via"} {
		if a.Header.Get(name) != "" {
			t.Errorf("%s: %s is %q", where, name, a.Header.Get(name))
		}
	}
}

func checkCookies(t *testing.T, answers []answer) {
	t.Helper()
	seen := 0
	for _, a := range answers {
		for _, c := range a.Cookies() {
			seen++
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("%s: the cookie %s", a.Request.URL.Path, c)
			}
		}
	}
	if seen == 0 {
		t.Error("no cookie was looked at")
	}
}

// Where a request comes from is what the proxy says whom we trust, and nobody
// else.
func spoofedAddresses(t *testing.T) {
	attempt := func(w *world, hops ...string) string {
		b := w.browser()
		b.get("/login")
		form := url.Values{"username": {"user"}, "password": {"wrong"}}
		r := b.request(http.MethodPost, "/login", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Del("X-Forwarded-For")
		for _, hop := range hops {
			r.Header.Add("X-Forwarded-For", hop)
		}
		for _, name := range []string{"X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Forwarded", "X-Client-Ip", "X-Forwarded"} {
			r.Header.Set(name, "for=203.0.113.99")
		}
		b.do(r)
		rows := w.audit(audit.Filter{Action: access.Login})
		if len(rows) == 0 {
			return "nothing"
		}
		return rows[0].IP
	}
	alone := newWorld(t, func(cfg *server.Config) { cfg.TrustedProxies = nil })
	for _, hop := range []string{"203.0.113.1", "127.0.0.1", "::1", "garbage"} {
		if ip := attempt(alone, hop); ip != "127.0.0.1" {
			t.Errorf("without a proxy, X-Forwarded-For %s makes it %s", hop, ip)
		}
	}
	behind := newWorld(t, func(cfg *server.Config) {
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	for _, test := range []struct {
		hops []string
		want string
	}{
		{[]string{"203.0.113.1"}, "203.0.113.1"},
		{[]string{"198.51.100.1, 203.0.113.1"}, "203.0.113.1"},
		{[]string{"198.51.100.1", "203.0.113.1"}, "203.0.113.1"},
		{[]string{"198.51.100.1, 203.0.113.1, 10.1.1.1"}, "203.0.113.1"},
		{[]string{"10.1.1.1, 203.0.113.1, garbage"}, "127.0.0.1"},
		{[]string{"203.0.113.1, ' OR 1=1"}, "127.0.0.1"},
		{nil, "127.0.0.1"},
	} {
		if ip := attempt(behind, test.hops...); ip != test.want {
			t.Errorf("X-Forwarded-For %q makes it %s, want %s", test.hops, ip, test.want)
		}
	}
}

// Paths mean one thing, however they are written, and no method is another.
func paths(t *testing.T) {
	w := newWorld(t)
	user, stranger := w.browser().login("user"), w.browser()
	device := w.NewDevice(w.User, "laptop").DeviceID
	before := w.dump()
	for _, path := range []string{
		"/admin/../account", "/static/../account", "/static/%2e%2e/account", "/static/..%2faccount", "/static/..%5caccount", "/..;/account", "/account;/",
		"//account", "/./account", "/%61ccount/..%2f..%2fadmin/users", "/login/../account", "/login/..%2faccount", "/login%2f..%2faccount", "/account%00",
		"/static/..%252f..%252fetc/passwd", "/static/../../../../etc/passwd", "/static/..%2f..%2f..%2fetc%2fpasswd", "/static//etc/passwd", "/static/%00",
		"/devices/..%2f..%2fadmin%2fusers", "/devices/" + device + "%2f..%2f..%2fx", "/devices/%2e%2e/", "/devices/" + strings.Repeat("a", 5000), "/ACCOUNT", "/Admin/users",
		"/agent/v1/../../account", "/agent/v1/..%2fprofile", "/agent%2fv1%2fprofile", "/.%00./account",
	} {
		for _, b := range []*browser{user, stranger} {
			a := b.raw("GET", path)
			if a.StatusCode >= 500 || strings.Contains(a.body, "root:") {
				t.Errorf("GET %s = %s", path, a.Status)
			}
			if b == stranger && a.StatusCode == http.StatusOK && !strings.Contains(path, "/login") {
				t.Errorf("GET %s as nobody = %s", path, a.Status)
			}
			if strings.Contains(path, "users") && a.StatusCode == http.StatusOK {
				t.Errorf("GET %s as a user = %s", path, a.Status)
			}
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "MOVE", "COPY", "MKCOL", "LOCK", "LINK"} {
		for _, path := range []string{"/account", "/devices/" + device, "/", "/agent/v1/snapshots", "/agent/v1/sessions", "/static/x.js"} {
			if a := user.do(user.request(method, path, strings.NewReader("x"))); a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("%s %s = %s", method, path, a.Status)
			}
		}
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		r := user.request("GET", "/logout", nil)
		r.Header.Set(header, "POST")
		if user.do(r); !user.in() {
			t.Errorf("%s made a GET a POST", header)
		}
	}
	if a := user.do(user.request("GET", "/logout?_method=POST", nil)); a.StatusCode < 400 || !user.in() {
		t.Error("_method made a GET a POST")
	}
	// A name is a name, whatever stands in it.
	for i, name := range []string{"a/b", "../admin", "a%2fb", "..", "<script>"} {
		u, err := w.NewAccount(t.Context(), system, accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: name}, "User-Password-1")
		if err != nil {
			continue // refused, which is fine
		}
		d := w.NewDevice(u, fmt.Sprintf("laptop %d", i))
		b := w.browser().login(name)
		if a := b.get("/devices/" + d.DeviceID); a.StatusCode != http.StatusOK {
			t.Errorf("%q sees their device = %s", name, a.Status)
		}
		if a := b.get("/devices/" + device); a.StatusCode != http.StatusNotFound {
			t.Errorf("%q sees another's device = %s", name, a.Status)
		}
	}
	for _, line := range lost(before, w.dump()) {
		t.Errorf("changed: %s", line)
	}
}

// raw asks for a path exactly as it is written, which no client of ours does.
func (b *browser) raw(method, path string) answer {
	b.w.Helper()
	if b.conn == nil {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(b.w.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			b.w.Fatal(err)
		}
		b.w.Cleanup(func() { conn.Close() })
		b.conn, b.reader = conn, bufio.NewReader(conn)
	}
	fmt.Fprintf(b.conn, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\nCookie: %s=%s\r\n\r\n",
		method, path, b.home().Host, b.ip, userCookie, b.session())
	response, err := http.ReadResponse(b.reader, nil)
	if err != nil {
		b.w.Fatalf("%s %.100s: %v", method, path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.w.Fatal(err)
	}
	if response.Close {
		b.conn.Close()
		b.conn = nil
	}
	return answer{response, string(body)}
}

// injections are texts that mean something to somebody else: a database, a
// template, a shell, a terminal.
var injections = []string{
	"'", "''", `"`, "`", `\`, "';--", "' OR '1'='1", "1 OR 1=1", "') OR ('1'='1", "' UNION SELECT password FROM users--", "'; DROP TABLE users;--",
	"1; SELECT pg_sleep(5)--", "' AND (SELECT 1 FROM pg_sleep(5))--", "$1", "?", "%", "_", `%' ESCAPE '\`, "{{.}}", "${7*7}", "<svg onload=alert(1)>",
	"\x00", "\xff\xfe", "-1", "9223372036854775808", "99999999999999999999", "1e309", "NaN", "a\r\nb: c", "\u202e", strings.Repeat("a", 300),
	"../../etc/passwd", "=cmd|' /C calc'!A0", "null", "[]", "{}",
}

// What people type is data, in every field and on both databases.
func injected(t *testing.T) {
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

func checkInjected(t *testing.T, at target, text string, a answer) {
	t.Helper()
	body := strings.ToLower(a.body)
	for _, word := range []string{"sql logic", "sqlite error", "pgx", "syntax error", "sqlstate", "goroutine ", "panic"} {
		if strings.Contains(body, word) {
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

// A server whose database is gone lets nobody in; one that is new has no
// account, and no page that would make one.
func failsClosed(t *testing.T) {
	w := newWorld(t)
	b := w.browser().login("user")
	device := w.NewDevice(w.User, "laptop")
	if _, _, err := device.Client.Profile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := w.DB.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/account", "/account/security"} {
		if a := b.get(path); a.StatusCode < 500 || strings.Contains(strings.ToLower(a.body), "sql") {
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
func noDefaults(t *testing.T) {
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
