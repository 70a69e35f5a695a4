// Package schedule decides when a device backs up next: a pure function from
// what is known to a time, the reason for it and what stands in its way.
package schedule

import (
	"hash/fnv"
	"time"

	"github.com/backstay/backstay/profile"
)

// Facts are all that the decision rests on.
type Facts struct {
	// Now is the wall clock, in the time zone in which the device is.
	Now time.Time
	// Settings are the values in force.
	Settings profile.Effective
	// Device is its id, which spreads devices over time.
	Device string

	Started time.Time // when the agent started
	Woke    time.Time // when the computer last woke since then, zero when it has not slept

	LastDone time.Time     // end of the last complete backup, zero when there was none
	LastTry  time.Time     // end of the last try, zero when there was none
	Failures int           // tries that failed since the last complete backup
	Wait     time.Duration // how long the server asked to wait after the last try

	Asked Asker // who asks for a backup now
	Held  bool  // an administrator holds the backups of this device

	Power   Power              // zero is unknown, and stands in no way
	Network profile.Connection // zero is unknown, and stands in no way
}

// Power is what a computer runs on.
type Power struct {
	Battery bool // and no mains
	Percent int  // of the battery
}

// Asker is who asks for a backup.
type Asker string

// Who asks. A user overrides all but an administrator's hold, once: this backup
// runs, whatever the network and the power. An administrator overrides the
// times and the user's pause, but spends nobody's data plan or battery.
const (
	Nobody        Asker = ""
	User          Asker = "user"
	Administrator Asker = "administrator"
)

// Reason says why a backup is due when it is.
type Reason string

// The reasons.
const (
	Asked    Reason = "asked"    // somebody asked
	First    Reason = "first"    // there has never been one
	Interval Reason = "interval" // the interval has passed since the last
	Timed    Reason = "timed"    // it is one of the times that the profile or the user named
	CatchUp  Reason = "catch-up" // it was due while this computer slept or was off
	Again    Reason = "again"    // the last try failed
	Clock    Reason = "clock"    // the clock was put back to before the last backup
)

// Obstacle is what may stand in the way of a backup.
type Obstacle string

// The obstacles.
const (
	Hold    Obstacle = "hold"    // by an administrator
	Paused  Obstacle = "paused"  // by the user
	Hours   Obstacle = "hours"   // outside of the windows, or in a blackout
	Battery Obstacle = "battery" // too low
	Metered Obstacle = "metered" // the network counts what goes over it
	Network Obstacle = "network" // backups do not go over it
)

// Block is something that stands in the way.
type Block struct {
	By    Obstacle
	Until time.Time       // when it ends, zero when nobody knows
	Rule  profile.Network // that Network rests on, zero when it is in none of the allowed ones
}

// Decision is when a device backs up next.
type Decision struct {
	// At is when the next backup begins, as far as is known. A time that has
	// passed means now. Obstacles that end at a known time have moved it; the
	// others, whose end is not known, hold it up for as long as they last.
	At     time.Time
	Reason Reason

	// Blocked is what stands in the way: what moved At, and what would hold up a
	// backup now.
	Blocked []Block

	// MayRunUntil is when a backup that begins at At has to stop, to go on in the
	// next window; zero when it may run for as long as it takes.
	MayRunUntil time.Time
}

// Due reports whether a backup is to begin now.
func (d Decision) Due(now time.Time) bool { return !d.At.After(now) && len(d.Blocked) == 0 }

// The limits of an interval, and how soon a failed backup is tried again.
const (
	MinInterval = profile.MinInterval * time.Minute
	MaxInterval = profile.MaxInterval * time.Minute

	firstAgain = 2 * time.Minute
	lastAgain  = time.Hour
	spread     = time.Minute      // over which first backups and caught up ones start
	maxSpread  = 15 * time.Minute // over which those start that begin at a time of the day

	// week is what hours are looked at of: after it they come again.
	week = 8 * 24 * time.Hour

	// slack is how far a clock is put right without anything to be thought of.
	slack = 5 * time.Minute
)

// Next returns when the next backup begins. As long as nothing changes but Now,
// the answer stays the same until that time has come.
func Next(f Facts) Decision {
	var d Decision
	d.At, d.Reason = f.due()
	f.wait(&d)
	d.Blocked = append(d.Blocked, f.inTheWay(f.Asked)...)
	if f.Asked == Nobody && f.Settings.Settings.Schedule.OnWindowEnd == profile.Pause {
		d.MayRunUntil = f.Settings.Hours().Closes(f.here(later(d.At, f.Now)))
	}
	return d
}

// Interrupt returns what stops a backup that runs now, and was begun because by
// asked for it or because it was due.
func Interrupt(f Facts, by Asker) []Block {
	blocks := f.inTheWay(by)
	if by != Nobody {
		return blocks
	}
	if f.Settings.Paused(f.Now) {
		blocks = append(blocks, Block{By: Paused, Until: f.Settings.PausedUntil.Value})
	}
	if h := f.Settings.Hours(); f.Settings.Settings.Schedule.OnWindowEnd == profile.Pause && !h.Open(f.Now) {
		blocks = append(blocks, Block{By: Hours, Until: h.Opens(f.Now)})
	}
	return blocks
}

// due is when a backup would begin if nothing stood in its way.
func (f Facts) due() (time.Time, Reason) {
	if f.Asked != Nobody {
		return f.Now, Asked
	}
	interval := f.interval()
	if f.Failures > 0 && (f.LastTry.After(f.LastDone) || f.ahead(f.LastDone)) {
		if f.ahead(f.LastTry) {
			return f.Now, Clock
		}
		// Doubled each time up to an hour, or the interval if that is shorter, and
		// never before the server wants it.
		pause := min(firstAgain<<min(f.Failures-1, 10), lastAgain, interval)
		return f.LastTry.Add(max(f.jitter(pause), f.Wait)), Again
	}
	if f.ahead(f.LastDone) {
		// Nobody knows when that was. Waiting for the clock to come there again
		// could take years.
		return f.Now, Clock
	}
	up := f.up()
	if f.LastDone.IsZero() {
		return up, First
	}
	at, why := f.LastDone.Add(f.jitter(interval)), Interval
	if timed := f.timed(); !timed.IsZero() {
		at, why = timed, Timed
	}
	if at.Before(up) {
		// Once, not once for each that was missed; and not all devices of an office
		// at the minute in which its power comes back.
		return up, CatchUp
	}
	return at, why
}

// ahead reports whether a time in the past lies in the future: the clock was put
// back since.
func (f Facts) ahead(t time.Time) bool { return t.After(f.Now.Add(slack)) }

// up is when this computer was up last, with a while for the network to come
// and so that not all computers of an office begin at once.
func (f Facts) up() time.Time {
	up := later(f.Started, f.Woke)
	if up.After(f.Now) {
		return f.Now // the clock was put back since
	}
	return up.Add(time.Duration(f.share() * float64(spread)))
}

// timed is the first of the named times since the last backup, and a little
// later: never earlier, since it may be the beginning of the night. It is zero
// when there are none.
func (f Facts) timed() time.Time {
	c, ok := f.Settings.Rhythm.Value.Times()
	if !ok {
		return time.Time{}
	}
	at := c.Next(f.here(f.LastDone))
	if at.IsZero() {
		return at
	}
	return later(at.Add(f.spread(c.Next(at).Sub(at))), f.LastDone.Add(MinInterval))
}

// wait moves a backup to when the obstacles have ended of which one knows when
// they do.
func (f Facts) wait(d *Decision) {
	if f.Asked != Nobody {
		return
	}
	e := f.Settings
	if until := e.PausedUntil.Value; e.Paused(f.Now) && d.At.Before(until) {
		d.At = until
		d.Blocked = append(d.Blocked, Block{By: Paused, Until: until})
	}
	if at := f.within(e.Hours(), d.At); at.After(d.At) {
		d.At = at
		if at.After(f.Now) {
			d.Blocked = append(d.Blocked, Block{By: Hours, Until: at})
		}
	}
}

// within is when a backup begins that is due at a time, in the first of the
// hours after that which are not over: when they begin or, like all that begin
// with them, a while later. Hours that never come are none.
func (f Facts) within(h profile.Hours, due time.Time) time.Time {
	from := f.here(later(due, f.Now.Add(-week)))
	for {
		opens := h.Opens(from)
		if opens.IsZero() {
			return due
		}
		closes := h.Closes(opens)
		if closes.IsZero() || closes.After(f.Now) {
			if opens.Equal(from) {
				return opens
			}
			return opens.Add(f.spread(closes.Sub(opens)))
		}
		from = closes
	}
}

// inTheWay is what stands in the way now and ends nobody knows when.
func (f Facts) inTheWay(by Asker) (blocks []Block) {
	if f.Held {
		blocks = append(blocks, Block{By: Hold})
	}
	if by == User {
		return blocks
	}
	rules := f.Settings.Settings.Networks
	if f.Power.Battery && f.Power.Percent < rules.BatteryPercent {
		blocks = append(blocks, Block{By: Battery})
	}
	if f.Network.Known && f.Network.Metered && rules.Metered != profile.MeteredAllow {
		blocks = append(blocks, Block{By: Metered})
	}
	if rule, ok := f.Settings.Permits(f.Network); !ok {
		blocks = append(blocks, Block{By: Network, Rule: rule})
	}
	return blocks
}

// here is t on this device's clock.
func (f Facts) here(t time.Time) time.Time { return t.In(f.Now.Location()) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (f Facts) interval() time.Duration {
	minutes := f.Settings.Rhythm.Value.IntervalMinutes
	if minutes == 0 {
		return MaxInterval // there is a cron instead
	}
	return min(max(time.Duration(minutes)*time.Minute, MinInterval), MaxInterval)
}

// jitter returns d, up to a tenth more or less, or what the profile says instead
// of a tenth: always the same for one device and one last backup, so that the
// decision does not move while it is waited for.
func (f Facts) jitter(d time.Duration) time.Duration {
	return d + time.Duration((f.share()-0.5)*2*f.percent()*float64(d))
}

// spread is how long after the beginning of a time of this length a backup
// begins.
func (f Facts) spread(length time.Duration) time.Duration {
	return time.Duration(f.share() * min(f.percent()*float64(max(length, 0)), float64(maxSpread)))
}

func (f Facts) percent() float64 {
	return float64(f.Settings.Settings.Schedule.JitterPercent) / 100
}

// share is a number from 0 up to 1 that follows from the device and its last
// backup.
func (f Facts) share() float64 {
	h := fnv.New64a()
	h.Write([]byte(f.Device))
	h.Write(f.LastDone.UTC().AppendFormat(nil, time.RFC3339Nano))
	// FNV's high bits change little with the last bytes; a multiplication by an
	// odd number carries the low ones up.
	return float64((h.Sum64()*0x9E3779B97F4A7C15)>>11) / (1 << 53)
}
