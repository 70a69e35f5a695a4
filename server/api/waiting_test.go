package api

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/server/access"
)

// Waits end together, in rounds: none later than it was asked for, and none sooner
// than by one round.
func TestWaitsEndInRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := waiting{stop: make(chan struct{})}
		began := time.Now()
		go w.endOver()
		var mu sync.Mutex
		ended := map[time.Duration]int{}
		var all sync.WaitGroup
		for n := range int64(12) {
			all.Go(func() {
				time.Sleep(time.Duration(n) * 100 * time.Millisecond) // they come one after the other
				seconds := 50 + n%6
				asked := time.Now().Add(time.Duration(seconds) * time.Second)
				never := func() (bool, error) { return false, nil }
				if err := w.wait(t.Context(), access.DeviceID(rune('a'+n)), seconds, never); err != nil {
					t.Error(err)
				}
				if early := time.Until(asked); early < 0 || early > endEvery {
					t.Errorf("a wait of %d s ended %v before its time", seconds, early)
				}
				mu.Lock()
				defer mu.Unlock()
				ended[time.Since(began)]++
			})
		}
		all.Wait()
		close(w.stop)
		for at := range ended {
			if at%endEvery != 0 {
				t.Errorf("a wait ended after %v, beside the others", at)
			}
		}
		if w.count() != 0 {
			t.Errorf("%d still wait", w.count())
		}
	})
}
