package web

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
)

// The cookies that both portals share. Their prefix makes a browser refuse
// them from anybody but this host over TLS.
const (
	hostPrefix  = "__Host-"
	langCookie  = hostPrefix + "backstay-language"
	themeCookie = hostPrefix + "backstay-theme"
	zoneCookie  = hostPrefix + "backstay-zone"
	checkCookie = hostPrefix + "backstay-check"
	flashPrefix = hostPrefix + "backstay-flash-"
)

// SetCookie sets a cookie that only this host's server reads. A zero expiry
// makes it end with the browser; one in the past deletes it.
func SetCookie(w http.ResponseWriter, name, value string, expires time.Time) {
	c := &http.Cookie{
		Name: name, Value: value, Path: "/", Expires: expires,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	http.SetCookie(w, c)
}

// DropCookie deletes a cookie that SetCookie set.
func DropCookie(w http.ResponseWriter, name string) {
	SetCookie(w, name, "", time.Unix(1, 0))
}

// Cookie is the value of a cookie, "" when there is none.
func Cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// SetCookie is the function of that name, but for a site of this computer. Its
// pages come over plain HTTP, where not every browser takes what is for TLS
// alone, and cookies know no ports: what is not a matter of taste goes below the
// base only, a path that no other program of this computer knows.
func (s *Site) SetCookie(w http.ResponseWriter, name, value string, expires time.Time) {
	if !s.cfg.Local {
		SetCookie(w, name, value, expires)
		return
	}
	c := &http.Cookie{
		Name: strings.TrimPrefix(name, hostPrefix), Value: value, Path: s.cfg.Base + "/", Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if name == langCookie || name == themeCookie {
		c.Path = "/"
	}
	http.SetCookie(w, c)
}

func (s *Site) dropCookie(w http.ResponseWriter, name string) {
	s.SetCookie(w, name, "", time.Unix(1, 0))
}

// Cookie is the value of a cookie that the site's SetCookie set, "" when there
// is none.
func (s *Site) Cookie(r *http.Request, name string) string {
	if s.cfg.Local {
		name = strings.TrimPrefix(name, hostPrefix)
	}
	return Cookie(r, name)
}

// CookiesOff reports whether this browser sent none of our cookies back. The
// log-in page sets one, so a log-in without any means that cookies are off.
func CookiesOff(r *http.Request) bool {
	return Cookie(r, checkCookie) == ""
}

// LangOf chooses the language for a request: the one chosen before, else what
// the browser asks for.
func LangOf(r *http.Request) locale.Lang { return langOf(r, Cookie(r, langCookie)) }

func langOf(r *http.Request, chosen string) locale.Lang {
	if l, ok := locale.Parse(chosen); ok {
		return l
	}
	return locale.Match(r.Header.Get("Accept-Language"))
}

// ChosenLang is the language somebody chose in this browser; ok is false when
// nobody did.
func ChosenLang(r *http.Request) (l locale.Lang, ok bool) {
	return locale.Parse(Cookie(r, langCookie))
}

// SetLang remembers the language for a year.
func SetLang(w http.ResponseWriter, l locale.Lang, now time.Time) {
	SetCookie(w, langCookie, string(l), now.AddDate(1, 0, 0))
}

func themeOf(chosen string) string {
	if chosen == "light" || chosen == "dark" {
		return chosen
	}
	return ""
}

// SetZone remembers the time zone that the browser named, when it is one.
func SetZone(w http.ResponseWriter, zone string, now time.Time) {
	if zone == "" || zone == "Local" || len(zone) > 64 {
		return
	}
	if _, err := time.LoadLocation(zone); err == nil {
		SetCookie(w, zoneCookie, base64.RawURLEncoding.EncodeToString([]byte(zone)), now.AddDate(1, 0, 0))
	}
}

func (s *Site) zoneOf(r *http.Request) *time.Location {
	if s.cfg.Local {
		return time.Local
	}
	return zoneOf(r)
}

func zoneOf(r *http.Request) *time.Location {
	name, err := base64.RawURLEncoding.DecodeString(Cookie(r, zoneCookie))
	if err != nil || len(name) == 0 || string(name) == "Local" {
		return time.UTC
	}
	zone, err := time.LoadLocation(string(name))
	if err != nil {
		return time.UTC
	}
	return zone
}

// Flash is a message for the next page: a key of locale and its values.
type Flash struct {
	Key  string `json:"k"`
	Args []any  `json:"a,omitempty"`
	Bad  bool   `json:"b,omitempty"` // a warning, not a success
}

func (s *Site) setFlash(w http.ResponseWriter, f Flash) {
	data, err := json.Marshal(f)
	if err != nil || len(data) > 2048 {
		return
	}
	s.SetCookie(w, flashPrefix+s.cfg.Name, base64.RawURLEncoding.EncodeToString(data), time.Time{})
}

// takeFlash reads the message left for this page and deletes it.
func (s *Site) takeFlash(w http.ResponseWriter, r *http.Request) *Flash {
	value := s.Cookie(r, flashPrefix+s.cfg.Name)
	if value == "" {
		return nil
	}
	s.dropCookie(w, flashPrefix+s.cfg.Name)
	data, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return nil
	}
	f := &Flash{}
	if json.Unmarshal(data, f) != nil {
		return nil
	}
	for i, a := range f.Args {
		if n, ok := a.(float64); ok {
			f.Args[i] = int64(n)
		}
	}
	return f
}

// StartSession gives the browser a log-in session's token. It ends with the
// browser; the server ends it earlier when it likes.
func StartSession(w http.ResponseWriter, name, token string) {
	SetCookie(w, name, token, time.Time{})
}

// EndSession takes the token away, with everything the browser may still keep
// of the pages. Language, theme and zone are no secrets and stay.
func EndSession(w http.ResponseWriter, name string) {
	DropCookie(w, name)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
}
