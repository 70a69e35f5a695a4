package localui

import (
	"net/http"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
)

// sections are the pages of a device, as its tabs name them.
var sections = []web.Link{
	{Key: "window.tab.home", Href: "/", Icon: "home"},
	{Key: "window.tab.folders", Href: "/folders", Icon: "folder"},
	{Key: "window.tab.restore", Href: "/restore", Icon: "arrow-back-up"},
	{Key: "window.tab.activity", Href: "/activity", Icon: "history"},
	{Key: "window.tab.settings", Href: "/settings", Icon: "settings"},
}

// looks makes handlers of pages about the device that this computer is. While an
// administrator has locked it, they show that and nothing else.
func (w *Window) looks(here string, do func(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		s, err := agent.Stand(r.Context(), w.cfg.State.Dir(), w.cfg.Now())
		if errs.Is(err, errs.NotActivated) {
			w.to(rw, r, "/")
			return
		}
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		p := w.page(rw, r, "window.tab."+here)
		s.Now = p.Now()
		if s.Removed() && here != "home" {
			w.to(rw, r, "/")
			return
		}
		for _, link := range sections {
			link.Active = link.Key == "window.tab."+here
			link.Href = w.base + link.Href
			p.Nav = append(p.Nav, link)
		}
		switch {
		case s.Removed():
			p.Nav = nil
		case s.Live != nil && s.Live.Locked && here != "home":
			w.site.Render(rw, r, http.StatusLocked, "locked", p)
			return
		}
		do(rw, r, p, s)
	}
}

// wants makes a change of what the user chose, and goes on to a page that says
// that it is done.
func (w *Window) wants(rw http.ResponseWriter, r *http.Request, change control.Change, path, done string) {
	if err := agent.Change(r.Context(), w.cfg.State.Dir(), w.cfg.Now(), change); err != nil {
		w.refuse(rw, r, path, err)
		return
	}
	w.site.Done(rw, r, w.base+path, web.Flash{Key: done})
}

// refuse goes back to a page with what is in the way of something.
func (w *Window) refuse(rw http.ResponseWriter, r *http.Request, path string, err error) {
	if e := errs.Find(err); e == nil || e.Kind == errs.Internal {
		w.fail(rw, r, err)
		return
	}
	why := w.site.Frame(rw, r).Printer().Error(err)
	w.site.Done(rw, r, w.base+path, web.Flash{Key: "window.refused", Args: []any{"why", why}, Bad: true})
}
