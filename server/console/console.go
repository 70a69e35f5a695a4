// Package console is the pages of administrators: what needs somebody, users,
// devices, profiles and the audit. Names and contents of users' files are not
// among them.
package console

import (
	"embed"
	"net/http"
	"strings"
	"sync"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/web"
)

// Base is where the console is mounted.
const Base = "/admin"

type console struct {
	entry.Config
	door *entry.Door
	site *web.Site
}

//go:embed templates/*.html
var templates embed.FS

var parse = sync.OnceValues(func() (web.Templates, error) { return entry.Parse(templates) })

// New returns the console, to be mounted at Base and everything below.
func New(cfg entry.Config) (*entry.Door, error) {
	c := &console{Config: cfg}
	pages, err := parse()
	if err != nil {
		return nil, err
	}
	c.door, err = entry.New(cfg, entry.Portal{To: accounts.ToConsole, Base: Base, Templates: pages,
		Frame: func(w http.ResponseWriter, r *http.Request, v *entry.Visit) web.Frame {
			return c.frame(w, r, &visit{user: v.User, caller: v.Caller}, "nav.account")
		}})
	if err != nil {
		return nil, err
	}
	c.site = c.door.Site
	mux := c.door.Mux()
	mux.HandleFunc("GET /admin/{$}", c.admin(c.overview))
	mux.HandleFunc("GET /admin/users", c.admin(c.users))
	c.newUserRoutes(mux)
	c.importRoutes(mux)
	c.userRoutes(mux)
	c.actRoutes(mux)
	c.explainRoutes(mux)
	c.settingsRoutes(mux)
	c.writeRoutes(mux)
	c.deploymentRoutes(mux)
	c.approvalRoutes(mux)
	c.resetRoutes(mux)
	mux.HandleFunc("GET /admin/devices", c.admin(c.devices))
	mux.HandleFunc("GET /admin/devices/{device}", c.admin(c.device))
	mux.HandleFunc("POST /admin/devices/{device}/backup", c.admin(c.backupDevice))
	c.deviceActRoutes(mux)
	c.keyRoutes(mux)
	mux.HandleFunc("GET /admin/profiles", c.admin(c.profiles))
	mux.HandleFunc("GET /admin/profiles/{profile}", c.admin(c.profile))
	mux.HandleFunc("POST /admin/profiles/{profile}", c.admin(c.saveProfile))
	mux.HandleFunc("POST /admin/profiles/{profile}/copy", c.admin(c.copyProfile))
	mux.HandleFunc("GET /admin/audit", c.admin(c.audit))
	mux.HandleFunc("GET /admin", entry.Open(func(w http.ResponseWriter, r *http.Request) { c.site.Redirect(w, r, Base+"/") }))
	return c.door, nil
}

// visit is a request by an administrator who is logged in.
type visit struct {
	user    accounts.User
	caller  access.Caller
	session accounts.Session
}

// org is the organisation whose things the pages show.
func (v *visit) org() orgs.ID { return v.user.Org }

// may reports whether the visitor may do something in the organisation, to
// leave out what would be refused. What is asked for is decided beside the data.
func (v *visit) may(a access.Action) bool { return access.Allow(v.caller, a, v.org(), "") }

type page func(http.ResponseWriter, *http.Request, *visit)

// admin lets administrators in whose session is good, and sends others to log
// in. What each may do is asked beside the data.
func (c *console) admin(next page) entry.Guarded {
	return c.door.In(func(w http.ResponseWriter, r *http.Request, v *entry.Visit) {
		next(w, r, &visit{user: v.User, caller: v.Caller, session: v.Session})
	})
}

// frame is the frame of a page for an administrator.
func (c *console) frame(w http.ResponseWriter, r *http.Request, v *visit, key string, args ...any) web.Frame {
	f := c.site.Frame(w, r)
	f.Title = f.Printer().T(key, args...)
	f.Who = v.user.Name()
	waiting := c.banners(r, v, &f)
	for _, l := range []web.Link{
		{Key: "console.overview", Href: "/admin/", Icon: "layout-dashboard"},
		{Key: "console.users", Href: "/admin/users", Icon: "users"},
		{Key: "console.devices", Href: "/admin/devices", Icon: "device-laptop"},
		{Key: "console.deployment", Href: "/admin/deployment", Icon: "ticket"},
		{Key: "approvals.title", Href: atApprovals, Icon: "circle-check"},
		{Key: "console.profiles", Href: "/admin/profiles", Icon: "adjustments"},
		{Key: "console.audit", Href: "/admin/audit", Icon: "list"},
		{Key: "console.settings", Href: "/admin/settings", Icon: "settings"},
	} {
		if l.Href == "/admin/audit" && !v.may(access.ViewAudit) || l.Href == deployment && !v.may(access.Deploy) ||
			l.Href == atApprovals && waiting == 0 && !strings.HasPrefix(r.URL.Path, atApprovals) {
			continue
		}
		l.Active = r.URL.Path == l.Href || l.Href != "/admin/" && strings.HasPrefix(r.URL.Path, l.Href+"/") ||
			l.Href == "/admin/users" && strings.HasPrefix(r.URL.Path, "/admin/imports/") ||
			l.Href == "/admin/devices" && strings.HasPrefix(r.URL.Path, atResets)
		f.Nav = append(f.Nav, l)
	}
	return f
}

// banners are what every page says: from which day a second factor is demanded,
// to who has none, and that no mail leaves the server, to those who can do
// something about it. It returns how many acts wait for two administrators.
func (c *console) banners(r *http.Request, v *visit, f *web.Frame) (waiting int) {
	var has factors.Summary
	works := true
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if has, err = factors.Of(r.Context(), tx, v.user.ID); err != nil || !v.may(access.ManageUsers) {
			return err
		}
		open, err := c.Desk.List(r.Context(), tx, v.caller, v.org(), true)
		if waiting = len(open); err != nil {
			return err
		}
		works, err = mail.Works(r.Context(), tx)
		return err
	})
	if err != nil {
		c.door.Log.ErrorContext(r.Context(), "looking what every page says", "error", err, "request", v.caller.RequestID)
		return 0
	}
	p := f.Printer()
	say := func(may bool, icon, text, href, link string) {
		b := web.Banner{Icon: icon, Text: text}
		if may && r.URL.Path != href {
			b.Href, b.Link = href, p.T(link)
		}
		f.Banners = append(f.Banners, b)
	}
	if from := v.user.SecondFactorFrom; !has.Any() && !from.IsZero() {
		say(true, "shield-lock", p.T("console.banner.factor", "date", from.In(f.Zone())), "/admin/account/security", "account.security")
	}
	if !works {
		say(v.may(access.ManageSettings), "mail-exclamation", p.T("console.banner.mail"), "/admin/settings/mail", "settings.mail")
	}
	return waiting
}

// fail is where every failure of a page ends.
func (c *console) fail(w http.ResponseWriter, r *http.Request, by access.Caller, err error) {
	c.door.Fail(w, r, by, err)
}

// refused puts a failure that the form can mend into it, under the field that
// fields names for its key, and reports whether it was one.
func refused(form *web.Form, p *locale.Printer, err error, fields map[string]string) bool {
	switch errs.KindOf(err) {
	case errs.Invalid, errs.Conflict, errs.NoSeat, errs.TooLarge:
		return form.AddTo(p, err, fields)
	}
	return false
}

// portal is where users reach this server.
func (c *console) portal(r *http.Request) string { return c.Address(r) }
