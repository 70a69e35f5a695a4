// Package hooks runs the administrator's scripts before and after backups: to
// dump a database, or to tell somebody. The profile names each with the SHA-256
// of its content; the file lies in one folder of this computer. Only bytes that
// have this SHA-256, of a file that root alone can write, are run: an agent may
// have the system's rights, and neither the server nor a user of this computer
// decides alone what is done with them.
package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

// Folder is where the scripts lie.
const Folder = "/etc/backstay/hooks"

const (
	grace      = 5 * time.Second // between being told to end and being ended
	keptOutput = 4 << 10
	maxScript  = 16 << 20
)

// Hooks are the scripts around one backup, in the order in which they run.
type Hooks struct {
	Folder        string
	Before, After []profile.Hook

	minute time.Duration // a real one when zero; tests have shorter ones
}

// Of are the scripts around the backups of a whole computer, or of a user.
//
// BUG(hooks): Windows and macOS have none: hooks are passed over there, as
// folders of another system are.
func Of(s profile.Settings, folder string, wholeComputer bool) Hooks {
	if runtime.GOOS != "linux" {
		return Hooks{}
	}
	return Hooks{Folder: folder, Before: s.HooksAt(profile.Before, wholeComputer), After: s.HooksAt(profile.After, wholeComputer)}
}

// Backup is what a script is told of the backup.
type Backup struct {
	Device   string // its name
	Result   string // done, failed or cancelled, afterwards
	Code     string // E1001..., when it failed and there is one
	Snapshot string // when one was made
}

// Remark is a script that was not run, or that failed, where the backup was made
// all the same.
type Remark struct {
	Path string
	Why  *errs.Error
}

// RunBefore runs the scripts that come before a backup, until one fails without
// which there should be no backup.
func (h Hooks) RunBefore(ctx context.Context, b Backup, log *slog.Logger) (remarks []Remark, err error) {
	for _, one := range h.Before {
		failed := h.run(ctx, one, b, log)
		if ctx.Err() != nil {
			return remarks, context.Cause(ctx)
		}
		if failed != nil && !one.Optional {
			return remarks, failed
		}
		remarks = h.remark(remarks, one, failed, log)
	}
	return remarks, nil
}

// RunAfter runs all scripts that come after a backup, however it went: it is made
// already, or is not.
func (h Hooks) RunAfter(ctx context.Context, b Backup, log *slog.Logger) (remarks []Remark) {
	for _, one := range h.After {
		remarks = h.remark(remarks, one, h.run(ctx, one, b, log), log)
	}
	return remarks
}

func (h Hooks) path(one profile.Hook) string { return filepath.Join(h.Folder, one.Name) }

func (h Hooks) remark(list []Remark, one profile.Hook, failed *errs.Error, log *slog.Logger) []Remark {
	if failed == nil {
		return list
	}
	log.Warn("a script around the backup did not do its work", "when", one.When, "script", h.path(one), "err", failed)
	return append(list, Remark{h.path(one), failed})
}

// run runs one script, if it is the one that the administrator approved.
func (h Hooks) run(ctx context.Context, one profile.Hook, b Backup, log *slog.Logger) *errs.Error {
	if err := one.Validate(); err != nil { // its name may lead elsewhere
		return errs.New(errs.Local, "hooks.invalid", "name", one.Name).Because(err)
	}
	script, err := approved(h.Folder, one)
	if err != nil {
		return err
	}
	defer script.Close()
	if err := h.start(ctx, script, one, b, log); err != nil {
		return errs.New(errs.Local, "hooks.failed", "path", h.path(one)).Because(err)
	}
	return nil
}

func (h Hooks) start(ctx context.Context, script *os.File, one profile.Hook, b Backup, log *slog.Logger) error {
	limit := time.Duration(cmp.Or(one.Minutes, profile.UsualHookMinutes)) * cmp.Or(h.minute, time.Minute)
	tooLong := fmt.Errorf("it takes longer than %v", limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, tooLong)
	defer cancel()
	var said tail
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3")
	cmd.Args, cmd.ExtraFiles = []string{one.Name}, []*os.File{script}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = "/", &said, &said, grace
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + os.Getenv("HOME"),
		"BACKSTAY_HOOK=" + string(one.When), "BACKSTAY_DEVICE=" + b.Device,
		"BACKSTAY_RESULT=" + b.Result, "BACKSTAY_CODE=" + b.Code, "BACKSTAY_SNAPSHOT=" + b.Snapshot,
	}
	end := asGroup(cmd)
	began := time.Now()
	err := cmd.Run()
	end()
	log.Info("a script was run", "when", one.When, "script", h.path(one), "took", time.Since(began), "said", said.String())
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
