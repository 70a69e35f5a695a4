package browser_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/e2e/programtest"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/servertest"
)

// bin is the folder of the client.
var bin string

func TestMain(m *testing.M) { os.Exit(programtest.Main(m, &bin, "backstay")) }

// hostile is a name that would be a script if anybody let it.
const hostile = `"><svg onload=document.title='pwned'>` + "\u202egnp.exe"

// client runs the real client for a user of the server.
type client struct {
	t     *testing.T
	s     *servertest.Server
	bin   string
	state string
}

func newClient(t *testing.T, s *servertest.Server) *client {
	t.Helper()
	return &client{t: t, s: s, bin: filepath.Join(bin, "backstay"), state: filepath.Join(t.TempDir(), "state")}
}

func (c *client) run(args ...string) string {
	c.t.Helper()
	cmd := exec.Command(c.bin, append(args, "--state", c.state)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("backstay %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// backedUp makes this computer the device ATELIER-07 of the server's user and backs
// a folder up, which it returns.
func (c *client) backedUp() string {
	c.t.Helper()
	root := tree(c.t)
	c.activate("ATELIER-07")
	c.run("backup", root)
	return root
}

// activate makes this computer a device of the server's user.
func (c *client) activate(name string) {
	c.t.Helper()
	password := filepath.Join(c.t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(servertest.UserPassword+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	args := []string{"activate", "--server", c.s.URL, "--ca-fingerprint", c.s.Fingerprint, "--user", c.s.User.Username,
		"--password-file", password, "--name", name}
	if os.Geteuid() == 0 {
		args = append(args, "--system-device")
	}
	c.run(args...)
}

// tree makes a folder worth looking at.
func tree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "marie")
	for path, content := range map[string]string{
		"Documents/Report 2026.pdf":  strings.Repeat("report ", 40_000),
		"Documents/été à la mer.odt": "mer",
		"Documents/" + safe(hostile): "boo",
		"Pictures/2026/beach.jpg":    strings.Repeat("sand", 300_000),
		"Pictures/2026/readme.txt":   "Photos of the beach.\n",
		"notes.txt":                  "Buy milk.\n",
		"bad\xffname.bin":            "raw",
		"Many/placeholder":           "",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 600 {
		if err := os.WriteFile(filepath.Join(root, "Many", fmt.Sprintf("file %04d.txt", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../notes.txt", filepath.Join(root, "Documents", "link to notes")); err != nil {
		t.Fatal(err)
	}
	return root
}

func safe(name string) string { return strings.ReplaceAll(name, "/", "∕") }

// setPortal switches what the profile lets users do in the browser, behind the
// pages.
func setPortal(t *testing.T, s *servertest.Server, restore, sharing bool) {
	t.Helper()
	changeProfile(t, s, func(p *profile.Settings) { p.WebRestore, p.Sharing = restore, sharing })
}

// changeProfile changes the profile that everybody has.
func changeProfile(t *testing.T, s *servertest.Server, change func(*profile.Settings)) {
	t.Helper()
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		p, err := profiles.Default(t.Context(), tx, s.Org.ID)
		if err != nil {
			return err
		}
		change(&p.Settings)
		_, err = profiles.Save(t.Context(), tx, access.System("test"), p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
