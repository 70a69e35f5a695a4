// Package notice decides what the user of this computer is told about the
// backups: a pure function from what is known to what to say, and what was said.
//
// A problem is told once. It is told again when it has gone and come back, but
// not twice within a day, so that one that comes and goes with each backup is no
// storm.
package notice

import (
	"maps"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

// Facts are all that the decision rests on.
type Facts struct {
	Now      time.Time
	Settings profile.Effective

	Stopped *errs.Error // why the server lets this device do nothing, nil when it does
	Run     string      // how the last backup ended, as state has it
	Failure *errs.Error // why it failed, nil when nobody expected that

	LastDone time.Time // end of the last complete backup, zero when there was none
	Began    time.Time // since when backups could have been made

	Told state.Told
}

// Kind is what to say.
type Kind string

// What to say.
const (
	Nothing     Kind = ""
	Stopped     Kind = "stopped"     // the server lets this device do nothing
	NotMade     Kind = "failed"      // the last backup failed, and somebody has to do something
	Unprotected Kind = "unprotected" // the last complete backup is too long ago
	Never       Kind = "never"       // there is none after all this time
	Solved      Kind = "solved"      // the problem has gone
	Complete    Kind = "complete"    // a backup was made
)

// Problem reports whether it is one.
func (k Kind) Problem() bool { return k != Solved && k != Complete }

// once is how often the same is told at most.
const once = 24 * time.Hour

// Next returns what to say now, and what then was told: to be kept when it was
// shown, or when there is nothing to say.
func Next(f Facts) (Kind, state.Told) {
	told := f.Told
	told.At = maps.Clone(told.At)
	maps.DeleteFunc(told.At, func(_ string, at time.Time) bool { return f.Now.Sub(at).Abs() >= once })
	want := f.Settings.Settings.Notifications
	kind, problem, known := f.problem()
	switch {
	case want == profile.NotifyOff:
		// Who wants to be told again hears of what is the matter then.
		return Nothing, state.Told{}
	case !known:
		return Nothing, told
	case problem == "" && told.Open != "":
		told.Open = ""
		if want == profile.NotifyAll {
			told.Done = f.Now
			return Solved, told
		}
		return Nothing, told
	case problem == "":
		if want == profile.NotifyAll && f.LastDone.After(told.Done) && f.Now.Sub(told.Done).Abs() >= once {
			told.Done = f.Now
			return Complete, told
		}
		return Nothing, told
	case problem == told.Open:
		return Nothing, told
	}
	told.Open = problem
	if _, just := told.At[problem]; just {
		return Nothing, told
	}
	if told.At == nil {
		told.At = map[string]time.Time{}
	}
	told.At[problem] = f.Now
	return kind, told
}

// problem is what is the matter, and its name; not known when the last backup
// tells nothing, because it was interrupted or fails in a way that may pass by
// itself.
func (f Facts) problem() (kind Kind, name string, known bool) {
	since := f.LastDone
	kind = Unprotected
	if since.IsZero() {
		since, kind = f.Began, Never
	}
	switch {
	case f.Stopped != nil:
		return Stopped, string(Stopped) + " " + id(f.Stopped), true
	case f.Run == state.RunFailed && !passes(f.Failure):
		return NotMade, string(NotMade) + " " + id(f.Failure), true
	case !f.Settings.Protects(since, f.Now):
		return kind, string(Unprotected), true
	case f.Run == state.RunDone:
		return Nothing, "", true
	}
	return Nothing, "", false
}

func id(e *errs.Error) string { return string(e.Code) + " " + e.Key }

// passes reports whether a failure may pass by itself: the way to the server, or
// what happens there, or nobody knows what. Then it is a problem when the device
// is not protected any more.
func passes(e *errs.Error) bool {
	if e == nil {
		return true
	}
	switch e.Code {
	case errs.CannotConnect, errs.UntrustedCert, errs.ProxyAuth, errs.ServerBusy, errs.StorageFull, errs.MissingObjects, errs.Mismatch:
		return true
	}
	return false
}
