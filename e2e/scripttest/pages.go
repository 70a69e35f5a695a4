//go:build linux

package scripttest

import (
	"html"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/server/devices"
)

// tag is what stands between the words of a page.
var tag = regexp.MustCompile(`<[^>]*>`)

// reads waits until a page has a text, or with ! looks that it has not: as admin
// in the console, as anybody else in the portal: [!] reads USER PATH TEXT
func reads(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] reads USER PATH TEXT")
	}
	b := newBrowser(ts, ts.Getenv("SERVER"))
	login := "/login"
	if args[0] == "admin" {
		login = "/admin/login"
	}
	b.get(login)
	b.post(login, url.Values{"username": {args[0]}, "password": {oneLine(ts.ReadFile("password"))}})
	words := ""
	look := func() bool {
		words = strings.Join(strings.Fields(html.UnescapeString(tag.ReplaceAllString(b.get(args[1]), ""))), " ")
		return strings.Contains(words, args[2])
	}
	if neg && look() || !neg && !within(30*time.Second, look) {
		ts.Fatalf("%s reads of %s:\n%s", args[0], args[1], words)
	}
}

// keyCommand makes an activation key in the console, and leaves it in a file:
// key FILE DEVICE CHOICE
func keyCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: key FILE DEVICE CHOICE")
	}
	c := newConsole(ts)
	at := c.deviceAt(args[1])
	user := regexp.MustCompile(`/admin/users/[0-9a-f-]{36}`).FindString(c.get(at))
	page := c.post(user+"/keys/new", url.Values{"device": {at[strings.LastIndexByte(at, '/')+1:]}, "choice": {args[2]}})
	key := regexp.MustCompile(`` + devices.KeyPrefix + `[A-Za-z0-9_-]+`).FindString(page)
	if key == "" {
		ts.Fatalf("the console shows no key:\n%s", page)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(key+"\n"), 0o600))
}
