package localui

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

// open shows a window until the test ends.
func open(t *testing.T, change ...func(*Config)) *Window {
	t.Helper()
	st, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	none := t.TempDir() // no service answers there, and no list of servers lies there
	cfg := Config{State: st, Getenv: func(name string) string {
		return map[string]string{"BACKSTAY_SERVICE": none, "BACKSTAY_EDITIONS": filepath.Join(none, "editions.toml")}[name]
	}}
	for _, f := range change {
		f(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the window ended with %v", err)
		}
	})
	return w
}

// browser keeps cookies as browsers do.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// ask sends a request and returns its status and what came.
func ask(t *testing.T, c *http.Client, method, address string, form url.Values, change ...func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(r)
	}
	answer, err := c.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// enter lets a browser in by the link, as its page does.
func enter(t *testing.T, w *Window, c *http.Client) (int, string) {
	t.Helper()
	u, err := url.Parse(w.Link())
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, c, http.MethodPost, "http://"+u.Host+u.Path, u.Query(), header("Origin", "http://"+u.Host))
}

// The user of a computer that nothing says the user of finds the window filled in
// with what management knows.
func TestWindowOfDeployment(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("5d", 32)
	w := open(t, func(c *Config) {
		d := state.Deployment{Server: "https://backup.test", Fingerprint: key, Note: errs.NoteOf(errs.New(errs.Forbidden, "deploy.prompt", "email", "ann@example.org"))}
		if err := c.State.SetDeployment(&d); err != nil {
			t.Fatal(err)
		}
	})
	_, text := enter(t, w, browser(t))
	for _, want := range []string{`value="https://backup.test"`, `value="` + key + `"`, `value="ann@example.org"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the window lacks %s:\n%s", want, text)
		}
	}
}

// What lets nobody into the window of a user: another name for this
// computer, another site's form, no cookie, a cookie of somebody's own, a link
// that was used. Who is kept out learns nothing of the path that the pages have.
func TestDoor(t *testing.T) {
	t.Parallel()
	w := open(t)
	host := w.addr
	at := "http://" + host + w.base
	stranger := browser(t)
	link := w.Link()

	if status, text := ask(t, stranger, http.MethodGet, link, nil); status != http.StatusOK || !strings.Contains(text, "data-send") {
		t.Errorf("the link's page is %d:\n%s", status, text)
	}
	if w.Link() != link {
		t.Error("looking at the link's page used it up")
	}
	ours := browser(t)
	if status, text := enter(t, w, ours); status != http.StatusOK || !strings.Contains(text, "Activate Backup") {
		t.Fatalf("the link leads to %d:\n%s", status, text)
	}
	used, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []func() (int, string){
		func() (int, string) { return ask(t, stranger, http.MethodGet, link, nil) },
		func() (int, string) { return ask(t, stranger, http.MethodPost, at+"/open", used.Query()) },
		func() (int, string) { return enter(t, w, stranger) }, // its key is empty now
	} {
		if status, text := again(); status != http.StatusGone || strings.Contains(text, "data-send") {
			t.Errorf("the link a second time is %d:\n%s", status, text)
		}
	}
	if status, _ := ask(t, stranger, http.MethodGet, at+"/activate", nil); status != http.StatusForbidden {
		t.Errorf("the link's second use let somebody in: %d", status)
	}

	form := url.Values{"server": {"https://evil.example"}, "user": {"eve"}}
	// A name that leads here brings no cookie of its own; the name alone is to be
	// reason enough.
	cookied := header("Cookie", cookie+"="+w.session)
	for _, test := range []struct {
		name   string
		client *http.Client
		method string
		path   string
		change []func(*http.Request)
	}{
		{"no cookie", stranger, http.MethodGet, w.base + "/", nil},
		{"no cookie, a form", stranger, http.MethodPost, w.base + "/activate", nil},
		{"another's cookie", stranger, http.MethodGet, w.base + "/", []func(*http.Request){header("Cookie", cookie+"="+strings.Repeat("A", 26))}},
		{"without the path", ours, http.MethodGet, "/", nil},
		{"another name", ours, http.MethodGet, w.base + "/", []func(*http.Request){cookied, func(r *http.Request) { r.Host = "localhost" + host[strings.Index(host, ":"):] }}},
		{"another site's name", ours, http.MethodGet, w.base + "/", []func(*http.Request){cookied, func(r *http.Request) { r.Host = "evil.example" }}},
		{"a site that leads its name here", ours, http.MethodPost, w.base + "/activate", []func(*http.Request){cookied, func(r *http.Request) { r.Host = "evil.example" }, header("Origin", "http://evil.example")}},
		{"another port's", ours, http.MethodPost, w.base + "/activate", []func(*http.Request){header("Origin", "http://127.0.0.1:1"), header("Sec-Fetch-Site", "same-site")}},
		{"another site's form", ours, http.MethodPost, w.base + "/activate", []func(*http.Request){header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "cross-site")}},
		{"a hidden origin", ours, http.MethodPost, w.base + "/activate", []func(*http.Request){header("Origin", "null"), header("Sec-Fetch-Site", "cross-site")}},
		{"a hidden origin of an old browser", ours, http.MethodPost, w.base + "/activate", []func(*http.Request){header("Origin", "null")}},
		{"another site's script", ours, http.MethodGet, w.base + "/", []func(*http.Request){header("Origin", "https://evil.example")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, text := ask(t, test.client, test.method, "http://"+host+test.path, form, test.change...)
			if status != http.StatusForbidden {
				t.Errorf("it is answered %d:\n%s", status, text)
			}
			if test.client == stranger && strings.Contains(text, w.base) {
				t.Errorf("the answer tells the path:\n%s", text)
			}
		})
	}
	if f := w.now(); f.server != "" || f.user != "" {
		t.Errorf("somebody changed the flow: %v", f)
	}
	if status, _ := ask(t, ours, http.MethodGet, at+"/activate", nil); status != http.StatusOK {
		t.Errorf("the window is closed to its own browser: %d", status)
	}
}

// The cookie goes to no other site, no script, and no other path; the pages load
// nothing from elsewhere.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := open(t)
	c := browser(t)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	u, err := url.Parse(w.Link())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.PostForm("http://"+u.Host+u.Path, u.Query())
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	got := answer.Header.Get("Set-Cookie")
	for _, want := range []string{cookie + "=", "Path=" + w.base + "/", "HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(got, want) {
			t.Errorf("the cookie %q lacks %s", got, want)
		}
	}
	if csp := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
}

// Nothing changes by a GET: each page is asked for, and no step has been taken.
func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	w := open(t)
	c := browser(t)
	enter(t, w, c)
	for _, path := range []string{"/", "/activate", "/connect", "/password", "/code", "/account", "/new-password", "/devices", "/preview", "/waiting",
		"/ready", "/register", "/register/code", "/forgot", "/forgot/sent", "/proxy", "/alive"} {
		ask(t, c, http.MethodGet, "http://"+w.addr+w.base+path+"?user=eve&server=https://evil.example&mode=none&choice=replace&device=x", nil)
	}
	if f := w.now(); f.server != "" || f.trial != nil || f.ready != nil {
		t.Errorf("a GET changed the flow: %v", f)
	}
	files, err := os.ReadDir(w.cfg.State.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "lock" {
			t.Errorf("a GET wrote %s", f.Name())
		}
	}
}

// Another user of this computer gets no answer at all, whatever they know.
func TestForeigner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("run this test as root: it becomes another user")
	}
	t.Parallel()
	w := open(t)
	_, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	asks := `exec 3<>/dev/tcp/127.0.0.1/` + port + ` && printf 'GET ` + w.base + `/open?key=` + w.key + ` HTTP/1.1\r\nHost: ` + w.addr + `\r\nConnection: close\r\n\r\n' >&3 && cat <&3`
	run := func(uid uint32) string {
		cmd := exec.Command("bash", "-c", asks)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, _ := cmd.Output() // that the connection is broken off is no failure of the test
		return string(out)
	}
	if got := run(0); !strings.Contains(got, "200 OK") {
		t.Errorf("one's own process is answered %q", got)
	}
	if got := run(65534); got != "" {
		t.Errorf("another user's process is answered %q", got)
	}
}

// A window that nobody looks at ends.
func TestIdle(t *testing.T) {
	t.Parallel()
	st, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	none := t.TempDir()
	w, err := New(Config{State: st, idle: 200 * time.Millisecond, Getenv: func(string) string { return none }})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Serve(t.Context()); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := net.Dial("tcp", w.addr); err == nil {
		t.Error("its port is still open")
	}
}
