package authattack_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/web"
)

// Every answer, of whatever status, carries the headers that protect it.
func headers(t testing.TB) {
	w := newWorld(t)
	user, admin, stranger := w.browser().login("user"), w.console().login("admin"), w.browser()
	values := w.victim()
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
	var answers []answer
	check := func(a answer) {
		checkHeaders(t, a)
		answers = append(answers, a)
	}
	for _, target := range w.targets(values) {
		if target.method == http.MethodGet {
			for _, b := range []*browser{stranger, user, admin} {
				check(b.send(target))
			}
		}
	}
	for _, path := range []string{"/nothing", "/admin/nothing", "/static/nothing.js", "/agent/v1/nothing", "/%ff", "/login?%ff", "/healthz"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"} {
			check(stranger.do(stranger.request(method, path, nil)))
		}
	}
	checkCookies(t, answers)

	for _, method := range []string{"TRACE", "CONNECT", "TRACK", "DEBUG"} {
		if a := stranger.do(stranger.request(method, "/login", nil)); a.StatusCode != http.StatusMethodNotAllowed && a.StatusCode != http.StatusNotFound || strings.Contains(a.body, "authattack") {
			t.Errorf("%s = %s", method, a.Status)
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

func checkHeaders(t testing.TB, a answer) {
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

func checkCookies(t testing.TB, answers []answer) {
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
func spoofedAddresses(t testing.TB) {
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
