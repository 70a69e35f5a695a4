package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/osservice"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := a.command("status", "cli.status.", func(cmd *cobra.Command, _ []string) error {
		s, err := a.readStatus(cmd)
		if errs.Is(err, errs.NotActivated) {
			return a.showDeployment(err)
		}
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(s.json())
		}
		return a.showStatus(s)
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}

// deviceStatus is all that is known here without asking the server.
type deviceStatus struct {
	device   *state.Device
	folders  []string
	run      state.Run
	ran      bool
	live     *control.Live   // nil when no agent runs
	busy     bool            // somebody holds the lock
	serves   bool            // this computer has the service
	kept     *osservice.Kept // what it does about this state folder, nil when nothing
	settings profile.Effective
	restore  *state.Restore // what comes back, or came back last, nil when nothing does
	now      time.Time
}

func (a *app) readStatus(cmd *cobra.Command) (s deviceStatus, err error) {
	s.now = a.now()
	st, err := a.openState()
	if err != nil {
		return s, err
	}
	if s.device, err = st.Device(); err != nil {
		return s, err
	}
	if s.folders, err = agent.Folders(st); err != nil {
		return s, err
	}
	if s.run, s.ran, err = st.LastRun(); err != nil {
		return s, err
	}
	if s.restore, err = st.Restore(); err != nil {
		return s, err
	}
	s.settings = agent.InForce(st)
	answer, err := control.Ask(cmd.Context(), st.Dir(), control.Request{Do: control.Status}, nil)
	switch {
	case err == nil:
		s.live = answer.Live
	case !errors.Is(err, control.ErrNobody):
		return s, err
	default:
		s.kept, s.serves = agent.Kept(cmd.Context(), a.getenv, st)
	}
	if err := st.Lock(); err == nil {
		st.Unlock()
	} else {
		s.busy = errs.Is(err, errs.AlreadyRunning)
	}
	return s, nil
}

// running reports whether a backup runs now.
func (s deviceStatus) running() bool {
	return s.live != nil && s.live.Running || s.live == nil && s.busy
}

// protected says whether the last complete backup is recent enough: twice the
// interval, and at least a day (G-08).
func (s deviceStatus) protected() bool {
	return s.settings.Protects(s.run.LastDone, s.now)
}

// stopped is why the server lets this device do nothing, nil when it does: what
// a running agent was told last, or else the last backup.
func (s deviceStatus) stopped() *errs.Error {
	var e *errs.Error
	switch {
	case s.live != nil && s.live.Failure != nil:
		e = errs.Find(s.live.Failure.Err())
	case s.live == nil && s.ran && s.run.State == state.RunFailed:
		e = s.why()
	}
	if agent.Stops(e) {
		return e
	}
	return nil
}

// why is why the last backup failed, nil when that is nothing that was expected.
func (s deviceStatus) why() *errs.Error {
	if e, ok := errs.ByCode(s.run.Code, nil); ok && s.run.Key == "" {
		return e
	}
	if s.run.Key == "" {
		return nil
	}
	return &errs.Error{Kind: errs.Local, Code: errs.Code(s.run.Code), Key: s.run.Key}
}

// sentence is the state in one sentence, and whether it is a good one.
func (a *app) sentence(s deviceStatus) (text string, good bool) {
	ago := func() string { return a.say.Time(s.run.LastDone, s.now) }
	switch {
	case s.running() && s.live != nil && s.live.Progress != nil && s.live.Progress.TotalFiles > 0:
		p := s.live.Progress
		return a.say.T("cli.status.running_of", "files", p.Files, "total", p.TotalFiles), true
	case s.running():
		return a.say.T("cli.status.running"), true
	case s.stopped() != nil:
		return a.say.T("cli.status.stopped", "why", a.say.Error(s.stopped())), false
	case s.settings.Paused(s.now):
		return a.say.T("cli.status.paused", "until", a.say.Exact(s.settings.PausedUntil.Value.Local())), s.protected()
	case s.protected():
		return a.say.T("cli.status.protected", "ago", ago()), true
	case s.run.LastDone.IsZero() && s.ran && s.run.State == state.RunFailed:
		return a.say.T("cli.status.never_failed"), false
	case s.run.LastDone.IsZero():
		return a.say.T("cli.status.never"), false
	}
	return a.say.T("cli.status.unprotected", "ago", ago()), false
}

func (a *app) showStatus(s deviceStatus) error {
	text, good := a.sentence(s)
	if a.colours(a.out) {
		style := green
		if !good {
			style = red
		}
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	fmt.Fprintf(a.out, "%s\n\n", text)
	var rows [][2]string
	add := func(key, value string) { rows = append(rows, [2]string{a.say.T("cli.status.row." + key), value}) }
	add("device", safe(s.device.Name)+" ("+safe(s.device.Username)+")")
	add("server", s.device.Server)
	for i, folder := range s.folders {
		if i == 0 {
			add("folders", safe(folder))
			continue
		}
		rows = append(rows, [2]string{"", safe(folder)})
	}
	if len(s.folders) == 0 {
		add("folders", a.say.T("cli.status.folders.none"))
	}
	if s.ran {
		add("last", a.runText(s))
	}
	if s.restore != nil {
		add("restore", a.besideText(s.restore))
	} else if s.device.Offer != "" {
		add("restore", a.say.T("cli.restore.beside.offered", "name", safe(s.device.Offer)))
	}
	switch {
	case s.live == nil && s.kept != nil:
		add("agent", a.keptText(*s.kept))
	case s.live == nil && s.serves:
		add("agent", a.say.T("cli.status.agent.adoptable"))
	case s.live == nil:
		add("agent", a.say.T("cli.status.agent.stopped"))
	case s.live.Failure != nil:
		err := s.live.Failure.Err()
		add("agent", a.message(err))
		if sentence := wire.Sentence(a.say, err); sentence != "" {
			rows = append(rows, [2]string{"", safe(sentence)})
		}
	default:
		add("agent", a.say.T("cli.status.agent.running"))
	}
	if s.live != nil && s.live.Locked {
		add("locked", a.say.T("device.locked"))
	}
	if s.live != nil && s.live.Retired {
		add("retired", a.say.T("device.retired"))
	}
	if s.live != nil && s.live.Quota != nil {
		add("quota", a.say.T("quota.used", "used", a.say.Bytes(s.live.Quota.UsedBytes), "limit", a.say.Bytes(s.live.Quota.LimitBytes)))
	}
	if s.live != nil && !s.live.Next.IsZero() && !s.live.Running {
		add("next", a.say.Time(s.live.Next, s.now))
		for i, o := range s.live.Blocked {
			why := a.say.T("obstacle." + string(o.By))
			if i == 0 {
				add("blocked", why)
				continue
			}
			rows = append(rows, [2]string{"", why})
		}
	}
	return a.rows(rows)
}

// runText tells how the last run went.
func (a *app) runText(s deviceStatus) string {
	r := s.run
	when := a.say.Exact(r.Ended.Local())
	switch {
	case r.Waiting > 0:
		return a.say.T("cli.status.run.done", "when", when, "files", a.say.N("cli.count.files", r.Files), "bytes", a.say.Bytes(r.Bytes), "snapshot", r.Snapshot) +
			", " + a.say.N("cli.status.run.waiting", r.Waiting)
	case r.State == state.RunFailed:
		why := r.Error
		if e, ok := errs.ByCode(r.Code, nil); ok {
			why = a.say.Error(e) + " (" + r.Code + ")"
		} else if e := s.why(); agent.Stops(e) {
			why = a.say.Error(e)
		}
		return a.say.T("cli.status.run.failed", "when", when, "why", safe(why))
	case r.State == state.RunCancelled:
		return a.say.T("cli.status.run.cancelled", "when", when)
	}
	text := a.say.T("cli.status.run.done", "when", when, "files", a.say.N("cli.count.files", r.Files), "bytes", a.say.Bytes(r.Bytes), "snapshot", r.Snapshot)
	if r.Unreadable > 0 {
		text += ", " + a.say.N("cli.status.run.unreadable", r.Unreadable)
	}
	if r.Deferred > 0 {
		text += ", " + a.say.N("cli.status.run.deferred", r.Deferred)
	}
	return text
}

// rows writes pairs under each other.
func (a *app) rows(rows [][2]string) error {
	width := 0
	for _, r := range rows {
		width = max(width, len([]rune(r[0])))
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(a.out, "%-*s  %s\n", width, r[0], r[1]); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	return nil
}

// json is the status for scripts.
func (s deviceStatus) json() any {
	type run struct {
		State      string    `json:"state"`
		Code       string    `json:"code,omitempty"`
		StartedAt  time.Time `json:"started_at"`
		EndedAt    time.Time `json:"ended_at"`
		Snapshot   string    `json:"snapshot,omitempty"`
		Files      int64     `json:"files"`
		Bytes      int64     `json:"bytes"`
		Read       int64     `json:"bytes_read"`
		Sent       int64     `json:"bytes_sent"`
		Unreadable int64     `json:"unreadable"`
		Deferred   int64     `json:"deferred,omitempty"`
		Waiting    int64     `json:"waiting,omitempty"` // files that wait for room on the quota
	}
	type progress struct {
		Files      int64 `json:"files"`
		TotalFiles int64 `json:"total_files,omitempty"`
		Bytes      int64 `json:"bytes"`
		TotalBytes int64 `json:"total_bytes,omitempty"`
		Sent       int64 `json:"bytes_sent"`
	}
	out := struct {
		Protected    bool        `json:"protected"`
		Running      bool        `json:"running"`
		AgentRunning bool        `json:"agent_running"`
		Online       *bool       `json:"online,omitempty"`
		Code         string      `json:"code,omitempty"` // why the server cannot be used
		DeviceID     string      `json:"device_id"`
		DeviceName   string      `json:"device_name"`
		Username     string      `json:"username"`
		Server       string      `json:"server"`
		Folders      []pathJSON  `json:"folders"`
		LastDone     *time.Time  `json:"last_complete_at,omitempty"`
		LastRun      *run        `json:"last_run,omitempty"`
		NextRun      *time.Time  `json:"next_run_at,omitempty"`
		Paused       *time.Time  `json:"paused_until,omitempty"`
		Blocked      []string    `json:"blocked_by,omitempty"`
		Progress     *progress   `json:"progress,omitempty"`
		Restore      any         `json:"restore,omitempty"`
		Offer        string      `json:"restore_offered_from,omitempty"`
		Quota        *wire.Quota `json:"quota,omitempty"`
	}{
		Protected: s.protected(), Running: s.running(), AgentRunning: s.live != nil,
		DeviceID: s.device.ID.String(), DeviceName: s.device.Name, Username: s.device.Username, Server: s.device.Server,
		Folders: []pathJSON{},
	}
	for _, folder := range s.folders {
		out.Folders = append(out.Folders, toJSON(folder))
	}
	if s.restore != nil {
		out.Restore = besideOf(s.restore)
	}
	out.Offer = s.device.Offer
	if !s.run.LastDone.IsZero() {
		out.LastDone = &s.run.LastDone
	}
	if r := s.run; s.ran {
		out.LastRun = &run{r.State, r.Code, r.Started, r.Ended, r.Snapshot, r.Files, r.Bytes, r.Read, r.Sent, r.Unreadable, r.Deferred, r.Waiting}
	}
	if s.settings.Paused(s.now) {
		out.Paused = &s.settings.PausedUntil.Value
	}
	if live := s.live; live != nil {
		out.Online = &live.Online
		if live.Failure != nil {
			out.Code = string(live.Failure.Code)
		}
		out.Quota = live.Quota
		if !live.Next.IsZero() {
			out.NextRun = &live.Next
		}
		for _, o := range live.Blocked {
			out.Blocked = append(out.Blocked, string(o.By))
		}
		if p := live.Progress; p != nil {
			out.Progress = &progress{p.Files, p.TotalFiles, p.Bytes, p.TotalBytes, p.Sent}
		}
	}
	return out
}
