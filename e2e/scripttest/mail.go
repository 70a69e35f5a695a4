//go:build linux

package scripttest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

// mailServer takes the mail of all scripts. Each script's server writes from an
// address of its own, so that their users may have the same names.
type mailServer struct{}

func mailFrom(ts *testscript.TestScript) string { return ts.Name() + "@backstay.example" }

// taken are the mails that a script has read.
type takenMails struct{}

// settingsCommand does what an administrator does in Settings: settings JSON
// changes what is named in it, "settings mail" has the server send its mail to
// the mail server of the tests.
func settingsCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: settings mail|JSON")
	}
	ctx := context.Background()
	d := openDB(ts)
	defer d.Close()
	ts.Check(d.Write(ctx, func(tx *db.Tx) error {
		return settings.Change(ctx, tx, access.System("e2e"), func(s *settings.Settings) error {
			if args[0] == "mail" {
				s.Mail = ts.Value(mailServer{}).(*mailtest.Server).Settings
				s.Mail.From = mailFrom(ts)
				return nil
			}
			return json.Unmarshal([]byte(args[0]), s)
		})
	}))
}

// mailed waits for a mail, keeps what it is about in a variable, and its words in
// the file mail, in one line:
// mailed VAR code|link|secret|text ADDRESS TEMPLATE
func mailed(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: mailed VAR code|link|secret|text ADDRESS TEMPLATE")
	}
	taken := ts.Value(takenMails{}).(map[*mailtest.Mail]bool)
	all := ts.Value(mailServer{}).(*mailtest.Server).All
	var found *mailtest.Mail
	within(20*time.Second, func() bool {
		for _, m := range all() {
			if m.From == mailFrom(ts) && m.To == args[2] && m.Template == mail.Template(args[3]) && !taken[m] {
				found = m
			}
		}
		return found != nil
	})
	if found == nil {
		ts.Fatalf("no mail %s came for %s; there are %v", args[3], args[2], all())
	}
	taken[found] = true
	ts.Logf("%s\n%s", found.Subject, found.Text)
	ts.Check(os.WriteFile(ts.MkAbs("mail"), []byte(strings.Join(strings.Fields(found.Subject+" "+found.Text), " ")+"\n"), 0o600))
	value := map[string]string{"code": found.Code, "link": found.Link(), "secret": found.Secret(), "text": found.Text}[args[1]]
	if value == "" {
		ts.Fatalf("the mail has no %s:\n%s", args[1], found.Text)
	}
	ts.Setenv(args[0], value)
}

// keep writes a variable's value into a file, as a line: keep FILE VALUE
func keep(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: keep FILE VALUE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]+"\n"), 0o600))
}

// setPassword does what somebody does in the browser whom a link was mailed to:
// [!] setpassword LINK FILE
func setPassword(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: setpassword LINK FILE")
	}
	password := oneLine(ts.ReadFile(args[1]))
	link, err := url.Parse(args[0])
	ts.Check(err)
	b := newBrowser(ts, link.Scheme+"://"+link.Host)
	form := url.Values{"token": {link.Query().Get("token")}, "password": {password}, "again": {password}}
	for _, r := range []struct {
		method, path string
		form         url.Values
	}{{http.MethodGet, link.RequestURI(), nil}, {http.MethodPost, link.Path, form}} {
		if status, page := b.send(r.method, r.path, r.form); (status == http.StatusOK) == neg {
			ts.Fatalf("%s %s: %d\n%s", r.method, link.Path, status, page)
		}
	}
}

// invite makes an account in the console, whose owner gets a mail: invite NAME ADDRESS
func invite(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: invite NAME ADDRESS")
	}
	newConsole(ts).post("/admin/users", url.Values{"how": {"invite"}, "username": {args[0]}, "email": {args[1]}})
}
