package agent

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/hooks"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// Backup backs up now, because somebody asks: the folders given, which join the
// device's list, or all of the list when there are none. While another backup
// runs it waits for that one to end and shows its progress. How the run went is
// remembered.
func (a *Agent) Backup(ctx context.Context, folders []string, progress func(wire.Progress)) (*control.Result, error) {
	if progress == nil {
		progress = ignored
	}
	if err := a.take(ctx, progress); err != nil {
		return nil, err
	}
	defer a.release()
	return a.run(ctx, folders, schedule.User, progress)
}

// ignored is for whoever does not look at the progress.
func ignored(wire.Progress) {}

// errNotBegun is why there is no backup when somebody names a folder that they may
// not add. None was made, and none failed.
var errNotBegun = errors.New("the backup was not begun")

// run is a backup for whoever asks, or for nobody when it is time. Whoever asks
// wants large files too. The caller holds the slot.
func (a *Agent) run(ctx context.Context, folders []string, by schedule.Asker, progress func(wire.Progress)) (*control.Result, error) {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	run := state.Run{Started: a.now()}
	a.begin(run.Started, by, interrupt)
	result, err := a.backup(ctx, folders, by, func(p wire.Progress) {
		a.mu.Lock()
		a.live.Progress = &p
		a.mu.Unlock()
		progress(p)
	})
	if err != nil && errors.Is(context.Cause(ctx), errPaused) {
		err = errPaused
	}
	if errors.Is(err, errNotBegun) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.atRest()
		return nil, err
	}
	run.Ended = a.now()
	if result != nil {
		result.Took = run.Ended.Sub(run.Started)
		run.Snapshot, run.Entries, run.Files, run.Bytes = result.Snapshot, result.Entries, result.Files, result.Bytes
		run.Read, run.Sent, run.Unreadable, run.Deferred = result.Read, result.Sent, result.Unreadable, result.Deferred
	}
	switch {
	case err == nil && result.Waiting > 0:
		// All else is safe; this device is not, until there is room.
		run.State, run.Waiting, run.Note = state.RunFailed, result.Waiting, result.Quota.Note
	case err == nil:
		run.State = state.RunDone
		if result.Carried == 0 { // else the other folders wait for their backup as before
			run.LastDone = run.Ended
		}
	case ctx.Err() != nil:
		run.State = state.RunCancelled
	default:
		run.State, run.Error, run.Note = state.RunFailed, err.Error(), errs.NoteOf(err)
	}
	a.noteBackup(run, result)
	if err := errors.Join(err, a.state.SetLastRun(run)); err != nil {
		a.end(run, err)
		return result, err
	}
	if result != nil && result.Waiting > 0 {
		a.end(run, result.Quota.Err())
		return result, nil
	}
	a.end(run, nil)
	return result, nil
}

// Once is Backup for a process that does nothing else: it sends heartbeats while
// it runs. The caller holds the state folder's lock.
func (a *Agent) Once(ctx context.Context, folders []string, progress func(wire.Progress)) (*control.Result, error) {
	beating, stop := context.WithCancel(ctx)
	sending, giveUp := context.WithCancel(ctx)
	defer giveUp()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.beat(beating, sending)
	}()
	result, err := a.Backup(ctx, folders, progress)
	stop()
	// A heartbeat that is on its way is waited for: cut off it may arrive yet,
	// after the last, and this device seem to back up for ever.
	defer time.AfterFunc(lastWord, giveUp).Stop()
	<-done
	if sending.Err() == nil && a.Live().Online {
		if said, err := a.client.PutStatus(sending, a.status()); err == nil {
			a.learn(said.Name, said.Offer)
		}
	}
	return result, err
}

// take waits until no other backup runs, and keeps others waiting until release.
func (a *Agent) take(ctx context.Context, progress func(wire.Progress)) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case a.slot <- struct{}{}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if live := a.Live(); live.Progress != nil {
				progress(*live.Progress)
			}
		}
	}
}

func (a *Agent) release() { <-a.slot }

func (a *Agent) begin(at time.Time, by schedule.Asker, interrupt context.CancelCauseFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if by != schedule.Administrator { // who overrides the pause
		a.interrupt = interrupt
	}
	a.live.Running, a.live.Started, a.live.Progress = true, at, nil
}

// atRest says that no backup runs any more. The caller holds a.mu.
func (a *Agent) atRest() {
	a.interrupt = nil
	a.live.Running, a.live.Started, a.live.Progress = false, time.Time{}, nil
}

// end keeps what the schedule needs to know of a run.
func (a *Agent) end(run state.Run, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.atRest()
	a.facts.LastTry, a.facts.Wait = run.Ended, 0
	a.failure = nil
	switch {
	case run.Waiting > 0:
		a.facts.LastDone, a.facts.Failures = run.Ended, 0 // nothing is gained by coming sooner
		a.failure = errs.Find(err)
	case run.State == state.RunDone:
		a.facts.Failures = 0
		if !run.LastDone.IsZero() {
			a.facts.LastDone = run.LastDone
		}
	case run.State == state.RunFailed:
		a.facts.Failures++
		a.failure = errs.Find(err)
		if e := errs.Find(err); e != nil && e.Code == errs.ServerBusy {
			minutes, _ := e.Int("n")
			a.facts.Wait = time.Duration(min(minutes, 24*60)) * time.Minute
		}
	}
	a.poke()
}

func (a *Agent) backup(ctx context.Context, walk []string, by schedule.Asker, progress func(wire.Progress)) (*control.Result, error) {
	if err := upload.InTurn(ctx, a.asking(progress), func() error { return a.refreshProfile(ctx) }); err != nil {
		return nil, err
	}
	job, err := a.plan(walk)
	if err != nil {
		return nil, err
	}
	job.asked = by != schedule.Nobody
	settled, settle := context.WithCancel(ctx)
	defer settle()
	a.mindOthers(settled)
	a.cfg.Log.Info("backing up", "device", a.device.Load(), "folders", len(job.folders), "walked", len(walk))
	counting, stop := context.WithCancel(ctx)
	defer stop()
	progress = a.estimated(counting, job, progress)
	result, err := a.hooked(ctx, job, progress)
	if err != nil {
		if errs.Is(err, errs.CannotConnect) || Stops(errs.Find(err)) {
			a.heard(err)
		}
		return nil, err
	}
	a.cfg.Log.Info("backed up", "snapshot", result.Snapshot, "files", result.Files, "bytes", result.Bytes,
		"sent", result.Sent, "unreadable", result.Unreadable, "deferred", result.Deferred)
	return result, nil
}

// hooked makes the backup between the administrator's scripts. Those after it
// run also when it failed or was stopped: they may undo what those before did.
func (a *Agent) hooked(ctx context.Context, j job, progress func(wire.Progress)) (result *control.Result, err error) {
	scripts := hooks.Of(j.settings, a.cfg.hooks, a.device.Load().System)
	b := hooks.Backup{Device: a.device.Load().Name}
	remarks, err := a.prepare(ctx, scripts, b, progress)
	if err == nil {
		result, err = a.cfg.upload(ctx, a, j, progress)
	}
	if err != nil {
		a.leave(ctx, err)
	}
	switch {
	case err == nil:
		b.Result, b.Snapshot = state.RunDone, result.Snapshot
	case ctx.Err() != nil:
		b.Result = state.RunCancelled
	default:
		b.Result = state.RunFailed
		if e := errs.Find(err); e != nil {
			b.Code = string(e.Code)
		}
	}
	remarks = append(remarks, scripts.RunAfter(context.WithoutCancel(ctx), b, a.cfg.Log)...)
	for _, r := range remarks {
		if result != nil {
			result.Hooks = append(result.Hooks, control.Remark{Path: r.Path, Note: errs.NoteOf(r.Why)})
		}
	}
	return result, err
}

// leave lets others have the turn of a backup that ended by err before its time,
// also while this process is being stopped. A server that does not hear of it
// waits some minutes.
func (a *Agent) leave(ctx context.Context, err error) {
	if errs.Is(err, errs.CannotConnect) || Stops(errs.Find(err)) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	if err := a.client.Leave(ctx); err != nil {
		a.cfg.Log.Info("the server was not told that the backup stopped", "err", err)
	}
}

// prepare runs the scripts that come before a backup when the server lets it
// begin: what they stop does not stand still for as long as that is busy.
func (a *Agent) prepare(ctx context.Context, scripts hooks.Hooks, b hooks.Backup, progress func(wire.Progress)) ([]hooks.Remark, error) {
	if len(scripts.Before) == 0 {
		return nil, nil
	}
	if err := upload.Await(ctx, a.asking(progress)); err != nil {
		return nil, err
	}
	return scripts.RunBefore(ctx, b, a.cfg.Log)
}

// asking is what a call needs that comes before a backup.
func (a *Agent) asking(progress func(wire.Progress)) upload.Config {
	return upload.Config{Client: a.client, Device: a.device.Load(), Progress: progress, Pause: a.pause, Now: a.cfg.Now, Log: a.cfg.Log}
}

// mindOthers lets all else on this computer come first where the profile wants
// that, at once and as long as ctx lasts: always, or while somebody works on it.
// When the last for whom it was called is done, it is as before.
func (a *Agent) mindOthers(ctx context.Context) {
	a.priority.begin(a.modest(ctx))
	go func() {
		defer a.priority.end()
		for a.pause(ctx, look) {
			a.priority.set(a.modest(ctx))
		}
	}()
}

// modest reports whether all else comes first now. Where nobody can tell whether
// somebody works here, adaptive is low: that costs a backup little while nobody
// does.
func (a *Agent) modest(ctx context.Context) bool {
	a.mu.Lock()
	cpu := a.facts.Settings.CPU.Value
	a.mu.Unlock()
	if cpu != profile.CPUAdaptive {
		return cpu == profile.CPULow
	}
	inUse, known := a.cfg.bus.InUse(ctx)
	return inUse || !known
}

// estimated adds totals to the progress: the last backup's, or those that are
// counted on the side when this is the first.
func (a *Agent) estimated(ctx context.Context, j job, progress func(wire.Progress)) func(wire.Progress) {
	e := &estimate{}
	head, err := a.state.Head(a.device.Load().Set)
	if run, ok, runErr := a.state.LastRun(); err == nil && head.Seq > 0 && runErr == nil && ok && run.State == state.RunDone {
		e.files.Store(run.Files)
		e.bytes.Store(run.Bytes)
	} else {
		folders := j.walk
		if len(folders) == 0 {
			folders = j.folders
		}
		e.begin(ctx, folders, j.settings.Excluded(j.home))
	}
	return func(p wire.Progress) { progress(e.add(p)) }
}
