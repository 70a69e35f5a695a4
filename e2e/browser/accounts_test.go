package browser_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// An administrator's morning: a mail server, a licence, an invitation that does
// not arrive, somebody who has left, somebody who cannot get in.
func TestConsoleAccounts(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	b := webtest.Open(t)
	at := func(path string) string { return s.URL + "/admin" + path }
	b.Go(at("/"))
	b.Type("admin\t" + servertest.AdminPassword)
	b.Submit("\r")
	want(t, b, "banner", "Mail does not work", "copy the activation link")

	box := mailtest.New(t)
	b.Go(at("/settings/mail"))
	b.Fill("#f-host", "127.0.0.1")
	b.Fill("#f-port", fmt.Sprint(box.Settings.Port))
	b.Click("[name=security][value=none]")
	b.Fill("#f-from", "backup@example.org")
	b.Follow("form[autocomplete=off] .btn-primary")
	want(t, b, "mail server", "Saved. Send a test")
	b.Follow(`form[action$="/test"] button`)
	want(t, b, "test", "The mail server took the test for admin@example.org.", "Works")
	if strings.Contains(b.Text(), "Mail does not work") {
		t.Error("the banner stays though mail works")
	}
	box.Wait("admin@example.org", mail.TestMail)

	b.Go(at("/settings/licences/new"))
	b.Fill("#f-name", "Head office")
	b.Fill("#f-seats", "3")
	b.Follow(".btn-primary")
	want(t, b, "licence", "The licence Head office is issued.", "Serial number", "0 of 3 taken")

	box.Refuse(func(stage, who string) error {
		if strings.HasPrefix(who, "lise") {
			return mailtest.Lasting("5.1.1 no such mailbox")
		}
		return nil
	})
	for _, name := range []string{"marie", "lise"} {
		b.Go(at("/users/new"))
		b.Type(name + "\t" + name + "@example.org\t" + strings.ToUpper(name[:1]) + name[1:] + "\tCurie")
		b.Submit("\r")
		want(t, b, "invited", name+" has been created", "on its way to "+name+"@example.org")
	}
	b.Shot(pictures, "console-user-invited")
	box.Wait("marie@example.org", mail.Activation)
	prepare(t, s)

	for tries := 0; tries < 100 && (tries == 0 || !strings.Contains(b.Text(), "no such mailbox")); tries++ {
		time.Sleep(100 * time.Millisecond) // the mail is on its way to be refused
		b.Go(at("/users"))
	}
	want(t, b, "list", "no such mailbox", "Invited", "Disabled", "Preserved", "Deleted")
	b.Follow(`.states a[href*="state=invited"]`)
	want(t, b, "invited ones", "marie", "lise")
	b.Follow(`a[href^="/admin/users/"].fw-medium`)
	invited := b.URL()
	b.Follow(`form[action$="/link"] button`)
	want(t, b, "link", "Activation link for", "shown only this once")
	b.Shot(pictures, "console-user-link")
	find := func(state string) string {
		b.Go(at("/users?state=" + state))
		b.Follow(`a[href^="/admin/users/"].fw-medium`)
		return b.URL()
	}
	deleted, preserved, disabled := find("deleted"), find("preserved"), find("disabled")
	b.Go(disabled + "/signin")
	want(t, b, "panel", "What stands in the way", "Activate")
	b.Go(at("/devices/write"))
	b.Click("[name=affected]")
	b.Fill("#f-window", "21 November, 20:00–22:00")
	b.Follow(".btn-primary")
	want(t, b, "preview", "Your backup needs you", "Votre sauvegarde a besoin de vous")
	b.Shot(pictures, "console-write-preview")

	inBoth(t, b, map[string]string{"console-users-all": at("/users"), "console-user-waiting": invited, "console-user-deleted": deleted,
		"console-user-preserved": preserved, "console-user-disabled": disabled, "console-user-signin-not": disabled + "/signin",
		"console-queue": at("/settings/mail/queue"), "console-attention": at("/")})

	b.Go(deleted)
	want(t, b, "deleted", "Deleted: has left the company.", "removed for good")
	b.Follow(`form[action$="/undelete"] button`)
	want(t, b, "undone", "is back, with all devices and data.")
	b.Go(disabled + "/signin")
	b.Follow(`form[action$="/activate"] button`)
	want(t, b, "activated", "is active again.")
}

// prepare has users in every state, and one who asks to be deleted.
func prepare(t *testing.T, s *servertest.Server) {
	t.Helper()
	by := access.System("test")
	for name, do := range map[string]func(*db.Tx, accounts.User) error{
		"pierre": func(tx *db.Tx, u accounts.User) error { return accounts.Disable(t.Context(), tx, by, u.ID, "on leave") },
		"irene":  func(tx *db.Tx, u accounts.User) error { return accounts.Preserve(t.Context(), tx, by, u.ID, "") },
		"hertha": func(tx *db.Tx, u accounts.User) error {
			return accounts.Delete(t.Context(), tx, by, u.ID, "has left the company")
		},
		"eve": func(tx *db.Tx, u accounts.User) error {
			return accounts.RequestDeletion(t.Context(), tx, u.Caller(access.Caller{}), s.Keys, s.URL)
		},
	} {
		u := s.NewUser(name)
		s.NewDevice(u, strings.ToUpper(name)+"-PC")
		if err := s.DB.Write(t.Context(), func(tx *db.Tx) error { return do(tx, u) }); err != nil {
			t.Fatal(err)
		}
	}
}

// Administrators are kept out of a user's backups by the user's own switch, and
// everybody reads so.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	root := c.backedUp()

	b := webtest.Open(t)
	b.Go(s.URL + "/admin/login")
	b.Type("admin\t" + servertest.AdminPassword)
	b.Submit("\r")
	b.Go(s.URL + "/admin/profiles")
	b.Follow(`main a[href^="/admin/profiles/"]`)
	profile := b.URL()
	b.Click("[name=user_can_edit_privacy]")
	b.Follow("main form .btn-primary")
	want(t, b, "profile", "Saved.")

	user := logIn(t, s, s.User.Username)
	at := user.snapshot()
	user.get(at+file(filepath.Join(root, "Documents", "Report 2026.pdf")), http.StatusOK)
	stranger := &person{t: t, s: s, http: s.Client()}
	stranger.get("/login", http.StatusOK)
	stranger.post("/login", url.Values{"username": {"user"}, "password": {"Wrong-Password-1"}}, http.StatusUnauthorized)

	b.Go(s.URL + "/login")
	b.Type("user\t" + servertest.UserPassword)
	b.Submit("\r")
	b.Go(s.URL + "/account")
	b.Fill("#f-first_name", "Zoë")
	b.Fill("#f-last_name", "O’Neil")
	b.Follow("#name")
	want(t, b, "name", "Your name is changed.")
	b.Go(s.URL + "/account/privacy")
	want(t, b, "privacy off", "You, and administrators who may restore for others")
	b.Shot(pictures, "account-privacy-off")
	b.Follow("#private")
	want(t, b, "privacy on", "Your backups are private now.", "Private: only you")
	portal := map[string]string{"account-name": s.URL + "/account", "account-private": s.URL + "/account/privacy", "portal-activity-all": s.URL + "/activity"}
	console := map[string]string{"console-user-private": s.URL + "/admin/users/" + string(s.User.ID), "console-user-private-edit": s.URL + "/admin/users/" + string(s.User.ID) + "/edit",
		"console-user-private-signin": s.URL + "/admin/users/" + string(s.User.ID) + "/signin", "console-profile-private": profile}
	inBoth(t, b, portal)
	b.Go(s.URL + "/admin/")
	inBoth(t, b, console)
	b.Go(console["console-user-private"])
	want(t, b, "console", "Private: administrators cannot open them", "wrong password", "Zoë O’Neil")
	b.Go(s.URL + "/activity")
	want(t, b, "activity", "Kept administrators out of the backups", "Downloaded a file", "Report 2026.pdf", "Tried to log in")
}
