package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
)

// mails counts the mails of a kind.
func (w *world) mails(t mail.Template) (n int) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(w.t.Context(), "SELECT count(*) FROM outbox WHERE template = $1", t).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// becomes waits for what a job does.
func (v *visitor) becomes(path, text string) page {
	v.w.t.Helper()
	for {
		p := v.get(path)
		if strings.Contains(p.body, text) {
			return p
		}
		select {
		case <-v.w.t.Context().Done():
			v.w.t.Fatalf("%s never has %q", path, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// A reset from the list of devices to the last one that is back.
func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	laptop := w.NewDevice(w.User, "LAPTOP")
	other := w.NewDevice(w.NewUser("=ugo"), "OTHER")
	admin, second, viewer := w.as("admin"), w.as("orgadmin"), w.as("viewer")

	admin.get("/admin/devices").want(t, http.StatusOK, `href="/admin/resets"`)
	admin.get("/admin/resets").want(t, http.StatusOK, "There was no security reset")
	viewer.get("/admin/resets").want(t, http.StatusOK).lacks(t, "/admin/resets/new")
	viewer.get("/admin/resets/new").want(t, http.StatusForbidden)
	admin.get("/admin/resets/new").want(t, http.StatusOK, "Reset of ")
	form := []string{"name", "November", "reason", "the old server was broken into", "batch", "100"}
	viewer.post("/admin/resets/new", form...).want(t, http.StatusForbidden)
	viewer.post("/admin/resets/new/ask", append(form, "expect", "2")...).want(t, http.StatusForbidden)
	admin.post("/admin/resets/new", append(form, "os", "plan9")...).want(t, http.StatusBadRequest, "No active device is chosen")
	admin.post("/admin/resets/new", append(form, "users", "nobody")...).want(t, http.StatusBadRequest, "There is no user nobody")
	admin.post("/admin/resets/new", append(form, "activated_before", "yesterday")...).want(t, http.StatusBadRequest, "This is no date.")
	admin.post("/admin/resets/new", append(form, "users", "user")...).want(t, http.StatusOK, "1 device of 1 user would be reset", "LAPTOP").lacks(t, "OTHER")
	admin.post("/admin/resets/new", form...).want(t, http.StatusOK, "2 devices of 2 users would be reset", "OTHER", `name="expect" value="2"`)
	admin.post("/admin/resets/new/ask", append(form, "expect", "1")...).want(t, http.StatusConflict, "There are 2 devices now, not 1")
	admin.post("/admin/resets/new/ask", "name", "x", "reason", "short", "expect", "2").want(t, http.StatusBadRequest, "10")
	p := admin.post("/admin/resets/new/ask", append(form, "expect", "2")...)
	at := p.to
	admin.done(p, "Waits for a second administrator", "the old server was broken into", "<dd>100</dd>").lacks(t, at+"/pause", "/admin/devices/write?reset")
	if got := w.device(laptop.DeviceID).State; got != devices.Active {
		t.Errorf("before it is approved the device is %s", got)
	}

	ask := admin.waiting()
	second.get(ask).want(t, http.StatusOK, "revoke the credentials of 2 devices (users: 2)", at)
	second.done(second.post(ask+"/approve"), "Approved and carried out.")
	admin.becomes(at, "Revoked, waiting for devices").want(t, http.StatusOK, "0 of 2 back", "2 not back yet", "LAPTOP")
	if got := w.device(laptop.DeviceID); got.State != devices.Deactivated || got.ResetAt.IsZero() {
		t.Errorf("the device is %s, reset at %s", got.State, got.ResetAt)
	}
	for _, act := range []string{"pause", "continue", "cancel"} {
		admin.post(at+"/"+act).want(t, http.StatusConflict)
		viewer.post(at+"/"+act).want(t, http.StatusForbidden)
	}
	admin.post(at+"/remind").want(t, http.StatusConflict, "Write to the users first.")

	// Written to from the reset's page, with what it knows.
	id := at[strings.LastIndexByte(at, '/')+1:]
	admin.get("/admin/devices/write?reset="+id).want(t, http.StatusOK, `name="reset" value="`+id+`"`).lacks(t, `name="affected"`)
	letter := []string{"reset", id, "window", "21 November", "since", "2026-11-21", "link", "https://help.example.org/", "contact", "help", "note", "Open on Sunday."}
	admin.post("/admin/devices/write", letter...).want(t, http.StatusOK, "Open on Sunday.", "21 November", `lang="fr"`)
	viewer.post("/admin/devices/write/send", letter...).want(t, http.StatusForbidden)
	admin.done(admin.post("/admin/devices/write/send", letter...), "The mails leave")
	admin.becomes(at, "2 users told")
	admin.done(admin.post("/admin/devices/write/send", letter...))
	if n := w.mails(mail.SecurityReset); n != 2 {
		t.Errorf("%d mails, want 2", n)
	}
	viewer.get(at+"/laggards").want(t, http.StatusForbidden)
	csv := admin.get(at+"/laggards").want(t, http.StatusOK, "LAPTOP", "'=ugo")
	if !strings.HasPrefix(csv.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the list is no file: %v", csv.header)
	}

	// One is back, the other deleted: it is over.
	w.later(time.Minute)
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE devices SET state = 'active', activated_at = $2 WHERE id = $1", laptop.DeviceID, db.Micros(tx.Now()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	admin.get(at).want(t, http.StatusOK, "1 of 2 back")
	gone := "/admin/devices/" + other.DeviceID
	w.as("admin").post(gone+"/delete", "reason", "left the company", "confirm", "OTHER").want(t, http.StatusSeeOther)
	admin.becomes(at, "All are back").want(t, http.StatusOK, "1 deleted or stopped since").lacks(t, at+"/remind")
}
