package agent

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// Standing is how a device is doing, as far as is known here without asking the
// server.
type Standing struct {
	Device   *state.Device
	Run      state.Run     // the last backup
	Ran      bool          // there was one
	Live     *control.Live // nil when no agent runs
	Busy     bool          // somebody works with the state folder
	Settings profile.Effective
	Restore  *state.Restore // what comes back beside the backups, or came back last; nil: nothing
	Now      time.Time
}

// Stand looks how the device of a state folder is doing.
func Stand(ctx context.Context, dir string, now time.Time) (s Standing, err error) {
	// A state of its own, for a lock of its own.
	st, err := state.Open(dir)
	if err != nil {
		return s, err
	}
	s.Now = now
	if s.Device, err = st.Device(); err != nil {
		return s, err
	}
	if s.Run, s.Ran, err = st.LastRun(); err != nil {
		return s, err
	}
	s.Settings = InForce(st)
	if s.Restore, err = st.Restore(); err != nil {
		return s, err
	}
	answer, err := control.Ask(ctx, dir, control.Request{Do: control.Status}, nil)
	switch {
	case err == nil:
		s.Live = answer.Live
	case !errors.Is(err, control.ErrNobody):
		return s, err
	}
	if err := st.Lock(); err == nil {
		st.Unlock()
	} else {
		s.Busy = errs.Is(err, errs.AlreadyRunning)
	}
	return s, nil
}

// Offered names the computer whose files its successor's user may have brought
// back, "" for none: what comes back already is offered no more.
func (s Standing) Offered() string {
	if s.Restore != nil && !over(s.Restore) {
		return ""
	}
	return s.Device.Offer
}

// Running reports whether a backup runs now.
func (s Standing) Running() bool {
	return s.Live != nil && s.Live.Running || s.Live == nil && s.Busy
}

// Waits is in how many minutes the running backup goes on that the server, being
// busy, lets wait; 0 when it does not.
func (s Standing) Waits() int64 {
	if s.Live == nil || s.Live.Progress == nil {
		return 0
	}
	return s.Live.Progress.Waits
}

// Protected says whether the last complete backup is recent enough, and more are
// to come (G-08): the server's devices.Protect, as far as it is known here.
func (s Standing) Protected() bool {
	return s.Stopped() == nil && s.Settings.Protects(s.Run.LastDone, s.Now)
}

// until is when the protection by the last complete backup ends.
func (s Standing) until() time.Time { return s.Run.LastDone.Add(s.Settings.ProtectedFor(s.Now)) }

// Paused reports whether the user's pause is on.
func (s Standing) Paused() bool { return s.Settings.Paused(s.Now) }

// Failure is why the server cannot be used, or why the last backup failed; nil
// when neither is so.
func (s Standing) Failure() error {
	if s.Live != nil && s.Live.Failure != nil {
		return s.Live.Failure.Err()
	}
	if s.Ran && s.Run.State == state.RunFailed {
		if e := s.Run.Failure(); e != nil {
			return e
		}
		return errors.New(s.Run.Error)
	}
	return nil
}

// Stopped is why the server lets this device do nothing, nil when it does: what a
// running agent was told last, or else the last backup.
func (s Standing) Stopped() *errs.Error {
	if s.Live != nil && s.Live.Failure == nil {
		return nil
	}
	if e := errs.Find(s.Failure()); Stops(e) {
		return e
	}
	return nil
}

// Removed reports whether an administrator removed this device.
func (s Standing) Removed() bool {
	e := s.Stopped()
	return e != nil && removed(e)
}

// Done is how many bytes of how many the running backup is through with; 0 where
// nobody knows.
func (s Standing) Done() (done, total int64) {
	if s.Live == nil || s.Live.Progress == nil {
		return 0, 0
	}
	p := s.Live.Progress
	return max(p.Bytes, p.Sent), p.TotalBytes // a large file counts when it is done
}

// Left is how long the running backup still takes, as it goes; 0 while nobody
// knows.
func (s Standing) Left() time.Duration {
	done, total := s.Done()
	if total == 0 {
		return 0
	}
	return TimeLeft(s.Now.Sub(s.Live.Started), done, total)
}

// TimeLeft is how long something still takes of which done bytes took passed; 0
// while nobody knows.
func TimeLeft(passed time.Duration, done, total int64) time.Duration {
	if done <= 0 || done >= total || passed < 5*time.Second {
		return 0
	}
	return time.Duration(float64(passed) * float64(total-done) / float64(done))
}

// Tone is how good a sentence is.
type Tone string

// The tones.
const (
	Good Tone = "good"
	Warn Tone = "warn"
	Bad  Tone = "bad"
)

// Sentence is the state of the device in one sentence.
func (s Standing) Sentence(say *locale.Printer) (string, Tone) {
	switch {
	case s.Running() && s.Waits() > 0:
		return say.N("cli.status.busy", s.Waits()), tone(s.Protected(), Warn)
	case s.Running():
		return s.running(say), Good
	case s.Stopped() != nil:
		return say.T("cli.status.stopped", "why", say.Error(s.Stopped())), Bad
	case s.Paused():
		text := say.T("cli.status.paused", "until", say.Moment(s.Settings.PausedUntil.Value, s.Now))
		return text, tone(s.Protected(), Warn)
	case s.Protected():
		return say.T("cli.status.protected", "ago", say.Time(s.Run.LastDone, s.Now)), Good
	case s.Run.LastDone.IsZero() && s.Ran && s.Run.State == state.RunFailed:
		return say.T("cli.status.never_failed"), Bad
	case s.Run.LastDone.IsZero():
		return say.T("cli.status.never"), Warn
	}
	since := say.Date(s.until().In(s.Now.Location()))
	if why := s.why(say); why != "" {
		return say.T("cli.status.unprotected_why", "since", since, "why", why), Bad
	}
	return say.T("cli.status.unprotected", "ago", say.Time(s.Run.LastDone, s.Now)), Bad
}

func tone(good bool, otherwise Tone) Tone {
	if good {
		return Good
	}
	return otherwise
}

func (s Standing) running(say *locale.Printer) string {
	if s.Live == nil || s.Live.Progress == nil || s.Live.Progress.TotalFiles == 0 {
		return say.T("cli.status.running")
	}
	p := s.Live.Progress
	if left := s.Left(); left > 0 {
		return say.T("cli.status.running_left", "files", p.Files, "total", p.TotalFiles, "left", roughly(left))
	}
	return say.T("cli.status.running_of", "files", p.Files, "total", p.TotalFiles)
}

// roughly does not promise seconds.
func roughly(d time.Duration) time.Duration {
	switch {
	case d < time.Minute:
		return max(d.Round(10*time.Second), 10*time.Second)
	case d < time.Hour:
		return d.Round(time.Minute)
	}
	return d.Round(5 * time.Minute)
}

// why is what keeps the device from backing up.
func (s Standing) why(say *locale.Printer) string {
	if err := s.Failure(); err != nil {
		if sentence := wire.Sentence(say, err); sentence != "" {
			return sentence
		}
		if errs.Find(err) != nil {
			return say.Error(err)
		}
	}
	if s.Live == nil {
		return say.T("standing.nobody")
	}
	for _, o := range s.Live.Blocked {
		return say.T("obstacle." + string(o.By))
	}
	return ""
}
