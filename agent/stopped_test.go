package agent

import (
	"testing"
	"time"

	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

func TestDeactivatedDeviceStops(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st, r := device(t, f), &runs{}
	a := newAgent(t, st, r)
	start(t, a)
	eventually(t, "the first backup was made", func() bool { run, ok, _ := st.LastRun(); return ok && run.State == state.RunDone })
	f.change(func() { f.inactive = true })
	eventually(t, "the agent knew", func() bool {
		live := a.Live()
		return live.Failure != nil && live.Failure.Code == errs.DeviceDeactivated
	})
	a.mu.Lock()
	a.facts.Asked = schedule.Administrator
	a.mu.Unlock()
	a.poke()
	time.Sleep(50 * time.Millisecond)
	if n := r.count(); n != 1 {
		t.Errorf("%d backups, want none after the deactivation", n-1)
	}
	if run, _, _ := st.LastRun(); run.State != state.RunDone {
		t.Errorf("a backup was tried after the deactivation: %+v", run)
	}
	f.change(func() { f.inactive = false })
	eventually(t, "it went on when it was active again", func() bool { return r.count() == 2 })
}

// Who was removed says so and asks no more; who was only stopped is back soon.
func TestRemovedDeviceStops(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		problem wire.Problem
		key     string
		asks    bool
	}{
		{wire.Problem{Code: "E1208", Data: map[string]any{"state": "deleted"}}, "error.E1208.deleted", false},
		{wire.Problem{Code: "E1208", Data: map[string]any{"state": "purged"}}, "error.E1208.deleted", false},
		{wire.Problem{Key: "device.disabled"}, "device.disabled", true},
		{wire.Problem{Code: "E1103"}, "error.E1103", true},
	} {
		f := newFake(t)
		st, r := device(t, f), &runs{}
		a := newAgent(t, st, r)
		start(t, a)
		eventually(t, "the first backup was made", func() bool { return r.count() == 1 })
		f.change(func() { f.inactive, f.problem = true, c.problem })
		eventually(t, "the agent knew", func() bool {
			live := a.Live()
			return live.Failure != nil && live.Failure.Key == c.key && live.Next.IsZero()
		})
		refused := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.refused
		}
		time.Sleep(100 * time.Millisecond)
		before := refused()
		if !c.asks {
			time.Sleep(300 * time.Millisecond)
			if after := refused(); after > before {
				t.Errorf("%s: it asked %d times, and then %d", c.key, before, after)
			}
			continue
		}
		eventually(t, "it asked again", func() bool { return refused() > before })
		a.mu.Lock()
		a.facts.Asked = schedule.Administrator
		a.mu.Unlock()
		f.change(func() { f.inactive = false })
		eventually(t, "it went on", func() bool { return r.count() == 2 && a.Live().Failure == nil })
	}
}
