package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/scan"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// The agent's rhythm.
const (
	alone            = 75 * time.Second // for how long a heartbeat that is ripe waits for a poll's end
	runningHeartbeat = 5 * time.Second
	lastWord         = 5 * time.Second // for what whoever ends still has to tell the server
	firstPause       = 5 * time.Second // after a failed poll, doubled each time
	lastPause        = 5 * time.Minute
	// look is how often the schedule looks at the wall clock: a timer sleeps
	// with the computer.
	look = time.Minute
)

// Run is the background agent: it answers commands on the socket, sends
// heartbeats, does what the server asks, and backs up when it is time. It runs
// until ctx ends; a backup that runs then is interrupted and goes on with the
// next one. The caller holds the state folder's lock.
func (a *Agent) Run(ctx context.Context) error {
	door, err := control.Listen(a.state.Dir(), a, a.cfg.Log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.unchanged = scan.NewWatch()
	defer a.unchanged.Forget()
	var wg sync.WaitGroup
	defer wg.Wait()
	var failed error
	wg.Go(func() {
		if err := door.Serve(ctx); err != nil {
			failed = err
			cancel()
		}
	})
	wg.Go(func() { a.beat(ctx, ctx) })
	wg.Go(func() { a.poll(ctx) })
	wg.Go(func() { a.keepConnection(ctx) })
	wg.Go(func() { a.keepInformed(ctx) })
	a.cfg.Log.Info("the agent runs", "device", a.device.Load(), "server", a.client.Server())
	wg.Go(func() { a.keepRestoring(ctx) })
	a.keepSchedule(ctx)
	wg.Wait()
	return failed
}

// pause is wire.Pause in the agent's own time.
func (a *Agent) pause(ctx context.Context, d time.Duration) bool {
	return wire.Pause(ctx, d/time.Duration(a.cfg.pace))
}

// after is time.After in it.
func (a *Agent) after(d time.Duration) <-chan time.Time {
	return time.After(d / time.Duration(a.cfg.pace))
}

// beat sends heartbeats until ctx ends: at once when there is something new to
// tell, all the time while a backup runs, and else every few minutes. One that is on
// its way then ends with sending.
func (a *Agent) beat(ctx, sending context.Context) {
	sent := make(chan struct{})
	for {
		status := a.status()
		said, err := a.client.PutStatus(sending, status)
		a.heardOf(status, err)

		if a.heard(err) == nil {
			a.setLocked(said.Locked)
			a.learn(said.Name, said.Offer)
			a.toldRestore(status.Restore)
			a.setRetired(said.Retired)
			a.mu.Lock()
			a.live.Quota = said.Quota
			a.mu.Unlock()
		}
		close(sent)
		after := wire.BeatWait()
		if err != nil {
			after = 0 // it goes with the next poll that comes through
		}
		if sent = a.ripen(ctx, after, status); sent == nil || !a.rest(ctx, deactivatedPause) { // poll asks meanwhile
			return
		}
	}
}

// ripen returns when it is time for the heartbeat after the one that told the
// server all that told has, with what to close when it is sent, or nil when ctx ends.
// One without news goes between the first two polls after so long, by their
// connection: one of its own would have to be opened for it each time, or cost the
// server as much as the poll's for as long as it is kept.
func (a *Agent) ripen(ctx context.Context, after time.Duration, told wire.Status) (sent chan struct{}) {
	var gap chan chan struct{}
	for passed, last := time.Duration(0), after+wire.About(alone); passed < last; {
		select {
		case sent = <-gap:
			return sent
		case <-a.after(runningHeartbeat):
		case <-ctx.Done():
			return nil
		}
		if a.news(told) {
			break
		}
		if passed += runningHeartbeat; passed >= after {
			gap = a.gap
		}
	}
	return make(chan struct{})
}

// letBeat has a heartbeat that is ripe go before the next poll. It waits for its
// answer, but not for long: requests must not wait for it.
func (a *Agent) letBeat(ctx context.Context) {
	sent := make(chan struct{})
	select {
	case a.gap <- sent:
	default:
		return
	}
	select {
	case <-sent:
	case <-a.after(lastWord):
	case <-ctx.Done():
	}
}

// poll waits for the server's requests.
func (a *Agent) poll(ctx context.Context) {
	var after int64
	wait := firstPause
	for first := true; ctx.Err() == nil; {
		stopped, online := a.isStopped(), a.Live().Online
		next, err := a.next(ctx, after, wire.PollWait(first))
		if errors.Is(err, errOtherWay) {
			continue
		}
		if a.heard(err) != nil {
			if ctx.Err() != nil {
				return
			}
			first = !stopped || !Stops(errs.Find(err)) // else it has waited and is still stopped
			if a.isStopped() {
				if !a.rest(ctx, stoppedPause) {
					return
				}
				continue
			}
			d := wire.About(wait)
			a.cfg.Log.Info("the server cannot be asked", "again_in", d, "err", err)
			wait = min(2*wait, lastPause)
			select {
			case <-a.retry:
				wait = firstPause
			case <-a.after(d):
			case <-ctx.Done():
			}
			continue
		}
		wait, first = firstPause, !online // then it did not wait
		a.setLocked(next.Locked)
		a.learn("", next.Offer)
		for _, r := range next.Requests {
			after = max(after, r.Number)
			a.request(ctx, r)
		}
		a.mu.Lock()
		stale := next.ProfileVersion > a.profile
		a.mu.Unlock()
		if stale {
			if err := a.refreshProfile(ctx); err != nil && !a.pause(ctx, firstPause) {
				return
			}
		}
		if !first { // else all that come back would have the server hear of it twice at once
			a.letBeat(ctx)
		}
	}
}

// request does one thing that the server asks for.
func (a *Agent) request(ctx context.Context, r wire.Request) {
	a.cfg.Log.Info("the server asks", "request", r.Number, "kind", r.Kind)
	switch r.Kind {
	case wire.RequestBackup:
		a.mu.Lock()
		a.asked = append(a.asked, r)
		a.facts.Asked = schedule.Administrator
		a.mu.Unlock()
		a.poke()
		a.outcome(ctx, r, "taken", nil)
	case wire.RequestProfile:
		a.mu.Lock()
		a.profile = 0
		a.mu.Unlock()
		err := a.refreshProfile(ctx)
		a.outcome(ctx, r, "done", err)
	default:
		a.outcome(ctx, r, "unsupported", nil)
	}
}

// outcome tells the server what became of its request.
func (a *Agent) outcome(ctx context.Context, r wire.Request, what string, err error) {
	out := wire.Outcome{State: what}
	if err != nil {
		out.State = "failed"
		if e := errs.Find(err); e != nil {
			out.Code = string(e.Code)
		}
	}
	if err := a.client.PutOutcome(ctx, r.Number, out); err != nil && ctx.Err() == nil {
		a.cfg.Log.Info("the server was not told what became of its request", "request", r.Number, "err", err)
	}
}

// keepSchedule backs up when it is time, until ctx ends.
func (a *Agent) keepSchedule(ctx context.Context) {
	for {
		next := a.decide(ctx)
		if next.Due(a.now()) && a.hasFolders() {
			a.due(ctx)
		}
		left := next.At.Sub(a.now())
		if left <= 0 {
			left = look
		}
		left = min(left, look)
		before := a.now()
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-a.after(left):
		}
		if now := a.now(); now.Sub(before) > left+look {
			a.woke(now)
		}
	}
}

// look gathers what the schedule has to know of now.
func (a *Agent) look(ctx context.Context) {
	here := zone(localtime)
	power, network := around(ctx, a.cfg.root, a.cfg.bus)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.facts.Now, a.facts.Held = a.now().In(here), a.stopped != nil
	a.facts.Power, a.facts.Network = power, network
}

// decide looks when the next backup is due, and remembers it for those who ask.
func (a *Agent) decide(ctx context.Context) schedule.Decision {
	a.look(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	next := schedule.Next(a.facts)
	if a.stopped == nil && next.At.After(a.facts.Now) && !next.At.Equal(a.live.Next) {
		a.cfg.Log.Info("next backup", "at", next.At, "reason", next.Reason, "blocked", next.Blocked)
	}
	a.live.Next, a.live.Reason, a.live.Blocked = next.At, string(next.Reason), nil
	for _, b := range next.Blocked {
		a.live.Blocked = append(a.live.Blocked, control.Obstacle{By: b.By, Until: b.Until})
	}
	return next
}

// woke notes that the computer slept: a timer came much too late by the clock on
// the wall.
func (a *Agent) woke(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.facts.Woke = at
	a.unchanged.Forget() // another system may have had the disk
	a.cfg.Log.Info("this computer slept, or its clock was put on")
}

// hasFolders reports whether there is anything to back up: a computer that was
// activated a minute ago may have nothing on its list yet.
func (a *Agent) hasFolders() bool {
	folders, err := Folders(a.state)
	return err != nil || len(folders) > 0
}

// due makes the backup that is due, and tells those who asked for it. While
// another one runs it waits; that may have been all that was due, as when a
// command puts the first folder on the list and backs it up.
func (a *Agent) due(ctx context.Context) {
	if a.take(ctx, ignored) != nil {
		return
	}
	defer a.release()
	if next := a.decide(ctx); !next.Due(a.now()) {
		return
	}
	a.mu.Lock()
	asked, by := a.asked, a.facts.Asked
	a.asked, a.facts.Asked = nil, schedule.Nobody
	a.mu.Unlock()
	running, stop := context.WithCancel(ctx)
	defer stop()
	go a.watch(running, stop, by)
	_, err := a.run(running, nil, by, ignored)
	if err != nil && ctx.Err() == nil && (running.Err() != nil || errors.Is(err, errPaused)) {
		// Something came in its way: who asked for it still waits. A user who
		// pauses does not.
		if by == schedule.User && len(asked) == 0 {
			by = schedule.Nobody
		} else if by == schedule.User {
			by = schedule.Administrator
		}
		a.mu.Lock()
		a.asked = append(asked, a.asked...)
		if a.facts.Asked == schedule.Nobody {
			a.facts.Asked = by
		}
		a.mu.Unlock()
		return
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		a.cfg.Log.Error("the backup failed", "err", err)
	}
	for _, r := range asked {
		a.outcome(ctx, r, "done", err)
	}
}

// watch stops a backup when something comes in its way. What it has sent stays,
// and the next one goes on with it.
func (a *Agent) watch(ctx context.Context, stop func(), by schedule.Asker) {
	for a.pause(ctx, look) {
		a.look(ctx)
		a.mu.Lock()
		blocked := schedule.Interrupt(a.facts, by)
		a.mu.Unlock()
		if len(blocked) > 0 {
			a.cfg.Log.Info("the backup stops for now", "blocked", blocked)
			stop()
			return
		}
	}
}
