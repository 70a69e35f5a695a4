package agent

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/desktop/desktoptest"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// A network that NetworkManager says is metered stops a backup, and holds up the
// next ones until another network comes; the user's own goes all the same.
func TestMeteredNetwork(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	b := desktoptest.New(t)
	metered := b.Metered(false)
	r := &runs{do: func(ctx context.Context, n int, _ func(wire.Progress)) error {
		if n != 1 {
			return nil
		}
		metered(true)
		<-ctx.Done()
		return ctx.Err()
	}}
	a := newAgent(t, st, r)
	a.cfg.bus = desktop.Bus{System: b.Address}
	start(t, a)
	eventually(t, "the first backup stopped", func() bool { run, _, _ := st.LastRun(); return run.State == state.RunCancelled })
	eventually(t, "the network is known", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		d := schedule.Next(a.facts)
		return slices.ContainsFunc(d.Blocked, func(b schedule.Block) bool { return b.By == schedule.Metered })
	})
	if _, err := a.Backup(t.Context(), nil, nil); err != nil || r.count() != 2 {
		t.Errorf("the user's own: %v, %d backups", err, r.count())
	}
	f.ask(wire.Request{Number: 7, Kind: wire.RequestBackup})
	eventually(t, "an administrator's waits", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.facts.Asked == schedule.Administrator
	})
	metered(false)
	a.poke()
	eventually(t, "it goes on", func() bool { return r.count() == 3 })
}

// Adaptive is low while somebody works, and where nobody can tell.
func TestModest(t *testing.T) {
	t.Parallel()
	b := desktoptest.New(t)
	idle := b.Idle(false)
	a := newAgent(t, device(t, newFake(t)), &runs{})
	for _, c := range []struct {
		cpu     profile.CPU
		address string
		idle    bool
		want    bool
	}{
		{profile.CPUNormal, b.Address, false, false},
		{profile.CPULow, b.Address, true, true},
		{profile.CPUAdaptive, b.Address, false, true},
		{profile.CPUAdaptive, b.Address, true, false},
		{profile.CPUAdaptive, nowhere, true, true},
	} {
		idle(c.idle)
		a.cfg.bus.System = c.address
		a.facts.Settings.CPU.Value = c.cpu
		if got := a.modest(t.Context()); got != c.want {
			t.Errorf("%s, idle %v at %s: %v, want %v", c.cpu, c.idle, c.address, got, c.want)
		}
	}
}

// The user of this computer is told once what is the matter and what to do, as
// soon as there is a desktop to say it on; and, when they want all, that it is
// over.
func TestTheUserIsTold(t *testing.T) {
	t.Setenv("LANG", "fr_FR.UTF-8")
	f := newFake(t)
	s := profile.Defaults()
	s.Notifications = profile.NotifyAll
	f.profile.Settings = s.Encode()
	st := device(t, f)
	broken := errs.Of(errs.LocalDiskFull)
	r := &runs{do: func(context.Context, int, func(wire.Progress)) error { return broken }}
	a := newAgent(t, st, r)
	a.Backup(t.Context(), nil, nil)
	b := desktoptest.New(t)
	a.cfg.bus.Session = b.Address
	a.inform(t.Context()) // nobody is there
	screen := b.Screen("body")
	for range 3 {
		a.inform(t.Context())
	}
	again := newAgent(t, st, r) // after a restart
	again.cfg.bus.Session = b.Address
	again.inform(t.Context())
	r.do = nil
	if _, err := again.Backup(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	again.inform(t.Context())
	again.inform(t.Context())
	shown := screen.Shown()
	if len(shown) != 2 {
		t.Fatalf("%d notices, want that it failed and that it works again: %+v", len(shown), shown)
	}
	if n := shown[0]; n.Title != "Une sauvegarde a échoué" || !strings.Contains(n.Text, "Libérez de la place") || n.Urgency != 1 {
		t.Errorf("the first is %+v", n)
	}
	if n := shown[1]; n.Title != "Les sauvegardes fonctionnent de nouveau" || n.Replaces != 1 || n.Urgency != 0 {
		t.Errorf("the second is %+v", n)
	}
}
