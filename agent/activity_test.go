package agent

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// What the list of what was done says, and what to do about it.
func TestActivitySentence(t *testing.T) {
	t.Parallel()
	backup := func(r state.Run) state.Activity { return state.Activity{Run: r, Kind: state.ActivityBackup} }
	for _, test := range []struct {
		name         string
		is           state.Activity
		text, advice string
		tone         Tone
	}{
		{"complete", backup(state.Run{State: state.RunDone}), "Backed up.", "", Good},
		{"files that cannot be read", backup(state.Run{State: state.RunDone, Unreadable: 2}), "2 files could not be read", "", Warn},
		{"no room for some", backup(state.Run{State: state.RunFailed, Waiting: 1, Note: errs.NoteOf(errs.Of(errs.QuotaUsedUp))}), "no room left for 1 file", "more space", Bad},
		{"no server", backup(state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.Of(errs.CannotConnect))}), "Check the internet connection or the proxy settings.", "", Bad},
		{"a wrong clock", backup(state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.Of(errs.ClockSkew))}), "The backup failed.", "Set the clock", Bad},
		{"nobody knows why", backup(state.Run{State: state.RunFailed, Error: "EOF"}), "a reason that is not known", "administrator", Bad},
		{"a pause", backup(state.Run{State: state.RunCancelled}), "The next one goes on where it was", "", Warn},
		{"a restore", state.Activity{Kind: state.ActivityRestore, Run: state.Run{State: state.RunDone}}, "Restored.", "", Good},
		{"a restore of some", state.Activity{Kind: state.ActivityRestore, Failed: 1, Run: state.Run{State: state.RunDone}}, "1 file could not be brought back", "", Warn},
		{"a full disk", state.Activity{Kind: state.ActivityRestore, Run: state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.Of(errs.LocalDiskFull))}}, "The restore ended early.", "Make room", Bad},
		{"a restore that was stopped", state.Activity{Kind: state.ActivityRestore, Run: state.Run{State: state.RunCancelled}}, "What is back stays", "", Warn},
	} {
		text, advice, tone := ActivitySentence(locale.For(locale.English), test.is)
		if !strings.Contains(text, test.text) || !strings.Contains(advice, test.advice) || advice != "" != (test.advice != "") || tone != test.tone {
			t.Errorf("%s: %q, %q, %s; want %q, %q, %s", test.name, text, advice, tone, test.text, test.advice, test.tone)
		}
	}
}

// Each file that something was wrong with says what helps.
func TestFaultClass(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want string
	}{
		{syscall.EACCES, "denied"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EPERM}, "denied"},
		{errs.New(errs.Local, "restore.failed", "reason", syscall.EACCES.Error()), "denied"},
		{syscall.EIO, "disk"},
		{syscall.ETXTBSY, "busy"},
		{syscall.EROFS, "readonly"},
		{syscall.ENAMETOOLONG, "name"},
		{syscall.ENOTDIR, "place"},
		{errs.Of(errs.LocalDiskFull), "full"},
		{errs.Of(errs.Mismatch), "damaged"},
		{errors.New("something else"), "other"},
	} {
		if got := faultClass(faultOf(restore.Problem{Path: "/x", Err: test.err})); got != test.want {
			t.Errorf("%v is %s, want %s", test.err, got, test.want)
		}
	}
}

// What is said of a file is what helps, and what nobody has words for is said as
// the system says it.
func TestFaultSentence(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"permission denied": "Backstay has no right to it: change its permissions, or ask your administrator.",
		"strange thing":     "“strange thing”. Try again. If it stays so, ask your administrator.",
	} {
		if got := FaultSentence(locale.For(locale.English), state.Fault{Reason: reason}); got != want {
			t.Errorf("FaultSentence(%q) = %q, want %q", reason, got, want)
		}
	}
	failed := state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.New(errs.Local, "restore.failed", "reason", syscall.ENOTDIR.Error()))}
	_, advice, _ := ActivitySentence(locale.For(locale.English), state.Activity{Kind: state.ActivityRestore, Run: failed})
	if want := "A file stands where a folder is needed: choose another folder."; advice != want {
		t.Errorf("the advice is %q, want %q", advice, want)
	}
}

// A restore is listed as it went.
func TestRestoreDone(t *testing.T) {
	t.Parallel()
	r := &restore.Result{Progress: restore.Progress{Files: 7, Bytes: 70, Failed: 1}, RenamedCount: 2,
		Failed: []restore.Problem{{Path: "/home/a\xff", Err: errs.New(errs.Local, "restore.failed", "reason", "permission denied")}}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		failed error
		how    string
		code   errs.Code
	}{
		{"to its end", ended, nil, state.RunDone, ""},
		{"stopped", ended, context.Canceled, state.RunCancelled, ""},
		{"the disk is full", t.Context(), errs.Of(errs.LocalDiskFull), state.RunFailed, "E1505"},
	} {
		a := RestoreDone(test.ctx, "abc", "/tmp/x", time.Now(), time.Now(), r, test.failed)
		if a.State != test.how || a.Code != test.code {
			t.Errorf("%s: %s %s, want %s %s", test.name, a.State, a.Code, test.how, test.code)
		}
		if a.Files != 7 || a.Failed != 1 || a.Renamed != 2 || string(a.Target) != "/tmp/x" ||
			len(a.Problems) != 1 || string(a.Problems[0].Path) != "/home/a\xff" || a.Problems[0].Reason != "permission denied" {
			t.Errorf("%s: it is listed as %+v", test.name, a)
		}
	}
}
