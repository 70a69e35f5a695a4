package console_test

import (
	"net/http"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
)

// user logs a user in at the portal.
func (w *world) user(username string) *visitor {
	w.t.Helper()
	v := w.stranger()
	v.get("/login")
	if p := v.post("/login", "username", username, "password", servertest.UserPassword); p.status != http.StatusSeeOther {
		w.t.Fatalf("%s logs in: %d\n%s", username, p.status, p.body)
	}
	return v
}

// A user renames a device and takes its replacement back; a colleague does not
// even learn that it is there.
func TestDeviceOfOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.activates("old-pc", wire.Add, "", byPassword())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.NewAccount(t.Context(), access.System("test"), accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: "ann", Email: "ann@example.org"}, servertest.UserPassword); err != nil {
		t.Fatal(err)
	}
	user, ann, at := w.user("user"), w.user("ann"), "/devices/"+first.DeviceID
	for _, path := range []string{"/about", "/undo"} {
		ann.get(at+path).want(t, http.StatusNotFound)
	}
	for _, path := range []string{"/rename", "/undo"} {
		ann.post(at+path, "name", "mine").want(t, http.StatusNotFound)
	}
	user.get(at+"/about").want(t, http.StatusOK, "Activated on old-pc", "Settings in force", "/account/devices/"+first.DeviceID)
	user.post(at+"/rename", "name", "").want(t, http.StatusBadRequest, "Give the device a name.")
	user.done(user.post(at+"/rename", "name", "Atelier"), "Atelier", "Renamed from old-pc to Atelier")
	user.get(at+"/undo").want(t, http.StatusOK, "replaced no other").lacks(t, "btn-danger")
	user.post(at+"/undo").want(t, http.StatusConflict)
	if _, err := w.activates("new-pc", wire.Replace, first.DeviceID, byPassword()); err != nil {
		t.Fatal(err)
	}
	user.get(at+"/about").want(t, http.StatusOK, "took the place of the computer old-pc", at+"/undo")
	user.get(at+"/undo").want(t, http.StatusOK, "old-pc is this device again", "btn-danger")
	user.done(user.post(at+"/undo"), "is undone", "it is old-pc again")
	if d := w.device(first.DeviceID); d.Hardware.Hostname != "old-pc" || d.Name != "Atelier" || d.State != devices.Active {
		t.Errorf("the device is %s on %s, %s", d.Name, d.Hardware.Hostname, d.State)
	}
}
