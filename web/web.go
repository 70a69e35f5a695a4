// Package web holds what all pages share: the layouts and the template
// engine, the look, safe headers and cookies, language and theme, forms,
// messages for the next page, and the page that says what failed. The portals
// bring their own pages as templates and typed structs that embed Frame.
package web

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // users' zones, also on systems without the files

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/version"
)

//go:embed templates/*.html
var shared embed.FS

// Config says what a portal is.
type Config struct {
	Name      string // "portal", "console" or "window": the layout of its pages, and part of its cookies' names
	Base      string // the path it lives under, without the last slash: "" or "/admin"
	Templates Templates
	HideBuild bool // the log-in page does not show the build

	// Local says that the pages are of this computer, over plain HTTP and for
	// nobody but the user who sits at it: times are in its own zone.
	Local bool

	// Prefer is told of a language that somebody chose, to keep it with the
	// user; nil when the cookie is enough.
	Prefer func(r *http.Request, l locale.Lang)

	Log *slog.Logger     // nil for slog.Default()
	Now func() time.Time // nil for time.Now
}

// Templates are a portal's pages by name, in every language.
type Templates map[locale.Lang]*pages

// pages are the pages of one language. Each is made when it is first shown: it has
// the layouts and all partials in it, and of the hundred that there are most
// servers show few.
type pages struct {
	base  *template.Template // never executed, so that it can be cloned
	files map[string]file

	mu   sync.Mutex
	made map[string]*template.Template
}

type file struct {
	root fs.FS
	path string
}

// Parse reads the pages in the folders "templates": NAME.html defines the
// "content" of a page, and _NAME.html are partials for all of them.
func Parse(roots ...fs.FS) (Templates, error) {
	assets, err := LoadAssets()
	if err != nil {
		return nil, err
	}
	all := Templates{}
	for _, l := range locale.Langs() {
		if all[l], err = parse(roots, functions(assets, locale.For(l))); err != nil {
			return nil, fmt.Errorf("parsing pages: %w", err)
		}
	}
	return all, nil
}

func parse(roots []fs.FS, functions template.FuncMap) (*pages, error) {
	base, err := template.New("").Funcs(functions).ParseFS(shared, "templates/*.html")
	if err != nil {
		return nil, err
	}
	p := &pages{base: base, files: map[string]file{}, made: map[string]*template.Template{}}
	for _, root := range roots {
		if err := each(root, true, func(file string) error {
			_, err := base.ParseFS(root, file)
			return err
		}); err != nil {
			return nil, err
		}
		if err := each(root, false, func(name string) error {
			p.files[strings.TrimSuffix(path.Base(name), ".html")] = file{root, name}
			// What is wrong with a page is to be known now.
			_, err := template.New("").Funcs(functions).ParseFS(root, name)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// page is a page's template. The one named "error" has no file: its layout is all.
func (p *pages) page(name string) (*template.Template, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.made[name]; t != nil {
		return t, nil
	}
	file, ok := p.files[name]
	if !ok && name != "error" {
		return nil, fmt.Errorf("no page named %s", name)
	}
	t, err := p.base.Clone()
	if err == nil && ok {
		_, err = t.ParseFS(file.root, file.path)
	}
	if err != nil {
		return nil, err
	}
	p.made[name] = t
	return t, nil
}

// each calls do with every partial, or with every page.
func each(root fs.FS, partials bool, do func(file string) error) error {
	files, err := fs.Glob(root, "templates/*.html")
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasPrefix(path.Base(file), "_") != partials {
			continue
		}
		if err := do(file); err != nil {
			return err
		}
	}
	return nil
}

func functions(assets *Assets, p *locale.Printer) template.FuncMap {
	return template.FuncMap{
		"T":       p.T,
		"N":       func(key string, n any, args ...any) string { return p.T(key, append([]any{"n", n}, args...)...) },
		"bytes":   p.Bytes,
		"number":  p.Number,
		"visible": Visible,
		"system":  func(os string) string { return System(os, "", "") },
		"args":    args,
		"asset":   assets.URL,
		"icon": func(name string) (template.HTML, error) {
			url, err := assets.URL("vendor/icons.svg")
			return template.HTML(`<svg class="icon" aria-hidden="true"><use href="` + url + `#` + name + `"/></svg>`), err
		},
	}
}

// Site is one portal's pages, ready to render. It is safe for use by several
// goroutines.
type Site struct {
	cfg    Config
	assets *Assets
}

// New makes a site of its pages.
func New(cfg Config) (*Site, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	assets, err := LoadAssets()
	if err != nil {
		return nil, err
	}
	return &Site{cfg: cfg, assets: assets}, nil
}

// Link is an entry of the tabs or of the sidebar.
type Link struct {
	Key    string // of its text
	Href   string
	Icon   string
	Active bool
}

// Banner is a sentence above every page of a site, with where to mend it.
type Banner struct {
	Icon, Text string
	Href, Link string // "" for none
	Bad        bool   // it is more than a warning
}

// Frame is what the layout around a page needs. Page structs embed the one
// that Site.Frame makes; Title, Nav and Who are the page's to set.
type Frame struct {
	Title string // translated
	Nav   []Link
	Who   string // who is logged in, "" for nobody
	Note  *Flash // left by the page before

	Banners []Banner // what the whole site has to say, above every page

	layout string
	secret bool
	site   *Site
	p      *locale.Printer
	theme  string
	zone   *time.Location
	now    time.Time
	path   string
}

// Frame makes the frame for a request. It takes the message that the page
// before left, so a handler makes one frame only.
func (s *Site) Frame(w http.ResponseWriter, r *http.Request) Frame {
	f := s.bare(r)
	f.Note = s.takeFlash(w, r)
	return f
}

// bare is a frame that leaves a waiting message alone.
func (s *Site) bare(r *http.Request) Frame {
	f := Frame{
		site: s, layout: s.cfg.Name, p: locale.For(langOf(r, s.Cookie(r, langCookie))), theme: themeOf(s.Cookie(r, themeCookie)),
		zone: s.zoneOf(r), now: s.cfg.Now(), path: s.cfg.Base + "/",
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		f.path = r.URL.RequestURI()
	}
	return f
}

// Card is f for a page of one centred card, before anybody is logged in.
func (f Frame) Card() Frame {
	f.layout = "card"
	return f
}

// Secret is f for a page that shows a secret. It is sent without compression:
// the compressed length would tell of the secret to who can choose other text
// of the page.
func (f Frame) Secret() Frame {
	f.secret = true
	return f
}

// At is f for a page that is found again at path, where a choice of language or
// theme leads back to. A page that answers a form does not know that by itself.
func (f Frame) At(path string) Frame {
	f.path = path
	return f
}

func (f Frame) frame() Frame { return f }

// Printer speaks the page's language.
func (f Frame) Printer() *locale.Printer { return f.p }

// Lang is the page's language.
func (f Frame) Lang() locale.Lang { return f.p.Lang() }

// Langs are the languages on offer.
func (f Frame) Langs() []locale.Lang { return locale.Langs() }

// Theme is "light", "dark", or "" for the system's.
func (f Frame) Theme() string { return f.theme }

// Zone is the reader's time zone, UTC until the browser has told.
func (f Frame) Zone() *time.Location { return f.zone }

// Now is the moment the page is made.
func (f Frame) Now() time.Time { return f.now.In(f.zone) }

// Path is where to come back to after a choice of language or theme.
func (f Frame) Path() string { return f.path }

// Base is the path the portal lives under.
func (f Frame) Base() string { return f.site.cfg.Base }

// Site is the portal's name.
func (f Frame) Site() string { return f.site.cfg.Name }

// Version, Release and Build are what the foot of a log-in page shows; Build
// is "" when it is hidden there.
func (f Frame) Version() int { return version.Version }

// Release is the minor number.
func (f Frame) Release() int { return version.Release }

// Build names the source, "" when it is not shown to strangers.
func (f Frame) Build() string {
	if f.site.cfg.HideBuild && f.Who == "" {
		return ""
	}
	return version.Build
}

// Time is a moment as people say it, with the exact one on hover. The zero
// time is a dash.
func (f Frame) Time(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return f.timeTag(t, f.p.Time(t.In(f.zone), f.now))
}

// Exact is a moment to the minute, as a file's date stands in a list.
func (f Frame) Exact(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.In(f.zone)
	return f.timeTag(t, f.p.Date(t)+" "+f.p.Clock(t))
}

func (f Frame) timeTag(t time.Time, text string) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`,
		t.UTC().Format(time.RFC3339), template.HTMLEscapeString(f.p.Exact(t.In(f.zone))), template.HTMLEscapeString(text)))
}

// NoteText is the message that the page before left.
func (f Frame) NoteText() string { return f.p.T(f.Note.Key, f.Note.Args...) }

// ActivateCommand is what a user types to make a computer a device of theirs.
// The fingerprint is needed where the server's certificate is self-signed.
func ActivateCommand(server, fingerprint, username string) string {
	return activate(server, fingerprint) + " --user " + Quote(username)
}

// ActivateKeyCommand is ActivateCommand with an activation key that stands in a
// file.
func ActivateKeyCommand(server, fingerprint, file string) string {
	return activate(server, fingerprint) + " --key-file " + Quote(file)
}

func activate(server, fingerprint string) string {
	command := "backstay activate --server " + server
	if fingerprint != "" {
		command += " --ca-fingerprint " + fingerprint
	}
	return command
}

// Quote writes a word for a shell, in quotation marks when it needs them.
func Quote(word string) string {
	for _, r := range word {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./-_", r)) {
			return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return word
}
