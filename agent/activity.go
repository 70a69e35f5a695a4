package agent

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/wire"
)

// noteBackup lists a run among what was done.
func (a *Agent) noteBackup(run state.Run, result *control.Result) {
	x := state.Activity{Run: run, Kind: state.ActivityBackup}
	if result != nil {
		for _, h := range result.Hooks {
			x.Problems = append(x.Problems, state.Fault{Path: []byte(h.Path), Note: h.Note})
		}
		for _, p := range result.Problems {
			x.Problems = append(x.Problems, state.Fault{Path: p.Path, Reason: p.Reason})
		}
	}
	if err := a.state.AddActivity(x); err != nil {
		a.cfg.Log.Error("what was done cannot be listed", "err", err)
	}
}

// RestoreDone is a restore that ended, for the list of what was done. target is
// where it went, "" for where things were; failed is what ended it early, the end
// of ctx perhaps.
func RestoreDone(ctx context.Context, snapshot, target string, began, ended time.Time, r *restore.Result, failed error) state.Activity {
	x := state.Activity{Kind: state.ActivityRestore, Target: []byte(target), Failed: r.Progress.Failed, Renamed: r.RenamedCount,
		Run: state.Run{State: state.RunDone, Started: began, Ended: ended, Snapshot: snapshot, Files: r.Files, Bytes: r.Bytes}}
	switch {
	case failed != nil && ctx.Err() != nil:
		x.State = state.RunCancelled
	case failed != nil:
		x.State, x.Error, x.Note = state.RunFailed, failed.Error(), errs.NoteOf(failed)
	}
	for _, p := range r.Failed {
		x.Problems = append(x.Problems, faultOf(p))
	}
	return x
}

func faultOf(p restore.Problem) state.Fault {
	f := state.Fault{Path: []byte(p.Path), Note: errs.NoteOf(p.Err), Reason: p.Err.Error()}
	if reason, ok := f.Args["reason"].(string); ok {
		f.Reason = reason
	}
	return f
}

// noteBack lists the restore of what this computer's predecessor had, which has
// ended.
func (a *Agent) noteBack(r *state.Restore) {
	p := RestoreProgress(r)
	x := state.Activity{Kind: state.ActivityRestore, Failed: p.Errors,
		Run: state.Run{State: state.RunDone, Note: r.Note, Started: r.Began, Ended: r.Ended, Snapshot: r.Short(),
			Files: p.Files, Bytes: p.Bytes}}
	switch r.State {
	case wire.RestoreCancelled:
		x.State = state.RunCancelled
	case wire.RestoreFailed:
		x.State, x.Ended = state.RunFailed, a.now()
	}
	err := ReadReport(a.state, func(line Reported) error {
		if line.Kind == ReportFailed && line.Failure != nil {
			x.Problems = append(x.Problems, faultOf(restore.Problem{Path: string(line.Path), Err: line.Failure.Err()}))
		}
		return nil
	})
	if err := errors.Join(err, a.state.AddActivity(x)); err != nil {
		a.cfg.Log.Error("what was done cannot be listed", "err", err)
	}
}

// ActivitySentence is how something that was done went, and what to do about it
// if there is anything.
func ActivitySentence(say *locale.Printer, a state.Activity) (text, advice string, tone Tone) {
	why := a.Run.Failure()
	switch {
	case a.State == state.RunCancelled && why != nil:
		return say.T("activity."+a.Kind+".cancelled.why", "why", say.Error(why)), "", Warn
	case a.State == state.RunCancelled:
		return say.T("activity." + a.Kind + ".cancelled"), "", Warn
	case a.Waiting > 0:
		return say.N("activity.backup.waiting", a.Waiting), adviceOn(say, why), Bad
	case a.State == state.RunFailed && why != nil:
		return say.T("activity."+a.Kind+".failed", "why", say.Error(why)), adviceOn(say, why), Bad
	case a.State == state.RunFailed:
		return say.T("activity." + a.Kind + ".failed.unknown"), say.T("notice.do.ask"), Bad
	case a.Failed > 0:
		return say.N("activity.restore.partly", a.Failed), "", Warn
	case a.Unreadable > 0:
		return say.N("activity.backup.partly", a.Unreadable), "", Warn
	case slices.ContainsFunc(a.Problems, OfHook):
		return say.T("activity.backup.hooks"), "", Warn
	}
	return say.T("activity." + a.Kind + ".done"), "", Good
}

// adviceOn is what helps against a failure, "" for none.
func adviceOn(say *locale.Printer, e *errs.Error) string {
	if e == nil {
		return ""
	}
	if reason, ok := e.Args["reason"].(string); ok && e.Key == "restore.failed" {
		return say.T("activity.fault." + faultClass(state.Fault{Reason: reason}))
	}
	if advice := wire.Advice(say, e); advice != "" {
		return advice
	}
	if e.Code == errs.CannotConnect {
		return "" // its own sentence says what to look at
	}
	return say.T(whatToDo(e))
}

// OfHook reports whether a fault is a script around a backup.
func OfHook(f state.Fault) bool { return strings.HasPrefix(f.Key, "hooks.") }

// FaultSentence is what was wrong with a file, and what to do about it.
func FaultSentence(say *locale.Printer, f state.Fault) string {
	if OfHook(f) {
		return say.Error(f.Failure())
	}
	class := faultClass(f)
	text := say.T("activity.fault." + class)
	if class != "other" {
		return text
	}
	return say.T("activity.fault.why", "reason", f.Reason) + " " + text
}

// faultClass tells apart what different things help against.
func faultClass(f state.Fault) string {
	says := func(list ...error) bool {
		for _, err := range list {
			if strings.Contains(f.Reason, err.Error()) {
				return true
			}
		}
		return false
	}
	switch {
	case f.Code == errs.Mismatch:
		return "damaged"
	case f.Code == errs.LocalDiskFull:
		return "full"
	case says(syscall.EACCES, syscall.EPERM, fs.ErrPermission):
		return "denied"
	case says(syscall.EIO):
		return "disk"
	case says(syscall.EBUSY, syscall.ETXTBSY, syscall.EAGAIN):
		return "busy"
	case says(syscall.EROFS):
		return "readonly"
	case says(syscall.ENAMETOOLONG):
		return "name"
	case says(syscall.ENOTDIR):
		return "place"
	}
	return "other"
}
