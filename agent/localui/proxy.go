package localui

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

type proxyPage struct {
	page
	Proxy       wire.Proxy // without its password
	HasPassword bool
	Bypass      string
	Lines       []line // of a test
	Why, Do     string
	FailCode    string
	Testable    bool // it is known which server is to be reached
}

// Modes are the ways to come by a proxy.
func (*proxyPage) Modes() []wire.ProxyMode {
	return []wire.ProxyMode{wire.ProxySystem, wire.ProxyManual, wire.ProxyPAC, wire.ProxyNone}
}

// URL is the address of the proxy.
func (p *proxyPage) URL() string { return p.address(wire.ProxyManual) }

// Script is the address of the script.
func (p *proxyPage) Script() string { return p.address(wire.ProxyPAC) }

func (p *proxyPage) address(of wire.ProxyMode) string {
	if p.Proxy.Mode != of {
		return ""
	}
	return p.Proxy.URL
}

func (w *Window) proxyPage(rw http.ResponseWriter, r *http.Request) {
	c, err := w.cfg.State.Connection()
	p := w.proxyOf(rw, r, c.Proxy)
	if c.Proxy.Mode == "" {
		p.Proxy.Mode = wire.ProxySystem
	}
	w.shows(rw, r, "proxy", &p.page, p, err, nil)
}

// proxyOf is the page with settings in its fields. A password is not shown.
func (w *Window) proxyOf(rw http.ResponseWriter, r *http.Request, now wire.Proxy) *proxyPage {
	p := &proxyPage{page: w.page(rw, r, "window.proxy"), Proxy: now, Bypass: strings.Join(now.Bypass, ", ")}
	p.HasPassword, p.Proxy.Password = now.Password != "", ""
	f := w.now()
	p.Testable = cmp.Or(f.server, w.known(r.Context()).server) != ""
	p.Back = "/"
	if f.server != "" && f.ready == nil {
		p.Back = "/activate"
	}
	return p
}

// typedProxy is what the form says. A password that nobody typed stays as it is.
func (w *Window) typedProxy(r *http.Request) (wire.Proxy, error) {
	p := wire.Proxy{Mode: wire.ProxyMode(r.PostFormValue("mode")), Username: strings.TrimSpace(r.PostFormValue("username")), Password: r.PostFormValue("password")}
	switch p.Mode {
	case wire.ProxyManual:
		p.URL = strings.TrimSpace(r.PostFormValue("url"))
		if p.URL != "" && !strings.Contains(p.URL, "://") {
			p.URL = "http://" + p.URL
		}
	case wire.ProxyPAC:
		p.URL = strings.TrimSpace(r.PostFormValue("script"))
	}
	if p.Mode == wire.ProxyManual || p.Mode == wire.ProxyPAC {
		p.Bypass = strings.FieldsFunc(r.PostFormValue("bypass"), func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' })
	}
	// A password goes to the proxy that it was typed for, and to no other.
	kept, err := w.cfg.State.Connection()
	if err != nil {
		kept = state.Connection{} // what is damaged is about to be replaced
	}
	for _, known := range []wire.Proxy{kept.Proxy, w.now().tested} {
		if p.Password == "" && p.Username != "" && known.Username == p.Username && sameProxy(known, p) {
			p.Password = known.Password
		}
	}
	return p.Check()
}

// sameProxy reports whether two settings, checked or not, name the same proxy.
func sameProxy(a, b wire.Proxy) bool {
	a, err := a.Check()
	if err != nil {
		return false
	}
	b.Bypass = a.Bypass
	b, err = b.Check()
	return err == nil && a.Mode == b.Mode && a.URL == b.URL
}

// proxyFields are the fields that failures belong to.
var proxyFields = map[string]string{"proxy.url": "url", "proxy.script": "script", "proxy.username": "username", "proxy.password": "password"}

// proxy keeps the settings and goes on where somebody came from.
func (w *Window) proxy(rw http.ResponseWriter, r *http.Request) {
	to, err := w.typedProxy(r)
	if err == nil {
		err = w.cfg.State.SetConnection(state.Connection{Proxy: to})
	}
	if err != nil {
		w.refuseProxy(rw, r, err)
		return
	}
	f := w.now()
	if f.server == "" || f.ready != nil {
		w.site.Done(rw, r, w.base+"/", web.Flash{Key: "form.saved"})
		return
	}
	if err := w.try(r.Context()); err != nil {
		w.fail(rw, r, err)
		return
	}
	w.to(rw, r, "/connect")
}

// refuseProxy shows what was typed and what is wrong with it.
func (w *Window) refuseProxy(rw http.ResponseWriter, r *http.Request, err error) {
	p := w.proxyOf(rw, r, wire.Proxy{Mode: wire.ProxyMode(r.PostFormValue("mode")), URL: cmp.Or(r.PostFormValue("url"), r.PostFormValue("script")),
		Username: r.PostFormValue("username")})
	p.Bypass = r.PostFormValue("bypass")
	w.shows(rw, r, "proxy", &p.page, p, err, proxyFields)
}

// testProxy goes the way to the server by settings that are not kept yet.
func (w *Window) testProxy(rw http.ResponseWriter, r *http.Request) {
	by, err := w.typedProxy(r)
	if err != nil {
		w.refuseProxy(rw, r, err)
		return
	}
	w.change(func(f *flow) { f.tested = by })
	p := w.proxyOf(rw, r, by)
	f := w.now()
	if f.server == "" {
		f = w.known(r.Context())
	}
	cfg := connection.With(by)
	cfg.Server, cfg.Fingerprint = f.server, f.fingerprint
	report := wire.Diagnose(r.Context(), cfg, "", nil)
	say := p.Printer()
	for _, c := range report.Checks {
		p.Lines = append(p.Lines, line{Title: c.Step.Title(say), State: c.Outcome})
	}
	if c := report.Failed(); c != nil {
		p.Why, p.Do, p.FailCode = c.Sentence(say), c.Advice(say), string(c.Code())
	}
	w.site.Render(rw, r, http.StatusOK, "proxy", p)
}
