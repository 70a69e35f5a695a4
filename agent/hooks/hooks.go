// Package hooks runs commands of this computer's administrator before and after
// backups: to dump a database, or to tell somebody. They come from one local
// file and never from the server. The file, each command and every folder on
// the way to them must belong to root and be writable by nobody else, or nothing
// is run: an agent may have the system's rights.
package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/backstay/backstay/errs"
)

// Path is the file.
const Path = "/etc/backstay/hooks.toml"

const (
	usualTimeout = 10 * time.Minute
	grace        = 5 * time.Second // between being told to end and being ended
	keptOutput   = 4 << 10
)

// Hooks are the commands, in the order in which they run.
type Hooks struct {
	Before []Hook `toml:"before"`
	After  []Hook `toml:"after"`
}

// Hook is one command.
type Hook struct {
	// Command is the full path of a program and its arguments; no shell reads it.
	Command []string `toml:"command"`
	// Timeout is how long it may take, 10 minutes when zero.
	Timeout time.Duration `toml:"timeout"`
	// OnFailure is "stop", which is what "" means: no backup without it. Or
	// "continue": the failure is logged.
	OnFailure string `toml:"on_failure"`
	// Devices is "system", which is what "" means: only around backups of the
	// whole computer. Or "all": also around those of users, with their rights.
	Devices string `toml:"devices"`
}

// Read reads the file and checks whose it is. No file is no hooks.
func Read(path string) (h Hooks, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	real, err := trusted(path)
	if err != nil {
		return h, errs.New(errs.Local, "hooks.foreign", "path", path).Because(err)
	}
	data, err := os.ReadFile(real)
	if err != nil {
		return h, fmt.Errorf("reading the hooks: %w", err)
	}
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&h)
	if err == nil && len(meta.Undecoded()) > 0 {
		err = fmt.Errorf("%s is not known", meta.Undecoded()[0])
	}
	if err == nil {
		err = h.check()
	}
	if err != nil {
		return Hooks{}, errs.New(errs.Local, "hooks.invalid", "path", path).Because(err)
	}
	return h, nil
}

func (h Hooks) check() error {
	for _, one := range append(append([]Hook{}, h.Before...), h.After...) {
		switch {
		case len(one.Command) == 0 || !filepath.IsAbs(one.Command[0]):
			return fmt.Errorf("command %q does not begin with the full path of a program", one.Command)
		case one.Timeout < 0 || one.Timeout > 24*time.Hour:
			return fmt.Errorf("timeout %v is not between 0 and 24 hours", one.Timeout)
		case one.OnFailure != "" && one.OnFailure != "stop" && one.OnFailure != "continue":
			return fmt.Errorf("on_failure %q is neither stop nor continue", one.OnFailure)
		case one.Devices != "" && one.Devices != "system" && one.Devices != "all":
			return fmt.Errorf("devices %q is neither system nor all", one.Devices)
		}
	}
	return nil
}

// Backup is what a hook is told of the backup.
type Backup struct {
	System   bool   // of the whole computer
	Device   string // its name
	Result   string // done, failed or cancelled, afterwards
	Code     string // E1001..., when it failed and there is one
	Snapshot string // when one was made
}

// Precede reports whether there are commands that come before a backup.
func (h Hooks) Precede(b Backup) bool {
	return slices.ContainsFunc(h.Before, func(one Hook) bool { return one.concerns(b) })
}

// RunBefore runs the commands that come before a backup, until one fails without
// which there should be no backup.
func (h Hooks) RunBefore(ctx context.Context, b Backup, log *slog.Logger) error {
	for _, one := range h.Before {
		if !one.concerns(b) {
			continue
		}
		err := one.run(ctx, "before", b, log)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if one.OnFailure != "continue" {
			return errs.New(errs.Local, "hooks.failed", "command", one.Command[0]).Because(err)
		}
		log.Warn("a command before the backup failed; the backup goes on", "command", one.Command[0], "err", err)
	}
	return nil
}

// RunAfter runs all commands that come after a backup, however it went. What
// fails is logged: the backup is made already, or is not.
func (h Hooks) RunAfter(ctx context.Context, b Backup, log *slog.Logger) {
	for _, one := range h.After {
		if !one.concerns(b) {
			continue
		}
		if err := one.run(ctx, "after", b, log); err != nil {
			log.Warn("a command after the backup failed", "command", one.Command[0], "err", err)
		}
	}
}

func (h Hook) concerns(b Backup) bool { return b.System || h.Devices == "all" }

func (h Hook) run(ctx context.Context, when string, b Backup, log *slog.Logger) error {
	program, err := trusted(h.Command[0])
	if err != nil {
		return fmt.Errorf("%s is not run: %w", h.Command[0], err)
	}
	limit := h.Timeout
	if limit == 0 {
		limit = usualTimeout
	}
	tooLong := fmt.Errorf("it takes longer than %v", limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, tooLong)
	defer cancel()
	var said tail
	cmd := exec.CommandContext(ctx, program)
	cmd.Args, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = h.Command, "/", &said, &said, grace
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + os.Getenv("HOME"),
		"BACKSTAY_HOOK=" + when, "BACKSTAY_DEVICE=" + b.Device,
		"BACKSTAY_RESULT=" + b.Result, "BACKSTAY_CODE=" + b.Code, "BACKSTAY_SNAPSHOT=" + b.Snapshot,
	}
	end := asGroup(cmd)
	began := time.Now()
	err = cmd.Run()
	end()
	log.Info("a command was run", "when", when, "command", h.Command[0], "took", time.Since(began), "said", said.String())
	if errors.Is(context.Cause(ctx), tooLong) {
		err = tooLong
	}
	if err != nil && said.String() != "" {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-keptOutput):]
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(strings.ToValidUTF8(string(t.b), "?")) }
