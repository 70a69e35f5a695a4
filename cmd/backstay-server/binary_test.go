//go:build linux || darwin

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/e2e/oracle"
)

// binaries are both programs, built once, side by side.
var binaries = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "backstay-binaries-"); err != nil {
		return "", err
	}
	built = dir
	out, err := exec.Command("go", "build", "-o", dir, ".", "../backstay").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return dir, nil
})

// built is the folder to remove once every test has ended: only binaries writes it.
var built string

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(status)
}

func serverBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds both programs")
	}
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "backstay-server")
}

// The main job, with both programs for real, on a tree that has everything.
func TestQuickstartForReal(t *testing.T) {
	t.Parallel()
	program := serverBinary(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	folder, data := filepath.Join(dir, "folder"), filepath.Join(dir, "data")
	if err := errors.Join(os.Mkdir(folder, 0o755), oracle.Torture(folder, 1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(folder) }) // a plain user has to unlock it first
	quickstart := func() string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "quickstart", "--exit", "--data", data, "--listen", "127.0.0.1:0", folder)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			log, _ := os.ReadFile(filepath.Join(data, "server.log"))
			t.Fatalf("quickstart: %v\n%s\nthe server's log:\n%s", err, out, log)
		}
		if !strings.Contains(string(out), "IDENTICAL") {
			t.Errorf("quickstart ended well and says\n%s", out)
		}
		return string(out)
	}
	quickstart()
	if err := os.WriteFile(filepath.Join(folder, "new"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := quickstart()
	added := regexp.MustCompile(`of which by this run\s+(\S+) (\S+)`).FindStringSubmatch(again)
	if added == nil || added[2] != "B" && added[2] != "kB" {
		t.Errorf("the second run stored %q more for one small file:\n%s", added, again)
	}
}

// serve answers until SIGTERM and then ends well.
func TestServeForReal(t *testing.T) {
	t.Parallel()
	program := serverBinary(t)
	data := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(t.Context(), program, "serve", "--data", data, "--listen", address)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if !regexp.MustCompile(`https://` + address + `\n.*[0-9a-f]{64}`).MatchString(out.String()) {
		t.Errorf("serve says %q, want its address and fingerprint", out.String())
	}
}
