package browser_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// Who may not add a computer, or has as many as there may be; who has several
// and is known by the computer; whose old computer's files come back; and what
// is left of the window when an administrator locks and removes the device.
func TestWindowChoices(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	allow := func(add bool, most int) {
		changeProfile(t, s, func(p *profile.Settings) { p.AllowAddDevices, p.MaxDevices = add, most })
	}
	allow(false, 10)
	c := newClient(t, s)
	b := webtest.Open(t)
	b.Enter(c.window().link)
	b.Arrive("/activate")
	c.reaches(b, s.URL, s.Fingerprint, "user", "/password")
	logIn := func() {
		b.Type(servertest.UserPassword)
		b.Submit("\r")
	}
	logIn()
	want(t, b, "not allowed", "This computer cannot be added", "Your profile does not allow you to add devices. E1202", "Ask your administrator, then begin again.")
	lookWindow(t, b, "window-not-allowed")

	allow(true, 2)
	documents := oldLaptop(t, s)
	lost := newClient(t, s)
	lost.activate("LOST")
	b.Follow("p.aside a")
	logIn()
	want(t, b, "the limit", "This computer was activated before, as LOST.", "You already have the maximum of 2 devices. Replace one of them. E1203",
		"Reactivate", "Replace my Existing Device", "Select device to replace", "OLD-LAPTOP")
	if page := b.Text(); strings.Contains(page, "Add this computer") {
		t.Errorf("one more than the limit is offered:\n%s", page)
	}
	lookWindow(t, b, "window-limit")
	allow(true, 10)
	b.Follow("p.aside a")
	logIn()
	want(t, b, "known by its machine", "You already have devices", "This computer was activated before, as LOST.", "Reactivate", "Add this computer", "OLD-LAPTOP", "Replace")
	lookWindow(t, b, "window-known")

	b.Follow("form:has(input[value=replace]) button")
	want(t, b, "the preview", "Replace OLD-LAPTOP", "Select data to restore", "Nothing", "Files (", "to where they were", "Where folders go:", "/etc/skel")
	lookWindow(t, b, "window-replace-files")
	b.Fill("[name=to]", "a place")
	b.Follow("#submit")
	want(t, b, "a wrong place", "a place is not the full path of a folder.")
	refusedBy(t, b, 400)
	speak(b, locale.French)
	want(t, b, "the same step in French", "Remplacer OLD-LAPTOP")
	if got := webtest.Eval[string](b, `document.querySelector('[name=to]').value`); got != "a place" {
		t.Errorf("in the other language the place is %q", got)
	}
	speak(b, locale.English)
	place := filepath.Join(t.TempDir(), "skeleton")
	b.Fill("[name=to]", place)
	b.Click("#submit")
	b.Arrive("/ready")
	want(t, b, "replaced", "Ready for Backup", "has taken the place", "The files of the old computer come back in the background, while backups run.")
	b.Follow("#submit")
	within(t, "the restore", func() bool { return strings.Contains(c.run("status"), "files of OLD-LAPTOP are back") })
	for _, path := range []string{filepath.Join(documents, "letter.txt"), filepath.Join(place, ".profile")} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a file has not come back: %v", err)
		}
	}

	home := b.URL()
	t.Run("another agent", func(t *testing.T) {
		agent := exec.Command(lost.bin, "agent", "--state", lost.state)
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			agent.Process.Kill()
			agent.Wait()
		})
		within(t, "the agent", func() bool { return strings.Contains(lost.run("status", "--json"), `"agent_running": true`) })
		b.Enter(lost.window().link)
		b.Await(`document.querySelector('.window-tabs')`)
		within(t, "the window notices it", func() bool {
			b.Go(b.URL())
			return strings.Contains(b.Text(), "Another Backstay program backs up this computer. It goes on when this window is closed.")
		})
		lookWindow(t, b, "window-beside")
	})

	id, by := deviceNamed(t, s, "OLD-LAPTOP"), s.Admin.Caller(access.Caller{})
	b.Go(home)
	write(t, s, func(tx *db.Tx) error { return devices.Lock(t.Context(), tx, by, id, "stolen on the train") })
	b.Await(`document.body.innerText.includes("An administrator locked this device. Backups go on; nothing is shown or restored here.")`)
	b.Follow(`a[href$="/folders"]`)
	refusedBy(t, b, 423)
	inEach(b, func(lang locale.Lang) {
		refusedBy(t, b, 423)
		look(t, b, lang, "window-locked")
	})
	refusedBy(t, b, 423)
	b.Go(home)
	write(t, s, func(tx *db.Tx) error { return devices.Delete(t.Context(), tx, by, id, "sold by auction") })
	b.Await(`document.body.innerText.includes("This device was removed by an administrator.")`)
	want(t, b, "removed", "Nothing is backed up here any more.")
	if page := b.Text(); strings.Contains(page, "Backups go on") || strings.Contains(page, "It backs up") {
		t.Errorf("a device that was removed is said to back up:\n%s", page)
	}
	if n := count(b, ".window-tabs a, form[action$=backup]"); n != 0 {
		t.Errorf("%d things can still be done with a device that was removed", n)
	}
	lookWindow(t, b, "window-removed")
}

// oldLaptop is another computer of the user's, as far as the server knows, with
// a backup of a folder that is gone since and of one of its system.
func oldLaptop(t *testing.T, s *servertest.Server) (documents string) {
	t.Helper()
	documents = filepath.Join(t.TempDir(), "Documents")
	if err := os.MkdirAll(documents, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(documents, "letter.txt"), []byte("Dear Ada"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s)
	c.activate("OLD-LAPTOP")
	c.run("backup", documents, "/etc/skel")
	if err := os.RemoveAll(documents); err != nil {
		t.Fatal(err)
	}
	write(t, s, func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE devices SET machine_id = $1, hostname = $2 WHERE name = $3", "4c4c4544-0042-3510", "old-laptop", "OLD-LAPTOP")
		return err
	})
	return documents
}

// D-06: where an administrator put this computer in the place of another one, the
// window offers what that one backed up last, and the user has it brought back.
func TestWindowBringsFilesBack(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	old := newClient(t, s)
	root := old.backedUp()
	heir := newClient(t, s)
	key := filepath.Join(t.TempDir(), "heir.key")
	id := deviceNamed(t, s, "ATELIER-07")
	write(t, s, func(tx *db.Tx) error {
		text, _, err := devices.IssueKey(t.Context(), tx, access.System("test"), s.Keys, s.URL, s.User.ID, devices.Succeed, id)
		if err != nil {
			return err
		}
		return os.WriteFile(key, []byte(text+"\n"), 0o600)
	})
	args := []string{"activate", "--server", s.URL, "--ca-fingerprint", s.Fingerprint, "--key-file", key, "--name", "HEIR"}
	if os.Geteuid() == 0 {
		args = append(args, "--system-device")
	}
	heir.run(args...)
	own := filepath.Join(t.TempDir(), "own")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "letter"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	heir.run("backup", own)
	if err := os.RemoveAll(root); err != nil { // the new computer never had it
		t.Fatal(err)
	}

	b := webtest.Open(t)
	w := heir.window()
	b.Enter(w.link)
	becomes(t, b, "the offer", "This computer has taken the place of ATELIER-07.")
	shots(b, "window-offered")
	b.Follow(`a[href$="/restore/beside"]`)
	want(t, b, "who asks", "user")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
	want(t, b, "what comes back", "Bring the files of ATELIER-07 back", "Nothing is overwritten")
	lookWindow(t, b, "window-beside")
	b.Follow("#submit")
	want(t, b, "begun", "The files of ATELIER-07 come back in the background.")
	within(t, "the files", func() bool { return strings.Contains(heir.run("status"), "The files of ATELIER-07 are back") })
	if got, err := os.ReadFile(filepath.Join(root, "notes.txt")); err != nil || string(got) != "Buy milk.\n" {
		t.Errorf("notes.txt came back as %q, %v", got, err)
	}
	b.Go(b.URL())
	if strings.Contains(b.Text(), "can come back here") {
		t.Error("what is back is offered again")
	}
	b.Problems()
}
