package console_test

import (
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// activates makes a computer a device by what in says who it is for.
func (w *world) activates(host, choice, device string, in wire.BeginActivation) (wire.Activated, error) {
	w.t.Helper()
	c := wiretest.NewComputer(w.t)
	client, err := wire.New(wire.Config{Server: w.URL, Fingerprint: w.Fingerprint, Patience: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	in.RequestID, in.ClientVersion, in.SigningKey = uuid.NewString(), version.Number(), c.SigningKey()
	in.Hardware = wire.Hardware{MachineID: "machine-" + host, Hostname: host, OS: "linux", OSUser: "user", Arch: "amd64"}
	begun, err := client.BeginActivation(w.t.Context(), in)
	if err != nil {
		return wire.Activated{}, err
	}
	return client.FinishActivation(w.t.Context(), wire.FinishActivation{Activation: begun.Activation, Choice: choice, DeviceID: device, EnrolmentKey: c.Enrolment,
		Signature: wire.SignFinish(c.Signing, begun.Activation, c.Enrolment)})
}

func byPassword() wire.BeginActivation {
	return wire.BeginActivation{Username: "user", Password: servertest.UserPassword}
}

func TestDeviceIsRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.NewDevice(w.User, "LAPTOP"), w.NewDevice(w.User, "DESK")
	admin, at := w.as("admin"), "/admin/devices/"+d.DeviceID
	w.as("viewer").get(at+"/rename").want(t, http.StatusForbidden)
	w.as("viewer").post(at+"/rename", "name", "mine").want(t, http.StatusForbidden)
	admin.get(at+"/rename").want(t, http.StatusOK, `value="LAPTOP"`)
	admin.post(at+"/rename", "name", " ").want(t, http.StatusBadRequest, "Give the device a name.")
	admin.post(at+"/rename", "name", "desk").want(t, http.StatusConflict, "same name")
	admin.done(admin.post(at+"/rename", "name", "Atelier"), "Atelier", "Renamed from LAPTOP to Atelier")
	admin.get("/admin/devices?q=laptop").want(t, http.StatusOK, at)
}

// D-07 by an administrator: the page says in numbers what becomes of both.
func TestReplacementIsUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.activates("old-pc", wire.Add, "", byPassword())
	if err != nil {
		t.Fatal(err)
	}
	admin, at := w.as("admin"), "/admin/devices/"+first.DeviceID
	admin.get(at+"/undo").want(t, http.StatusOK, "replaced no other in the last 14 days")
	admin.post(at+"/undo", "confirm", "old-pc").want(t, http.StatusConflict, "replaced no other")
	if _, err := w.activates("new-pc", wire.Replace, first.DeviceID, byPassword()); err != nil {
		t.Fatal(err)
	}
	admin.get(at).want(t, http.StatusOK, "took the place of the computer old-pc", at+"/undo", "Replaced by user", "old-pc", "new-pc", "The computer new-pc took the place of old-pc")
	w.as("viewer").get(at).want(t, http.StatusOK, "took the place").lacks(t, at+"/undo")
	admin.get(at+"/undo").want(t, http.StatusOK, "old-pc is this device again", "new-pc becomes a device of its own", "This is possible until")
	admin.post(at+"/undo", "confirm", "other").want(t, http.StatusBadRequest, "This is not the name.")
	admin.done(admin.post(at+"/undo", "confirm", w.device(first.DeviceID).Name), "is undone", "Replacement undone: it is old-pc again", "Replacement undone by admin").lacks(t, at+"/undo\"")
	if d := w.device(first.DeviceID); d.Hardware.Hostname != "old-pc" || d.State != devices.Active {
		t.Errorf("the device is %s, %s", d.Hardware.Hostname, d.State)
	}
}

// C-13, D-06 in the console: a key that is shown once lets a computer take a
// device's place; revoked it lets in nobody.
func TestActivationKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.NewDevice(w.User, "LAPTOP")
	admin, user := w.as("orgadmin"), "/admin/users/"+string(w.User.ID)
	w.as("viewer").get(user+"/keys/new").want(t, http.StatusForbidden)
	admin.get(user+"/keys/new?choice=succeed&device="+old.DeviceID).want(t, http.StatusOK, "LAPTOP", `value="succeed" checked`)
	admin.post(user+"/keys/new", "choice", "succeed", "device", uuid.NewString()).want(t, http.StatusNotFound)
	admin.post(user+"/keys/new", "choice", "purge", "device", old.DeviceID).want(t, http.StatusBadRequest)
	made := admin.post(user+"/keys/new", "choice", "succeed", "device", old.DeviceID).want(t, http.StatusCreated, "Successor of LAPTOP", "--key-file", "only time")
	key := html.UnescapeString(made.copied(t, "key"))
	admin.get(user).want(t, http.StatusOK, "Activation keys", "Successor of LAPTOP", "Good").lacks(t, key)
	admin.get("/admin/devices/"+old.DeviceID).want(t, http.StatusOK, "Successor of LAPTOP")
	next, err := w.activates("new-pc", wire.Add, "", wire.BeginActivation{ActivationKey: key})
	if err != nil {
		t.Fatal(err)
	}
	admin.get("/admin/devices/"+next.DeviceID).want(t, http.StatusOK, "takes the place of LAPTOP with its first complete backup")
	admin.get("/admin/devices/"+old.DeviceID).want(t, http.StatusOK, "new-pc takes its place").lacks(t, "Activation keys")
	admin.get(user).want(t, http.StatusOK, "Used")

	made = admin.post(user+"/keys/new", "choice", "add").want(t, http.StatusCreated)
	revoke := w.between(admin.get(user).body, `action="`, `/revoke"`) + "/revoke"
	admin.post("/admin/users/"+string(w.find("orgadmin").ID)+strings.TrimPrefix(revoke, user)).want(t, http.StatusNotFound)
	admin.done(admin.post(revoke), "good for nothing")
	_, err = w.activates("third", wire.Add, "", wire.BeginActivation{ActivationKey: html.UnescapeString(made.copied(t, "key"))})
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("with a revoked key: %v", err)
	}
}

func (w *world) between(text, before, after string) string {
	w.t.Helper()
	i := strings.Index(text, after)
	j := strings.LastIndex(text[:max(i, 0)], before)
	if i < 0 || j < 0 {
		w.t.Fatalf("nothing between %q and %q:\n%s", before, after, text)
	}
	return text[j+len(before) : i]
}

// mailed counts the mails of a template to an address.
func (w *world) mailed(template mail.Template, to string) (n int) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(w.t.Context(), "SELECT count(*) FROM outbox WHERE template = $1 AND recipient = $2", template, to).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// C-13: whoever keeps administrators out is asked first, and says yes at the
// portal; then they and every server administrator are told.
func TestKeyForAPrivateUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error { return accounts.SetPrivacy(t.Context(), tx, u.Caller(access.Caller{}), true) })
	if err != nil {
		t.Fatal(err)
	}
	admin, home := w.as("orgadmin"), "/admin/users/"+string(u.ID)
	admin.get(home+"/keys/new").want(t, http.StatusOK, "They are asked first", "Ask the user")
	page := admin.done(admin.post(home+"/keys/new", "choice", "add"), "is asked by e-mail", "Waits for the user").lacks(t, "/make\"")
	id := w.between(page.body, home+"/keys/", "/revoke")
	if w.mailed(mail.KeyAsked, u.Email) != 1 {
		t.Error("the user was not asked")
	}
	admin.post(home+"/keys/"+id+"/make").want(t, http.StatusConflict)

	p := w.user("user")
	p.get("/").want(t, http.StatusOK, "orgadmin", "/keys/"+id)
	p.get("/keys/"+id).want(t, http.StatusOK, "orgadmin", "Allow", "Refuse")
	p.done(p.post("/keys/"+id, "answer", "allow"), "allowed")
	p.post("/keys/"+id, "answer", "allow").want(t, http.StatusConflict)
	if w.mailed(mail.KeyAllowed, u.Email) != 1 || w.mailed(mail.KeyAllowed, w.Admin.Email) != 1 || w.mailed(mail.KeyAllowed, "orgadmin@example.org") != 0 {
		t.Error("not the user and every server administrator was told, or somebody else")
	}
	admin.get(home).want(t, http.StatusOK, "Allowed by the user")
	key := html.UnescapeString(admin.post(home+"/keys/"+id+"/make").want(t, http.StatusCreated).copied(t, "key"))
	if _, err := w.activates("new-pc", wire.Add, "", wire.BeginActivation{ActivationKey: key}); err != nil {
		t.Fatal(err)
	}

	// No is no.
	page = admin.done(admin.post(home+"/keys/new", "choice", "add"))
	id = w.between(page.body, home+"/keys/", "/revoke")
	p.done(p.post("/keys/"+id, "answer", "refuse"), "refused")
	admin.post(home+"/keys/"+id+"/make").want(t, http.StatusConflict)
}

// Who keeps administrators out has their own folders counted, not named.
func TestFoldersOfAPrivateUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP")
	chosen := profile.Choices{Folders: []string{"/home/user/secret plans"}}
	write := func(f func(tx *db.Tx) error) {
		t.Helper()
		if err := w.DB.Write(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE devices SET choices = $2 WHERE id = $1", d.DeviceID, string(chosen.Encode()))
		return err
	})
	admin, at := w.as("admin"), "/admin/devices/"+d.DeviceID+"?path=/home/user/secret%20plans/a"
	admin.get(at).want(t, http.StatusOK, "/home/user/secret plans", "Backed up: it lies in the folder")
	write(func(tx *db.Tx) error {
		return accounts.SetPrivacy(t.Context(), tx, w.User.Caller(access.Caller{}), true)
	})
	admin.get(at).want(t, http.StatusOK, "1 folder of the user").lacks(t, "secret plans")
	w.user("user").get("/devices/"+d.DeviceID+"/about").want(t, http.StatusOK, "secret plans")
}

// Why a device is not protected stands on its page, with what mends it.
func TestWhyNotProtected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.NewDevice(w.User, "LAPTOP")
	admin, at := w.as("admin"), "/admin/devices/"+d.DeviceID
	admin.get(at).want(t, http.StatusOK, "Why is it not protected?", "It has not begun a backup yet.", at+"/backup", "Settings in force", "Every 4 h", "Default", "Can be changed there")
	admin.get(at+"?path=/etc/passwd").want(t, http.StatusOK, "Not backed up: it lies in none of the folders")
	w.as("viewer").get(at+"?path=%3Cb%3E/x").want(t, http.StatusOK, "&lt;b&gt;/x")
	admin.done(admin.post(at+"/deactivate", "confirm", "LAPTOP"), "It was deactivated", "choice=reactivate")
	w.as("viewer").get(at).want(t, http.StatusOK, "It was deactivated").lacks(t, "choice=reactivate")
}

// D-17, C-09: the devices of one computer stand together; a copy of its disk is
// told to administrators once, until it is settled.
func TestSameComputer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, err := w.activates("pc", wire.Add, "", byPassword())
	if err != nil {
		t.Fatal(err)
	}
	ann, err := w.NewAccount(t.Context(), access.System("test"), accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: "ann", Email: "ann@example.org"}, servertest.UserPassword)
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.activates("pc", wire.Add, "", wire.BeginActivation{Username: "ann", Password: servertest.UserPassword})
	if err != nil {
		t.Fatal(err)
	}
	admin, at := w.as("admin"), "/admin/devices/"+one.DeviceID
	admin.get(at).want(t, http.StatusOK, "Also on this computer", "/admin/devices/"+two.DeviceID, ann.Username)
	for range 2 {
		c := wiretest.NewComputer(t)
		client, err := wire.New(wire.Config{Server: w.URL, Fingerprint: w.Fingerprint, Patience: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		in := byPassword()
		in.RequestID, in.ClientVersion, in.SigningKey = uuid.NewString(), version.Number(), c.SigningKey()
		in.Hardware = wire.Hardware{MachineID: "machine-pc", Hostname: "copy", OS: "linux", OSUser: "user", Arch: "amd64"}
		if _, err := client.BeginActivation(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
	if n := w.mailed(mail.DeviceCloned, "orgadmin@example.org"); n != 1 {
		t.Errorf("the administrator was told %d times, want once", n)
	}
	admin.get("/admin/devices?state=clone").want(t, http.StatusOK, at, "Two computers")
	admin.get(at).want(t, http.StatusOK, "Two computers said that they are this device", "The computer copy claimed to be this device")
	w.as("viewer").post(at+"/settle").want(t, http.StatusForbidden)
	admin.done(admin.post(at+"/settle"), "is gone").lacks(t, "Two computers said")
}
