package wire

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are how fast backups send and restores receive. What else is said to
// the server is small, and waits for nothing.
type Limits struct {
	Up, Down int // kilobits a second, 0 for no limit
	// Exempt reports whether no limit holds to a server at this address; none
	// is when nil. Behind a proxy nobody knows the server's, and the limits
	// hold.
	Exempt func(server netip.Addr) bool
}

// relook is how often the limits are asked for: they change with the time of
// the day and with the profile, in the middle of a backup too.
const relook = time.Minute

// brake slows one direction of all connections of a client together.
type brake struct {
	ask func() (kbps int, exempt func(netip.Addr) bool)
	now func() time.Time

	mu      sync.Mutex
	asked   time.Time
	kbps    int
	exempt  func(netip.Addr) bool
	limiter *rate.Limiter
}

// brakes are those for sending and receiving, nil when nothing limits.
func brakes(limits func() Limits, now func() time.Time) (up, down *brake) {
	if limits == nil {
		return nil, nil
	}
	up = &brake{now: now, ask: func() (int, func(netip.Addr) bool) { l := limits(); return l.Up, l.Exempt }}
	down = &brake{now: now, ask: func() (int, func(netip.Addr) bool) { l := limits(); return l.Down, l.Exempt }}
	return up, down
}

// on is what limits a connection to this server now, nil when nothing does.
func (b *brake) on(server netip.Addr) *rate.Limiter {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); b.asked.IsZero() || now.Sub(b.asked).Abs() >= relook {
		before := b.kbps
		b.asked = now
		if b.kbps, b.exempt = b.ask(); b.kbps != before {
			b.limiter = newLimiter(b.kbps)
		}
	}
	if b.exempt != nil && server.IsValid() && b.exempt(server) {
		return nil
	}
	return b.limiter
}

// newLimiter passes an eighth of a second's bytes at once, so that the line
// has gaps for others, and nobody takes the connection for dead.
func newLimiter(kbps int) *rate.Limiter {
	if kbps <= 0 {
		return nil
	}
	bytes := kbps * 1000 / 8
	return rate.NewLimiter(rate.Limit(bytes), max(bytes/8, 1<<10))
}
