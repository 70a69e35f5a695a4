// Package entry is the pages by which people come in, and those about their own
// account: log-in, second factor, forgotten passwords, registration, and the
// sections of Account. There is one set of them for both portals. A portal
// mounts its Door, hands it the pages that only it has, and lets in through it.
package entry

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// Config is what both portals are made of.
type Config struct {
	DB    *db.DB
	Keys  *keys.Ring
	Vault *vault.Vault
	Gate  *signin.Gate
	Desk  *approvals.Desk

	PublicURL string // where users find the portal; empty: whatever was typed
	HideBuild bool   // the log-in page does not show the build

	// Fingerprint is that of a self-signed certificate, for the commands that
	// people copy; empty when clients trust the certificate anyway.
	Fingerprint string
	// Clients is what the server has of the client to install.
	Clients deploy.Clients

	// Background has something done that nobody waits for, until its context
	// ends with the server.
	Background func(func(context.Context))

	Log *slog.Logger
}

// Address is where users reach this server, for links and commands that they
// copy.
func (cfg Config) Address(r *http.Request) string {
	if cfg.PublicURL != "" {
		return strings.TrimRight(cfg.PublicURL, "/")
	}
	return "https://" + r.Host
}

// Portal is what a door leads into.
type Portal struct {
	To        accounts.Portal
	Base      string        // the path it lives under, "" or "/admin"
	Templates web.Templates // of Parse

	// Frame is the frame of a page for somebody who is logged in.
	Frame func(w http.ResponseWriter, r *http.Request, v *Visit) web.Frame

	// Admit may refuse an account that the gate let in, at its log-in and at
	// every request after; nil admits all.
	Admit signin.Admit
}

// stepUp is the failure of signin.Gate.Fresh.
const stepUp = "login.stepup"

// Door is the way into one portal.
type Door struct {
	Config
	Portal
	Site *web.Site

	mux            *Mux
	session, known string // names of cookies
}

//go:embed templates/*.html
var templates embed.FS

// Parse reads the pages of a portal, and those that both have.
func Parse(own fs.FS) (web.Templates, error) { return web.Parse(templates, own) }

// New makes the door of a portal.
func New(cfg Config, p Portal) (*Door, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	name := string(p.To)
	d := &Door{Config: cfg, Portal: p, mux: &Mux{mux: http.NewServeMux()},
		session: p.To.Cookie(), known: "__Host-backstay-known-" + name}
	var err error
	d.Site, err = web.New(web.Config{Name: name, Base: p.Base, Templates: p.Templates, HideBuild: cfg.HideBuild,
		Prefer: d.prefer, Log: cfg.Log, Now: cfg.DB.Now})
	if err != nil {
		return nil, err
	}
	d.routes()
	return d, nil
}

func (d *Door) routes() {
	d.open("GET /login", d.loginPage)
	d.open("POST /login", d.login)
	d.open("POST /login/choose", d.choose)
	d.open("POST /logout", d.logout)
	d.open("GET /forgot", d.forgotPage)
	d.open("POST /forgot", d.forgot)
	d.open("GET /forgot/username", d.forgotUsernamePage)
	d.open("POST /forgot/username", d.forgotUsername)
	d.open("GET /sent", d.sent)
	d.open("GET /password", d.linkPage)
	d.open("POST /password", d.setPasswordByLink)
	if d.To == accounts.ToPortal {
		d.open("GET /register", d.registerPage)
		d.open("POST /register", d.register)
		d.open("GET /register/code", d.codePage)
		d.open("POST /register/code", d.confirmCode)
		d.open("POST /register/resend", d.resendCode)
	}

	d.stage("GET /first-password", accounts.StagePassword, d.firstPasswordPage)
	d.stage("POST /first-password", accounts.StagePassword, d.firstPassword)
	d.stage("GET /factor", accounts.StageFactor, d.factorPage)
	d.stage("POST /factor", accounts.StageFactor, d.factor)
	d.stage("GET /enrol", accounts.StageEnrol, d.enrolPage)
	d.stage("POST /enrol", accounts.StageEnrol, d.enrol)
	d.stage("POST /enrol/passkey/begin", accounts.StageEnrol, d.beginEnrolPasskey)
	d.stage("POST /enrol/passkey", accounts.StageEnrol, d.enrolPasskey)
	d.mux.HandleFunc(d.at("POST /factor/passkey/begin"), d.visitor(d.beginPasskey))
	d.mux.HandleFunc(d.at("POST /factor/passkey"), d.visitor(d.provePasskey))

	d.Handle("GET /confirm", d.stepUpPage)
	d.Handle("POST /confirm", d.stepUp)
	d.Handle("GET /recovery", d.recoveryPage)
	d.Handle("POST /recovery", d.recovery)
	d.accountRoutes()
}

// open mounts a page for everybody.
func (d *Door) open(pattern string, h http.HandlerFunc) {
	d.mux.HandleFunc(d.at(pattern), Open(h))
}

// at puts a pattern such as "GET /login" below the portal's path.
func (d *Door) at(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	return method + " " + d.Base + path
}

// Handle mounts a page for who is logged in, below the portal's path.
func (d *Door) Handle(pattern string, page Page) { d.mux.HandleFunc(d.at(pattern), d.In(page)) }

// Handler is the portal, to be asked for once, when everything is mounted.
func (d *Door) Handler() http.Handler { return d.Site.Handler(d.mux.mux) }

// Routes are all that the portal answers to, once everything is mounted.
func (d *Door) Routes() []access.Route {
	return append(slices.Clone(d.mux.routes), access.Route{Pattern: d.at("POST /preferences"), Guard: access.Anyone})
}

// Mux is where a portal mounts its pages, by their whole path, each behind In.
func (d *Door) Mux() *Mux { return d.mux }

// Visit is a request by somebody who is logged in.
type Visit struct {
	User    accounts.User
	Caller  access.Caller
	Session accounts.Session
}

// Page answers a visit.
type Page func(http.ResponseWriter, *http.Request, *Visit)

// In lets people in whose session is good and complete. Others are sent to log
// in, or to what their session still asks of them.
func (d *Door) In(next Page) Guarded {
	inside := d.visitor(func(w http.ResponseWriter, r *http.Request, v *Visit) {
		if v.Session.Stage != accounts.StageDone {
			d.unfinished(w, r, v)
			return
		}
		if err := d.admit(r, v); err != nil {
			d.refused(w, r, v, err)
			return
		}
		next(w, r, v)
	})
	inside.by = access.WholeLogin
	return inside
}

// visitor lets people in whose session is good, whatever it asks of them yet.
func (d *Door) visitor(next Page) Guarded {
	return Guarded{access.AnySession, func(w http.ResponseWriter, r *http.Request) {
		v, err := d.visit(r)
		if err != nil {
			d.Fail(w, r, access.CallerOf(r.Context()), err)
			return
		}
		next(w, r.WithContext(access.WithCaller(r.Context(), v.Caller)), v)
	}}
}

// stage mounts a page that ends a stage of a session. Who is done with it, or
// not there yet, is sent on.
func (d *Door) stage(pattern string, stage accounts.Stage, next Page) {
	d.mux.HandleFunc(d.at(pattern), d.visitor(func(w http.ResponseWriter, r *http.Request, v *Visit) {
		if v.Session.Stage != stage {
			d.onward(w, r, v.Session, r.FormValue("next"))
			return
		}
		next(w, r, v)
	}))
}

func (d *Door) visit(r *http.Request) (*Visit, error) {
	from := access.CallerOf(r.Context())
	s, u, err := accounts.FindStaged(r.Context(), d.DB, d.To, web.Cookie(r, d.session))
	if err != nil {
		return nil, err
	}
	from.Session = s.ID
	return &Visit{User: u, Caller: u.Caller(from), Session: s}, nil
}

// admit asks the portal whether it lets the account in.
func (d *Door) admit(r *http.Request, v *Visit) error {
	if d.Portal.Admit == nil {
		return nil
	}
	return d.DB.Read(r.Context(), func(tx *db.Tx) error { return d.Portal.Admit(r.Context(), tx, v.User) })
}

// unfinished answers a request that a session may not make yet: a page leads to
// what is to be done first, anything else is refused.
func (d *Door) unfinished(w http.ResponseWriter, r *http.Request, v *Visit) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		d.onward(w, r, v.Session, r.URL.RequestURI())
		return
	}
	err := errs.New(errs.Forbidden, "entry.factor.first")
	if v.Session.Stage == accounts.StagePassword {
		err = errs.Of(errs.PasswordChange)
	}
	d.Denied(r, v.Caller, access.Login, "user/"+string(v.User.ID), err)
	d.Site.Fail(w, r, err)
}

// onward sends the browser to what its session still asks for, or to next.
func (d *Door) onward(w http.ResponseWriter, r *http.Request, s accounts.Session, next string) {
	next = web.LocalPath(next, d.Base+"/")
	to := map[accounts.Stage]string{
		accounts.StagePassword: "/first-password", accounts.StageFactor: "/factor", accounts.StageEnrol: "/enrol",
	}[s.Stage]
	if to == "" {
		d.Site.Redirect(w, r, next)
		return
	}
	d.Site.Redirect(w, r, d.with(to, "next", next))
}

// with is one of this portal's addresses with a value that is not the usual
// one.
func (d *Door) with(path, name, value string) string {
	if value == "" || value == d.Base+"/" {
		return d.Base + path
	}
	return d.Base + path + "?" + url.Values{name: {value}}.Encode()
}

// refused is the page for a live session that the portal does not let in any
// more. The session stays: what was turned off may be turned on again.
func (d *Door) refused(w http.ResponseWriter, r *http.Request, v *Visit, err error) {
	expected := errs.Find(err)
	if expected == nil || expected.Kind == errs.Internal {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Denied(r, v.Caller, access.Login, "user/"+string(v.User.ID), err)
	page := noticePage{Frame: d.Site.Frame(w, r).Card(), Icon: "ban", LogOut: true}
	page.Title = page.Printer().T("page.forbidden")
	page.Text, page.Code = page.Printer().Error(err), string(expected.Code)
	d.Site.Render(w, r, web.Status(w, err), "notice", page)
}

// Fail is where every failure of a page ends. Whoever is not logged in is sent
// to do so, and whoever must prove themselves again to do that; both come back
// afterwards.
func (d *Door) Fail(w http.ResponseWriter, r *http.Request, by access.Caller, err error) {
	expected := errs.Find(err)
	switch {
	case expected != nil && expected.Key == stepUp:
		d.Site.Redirect(w, r, d.with("/confirm", "next", d.nearest(r)))
		return
	case errs.KindOf(err) == errs.Unauthenticated && (by.User == "" || expected.Key == "login.session.ended"):
		to := ""
		if r.Method == http.MethodGet {
			to = r.URL.RequestURI()
		}
		d.Site.Redirect(w, r, d.with("/login", "next", to))
		return
	}
	d.Denied(r, by, "", "", err)
	d.Site.Fail(w, r, err)
}

// nearest is the page where somebody was who sent r: its own address, or for a
// form that has no page the closest above it that has.
func (d *Door) nearest(r *http.Request) string {
	if r.Method == http.MethodGet {
		return r.URL.RequestURI()
	}
	for path := r.URL.Path; path != "" && path != "/"; path = path[:strings.LastIndexByte(path, '/')] {
		asked := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Host: r.Host}
		if _, pattern := d.mux.mux.Handler(asked); strings.HasPrefix(pattern, "GET ") {
			return path
		}
	}
	return d.Base + "/"
}

// Denied records a refusal. It comes after the transaction that refused.
func (d *Door) Denied(r *http.Request, by access.Caller, action access.Action, object string, err error) {
	if e := audit.Denied(r.Context(), d.DB, by, action, object, err); e != nil {
		d.Log.ErrorContext(r.Context(), "recording a refusal", "error", e, "request", by.RequestID)
	}
}

// prefer keeps a language that somebody chose while logged in.
func (d *Door) prefer(r *http.Request, l locale.Lang) {
	v, err := d.visit(r)
	if err != nil || v.Session.Stage != accounts.StageDone {
		return // nobody is in: the cookie keeps it
	}
	d.keepLanguage(r, v.Caller, l)
}

func (d *Door) keepLanguage(r *http.Request, by access.Caller, l locale.Lang) {
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		return accounts.SetLanguage(r.Context(), tx, by, string(l))
	})
	if err != nil {
		d.Log.ErrorContext(r.Context(), "keeping a language", "error", err, "request", by.RequestID)
	}
}
