//go:build linux

package scripttest

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// deactivate does what an administrator does in the console: deactivate DEVICE
func deactivate(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: deactivate DEVICE")
	}
	c := newConsole(ts)
	c.post(c.deviceAt(args[0])+"/deactivate", url.Values{"confirm": {args[0]}})
}

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
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		form.Set(name, value)
	}
	newConsole(ts).post(args[0], form)
}

// deviceAt is the page of a device, by its name.
func (c *console) deviceAt(name string) string {
	is := regexp.MustCompile(`/admin/devices/([0-9a-f-]{36})"[^>]*>(?:<bdi>)?` + regexp.QuoteMeta(name))
	for _, state := range []string{"", "?state=deleted"} {
		if m := is.FindStringSubmatch(c.get("/admin/devices" + state)); m != nil {
			return "/admin/devices/" + m[1]
		}
	}
	c.ts.Fatalf("the console shows no device %s", name)
	return ""
}

// console is a browser in which the administrator is logged in.
type console struct {
	ts     *testscript.TestScript
	base   string
	client *http.Client
}

func newConsole(ts *testscript.TestScript) *console { return newConsoleOf(ts, "admin") }

func newConsoleOf(ts *testscript.TestScript, username string) *console {
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	password, err := os.ReadFile(ts.MkAbs("password"))
	ts.Check(err)
	c := &console{ts: ts, base: ts.Getenv("SERVER"), client: &http.Client{
		Jar: jar, Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}}
	c.get("/admin/login") // which gives the cookie that shows that there are cookies
	c.post("/admin/login", url.Values{"username": {username}, "password": {oneLine(string(password))}})
	return c
}

func (c *console) get(path string) string {
	r, err := c.client.Get(c.base + path)
	c.ts.Check(err)
	return c.read(r)
}

func (c *console) post(path string, form url.Values) { c.postRead(path, form) }

func (c *console) postRead(path string, form url.Values) string {
	r, err := http.NewRequest(http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	c.ts.Check(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", c.base)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := c.client.Do(r)
	c.ts.Check(err)
	return c.read(answer)
}

func (c *console) read(r *http.Response) string {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	c.ts.Check(err)
	if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusCreated {
		c.ts.Fatalf("%s: %s\n%s", r.Request.URL, r.Status, body)
	}
	return string(body)
}
