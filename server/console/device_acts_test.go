package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
)

func (w *world) device(id string) (d devices.Device) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) (err error) {
		d, err = devices.Find(w.t.Context(), tx, devices.ID(id))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestDeviceActs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP")
	admin, at := w.as("admin"), "/admin/devices/"+d.DeviceID
	is := func(want devices.State) {
		t.Helper()
		if got := w.device(d.DeviceID).State; got != want {
			t.Errorf("the device is %s, want %s", got, want)
		}
	}
	w.as("viewer").get(at).want(t, http.StatusOK, "LAPTOP").lacks(t, at+"/delete", at+"/disable", "Back up now")
	w.as("viewer").post(at+"/delete", "confirm", "LAPTOP", "reason", "I just like it so").want(t, http.StatusForbidden)

	admin.get(at+"/disable").want(t, http.StatusOK, "backs up nothing more", `name="reason"`)
	admin.post(at+"/disable", "confirm", "LAPTOP", "reason", "short").want(t, http.StatusBadRequest, "10", "150")
	is(devices.Active)
	admin.done(admin.post(at+"/disable", "confirm", "LAPTOP", "reason", "left in a train"), "LAPTOP is disabled.", "left in a train", at+"/enable").lacks(t, "Back up now", "Protected")
	is(devices.Disabled)
	admin.get("/admin/devices?state=disabled").want(t, http.StatusOK, at)
	admin.get("/admin/devices?state=deleted").lacks(t, at)
	admin.done(admin.post(at+"/enable"), "LAPTOP works again.", "Back up now")
	is(devices.Active)

	// The user's state is the device's: nothing suggests that it backs up.
	user := "/admin/users/" + string(w.User.ID)
	admin.done(admin.post(user+"/preserve", "confirm", "user"))
	admin.get(at).want(t, http.StatusOK, "Its user is preserved", "nothing more is backed up").lacks(t, "Back up now", "shield-check")
	admin.get("/admin/devices").want(t, http.StatusOK, "Its user is preserved")
	admin.post(at+"/backup").want(t, http.StatusForbidden)
	admin.done(admin.post(user + "/activate"))

	admin.get(at+"/delete").want(t, http.StatusOK, "Nothing has been backed up", "becomes final", "Undo deletion brings the device back")
	admin.post(at+"/delete", "confirm", "LAPTOP", "reason", "too few").want(t, http.StatusBadRequest, "150", `value="too few"`)
	admin.post(at+"/delete", "confirm", "other", "reason", "gone with its owner").want(t, http.StatusBadRequest, "This is not the name.")
	is(devices.Active)
	admin.done(admin.post(at+"/delete", "confirm", "LAPTOP", "reason", "gone with its owner"), "LAPTOP is deleted.", "gone with its owner", "Undo deletion").lacks(t, at+"/delete")
	is(devices.Deleted)
	if _, err := d.Client.Next(t.Context(), 0, wire.Known{}); !errs.Is(err, errs.DeviceDeactivated) || errs.Find(err).Key != "error.E1208.deleted" {
		t.Errorf("the computer is told %v", err)
	}
	admin.get("/admin/devices").lacks(t, at)
	admin.get("/admin/devices?state=deleted").want(t, http.StatusOK, at, "Final on")

	// Not without its user.
	admin.done(admin.post(user+"/delete", "confirm", "user", "reason", "has left the company"))
	admin.get(at).want(t, http.StatusOK).lacks(t, at+"/undelete")
	admin.post(at+"/undelete").want(t, http.StatusConflict, "Undo the deletion of the user first.")
	admin.done(admin.post(user + "/undelete"))
	is(devices.Deleted)
	if got := w.find("user").State; got != accounts.Active {
		t.Fatalf("the user is %s", got)
	}
	admin.done(admin.post(at+"/undelete"), "LAPTOP is back")
	is(devices.Active)
	if _, err := d.Client.PutStatus(t.Context(), wire.Status{State: wire.StateIdle}); err != nil {
		t.Errorf("it does not work again: %v", err)
	}

	// A proof that is old is asked for again, and nothing is done without.
	w.later(30 * time.Minute)
	if p := admin.get(at + "/delete"); p.status != http.StatusSeeOther && !strings.Contains(p.body, "password") {
		t.Errorf("an old proof is enough: %d", p.status)
	}
	admin.post(at+"/delete", "confirm", "LAPTOP", "reason", "gone with its owner")
	is(devices.Active)
}

// A locked device backs up, and shows nothing.
func TestDeviceIsLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP")
	admin, at := w.as("admin"), "/admin/devices/"+d.DeviceID
	admin.get(at+"/lock").want(t, http.StatusOK, "nothing is shown or restored on this computer", "goes on backing up")
	admin.post(at+"/lock", "confirm", "LAPTOP", "reason", "stolen").want(t, http.StatusBadRequest, "150")
	if _, err := d.Client.Snapshots(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin.done(admin.post(at+"/lock", "confirm", "LAPTOP", "reason", "stolen on the train"), "LAPTOP is locked.", "Locked since", "127.0.0.1", at+"/unlock").lacks(t, at+"/lock\"")
	admin.get("/admin/devices?state=locked").want(t, http.StatusOK, at)
	refused := func(what string, err error) {
		t.Helper()
		if e := errs.Find(err); e == nil || e.Key != "device.locked" {
			t.Errorf("%s: %v, want device.locked", what, err)
		}
	}
	_, err := d.Client.Snapshots(t.Context())
	refused("the list of snapshots", err)
	_, err = d.Client.UserToken(t.Context(), wire.UserTokenRequest{Password: servertest.UserPassword}, "")
	refused("a user's token", err)
	said, err := d.Client.PutStatus(t.Context(), wire.Status{State: wire.StateIdle})
	if err != nil || !said.Locked {
		t.Errorf("reporting: locked %v, %v", said.Locked, err)
	}
	if _, err := d.Client.Next(t.Context(), 0, wire.Known{}); err != nil {
		t.Errorf("waiting for requests: %v", err)
	}
	admin.done(admin.post(at+"/unlock"), "LAPTOP is unlocked.")
	if _, err := d.Client.Snapshots(t.Context()); err != nil {
		t.Errorf("unlocked: %v", err)
	}
}
