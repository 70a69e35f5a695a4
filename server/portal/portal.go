// Package portal is the pages of users: their devices, the snapshots of each,
// the files in them, and their account. A log-in by the owner is the approval
// for reading the owner's files, one snapshot at a time.
package portal

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
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// Config is what the portal needs.
type Config struct {
	DB     *db.DB
	Gate *signin.Gate
	Vault  *vault.Vault

	PublicURL string // where users find it; empty: whatever they typed
	HideBuild bool   // the log-in page does not show the build

	// Fingerprint is that of a self-signed certificate, for the commands that
	// people copy; empty when clients trust the certificate anyway.
	Fingerprint string

	Log *slog.Logger
}

type portal struct {
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

// New returns the portal, to be mounted at "/".
func New(cfg Config) (http.Handler, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	p := &portal{Config: cfg}
	var err error
	p.site, err = web.New(web.Config{Name: "portal", Templates: pages(), HideBuild: cfg.HideBuild, Prefer: p.prefer, Log: cfg.Log, Now: cfg.DB.Now})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", p.loginPage)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /logout", p.logout)
	mux.HandleFunc("GET /{$}", p.user(p.sources))
	mux.HandleFunc("GET /account", p.user(p.account))
	mux.HandleFunc("GET /devices/{device}", p.data(p.device))
	mux.HandleFunc("GET /devices/{device}/{snapshot}", p.data(p.device))
	mux.HandleFunc("GET /devices/{device}/{snapshot}/file", p.data(p.file))
	mux.HandleFunc("POST /devices/{device}/{snapshot}/zip", p.data(p.zip))
	return p.site.Handler(mux), nil
}

// visit is a request by somebody who is logged in.
type visit struct {
	user   accounts.User
	caller access.Caller
	web    bool // the profile allows restore from the browser
}

type page func(http.ResponseWriter, *http.Request, *visit)

// user lets users in whose session is good, and sends others to log in.
func (p *portal) user(next page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := p.visit(r)
		if err != nil {
			p.fail(w, r, access.CallerOf(r.Context()), err)
			return
		}
		next(w, r.WithContext(access.WithCaller(r.Context(), v.caller)), v)
	}
}

// data is user for pages that show what is in backups. The profile is asked at
// each request, so that a change counts at once.
func (p *portal) data(next page) http.HandlerFunc {
	return p.user(func(w http.ResponseWriter, r *http.Request, v *visit) {
		if !v.web {
			p.denied(r, v.caller, access.ReadOwnData, "user/"+string(v.user.ID), errs.Of(errs.WebAccessOff))
			p.site.Fail(w, r, errs.Of(errs.WebAccessOff))
			return
		}
		next(w, r, v)
	})
}

func (p *portal) visit(r *http.Request) (*visit, error) {
	from := access.CallerOf(r.Context())
	s, u, err := accounts.FindSession(r.Context(), p.DB, accounts.ToPortal, web.Cookie(r, sessionCookie))
	if err != nil {
		return nil, err
	}
	from.Session = s.ID
	v := &visit{user: u, caller: u.Caller(from)}
	if v.web, err = p.webRestore(r, u); err != nil {
		return nil, err
	}
	return v, nil
}

// frame is the frame of a page for somebody who is logged in.
func (p *portal) frame(w http.ResponseWriter, r *http.Request, v *visit, title string) web.Frame {
	f := p.site.Frame(w, r)
	f.Title = title
	f.Who = v.user.Name()
	if v.web {
		f.Nav = append(f.Nav, web.Link{Key: "portal.sources", Href: "/", Icon: "database", Active: r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/devices/")})
	}
	f.Nav = append(f.Nav, web.Link{Key: "nav.account", Href: "/account", Icon: "user-circle", Active: r.URL.Path == "/account"})
	return f
}

// fail is where every failure of a page ends. Whoever is not logged in is sent
// to do so, and comes back afterwards.
func (p *portal) fail(w http.ResponseWriter, r *http.Request, by access.Caller, err error) {
	if errs.KindOf(err) == errs.Unauthenticated {
		to := "/login"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		p.site.Redirect(w, r, to)
		return
	}
	p.denied(r, by, "", "", err)
	p.site.Fail(w, r, err)
}

// denied records a refusal. It comes after the transaction that refused.
func (p *portal) denied(r *http.Request, by access.Caller, action access.Action, object string, err error) {
	if e := audit.Denied(r.Context(), p.DB, by, action, object, err); e != nil {
		p.Log.ErrorContext(r.Context(), "recording a refusal", "error", e, "request", by.RequestID)
	}
}

// prefer keeps a language that somebody chose while logged in.
func (p *portal) prefer(r *http.Request, l locale.Lang) {
	v, err := p.visit(r)
	if err != nil {
		return // nobody is logged in: the cookie keeps it
	}
	err = p.DB.Write(r.Context(), func(tx *db.Tx) error {
		return accounts.SetLanguage(r.Context(), tx, v.caller, string(l))
	})
	if err != nil {
		p.Log.ErrorContext(r.Context(), "keeping a language", "error", err, "request", v.caller.RequestID)
	}
}

// address is where users reach this server, for commands that they copy.
func (p *portal) address(r *http.Request) string {
	if p.PublicURL != "" {
		return strings.TrimRight(p.PublicURL, "/")
	}
	return "https://" + r.Host
}
