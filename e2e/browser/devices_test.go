package browser_test

import (
	"testing"

	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// A device is locked, disabled, deleted and brought back, and its user
// preserved: each page says what it means, and what is so now.
func TestConsoleDevices(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	c.activate("ATELIER-07")
	c.run("backup", tree(t))
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
