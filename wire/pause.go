package wire

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause waits, as whoever calls a server does between calls, or returns false
// when ctx ends.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// About is d, up to a fifth more or less, so that not all devices come in the
// same moment.
func About(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5) }
