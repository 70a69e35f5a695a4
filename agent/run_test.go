package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// When the next heartbeat goes: one without news between two polls a few minutes
// later, one with news at once, and one that failed with the first poll after.
func TestRipen(t *testing.T) {
	t.Parallel()
	const after = 200 * time.Second
	for _, c := range []struct {
		name       string
		after      time.Duration
		polls      bool               // they end all the time
		meanwhile  func(*Agent) error // happens after a minute
		from, last time.Duration      // when it goes
	}{
		{"nothing new, with a poll", after, true, nil, after, after},
		{"nothing new, and no poll ends", after, false, nil, after + 60*time.Second, after + 95*time.Second},
		{"the last one failed", 0, true, nil, runningHeartbeat, runningHeartbeat},
		{"the last one failed, and polls do too", 0, false, nil, 60 * time.Second, 95 * time.Second},
		{"the user chose something", after, true, func(a *Agent) error { return a.state.SetChoices(profile.Choices{IntervalMinutes: 60}) }, time.Minute, time.Minute + runningHeartbeat},
		{"a backup begins", after, true, func(a *Agent) error { a.begin(a.now(), schedule.Nobody, nil); return nil }, time.Minute, time.Minute + runningHeartbeat},
		{"a backup failed", after, true, func(a *Agent) error {
			return a.state.SetLastRun(state.Run{State: state.RunFailed})
		}, time.Minute, time.Minute + runningHeartbeat},
		{"the next backup is at another time", after, true, func(a *Agent) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.live.Next = a.now().Add(time.Hour)
			return nil
		}, time.Minute, time.Minute + runningHeartbeat},
	} {
		st := device(t, newFake(t))
		synctest.Test(t, func(t *testing.T) {
			a, err := New(Config{State: st, bus: desktop.Bus{System: nowhere, Session: nowhere}})
			if err != nil {
				t.Fatal(err)
			}
			defer a.client.Close()
			told := a.status()
			a.told = told.Choices
			ctx, cancel := context.WithCancel(t.Context())
			began := time.Now()
			if c.polls {
				go func() {
					for ctx.Err() == nil {
						a.letBeat(ctx)
						wire.Pause(ctx, time.Millisecond)
					}
				}()
			}
			if c.meanwhile != nil {
				time.AfterFunc(time.Minute, func() {
					if err := c.meanwhile(a); err != nil {
						t.Error(err)
					}
				})
			}
			close(a.ripen(ctx, c.after, told))
			if passed := time.Since(began).Truncate(time.Second); passed < c.from || passed > c.last {
				t.Errorf("%s: it goes after %v, want %v to %v", c.name, passed, c.from, c.last)
			}
			cancel()
			synctest.Wait()
		})
	}
}
