package browser_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// shots takes a page wide and narrow, light and dark.
func shots(b *webtest.Browser, name string) {
	b.Shot(pictures, name)
	b.Size(480, 900)
	b.Dark(true)
	b.Shot(pictures, name+"-narrow-dark")
	b.Size(1400, 900)
	b.Dark(false)
}

// becomes waits until the page says something, drawing itself anew.
func becomes(t *testing.T, b *webtest.Browser, what, text string) {
	t.Helper()
	for range 300 {
		if strings.Contains(b.Text(), text) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s: the page never says %q:\n%s", what, text, b.Text())
}

// The home of the client: protected, folders, settings, a pause.
func TestWindowHome(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	home := filepath.Dir(c.state)
	for _, dir := range []string{"Documents", "Music", "Pictures/2026"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, dir, "file"), make([]byte, 1_500_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noise := make([]byte, 8_000_000) // ten minutes of a restore
	rand.NewChaCha8([32]byte{}).Read(noise)
	if err := os.WriteFile(filepath.Join(home, "Pictures", "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	changeProfile(t, s, func(p *profile.Settings) {
		p.Folders = []profile.Folder{{Path: "~/Documents", Mandatory: true}, {Path: "~/Music"}}
		p.Bandwidth.UpKbps = 50_000
		p.QuotaBytes = 2_000_000_000
		p.Bandwidth.RestoreKbps = 100
		p.UserMay.CPU = false
		// The first backup waits until somebody asks for it: the page is looked at before.
		today := time.Now().Weekday()
		p.Schedule.Blackouts = []profile.Window{{Days: profile.Day(today) | profile.Day((today+1)%7), To: 24 * 60}}
	})
	c.activate("laptop")
	b := webtest.Open(t)
	b.Enter(c.window().link)
	becomes(t, b, "before the first backup", "Not protected. There has been no backup yet")
	b.Follow("form[action$='/backup'] button")
	becomes(t, b, "the first backup", "Protected. Last backup")
	want(t, b, "home", "Back up now", "Pause", "Folders", "Restore", "Activity", "Settings", "user")
	becomes(t, b, "what room there is", "of 2 GB")
	shots(b, "window-home")
	b.Follow(`a[href$="/activity"]`)
	want(t, b, "activity", "Backup", "Backed up.", "2 files", "3 MB", "sent")
	shots(b, "window-activity")

	b.Follow(`a[href$="/folders"]`)
	becomes(t, b, "the sizes", "1.5 MB")
	want(t, b, "folders", "Documents", "always backed up", "Music", "Set by your organisation")
	b.Follow(`a[href$="/folders/choose"]`)
	want(t, b, "the browser of folders", "Music", "Pictures", "Back up this folder")
	shots(b, "window-browse")
	b.Follow("a[href$='in=" + base64.RawURLEncoding.EncodeToString([]byte(filepath.Join(home, "Pictures"))) + "']")
	want(t, b, "a folder in it", "2026")
	b.Follow("form[action$='/folders/add'] button")
	want(t, b, "added", "Pictures", "Added by you", "from the next backup on")
	b.Follow("button[aria-label*='Music']")
	want(t, b, "taken off", "left out by you", "Back up again")
	shots(b, "window-folders")
	b.Fill("#f-path", "Nowhere")
	b.Follow("form.card button")
	want(t, b, "a folder that is not there", "There is no folder")

	b.Follow(`a[href$="/settings"]`)
	want(t, b, "settings", "Backup interval", "every 4 h", "Your organisation decides this", "Never over these networks")
	lookWindow(t, b, "window-settings")
	webtest.Eval[bool](b, `document.querySelector('[name=interval]').value = '2h0m0s', document.querySelector('[name=hours]').value = 'own', true`)
	b.Fill("[name=bandwidth]", "60000")
	b.Follow("#submit")
	want(t, b, "too fast", "limit is 50,000 kbit/s")
	refusedBy(t, b, 400)
	b.Fill("[name=bandwidth]", "2000")
	webtest.Eval[bool](b, `document.querySelector('[name=interval]').value = '2h0m0s', document.querySelector('[name=hours]').value = 'own', true`)
	b.Follow("#submit")
	want(t, b, "saved", "It holds from now on", "every 2 h", "2,000 kbit/s", "20:00–06:00", "your choice")
	webtest.Eval[bool](b, `document.querySelector('[name=bandwidth_unit]').value = 'percent', true`)
	b.Fill("[name=bandwidth]", "30")
	b.Follow("#submit")
	want(t, b, "a part of the line", "50,000 kbit/s, and 30 % of the line at most (your choice)")
	lookWindow(t, b, "window-settings-saved")

	b.Follow(`a[href$="/"].nav-link`)
	b.Follow("form[action$='/pause'] button")
	want(t, b, "paused", "Backups are paused until", "Resume")
	shots(b, "window-paused")
	b.Follow("form[action$='/backup'] button")
	becomes(t, b, "a backup nevertheless", "Backups are paused until")
	b.Follow("form[action$='/resume'] button")
	becomes(t, b, "it goes on", "Protected. Last backup")
	b.Problems()
	bringsBack(t, b, home, withApp(t, s, s.User))
}

// bringsBack restores in the window: a file that was deleted and one that was
// changed, found by their name, to where they were; a folder to another place;
// and one that takes so long that its user cancels it. secret is that of the
// user's authenticator app.
func bringsBack(t *testing.T, b *webtest.Browser, home, secret string) {
	t.Helper()
	deleted, changed := filepath.Join(home, "Documents", "file"), filepath.Join(home, "Music", "file")
	if err := os.Remove(deleted); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, []byte("by mistake"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Follow(`a[href$="/restore"]`)
	within(t, "the second backup", func() bool {
		b.Go(b.URL())
		return webtest.Eval[int64](b, `document.querySelectorAll('.list-group a').length`) >= 2
	})
	want(t, b, "the snapshots", "Restore", "Choose the time before the loss", "2 files")
	lookWindow(t, b, "window-restore")
	b.Follow(`.list-group a:last-of-type`) // the first backup, of both folders
	want(t, b, "before the password", "Open your backups", "password of user")
	lookWindow(t, b, "window-unlock")
	b.Fill("#f-password", "wrong")
	b.Follow("#submit")
	want(t, b, "a wrong password", "E1101")
	refusedBy(t, b, 401)
	b.Fill("#f-password", servertest.UserPassword)
	b.Follow("#submit")
	want(t, b, "the second factor", "Six digits from your authenticator app")
	b.Type("000000")
	b.Follow("#submit")
	want(t, b, "a wrong code", "That code is not correct")
	refusedBy(t, b, 401)
	b.Shot(pictures, "window-unlock-code")
	b.Type(appCode(t, secret, 30*time.Second))
	b.Follow("#submit")
	want(t, b, "the folders", "All folders", "Documents", "Music")
	lookWindow(t, b, "window-snapshot")
	for _, token := range []string{"/etc/passwd", home + "/Documents/../../etc/passwd", "../secret"} {
		answer := webtest.Eval[string](b, fmt.Sprintf(`(x => (x.open('POST', location.pathname, false), x.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded'),
			x.send('e=%s'), x.responseURL + x.responseText))(new XMLHttpRequest())`, base64.RawURLEncoding.EncodeToString([]byte(token))))
		if strings.Contains(answer, "/restore/to") || !strings.Contains(answer, "No such snapshot or path.") {
			t.Errorf("%s, which is not in the snapshot, is answered by %s", token, answer)
		}
	}
	b.Fill("[type=search]", "FIL")
	b.Click("[type=search]")
	b.Submit("\r")
	want(t, b, "the search", "file", "~/Documents", "~/Music")
	b.Click("[data-all]")
	b.Await(`document.querySelector('[data-sums]').textContent.startsWith('2 selected')`)
	b.Shot(pictures, "window-found")
	b.Follow("[data-bar] button")
	want(t, b, "where to", "Where to?", "~/Documents", "~/Music", "Where it was", "Another folder", "Nothing is overwritten")
	lookWindow(t, b, "window-target")
	b.Follow("#submit")
	becomes(t, b, "the restore", "Restored.")
	want(t, b, "the restore", "2 files", "3 MB", "1 file was in the way", "Dismiss")
	lookWindow(t, b, "window-restored")
	for _, path := range []string{deleted, changed} {
		if info, err := os.Stat(path); err != nil || info.Size() != 1_500_000 {
			t.Errorf("%s is not as it was backed up: %v, %v", path, info, err)
		}
	}
	if aside, err := filepath.Glob(changed + "*(before restore*"); err != nil || len(aside) != 1 {
		t.Errorf("what was in the way of the restore is %v, %v, want one file with another name", aside, err)
	}
	b.Follow("form[action$='/dismiss'] button")

	b.Follow(`.list-group a:last-of-type`)
	b.Click("input[aria-label='Choose Documents']")
	b.Follow("[data-bar] button")
	b.Click("[value=folder]")
	b.Follow("a[href$='/restore/folder']")
	want(t, b, "the places", "Choose a folder", "Music", "Restore to this folder")
	b.Follow("a[href$='in=" + base64.RawURLEncoding.EncodeToString([]byte(filepath.Join(home, "Music"))) + "']")
	b.Follow("form[action$='/restore/folder'] button")
	want(t, b, "another folder", "Where to?")
	b.Follow("#submit")
	becomes(t, b, "the restore elsewhere", "Restored.")
	if info, err := os.Stat(filepath.Join(home, "Music", "Documents", "file")); err != nil || info.Size() != 1_500_000 {
		t.Errorf("the folder did not come to the other place: %v, %v", info, err)
	}

	b.Follow(`a[href$="/restore"]`)
	b.Follow(`.list-group a`) // the newest, with the folder that was added
	b.Click("input[aria-label='Choose Pictures']")
	b.Follow("[data-bar] button")
	b.Click("[value=folder]")
	b.Fill("[name=folder]", "~/Back")
	b.Follow("#submit")
	becomes(t, b, "the restore that runs", "of 2 files")
	lookWindow(t, b, "window-restoring")
	b.Follow("form[action$='/cancel'] button")
	want(t, b, "the cancelled restore", "The restore was stopped. What is back stays.", "Try again", "~/Back")
	if _, err := os.Stat(filepath.Join(home, "Back", "Pictures", "noise")); !os.IsNotExist(err) {
		t.Errorf("a file that was cancelled on its way is there: %v", err)
	}
	b.Follow(`a[href$="/activity"]`)
	want(t, b, "activity", "Restore", "The restore was stopped.", "Restored.", "~/Music", "1 file was in the way", "Backed up.")
	lookWindow(t, b, "window-activity")
	b.Problems()
}
