package browser_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// A security reset as administrators see it: one chooses and asks, another looks
// and approves, and the first one writes to the users.
func TestSecurityReset(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	s.Mail()
	s.NewDevice(s.User, "ATELIER-07")
	s.NewDevice(s.NewUser("marie.curie"), "laptop")
	_, err := s.NewAccount(t.Context(), access.System("test"), accounts.New{Org: s.Org.ID, Kind: access.AdminKind, Role: access.OrgAdmin,
		Username: "second", Email: "second@example.org", Language: "fr"}, servertest.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	logIn := func(username string) *webtest.Browser {
		b := webtest.Open(t)
		b.Go(s.URL + "/admin/login")
		b.Type(username + "\t" + servertest.AdminPassword)
		b.Submit("\r")
		return b
	}
	first, second := logIn("admin"), logIn("second")
	first.Go(s.URL + "/admin/resets")
	look(t, first, locale.English, "reset-none")
	first.Follow(`a[href="/admin/resets/new"]`)
	first.Fill(`[name="reason"]`, "the old server was broken into")
	look(t, first, locale.English, "reset-new")
	first.Follow(`form[action="/admin/resets/new"] button.btn-primary`)
	look(t, first, locale.English, "reset-preview")
	first.Follow(`button.btn-danger`)
	look(t, first, locale.English, "reset-waiting")
	at := first.URL()
	first.Follow(`a[href^="/admin/approvals/"]`)
	look(t, first, locale.English, "approval-own")

	second.Go(s.URL + "/admin/")
	look(t, second, locale.French, "approval-overview")
	second.Follow(`a[href="/admin/approvals"]`)
	look(t, second, locale.French, "approvals")
	second.Follow(`td a[href^="/admin/approvals/"]`)
	look(t, second, locale.French, "approval")
	second.Follow(`button.btn-danger`)
	look(t, second, locale.French, "approval-done")

	first.Go(at)
	for !strings.Contains(first.Text(), "0 of 2 back") || !strings.Contains(first.Text(), "2 not back yet") {
		first.Go(at)
	}
	first.Follow(`a[href^="/admin/devices/write?reset="]`)
	first.Fill(`[name="note"]`, "The help desk is open on Sunday.")
	look(t, first, locale.English, "reset-write")
	first.Follow(`form[action="/admin/devices/write"] button.btn-primary`)
	look(t, first, locale.English, "reset-letter")
	first.Follow(`form[action="/admin/devices/write/send"] button.btn-primary`)
	for !strings.Contains(first.Text(), "2 users told") {
		first.Go(at)
	}
	look(t, first, locale.English, "reset-told")
	second.Go(at)
	look(t, second, locale.French, "reset-told")
	first.Go(s.URL + "/admin/resets")
	look(t, first, locale.English, "resets")
	first.Go(s.URL + "/admin/settings/approvals")
	look(t, first, locale.English, "settings-approvals")
}
