package profile

import (
	"cmp"
	"reflect"
	"slices"
	"time"
)

// Source says who a value in force is from.
type Source string

// Who a value is from. A profile's value that nobody has changed, since it is
// what new profiles have, is the default.
const (
	FromProfile Source = "profile"
	FromUser    Source = "user"
	FromDefault Source = "default"
)

// Ignored says why a user's choice is not in force, or not as it was made.
type Ignored string

// Why a choice is not in force.
const (
	NotAllowed Ignored = "not_allowed" // the profile does not let users choose this
	Invalid    Ignored = "invalid"     // it is none, or leaves no time for backups
	Lower      Ignored = "lower"       // the profile's limit is lower
	TooLong    Ignored = "too_long"    // a pause is cut to what the profile lets it be
	Mandatory  Ignored = "mandatory"   // a folder that has to be backed up
)

// Value is a value in force.
type Value[T any] struct {
	Value   T
	Source  Source
	Profile T       // what holds without the user's choice
	Ignored Ignored // why the user's choice does not hold, empty when it does or there is none
}

// Rhythm is how often or when backups run: Cron when it is not empty.
type Rhythm struct {
	IntervalMinutes int    `json:"interval_minutes,omitempty"`
	Cron            string `json:"cron,omitempty"`
}

// Linked is a folder that a device backs up, or one that its user left out.
type Linked struct {
	Folder
	Source   Source // FromProfile or FromUser
	Unlinked bool
	Ignored  Ignored // why it is backed up although its user left it out, or not although it is their own
}

// Backed reports whether the folder is backed up.
func (l Linked) Backed() bool {
	return !l.Unlinked && (l.Source == FromProfile || l.Ignored == "")
}

// Effective are the values in force on one device.
type Effective struct {
	Settings Settings // the profile's, for all that users do not choose

	Rhythm      Value[Rhythm]
	Windows     Value[[]Window]
	UpKbps      Value[int] // apart from the profile's table, see UpAt
	UpPercent   Value[int] // of the line
	CPU         Value[CPU]
	NetworksOut Value[[]string]
	PausedUntil Value[time.Time] // zero when there is no pause
	PausedAt    time.Time        // when it began
	Folders     []Linked         // the profile's, then the user's own

	userKbps, userPercent int // the user's own limit, 0 for none
}

// Merge says which values are in force on a device with these settings whose
// user made these choices. A choice that the profile does not allow, or that
// cannot be meant, changes nothing and is named as ignored.
func Merge(s Settings, c Choices) Effective {
	s, c = s.normal(), c.normal()
	d, may := Defaults(), s.UserMay
	e := Effective{Settings: s}

	rhythm := Rhythm{IntervalMinutes: c.IntervalMinutes, Cron: c.Cron}
	e.Rhythm = pick(Rhythm{s.IntervalMinutes, s.Schedule.Cron}, Rhythm{IntervalMinutes: d.IntervalMinutes},
		rhythm, rhythm != Rhythm{}, unless(may.Schedule, rhythm.valid(), Invalid))
	hours := Hours{Windows: c.Windows, Blackouts: s.Schedule.Blackouts}
	e.Windows = pick(s.Schedule.Windows, d.Schedule.Windows,
		c.Windows, c.Windows != nil, unless(may.Schedule, hours.valid(), Invalid))
	e.CPU = pick(s.CPU, d.CPU, c.CPU, c.CPU != "", unless(may.CPU, c.CPU.valid(), Invalid))
	e.NetworksOut = pick(nil, nil, c.NetworksOut, c.NetworksOut != nil,
		unless(may.Networks, !slices.ContainsFunc(c.NetworksOut, tooWide), Invalid))
	b := s.Bandwidth
	e.UpKbps, e.userKbps = lowest(b.UpKbps, c.UpKbps, may.Bandwidth, rate(c.UpKbps))
	e.UpPercent, e.userPercent = lowest(b.Percent, c.UpPercent, may.Bandwidth, c.UpPercent >= 0 && c.UpPercent <= 100)
	e.mergePause(c)
	e.mergeFolders(c)
	return e
}

// pick is the user's choice if one was made and nothing is against it, and else
// the profile's.
func pick[T any](profile, standard, chosen T, made bool, against Ignored) Value[T] {
	v := Value[T]{Value: profile, Profile: profile, Source: FromProfile}
	if reflect.DeepEqual(profile, standard) {
		v.Source = FromDefault
	}
	switch {
	case !made:
	case against != "":
		v.Ignored = against
	default:
		v.Value, v.Source = chosen, FromUser
	}
	return v
}

// unless says what is against a choice: that the profile does not allow it, or
// what is wrong with it.
func unless(allowed, right bool, wrong Ignored) Ignored {
	switch {
	case !allowed:
		return NotAllowed
	case !right:
		return wrong
	}
	return ""
}

// lowest is the lower of the profile's limit and the user's, where 0 is none, and
// the user's as far as it counts.
func lowest(profile, chosen int, may, right bool) (v Value[int], own int) {
	against := unless(may, right, Invalid)
	if against == "" {
		own = chosen
		if lower(profile, chosen) != chosen {
			against = Lower
		}
	}
	return pick(profile, 0, chosen, chosen != 0, against), own
}

// Limit is a limit for what backups send, in kilobits a second and in percent of
// the line. 0 is none. Where the profile says the one and the user the other,
// both hold: whichever is lower then.
type Limit struct {
	Kbps    int `json:"kbps,omitempty"`
	Percent int `json:"percent,omitempty"`
}

// Limit is what backups send at most, apart from the profile's table. It is from
// the user where either is.
func (e Effective) Limit() Value[Limit] {
	k, p := e.UpKbps, e.UpPercent
	v := Value[Limit]{Value: Limit{k.Value, p.Value}, Profile: Limit{k.Profile, p.Profile}, Source: FromDefault, Ignored: cmp.Or(k.Ignored, p.Ignored)}
	for _, from := range []Source{FromProfile, FromUser} {
		if k.Source == from || p.Source == from {
			v.Source = from
		}
	}
	return v
}

// lower is the lower of two limits, where 0 is none.
func lower(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// UpAt is the limit for what backups send at t, by the clock of t's time zone:
// kilobits a second, and percent of the line. 0 is none; both can hold at once.
func (e Effective) UpAt(t time.Time) (kbps, percent int) {
	kbps, percent = e.Settings.Bandwidth.At(t)
	return lower(kbps, e.userKbps), lower(percent, e.userPercent)
}

// mergePause cuts a pause to what the profile lets it be.
func (e *Effective) mergePause(c Choices) {
	may := e.Settings.UserMay
	against := unless(may.Pause, !c.PausedAt.IsZero() && c.PausedUntil.After(c.PausedAt), Invalid)
	e.PausedUntil = pick(time.Time{}, time.Time{}, c.PausedUntil, !c.PausedUntil.IsZero(), against)
	if e.PausedUntil.Value.IsZero() {
		return
	}
	e.PausedAt = c.PausedAt
	if last := c.PausedAt.Add(time.Duration(may.PauseMaxHours) * time.Hour); c.PausedUntil.After(last) {
		e.PausedUntil.Value, e.PausedUntil.Ignored = last, TooLong
	}
}

// mergeFolders lists the profile's folders with those that the user left out,
// and then the user's own.
func (e *Effective) mergeFolders(c Choices) {
	may := e.Settings.UserMay
	for _, f := range e.Settings.Folders {
		l := Linked{Folder: f, Source: FromProfile}
		if slices.Contains(c.Unlinked, f.Path) {
			if f.Mandatory {
				l.Ignored = Mandatory
			} else {
				l.Unlinked = true
			}
		}
		e.Folders = append(e.Folders, l)
	}
	for _, path := range c.Folders {
		if slices.ContainsFunc(e.Folders, func(l Linked) bool { return l.Path == path && !l.Unlinked }) {
			continue
		}
		e.Folders = append(e.Folders, Linked{Folder: Folder{Path: path}, Source: FromUser, Ignored: unless(may.Folders, own(path), Invalid)})
	}
}

func (r Rhythm) valid() bool {
	if r.Cron != "" {
		_, err := ParseCron(r.Cron)
		return err == nil && r.IntervalMinutes == 0
	}
	return r.IntervalMinutes >= MinInterval && r.IntervalMinutes <= MaxInterval
}

// Times are those of Cron, if there is one.
func (r Rhythm) Times() (Cron, bool) {
	c, err := readCron(r.Cron)
	return c, err == nil
}

// Interval is the longest time between two backups that the rhythm asks for.
func (r Rhythm) Interval(now time.Time) time.Duration {
	if c, ok := r.Times(); ok {
		return c.LongestGap(now)
	}
	return time.Duration(r.IntervalMinutes) * time.Minute
}

func (h Hours) valid() bool {
	invalid := func(w Window) bool { return !w.valid() }
	return !slices.ContainsFunc(h.Windows, invalid) && len(h.Windows) <= MaxWindows && !h.never()
}

func (c CPU) valid() bool { return c == CPULow || c == CPUNormal || c == CPUAdaptive }

// Hours are when backups may run.
func (e Effective) Hours() Hours {
	return Hours{Windows: e.Windows.Value, Blackouts: e.Settings.Schedule.Blackouts}
}

// Permits reports whether backups go over the network that a computer is in, and
// if not which rule says so, see Networks.Permits.
func (e Effective) Permits(c Connection) (Network, bool) {
	if n, out := outOf(e.NetworksOut.Value, c); out {
		return n, false
	}
	return e.Settings.Networks.Permits(c)
}

// clockSlack is how far a clock is put right without being told.
const clockSlack = 5 * time.Minute

// Paused reports whether the user's pause is on. One that begins in the future
// was made before the clock was put back, and nobody knows how long it would
// last: it is off.
func (e Effective) Paused(now time.Time) bool {
	return now.Before(e.PausedUntil.Value) && !now.Add(clockSlack).Before(e.PausedAt)
}

// Protects reports whether a complete backup still protects the device: the one
// rule of the console, the portal, the client and what its user is told.
func (e Effective) Protects(done, now time.Time) bool {
	return !done.IsZero() && now.Sub(done) < e.ProtectedFor(now)
}

// ProtectedFor is how long a device counts as protected after a complete
// backup: twice the interval, but a day at least. The longest time in which the
// settings let no backup run is added to it (decision 18).
func (e Effective) ProtectedFor(now time.Time) time.Duration {
	return max(24*time.Hour, 2*e.Rhythm.Value.Interval(now)+e.Hours().longestClosed(now))
}
