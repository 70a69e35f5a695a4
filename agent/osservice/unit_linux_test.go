package osservice

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd takes the unit without a word, and finds it well closed.
func TestUnit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "backstay.service")
	program, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(unit, "/usr/bin/backstay", program, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// In tenths; what is left is what backing up several users' files needs.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=35", path).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// systemd hears that the service is there, and a service without systemd says
// nothing.
func TestTellReady(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := errors.Join(tellReady(""), tellReady(path)); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 64)
	if n, err := l.Read(said); err != nil || string(said[:n]) != "READY=1" {
		t.Errorf("systemd was told %q, %v", said[:n], err)
	}
	if err := tellReady(path + "-gone"); err == nil {
		t.Error("nobody heard it, and that is no error")
	}
}
