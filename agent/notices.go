package agent

import (
	"context"
	"errors"

	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/notice"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

// keepInformed tells the user of this computer what the profile wants them told,
// until ctx ends.
func (a *Agent) keepInformed(ctx context.Context) {
	for a.pause(ctx, look) {
		a.inform(ctx)
	}
}

// inform says what there is to say. While nobody is there to read it, it is not
// said, and said when somebody comes.
func (a *Agent) inform(ctx context.Context) {
	told := a.state.Told()
	f := a.noticeFacts(told)
	kind, next := notice.Next(f)
	if kind != notice.Nothing {
		n := a.words(kind, f)
		n.Replaces = told.Number
		number, err := a.cfg.bus.Show(ctx, n)
		if errors.Is(err, desktop.ErrNobody) {
			return
		}
		if err != nil {
			// Trying again each minute would help nobody.
			a.cfg.Log.Warn("the user could not be told", "what", kind, "err", err)
		}
		next.Number = number
	}
	if next.Equal(told) {
		return
	}
	if err := a.state.SetTold(next); err != nil {
		a.cfg.Log.Error("what the user was told cannot be remembered", "err", err)
	}
}

func (a *Agent) noticeFacts(told state.Told) notice.Facts {
	run, _, err := a.state.LastRun()
	if err != nil {
		run = state.Run{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f := notice.Facts{Now: a.now(), Settings: a.facts.Settings, Stopped: errs.Find(a.stopped),
		Run: run.State, Failure: a.failure, LastDone: run.LastDone, Began: a.facts.Started, Told: told}
	if f.Failure == nil { // of before this program started
		f.Failure = run.Failure()
	}
	return f
}

// words are what is said: what happened, and what to do.
func (a *Agent) words(kind notice.Kind, f notice.Facts) desktop.Notice {
	t := a.say.T
	n := desktop.Notice{Problem: kind.Problem()}
	last := func() string { return t("notice.last", "ago", a.say.Time(f.LastDone, f.Now)) }
	switch kind {
	case notice.Stopped:
		n.Title, n.Text = t("notice.stopped"), a.say.Error(f.Stopped)+" "+t(whatToDo(f.Stopped))
	case notice.NotMade:
		n.Title, n.Text = t("notice.failed"), a.say.Error(f.Failure)+" "+t(whatToDo(f.Failure))
	case notice.Unprotected:
		n.Title, n.Text = t("notice.unprotected"), last()+" "+t("notice.do.connect")
	case notice.Never:
		n.Title, n.Text = t("notice.unprotected"), t("notice.never")+" "+t("notice.do.connect")
	case notice.Solved:
		n.Title, n.Text = t("notice.solved"), last()
	case notice.Complete:
		n.Title, n.Text = t("notice.complete"), last()
	}
	return n
}

// whatToDo is the key of the step that helps.
func whatToDo(e *errs.Error) string {
	switch e.Code {
	case errs.QuotaUsedUp:
		return "notice.do.quota"
	case errs.LocalDiskFull:
		return "notice.do.room"
	case errs.DeviceDeactivated:
		return "notice.do.activate"
	case errs.ClientTooOld:
		return "notice.do.update"
	case errs.ClockSkew:
		return "notice.do.clock"
	}
	return "notice.do.ask"
}
