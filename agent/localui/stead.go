package localui

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// stead stands in for the service where this computer has none: the window runs
// the agent itself then, as long as it is open and nobody else does.
type stead struct {
	window *Window

	mu    sync.Mutex
	ctx   context.Context // ends with the window; nil before
	stop  context.CancelFunc
	ended chan struct{}

	beside atomic.Bool // another agent does the work
}

// How often the window looks whether its agent is needed, and how seldom while
// another one does its work.
const (
	look   = 5 * time.Second
	seldom = time.Minute
)

// pause is how long the window waits before it looks again: longer each time
// that another agent is there.
func pause(before time.Duration, beside bool) time.Duration {
	if !beside {
		return look
	}
	return min(2*before, seldom)
}

func (s *stead) begin(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = ctx
	s.run()
}

// run starts the loop that runs an agent when one is needed. The caller holds
// the lock.
func (s *stead) run() {
	ctx, stop := context.WithCancel(s.ctx)
	ended := make(chan struct{})
	s.stop, s.ended = stop, ended
	go func() {
		defer close(ended)
		wait := look
		for ctx.Err() == nil {
			err := s.agent(ctx)
			beside := errs.Is(err, errs.AlreadyRunning)
			if was := s.beside.Swap(beside); beside && !was {
				s.window.cfg.Log.Warn("another program works with this state folder; this window backs up when that has ended", "err", err)
			}
			if err != nil && ctx.Err() == nil && !beside && !errs.Is(err, errs.NotActivated) {
				s.window.cfg.Log.Error("the agent of this window ended", "err", err)
			}
			wait = pause(wait, beside)
			wire.Pause(ctx, wait)
		}
	}()
}

// agent runs the agent, if there is neither a service nor another agent.
func (s *stead) agent(ctx context.Context) error {
	cfg := s.window.cfg
	if _, serves := agent.Kept(ctx, cfg.Getenv, cfg.State); serves {
		return nil
	}
	// A state of its own: the lock is its own, too.
	st, err := state.Open(cfg.State.Dir())
	if err != nil {
		return err
	}
	return agent.Serve(ctx, st, cfg.Log)
}

// end stops the agent and waits for it.
func (s *stead) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		<-s.ended
	}
}

// aside stops the agent while do works with the state folder.
func (s *stead) aside(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		<-s.ended
		defer s.run()
	}
	return do()
}

// busy reports whether a backup runs that would end with the window.
func (s *stead) busy() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, serves := agent.Kept(ctx, s.window.cfg.Getenv, s.window.cfg.State); serves {
		return false
	}
	answer, err := control.Ask(ctx, s.window.cfg.State.Dir(), control.Request{Do: control.Status}, nil)
	return err == nil && answer.Live != nil && answer.Live.Running
}

// after says what becomes of the backups when the window is closed, as a key of
// its message: "" where the service goes on with them.
func (w *Window) after(ctx context.Context) string {
	if _, serves := agent.Kept(ctx, w.cfg.Getenv, w.cfg.State); serves {
		return ""
	}
	if w.stead.beside.Load() {
		return "window.beside"
	}
	return "window.alone"
}
