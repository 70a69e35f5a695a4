package localui

import (
	"context"
	"sync"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/wire"
)

// flow is the activation under way. What somebody typed is in memory alone and
// forgotten as soon as it is used; what must outlast the window is in the state
// folder: agent.Begun.
type flow struct {
	server, fingerprint string
	user                string
	then                string // the page after the server was reached
	trial               *trial // the way to the server

	password string
	fresh    string   // the new password, while a code is asked for to set it
	methods  []string // of a second factor that is asked for
	choice   []string // of the accounts that the password is right for

	resend time.Time  // when another code of a registration may be asked for
	tested wire.Proxy // settings that were tried and not kept
	ready  *ready
}

// now is a copy of the flow as it stands.
func (w *Window) now() flow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flow
}

func (w *Window) change(do func(f *flow)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(&w.flow)
}

// client speaks to the server of an activation.
func (w *Window) client(server, fingerprint string) (*wire.Client, error) {
	cfg, err := connection.Config(w.cfg.State)
	if err != nil {
		return nil, err
	}
	cfg.Server, cfg.Fingerprint = server, fingerprint
	return wire.New(cfg)
}

// with makes calls to the server of the flow.
func (w *Window) with(f flow, do func(c *wire.Client) error) error {
	c, err := w.client(f.server, f.fingerprint)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// holding does something that needs the state folder for itself, with the agent
// that works with it out of the way. Afterwards whoever should back up does.
func (w *Window) holding(ctx context.Context, do func(st *state.State) error) error {
	return w.stead.aside(func() error {
		st, err := state.Open(w.cfg.State.Dir())
		if err != nil {
			return err
		}
		if err := agent.LockToActivate(ctx, w.cfg.Getenv, st); err != nil {
			return err
		}
		err = do(st)
		if _, lost := agent.GiveBack(w.cfg.Getenv, st); lost != nil && err == nil {
			w.cfg.Log.Error("the service does not take the device", "err", lost)
		}
		return err
	})
}

// trial is the way to a server, gone step by step while a page shows how far it
// came.
type trial struct {
	mu     sync.Mutex
	checks []wire.Check
	report wire.Report
	offer  wire.SignIn
	err    error // after the last step
	done   bool
}

// trialed is how far a trial came.
type trialed struct {
	Checks []wire.Check
	Report wire.Report
	Offer  wire.SignIn
	Err    error
	Done   bool
}

func (t *trial) now() trialed {
	if t == nil {
		return trialed{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return trialed{append([]wire.Check(nil), t.checks...), t.report, t.offer, t.err, t.done}
}

// passed reports whether the server was reached.
func (t trialed) passed() bool { return t.Done && t.Err == nil && t.Report.Err() == nil }

// try goes the way to the server that the flow names; a page shows it.
func (w *Window) try(ctx context.Context) error {
	kept, err := connection.Config(w.cfg.State)
	if err != nil {
		return err
	}
	t := &trial{}
	var f flow
	w.change(func(now *flow) {
		now.trial = t
		f = *now
	})
	kept.Server, kept.Fingerprint = f.server, f.fingerprint
	go func() {
		ctx := context.WithoutCancel(ctx) // it goes on while pages come and go, and ends by itself
		report := wire.Diagnose(ctx, kept, f.user, func(c wire.Check) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.checks = append(t.checks, c)
		})
		var offer wire.SignIn
		var err error
		if report.Err() == nil {
			err = w.with(f, func(c *wire.Client) (err error) {
				offer, err = c.SignIn(ctx)
				return err
			})
		}
		if report.Err() == nil && err == nil && f.then == "/password" {
			err = agent.MayActivate(ctx, w.cfg.State, f.server)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.report, t.offer, t.err, t.done = report, offer, err, true
	}()
	return nil
}
