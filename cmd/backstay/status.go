package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/osservice"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := a.command("status", "cli.status.", func(cmd *cobra.Command, _ []string) error {
		s, err := a.readStatus(cmd)
		if errs.Is(err, errs.NotActivated) {
			return a.showDeployment(cmd.Context(), err)
		}
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(s.json(a.message))
		}
		return a.showStatus(s)
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}

// deviceStatus is how the device is doing, and who backs it up.
type deviceStatus struct {
	agent.Standing
	folders []string
	serves  bool            // this computer has the service
	kept    *osservice.Kept // what it does about this state folder, nil when nothing
}

func (a *app) readStatus(cmd *cobra.Command) (s deviceStatus, err error) {
	st, err := a.openState()
	if err != nil {
		return s, err
	}
	if s.Standing, err = agent.Stand(cmd.Context(), st.Dir(), a.now()); err != nil {
		return s, err
	}
	if s.folders, err = agent.Folders(st); err != nil {
		return s, err
	}
	if s.Live == nil {
		s.kept, s.serves = agent.Kept(cmd.Context(), a.getenv, st)
	}
	return s, nil
}

func (a *app) showStatus(s deviceStatus) error {
	text, tone := s.Sentence(a.say)
	if a.colours(a.out) {
		style := green
		if tone != agent.Good {
			style = red
		}
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	fmt.Fprintf(a.out, "%s\n\n", text)
	var rows [][2]string
	add := func(key, value string) { rows = append(rows, [2]string{a.say.T("cli.status.row." + key), value}) }
	add("device", safe(s.Device.Name)+" ("+safe(s.Device.Username)+")")
	add("server", s.Device.Server)
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
	if s.Ran {
		add("last", a.runText(s))
	}
	if s.Restore != nil {
		add("restore", a.besideText(s.Restore))
	}
	if offered := s.Offered(); offered != "" {
		add("restore", a.say.T("cli.restore.beside.offered", "name", safe(offered)))
	}
	switch {
	case s.Live == nil && s.kept != nil:
		add("agent", a.keptText(*s.kept))
	case s.Live == nil && s.serves:
		add("agent", a.say.T("cli.status.agent.adoptable"))
	case s.Live == nil:
		add("agent", a.say.T("cli.status.agent.stopped"))
	case s.Live.Failure != nil:
		err := s.Live.Failure.Err()
		add("agent", a.message(err))
		if sentence := wire.Sentence(a.say, err); sentence != "" {
			rows = append(rows, [2]string{"", safe(sentence)})
		}
	default:
		add("agent", a.say.T("cli.status.agent.running"))
	}
	if s.Live != nil && s.Live.Locked {
		add("locked", a.say.T("device.locked"))
	}
	if s.Live != nil && s.Live.Retired {
		add("retired", a.say.T("device.retired"))
	}
	if s.Live != nil && s.Live.Quota != nil {
		add("quota", a.say.T("quota.used", "used", a.say.Bytes(s.Live.Quota.UsedBytes), "limit", a.say.Bytes(s.Live.Quota.LimitBytes)))
	}
	if s.Live != nil && !s.Live.Next.IsZero() && !s.Live.Running {
		add("next", a.say.Time(s.Live.Next, s.Now))
		for i, o := range s.Live.Blocked {
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
	r := s.Run
	when := a.say.Exact(r.Ended.Local())
	switch {
	case r.Waiting > 0:
		return a.say.T("cli.status.run.done", "when", when, "files", a.say.N("cli.count.files", r.Files), "bytes", a.say.Bytes(r.Bytes), "snapshot", r.Snapshot) +
			", " + a.say.N("cli.status.run.waiting", r.Waiting)
	case r.State == state.RunFailed:
		why := safe(r.Error)
		if e := r.Failure(); e != nil {
			why = a.withCode(e)
		}
		return a.say.T("cli.status.run.failed", "when", when, "why", why)
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

// unusable is why the server cannot be used, or lets this device do nothing; nil
// when neither is so.
func (s deviceStatus) unusable() *errs.Error {
	if s.Live != nil && s.Live.Failure != nil {
		return s.Live.Failure.Failure()
	}
	return s.Stopped()
}

// json is the status for scripts; message is what people are told of an error.
func (s deviceStatus) json(message func(error) string) any {
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
		Waits      int64 `json:"waits_minutes,omitempty"` // until the server, being busy, lets it go on
	}
	out := struct {
		Protected    bool        `json:"protected"`
		Running      bool        `json:"running"`
		AgentRunning bool        `json:"agent_running"`
		Online       *bool       `json:"online,omitempty"`
		Code         string      `json:"code,omitempty"` // why the server cannot be used, or lets this device do nothing
		Key          string      `json:"key,omitempty"`
		Error        string      `json:"error,omitempty"`
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
		Protected: s.Protected(), Running: s.Running(), AgentRunning: s.Live != nil,
		DeviceID: s.Device.ID.String(), DeviceName: s.Device.Name, Username: s.Device.Username, Server: s.Device.Server,
		Folders: []pathJSON{},
	}
	for _, folder := range s.folders {
		out.Folders = append(out.Folders, toJSON(folder))
	}
	if s.Restore != nil {
		out.Restore = besideOf(s.Restore)
	}
	out.Offer = s.Offered()
	if !s.Run.LastDone.IsZero() {
		out.LastDone = &s.Run.LastDone
	}
	if r := s.Run; s.Ran {
		out.LastRun = &run{r.State, string(r.Code), r.Started, r.Ended, r.Snapshot, r.Files, r.Bytes, r.Read, r.Sent, r.Unreadable, r.Deferred, r.Waiting}
	}
	if s.Paused() {
		out.Paused = &s.Settings.PausedUntil.Value
	}
	if e := s.unusable(); e != nil {
		out.Code, out.Key, out.Error = string(e.Code), e.Key, message(e)
	}
	if live := s.Live; live != nil {
		out.Online = &live.Online
		out.Quota = live.Quota
		if !live.Next.IsZero() {
			out.NextRun = &live.Next
		}
		for _, o := range live.Blocked {
			out.Blocked = append(out.Blocked, string(o.By))
		}
		if p := live.Progress; p != nil {
			out.Progress = &progress{p.Files, p.TotalFiles, p.Bytes, p.TotalBytes, p.Sent, p.Waits}
		}
	}
	return out
}
