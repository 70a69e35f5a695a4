package hooks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

var quiet = slog.New(slog.DiscardHandler)

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

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lay lays a script into the folder, and is the hook by which the administrator
// approves it.
func lay(t *testing.T, dir, name, script string) profile.Hook {
	t.Helper()
	text := "#!/bin/sh\n" + script + "\n"
	write(t, filepath.Join(dir, name), text)
	return profile.Hook{When: profile.Before, Name: name, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := place(t)
	out := filepath.Join(dir, "out")
	first := lay(t, dir, "first", "echo first $BACKSTAY_HOOK >>"+out)
	fails := lay(t, dir, "fails", "echo talks; exit 3")
	fails.Optional = true
	second := lay(t, dir, "second", "echo second >>"+out)
	last := lay(t, dir, "last", "echo $BACKSTAY_HOOK $BACKSTAY_RESULT $BACKSTAY_CODE $LEAK >>"+out)
	absent := profile.Hook{When: profile.After, Name: "absent", SHA256: first.SHA256}
	program := profile.Hook{When: profile.Before, Name: "program"} // no script, and nothing reads it but the system
	content, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, program.Name), string(content))
	program.SHA256 = fmt.Sprintf("%x", sha256.Sum256(content))

	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	h := Hooks{Folder: dir, Before: []profile.Hook{first, fails, program, second}, After: []profile.Hook{absent, last}}
	remarks, err := h.RunBefore(t.Context(), Backup{}, log)
	if err != nil || len(remarks) != 1 || remarks[0].Path != filepath.Join(dir, "fails") || remarks[0].Why.Key != "hooks.failed" {
		t.Errorf("RunBefore = %+v, %v", remarks, err)
	}
	h.After[1].When = profile.After
	remarks = h.RunAfter(t.Context(), Backup{Result: "failed", Code: "E1001"}, log)
	if len(remarks) != 1 || remarks[0].Why.Key != "hooks.missing" {
		t.Errorf("RunAfter = %+v", remarks)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "first before\nsecond\nafter failed E1001\n"; string(got) != want {
		t.Errorf("ran %q, want %q", got, want)
	}
	if !strings.Contains(b.String(), "said=talks") {
		t.Errorf("logged %s", b.String())
	}
}

func TestFailureStops(t *testing.T) {
	t.Parallel()
	dir := place(t)
	h := Hooks{Folder: dir, Before: []profile.Hook{lay(t, dir, "a", "echo no room >&2; exit 3"), lay(t, dir, "b", "touch "+dir+"/ran")}}
	_, err := h.RunBefore(t.Context(), Backup{}, quiet)
	if e := errs.Find(err); e == nil || e.Key != "hooks.failed" || !strings.Contains(err.Error(), "exit status 3: no room") {
		t.Errorf("RunBefore = %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("the next script ran")
	}
}

// goesOn fails the test if a program of these arguments runs.
func goesOn(t *testing.T, args string) {
	t.Helper()
	left, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range left {
		if data, _ := os.ReadFile(path); string(data) == args {
			t.Errorf("%s goes on", path)
		}
	}
}

// What takes too long ends, and so does what it started.
func TestTimeout(t *testing.T) {
	t.Parallel()
	dir := place(t)
	long := lay(t, dir, "long", "sleep 4322 & sleep 4322")
	long.Minutes = 2
	_, err := Hooks{Folder: dir, Before: []profile.Hook{long}, minute: 100 * time.Millisecond}.RunBefore(t.Context(), Backup{}, quiet)
	if err == nil || !strings.Contains(err.Error(), "longer than 200ms") {
		t.Errorf("RunBefore = %v", err)
	}
	goesOn(t, "sleep\x004322\x00")
}

// What is stopped ends, and so does what it started.
func TestStopped(t *testing.T) {
	t.Parallel()
	dir := place(t)
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h := Hooks{Folder: dir, Before: []profile.Hook{lay(t, dir, "long", "sleep 4321 & echo begun >"+fifo+"; sleep 4321")}}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	go func() {
		os.ReadFile(fifo)
		cancel(stopped)
	}()
	if _, err := h.RunBefore(ctx, Backup{}, quiet); err != stopped {
		t.Errorf("RunBefore of what was stopped = %v", err)
	}
	goesOn(t, "sleep\x004321\x00")
}

// Nothing is run but what the administrator approved, and only where nobody but
// root could have put it (G-09).
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key   string
		spoil func(dir string, h *profile.Hook) error
	}{
		"not there": {"hooks.missing", func(dir string, h *profile.Hook) error { return os.Remove(filepath.Join(dir, h.Name)) }},
		"changed after it was approved": {"hooks.changed", func(dir string, h *profile.Hook) error {
			f, err := os.OpenFile(filepath.Join(dir, h.Name), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("# one line more\n")
			return errors.Join(err, f.Close())
		}},
		"never approved": {"hooks.changed", func(_ string, h *profile.Hook) error {
			h.SHA256 = strings.Repeat("0", 64)
			return nil
		}},
		"no hash at all": {"hooks.invalid", func(_ string, h *profile.Hook) error {
			h.SHA256 = ""
			return nil
		}},
		"another place": {"hooks.invalid", func(dir string, h *profile.Hook) error {
			h.Name = "../" + filepath.Base(dir) + "/" + h.Name
			return nil
		}},
		"another's file":           {"hooks.foreign", func(dir string, h *profile.Hook) error { return os.Chown(filepath.Join(dir, h.Name), 12345, -1) }},
		"a file all can write":     {"hooks.foreign", func(dir string, h *profile.Hook) error { return os.Chmod(filepath.Join(dir, h.Name), 0o666) }},
		"a file a group can write": {"hooks.foreign", func(dir string, h *profile.Hook) error { return os.Chmod(filepath.Join(dir, h.Name), 0o664) }},
		"another's folder":         {"hooks.foreign", func(dir string, _ *profile.Hook) error { return os.Chown(dir, 12345, -1) }},
		"a folder all can write":   {"hooks.foreign", func(dir string, _ *profile.Hook) error { return os.Chmod(dir, 0o1777) }},
		"a link, though to the same": {"hooks.foreign", func(dir string, h *profile.Hook) error {
			path := filepath.Join(dir, h.Name)
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		}},
		"a pipe": {"hooks.foreign", func(dir string, h *profile.Hook) error {
			path := filepath.Join(dir, h.Name)
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outer := place(t)
			dir, ran := filepath.Join(outer, "hooks"), filepath.Join(outer, "ran")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			h := lay(t, dir, "script", "touch "+ran)
			run := func() error {
				_, err := Hooks{Folder: dir, Before: []profile.Hook{h}}.RunBefore(t.Context(), Backup{}, quiet)
				return err
			}
			if err := errors.Join(run(), os.Remove(ran)); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(dir, &h); err != nil {
				t.Fatal(err)
			}
			if e := errs.Find(run()); e == nil || e.Key != c.key {
				t.Errorf("refused by %v, want %s", e, c.key)
			}
			if _, err := os.Stat(ran); err == nil {
				t.Error("it ran")
			}
		})
	}
}

// What runs is what was looked at, though the file is replaced in between, or
// written by somebody who opened it before it was root's.
func TestReplacedBetween(t *testing.T) {
	t.Parallel()
	dir := place(t)
	ran, evil := filepath.Join(dir, "ran"), "#!/bin/sh\necho another >>"+filepath.Join(dir, "ran")+"\n"
	h := lay(t, dir, "script", "echo approved >>"+ran)
	path := filepath.Join(dir, h.Name)
	kept, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	script, refused := approved(dir, h)
	if refused != nil {
		t.Fatal(refused)
	}
	defer script.Close()
	if _, err := kept.WriteAt([]byte(evil), 0); err != nil {
		t.Fatal(err)
	}
	write(t, path+".new", evil)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", script.Fd()), os.O_WRONLY, 0); err == nil {
		if _, err := io.WriteString(f, evil); err == nil {
			t.Error("the copy can be written")
		}
		f.Close()
	}
	if err := (Hooks{Folder: dir}).start(t.Context(), script, h, Backup{}, quiet); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(ran); string(got) != "approved\n" {
		t.Errorf("ran %q", got)
	}
}
