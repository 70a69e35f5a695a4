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
	devices map[access.DeviceID]map[chan struct{}]bool
	n       int
}

// wait has a device wait for so many seconds, at most wire.MaxWait, and calls look
// whenever something may have changed for it, until that says that it is done.
// Whoever waits has looked just before: what changed in between has it look again
// with the next round of Run.
func (w *waiting) wait(ctx context.Context, device access.DeviceID, seconds int64, look func() (done bool, err error)) error {
	wake := w.begin(device)
	defer w.end(device, wake)
	over := time.NewTimer(time.Duration(min(seconds, wire.MaxWait)) * time.Second)
	defer over.Stop()
	for {
		select {
		case <-wake:
			if done, err := look(); done || err != nil {
				return err
			}
		case <-over.C:
			return nil
		case <-w.stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin makes a device's wait. wake has a value when there may be something to
// tell.
func (w *waiting) begin(device access.DeviceID) (wake chan struct{}) {
	wake = make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.devices == nil {
		w.devices = map[access.DeviceID]map[chan struct{}]bool{}
	}
	if w.devices[device] == nil {
		w.devices[device] = map[chan struct{}]bool{}
	}
	w.devices[device][wake] = true
	w.n++
	return wake
}

func (w *waiting) end(device access.DeviceID, wake chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n--
	delete(w.devices[device], wake)
	if len(w.devices[device]) == 0 {
		delete(w.devices, device)
	}
}

// wake wakes a device's waits, and reports whether there was any.
func (w *waiting) wake(device access.DeviceID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wake := range w.devices[device] {
		select {
		case wake <- struct{}{}:
		default: // it has been told already
		}
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
