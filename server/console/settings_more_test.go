package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
)

// A mail that cannot be sent waits, with its reason on its user's row, until
// somebody sends it or drops it.
func TestMailQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	box := w.Mail()
	box.Refuse(func(stage, who string) error {
		if who == "zoe@example.org" {
			return mailtest.Lasting("no such mailbox")
		}
		return nil
	})
	admin := w.as("admin")
	admin.post("/admin/users", "username", "zoe", "email", "zoe@example.org").want(t, http.StatusCreated)
	at := "/admin/users/" + string(w.find("zoe").ID)
	wait(t, func() bool {
		return strings.Contains(admin.get("/admin/settings/mail/queue?state=failed").body, "zoe@example.org")
	})
	admin.get("/admin/settings/mail/queue?state=failed").want(t, http.StatusOK, "Activation", "no such mailbox", "Send now", "Drop")
	admin.get("/admin/users").want(t, http.StatusOK, "no such mailbox")
	admin.get(at).want(t, http.StatusOK, "no such mailbox", "Resend activation mail")
	box.Refuse(func(string, string) error { return nil })
	number := between(admin.get("/admin/settings/mail/queue?state=failed").body, "/admin/settings/mail/queue/", "/send")
	admin.done(admin.post("/admin/settings/mail/queue/"+number+"/send"), "The mail is tried again now.")
	box.Wait("zoe@example.org", mail.Activation)
	wait(t, func() bool {
		return strings.Contains(admin.get("/admin/settings/mail/queue?state=sent").body, "zoe@example.org")
	})
	admin.get("/admin/users").lacks(t, "no such mailbox")
	admin.post("/admin/settings/mail/queue/"+number+"/drop").want(t, http.StatusConflict)
	admin.post("/admin/settings/mail/queue/x/drop").want(t, http.StatusNotFound)
}

// wait waits until something is so that a job brings about.
func wait(t *testing.T, so func() bool) {
	t.Helper()
	for range 600 {
		if so() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("it did not come about within 30 seconds")
}

func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}

func TestLicences(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.NewDevice(w.User, "LAPTOP")
	admin := w.as("admin")
	admin.get("/admin/settings/licences").want(t, http.StatusOK, "There is no licence.", "New licence")
	admin.post("/admin/settings/licences/new", "name", "", "seats", "0", "preserved", "0").want(t, http.StatusBadRequest, "field-error")
	admin.post("/admin/settings/licences/new", "name", "Main", "seats", "2", "preserved", "0", "valid_to", "2027-02-31").want(t, http.StatusBadRequest, "This is no date.", `value="Main"`)
	made := admin.post("/admin/settings/licences/new", "name", "Main", "seats", "1", "preserved", "0", "valid_to", "2099-12-31")
	page := admin.done(made, "The licence Main is issued.", "1 of 1 taken", `value="2099-12-31"`)
	serial := page.copied(t, "serial")
	if len(serial) != 29 || strings.Count(serial, "-") != 4 {
		t.Errorf("the serial number is %q", serial)
	}
	at := made.to
	admin.post("/admin/settings/licences/new", "name", "MAIN", "seats", "2", "preserved", "0").want(t, http.StatusConflict, "already")
	admin.done(admin.post(at, "name", "Main", "seats", "3", "preserved", "1"), "Saved.", "1 of 3 taken")
	admin.get("/admin/settings/licences").want(t, http.StatusOK, serial, "2 seats")
	if rows := admin.get(at + "/users.csv").table(t); len(rows) != 2 || rows[1][0] != "user" {
		t.Errorf("the report is %q", rows)
	}
	admin.done(admin.post("/admin/settings/licences", "grace_days", "3", "licence_expiry_days", "10", "reserve_on_invite", "on"), "Saved.", `value="3"`)

	second := admin.post("/admin/settings/licences/new", "name", "Second", "seats", "5", "preserved", "0")
	id := strings.TrimPrefix(second.to, "/admin/settings/licences/")
	user := "/admin/users/" + string(w.User.ID)
	admin.get(user+"/licence").want(t, http.StatusOK, "Main", "Second")
	admin.done(admin.post(user+"/licence", "licence", id), "The licence of user is changed.", "Second")
	admin.post(user+"/licence", "licence", "another").want(t, http.StatusNotFound)
	admin.get("/admin/users/new").want(t, http.StatusOK, "Second", "The first with a free seat")

	viewer := w.as("viewer")
	viewer.get("/admin/settings/licences").want(t, http.StatusOK, "Main").lacks(t, serial, "New licence")
	viewer.get(at).want(t, http.StatusOK).lacks(t, serial, "Revoke")
	viewer.post(user+"/licence", "licence", "").want(t, http.StatusForbidden)
	orgadmin := w.as("orgadmin")
	orgadmin.get(at).want(t, http.StatusOK, serial).lacks(t, "Revoke")
	for _, v := range []*visitor{viewer, orgadmin} {
		v.post(at, "name", "Mine", "seats", "99", "preserved", "1").want(t, http.StatusForbidden)
		v.post(at+"/revoke", "confirm", "Main").want(t, http.StatusForbidden)
	}
	admin.get(second.to+"/revoke").want(t, http.StatusOK, "1 user keeps the seat", "cannot be undone")
	admin.post(second.to+"/revoke", "confirm", "Main").want(t, http.StatusBadRequest, "This is not the name.")
	admin.done(admin.post(second.to+"/revoke", "confirm", "second"), "The licence Second was revoked.")
	admin.post(second.to, "name", "Second", "seats", "9", "preserved", "1").want(t, http.StatusConflict)
	admin.get("/admin/settings/licences/none").want(t, http.StatusNotFound)
}

func TestAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	admin.get("/admin/settings/administrators").want(t, http.StatusOK, "Server administrator", "orgadmin", "viewer")
	made := admin.post("/admin/settings/administrators/new", "username", "boss", "email", "boss@example.org", "role", "org_admin", "no_mail", "on").
		want(t, http.StatusCreated, "boss has been created")
	made.lacks(t, `id="secret"`)
	w.stranger().get(path(made.copied(t, "link"))).want(t, http.StatusOK, "boss")
	if u := w.find("boss"); u.Kind != access.AdminKind || u.Role != access.OrgAdmin || u.State != accounts.Invited {
		t.Errorf("boss is %+v", u)
	}
	admin.post("/admin/settings/administrators/new", "username", "eve", "role", "emperor").want(t, http.StatusBadRequest)
	at := administrator(w, "viewer")
	admin.done(admin.post(at+"/role", "role", "org_admin"), "The role of viewer is changed.")
	admin.post(administrator(w, "admin")+"/role", "role", "viewer").want(t, http.StatusConflict, "the last server administrator")
	admin.post(administrator(w, "admin")+"/delete", "confirm", "admin", "reason", "has left the company").want(t, http.StatusConflict, "the last server administrator")
	admin.post(administrator(w, "admin")+"/disable", "confirm", "admin").want(t, http.StatusConflict, "the last server administrator")
	admin.done(admin.post(at+"/disable", "confirm", "viewer"), "viewer is disabled.")
	admin.done(admin.post(at+"/activate"), "viewer is active again.")
	admin.post(at+"/preserve", "confirm", "viewer").want(t, http.StatusConflict)

	orgadmin := w.as("orgadmin")
	orgadmin.get("/admin/settings/administrators/new").want(t, http.StatusOK).lacks(t, "server_admin")
	orgadmin.post("/admin/settings/administrators/new", "username", "eve", "role", "server_admin").want(t, http.StatusForbidden)
	orgadmin.get(administrator(w, "admin")).want(t, http.StatusOK).lacks(t, "/role", "/delete")
	for act, form := range map[string][]string{
		"/role": {"role", "viewer"}, "/disable": {"confirm", "admin"}, "/delete": {"confirm", "admin", "reason", "has left the company"},
		"/factors": {"confirm", "admin"}, "/reset": nil, "/reset-link": nil, "/unlock": nil,
	} {
		orgadmin.post(administrator(w, "admin")+act, form...).want(t, http.StatusForbidden)
	}
	orgadmin.post(administrator(w, "orgadmin")+"/role", "role", "server_admin").want(t, http.StatusForbidden)
	if u := w.find("admin"); u.Role != access.ServerAdmin || u.State != accounts.Active {
		t.Errorf("the server administrator is %+v", u)
	}
}

// The users of deactivated devices are written to, each once and in their own
// language, and nobody else.
func TestWriteToAffected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	box := w.Mail()
	hit, spared := w.NewUser("hit"), w.NewUser("spared")
	w.NewDevice(spared, "KEPT")
	gone := w.NewDevice(hit, "GONE")
	w.NewUser("idle")
	admin := w.as("admin")
	admin.done(admin.post("/admin/devices/"+gone.DeviceID+"/deactivate", "confirm", "GONE"))
	french := "fr"
	if err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, access.System("test"), hit.ID, accounts.Changes{Language: &french})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	form := []string{"affected", "on", "window", "21 November, 20:00–22:00", "since", "2026-11-21", "link", w.URL + "/", "contact", "it@example.org"}
	admin.get("/admin/devices/write").want(t, http.StatusOK, "admin@example.org")
	admin.post("/admin/devices/write", "affected", "on", "link", "javascript:alert(1)").want(t, http.StatusBadRequest, "field-error")
	previewed := admin.post("/admin/devices/write", form...).want(t, http.StatusOK, "1 user gets this mail", "21 November, 20:00–22:00", "it@example.org",
		"Your backup needs you", "Votre sauvegarde a besoin de vous", "Send to 1 user")
	admin.post("/admin/devices/write", form[2:]...).want(t, http.StatusOK, "4 users get this mail")
	// A preview is sent once, however often its button is pressed.
	admin.post("/admin/devices/write/send", form...).want(t, http.StatusBadRequest, "Open it again")
	once := append(form, "id", regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(previewed.body)[1])
	sent := admin.post("/admin/devices/write/send", once...)
	admin.done(sent, "of 1 sent")
	if again := admin.post("/admin/devices/write/send", once...); again.to != sent.to {
		t.Errorf("sent twice, it leads to %q, want %q", again.to, sent.to)
	}
	if m := box.Wait("hit@example.org", mail.SecurityReset); !strings.Contains(m.Text, "it@example.org") || !strings.Contains(m.Subject, "Votre sauvegarde") {
		t.Errorf("the mail is %s:\n%s", m.Subject, m.Text)
	}
	wait(t, func() bool { return strings.Contains(admin.get(sent.to).body, "1 of 1 sent") })
	if w.audited("users/", "security_reset") != 1 {
		t.Error("the audit does not tell of the mails, once")
	}
	if n := len(box.All()); n != 1 {
		t.Errorf("%d mails were sent", n)
	}
	viewer := w.as("viewer")
	viewer.get("/admin/devices").want(t, http.StatusOK).lacks(t, "/admin/devices/write")
	viewer.get("/admin/devices/write").want(t, http.StatusForbidden)
	viewer.post("/admin/devices/write", form...).want(t, http.StatusForbidden)
	viewer.post("/admin/devices/write/send", form...).want(t, http.StatusForbidden)
	viewer.get(sent.to).want(t, http.StatusForbidden)
}

// What needs somebody stands on the overview, and goes away when it is done.
func TestOverviewAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	zoe := w.NewUser("zoe")
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		for _, u := range []accounts.User{w.User, zoe} {
			if err := accounts.RequestDeletion(t.Context(), tx, u.Caller(access.Caller{}), w.Keys, w.URL); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	at := "/admin/users/" + string(w.User.ID)
	admin.get("/admin/").want(t, http.StatusOK, "user asks for the account to be deleted.", "zoe asks for", at)
	admin.get(at).want(t, http.StatusOK, "for the account to be deleted", "Refuse")
	w.as("viewer").post(at+"/request").want(t, http.StatusForbidden)
	admin.done(admin.post(at+"/request"), "The request of user is refused.")
	admin.done(admin.post("/admin/users/"+string(zoe.ID)+"/delete", "confirm", "zoe", "reason", "asked for it herself"))
	admin.get("/admin/").want(t, http.StatusOK).lacks(t, "asks for the account")

	w.NewDevice(w.User, "ONE")
	w.NewDevice(w.NewUser("two"), "TWO")
	admin.done(admin.post("/admin/settings/licences/new", "name", "Small", "seats", "1", "preserved", "1"))
	admin.get("/admin/").want(t, http.StatusOK, "Licence Small:")

	form := []string{"revision", "1", "name", "Default", "interval", "240", "max_devices", "10", "allow_add_devices", "on", "web_restore", "on", "auto_delete", "on", "preserved_days", "30"}
	admin.done(admin.post("/admin/profiles/"+profileID(admin), form...), "Saved.")
	admin.get(at+"/preserve").want(t, http.StatusOK, "After 30 days the profile deletes the user")
	admin.done(admin.post(at+"/preserve", "confirm", "user"), "The profile Default deletes this user on")
	admin.get("/admin/").want(t, http.StatusOK, "1 preserved user will be deleted within 30 days.")
}

// A kind of device that is no longer offered: its devices say so where people
// look, and before they are deleted.
func TestRetiredKindOfDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "laptop")
	admin := w.as("admin")
	admin.get("/admin/devices/"+d.DeviceID).lacks(t, "no longer offered")
	admin.get("/admin/settings/devices").want(t, http.StatusOK, "Computers backed up for one of their users", "1 device")
	admin.done(admin.post("/admin/settings/devices", "retired_user", "on"), "Saved.")
	if body := admin.get("/admin/settings/devices").body; !strings.Contains(body, `name="retired_user" value="on" checked`) {
		t.Error("the page forgets what was set")
	}
	admin.get("/admin/devices/"+d.DeviceID).want(t, http.StatusOK, "Devices of this kind are no longer offered")
	admin.get("/admin/devices/"+d.DeviceID+"/delete").want(t, http.StatusOK, "Have its user save first what is needed")
	admin.done(admin.post("/admin/settings/devices"), "Saved.")
	admin.get("/admin/devices/"+d.DeviceID).lacks(t, "no longer offered")
}
