package browser_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/factors/factorstest"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/web/webtest"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// notPages are what browsers ask for and do not show, and why; programs ask for
// what is below the other prefixes.
var notPages = map[string]string{
	"GET /admin":                                       "leads to the console",
	"GET /admin/deployment/map/sample":                 "a file",
	"GET /admin/deployment/rollout/laggards":           "a file",
	"GET /admin/resets/{reset}/laggards":               "a file",
	"GET /admin/imports/{import}/failed":               "a file",
	"GET /admin/settings/licences/{licence}/users.csv": "a file",
	"GET /admin/users/export":                          "a file",
	"GET /admin/users/import/sample":                   "a file",
	"GET /devices/{device}/{snapshot}/file":            "a file",
}

// forPrograms are what no browser asks for.
func forPrograms(path string) bool {
	return slices.ContainsFunc([]string{"/agent/", "/api/", "/static/", "/healthz", "/metrics", "/clients/"}, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// Every page that there is, in both languages, sizes and colours. The list is
// the server's own: a page that nobody says here how to get to fails the test.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	b := webtest.Open(t)
	x.eachLanguage(b, "/login", func(lang locale.Lang) {
		x.pages(b, lang, access.Anyone, "")
		x.refusals(b, lang)
	})
	for _, path := range []string{"/first-password", "/factor", "/enrol"} {
		for _, base := range []string{"", "/admin"} {
			b.ForgetCookies()
			x.half(b, base, path)
			x.eachLanguage(b, base+path, func(lang locale.Lang) { x.pages(b, lang, access.AnySession, base+path) })
		}
	}
	b.ForgetCookies()
	x.half(b, "", "/factor")
	b.Type(appCode(t, x.apps["app"], 30*time.Second))
	b.Submit("\r")
	x.eachLanguage(b, "/recovery", func(lang locale.Lang) {
		b.Follow("form button.btn-primary")
		look(t, b, lang, "every-recovery-codes")
	})
	// The rest takes minutes on a busy machine: a browser, and log-ins, of its own
	// for each language.
	for _, lang := range languages() {
		x.begin()
		b := webtest.Open(t)
		x.logIn(b, "", "user", servertest.UserPassword)
		x.logIn(b, "/admin", "admin", servertest.AdminPassword)
		b.Go(x.URL + "/")
		language(b, string(lang))
		x.pages(b, lang, access.WholeLogin, "")
		x.forms(b, lang)
	}
	x.complete()
}

// scene is a server with something on every page.
type scene struct {
	*testing.T
	*servertest.Server
	ids  map[string]string // for what patterns leave open
	asks map[string]string // what an address needs behind it, by its path
	seen map[string]bool   // patterns
	apps map[string]string // the secrets of accounts' authenticator apps, by their names
}

func newScene(t *testing.T) *scene {
	t.Helper()
	x := &scene{T: t, Server: servertest.New(t), ids: map[string]string{}, seen: map[string]bool{}, apps: map[string]string{}}
	x.Mail()
	c := newClient(t, x.Server)
	c.backedUp()
	web := logIn(t, x.Server, "user")
	device, snapshot, _ := strings.Cut(strings.TrimPrefix(web.snapshot(), "/devices/"), "/")
	x.ids["user"], x.ids["device"], x.ids["snapshot"] = string(x.User.ID), device, snapshot
	x.imports()
	x.asks = map[string]string{"/admin/devices/write/sent": "?at=0", "/register/code": "?id=x"}
	by, ctx := access.System("test"), t.Context()
	x.write(func(tx *db.Tx) error {
		l, err := orgs.CreateLicence(ctx, tx, by, x.Keys, orgs.NewLicence{Org: x.Org.ID, Name: "Head office", SeatsActive: 5, SeatsPreserved: 2})
		if err != nil {
			return err
		}
		p, err := profiles.Default(ctx, tx, x.Org.ID)
		x.ids["licence"], x.ids["profile"] = string(l.ID), string(p.ID)
		return err
	})
	x.write(func(tx *db.Tx) error {
		return settings.Change(ctx, tx, by, func(s *settings.Settings) error {
			s.Registration.Mode = settings.RegistrationSerial
			return nil
		})
	})
	x.links()
	x.deployment()
	x.keys()
	for name, n := range map[string]accounts.New{
		"new": {MustChangePassword: true}, "app": {}, "must": {}, "twin-one": {}, "twin-two": {}, "admin-other": {}, "admin-new": {MustChangePassword: true}, "admin-app": {}, "admin-must": {},
	} {
		x.account(name, n)
	}
	x.write(func(tx *db.Tx) error {
		a, err := x.Desk.Ask(ctx, tx, x.Admin.Caller(access.Caller{}), approvals.Request{Kind: devices.PurgeDevice, Org: x.Org.ID,
			Data: map[string]string{"id": device}, Summary: map[string]any{"name": "ATELIER-07", "user": "user", "n": 1}, Reason: "the laptop was stolen"})
		x.ids["approval"] = a.ID
		if err != nil {
			return err
		}
		t, _, err := tokens.Create(ctx, tx, x.Admin.Caller(access.Caller{}), x.Org.ID, "Inventory", []string{access.MapWrite}, tokens.DefaultLife)
		x.ids["apitoken"] = t.ID
		if err != nil {
			return err
		}
		r, err := resets.Ask(ctx, tx, x.Admin.Caller(access.Caller{}), x.Desk, resets.New{Org: x.Org.ID, Name: "November", Reason: "the old server was broken into", Expect: 1})
		x.ids["reset"] = r.ID
		return err
	})
	return x
}

func (x *scene) write(f func(*db.Tx) error) {
	x.Helper()
	if err := x.DB.Write(x.Context(), f); err != nil {
		x.Fatal(err)
	}
}

// links are what mails lead to, for either portal.
func (x *scene) links() {
	x.Helper()
	for _, p := range []struct {
		base string
		u    accounts.User
	}{{"", x.User}, {"/admin", x.Admin}} {
		for path, purpose := range map[string]accounts.Purpose{"/password": accounts.ForReset, "/email/undo": accounts.ForEmailUndo} {
			x.write(func(tx *db.Tx) error {
				token, err := accounts.NewLink(x.Context(), tx, purpose, p.u.ID, time.Hour, nil)
				x.asks[p.base+path] = "?" + url.Values{"token": {token}}.Encode()
				return err
			})
		}
	}
}

// begin begins what waits for a code: a second factor and another address. A code
// does not live as long as the walk takes on a busy machine.
func (x *scene) begin() {
	x.Helper()
	for _, u := range []accounts.User{x.User, x.Admin} {
		x.write(func(tx *db.Tx) error {
			_, err := x.Gate.Factors.BeginTOTP(x.Context(), tx, u.Caller(access.Caller{}))
			if err == nil {
				err = accounts.BeginEmail(x.Context(), tx, u.Caller(access.Caller{}), x.Keys, "another@example.org")
			}
			return err
		})
	}
}

// account makes one that has something to do before it is in, by its name.
func (x *scene) account(name string, n accounts.New) {
	x.Helper()
	password := servertest.UserPassword
	n.Org, n.Kind, n.Username, n.Email = x.Org.ID, access.UserKind, name, name+"@example.org"
	if strings.HasPrefix(name, "admin-") {
		n.Kind, n.Role, password = access.AdminKind, access.OrgAdmin, servertest.AdminPassword
	}
	u, err := x.NewAccount(x.Context(), access.System("test"), n, password)
	if err != nil {
		x.Fatal(err)
	}
	switch strings.TrimPrefix(name, "admin-") {
	case "twin-one", "twin-two":
		x.write(func(tx *db.Tx) error {
			_, err := accounts.Update(x.Context(), tx, access.System("test"), u.ID, accounts.Changes{Email: &x.User.Email})
			return err
		})
	case "other":
		x.ids["administrator"] = string(u.ID)
	case "app":
		x.apps[name] = withApp(x.T, x.Server, u)
	case "must":
		if n.Kind == access.AdminKind {
			x.write(func(tx *db.Tx) error {
				return accounts.SetFactorFrom(x.Context(), tx, u.ID, tx.Now().Add(-time.Hour))
			})
		}
	}
}

// withApp gives an account an authenticator app and returns the secret of both.
func withApp(t *testing.T, s *servertest.Server, u accounts.User) (secret string) {
	t.Helper()
	by := u.Caller(access.Caller{})
	write(t, s, func(tx *db.Tx) error {
		app, err := s.Gate.Factors.BeginTOTP(t.Context(), tx, by)
		secret = app.Secret
		return err
	})
	write(t, s, func(tx *db.Tx) error {
		return s.Gate.Factors.ConfirmTOTP(t.Context(), tx, by, factorstest.Code(t, secret, time.Now()))
	})
	return secret
}

// deployment is a token, a computer that waits, one that knocks, and one that
// the map knows.
func (x *scene) deployment() {
	x.Helper()
	var token deploy.Token
	var secret string
	by := access.System("test")
	x.write(func(tx *db.Tx) (err error) {
		token, secret, err = deploy.Create(x.Context(), tx, by, x.Org.ID, deploy.Rules{Name: "Intune, laptops", MaxUses: 50, Approve: true, Prompt: true,
			CreateUsers: true, Domains: []string{"example.org"}, Hosts: []string{"lab-*"}, Networks: []string{"127.0.0.0/8", "::1/128"}}, deploy.DefaultLife)
		x.ids["token"] = token.ID
		return err
	})
	x.write(func(tx *db.Tx) error {
		_, err := deploy.ImportMap(x.Context(), tx, by, x.Keys, x.Org.ID, strings.NewReader("email,device_id,id_type,username\nuser,4c4c4544-0042-3510,uuid,marie\n"))
		if err != nil {
			return err
		}
		rows, _, err := deploy.Mappings(x.Context(), tx, by, x.Org.ID, 0, 1)
		x.ids["number"] = strconv.FormatInt(rows[0].Number, 10)
		return err
	})
	for name, email := range map[string]string{"lab-1": "new.hire@example.org", "lab-2": "who@elsewhere.example", "office": ""} {
		c := wiretest.NewComputer(x)
		begun, err := deploy.Begin(x.Context(), x.DB, x.Keys, access.Caller{IP: "127.0.0.1"}, wire.BeginActivation{Token: secret, Identity: "email:" + email, RequestID: uuid.NewString(),
			Hardware: wire.Hardware{MachineID: name, Hostname: name, OS: "linux", OSUser: "marie", Arch: "amd64"}, ClientVersion: "0.1", SigningKey: c.SigningKey()})
		if err != nil {
			continue // it knocks
		}
		x.write(func(tx *db.Tx) error {
			_, err := devices.Finish(x.Context(), tx, access.Caller{IP: "127.0.0.1"}, x.Keys, wire.FinishActivation{Activation: begun.Activation, Choice: wire.Add,
				EnrolmentKey: c.Enrolment, Signature: wire.SignFinish(c.Signing, begun.Activation, c.Enrolment)})
			return err
		})
	}
}

// keys are activation keys that are good, over, and one about which the user is
// asked.
func (x *scene) keys() {
	x.Helper()
	x.write(func(tx *db.Tx) error {
		by := access.Caller{Kind: access.AdminKind, User: x.Admin.ID, Org: x.Org.ID, Role: access.ServerAdmin, Name: "admin"}
		for n, choice := range []string{wire.Add, devices.Succeed, wire.Reactivate} {
			device := devices.ID(x.ids["device"])
			if choice == wire.Add {
				device = ""
			}
			if n == 2 {
				if err := accounts.SetPrivacy(x.Context(), tx, x.User.Caller(access.Caller{}), true); err != nil {
					return err
				}
			}
			_, k, err := devices.IssueKey(x.Context(), tx, by, x.Keys, x.URL, x.User.ID, choice, device)
			if err == nil && n == 0 {
				err = devices.RevokeKey(x.Context(), tx, by, k.ID)
			}
			if err != nil {
				return err
			}
			x.ids["key"] = k.ID
		}
		return accounts.SetPrivacy(x.Context(), tx, x.User.Caller(access.Caller{}), false)
	})
}

// imports are a file that is done, one that runs, and one with something wrong
// in it that waits.
func (x *scene) imports() {
	x.Helper()
	for n, file := range []string{"username,email\nanna,anna@example.org\n", "username\none\ntwo\nthree\n", "username,email,profile\nok,,\nuser,,\nbad name\x7f,x,\ncarl,,No such profile\n"} {
		i, err := accounts.CheckImport(x.Context(), x.DB, access.System("test"), x.Org.ID, strings.NewReader(file), accounts.ImportOptions{})
		if err != nil {
			x.Fatal(err)
		}
		x.ids[[]string{"done", "running", "import"}[n]] = i.ID
		if n == 2 {
			return
		}
		run, err := accounts.BeginImport(x.Context(), x.DB, access.System("test"), x.Keys, x.Hasher, x.URL, i.ID, nil)
		if err == nil && n == 0 {
			err = run.Finish(context.WithoutCancel(x.Context()))
		}
		if err != nil {
			x.Fatal(err)
		}
	}
}

// eachLanguage does something in every language, chosen on a page.
func (x *scene) eachLanguage(b *webtest.Browser, path string, do func(locale.Lang)) {
	x.Helper()
	for _, lang := range languages() {
		b.Go(x.URL + path)
		language(b, string(lang))
		do(lang)
	}
}

// logIn logs somebody in, as far as that goes.
func (x *scene) logIn(b *webtest.Browser, base, username, password string) {
	x.Helper()
	b.Go(x.URL + base + "/login")
	b.Type(username + "\t" + password)
	b.Submit("\r")
}

// half logs somebody in who is asked for something at path before they are in.
func (x *scene) half(b *webtest.Browser, base, path string) {
	x.Helper()
	name, password := map[string]string{"/first-password": "new", "/factor": "app", "/enrol": "must"}[path], servertest.UserPassword
	if base != "" {
		name, password = "admin-"+name, servertest.AdminPassword
	}
	x.demand(path == "/enrol")
	x.logIn(b, base, name, password)
	x.demand(false)
}

// demand has the profile ask for second factors.
func (x *scene) demand(on bool) {
	x.Helper()
	x.write(func(tx *db.Tx) error {
		p, err := profiles.Default(x.Context(), tx, x.Org.ID)
		if err != nil {
			return err
		}
		p.Settings.SecondFactor = profile.Optional
		if on {
			p.Settings.SecondFactor = profile.Required
		}
		_, err = profiles.Save(x.Context(), tx, access.System("test"), p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
}

// pages walks through what one sort of guard lets to, or the one page of it.
func (x *scene) pages(b *webtest.Browser, lang locale.Lang, guard access.Guard, only string) {
	x.Helper()
	for _, r := range x.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if r.Guard != guard || method != http.MethodGet || notPages[r.Pattern] != "" || forPrograms(path) || only != "" && path != only {
			continue
		}
		address := x.fill(path)
		b.Go(x.URL + address)
		x.confirm(b, path)
		if at := strings.TrimPrefix(b.URL(), x.URL); at != address {
			x.Errorf("%s leads to %s", address, at)
			continue
		}
		x.seen[r.Pattern] = true
		see(x.T, b, lang, pictureOf(path))
	}
	atDesk(b)
}

// confirm proves once more who is logged in, where a log-in is too long ago for
// a page.
func (x *scene) confirm(b *webtest.Browser, path string) {
	x.Helper()
	switch base, _, asked := strings.Cut(strings.TrimPrefix(b.URL(), x.URL), "/confirm?next="); {
	case !asked || strings.HasSuffix(path, "/confirm"):
	case base == "":
		b.Type(servertest.UserPassword)
		b.Submit("\r")
	default:
		b.Type(servertest.AdminPassword)
		b.Submit("\r")
	}
}

// fill puts what there is into a pattern's path.
func (x *scene) fill(path string) string {
	path = strings.TrimSuffix(path, "{$}")
	if strings.HasPrefix(path, "/admin/settings/administrators/") {
		path = strings.ReplaceAll(path, "{user}", "{administrator}")
	}
	for name, id := range x.ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return path + x.asks[path]
}

// pictureOf is the name of a page's picture.
func pictureOf(path string) string {
	portal := "portal"
	if path == "/admin" || strings.HasPrefix(path, "/admin/") {
		portal, path = "console", strings.TrimPrefix(path, "/admin")
	}
	name := strings.NewReplacer("/", "-", "{$}", "", "{", "", "}", "").Replace(path)
	return "every-" + strings.TrimSuffix(portal+name, "-")
}

// complete sees that all pages were looked at, and that what is said to be none
// is none.
func (x *scene) complete() {
	x.Helper()
	web := logIn(x.T, x.Server, "user")
	web.post("/admin/login", url.Values{"username": {"admin"}, "password": {servertest.AdminPassword}}, http.StatusSeeOther)
	left := maps.Clone(notPages)
	for _, r := range x.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if method != http.MethodGet || forPrograms(path) || x.seen[r.Pattern] {
			continue
		}
		if left[r.Pattern] == "" {
			x.Errorf("nobody has looked at %s", r.Pattern)
			continue
		}
		delete(left, r.Pattern)
		answer, err := web.http.Do(web.request(method, x.fill(path), nil))
		if err != nil {
			x.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
			x.Errorf("%s is a page", r.Pattern)
		}
	}
	for pattern := range left {
		x.Errorf("%s is not there", pattern)
	}
}

// refusals are the pages for who is not in that come of something wrong.
func (x *scene) refusals(b *webtest.Browser, lang locale.Lang) {
	x.Helper()
	for name, path := range map[string]string{"portal-missing": "/nowhere", "console-missing": "/admin/nowhere", "portal-form-address": "/logout", "link-over": "/password?token=x"} {
		b.Go(x.URL + path)
		status := http.StatusNotFound
		if name == "link-over" {
			status = http.StatusGone
		}
		refusedBy(x.T, b, status)
		look(x.T, b, lang, "every-"+name)
	}
	x.logIn(b, "/admin", "nobody", "wrong")
	refusedBy(x.T, b, http.StatusUnauthorized)
	look(x.T, b, lang, "every-console-login-refused")
	x.logIn(b, "", x.User.Email, servertest.UserPassword)
	look(x.T, b, lang, "every-choose")
	b.Go(x.URL + "/register")
	b.Type("marie@example.org\tmarie\tMarie\tCurie\t")
	paste(b, "[name=serial]", "X2R9C-GGT03-5XA9D-DTXP8-1919A")
	b.Submit("\r")
	refusedBy(x.T, b, http.StatusBadRequest)
	look(x.T, b, lang, "every-register-refused")
}

// forms are the pages that only a form leads to.
func (x *scene) forms(b *webtest.Browser, lang locale.Lang) {
	x.Helper()
	at := func(path string) string { return x.URL + "/admin" + path }
	b.Go(at("/users/new"))
	b.Fill("#f-username", "invited-"+string(lang))
	b.Follow("form.card .btn-primary")
	look(x.T, b, lang, "every-user-made")
	b.Go(at("/users/new"))
	b.Fill("#f-username", "user")
	b.Follow("form.card .btn-primary")
	refusedBy(x.T, b, http.StatusConflict)
	look(x.T, b, lang, "every-user-new-refused")
	b.Go(at("/devices/write"))
	b.Click("[name=affected]")
	b.Fill("#f-window", "21 November, 20:00–22:00")
	b.Follow("form.card .btn-primary")
	look(x.T, b, lang, "every-write-preview")
	walk(x.T, b, lang, map[string]string{"every-import-done": at("/imports/" + x.ids["done"])})
	b.Go(at("/imports/" + x.ids["running"]))
	webtest.Eval[bool](b, "window.stop() || true") // it would come again by itself
	look(x.T, b, lang, "every-import-running")
	for name, path := range map[string]string{"console-user": "/users/none", "console-device": "/devices/none"} {
		b.Go(at(path))
		refusedBy(x.T, b, http.StatusNotFound)
		look(x.T, b, lang, "every-"+name+"-missing")
	}
	b.Go(fmt.Sprintf("%s/devices/%s/0000000000000000", x.URL, x.ids["device"]))
	refusedBy(x.T, b, http.StatusNotFound)
	setPortal(x.T, x.Server, false, true)
	b.Go(x.URL + "/devices/" + x.ids["device"])
	refusedBy(x.T, b, http.StatusForbidden)
	look(x.T, b, lang, "every-portal-forbidden")
	setPortal(x.T, x.Server, true, false)
}
