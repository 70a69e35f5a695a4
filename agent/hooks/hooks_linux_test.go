package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
)

// place is a folder that root alone can write, as no temporary one is.
func place(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("hooks are root's: run this test as root")
	}
	dir, err := os.MkdirTemp("/var/lib", "backstay-hooks-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := place(t)
	out := filepath.Join(dir, "out")
	script := write(t, filepath.Join(dir, "script"), "#!/bin/sh\necho \"$1 $BACKSTAY_HOOK $BACKSTAY_RESULT $BACKSTAY_CODE $LEAK\" >>"+out+"\necho talks\n")
	file := write(t, filepath.Join(dir, "hooks.toml"), fmt.Sprintf(`
[[before]]
command = [%[1]q, "first"]
timeout = "1m"
[[before]]
command = ["/bin/false"]
on_failure = "continue"
[[before]]
command = [%[1]q, "second"]
devices = "all"
[[after]]
command = ["/bin/false"]
[[after]]
command = [%[1]q, "last"]
`, script))
	h, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	if err := h.RunBefore(context.Background(), Backup{System: true}, log); err != nil {
		t.Errorf("RunBefore = %v", err)
	}
	h.RunAfter(context.Background(), Backup{System: true, Result: "failed", Code: "E1001"}, log)
	if err := h.RunBefore(context.Background(), Backup{}, log); err != nil {
		t.Errorf("RunBefore of a user's = %v", err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "first before   \nsecond before   \nlast after failed E1001 \nsecond before   \n"; string(got) != want {
		t.Errorf("ran %q, want %q", got, want)
	}
	if !strings.Contains(b.String(), "said=talks") || !strings.Contains(b.String(), "command after the backup failed") {
		t.Errorf("logged %s", b.String())
	}
}

func TestFailureStops(t *testing.T) {
	t.Parallel()
	h := Hooks{Before: []Hook{{Command: []string{"/bin/sh", "-c", "echo no room >&2; exit 3"}}, {Command: []string{"/bin/true"}}}}
	err := h.RunBefore(context.Background(), Backup{System: true}, slog.New(slog.DiscardHandler))
	if e := errs.Find(err); e == nil || e.Key != "hooks.failed" || !strings.Contains(err.Error(), "exit status 3: no room") {
		t.Errorf("RunBefore = %v", err)
	}
}

// What takes too long ends, and so does what it started.
func TestTimeout(t *testing.T) {
	t.Parallel()
	h := Hooks{Before: []Hook{{Command: []string{"/bin/sh", "-c", "sleep 4321 & sleep 4321"}, Timeout: 200 * time.Millisecond}}}
	began := time.Now()
	err := h.RunBefore(context.Background(), Backup{System: true}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "longer than 200ms") || time.Since(began) > 4*time.Second {
		t.Errorf("RunBefore = %v after %v", err, time.Since(began))
	}
	if left, _ := filepath.Glob("/proc/[0-9]*/cmdline"); len(left) > 0 {
		for _, path := range left {
			if data, _ := os.ReadFile(path); string(data) == "sleep\x004321\x00" {
				t.Errorf("%s goes on", path)
			}
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := h.RunBefore(ctx, Backup{System: true}, slog.New(slog.DiscardHandler)); err != stopped {
		t.Errorf("RunBefore of what was stopped = %v", err)
	}
}

// Nothing is run that anybody but root could have put there (G-09).
func TestForeign(t *testing.T) {
	t.Parallel()
	dir := place(t)
	inner := filepath.Join(dir, "inner")
	spoilers := map[string]func(file string) error{
		"another's file":           func(f string) error { return os.Chown(f, 12345, -1) },
		"a file all can write":     func(f string) error { return os.Chmod(f, 0o777) },
		"a file a group can write": func(f string) error { return os.Chmod(f, 0o775) },
		"another's folder":         func(string) error { return os.Chown(inner, 12345, -1) },
		"a folder all can write":   func(string) error { return os.Chmod(inner, 0o1777) },
		"a link to a foreign file": func(f string) error {
			foreign := filepath.Join(dir, "foreign")
			return errors.Join(os.Rename(f, foreign), os.Chown(foreign, 12345, -1), os.Symlink(foreign, f))
		},
		"another's link": func(f string) error {
			return errors.Join(os.Rename(f, filepath.Join(dir, "own")), os.Symlink(filepath.Join(dir, "own"), f), os.Lchown(f, 12345, -1))
		},
	}
	for name, spoil := range spoilers {
		for _, what := range []string{"hooks.toml", "program"} {
			os.RemoveAll(inner)
			os.Remove(filepath.Join(dir, "ran"))
			if err := os.Mkdir(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			program := write(t, filepath.Join(inner, "program"), "#!/bin/sh\ntouch "+dir+"/ran\n")
			file := write(t, filepath.Join(inner, "hooks.toml"), fmt.Sprintf("[[before]]\ncommand = [%q]\n", program))
			if what == "program" {
				if err := os.Rename(file, filepath.Join(dir, "hooks.toml")); err != nil {
					t.Fatal(err)
				}
				file = filepath.Join(dir, "hooks.toml")
			}
			run := func() error {
				h, err := Read(file)
				if err != nil {
					return err
				}
				return h.RunBefore(context.Background(), Backup{System: true}, slog.New(slog.DiscardHandler))
			}
			if err := run(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			os.Remove(filepath.Join(dir, "ran"))
			if err := spoil(filepath.Join(inner, what)); err != nil {
				t.Fatal(err)
			}
			err := run()
			if _, ran := os.Stat(filepath.Join(dir, "ran")); err == nil || ran == nil {
				t.Errorf("%s as %s: err %v, ran is %v", name, what, err, ran == nil)
			}
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	dir := place(t)
	for _, text := range []string{
		"[[before]]\ncommand = [\"true\"]", "[[before]]\n", "[[before]]\ncommand = \"/bin/true\"", "[[during]]\ncommand = [\"/bin/true\"]",
		"[[after]]\ncommand = [\"/bin/true\"]\ntimeout = \"25h\"", "[[after]]\ncommand = [\"/bin/true\"]\non_failure = \"ignore\"",
		"[[after]]\ncommand = [\"/bin/true\"]\ndevices = \"mine\"",
	} {
		_, err := Read(write(t, filepath.Join(dir, "hooks.toml"), text))
		if e := errs.Find(err); e == nil || e.Key != "hooks.invalid" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if h, err := Read(filepath.Join(dir, "none")); err != nil || len(h.Before) > 0 {
		t.Errorf("no file: %v", err)
	}
}
