//go:build linux

package scripttest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// deviceCommand does something to a device in the console, or undoes it:
// device DEVICE ACT [REASON]
func deviceCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: device DEVICE ACT [REASON]")
	}
	c := newConsole(ts)
	form := url.Values{"confirm": {args[0]}}
	if len(args) == 3 {
		form.Set("reason", args[2])
	}
	c.post(c.deviceAt(args[0])+"/"+args[1], form)
}

// consoleCommand sends a form of the console: console PATH [FIELD=VALUE]...
func consoleCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: console PATH [FIELD=VALUE]...")
	}
	form := url.Values{}
	fill(form, args[1:])
	newConsole(ts).post(args[0], form)
}

// fill puts into a form what a script says as FIELD=VALUE.
func fill(form url.Values, args []string) {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		form.Set(name, value)
	}
}

// deviceAt is the page of a device, by its name.
func (c *browser) deviceAt(name string) string {
	is := regexp.MustCompile(`/admin/devices/([0-9a-f-]{36})"[^>]*>(?:<bdi>)?` + regexp.QuoteMeta(name))
	for _, state := range []string{"", "?state=deleted"} {
		if m := is.FindStringSubmatch(c.get("/admin/devices" + state)); m != nil {
			return "/admin/devices/" + m[1]
		}
	}
	c.ts.Fatalf("the console shows no device %s", name)
	return ""
}

// newConsole is a browser in which the administrator is logged in.
func newConsole(ts *testscript.TestScript) *browser { return newConsoleOf(ts, "admin") }

func newConsoleOf(ts *testscript.TestScript, username string) *browser {
	c := newBrowser(ts, ts.Getenv("SERVER"))
	c.get("/admin/login") // which gives the cookie that shows that there are cookies
	c.post("/admin/login", url.Values{"username": {username}, "password": {oneLine(ts.ReadFile("password"))}})
	return c
}

// browser is somebody's at a server.
type browser struct {
	ts     *testscript.TestScript
	base   string
	client *http.Client
}

func newBrowser(ts *testscript.TestScript, base string) *browser {
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	return &browser{ts, base, &http.Client{Jar: jar, Timeout: 10 * time.Second, Transport: insecure.Transport}}
}

func (b *browser) get(path string) string { return b.good(http.MethodGet, path, nil) }

func (b *browser) post(path string, form url.Values) string {
	return b.good(http.MethodPost, path, form)
}

// good is send where it has to go well.
func (b *browser) good(method, path string, form url.Values) string {
	status, page := b.send(method, path, form)
	if status != http.StatusOK && status != http.StatusCreated {
		b.ts.Fatalf("%s %s: %d\n%s", method, path, status, page)
	}
	return page
}

// send asks for a page, by a form where there is one to POST, and follows where
// that leads.
func (b *browser) send(method, path string, form url.Values) (status int, page string) {
	r, err := http.NewRequest(method, b.base+path, strings.NewReader(form.Encode()))
	b.ts.Check(err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.base)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	answer, err := b.client.Do(r)
	b.ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	b.ts.Check(err)
	return answer.StatusCode, string(body)
}
