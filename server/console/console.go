// Package console is the pages of administrators: what needs somebody, users,
// devices, profiles and the audit. Names and contents of users' files are not
// among them.
package console

import (
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// Config is what the console needs.
type Config struct {
	DB     *db.DB
	Gate *signin.Gate
	Keys   *keys.Ring
	Vault  *vault.Vault

	PublicURL string // where users find the portal; empty: whatever the administrator typed
	HideBuild bool   // the log-in page does not show the build

	// Fingerprint is that of a self-signed certificate, for the commands that
	// people copy; empty when clients trust the certificate anyway.
	Fingerprint string

	Log *slog.Logger
}

// Base is where the console is mounted.
const Base = "/admin"

type console struct {
	Config
	site *web.Site
}

//go:embed templates/*.html
var templates embed.FS

func pages() fs.FS {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return sub
}

// New returns the console, to be mounted at Base and everything below.
func New(cfg Config) (http.Handler, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &console{Config: cfg}
	var err error
	c.site, err = web.New(web.Config{Name: "console", Base: Base, Templates: pages(), HideBuild: cfg.HideBuild, Prefer: c.prefer, Log: cfg.Log, Now: cfg.DB.Now})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/login", c.loginPage)
	mux.HandleFunc("POST /admin/login", c.login)
	mux.HandleFunc("POST /admin/logout", c.logout)
	mux.HandleFunc("GET /admin/{$}", c.admin(c.overview))
	mux.HandleFunc("GET /admin/users", c.admin(c.users))
	mux.HandleFunc("POST /admin/users", c.admin(c.createUser))
	mux.HandleFunc("GET /admin/users/new", c.admin(c.newUser))
	mux.HandleFunc("GET /admin/users/{user}", c.admin(c.user))
	mux.HandleFunc("GET /admin/users/{user}/disable", c.admin(c.askDisable))
	mux.HandleFunc("POST /admin/users/{user}/disable", c.admin(c.disableUser))
	mux.HandleFunc("POST /admin/users/{user}/activate", c.admin(c.activateUser))
	mux.HandleFunc("GET /admin/devices", c.admin(c.devices))
	mux.HandleFunc("GET /admin/devices/{device}", c.admin(c.device))
	mux.HandleFunc("POST /admin/devices/{device}/backup", c.admin(c.backupDevice))
	mux.HandleFunc("GET /admin/devices/{device}/deactivate", c.admin(c.askDeactivate))
	mux.HandleFunc("POST /admin/devices/{device}/deactivate", c.admin(c.deactivateDevice))
	mux.HandleFunc("GET /admin/profiles", c.admin(c.profiles))
	mux.HandleFunc("GET /admin/profiles/{profile}", c.admin(c.profile))
	mux.HandleFunc("POST /admin/profiles/{profile}", c.admin(c.saveProfile))
	mux.HandleFunc("GET /admin/audit", c.admin(c.audit))
	mux.HandleFunc("GET /admin", func(w http.ResponseWriter, r *http.Request) { c.site.Redirect(w, r, Base+"/") })
	return c.site.Handler(mux), nil
}

// visit is a request by an administrator who is logged in.
type visit struct {
	user   accounts.User
	caller access.Caller
}

// org is the organisation whose things the pages show.
func (v *visit) org() orgs.ID { return v.user.Org }

type page func(http.ResponseWriter, *http.Request, *visit)

// admin lets administrators in whose session is good, and sends others to log
// in. What each may do is asked beside the data.
func (c *console) admin(next page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(r)
		if err != nil {
			c.fail(w, r, access.CallerOf(r.Context()), err)
			return
		}
		next(w, r.WithContext(access.WithCaller(r.Context(), v.caller)), v)
	}
}

func (c *console) visit(r *http.Request) (*visit, error) {
	from := access.CallerOf(r.Context())
	s, u, err := accounts.FindSession(r.Context(), c.DB, accounts.ToConsole, web.Cookie(r, sessionCookie))
	if err != nil {
		return nil, err
	}
	from.Session = s.ID
	return &visit{user: u, caller: u.Caller(from)}, nil
}

// frame is the frame of a page for an administrator.
func (c *console) frame(w http.ResponseWriter, r *http.Request, v *visit, key string, args ...any) web.Frame {
	f := c.site.Frame(w, r)
	f.Title = f.Printer().T(key, args...)
	f.Who = v.user.Name()
	for _, l := range []web.Link{
		{Key: "console.overview", Href: "/admin/", Icon: "layout-dashboard"},
		{Key: "console.users", Href: "/admin/users", Icon: "users"},
		{Key: "console.devices", Href: "/admin/devices", Icon: "device-laptop"},
		{Key: "console.profiles", Href: "/admin/profiles", Icon: "adjustments"},
		{Key: "console.audit", Href: "/admin/audit", Icon: "list"},
	} {
		if l.Href == "/admin/audit" && !access.Allow(v.caller, access.ViewAudit, v.org(), "") {
			continue
		}
		l.Active = r.URL.Path == l.Href || l.Href != "/admin/" && strings.HasPrefix(r.URL.Path, l.Href+"/")
		f.Nav = append(f.Nav, l)
	}
	return f
}

// fail is where every failure of a page ends. Whoever is not logged in is sent
// to do so, and comes back afterwards.
func (c *console) fail(w http.ResponseWriter, r *http.Request, by access.Caller, err error) {
	if errs.KindOf(err) == errs.Unauthenticated {
		to := "/admin/login"
		if r.Method == http.MethodGet && r.URL.Path != "/admin/" {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		c.site.Redirect(w, r, to)
		return
	}
	c.denied(r, by, err)
	c.site.Fail(w, r, err)
}

// denied records a refusal. It comes after the transaction that refused.
func (c *console) denied(r *http.Request, by access.Caller, err error) {
	if e := audit.Denied(r.Context(), c.DB, by, "", "", err); e != nil {
		c.Log.ErrorContext(r.Context(), "recording a refusal", "error", e, "request", by.RequestID)
	}
}

// refused puts a failure that the form can mend into it, under the field that
// fields names for its key, and reports whether it was one.
func refused(form *web.Form, p *locale.Printer, err error, fields map[string]string) bool {
	switch errs.KindOf(err) {
	case errs.Invalid, errs.Conflict, errs.NoSeat:
		return form.AddTo(p, err, fields)
	}
	return false
}

// prefer keeps a language that somebody chose while logged in.
func (c *console) prefer(r *http.Request, l locale.Lang) {
	v, err := c.visit(r)
	if err != nil {
		return // nobody is logged in: the cookie keeps it
	}
	err = c.DB.Write(r.Context(), func(tx *db.Tx) error {
		return accounts.SetLanguage(r.Context(), tx, v.caller, string(l))
	})
	if err != nil {
		c.Log.ErrorContext(r.Context(), "keeping a language", "error", err, "request", v.caller.RequestID)
	}
}

// portal is where users reach this server.
func (c *console) portal(r *http.Request) string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	return "https://" + r.Host
}
