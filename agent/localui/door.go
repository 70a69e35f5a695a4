package localui

import (
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/web"
)

// cookie holds the session.
const cookie = "backstay-window"

// own takes the connections that this computer's user opened, and no others.
type own struct{ net.Listener }

func (l own) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || ours(conn) {
			return conn, err
		}
		conn.Close()
	}
}

// ServeHTTP lets in who has the cookie, and shows everybody else how to come in.
// What those get to see names no secret of the window.
func (w *Window) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	web.SetHeaders(rw.Header())
	say := locale.For(locale.Match(r.Header.Get("Accept-Language")))
	origin := r.Header.Get("Origin")
	switch {
	// Another name that leads to 127.0.0.1 is how a web site would get at us. A
	// form's origin may be hidden as "null"; then its Sec-Fetch-Site decides.
	case r.Host != w.addr, origin != "" && origin != "null" && origin != "http://"+w.addr:
		http.Error(rw, say.T("window.elsewhere"), http.StatusForbidden)
	case strings.HasPrefix(r.URL.Path, web.StaticPath):
		w.assets.ServeHTTP(rw, r)
	case r.URL.Path == w.base+"/open":
		w.pages.ServeHTTP(rw, r)
	case !w.admits(r):
		http.Error(rw, say.T("window.outside"), http.StatusForbidden)
	default:
		w.pages.ServeHTTP(rw, r)
	}
}

// admits reports whether a request comes from the browser that was let in.
func (w *Window) admits(r *http.Request) bool {
	if !equal(w.site.Cookie(r, cookie), w.session) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = w.cfg.Now()
	return true
}

func equal(a, b string) bool { return b != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

type openPage struct {
	page
	Key string
}

// openPage is behind the link. It sends its own form, since looking at a page
// changes nothing, and since a cookie for this site alone is not sent on the way
// here from another one.
func (w *Window) openPage(rw http.ResponseWriter, r *http.Request) {
	p := openPage{page: w.page(rw, r, "window.open"), Key: r.FormValue("key")}
	if w.admits(r) {
		w.site.Redirect(rw, r, w.base+"/")
		return
	}
	w.mu.Lock()
	good := equal(p.Key, w.key)
	w.mu.Unlock()
	if !good {
		w.fail(rw, r, errs.New(errs.Gone, "window.link.used"))
		return
	}
	p.Frame = p.Frame.Secret()
	w.site.Render(rw, r, http.StatusOK, "open", p)
}

func (w *Window) open(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	good := equal(r.PostFormValue("key"), w.key)
	if good {
		w.key, w.seen = "", w.cfg.Now()
	}
	w.mu.Unlock()
	if !good {
		w.fail(rw, r, errs.New(errs.Gone, "window.link.used"))
		return
	}
	w.site.SetCookie(rw, cookie, w.session, time.Time{})
	w.site.Redirect(rw, r, w.base+"/")
}
