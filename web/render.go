package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// Page is a struct that embeds Frame: what a template gets.
type Page interface{ frame() Frame }

// RequestIDHeader carries the id under which the logs know a request.
const RequestIDHeader = "Backstay-Request-Id"

// Render writes a page. A template that fails half-way is reported as a
// failure of ours; nothing of it is sent.
func (s *Site) Render(w http.ResponseWriter, r *http.Request, status int, name string, page Page) {
	f := page.frame()
	var b bytes.Buffer
	t, err := s.cfg.Templates[f.Lang()].page(name)
	if err == nil {
		err = t.ExecuteTemplate(&b, "layout-"+f.layout, page)
	}
	if err != nil {
		s.Fail(w, r, fmt.Errorf("rendering %s: %w", name, err))
		return
	}
	s.send(w, r, status, b.Bytes(), f.secret)
}

func (s *Site) send(w http.ResponseWriter, r *http.Request, status int, page []byte, secret bool) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Encoding")
	// No other page holds a secret beside text that a stranger chose, so that
	// its compressed length tells nothing.
	if !secret && len(page) > 1024 && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		page = pack(page)
	}
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(page)
	}
}

// Redirect sends the browser to another page of ours, by GET. An address that
// is none of this server leads to the first page.
func (s *Site) Redirect(w http.ResponseWriter, r *http.Request, to string) {
	http.Redirect(w, r, LocalPath(to, s.cfg.Base+"/"), http.StatusSeeOther)
}

// Done sends the browser to a page that will say what was done.
func (s *Site) Done(w http.ResponseWriter, r *http.Request, to string, note Flash) {
	s.setFlash(w, note)
	s.Redirect(w, r, to)
}

type errorPage struct {
	Frame
	Status    int
	Text      string
	Hint      string
	Code      string
	RequestID string
	Icon      string
}

// Fail writes the page for err: an expected failure with its sentence and its
// code small and grey, anything else as a neutral sentence with the request's
// id. Only the unexpected is logged here, and what must wait for something of the
// server's own.
func (s *Site) Fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the browser went away; there is nobody to tell
	}
	status := Status(w, err)
	page := errorPage{Frame: s.bare(r).Card(), Status: status, RequestID: w.Header().Get(RequestIDHeader), Icon: "alert-circle"}
	page.Text = page.p.Error(err)
	expected := errs.Find(err)
	if expected == nil || expected.Kind == errs.Internal {
		s.cfg.Log.ErrorContext(r.Context(), "page failed", "error", err, "method", r.Method, "path", r.URL.Path, "request", page.RequestID)
		page.Text, page.Icon = page.p.T("error.unexpected"), "alert-triangle"
	} else {
		if expected.Kind == errs.Unavailable {
			s.cfg.Log.WarnContext(r.Context(), "page put off", "error", err, "method", r.Method, "path", r.URL.Path, "request", page.RequestID)
		}
		page.Code = string(expected.Code)
		if expected.Kind == errs.NotFound && expected.Code == "" && expected.Key != "page.not_found.text" {
			// What is not there and what is not theirs to see get one answer.
			page.Text = page.p.T("access.not.found")
		}
	}
	page.Title = page.p.T(titleOf(status))
	s.sendError(w, r, page)
}

// Status is the status of a page that shows err. The answer gets the header that
// says when to come back, where there is something to wait for.
func Status(w http.ResponseWriter, err error) int {
	if wait := errs.RetryAfter(err); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(wait))
	}
	return errs.Status(err)
}

func titleOf(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "page.forbidden"
	case http.StatusNotFound, http.StatusGone:
		return "page.not_found"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "page.later"
	case http.StatusInternalServerError:
		return "page.failed"
	}
	return "page.refused"
}

func (s *Site) sendError(w http.ResponseWriter, r *http.Request, page errorPage) {
	var b bytes.Buffer
	t, err := s.cfg.Templates[page.Lang()].page("error")
	if err == nil {
		err = t.ExecuteTemplate(&b, "layout-error", page)
	}
	if err != nil {
		s.cfg.Log.ErrorContext(r.Context(), "error page failed", "error", err)
		http.Error(w, page.Text, page.Status)
		return
	}
	s.send(w, r, page.Status, b.Bytes(), false)
}

// NotFound is the page for an address that leads nowhere.
func (s *Site) NotFound(w http.ResponseWriter, r *http.Request) {
	s.Fail(w, r, errs.New(errs.NotFound, "page.not_found.text"))
}

// NoCookies is the page for a browser that keeps no cookies.
func (s *Site) NoCookies(w http.ResponseWriter, r *http.Request) {
	page := errorPage{Frame: s.bare(r).Card(), Status: http.StatusBadRequest, Icon: "cookie"}
	page.Title, page.Text, page.Hint = page.p.T("cookies.title"), page.p.T("cookies.text"), page.p.T("cookies.hint")
	s.sendError(w, r, page)
}

// CheckCookies sets the cookie that CookiesOff looks for.
func (s *Site) CheckCookies(w http.ResponseWriter) {
	SetCookie(w, checkCookie, "1", s.cfg.Now().AddDate(0, 0, 1))
}

// Handler is the portal's routes with what they all need around them: safe
// headers, the refusal of other sites' forms and of what is no text, a limit on
// the size of a form, the choice of language and theme, and a page for what does
// not exist.
func (s *Site) Handler(routes *http.ServeMux) http.Handler {
	routes.HandleFunc("POST "+s.cfg.Base+"/preferences", s.preferences)
	routes.HandleFunc(s.cfg.Base+"/", s.NotFound)
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Fail(w, r, errs.New(errs.Forbidden, "page.cross_origin"))
	}))
	limited := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := checkText(r); err != nil {
			s.Fail(w, r, err)
			return
		}
		routes.ServeHTTP(w, r)
	})
	return Headers(protection.Handler(limited))
}

// checkText reads the form and refuses what databases do not take for text: NUL
// and bytes that are not UTF-8. A parameter called path is exempt: names of
// files are any bytes.
func checkText(r *http.Request) error {
	if !isText(r.URL.Path) {
		return errs.New(errs.NotFound, "request.path")
	}
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return errs.New(errs.TooLarge, "request.size")
		}
		return errs.New(errs.Invalid, "request.body")
	}
	for name, values := range r.Form {
		if name != "path" && slices.ContainsFunc(append(values, name), func(s string) bool { return !isText(s) }) {
			return errs.New(errs.Invalid, "request.body")
		}
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// maxForm is enough for a selection of some ten thousand entries.
const maxForm = 4 << 20

// preferences keeps the language or the theme that somebody chose.
func (s *Site) preferences(w http.ResponseWriter, r *http.Request) {
	if l, ok := locale.Parse(r.PostFormValue("language")); ok {
		s.SetCookie(w, langCookie, string(l), s.cfg.Now().AddDate(1, 0, 0))
		if s.cfg.Prefer != nil {
			s.cfg.Prefer(r, l)
		}
	}
	switch theme := r.PostFormValue("theme"); theme {
	case "light", "dark":
		s.SetCookie(w, themeCookie, theme, s.cfg.Now().AddDate(1, 0, 0))
	case "system":
		s.dropCookie(w, themeCookie)
	}
	s.Redirect(w, r, r.PostFormValue("back"))
}

// LocalPath is to when it is a path of this server, else instead: what a form
// or an address says about where to go next is not trusted.
func LocalPath(to, instead string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t\x00") {
		return instead
	}
	return to
}
