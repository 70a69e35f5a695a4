package browser_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/web/webtest"
)

// window is a running "backstay ui".
type window struct {
	link string
	cmd  *exec.Cmd
}

// window opens the window of the client's computer, with more of an
// environment if there is any.
func (c *client) window(env ...string) *window {
	c.t.Helper()
	args := []string{"ui", "--state", c.state}
	if os.Geteuid() == 0 {
		args = append(args, "--system-device")
	}
	cmd := exec.Command(c.bin, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "DISPLAY=", "WAYLAND_DISPLAY=", "HOME="+filepath.Dir(c.state),
		"BACKSTAY_SERVICE="+c.t.TempDir(), "BACKSTAY_EDITIONS="+filepath.Join(c.t.TempDir(), "none")), env...)
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	w := &window{cmd: cmd}
	c.t.Cleanup(func() {
		w.close()
		if c.t.Failed() && said.Len() > 0 {
			c.t.Logf("backstay ui says:\n%s", said)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			w.link = lines.Text()
			go io.Copy(io.Discard, out)
			return w
		}
	}
	c.t.Fatal("backstay ui prints no link")
	return nil
}

// close ends the window as a computer that is switched off would.
func (w *window) close() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

// The first log-in of S0: server, name, the way there ticked off, password,
// Ready for Backup.
func TestWindowActivates(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	c := newClient(t, s)
	b := webtest.Open(t)
	w := c.window()
	b.Go(w.link)
	b.Arrive("/activate")
	want(t, b, "first step", "Activate Backup", "Server’s address", "E-mail or username", "Continue")
	b.Click("summary")
	b.Fill("#f-server", s.URL)
	b.Fill("#f-fingerprint", s.Fingerprint)
	b.Fill("#f-user", "user")
	b.Shot(pictures, "window-activate")
	b.Click("#submit")
	b.Arrive("/password")
	want(t, b, "password", "Password", "Log in", "user")
	b.Type("wrong password")
	b.Submit("\r")
	want(t, b, "wrong password", "Authentication failed", "E1101")
	b.Problems()
	b.Shot(pictures, "window-password-wrong")
	b.Type(servertest.UserPassword)
	b.Submit("\r")
	b.Arrive("/ready")
	want(t, b, "the end", "Ready for Backup", "Start using Backstay")
	b.Shot(pictures, "window-ready")
	b.Follow("#submit")
	want(t, b, "home", "Username", "user")
	b.Shot(pictures, "window-home")
}
