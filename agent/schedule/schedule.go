// Package schedule decides when a device backs up next: a pure function from
// what is known to a time and the reason for it.
package schedule

import (
	"hash/fnv"
	"time"
)

// Facts are all that the decision rests on.
type Facts struct {
	Interval time.Duration // of the profile, from the end of one backup to the start of the next
	Device   string        // its id, which spreads devices over time
	Started  time.Time     // when the agent started
	LastDone time.Time     // end of the last complete backup, zero when there was none
	LastTry  time.Time     // end of the last try, zero when there was none
	Failures int           // tries that failed since the last complete backup
	Asked    bool          // somebody asks for a backup now
	Wait     time.Duration // how long the server asked to wait after the last try
}

// Reason says why a backup is due when it is.
type Reason string

// The reasons.
const (
	Asked    Reason = "asked"    // somebody asked
	First    Reason = "first"    // there has never been one
	Interval Reason = "interval" // the interval has passed since the last
	CatchUp  Reason = "catch-up" // it was due while this computer slept or was off
	Again    Reason = "again"    // the last try failed
)

// The limits of an interval, and how soon a failed backup is tried again.
const (
	MinInterval     = 5 * time.Minute
	MaxInterval     = 7 * 24 * time.Hour
	DefaultInterval = 4 * time.Hour

	firstAgain = 2 * time.Minute
	lastAgain  = time.Hour
	spread     = time.Minute // over which first backups and caught up ones start
)

// Next returns when the next backup is due, and why. A time that has passed
// means now.
func Next(f Facts) (time.Time, Reason) {
	interval := f.interval()
	if f.Asked {
		return f.LastTry, Asked
	}
	if f.Failures > 0 && f.LastTry.After(f.LastDone) {
		// Doubled each time up to an hour, or the interval if that is shorter, and
		// never before the server wants it.
		pause := min(firstAgain<<min(f.Failures-1, 10), lastAgain, interval)
		return f.LastTry.Add(max(f.jitter(pause), f.Wait)), Again
	}
	if f.LastDone.IsZero() {
		return f.Started.Add(time.Duration(f.share() * float64(spread))), First
	}
	due := f.LastDone.Add(f.jitter(interval))
	if due.Before(f.Started) {
		// Once, not once for each that was missed; and not all devices of an office
		// at the minute in which its power comes back.
		return f.Started.Add(time.Duration(f.share() * float64(spread))), CatchUp
	}
	return due, Interval
}

func (f Facts) interval() time.Duration {
	if f.Interval == 0 {
		return DefaultInterval
	}
	return min(max(f.Interval, MinInterval), MaxInterval)
}

// jitter returns d, up to a tenth more or less: always the same for one device
// and one last backup, so that the decision does not move while it is waited for.
func (f Facts) jitter(d time.Duration) time.Duration {
	return d + time.Duration((f.share()-0.5)*0.2*float64(d))
}

// share is a number from 0 up to 1 that follows from the device and its last
// backup.
func (f Facts) share() float64 {
	h := fnv.New64a()
	h.Write([]byte(f.Device))
	h.Write(f.LastDone.AppendFormat(nil, time.RFC3339Nano))
	// FNV's high bits change little with the last bytes; a multiplication by an
	// odd number carries the low ones up.
	return float64((h.Sum64()*0x9E3779B97F4A7C15)>>11) / (1 << 53)
}
