package localui

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

// stead stands in for the service where this computer has none: the window runs
// the agent itself then, as long as it is open and nobody else does.
type stead struct {
	window *Window

	mu    sync.Mutex
	ctx   context.Context // ends with the window; nil before
	stop  context.CancelFunc
	ended chan struct{}
}

// look is how often the window looks whether its agent is needed.
const look = 5 * time.Second

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
		for ctx.Err() == nil {
			if err := s.agent(ctx); err != nil && ctx.Err() == nil && !errs.Is(err, errs.AlreadyRunning) && !errs.Is(err, errs.NotActivated) {
				s.window.cfg.Log.Error("the agent of this window ended", "err", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(look):
			}
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
	if _, err := st.Device(); err != nil {
		return err
	}
	if err := st.Lock(); err != nil {
		return err
	}
	defer st.Unlock()
	ag, err := agent.New(agent.Config{State: st, Log: cfg.Log})
	if err != nil {
		return err
	}
	defer ag.Client().Close()
	if err := ag.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
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

// alone reports whether nothing backs up on this computer once the window is
// closed.
func (w *Window) alone(ctx context.Context) bool {
	_, serves := agent.Kept(ctx, w.cfg.Getenv, w.cfg.State)
	return !serves
}
