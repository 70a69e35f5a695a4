//go:build linux

package scripttest

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// resetCommand is a security reset: admin asks for it, and another administrator
// approves: reset [FIELD=VALUE]... When it returns all devices are revoked.
// The page of the reset is $RESET.
func resetCommand(ts *testscript.TestScript, _ bool, args []string) {
	form := url.Values{"name": {"Reset"}, "reason": {"the old server was broken into"}}
	fill(form, args)
	first, second := newConsole(ts), newConsoleOf(ts, "second")
	field := func(is, page string) string {
		m := regexp.MustCompile(is).FindStringSubmatch(page)
		if m == nil {
			ts.Fatalf("the page has no %s:\n%s", is, page)
		}
		return m[1]
	}
	form.Set("expect", field(`name="expect" value="(\d+)"`, first.post("/admin/resets/new", form)))
	page := first.post("/admin/resets/new/ask", form)
	ask := field(`href="(/admin/approvals/[0-9a-f-]{36})"`, page)
	second.post(ask+"/approve", nil)
	at := field(`href="(/admin/resets/[0-9a-f-]{36})"`, second.get(ask))
	ts.Setenv("RESET", at)
	resetIs(ts, first, at, "Revoked, waiting for devices")
}

// resetIsCommand waits until the page of the reset has a text: resetis TEXT
func resetIsCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: resetis TEXT")
	}
	resetIs(ts, newConsole(ts), ts.Getenv("RESET"), args[0])
}

func resetIs(ts *testscript.TestScript, c *browser, at, text string) {
	page := ""
	if !within(30*time.Second, func() bool {
		page = c.get(at)
		return strings.Contains(page, text)
	}) {
		ts.Fatalf("%s never has %q:\n%s", at, text, page)
	}
}

// tellCommand writes to the users of the reset, from its page.
func tellCommand(ts *testscript.TestScript, _ bool, _ []string) {
	at := ts.Getenv("RESET")
	newConsole(ts).post("/admin/devices/write/send", url.Values{"reset": {at[strings.LastIndexByte(at, '/')+1:]}, "window": {"21 November"},
		"since": {"2026-11-21"}, "link": {"https://help.example.org/"}, "contact": {"help@example.org"}})
}
