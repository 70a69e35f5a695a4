package localui

import (
	"cmp"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// newRoutes are all pages of the window. What changes anything is a POST.
func (w *Window) newRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /open":  w.openPage,
		"POST /open": w.open,

		"GET /{$}": w.home,

		"POST /backup":                w.backUp,
		"POST /pause":                 w.pause,
		"POST /resume":                w.resume,
		"GET /folders":                w.looks("folders", w.foldersPage),
		"GET /folders/choose":         w.looks("folders", w.chooseFolder),
		"POST /folders/add":           w.addFolder,
		"POST /folders/remove":        w.removeFolder,
		"GET /restore":                w.looks("restore", w.restorePage),
		"POST /restore":               w.looks("restore", w.putBack),
		"POST /restore/unlock":        w.looks("restore", w.unlock),
		"GET /restore/at/{snapshot}":  w.looks("restore", w.snapshotPage),
		"POST /restore/at/{snapshot}": w.looks("restore", w.choose),
		"GET /restore/to":             w.looks("restore", w.targetPage),
		"GET /restore/folder":         w.looks("restore", w.browseTarget),
		"POST /restore/folder":        w.looks("restore", w.takeTarget),
		"GET " + besideAt:             w.looks("restore", w.besidePage),
		"POST " + besideAt:            w.looks("restore", w.bringBack),
		"POST /restore/cancel":        w.looks("restore", w.endJob),
		"POST /restore/again":         w.looks("restore", w.againJob),
		"POST /restore/dismiss":       w.looks("restore", w.dropJob),

		"GET /activity":  w.looks("activity", w.activityPage),
		"GET /settings":  w.looks("settings", w.settingsPage),
		"POST /settings": w.looks("settings", w.saveSettings),

		"POST /settings/password": w.looks("settings", w.mailLink),

		"GET /activate":      w.activatePage,
		"POST /activate":     w.activate,
		"GET /connect":       w.connectPage,
		"POST /connect":      w.connect,
		"GET /password":      w.passwordPage,
		"POST /password":     w.password,
		"GET /code":          w.codePage,
		"POST /code":         w.code,
		"GET /account":       w.accountPage,
		"POST /account":      w.account,
		"GET /key":           w.keyPage,
		"POST /key":          w.byKey,
		"GET /new-password":  w.newPasswordPage,
		"POST /new-password": w.newPassword,
		"GET /devices":       w.devicesPage,
		"POST /devices":      w.devices,
		"GET /preview":       w.previewPage,
		"POST /preview":      w.preview,
		"GET /waiting":       w.waitingPage,
		"POST /waiting":      w.waiting,
		"POST /cancel":       w.cancel,
		"GET /ready":         w.readyPage,

		"GET /register":              w.registerPage,
		"POST /register":             w.register,
		"GET /register/code":         w.registerCodePage,
		"POST /register/code":        w.registerCode,
		"POST /register/code/resend": w.resendCode,
		"GET /forgot":                w.forgotPage,
		"POST /forgot":               w.forgot,
		"GET /forgot/sent":           w.forgotSent,
		"GET /proxy":                 w.proxyPage,
		"POST /proxy":                w.proxy,
		"POST /proxy/test":           w.testProxy,

		"GET /alive": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) },
	} {
		mux.HandleFunc(insert(pattern, w.base), handler)
	}
	return mux
}

// insert puts the base before the path of a pattern.
func insert(pattern, base string) string {
	for i, r := range pattern {
		if r == '/' {
			return pattern[:i] + base + pattern[i:]
		}
	}
	return pattern
}

// steps is how many steps an activation has at most.
const steps = 5

// page is what every page has.
type page struct {
	web.Frame
	Form web.Form
	Code string // of what is wrong with a field
	Wait int    // seconds until another try is worth it, which the page counts down
	Step int    // of the activation, 0 when it is no step
	Back string // where *Back* leads, below the base; "" for nowhere
}

// Steps is how many steps there are.
func (page) Steps() int { return steps }

func (w *Window) page(rw http.ResponseWriter, r *http.Request, title string) page {
	p := page{Frame: w.site.Frame(rw, r).At(w.at(r))}
	p.Title = p.Printer().T(title)
	return p
}

// at is where the page of a request is found again: a form is sent to its own
// page, or to a path below it.
func (w *Window) at(r *http.Request) string {
	if w.gets(r.URL.Path) {
		return r.URL.RequestURI()
	}
	up := path.Dir(r.URL.Path)
	for len(up) > len(w.base) && !w.gets(up) {
		up = path.Dir(up)
	}
	if len(up) <= len(w.base) {
		return w.base + "/"
	}
	return up
}

// gets reports whether there is a page at a path.
func (w *Window) gets(at string) bool {
	_, pattern := w.routes.Handler(&http.Request{Method: http.MethodGet, Host: w.addr, URL: &url.URL{Path: at}})
	return strings.HasPrefix(pattern, http.MethodGet+" ")
}

// step is the page of a step of the activation.
func (w *Window) step(rw http.ResponseWriter, r *http.Request, title string, n int, back string) page {
	p := w.page(rw, r, title)
	p.Step, p.Back = n, back
	return p
}

// to sends the browser to a page of the window.
func (w *Window) to(rw http.ResponseWriter, r *http.Request, path string) {
	w.site.Redirect(rw, r, w.base+path)
}

// fail is the page of a failure that belongs to no form.
func (w *Window) fail(rw http.ResponseWriter, r *http.Request, err error) {
	w.site.Fail(rw, r, err)
}

// wrong puts a failure into a page's form: below the field that its key belongs
// to, else above all fields, with what is known about its cause and what helps.
// It returns the page's status, and ok false for what nobody expected.
func (p *page) wrong(rw http.ResponseWriter, err error, fields map[string]string) (status int, ok bool) {
	if err == nil {
		return http.StatusOK, true
	}
	say := p.Printer()
	e := errs.Find(err)
	if !p.Form.AddTo(say, err, fields) {
		return 0, false
	}
	if n, ok := e.Int("n"); ok && e.Code == errs.TooManyAttempts {
		p.Wait = n
	}
	if p.Form.Problem == nil {
		p.Code = string(e.Code)
	} else {
		for _, more := range []string{wire.Sentence(say, err), wire.Advice(say, err)} {
			if more != "" {
				p.Form.Problem.Text += " " + more
			}
		}
	}
	status = web.Status(rw, err)
	if status >= http.StatusInternalServerError {
		status = http.StatusConflict // it is this computer's own, and no failure of the page
	}
	return cmp.Or(status, http.StatusOK), true
}

// shows renders a page with what went wrong, if anything has.
func (w *Window) shows(rw http.ResponseWriter, r *http.Request, name string, base *page, full web.Page, err error, fields map[string]string) {
	status, ok := base.wrong(rw, err, fields)
	if !ok {
		w.fail(rw, r, err)
		return
	}
	w.site.Render(rw, r, status, name, full)
}
