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
	// UpPercent is how much of the line backups take, as it is measured while
	// they send; 0 for no limit. With Up the lower of both holds, but for the
	// two seconds in a quarter of an hour in which the line is measured.
	UpPercent int
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
	ask func() setting
	now func() time.Time

	mu      sync.Mutex
	asked   time.Time
	setting setting
	limiter *rate.Limiter
	kbps    int // of limiter
	line    meter
}

// setting is what limits one direction.
type setting struct {
	kbps, percent int
	exempt        func(server netip.Addr) bool
}

// brakes are those for sending and receiving, nil when nothing limits.
func brakes(limits func() Limits, now func() time.Time) (up, down *brake) {
	if limits == nil {
		return nil, nil
	}
	up = &brake{now: now, ask: func() setting { l := limits(); return setting{l.Up, l.UpPercent, l.Exempt} }}
	down = &brake{now: now, ask: func() setting { l := limits(); return setting{kbps: l.Down, exempt: l.Exempt} }}
	return up, down
}

// on is what limits a connection now, nil when nothing does.
func (b *brake) on(c *countedConn) *rate.Limiter {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.asked.IsZero() || now.Sub(b.asked).Abs() >= relook {
		b.asked, b.setting = now, b.ask()
	}
	if b.setting.exempt != nil && c.server.IsValid() && b.setting.exempt(c.server) {
		return nil
	}
	kbps := b.setting.kbps
	if b.setting.percent > 0 {
		line := b.line.look(c, now)
		if line == 0 {
			return nil // being measured, and a limit would be all that is found
		}
		kbps = lower(kbps, max(int(line*int64(b.setting.percent)/100*8/1000), 1))
	}
	if kbps != b.kbps {
		b.kbps, b.limiter = kbps, newLimiter(kbps)
	}
	return b.limiter
}

// lower is the lower of two limits, where 0 is none.
func lower(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
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
