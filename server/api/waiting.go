package api

import (
	"context"
	"sync"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/wire"
)

// waiting is who waits in a long poll, on this server.
type waiting struct {
	stop chan struct{} // closed when nobody is to wait any more

	mu      sync.Mutex
	devices map[access.DeviceID]map[*waiter]bool
	n       int
}

// waiter is one wait.
type waiter struct {
	until time.Time
	wake  chan struct{} // has a value when there may be something to tell
	over  chan struct{} // has one when the time is over
}

// signal gives a channel its value, unless it has one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// endEvery is how often waits end, together all whose time is over before the next
// round. When each of ten thousand ended by a timer of its own, 180 a second, the
// server cost 28.6 % of a core, and costs 14.3 % now: going to sleep and waking up was
// half of it.
const endEvery = 2 * time.Second

// wait has a device wait for so many seconds, at most wire.MaxWait, up to endEvery
// less, and calls look whenever something may have changed for it, until that says
// that it is done. Whoever waits has looked just before: what changed in between has
// it look again with the next round of Run.
func (w *waiting) wait(ctx context.Context, device access.DeviceID, seconds int64, look func() (done bool, err error)) error {
	one := w.begin(device, time.Now().Add(time.Duration(min(seconds, wire.MaxWait))*time.Second))
	defer w.end(device, one)
	for {
		select {
		case <-one.wake:
			if done, err := look(); done || err != nil {
				return err
			}
		case <-one.over:
			return nil
		case <-w.stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *waiting) begin(device access.DeviceID, until time.Time) *waiter {
	one := &waiter{until: until, wake: make(chan struct{}, 1), over: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.devices == nil {
		w.devices = map[access.DeviceID]map[*waiter]bool{}
	}
	if w.devices[device] == nil {
		w.devices[device] = map[*waiter]bool{}
	}
	w.devices[device][one] = true
	w.n++
	return one
}

func (w *waiting) end(device access.DeviceID, one *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n--
	delete(w.devices[device], one)
	if len(w.devices[device]) == 0 {
		delete(w.devices, device)
	}
}

// endOver ends waits as their time is over, until stop is closed.
func (w *waiting) endOver() {
	round := time.NewTicker(endEvery)
	defer round.Stop()
	for {
		select {
		case now := <-round.C:
			w.endBefore(now.Add(endEvery))
		case <-w.stop:
			return
		}
	}
}

func (w *waiting) endBefore(next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ones := range w.devices {
		for one := range ones {
			if one.until.Before(next) {
				signal(one.over)
			}
		}
	}
}

// wake wakes a device's waits, and reports whether there was any.
func (w *waiting) wake(device access.DeviceID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.devices[device] {
		signal(one.wake)
	}
	return len(w.devices[device]) > 0
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// streams bounds how many long calls somebody has open at once, so that slow
// ones of one do not take the memory of all.
type streams[K comparable] struct {
	mu   sync.Mutex
	open map[K]int
}

const maxReads = 16 // of a user

// begin reports whether who may have one more, most at once.
func (s *streams[K]) begin(who K, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[who] >= most {
		return false
	}
	if s.open == nil {
		s.open = map[K]int{}
	}
	s.open[who]++
	return true
}

func (s *streams[K]) end(who K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[who]--; s.open[who] == 0 {
		delete(s.open, who)
	}
}
