package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

// exitUnreadable is backstay's: done, but for files that could not be read.
const exitUnreadable = 3

// findClient is the backstay binary that lies beside this one.
func findClient() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for backstay: %w", err)
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	name := "backstay"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(filepath.Dir(self), name)
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return "", errs.New(errs.NotFound, "quickstart.client_missing", "path", path)
	}
	return path, nil
}

// activate makes this computer a device, the first time.
func (q *quickstart) activate(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(q.credentials.DeviceState, "device.json")); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Fprintln(q.out, q.say.T("quickstart.activate"))
	args := []string{"--server", q.url, "--ca-fingerprint", q.credentials.CAFingerprint, "--user", q.credentials.User}
	if q.system {
		args = append(args, "--system-device")
	}
	return q.withPassword(func(file string) error {
		return q.backstay(ctx, "activate", append(args, "--password-file", file)...)
	})
}

func (q *quickstart) backup(ctx context.Context) error {
	err := q.backstay(ctx, "backup", q.folder)
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() == exitUnreadable {
		return nil // backstay has listed them, and the comparison knows them too
	}
	return err
}

func (q *quickstart) restore(ctx context.Context, target string) error {
	return q.withPassword(func(file string) error {
		return q.backstay(ctx, "restore", "--password-file", file, "--target", target, q.folder)
	})
}

// withPassword lets f use a file with the user's password.
func (q *quickstart) withPassword(f func(file string) error) error {
	file := filepath.Join(q.data, ".password")
	if err := durable.WriteFile(file, []byte(q.credentials.UserPassword+"\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	return f(file)
}

// backstay runs the client as a process of its own, on our terminal.
func (q *quickstart) backstay(ctx context.Context, command string, args ...string) error {
	cmd := exec.CommandContext(ctx, q.client, append([]string{command, "--state", q.credentials.DeviceState}, args...)...)
	cmd.Stdout, cmd.Stderr = q.out, q.err
	cmd.Env = append(q.environ, "NO_PROXY="+q.host()+","+q.getenv("NO_PROXY"),
		"BACKSTAY_SERVICE="+q.data) // where none answers: this computer's keeps its real device, not this one
	// Ctrl-C reaches the client from the terminal as well, and a second one would
	// end it the hard way: it is passed on only when the client does not stop.
	cmd.Cancel = func() error {
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			if alive(cmd.Process) != nil {
				return os.ErrProcessDone
			}
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		// What went wrong the client has said.
		return errs.New(errs.Local, "quickstart.client_failed", "command", command, "status", failed.ExitCode()).Because(failed)
	}
	return err
}

// host is the server's name, which no proxy is asked for.
func (q *quickstart) host() string {
	u, err := url.Parse(q.url)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		return ip.String()
	}
	return u.Hostname()
}
