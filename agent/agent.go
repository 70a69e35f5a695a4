// Package agent is the program on a device: it backs up, when asked and when
// due, tells the server how it is doing, and does what the server asks. It
// wires the parts together; what they know lies in the packages below it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/hooks"
	"github.com/backstay/backstay/agent/scan"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// Config is what an agent works with.
type Config struct {
	// State is the device's state folder. Whoever backs up holds its lock.
	State *state.State
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Log is where the agent tells what it does; nowhere when nil.
	Log *slog.Logger

	// upload makes one backup. Tests replace it.
	upload uploader
	// hooks is the folder of scripts around backups. Tests have one of their own.
	hooks string
	// root is where the system's folders begin, / when empty. Tests replace it.
	root string
	// bus is where the system's services are. Tests have one of their own.
	bus desktop.Bus
	// pace shortens every pause by this factor in tests.
	pace int
}

// uploader makes one backup of what job says.
type uploader func(ctx context.Context, a *Agent, job job, progress func(wire.Progress)) (*control.Result, error)

// Agent is one device of one server.
type Agent struct {
	cfg       Config
	state     *state.State
	device    atomic.Pointer[state.Device]
	client    *wire.Client
	say       *locale.Printer // the language of this computer
	priority  priority
	slot      chan struct{} // holds a value while a backup runs
	unchanged *scan.Watch   // what has not changed since the last backup; nil in a process that makes one
	wake      chan struct{} // something changed that decides about the next backup
	retry     chan struct{} // the server may be reached now by other ways

	// gap carries a poll's offer to send a heartbeat before the next one, by the
	// connection that the poll leaves free: closed when that is done.
	gap chan chan struct{}

	back     comingBack // what comes back beside the backups
	learning sync.Mutex
	adopting sync.Mutex

	mu      sync.Mutex
	live    control.Live
	facts   schedule.Facts
	asked   []wire.Request // backups that the server asked for and nobody has begun
	profile int64          // version of the settings in force
	told    []byte         // the user's choices, as the server was told them
	contact error          // why the last call failed, nil when it did not
	failure *errs.Error    // why the last backup failed, nil when it did not or nobody expected that
	stopped error          // why the server lets this device do nothing, nil when it does

	interrupt context.CancelCauseFunc // of the backup that runs, when a pause stops it
}

// New makes the agent of the device that the state folder remembers; E1501
// when there is none. It does not connect.
func New(cfg Config) (*Agent, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.upload == nil {
		cfg.upload = send
	}
	if cfg.hooks == "" {
		cfg.hooks = hooks.Folder
	}
	if cfg.root == "" {
		cfg.root = "/"
	}
	cfg.pace = max(cfg.pace, 1)
	device, err := cfg.State.Device()
	if err != nil {
		return nil, err
	}
	client, err := Connect(cfg.State, device, cfg.Log)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, state: cfg.State, client: client,
		say:  locale.For(locale.FromEnv(os.Getenv)),
		slot: make(chan struct{}, 1), wake: make(chan struct{}, 1), retry: make(chan struct{}, 1), gap: make(chan chan struct{}),
	}
	a.device.Store(device)
	if a.back.r, err = cfg.State.Restore(); err != nil {
		return nil, err
	}
	a.live = control.Live{PID: os.Getpid()}
	a.facts = schedule.Facts{Device: device.ID.String(), Started: a.now()}
	if run, ok, err := cfg.State.LastRun(); err == nil && ok {
		a.facts.LastDone, a.facts.LastTry = run.LastDone, run.Ended
	}
	if p, err := cfg.State.Profile(); err == nil {
		a.profile = p.Version
	}
	a.facts.Settings = InForce(cfg.State)
	return a, nil
}

// Connect makes the client of a device, by the proxies that the state folder
// remembers.
func Connect(st *state.State, device *state.Device, log *slog.Logger) (*wire.Client, error) {
	cfg, err := connection.Config(st)
	if err != nil {
		return nil, err
	}
	cfg.Server, cfg.Fingerprint = device.Server, device.Fingerprint
	cfg.DeviceID, cfg.Sign = device.ID.String(), device.SignToken
	// A server that is being updated or a train's tunnel should not cost a
	// backup that has run for an hour.
	cfg.Patience, cfg.Log = 5*time.Minute, log
	cfg.Limits = func() wire.Limits { return limits(st, time.Now().In(zone(localtime))) }
	return wire.New(cfg)
}

// limits are those of the settings in force, by the clock on this computer's
// wall.
func limits(st *state.State, now time.Time) wire.Limits {
	e := InForce(st)
	rates := e.Settings.Bandwidth
	up, percent := e.UpAt(now)
	return wire.Limits{Up: up, UpPercent: percent, Down: rates.RestoreKbps, Exempt: rates.Exempt}
}

// Client is the agent's way to the server.
func (a *Agent) Client() *wire.Client { return a.client }

// now is the wall clock without its monotonic part: that one stands still while
// a computer sleeps.
func (a *Agent) now() time.Time { return a.cfg.Now().Round(0) }

// read returns the settings that the server gave last, or the defaults while it
// has never been heard, and what the user of this device chose.
func read(st *state.State) (s profile.Settings, c profile.Choices, err error) {
	p, err := st.Profile()
	if err != nil {
		return s, c, err
	}
	s = profile.Defaults()
	if p.Version != 0 {
		if s, err = profile.Decode(p.Settings); err != nil {
			return s, c, fmt.Errorf("reading the profile: %w", err)
		}
	}
	c, err = st.Choices()
	return s, c, err
}

// InForce are the values in force on this device: the defaults when they cannot
// be read.
func InForce(st *state.State) profile.Effective {
	s, c, err := read(st)
	if err != nil {
		s, c = profile.Defaults(), profile.Choices{}
	}
	return profile.Merge(s, c)
}

// Live tells how the agent is doing.
func (a *Agent) Live() control.Live {
	a.mu.Lock()
	defer a.mu.Unlock()
	live := a.live
	live.Online = a.contact == nil
	if a.contact != nil {
		live.Failure = control.Fail(a.contact)
	}
	if a.stopped != nil {
		live.Next = time.Time{}
	}
	return live
}

// heard keeps what a call to the server says about the way there and about this
// device. It returns err.
func (a *Agent) heard(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var refused *wire.Refusal
	stops := Stops(errs.Find(err))
	if errors.As(err, &refused) && !stops {
		a.contact = nil // it was reached, and this device is known
		return err
	}
	switch {
	case stops && a.stopped == nil:
		a.cfg.Log.Error(why(err)+"; nothing is backed up until that changes", "err", err)
	case a.stopped != nil && err == nil:
		a.cfg.Log.Info("this device is active again")
		a.poke()
	}
	if stops || err == nil {
		a.stopped = err
	}
	a.contact = err
	return err
}

// poke makes the schedule look again.
func (a *Agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// refreshProfile fetches the settings when the server has others than ours.
func (a *Agent) refreshProfile(ctx context.Context) error {
	a.mu.Lock()
	have := a.profile
	a.mu.Unlock()
	p, changed, err := a.client.Profile(ctx, have)
	if a.heard(err) != nil || !changed {
		return err
	}
	a.cfg.Log.Info("new settings", "profile", p.Name, "version", p.Version)
	kept := state.Profile{Version: p.Version, Name: p.Name, Settings: p.Settings}
	if err := a.state.SetProfile(kept); err != nil {
		return err
	}
	a.mu.Lock()
	a.profile, a.facts.Settings = p.Version, InForce(a.state)
	a.mu.Unlock()
	a.poke()
	return nil
}

// status is a heartbeat.
func (a *Agent) status() wire.Status {
	folders, _ := Folders(a.state)
	a.mu.Lock()
	defer a.mu.Unlock()
	s := wire.Status{State: wire.StateIdle, Folders: folders, Hardware: Hardware(), ClientVersion: version.Number(), Choices: a.untold()}
	if run, ok, err := a.state.LastRun(); err == nil && ok && run.State == state.RunFailed {
		s.State, s.Code = wire.StateFailed, string(run.Code)
	}
	if a.facts.Settings.Paused(a.now()) {
		s.State = wire.StatePaused
	}
	if a.live.Running {
		s.State, s.Code = wire.StateRunning, ""
		if p := a.live.Progress; p != nil {
			shown := *p
			shown.Folder = "" // names stay here
			s.Progress = &shown
		}
	}
	if next := a.live.Next.UTC(); !next.IsZero() {
		s.NextRun = &next
	}
	s.Restore = a.restoring()
	return s
}
