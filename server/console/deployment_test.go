package console_test

import (
	"html"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// machine makes a computer a device by a token, as its agent does.
func (w *world) machine(token, name, email string) (*wiretest.Computer, error) {
	w.t.Helper()
	c := wiretest.NewComputer(w.t)
	client, err := wire.New(wire.Config{Server: w.URL, Fingerprint: w.Fingerprint, Patience: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	begun, err := client.BeginActivation(w.t.Context(), wire.BeginActivation{Token: token, Identity: "email:" + email, RequestID: uuid.NewString(),
		Hardware:      wire.Hardware{MachineID: "machine-" + name, Hostname: name, OS: "linux", Arch: "amd64"},
		ClientVersion: version.Number(), SigningKey: c.SigningKey()})
	if err != nil {
		return c, err
	}
	_, err = client.FinishActivation(w.t.Context(), wire.FinishActivation{Activation: begun.Activation, Choice: wire.Add, EnrolmentKey: c.Enrolment,
		Signature: wire.SignFinish(c.Signing, begun.Activation, c.Enrolment)})
	return c, err
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("orgadmin")
	admin.get("/admin/deployment").want(t, http.StatusOK, "No deployment tokens yet")
	w.as("viewer").get("/admin/deployment").want(t, http.StatusForbidden)
	admin.get("/admin/deployment/new").want(t, http.StatusOK, `value="90"`)
	admin.post("/admin/deployment/new", "name", "x", "days", "400").want(t, http.StatusBadRequest, "365")
	admin.post("/admin/deployment/new", "name", "x", "days", "8761", "unit", "hours").want(t, http.StatusBadRequest, "365", `value="hours" selected`)
	admin.post("/admin/deployment/new", "name", "x", "days", "0", "unit", "hours").want(t, http.StatusBadRequest, "one hour")
	made := admin.post("/admin/deployment/new", "name", "Lab", "days", "30", "uses", "3", "approve", "on", "create_users", "on", "domains", "example.org\r\n", "systems", "linux").
		want(t, http.StatusCreated, "backstay deploy --config", "Ansible", "path: /etc/backstay\n    state: directory", "msiexec /i backstay_0.1.0_amd64.msi /qn", "./backstay-0.1.0-1.x86_64.rpm", "ca_sha256").
		lacks(t, "backstay.msi", "backstay.pkg", "defaults write")
	token := html.UnescapeString(made.copied(t, "token"))
	if err := os.Mkdir(filepath.Join(w.Config.Data, "clients"), 0o755); err != nil {
		t.Fatal(err)
	}
	admin.post("/admin/deployment/installer", "name", deploy.InstallUnix, "token", token).want(t, http.StatusConflict, "no client of that kind")
	if err := os.WriteFile(filepath.Join(w.Config.Data, "clients", "backstay_0.1.0_amd64.deb"), []byte("package"), 0o644); err != nil {
		t.Fatal(err)
	}
	admin.post("/admin/deployment/installer", "name", deploy.InstallUnix, "token", token).want(t, http.StatusOK, "#!/bin/sh", `token = "`+token, w.Fingerprint)
	for _, wrong := range []string{"", token[:len(token)-70], strings.Replace(token, "bsd1.", "bsd1.0", 1), "bsd1." + strings.Split(token, ".")[1] + "." + strings.Repeat("A", 43) + ".x"} {
		admin.post("/admin/deployment/installer", "name", deploy.InstallUnix, "token", wrong).want(t, http.StatusNotFound).lacks(t, "#!/bin/sh")
	}
	w.as("viewer").post("/admin/deployment/installer", "name", deploy.InstallUnix, "token", token).want(t, http.StatusForbidden)
	admin.get("/admin/deployment").want(t, http.StatusOK, "Lab", "bsd1.").lacks(t, strings.Split(token, ".")[2])
	for _, name := range []string{"one", "two", "three"} {
		if _, err := w.machine(token, name, name+"@example.org"); err == nil || !strings.Contains(err.Error(), "device.waiting") {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := w.machine(token, "four", "four@example.org"); err == nil {
		t.Error("there was a use too many")
	}
	admin.get("/admin/deployment/knocking").want(t, http.StatusOK, "four", "The token is used up.").lacks(t, "than are listed here")
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE deploy_tokens SET knocks_lost = 2, knocks_lost_at = $1", db.Micros(tx.Now()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	admin.get("/admin/deployment/knocking").want(t, http.StatusOK, "2 more computers knocked than are listed here.")
	queue := admin.get("/admin/deployment/approvals").want(t, http.StatusOK, "one@example.org", "two@example.org", "Approve all 3")
	first := regexp.MustCompile(`name="device" value="([^"]+)"`).FindStringSubmatch(queue.body)[1]
	admin.get("/admin/deployment/rollout/laggards").want(t, http.StatusOK, ",used,awaiting_approval,").lacks(t, ",enrolled,")
	admin.done(admin.post("/admin/deployment/approvals", "act", "approve"), "Tick the devices first.")
	admin.done(admin.post("/admin/deployment/approvals", "act", "refuse", "device", first), "Devices refused: 1.")
	admin.done(admin.post("/admin/deployment/approvals", "act", "approve-all", "q", "two"), "Devices approved: 1.")
	admin.get("/admin/deployment/rollout?by=os").want(t, http.StatusOK, "Linux", "Token used", "3 not protected yet (CSV)")
	if rows := admin.get("/admin/deployment/rollout/laggards?by=os&group=Linux").table(t); len(rows) != 4 {
		t.Errorf("laggards on Linux: %v", rows)
	}
	if rows := admin.get("/admin/deployment/rollout/laggards?by=os&group=Windows").table(t); len(rows) != 1 {
		t.Errorf("laggards on Windows: %v", rows)
	}
	if rows := admin.get("/admin/deployment/rollout/laggards").table(t); len(rows) != 4 || rows[1][0] != "three" {
		t.Errorf("laggards: %v", rows)
	}
	id := strings.Split(token, ".")[1]
	at := "/admin/deployment/tokens/" + id
	admin.get(at).want(t, http.StatusOK, "3 / 3", "Systems: Linux", "Any network", "An administrator approves each device.", "new addresses in example.org", "First backup started")
	admin.get(at+"/revoke").want(t, http.StatusOK, "1 device is active")
	admin.post(at+"/revoke", "what", "quarantine", "since", "").want(t, http.StatusBadRequest, "Give a day and a time.")
	admin.done(admin.post(at+"/revoke", "what", "quarantine", "since", "2100-01-01T00:30"), "Devices in quarantine: 0.")
	gone := admin.done(admin.post(at+"/revoke", "what", "quarantine", "since", "2020-01-01"), "Devices in quarantine: 1.", "Revoked", "In quarantine", "two@example.org")
	release := regexp.MustCompile(`action="([^"]+/release/[^"]+)"`).FindStringSubmatch(gone.body)[1]
	admin.done(admin.post(release), "The device backs up again.").lacks(t, "In quarantine")
	if w.audited("deploy-token/"+id, "quarantined") != 2 {
		t.Error("the record lacks the quarantine")
	}
	admin.done(admin.post("/admin/deployment/first-only", "first_only", "on"), "checked")
}

// The device map is looked at before it is changed; its rows are used up.
func TestDeviceMap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("orgadmin")
	una, err := w.NewAccount(t.Context(), access.System("test"), accounts.New{Org: w.Org.ID, Kind: access.UserKind, Username: "una", Email: "una@example.org"}, "Right-Password-1")
	if err != nil {
		t.Fatal(err)
	}
	const file = "email,device_id,id_type,old_device_name,expires\r\n" +
		"una@example.org,MACHINE-PC,uuid,,\r\nuna@example.org,machine-pc,uuid,,\r\nwho@example.org,s-1,serial-number,,\r\n" +
		"una,s-2,serial-number,Old,\r\nuna,s-3,mac,,\r\nuna,s-4,serial-number,,2001-01-01\r\nuna,lab-7,hostname,,\r\n"
	checked := admin.upload("/admin/deployment/map", file).want(t, http.StatusOK, "2 rows can be added", "Nobody has the address", "no device called", "no type of id", "no day to come",
		"The computer stands in line 2 already.")
	admin.get("/admin/deployment/map").want(t, http.StatusOK, "The device map is empty")
	text := html.UnescapeString(regexp.MustCompile(`(?s)<textarea name="text" hidden>\n(.*?)</textarea>`).FindStringSubmatch(checked.body)[1])
	step := func(path string) page {
		return admin.multipart("/admin/deployment/map/"+path, func(form *multipart.Writer) error { return form.WriteField("text", text) })
	}
	if rows := step("failed").table(t); len(rows) != 6 || rows[2][0] != "who@example.org" || len(rows[0]) != 9 {
		t.Errorf("failed rows: %v", rows)
	}
	admin.done(step("import"), "Rows added to the device map: 2.", "machine-pc", "lab-7")
	admin.upload("/admin/deployment/map", file).want(t, http.StatusOK, "0 rows can be added", "2 rows are there already")
	admin.upload("/admin/deployment/map", "E-mail;Device ID;ID type\r\nuna@example.org;machine-pc;uuid\r\n").want(t, http.StatusOK, "1 row is there already")
	many := "email,hostname,device_id,id_type,username,old_device_name,data_restore,expires\r\n" +
		strings.Repeat("una@example.org,computer-of-una,4C4C4544-0042-3510-8052-B9C04F564433,uuid,una,,DATA,2099-12-31\r\n", accounts.MaxImportRows)
	admin.upload("/admin/deployment/map", many).want(t, http.StatusOK, "1 row can be added", "9,999 rows cannot be imported")
	admin.upload("/admin/deployment/map", many+"una\r\n").want(t, http.StatusRequestEntityTooLarge, "more than 10,000 rows")
	var token string
	err = w.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		_, token, err = deploy.Create(t.Context(), tx, access.System("test"), w.Org.ID, deploy.Rules{Name: "x"}, time.Hour)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.machine(token, "pc", "somebody@example.org"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.machine(token, "lab-7", "somebody@example.org"); err == nil || !strings.Contains(err.Error(), "device.waiting") {
		t.Errorf("by its host name alone: %v", err)
	}
	err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
		list, err := devices.LiveOf(t.Context(), tx, una.ID)
		if len(list) != 2 || list[1].State != devices.Active {
			t.Errorf("una has %+v", list)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	admin.get("/admin/deployment/map").want(t, http.StatusOK, "The device map is empty")
}

// A row of the device map is made and changed by a form, by the rules of a file.
func TestMapRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("orgadmin")
	w.as("viewer").get("/admin/deployment/map/new").want(t, http.StatusForbidden)
	admin.get("/admin/deployment/map/new").want(t, http.StatusOK, "Machine id")
	admin.get("/admin/deployment/map/77").want(t, http.StatusNotFound)
	admin.get("/admin/deployment/map/x").want(t, http.StatusNotFound)
	admin.post("/admin/deployment/map/new", "email", "nobody", "device_id", "4c4c-1", "id_type", "uuid").want(t, http.StatusNotFound, "Nobody has the address", `value="4c4c-1"`)
	admin.done(admin.post("/admin/deployment/map/new", "email", "user", "device_id", "4c4c-1", "id_type", "uuid", "username", "una"), "4c4c-1", "1 computer in the map")
	row := regexp.MustCompile(`/admin/deployment/map/[0-9]+`).FindString(admin.get("/admin/deployment/map").body)
	admin.get(row).want(t, http.StatusOK, `value="una"`, `value="4c4c-1"`)
	admin.post(row, "email", "user", "device_id", "4c4c-1", "id_type", "uuid", "expires", "2001-01-01").want(t, http.StatusBadRequest, "no day to come")
	admin.done(admin.post(row, "email", "user", "device_id", "4c4c-2", "id_type", "serial-number"), "4c4c-2", "Serial number").lacks(t, "4c4c-1")
	admin.done(admin.post(row+"/remove"), "The device map is empty")
}
