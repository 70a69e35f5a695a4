package entry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/web"
)

var sampleNow = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)

const hostile = `<img src=x onerror=alert(1)>"'` + "\u202egpj"

func sampleRules(f web.Frame, password string) []web.Rule {
	return rulesOf(f.Printer(), passwords.Classic, password, passwords.Context{Username: "marie"})
}

var sampleApp = factors.App{Secret: "JBSWY3DPEHPK3PXP", QR: factors.QR{Size: 4, Path: "M0 0h1v1h-1z"}}

// samples are all pages with made-up content.
var samples = map[string]func(out, in web.Frame) (string, web.Page){
	"login": func(out, in web.Frame) (string, web.Page) { return "login", loginPage{Frame: out, Register: true} },
	"login-wrong": func(out, in web.Frame) (string, web.Page) {
		page := loginPage{Frame: out, Username: hostile, Portal: "https://backup.example"}
		page.Form.Add(out.Printer(), errs.Of(errs.AuthFailed))
		return "login", page
	},
	"login-wait": func(out, in web.Frame) (string, web.Page) {
		page := loginPage{Frame: out, Username: "marie"}
		page.Form.Add(out.Printer(), errs.Of(errs.TooManyAttempts, "n", 30))
		return "login", page
	},
	"choose": func(out, in web.Frame) (string, web.Page) {
		return "choose", choosePage{Frame: out, Choice: []string{"marie", hostile}, Next: "/x"}
	},
	"factor": func(out, in web.Frame) (string, web.Page) {
		page := proofPage{Frame: out, Codes: true, Passkeys: true}
		page.Form.AddField("code", "Wrong.")
		return "factor", page
	},
	"confirm-self": func(out, in web.Frame) (string, web.Page) {
		return "confirm-self", proofPage{Frame: out, Username: hostile}
	},
	"confirm-self-passkey": func(out, in web.Frame) (string, web.Page) {
		return "confirm-self", proofPage{Frame: out, Passkeys: true}
	},
	"first-password": func(out, in web.Frame) (string, web.Page) {
		return "first-password", passwordPage{Frame: out, Username: "marie", Rules: sampleRules(out, "abc")}
	},
	"new-password": func(out, in web.Frame) (string, web.Page) {
		return "new-password", passwordPage{Frame: out, Username: hostile, Token: "t", Action: "/password", Rules: sampleRules(out, "")}
	},
	"forgot": func(out, in web.Frame) (string, web.Page) { return "forgot", forgotPage{Frame: out, Value: hostile} },
	"forgot-username": func(out, in web.Frame) (string, web.Page) {
		return "forgot", forgotPage{Frame: out, Usernames: true}
	},
	"notice": func(out, in web.Frame) (string, web.Page) {
		return "notice", noticePage{Frame: out, Icon: "clock", Text: "Over.", Code: "E1107", Hint: "Hint.", Back: true,
			Action: &web.Link{Key: "entry.expired.again", Href: "/forgot"}}
	},
	"notice-offer": func(out, in web.Frame) (string, web.Page) {
		return "notice", noticePage{Frame: out, Icon: "list", Text: "Text.", Post: &post{"/recovery", "next", hostile, "factor.recovery.make"},
			Action: &web.Link{Key: "factor.recovery.later", Href: "/"}}
	},
	"notice-out": func(out, in web.Frame) (string, web.Page) {
		return "notice", noticePage{Frame: out, Icon: "ban", Text: "Off.", Code: "E1106", LogOut: true}
	},
	"register": func(out, in web.Frame) (string, web.Page) {
		page := registerPage{Frame: out, Email: "marie@example.org", Username: hostile, NeedsSerial: true}
		for i := range web.SerialBoxes {
			page.Serial = append(page.Serial, web.Box{Number: i + 1, Value: "AB12C", Bad: i == 2})
		}
		page.Form.AddField("serial", "Group 3 is wrong.")
		return "register", page
	},
	"code": func(out, in web.Frame) (string, web.Page) {
		return "code", codePage{Frame: out, Action: "/register/code?id=x", Resend: "/register/resend?id=x", Digits: web.Boxes(web.CodeBoxes), Wait: 42}
	},
	"enrol": func(out, in web.Frame) (string, web.Page) {
		return "enrol", enrolPage{Frame: out, App: sampleApp, CanPasskey: true, Next: "/"}
	},
	"recovery": func(out, in web.Frame) (string, web.Page) {
		return "recovery", recoveryPage{Frame: out, Codes: []string{"ABCD-EFGH-JKMN", "0123-4567-89AB"}, Next: "/"}
	},
	"account": func(out, in web.Frame) (string, web.Page) {
		return "account", youPage{section: sampleSection(in), Username: "marie", FirstName: hostile, LastName: "Duval", Email: "marie@example.org", NewEmail: hostile}
	},
	"email": func(out, in web.Frame) (string, web.Page) {
		page := emailPage{section: sampleSection(in), Digits: web.Boxes(web.CodeBoxes)}
		page.Form.Add(in.Printer(), errs.Of(errs.WrongConfirmation, "n", 3))
		return "email", page
	},
	"security": func(out, in web.Frame) (string, web.Page) {
		return "security", securityPage{section: sampleSection(in), Username: "marie", Changed: sampleNow.AddDate(0, -2, 0), CanPasskey: true,
			Rules: sampleRules(in, ""), Factors: factors.Summary{TOTP: true, RecoveryLeft: 7,
				Passkeys: []factors.Passkey{{ID: "x", Name: hostile, CreatedAt: sampleNow.AddDate(0, -1, 0)}, {ID: "y", Name: "phone", CreatedAt: sampleNow, LastUsedAt: sampleNow}}}}
	},
	"security-bare": func(out, in web.Frame) (string, web.Page) {
		page := securityPage{section: sampleSection(in), Username: "marie", Changed: sampleNow, Rules: sampleRules(in, "abc")}
		page.Form.AddField("old", "Wrong.")
		return "security", page
	},
	"totp": func(out, in web.Frame) (string, web.Page) {
		return "totp", totpPage{section: sampleSection(in), App: sampleApp}
	},
	"codes": func(out, in web.Frame) (string, web.Page) {
		return "codes", codesPage{section: sampleSection(in), Codes: []string{"ABCD-EFGH-JKMN", "0123-4567-89AB"}}
	},
	"sessions": func(out, in web.Frame) (string, web.Page) {
		return "sessions", sessionsPage{section: sampleSection(in), Computers: true,
			Sessions: []login{{ID: "1", Browser: "Firefox on Linux", Agent: hostile, IP: "192.0.2.7", Here: true, Began: sampleNow, Seen: sampleNow},
				{ID: "2", Browser: "Safari on iPhone", Phone: true, IP: "2001:db8::1", Began: sampleNow.AddDate(0, 0, -1), Seen: sampleNow.Add(-time.Hour)}},
			Devices: []device{{ID: "1", Name: hostile, System: "Windows 11", Icon: "device-laptop", Active: true, Seen: sampleNow},
				{ID: "2", Name: "old", Icon: "device-laptop", State: web.State{Colour: "secondary", Text: "Deactivated"}}}}
	},
	"sessions-console": func(out, in web.Frame) (string, web.Page) {
		return "sessions", sessionsPage{section: sampleSection(in), Sessions: []login{{ID: "1", Browser: "Firefox on Linux", Here: true}}}
	},
	"device-end": func(out, in web.Frame) (string, web.Page) {
		return "device-end", askDevicePage{section: sampleSection(in), Device: device{ID: "1", Name: hostile}}
	},
	"privacy": func(out, in web.Frame) (string, web.Page) {
		return "privacy", privacyPage{section: sampleSection(in), User: true, On: true, MaySwitch: true}
	},
}

func sampleSection(in web.Frame) section {
	return section{Frame: in, Sections: []web.Link{{Key: "account.you", Href: "/account", Icon: "user-circle", Active: true}}}
}

func sampleSite(t *testing.T, name, base string) http.Handler {
	t.Helper()
	pages, err := Parse(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	site, err := web.New(web.Config{Name: name, Base: base, Templates: pages, Now: func() time.Time { return sampleNow }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for name, make := range samples {
		mux.HandleFunc("GET "+base+"/"+name, func(w http.ResponseWriter, r *http.Request) {
			in := site.Frame(w, r)
			in.Title, in.Who = "Title", "marie"
			out := site.Frame(w, r).Card()
			out.Title = "Title"
			template, page := make(out, in)
			site.Render(w, r, http.StatusOK, template, page)
		})
	}
	return site.Handler(mux)
}

// Every page renders in both languages and for both portals, whatever the names
// are, without anything inline.
func TestPagesRender(t *testing.T) {
	t.Parallel()
	for portal, base := range map[string]string{"portal": "", "console": "/admin"} {
		h := sampleSite(t, portal, base)
		for _, lang := range locale.Langs() {
			for name := range samples {
				r := httptest.NewRequest(http.MethodGet, base+"/"+name, nil)
				r.Header.Set("Accept-Language", string(lang))
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				page := w.Body.String()
				if w.Code != http.StatusOK || !strings.Contains(page, "</html>") {
					t.Errorf("%s in %s: status %d: %s", name, lang, w.Code, page)
				}
				for _, bad := range []string{" style=", "<style", " onclick=", " data-on", "<img src=x", "no value", "ZgotmplZ", "%!", ">entry.", ">factor."} {
					if strings.Contains(page, bad) {
						t.Errorf("%s in %s holds %q", name, lang, bad)
					}
				}
			}
		}
	}
}
