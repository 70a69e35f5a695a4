//go:build linux

package scripttest

import (
	"html"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// tokenCommand makes a deployment token in the console and leaves the file for
// the client: token FILE [FIELD=VALUE]...
func tokenCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: token FILE [FIELD=VALUE]...")
	}
	form := url.Values{"name": {args[0]}, "days": {"1"}, "create_users": {"on"}, "domains": {"example.org"}}
	for _, arg := range args[1:] {
		values, err := url.ParseQuery(arg)
		ts.Check(err)
		for name := range values {
			form.Set(name, values.Get(name))
		}
	}
	c := newConsole(ts)
	page := c.post("/admin/deployment/new", form)
	m := regexp.MustCompile(`(?s)<code id="line-toml">(.*?)</code>`).FindStringSubmatch(page)
	if m == nil {
		ts.Fatalf("the console shows no file:\n%s", page)
	}
	name, err := os.Hostname()
	ts.Check(err)
	name, _, _ = strings.Cut(name, ".")
	ts.Setenv("HOST", name) // what the device is called
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(html.UnescapeString(m[1])), 0o600))
}

// approveCommand lets all devices in that wait.
func approveCommand(ts *testscript.TestScript, _ bool, _ []string) {
	newConsole(ts).post("/admin/deployment/approvals", url.Values{"act": {"approve-all"}})
}
