// Package browser_test walks through both portals of a whole server with a real
// browser, in both languages, on a desk and on a phone, in light and in dark,
// with a device that was activated and backed up by the real client. The
// pictures it takes are in ci-output/pages, for people to look at.
package browser_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

func language(b *webtest.Browser, lang string) {
	b.Follow(fmt.Sprintf(`header .languages button[value=%s], .topbar .languages button[value=%s]`, lang, lang))
}

func want(t *testing.T, b *webtest.Browser, where string, texts ...string) {
	t.Helper()
	page := b.Text()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("%s at %s lacks %q:\n%s", where, b.URL(), text, page)
		}
	}
	if title := webtest.Eval[string](b, "document.title"); strings.Contains(title, "pwned") {
		t.Errorf("%s at %s: a name ran as a script", where, b.URL())
	}
}

func TestPortal(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	b := webtest.Open(t)

	b.Go(s.URL + "/")
	want(t, b, "log-in", "Log in to your backups", "Français", "Version", "Release", "Build")
	b.Type("user\twrong password")
	b.Submit("\r")
	want(t, b, "refused log-in", "Authentication failed", "E1101")
	if complaints := b.Problems(); len(complaints) != 1 {
		t.Errorf("a refused log-in causes %q, want one complaint about its status", complaints)
	}
	b.Shot(pictures, "portal-login-refused")
	b.Type(servertest.UserPassword) // the username is still there, and the password has the focus
	b.Submit("\r")
	want(t, b, "no devices", "No computer is backed up yet", "backstay activate --server "+s.URL)
	inBoth(t, b, map[string]string{"portal-sources-none": s.URL + "/"})

	c.backedUp()
	b.Go(s.URL + "/")
	want(t, b, "data sources", "ATELIER-07", "Protected")

	b.Follow("a.stretched-link")
	want(t, b, "device", "marie", "Documents", "Pictures", "notes.txt", `bad\xffname.bin`)
	device := b.URL()
	b.Click("input[name=e]")
	b.Shot(pictures, "portal-selection")
	if webtest.Eval[bool](b, "document.querySelector('[data-bar]').hidden") {
		t.Error("choosing an entry shows no bar")
	}
	open := func(name string) { b.Follow(fmt.Sprintf(`a[href*="%s"]`, name)) }
	open("Documents")
	want(t, b, "folder", "Report 2026.pdf", "été à la mer.odt", `pwned`, `\u202e`, "link to notes")
	b.Shot(pictures, "portal-folder")
	b.Go(device)
	open("Many")
	want(t, b, "long folder", "file 0000.txt", "file 0499.txt")
	b.Follow("a[rel=next]")
	want(t, b, "long folder's end", "file 0599.txt")
	b.Shot(pictures, "portal-folder-end")

	b.Go(s.URL + "/account")
	language(b, "fr")
	want(t, b, "French", "Sources de données", "Compte")
	b.Go(s.URL + "/nowhere")
	want(t, b, "missing page", "Il n’y a rien ici")
	refusedBy(t, b, 404)

	b.Go(s.URL + "/")
	b.Click(".user-menu")
	b.Shot(pictures, "portal-menu")
	b.Follow(`form[action="/logout"] button`)
	want(t, b, "logged out", "Vous êtes déconnecté.")
	b.Go(device)
	want(t, b, "after the log-out", "Connexion à vos sauvegardes")
}

func TestConsole(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	b := webtest.Open(t)
	at := func(path string) string { return s.URL + "/admin" + path }

	b.Go(at("/users"))
	want(t, b, "log-in", "Management Console", "Looking for your files? Use "+s.URL)
	b.Type("user\t" + servertest.UserPassword)
	b.Submit("\r")
	want(t, b, "a user at the console", "Authentication failed", "Looking for your files?")
	b.Problems()
	b.Fill("#f-username", "admin")
	b.Click("#f-password")
	b.Type(servertest.AdminPassword)
	b.Submit("\r")
	want(t, b, "where they wanted to go", "user@example.org", "New user")
	b.Go(at("/"))
	want(t, b, "overview", "Three steps to the first protected computer", "backstay activate --server "+s.URL)
	inBoth(t, b, map[string]string{"console-first": at("/")})

	b.Go(at("/users/new"))
	b.Click("input[value=password]")
	b.Fill("#f-username", "zoe")
	b.Follow("form.card button.btn-primary")
	want(t, b, "created user", "zoe has been created", "shown only this once")
	b.Shot(pictures, "console-user-made")

	// Where a browser lets no page copy, the value is selected for whoever presses Ctrl+C.
	b.Go(at("/settings/portals"))
	webtest.Eval[bool](b, `navigator.clipboard.writeText = () => Promise.reject(new Error('denied')), true`)
	b.Click("[data-copy=portal]")
	b.Await(`getSelection().toString() === document.getElementById('portal').textContent`)
	webtest.Eval[bool](b, `navigator.clipboard.writeText = async (text) => { window.copied = text }, true`)
	b.Click("[data-copy=portal]")
	b.Await(`document.querySelector('.copied use[href$="#check"]') && window.copied === document.getElementById('portal').textContent`)

	c.backedUp()
	b.Go(at("/"))
	want(t, b, "overview", "1 protected", "Nothing needs your attention")
	// Eleven digits stay on one line of half a telephone.
	more := func(files int64) {
		err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE devices SET stored_files = stored_files + $1", files)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	more(12_345_678_000)
	b.Size(webtest.Phone, 860)
	b.Go(at("/"))
	want(t, b, "overview", "12,345,678,")
	if wide := webtest.Eval[string](b, `[...document.querySelectorAll('.card-link-hover .min-w-0 > :first-child')].filter(x => x.scrollWidth > x.clientWidth || x.offsetHeight > 1.5 * parseFloat(getComputedStyle(x).lineHeight)).map(x => x.textContent).join()`); wide != "" {
		t.Errorf("figures do not fit: %s", wide)
	}
	more(-12_345_678_000)
	atDesk(b)
	b.Go(at("/users?q=user"))
	b.Follow(`a[href^="/admin/users/"].fw-medium`)
	user := b.URL()
	want(t, b, "user", "user@example.org", "ATELIER-07", "Can log in, back up and restore.")
	b.Follow(`a[href^="/admin/devices/"].fw-medium`)
	device := b.URL()
	want(t, b, "device", "ATELIER-07", "Complete", "Names and contents are the user’s own")
	if page := b.Text(); strings.Contains(page, "notes.txt") {
		t.Error("the console shows a name out of a backup")
	}
	b.Go(at("/profiles"))
	b.Follow(`a[href^="/admin/profiles/"].fw-medium`)
	profile := b.URL()
	want(t, b, "profile", "User Privacy & Access", "Allow restore from web browser", "Other folders to back up")

	inBoth(t, b, map[string]string{"console-users-nothing": at("/users?q=nobody+at+all"), "console-devices-never": at("/devices?show=never")})

	b.Go(profile)
	b.Fill("#f-folders", "~/Documents\n/srv/share\nnot a path")
	b.Follow("button.btn-primary:not([name])")
	want(t, b, "wrong folder", "not a path")
	b.Problems()
	b.Fill("#f-folders", "~/Documents\n/srv/share")
	b.Click("[name=web_restore]")
	b.Follow("button.btn-primary:not([name])")
	want(t, b, "saved profile", "Saved.")

	b.Go(device + "/deactivate")
	if !webtest.Eval[bool](b, "document.querySelector('button.btn-danger').disabled") {
		t.Error("a device can be deactivated without its name")
	}
	b.Type("atelier-07")
	b.Submit("\r")
	want(t, b, "deactivated device", "ATELIER-07 is deactivated.", "No longer backed up.")

	b.Go(user + "/disable")
	b.Type("user")
	b.Submit("\r")
	want(t, b, "disabled user", "user is disabled.", "Cannot log in or back up.")
	b.Follow(`form[action$="/activate"] button`)
	want(t, b, "active user", "user is active again.")
	b.Go(at("/audit"))
	want(t, b, "audit", "Change to a device", "Change to a profile", "Denied", "E1101")
}

// A browser that keeps no cookies is told so, and not that its password is
// wrong.
func TestNoCookies(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	b.ForgetCookies()
	b.Type("user\t" + servertest.UserPassword)
	b.Submit("\r")
	want(t, b, "cookies", "Cookies are off")
	refusedBy(t, b, 400)
	look(t, b, locale.English, "portal-cookies")
}

// What a profile forbids is gone at the next click, not at the next log-in.
func TestWebRestoreOff(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := webtest.Open(t)
	b.Go(s.URL + "/login")
	b.Type("user\t" + servertest.UserPassword)
	b.Submit("\r")
	want(t, b, "allowed", "Data Sources")
	setPortal(t, s, false, true)
	b.Go(s.URL + "/account")
	if page := b.Text(); strings.Contains(page, "Data Sources") {
		t.Errorf("Data Sources is still there:\n%s", page)
	}
	b.Go(s.URL + "/devices/x")
	want(t, b, "forbidden", "Web access is turned off for your profile.", "E1106")
	setPortal(t, s, false, false)
	b.Go(s.URL + "/account")
	want(t, b, "nothing allowed", "Web access is turned off for your profile.", "E1106", "Log out")
	b.Shot(pictures, "portal-off")
	setPortal(t, s, true, false)
	b.Go(s.URL + "/account")
	want(t, b, "allowed again", "Data Sources")
	b.Problems()
}
