package browser_test

import (
	"archive/zip"
	"bytes"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web/webtest"
)

// A device is locked, disabled, deleted and brought back, and its user
// preserved: each page says what it means, and what is so now.
func TestConsoleDevices(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	c.backedUp()
	b := webtest.Open(t)
	at := func(path string) string { return s.URL + "/admin" + path }
	b.Go(at("/devices"))
	b.Fill("#f-username", "admin")
	b.Click("#f-password")
	b.Type(servertest.AdminPassword)
	b.Submit("\r")
	want(t, b, "devices", "ATELIER-07", "Protected")
	b.Follow(`a[href^="/admin/devices/"].fw-medium`)
	device := b.URL()
	act := func(name, reason string, texts ...string) {
		t.Helper()
		b.Go(device + "/" + name)
		look(t, b, "en", "console-device-"+name)
		b.Fill("#f-reason", reason)
		b.Fill("#f-confirm", "ATELIER-07")
		b.Submit("\r")
		want(t, b, name, texts...)
		inBoth(t, b, map[string]string{"console-device-" + name + "-done": device, "console-devices-" + name: at("/devices")})
		b.Go(device)
	}
	act("lock", "left in a train", "ATELIER-07 is locked.", "Locked since", "127.0.0.1")
	b.Follow(`form[action$="/unlock"] button`)
	act("disable", "looked at by security", "ATELIER-07 is disabled.", "looked at by security", "Enable")
	b.Follow(`form[action$="/enable"] button`)
	want(t, b, "enabled", "ATELIER-07 works again.", "Back up now")
	act("delete", "sold to a colleague", "ATELIER-07 is deleted.", "It becomes final on", "Undo deletion")
	inBoth(t, b, map[string]string{"console-devices-deleted": at("/devices?state=deleted")})
	b.Go(device)
	b.Follow(`form[action$="/undelete"] button`)
	want(t, b, "brought back", "ATELIER-07 is back, with all its snapshots.", "Protected")

	user := at("/users?q=user")
	b.Go(user)
	b.Follow(`a[href^="/admin/users/"].fw-medium`)
	b.Go(b.URL() + "/preserve")
	b.Type("user")
	b.Submit("\r")
	inBoth(t, b, map[string]string{"console-device-preserved": device})
	want(t, b, "preserved", "Its user is preserved")
}

// C-15: before the last device of a kind is deleted its user is offered to save
// all of it, and it is deleted by its name.
func TestSaveBeforeDeleting(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	root := c.backedUp()
	m := withMail(t, s, func(x *settings.Settings) { x.Devices.Retired = []string{settings.LinuxDevices} })
	b := webtest.Open(t)
	device := s.URL + "/admin/devices/" + string(deviceNamed(t, s, "ATELIER-07"))
	b.Go(device + "/delete")
	b.Fill("#f-username", "admin")
	b.Click("#f-password")
	b.Type(servertest.AdminPassword)
	b.Submit("\r")
	want(t, b, "deleting", "Offer user to save first what they need: one snapshot is there.", "This device cannot be added again", "Type ATELIER-07")
	b.Shot(pictures, "console-device-save-first")
	b.Follow(`form[action$="/save"] button`)
	want(t, b, "the mail", "A mail was written to the user of ATELIER-07", "Delete the device when they are done.")

	link := m.Wait("user@example.org", mail.SaveFirst).Link()
	person := logIn(t, s, "user")
	_, page := person.get(strings.TrimPrefix(link, s.URL), http.StatusOK)
	if !strings.Contains(string(page), "Download everything") {
		t.Fatalf("%s offers nothing:\n%s", link, page)
	}
	top := strings.Split(root, string(filepath.Separator))[1]
	if !strings.Contains(string(page), `<input type="hidden" name="e" value="`+top+`">`) {
		t.Errorf("the offer lacks %s:\n%s", top, page)
	}
	_, archive := person.post(person.snapshot()+"/zip", url.Values{"path": {"%2F"}, "e": {top}}, http.StatusOK)
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	report := strings.TrimPrefix(filepath.Join(root, "Documents", "Report 2026.pdf"), "/")
	if !slices.ContainsFunc(z.File, func(f *zip.File) bool { return f.Name == report }) {
		t.Errorf("the archive lacks %s", report)
	}

	// Nor is it lost unasked with its user.
	account := s.URL + "/admin/users/" + string(s.User.ID)
	b.Go(account + "/delete")
	want(t, b, "deleting the user", "Devices like these cannot be added again once they are deleted: ATELIER-07. Offer user to save first what they need.")
	b.Shot(pictures, "console-user-save-first")
	b.Follow(`form[action$="/save"] button`)
	want(t, b, "the mail to the user", "A mail was written to user about each device that cannot be added again")
	if again := m.Wait("user@example.org", mail.SaveFirst).Link(); again != link {
		t.Errorf("the mail leads to %s, want %s", again, link)
	}

	// Who cannot sign in is asked nothing.
	b.Go(account + "/disable")
	b.Type("user")
	b.Submit("\r")
	b.Go(account + "/delete")
	want(t, b, "the user for nobody", "user cannot be asked by mail to save first")
	b.Go(device + "/delete")
	want(t, b, "for nobody", "user cannot be asked by mail", "See the user")
	b.Fill("#f-reason", "sold to a colleague")
	b.Fill("#f-confirm", "atelier-07")
	b.Submit("\r")
	want(t, b, "deleted", "ATELIER-07 is deleted.")
}
