package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
)

// waiting finds the address of the one act that waits.
func (v *visitor) waiting() string {
	v.w.t.Helper()
	body := v.get("/admin/approvals").want(v.w.t, http.StatusOK).body
	_, rest, found := strings.Cut(body, `href="/admin/approvals/`)
	if !found {
		v.w.t.Fatalf("nothing waits:\n%s", body)
	}
	id, _, _ := strings.Cut(rest, `"`)
	return "/admin/approvals/" + id
}

// Whoever deletes cannot hurry: two have to agree before what was deleted is
// gone.
func TestPurgeTakesTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP")
	admin, second, viewer := w.as("admin"), w.as("orgadmin"), w.as("viewer")
	at, user := "/admin/devices/"+d.DeviceID, "/admin/users/"+string(w.User.ID)
	because := []string{"reason", "left the company", "confirm"}

	admin.get("/admin/").lacks(t, `href="/admin/approvals"`)
	admin.post(at+"/purge", append(because, "LAPTOP")...).want(t, http.StatusConflict) // it is not deleted
	admin.done(admin.post(at+"/delete", append(because, "LAPTOP")...), at+"/purge")
	viewer.get(at+"/purge").want(t, http.StatusForbidden)
	viewer.post(at+"/purge", append(because, "LAPTOP")...).want(t, http.StatusForbidden)
	admin.get(at+"/purge").want(t, http.StatusOK, "A second administrator has to approve it", "This cannot be undone")
	admin.post(at+"/purge", append(because, "other")...).want(t, http.StatusBadRequest)
	admin.done(admin.post(at+"/purge", append(because, "LAPTOP")...), "Asked for.")
	admin.post(at+"/purge", append(because, "LAPTOP")...).want(t, http.StatusConflict, "asked for this already")

	ask := admin.waiting()
	admin.get(ask).want(t, http.StatusOK, "Remove the device LAPTOP of user for good now", "left the company", ask+"/withdraw").lacks(t, ask+"/approve")
	admin.post(ask+"/approve").want(t, http.StatusForbidden, "Another administrator has to decide")
	viewer.get("/admin/approvals").want(t, http.StatusOK).lacks(t, ask)
	viewer.get(ask).want(t, http.StatusForbidden)
	viewer.post(ask+"/approve").want(t, http.StatusForbidden)
	second.get("/admin/").want(t, http.StatusOK, "1 request waits for a second administrator", `href="/admin/approvals"`)
	second.get(ask).want(t, http.StatusOK, ask+"/approve", ask+"/refuse", at)
	if got := w.device(d.DeviceID).State; got != devices.Deleted {
		t.Errorf("before it is approved the device is %s", got)
	}
	second.done(second.post(ask+"/approve"), "Approved and carried out.")
	if got := w.device(d.DeviceID).State; got != devices.Purged {
		t.Errorf("the device is %s", got)
	}
	second.post(ask+"/approve").want(t, http.StatusConflict)
	second.get("/admin/").lacks(t, `href="/admin/approvals"`)

	// A user, refused at first.
	admin.done(admin.post(user+"/delete", append(because, "user")...), user+"/purge")
	admin.done(admin.post(user+"/purge", append(because, "user")...))
	ask = admin.waiting()
	second.done(second.post(ask+"/refuse"), "Refused. Nothing happens.")
	admin.done(admin.post(user+"/purge", append(because, "user")...))
	admin.done(admin.post(admin.waiting()+"/withdraw"), "Withdrawn.")
	admin.done(admin.post(user+"/purge", append(because, "user")...))
	ask = admin.waiting()

	// A legal hold that came meanwhile keeps it.
	hold := func(on bool) {
		err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
			return accounts.SetHold(t.Context(), tx, access.System("test"), w.User.ID, on)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	hold(true)
	second.done(second.post(ask+"/approve"), "could not be carried out", "legal hold")
	if got := w.find("user").State; got != accounts.Deleted {
		t.Errorf("on hold the user is %s", got)
	}
	admin.post(user+"/purge", append(because, "user")...).want(t, http.StatusLocked, "E1404")
	hold(false)
	admin.done(admin.post(user+"/purge", append(because, "user")...))
	second.done(second.post(admin.waiting()+"/approve"), "Approved and carried out.")
	err := w.DB.Read(t.Context(), func(tx *db.Tx) error {
		u, err := accounts.Find(t.Context(), tx, w.User.ID)
		if u.State != accounts.Purged || u.Email != "" {
			t.Errorf("the user is %s, with the address %q", u.State, u.Email)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Approving asks for a proof that is new.
func TestApproveIsFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, second := w.as("admin"), w.as("orgadmin")
	because := []string{"reason", "left the company", "confirm", "user"}
	user := "/admin/users/" + string(w.User.ID)
	admin.done(admin.post(user+"/delete", because...))
	admin.done(admin.post(user+"/purge", because...))
	ask := admin.waiting()
	w.later(6 * time.Minute)
	second.get(ask).want(t, http.StatusOK, "Confirm that it is you to approve").lacks(t, `action="`+ask+"/approve")
	if p := second.post(ask + "/approve"); p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, "/admin/confirm") {
		t.Errorf("with an old proof: %d %s", p.status, p.to)
	}
	if got := w.find("user").State; got != accounts.Deleted {
		t.Errorf("the user is %s", got)
	}
}

// The rule is not given up by one.
func TestTwoRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.NewAccount(t.Context(), access.System("test"), accounts.New{Org: w.Org.ID, Kind: access.AdminKind, Role: access.ServerAdmin, Username: "second"}, servertest.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	const at = "/admin/settings/approvals"
	admin, second := w.as("admin"), w.as("second")
	w.as("orgadmin").get(at).want(t, http.StatusNotFound)
	w.as("orgadmin").post(at, "delay", "0", "reason", "because it must be").want(t, http.StatusNotFound)
	both := []string{"two_reset", "on", "two_purge_user", "on", "two_purge_device", "on", "delay"}
	admin.get(at).want(t, http.StatusOK, `name="two_purge_user" value="on" checked`)
	admin.done(admin.post(at, append(both, "60")...), "Saved")
	admin.post(at, "two_purge_user", "on", "delay", "60").want(t, http.StatusBadRequest, "10 to 150")
	admin.post(at, append(both, "5000")...).want(t, http.StatusBadRequest, "1,440")
	admin.done(admin.post(at, "two_purge_user", "on", "delay", "0", "reason", "we are but one"), "Another administrator has to approve it")
	ask := admin.waiting()
	second.get(ask).want(t, http.StatusOK, "Remove a deleted device for good")
	second.done(second.post(ask+"/approve"), "Approved.", ask+"/refuse")
	w.later(time.Hour + time.Minute)
	again := w.as("admin")
	if _, err := w.Desk.CarryOut(t.Context(), w.DB, ask[strings.LastIndexByte(ask, '/')+1:]); err != nil {
		t.Fatal(err)
	}
	again.get(at).want(t, http.StatusOK, `name="two_purge_user" value="on" checked`, `name="two_purge_device" value="on">`)
}
