package web

import (
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

type samplePage struct {
	Frame
	Form Form
	When time.Time
	File string
}

var sampleTemplates = fstest.MapFS{"templates/sample.html": {Data: []byte(
	`{{define "content"}}{{template "problem" .Form.Problem}}<h1>{{T "login.submit"}}</h1>{{.Time .When}}|{{visible .File}}|{{icon "check"}}{{end}}`)}}

var sampleNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// newSample is a portal with one page, one action and one failure.
func newSample(t testing.TB, log *slog.Logger) http.Handler {
	t.Helper()
	templates, err := Parse(sampleTemplates)
	if err != nil {
		t.Fatal(err)
	}
	site, err := New(Config{Name: "portal", Templates: templates, Log: log, Now: func() time.Time { return sampleNow }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		site.Render(w, r, http.StatusOK, "sample", samplePage{
			Frame: site.Frame(w, r).Card(), When: sampleNow.Add(-2 * time.Hour), File: `<script>alert(1)</script>` + "\u202egpj.exe",
		})
	})
	mux.HandleFunc("POST /do", func(w http.ResponseWriter, r *http.Request) {
		site.Done(w, r, "/", Flash{Key: "time.ago.days", Args: []any{"n", 3}})
	})
	mux.HandleFunc("GET /full", func(w http.ResponseWriter, r *http.Request) { site.Fail(w, r, errs.Of(errs.TooManyAttempts, "n", 7)) })
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, r *http.Request) { site.Fail(w, r, errors.New("secret of ours")) })
	mux.HandleFunc("GET /file/{name}", func(http.ResponseWriter, *http.Request) {})
	return site.Handler(mux)
}

// What is no text for a database goes no further than here; names of files may
// be any bytes.
func TestOnlyText(t *testing.T) {
	t.Parallel()
	h := newSample(t, nil)
	for _, c := range []struct {
		method, target string
		want           int
	}{
		{http.MethodGet, "/file/a?q=%C3%A9", http.StatusOK},
		{http.MethodGet, "/file/a?path=%FF", http.StatusOK},
		{http.MethodGet, "/file/a?q=%FF", http.StatusBadRequest},
		{http.MethodGet, "/file/a?q=%00", http.StatusBadRequest},
		{http.MethodGet, "/file/a?%00=q", http.StatusBadRequest},
		{http.MethodGet, "/file/a?q=%zz", http.StatusBadRequest},
		{http.MethodGet, "/file/%00", http.StatusNotFound},
		{http.MethodGet, "/file/%FF", http.StatusNotFound},
		{http.MethodPost, "/do?name=a%00", http.StatusBadRequest},
		{http.MethodPost, "/do?name=a", http.StatusSeeOther},
		{http.MethodPost, "/do?name=" + strings.Repeat("a", maxForm), http.StatusRequestEntityTooLarge},
	} {
		if got := do(h, c.method, c.target).StatusCode; got != c.want {
			t.Errorf("%s %.40s = %d, want %d", c.method, c.target, got, c.want)
		}
	}
}

func do(h http.Handler, method, target string, header ...string) *http.Response {
	var body io.Reader
	if method == http.MethodPost {
		path, form, _ := strings.Cut(target, "?")
		target, body = path, strings.NewReader(form)
	}
	r := httptest.NewRequest(method, "https://backup.example"+target, body)
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPage(t *testing.T) {
	t.Parallel()
	h := newSample(t, nil)
	for _, tc := range []struct {
		accept string
		want   []string
	}{
		{"en", []string{`<html lang="en"`, "<h1>Log in</h1>", `datetime="2026-11-22T10:00:00Z"`, ">2 hours ago<"}},
		{"fr", []string{`<html lang="fr"`, "<h1>Se connecter</h1>", ">il y a 2 heures<", "à 10:00:00 UTC"}},
	} {
		got := text(t, do(h, http.MethodGet, "/", "Accept-Language", tc.accept))
		for _, want := range append(tc.want, `&lt;script&gt;alert(1)&lt;/script&gt;\u202egpj.exe`) {
			if !strings.Contains(got, want) {
				t.Errorf("page in %s lacks %q", tc.accept, want)
			}
		}
	}
}

func TestPageIsCompressed(t *testing.T) {
	t.Parallel()
	r := do(newSample(t, nil), http.MethodGet, "/", "Accept-Encoding", "gzip, br")
	if got := r.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding = %q, want gzip", got)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || !strings.Contains(string(b), "</html>") {
		t.Errorf("page ends early: %v", err)
	}
}

// A response of any kind carries the headers: pages, assets, failures,
// redirects, and what does not exist.
func TestHeadersEverywhere(t *testing.T) {
	t.Parallel()
	h := newSample(t, slog.New(slog.DiscardHandler))
	assets, err := LoadAssets()
	if err != nil {
		t.Fatal(err)
	}
	css, err := assets.URL("app.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		r      *http.Response
		status int
	}{
		{"page", do(h, http.MethodGet, "/"), 200},
		{"redirect", do(h, http.MethodPost, "/do"), 303},
		{"expected failure", do(h, http.MethodGet, "/full"), 429},
		{"unexpected failure", do(h, http.MethodGet, "/broken"), 500},
		{"missing page", do(h, http.MethodGet, "/nowhere"), 404},
		{"other site", do(h, http.MethodPost, "/do", "Sec-Fetch-Site", "cross-site"), 403},
		{"old browser, other site", do(h, http.MethodPost, "/do", "Origin", "https://evil.example"), 403},
		{"asset", do(assets, http.MethodGet, css), 200},
		{"missing asset", do(assets, http.MethodGet, "/static/app.css"), 404},
		{"asset by POST", do(assets, http.MethodPost, css), 405},
	} {
		if tc.r.StatusCode != tc.status {
			t.Errorf("%s: status %d, want %d", tc.name, tc.r.StatusCode, tc.status)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy":      policy,
			"Strict-Transport-Security":    "max-age=31536000",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := tc.r.Header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", tc.name, name, got, want)
			}
		}
		wantCache := "no-store"
		if tc.name == "asset" {
			wantCache = "public, max-age=31536000, immutable"
		}
		if got := tc.r.Header.Get("Cache-Control"); got != wantCache {
			t.Errorf("%s: Cache-Control = %q, want %q", tc.name, got, wantCache)
		}
		for _, c := range tc.r.Cookies() {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
				t.Errorf("%s: cookie %s is not locked down: %v", tc.name, c.Name, c)
			}
		}
	}
}

func TestFailTellsNothingOfOurs(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	h := newSample(t, slog.New(slog.NewTextHandler(&log, nil)))
	if got := text(t, do(h, http.MethodGet, "/broken")); strings.Contains(got, "secret of ours") || !strings.Contains(got, "recorded") {
		t.Errorf("page of an unexpected failure: %s", got)
	}
	if !strings.Contains(log.String(), "secret of ours") {
		t.Errorf("the unexpected failure is not logged: %q", log.String())
	}
	log.Reset()
	r := do(h, http.MethodGet, "/full", "Accept-Language", "fr")
	if got := text(t, r); !strings.Contains(got, "Réessayez dans 7 secondes.") || !strings.Contains(got, `<span class="code">E1104</span>`) {
		t.Errorf("page of E1104: %s", got)
	}
	if got := r.Header.Get("Retry-After"); got != "7" {
		t.Errorf("Retry-After = %q, want 7", got)
	}
	if log.String() != "" {
		t.Errorf("an expected failure was logged: %q", log.String())
	}
}

func TestFlashIsShownOnce(t *testing.T) {
	t.Parallel()
	h := newSample(t, nil)
	r := do(h, http.MethodPost, "/do")
	cookie := r.Cookies()[0]
	r = do(h, http.MethodGet, "/", "Cookie", cookie.Name+"="+cookie.Value)
	if got := text(t, r); !strings.Contains(got, "3 days ago") {
		t.Errorf("the note is not on the next page: %s", got)
	}
	if c := r.Cookies()[0]; c.Name != cookie.Name || c.Expires.After(sampleNow) || c.Value != "" {
		t.Errorf("the note is not dropped: %v", c)
	}
	for _, bad := range []string{"x", "e30", "bnVsbA"} {
		if r := do(h, http.MethodGet, "/", "Cookie", cookie.Name+"="+bad); r.StatusCode != 200 {
			t.Errorf("note %q gives %d", bad, r.StatusCode)
		}
	}
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	h := newSample(t, nil)
	r := do(h, http.MethodPost, "/preferences?language=fr&theme=dark&back="+url.QueryEscape("/full?a=b"))
	if got := r.Header.Get("Location"); got != "/full?a=b" {
		t.Errorf("back at %q", got)
	}
	var cookies []string
	for _, c := range r.Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	got := text(t, do(h, http.MethodGet, "/", "Cookie", strings.Join(cookies, "; "), "Accept-Language", "en"))
	if !strings.Contains(got, `<html lang="fr" data-bs-theme="dark"`) {
		t.Errorf("the choice is not remembered: %.200s", got)
	}
}

func TestLocalPath(t *testing.T) {
	for to, want := range map[string]string{
		"/devices?q=a": "/devices?q=a", "": "/", "https://evil.example": "/", "//evil.example": "/",
		`/\evil.example`: "/", "/a\r\nX: y": "/", "javascript:alert(1)": "/",
	} {
		if got := LocalPath(to, "/"); got != want {
			t.Errorf("LocalPath(%q) = %q, want %q", to, got, want)
		}
	}
}

func TestZone(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	SetZone(w, "Europe/Paris", sampleNow)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	if got := zoneOf(r).String(); got != "Europe/Paris" {
		t.Errorf("zone = %q, want Europe/Paris", got)
	}
	for _, bad := range []string{"", "Local", "../../etc/passwd", "Nowhere/Land"} {
		w := httptest.NewRecorder()
		if SetZone(w, bad, sampleNow); len(w.Result().Cookies()) > 0 {
			t.Errorf("SetZone(%q) set a cookie", bad)
		}
	}
}

func TestVisible(t *testing.T) {
	for name, want := range map[string]string{
		"plain é 日本 👩‍💻":     "plain é 日本 👩‍💻",
		"a\u202etxt.exe":     `a\u202etxt.exe`,
		"bell\a\x1b[31m":     `bell\x07\x1b[31m`,
		"latin\xe9":          `latin\xe9`,
		"zero\u200bwidth":    `zero\u200bwidth`,
		"line\u2028break\r":  `line\u2028break\x0d`,
		"replacement \ufffd": "replacement \ufffd",
	} {
		if got := Visible(name); got != want {
			t.Errorf("Visible(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestAttachment(t *testing.T) {
	for name, want := range map[string]string{
		"report.pdf":      `attachment; filename="report.pdf"; filename*=UTF-8''report.pdf`,
		"été 100%.txt":    `attachment; filename="_t_ 100_.txt"; filename*=UTF-8''%C3%A9t%C3%A9%20100%25.txt`,
		"a\"b\r\nX: y":    `attachment; filename="a_b__X: y"; filename*=UTF-8''a%22b__X%3A%20y`,
		"../etc\\x\u202e": `attachment; filename=".._etc_x_"; filename*=UTF-8''.._etc_x_`,
		"bad\xffutf":      `attachment; filename="bad_utf"; filename*=UTF-8''bad_utf`,
	} {
		if got := Attachment(name); got != want {
			t.Errorf("Attachment(%q)\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	a, err := LoadAssets()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range []string{"vendor/tabler.css", "vendor/tabler.js", "vendor/icons.svg", "app.css", "app.js", "theme.js", "mark.svg"} {
		u, err := a.URL(name)
		if err != nil {
			t.Fatal(err)
		}
		packed := do(a, http.MethodGet, u, "Accept-Encoding", "gzip")
		total += len(text(t, packed))
		if got := text(t, do(a, http.MethodGet, u)); got == "" || strings.Contains(got, "url(data:") || strings.Contains(got, `url("data:`) {
			t.Errorf("%s is empty or holds an image that the policy forbids", name)
		}
	}
	if total > 250_000 {
		t.Errorf("the assets of a page are %d bytes compressed, want at most 250 kB", total)
	}
	if _, err := load(fstest.MapFS{"static/app.css": {Data: []byte("x")}}); err == nil || !strings.Contains(err.Error(), "make assets") {
		t.Errorf("assets without Tabler: %v, want advice", err)
	}
}

// Every icon that a template or a page names is in the sprite.
func TestIcons(t *testing.T) {
	t.Parallel()
	a, err := LoadAssets()
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.URL("vendor/icons.svg")
	if err != nil {
		t.Fatal(err)
	}
	sprite := text(t, do(a, http.MethodGet, u))
	named := regexp.MustCompile(`icon "([a-z0-9-]+)"|"icon" "([a-z0-9-]+)"|Icon: "([a-z0-9-]+)"|Sign\{"\w+", "([a-z0-9-]+)"`)
	found := 0
	for _, pattern := range []string{"templates/*.html", "*.go", "../server/portal/templates/*.html", "../server/portal/*.go", "../server/console/templates/*.html", "../server/console/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range named.FindAllStringSubmatch(string(data), -1) {
				name := m[1] + m[2] + m[3] + m[4]
				if found++; !strings.Contains(sprite, `<symbol id="`+name+`"`) {
					t.Errorf("%s names the icon %s, which is not in icons.txt", file, name)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d icons found", found)
	}
}

func TestForm(t *testing.T) {
	var f Form
	p := locale.For(locale.English)
	if f.Add(p, errors.New("ours")) || f.Bad() {
		t.Error("an unexpected failure went into the form")
	}
	if !f.Add(p, errs.Of(errs.AuthFailed)) || f.Problem == nil || f.Problem.Code != "E1101" {
		t.Errorf("E1101 in the form: %+v", f.Problem)
	}
	if !f.Add(p, errs.New(errs.Invalid, "page.refused", "field", "username")) || f.Field("username") == "" {
		t.Errorf("a field's failure is not at its field: %+v", f)
	}
}

func TestPages(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/users?q=a+b&after=m%C3%A9", nil)
	if got := After(r); got != "mé" {
		t.Errorf("After = %q, want mé", got)
	}
	p := PagesOf(r, 50, 120, "zed&x")
	if !p.Needed() || p.First != "/users?q=a+b" || p.Next != "/users?after=zed%26x&q=a+b" {
		t.Errorf("pages: first %q, next %q", p.First, p.Next)
	}
	if p := PagesOf(httptest.NewRequest(http.MethodGet, "/users", nil), 3, 3, ""); p.Needed() {
		t.Errorf("a short list has pages: %+v", p)
	}
}

// The templates and scripts hold no inline script, handler or style, which
// the policy would stop anyway.
func TestNothingInline(t *testing.T) {
	t.Parallel()
	h := newSample(t, nil)
	page := text(t, do(h, http.MethodGet, "/")) + text(t, do(h, http.MethodGet, "/full"))
	for _, bad := range []string{" style=", "<style", " onclick=", " onload=", "javascript:", "<script>"} {
		if strings.Contains(page, bad) {
			t.Errorf("a page holds %q", bad)
		}
	}
}

func TestActivateCommand(t *testing.T) {
	for _, tc := range []struct{ fingerprint, user, want string }{
		{"", "marie", "backstay activate --server https://b.example --user marie"},
		{"ab12", "m@b.example", "backstay activate --server https://b.example --ca-fingerprint ab12 --user m@b.example"},
		{"", "o'neil; rm -rf ~", `backstay activate --server https://b.example --user 'o'\''neil; rm -rf ~'`},
	} {
		if got := ActivateCommand("https://b.example", tc.fingerprint, tc.user); got != tc.want {
			t.Errorf("ActivateCommand(%q) = %s, want %s", tc.user, got, tc.want)
		}
	}
}
