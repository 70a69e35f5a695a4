package authattack_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/servertest"
)

// client is the folder with the client: BACKSTAY_BIN when it is set, else one
// that it is built into.
func client(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("BACKSTAY_BIN"); bin != "" {
		return filepath.Join(bin, "backstay")
	}
	path := filepath.Join(t.TempDir(), "backstay")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/backstay")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the client: %v\n%s", err, out)
	}
	return path
}

// The address of a file opens nothing for anybody but its owner, and for them
// only while they are logged in and may.
func downloads(t testing.TB) {
	w := newWorld(t)
	w.account(accounts.New{Kind: access.UserKind, Username: "other"})
	dir := t.TempDir()
	for name, text := range map[string]string{"password": servertest.UserPassword + "\n", "files/secret.txt": "the secret\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := client(t)
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(program, append(args, "--state", filepath.Join(dir, "state"))...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("backstay %v: %v\n%s", args, err, out)
		}
	}
	args := []string{"activate", "--server", w.URL, "--ca-fingerprint", w.Fingerprint, "--user", "user", "--password-file", filepath.Join(dir, "password"), "--name", "laptop"}
	if os.Geteuid() == 0 {
		args = append(args, "--system-device")
	}
	run(args...)
	run("backup", filepath.Join(dir, "files"))

	b := w.browser().login("user")
	device := regexp.MustCompile(`/devices/[0-9a-f-]{36}`).FindString(b.get("/").body)
	snapshot := regexp.MustCompile(regexp.QuoteMeta(device) + `/[0-9a-f]{16}`).FindString(b.get(device).body)
	address := snapshot + "/file?path=" + url.QueryEscape(filepath.Join(dir, "files", "secret.txt"))
	a := b.get(address)
	if a.StatusCode != http.StatusOK || a.body != "the secret\n" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") ||
		!strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "sandbox") || a.Header.Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("the owner's download = %s %v", a.Status, a.Header)
	}
	checkHeaders(t, a)
	closed := func(what string, b *browser) {
		t.Helper()
		for _, a := range []answer{b.get(address), b.get(snapshot), b.post(snapshot+"/zip", "e", "/")} {
			if a.StatusCode == http.StatusOK || strings.Contains(a.body, "the secret") {
				t.Errorf("%s: %s %s = %s", what, a.Request.Method, a.Request.URL.Path, a.Status)
			}
		}
	}
	closed("nobody", w.browser())
	closed("another user", w.browser().login("other"))
	admins := w.console().login("admin")
	admins.base = ""
	closed("an administrator", admins)
	old := w.browser()
	old.setSession(b.session())
	b.post("/logout")
	closed("after the log-out", old)
	b.login("user")
	allow := func(on bool) {
		t.Helper()
		w.write(func(ctx context.Context, tx *db.Tx) error {
			p, err := profiles.Default(ctx, tx, w.Org.ID)
			if err != nil {
				return err
			}
			p.Settings.WebRestore, p.Settings.Sharing = on, true
			_, err = profiles.Save(ctx, tx, system, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
			return err
		})
	}
	allow(false)
	closed("after the profile forbade it", b)
	allow(true)
	if a := b.get(address); a.StatusCode != http.StatusOK {
		t.Errorf("allowed again = %s", a.Status)
	}
	w.write(func(ctx context.Context, tx *db.Tx) error { return accounts.Disable(ctx, tx, system, w.User.ID, "") })
	closed("after the account was disabled", b)
}
