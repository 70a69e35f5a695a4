// Package portal is the pages of users: their devices, the snapshots of each,
// the files in them, and their account. A log-in by the owner is the approval
// for reading the owner's files, one snapshot at a time.
package portal

import (
	"context"
	"embed"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

type portal struct {
	entry.Config
	door *entry.Door
	site *web.Site
}

//go:embed templates/*.html
var templates embed.FS

var parse = sync.OnceValues(func() (web.Templates, error) { return entry.Parse(templates) })

// New returns the portal, to be mounted at "/".
func New(cfg entry.Config) (*entry.Door, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	p := &portal{Config: cfg}
	pages, err := parse()
	if err != nil {
		return nil, err
	}
	p.door, err = entry.New(cfg, entry.Portal{To: accounts.ToPortal, Templates: pages, Admit: admit,
		Frame: func(w http.ResponseWriter, r *http.Request, v *entry.Visit) web.Frame {
			return p.frame(w, r, p.visit(r, v), "")
		}})
	if err != nil {
		return nil, err
	}
	p.site = p.door.Site
	mux := p.door.Mux()
	mux.HandleFunc("GET /{$}", p.user(p.sources))
	mux.HandleFunc("GET /activity", p.user(p.activity))
	mux.HandleFunc("GET /devices/{device}", p.data(p.device))
	mux.HandleFunc("GET /devices/{device}/{snapshot}", p.data(p.device))
	mux.HandleFunc("GET /devices/{device}/{snapshot}/file", p.data(p.file))
	mux.HandleFunc("POST /devices/{device}/{snapshot}/zip", p.data(p.zip))
	p.aboutRoutes(mux)
	return p.door, nil
}

// admit refuses users whose profile leaves them nothing to do here.
func admit(ctx context.Context, tx *db.Tx, u accounts.User) error {
	e, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return err
	}
	if !e.Settings.WebRestore && !e.Settings.Sharing {
		return errs.Of(errs.WebAccessOff)
	}
	return nil
}

// visit is a request by somebody who is logged in.
type visit struct {
	user    accounts.User
	caller  access.Caller
	session accounts.Session
	web     bool // the profile allows restore from the browser
}

type page func(http.ResponseWriter, *http.Request, *visit)

// visit is what the pages know of who is logged in. The profile is asked at
// each request, so that a change counts at once.
func (p *portal) visit(r *http.Request, v *entry.Visit) *visit {
	on, err := p.webRestore(r, v.User)
	if err != nil {
		p.Log.ErrorContext(r.Context(), "reading a profile", "error", err, "request", v.Caller.RequestID)
	}
	return &visit{user: v.User, caller: v.Caller, session: v.Session, web: on}
}

// user is for pages of who is logged in.
func (p *portal) user(next page) entry.Guarded {
	return p.door.In(func(w http.ResponseWriter, r *http.Request, v *entry.Visit) { next(w, r, p.visit(r, v)) })
}

// data is user for pages that show what is in backups.
func (p *portal) data(next page) entry.Guarded {
	return p.user(func(w http.ResponseWriter, r *http.Request, v *visit) {
		if !v.web {
			p.door.Denied(r, v.caller, access.ReadOwnData, "user/"+string(v.user.ID), errs.Of(errs.WebAccessOff))
			p.site.Fail(w, r, errs.Of(errs.WebAccessOff))
			return
		}
		next(w, r, v)
	})
}

// frame is the frame of a page for somebody who is logged in.
func (p *portal) frame(w http.ResponseWriter, r *http.Request, v *visit, title string) web.Frame {
	f := p.site.Frame(w, r)
	f.Title = title
	f.Who = v.user.Name()
	if v.web {
		f.Nav = append(f.Nav, web.Link{Key: "portal.sources", Href: "/", Icon: "database", Active: r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/devices/")})
	}
	f.Nav = append(f.Nav, web.Link{Key: "portal.activity", Href: "/activity", Icon: "history", Active: r.URL.Path == "/activity"})
	f.Nav = append(f.Nav, web.Link{Key: "nav.account", Href: "/account", Icon: "user-circle", Active: r.URL.Path == "/account" || strings.HasPrefix(r.URL.Path, "/account/")})
	return f
}

// fail is where every failure of a page ends.
func (p *portal) fail(w http.ResponseWriter, r *http.Request, by access.Caller, err error) {
	p.door.Fail(w, r, by, err)
}
