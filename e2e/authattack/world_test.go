// Package authattack_test attacks the ways in of a whole server, from outside,
// over HTTP. Each row of the table is one kind of attack and says which
// requirements of the OWASP ASVS 5.0 it tests; docs/asvs.md is made from that.
package authattack_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
)

var system = access.System("authattack")

// world is a server that is attacked. Its clock can be moved on, it keeps what
// it logs, and it stands behind a proxy that it trusts, so that a browser can
// come from any address.
type world struct {
	testing.TB
	*servertest.Server
	ahead   *atomic.Int64 // nanoseconds that the clock is ahead
	logs    *logs
	clients atomic.Int64
	wire    http.RoundTripper // that all browsers share; only cookies tell them apart
	forget  func()            // ends connections that nobody uses

	// front answers in the server's place, in a control, what is asked by raw.
	front func(method, path string) (answer, bool)
}

func newWorld(t testing.TB, options ...func(*server.Config)) *world {
	t.Helper()
	w := &world{TB: t, ahead: new(atomic.Int64), logs: &logs{}}
	options = append([]func(*server.Config){func(cfg *server.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		cfg.Log = slog.New(slog.NewJSONHandler(w.logs, nil))
		cfg.Hasher = &passwords.Hasher{Time: 1, Memory: 64, AtOnce: 64} // of its own: others attack, too
	}}, options...)
	weak, _ := t.(*control)
	if weak != nil && weak.config != nil {
		options = append(options, weak.config)
	}
	w.Server = servertest.New(t, options...)
	w.Gate.PadTo = padTo
	transport := w.Client().Transport
	w.wire, w.forget = transport, transport.(*http.Transport).CloseIdleConnections
	if weak != nil && weak.weaken != nil {
		weak.weaken(w)
	}
	return w
}

// padTo is how long a log-in with an address takes that fails: long enough to
// hide what it does, and short enough for tests.
const padTo = 20 * time.Millisecond

// restart restarts the server, and has browsers connect anew.
func (w *world) restart() {
	w.Helper()
	w.Restart()
	w.Gate.PadTo = padTo
	w.forget()
}

// wait moves the clock on.
func (w *world) wait(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *world) clock() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// write fails the test when f does.
func (w *world) write(f func(context.Context, *db.Tx) error) {
	w.Helper()
	if err := w.DB.Write(w.Context(), func(tx *db.Tx) error { return f(w.Context(), tx) }); err != nil {
		w.Fatal(err)
	}
}

// read is write for what only looks.
func (w *world) read(f func(context.Context, *db.Tx) error) {
	w.Helper()
	if err := w.DB.Read(w.Context(), func(tx *db.Tx) error { return f(w.Context(), tx) }); err != nil {
		w.Fatal(err)
	}
}

// org makes another organisation.
func (w *world) org(name string) (o orgs.Org) {
	w.Helper()
	o, _, err := w.EnsureOrg(w.Context(), system, name)
	if err != nil {
		w.Fatal(err)
	}
	return o
}

// account makes an account with the password of its kind.
func (w *world) account(n accounts.New) accounts.User {
	w.Helper()
	if n.Org == "" {
		n.Org = w.Org.ID
	}
	password := servertest.UserPassword
	if n.Kind == access.AdminKind {
		password = servertest.AdminPassword
	}
	u, err := w.NewAccount(w.Context(), system, n, password)
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) find(id accounts.ID) (u accounts.User) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		u, err = accounts.Find(ctx, tx, id)
		return err
	})
	return u
}

func (w *world) audit(f audit.Filter) (rows []audit.Row) {
	w.Helper()
	w.write(func(ctx context.Context, tx *db.Tx) (err error) {
		rows, err = audit.List(ctx, tx, system, f)
		return err
	})
	return rows
}

// logs is what a server has logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The names of the two portals' session cookies.
const (
	userCookie  = "__Host-backstay-portal"
	adminCookie = "__Host-backstay-console"
)

// browser is somebody at one of the portals, with cookies of their own and an
// address of their own.
type browser struct {
	w      *world
	client *http.Client
	base   string // "" or "/admin"
	ip     string

	conn   net.Conn // of raw
	reader *bufio.Reader
}

// browser opens the users' portal, from an address that no other browser of
// this world has.
func (w *world) browser() *browser {
	w.Helper()
	n := w.clients.Add(1)
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.Fatal(err)
	}
	client := &http.Client{Transport: w.wire, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &browser{w: w, client: client, ip: netip.AddrFrom4([4]byte{198, byte(18 + n>>16&1), byte(n >> 8), byte(n)}).String()}
}

// console opens the administrators' portal.
func (w *world) console() *browser {
	w.Helper()
	b := w.browser()
	b.base = "/admin"
	return b
}

// answer is what came back, read to its end.
type answer struct {
	*http.Response
	body string
}

// to is the path that the answer leads to, "" for none.
func (a answer) to() string {
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		return ""
	}
	return u.Path
}

var problem = regexp.MustCompile(`(?s)<(?:title|h1|h3|p|div role="alert")[^>]*>([^<]+)<`)

// problem is what a page says first.
func (a answer) problem() string {
	var text []string
	for _, m := range problem.FindAllStringSubmatch(a.body, 5) {
		text = append(text, strings.TrimSpace(m[1]))
	}
	return strings.Join(text, " | ")
}

// request is a request as a browser on one of our pages makes it.
func (b *browser) request(method, path string, body io.Reader) *http.Request {
	b.w.Helper()
	r, err := http.NewRequestWithContext(b.w.Context(), method, b.w.URL+path, body)
	if err != nil {
		b.w.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", b.ip)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("User-Agent", "authattack")
	r.Header.Set(wire.HeaderVersion, "99.0") // what only devices look at
	if method != http.MethodGet && method != http.MethodHead {
		r.Header.Set("Origin", b.w.URL)
	}
	return r
}

func (b *browser) do(r *http.Request) answer {
	b.w.Helper()
	response, err := b.client.Do(r)
	if err != nil {
		b.w.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.w.Fatal(err)
	}
	return answer{response, string(body)}
}

// get and post ask for a path of the browser's portal.
func (b *browser) get(path string) answer {
	b.w.Helper()
	return b.do(b.request(http.MethodGet, b.base+path, nil))
}

// post sends a form, given as names and values in turn.
func (b *browser) post(path string, fields ...string) answer {
	b.w.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	r := b.request(http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r)
}

// try is one attempt to log in.
func (b *browser) try(username, password string) answer {
	b.w.Helper()
	if b.cookie("__Host-backstay-check") == "" {
		b.get("/login")
	}
	return b.post("/login", "username", username, "password", password)
}

// login logs in, and fails the test when that does not work.
func (b *browser) login(username string) *browser {
	b.w.Helper()
	password := servertest.UserPassword
	if b.base != "" {
		password = servertest.AdminPassword
	}
	if a := b.try(username, password); a.StatusCode != http.StatusSeeOther {
		b.w.Fatalf("logging in as %s: %s %s", username, a.Status, a.problem())
	}
	return b
}

// in reports whether the browser is logged in, wholly.
func (b *browser) in() bool {
	b.w.Helper()
	return b.get("/account").StatusCode == http.StatusOK
}

func (b *browser) home() *url.URL {
	u, err := url.Parse(b.w.URL)
	if err != nil {
		b.w.Fatal(err)
	}
	return u
}

func (b *browser) cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(b.home()) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setCookie(name, value string) {
	b.client.Jar.SetCookies(b.home(), []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// session is the browser's session cookie.
func (b *browser) session() string {
	if b.base == "" {
		return b.cookie(userCookie)
	}
	return b.cookie(adminCookie)
}

func (b *browser) setSession(token string) {
	name := userCookie
	if b.base != "" {
		name = adminCookie
	}
	b.setCookie(name, token)
}
