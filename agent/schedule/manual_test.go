package schedule

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests must not depend on what this computer has

	"github.com/backstay/backstay/profile"
)

// page is a case of the manual: what is known, and what follows from it.
type page struct {
	name string
	zone string // Europe/Paris when empty
	now  string // as the clock shows it, with the zone's abbreviation
	// The computer was started a week before, unless up says otherwise, and the
	// last backup ended at done.
	up, woke, done, tried string
	failures              int
	wait                  time.Duration
	profile               func(*profile.Settings)
	choices               profile.Choices
	asked                 Asker
	held                  bool
	power                 Power
	network               profile.Connection
	want                  string // see shown
}

const wall = "2 Jan 2006 15:04 MST"

// shown is a decision in words: when and why; what stands in the way, and until
// when; when it has to stop.
func shown(d Decision, now time.Time) string {
	text := func(t time.Time) string { return t.In(now.Location()).Format(wall) }
	s := "now"
	if d.At.After(now) {
		s = text(d.At)
	}
	s += ", " + string(d.Reason)
	for _, b := range d.Blocked {
		s += "; " + string(b.By)
		if b.Rule != (profile.Network{}) {
			s += " " + b.Rule.String()
		}
		if !b.Until.IsZero() {
			s += " until " + text(b.Until)
		}
	}
	if !d.MayRunUntil.IsZero() {
		s += "; stops " + text(d.MayRunUntil)
	}
	return s
}

func (p page) facts(t *testing.T) Facts {
	t.Helper()
	loc, err := time.LoadLocation(p.zone)
	if p.zone == "" {
		loc, err = time.LoadLocation("Europe/Paris")
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func(text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		at, err := time.ParseInLocation(wall, text, loc)
		if err != nil || at.Format(wall) != text {
			t.Fatalf("%s: %s is %v, %v", p.name, text, at, err)
		}
		return at
	}
	s := profile.Defaults()
	s.Schedule.JitterPercent = 0 // so that times are round
	if p.profile != nil {
		p.profile(&s)
	}
	if err := s.Validate(); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	f := Facts{Now: read(p.now), Settings: profile.Merge(s, p.choices), Device: p.name, Started: read(p.up), Woke: read(p.woke), LastDone: read(p.done), LastTry: read(p.tried),
		Failures: p.failures, Wait: p.wait, Asked: p.asked, Held: p.held, Power: p.power, Network: p.network}
	if p.up == "" {
		f.Started = f.Now.AddDate(0, 0, -7)
	}
	if p.tried == "" {
		f.LastTry = f.LastDone
	}
	f.LastDone = f.LastDone.UTC() // what a device remembers has no time zone
	return f
}

func cron(text string) func(*profile.Settings) {
	return func(s *profile.Settings) { s.Schedule.Cron = text }
}

func hours(text string, days ...string) profile.Window {
	from, to, _ := strings.Cut(text, "-")
	f, err1 := profile.ParseClock(from)
	u, err2 := profile.ParseClock(to)
	d, err3 := profile.ParseDays(days)
	if err1 != nil || err2 != nil || err3 != nil {
		panic(text)
	}
	return profile.Window{From: f, To: u, Days: d}
}

// only within these windows, and going on in the next when it is not done.
func within(w ...profile.Window) func(*profile.Settings) {
	return func(s *profile.Settings) { s.Schedule.Windows, s.Schedule.OnWindowEnd = w, profile.Pause }
}

func network(addr string) profile.Connection {
	return profile.Connection{Known: true, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}
}

// TestManual is the manual of the schedule: each line is a situation that a
// computer gets into, and what it does.
func TestManual(t *testing.T) {
	t.Parallel()
	workdays := []string{"mon", "tue", "wed", "thu", "fri"}
	night := hours("20:00-06:00", workdays...)
	utc := func(text string) time.Time {
		at, err := time.Parse(wall, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	metered, office := network("192.168.1.7"), network("10.0.0.7")
	metered.Metered = true

	for _, p := range []page{
		// How often.
		{name: "a new device backs up at once", now: "23 Nov 2026 10:00 CET", up: "23 Nov 2026 10:00 CET", want: "now, first"},
		{name: "the interval counts from the end of the last backup", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:15 CET",
			want: "23 Nov 2026 13:15 CET, interval"},
		{name: "the profile's interval", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:15 CET", profile: every(60),
			want: "23 Nov 2026 10:15 CET, interval"},
		{name: "the user's interval", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:15 CET", choices: profile.Choices{IntervalMinutes: 50},
			want: "23 Nov 2026 10:05 CET, interval"},
		{name: "a user's interval that the profile does not allow", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:15 CET",
			profile: func(s *profile.Settings) { s.UserMay.Schedule = false }, choices: profile.Choices{IntervalMinutes: 50},
			want: "23 Nov 2026 13:15 CET, interval"},
		{name: "a profile with a shorter interval makes a backup due", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 08:00 CET", profile: every(60),
			want: "now, interval"},

		// At which times.
		{name: "times of the day", now: "23 Nov 2026 10:00 CET", done: "22 Nov 2026 12:40 CET", profile: cron("30 12 * * *"),
			want: "23 Nov 2026 12:30 CET, timed"},
		{name: "times of working days", now: "20 Nov 2026 13:00 CET", done: "20 Nov 2026 12:40 CET", profile: cron("30 12 * * mon-fri"),
			want: "23 Nov 2026 12:30 CET, timed"},
		{name: "the user's times instead of an interval", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:15 CET", choices: profile.Choices{Cron: "0 17 * * *"},
			want: "23 Nov 2026 17:00 CET, timed"},
		{name: "a backup that took until the next time", now: "23 Nov 2026 12:58 CET", done: "23 Nov 2026 12:58 CET", profile: cron("0 * * * *"),
			want: "23 Nov 2026 13:03 CET, timed"},
		{name: "a new device does not wait for its time", now: "23 Nov 2026 10:00 CET", up: "23 Nov 2026 09:00 CET", profile: cron("30 12 * * *"), want: "now, first"},

		// Asleep or off.
		{name: "off when it was due: once, when it is on again", now: "23 Nov 2026 10:00 CET", up: "23 Nov 2026 09:00 CET", done: "20 Nov 2026 17:00 CET",
			want: "now, catch-up"},
		{name: "asleep over many times: once, when it wakes", now: "23 Nov 2026 09:00 CET", woke: "23 Nov 2026 09:00 CET", done: "20 Nov 2026 17:00 CET", profile: cron("0 * * * *"),
			want: "now, catch-up"},
		{name: "and then as ever", now: "23 Nov 2026 09:30 CET", woke: "23 Nov 2026 09:00 CET", done: "23 Nov 2026 09:10 CET", profile: cron("0 * * * *"),
			want: "23 Nov 2026 10:00 CET, timed"},
		{name: "asleep, but nothing was due", now: "23 Nov 2026 09:00 CET", woke: "23 Nov 2026 09:00 CET", done: "23 Nov 2026 08:00 CET",
			want: "23 Nov 2026 12:00 CET, interval"},
		{name: "asleep through the window: in the next one", now: "24 Nov 2026 08:30 CET", woke: "24 Nov 2026 08:30 CET", done: "20 Nov 2026 23:00 CET", profile: within(night),
			want: "24 Nov 2026 20:00 CET, catch-up; hours until 24 Nov 2026 20:00 CET; stops 25 Nov 2026 06:00 CET"},
		{name: "woken within the window", now: "24 Nov 2026 21:30 CET", woke: "24 Nov 2026 21:30 CET", done: "20 Nov 2026 23:00 CET", profile: within(night),
			want: "now, catch-up; stops 25 Nov 2026 06:00 CET"},
		{name: "nobody at the computer is no reason to wait", now: "23 Nov 2026 03:00 CET", done: "22 Nov 2026 22:00 CET", want: "now, interval"},

		// Windows and blackouts, in the device's own time.
		{name: "due by day, in the window by night", now: "23 Nov 2026 14:00 CET", done: "23 Nov 2026 05:30 CET", profile: within(night),
			want: "23 Nov 2026 20:00 CET, interval; hours until 23 Nov 2026 20:00 CET; stops 24 Nov 2026 06:00 CET"},
		{name: "due in the window", now: "23 Nov 2026 20:10 CET", done: "23 Nov 2026 20:05 CET", profile: within(night),
			want: "24 Nov 2026 00:05 CET, interval; stops 24 Nov 2026 06:00 CET"},
		{name: "due when the window ends: in the next one", now: "24 Nov 2026 05:00 CET", done: "24 Nov 2026 02:00 CET", profile: within(night),
			want: "24 Nov 2026 20:00 CET, interval; hours until 24 Nov 2026 20:00 CET; stops 25 Nov 2026 06:00 CET"},
		{name: "no window at the weekend", now: "28 Nov 2026 06:00 CET", done: "28 Nov 2026 05:30 CET", profile: within(night),
			want: "30 Nov 2026 20:00 CET, interval; hours until 30 Nov 2026 20:00 CET; stops 1 Dec 2026 06:00 CET"},
		{name: "a first backup waits too", now: "23 Nov 2026 10:00 CET", up: "23 Nov 2026 10:00 CET", profile: within(night),
			want: "23 Nov 2026 20:00 CET, first; hours until 23 Nov 2026 20:00 CET; stops 24 Nov 2026 06:00 CET"},
		{name: "a backup may finish when the profile says so", now: "23 Nov 2026 20:10 CET", done: "23 Nov 2026 20:05 CET",
			profile: func(s *profile.Settings) { s.Schedule.Windows = []profile.Window{night} }, want: "24 Nov 2026 00:05 CET, interval"},
		{name: "a blackout", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET",
			profile: func(s *profile.Settings) { s.Schedule.Blackouts = []profile.Window{hours("09:00-12:00", "mon")} },
			want:    "23 Nov 2026 12:00 CET, interval; hours until 23 Nov 2026 12:00 CET"},
		{name: "a blackout that comes later", now: "23 Nov 2026 07:00 CET", done: "23 Nov 2026 06:30 CET",
			profile: func(s *profile.Settings) { s.Schedule.Blackouts = []profile.Window{hours("09:00-12:00", "mon")} },
			want:    "23 Nov 2026 12:00 CET, interval; hours until 23 Nov 2026 12:00 CET"},
		{name: "the user's window", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", choices: profile.Choices{Windows: []profile.Window{hours("12:00-14:00")}},
			want: "23 Nov 2026 12:00 CET, interval; hours until 23 Nov 2026 12:00 CET"},
		{name: "a user who wants none of the profile's windows", now: "23 Nov 2026 14:00 CET", done: "23 Nov 2026 05:30 CET", profile: within(night),
			choices: profile.Choices{Windows: []profile.Window{}}, want: "now, interval"},
		{name: "times that lie outside of the window", now: "23 Nov 2026 10:00 CET", done: "22 Nov 2026 22:00 CET",
			profile: func(s *profile.Settings) { s.Schedule.Cron = "0 12 * * *"; within(night)(s) },
			want:    "23 Nov 2026 20:00 CET, timed; hours until 23 Nov 2026 20:00 CET; stops 24 Nov 2026 06:00 CET"},

		// Summer time. The clock in Paris goes from 02:00 to 03:00 on 28 March 2027,
		// and from 03:00 back to 02:00 on 25 October 2026; in Los Angeles it does so on
		// 14 March 2027 and, an hour earlier, on 1 November 2026.
		{name: "an interval is real time", now: "28 Mar 2027 01:00 CET", done: "28 Mar 2027 00:30 CET", want: "28 Mar 2027 05:30 CEST, interval"},
		{name: "02:30 does not come in spring: then at the change", now: "28 Mar 2027 01:00 CET", done: "27 Mar 2027 02:40 CET", profile: cron("30 2 * * *"),
			want: "28 Mar 2027 03:00 CEST, timed"},
		{name: "and in Los Angeles", zone: "America/Los_Angeles", now: "14 Mar 2027 01:00 PST", done: "13 Mar 2027 02:40 PST", profile: cron("30 2 * * *"),
			want: "14 Mar 2027 03:00 PDT, timed"},
		{name: "02:30 comes twice in autumn: at the first", now: "25 Oct 2026 01:00 CEST", done: "24 Oct 2026 02:40 CEST", profile: cron("30 2 * * *"),
			want: "25 Oct 2026 02:30 CEST, timed"},
		{name: "and not at the second", now: "25 Oct 2026 02:10 CET", done: "25 Oct 2026 02:40 CEST", profile: cron("30 2 * * *"),
			want: "26 Oct 2026 02:30 CET, timed"},
		{name: "and in Los Angeles", zone: "America/Los_Angeles", now: "1 Nov 2026 01:10 PST", done: "1 Nov 2026 01:40 PDT", profile: cron("30 1 * * *"),
			want: "2 Nov 2026 01:30 PST, timed"},
		{name: "the first was slept through: at the second it is late, not new", now: "25 Oct 2026 02:10 CET", woke: "25 Oct 2026 02:10 CET", done: "24 Oct 2026 02:40 CEST", profile: cron("30 2 * * *"),
			want: "now, catch-up"},
		{name: "a window from 20:00 to 06:00 is an hour shorter in spring", now: "28 Mar 2027 01:00 CET", done: "27 Mar 2027 20:05 CET", profile: within(hours("20:00-06:00")),
			want: "now, interval; stops 28 Mar 2027 06:00 CEST"},
		{name: "a window that does not come in spring", now: "28 Mar 2027 01:00 CET", done: "27 Mar 2027 02:15 CET", profile: within(hours("02:00-03:00")),
			want: "29 Mar 2027 02:00 CEST, interval; hours until 29 Mar 2027 02:00 CEST; stops 29 Mar 2027 03:00 CEST"},
		{name: "a window that comes twice in autumn is open twice as long", now: "25 Oct 2026 02:10 CEST", done: "24 Oct 2026 02:15 CEST", profile: within(hours("02:00-03:00")),
			want: "now, interval; stops 25 Oct 2026 03:00 CET"},
		{name: "a window by day in Los Angeles, over the change", zone: "America/Los_Angeles", now: "13 Mar 2027 18:00 PST", done: "13 Mar 2027 12:00 PST", profile: within(hours("09:00-17:00")),
			want: "14 Mar 2027 09:00 PDT, interval; hours until 14 Mar 2027 09:00 PDT; stops 14 Mar 2027 17:00 PDT"},

		// Another time zone: the clock on the wall counts, the interval does not see it.
		{name: "flown west, the interval goes on", zone: "America/Los_Angeles", now: "22 Nov 2026 14:00 PST", done: "22 Nov 2026 13:00 PST", want: "22 Nov 2026 17:00 PST, interval"},
		{name: "flown west, noon comes again", zone: "America/Los_Angeles", now: "23 Nov 2026 05:00 PST", done: "23 Nov 2026 03:40 PST" /* 12:40 in Paris */, profile: cron("30 12 * * *"),
			want: "23 Nov 2026 12:30 PST, timed"},
		{name: "flown east, the window has begun", zone: "Asia/Tokyo", now: "23 Nov 2026 21:00 JST", done: "23 Nov 2026 13:30 JST", profile: within(night),
			want: "now, interval; stops 24 Nov 2026 06:00 JST"},

		// The clock is put right, or wrong.
		{name: "put back by years: the last backup lies in the future", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2036 09:00 CET", want: "now, clock"},
		{name: "put back by years, and the last try failed", now: "23 Nov 2026 10:00 CET", done: "20 Nov 2026 10:00 CET", tried: "23 Nov 2036 09:00 CET", failures: 2, want: "now, clock"},
		{name: "put back by years, and the backup after that failed", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2036 09:00 CET", tried: "23 Nov 2026 10:00 CET", failures: 1, want: "23 Nov 2026 10:02 CET, again"},
		{name: "put back by years since the start", now: "23 Nov 2026 10:00 CET", up: "23 Nov 2036 09:00 CET", done: "23 Nov 2026 09:00 CET", want: "23 Nov 2026 13:00 CET, interval"},
		{name: "put right by a minute", now: "23 Nov 2026 09:59 CET", done: "23 Nov 2026 10:00 CET", want: "23 Nov 2026 14:00 CET, interval"},
		{name: "put on by years: due once", now: "23 Nov 2036 10:00 CET", up: "23 Nov 2026 09:00 CET", done: "23 Nov 2026 09:30 CET", want: "now, interval"},
		{name: "put back during a pause: the pause is off", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET",
			choices: profile.Choices{PausedAt: utc("23 Nov 2036 09:00 UTC"), PausedUntil: utc("23 Nov 2036 10:00 UTC")}, want: "now, interval"},

		// Tries that failed.
		{name: "tried again after two minutes", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", tried: "23 Nov 2026 10:00 CET", failures: 1, want: "23 Nov 2026 10:02 CET, again"},
		{name: "and then seldomer", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", tried: "23 Nov 2026 10:00 CET", failures: 4, want: "23 Nov 2026 10:16 CET, again"},
		{name: "once an hour at last", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", tried: "23 Nov 2026 10:00 CET", failures: 50, want: "23 Nov 2026 11:00 CET, again"},
		{name: "when the server says it is busy", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", tried: "23 Nov 2026 10:00 CET", failures: 1, wait: 25 * time.Minute, want: "23 Nov 2026 10:25 CET, again"},
		{name: "not outside of the windows", now: "24 Nov 2026 05:59 CET", done: "23 Nov 2026 22:00 CET", tried: "24 Nov 2026 05:59 CET", failures: 1, profile: within(night),
			want: "24 Nov 2026 20:00 CET, again; hours until 24 Nov 2026 20:00 CET; stops 25 Nov 2026 06:00 CET"},

		// Power and networks hold a backup up for as long as they last.
		{name: "on battery", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", power: Power{Battery: true, Percent: 29}, want: "now, interval; battery"},
		{name: "on a fuller battery", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", power: Power{Battery: true, Percent: 30}, want: "now, interval"},
		{name: "low, but on mains", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", power: Power{Percent: 3}, want: "now, interval"},
		{name: "a profile that minds no battery", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", power: Power{Battery: true, Percent: 3},
			profile: func(s *profile.Settings) { s.Networks.BatteryPercent = 0 }, want: "now, interval"},
		{name: "on a metered network", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", network: metered, want: "now, interval; metered"},
		{name: "a profile that minds no meter", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", network: metered,
			profile: func(s *profile.Settings) { s.Networks.Metered = profile.MeteredAllow }, want: "now, interval"},
		{name: "known before it is due", now: "23 Nov 2026 06:00 CET", done: "23 Nov 2026 05:00 CET", network: metered, want: "23 Nov 2026 09:00 CET, interval; metered"},
		{name: "on a network that is not the office's", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", network: network("192.168.1.7"),
			profile: func(s *profile.Settings) { s.Networks.Allow = []profile.Network{{CIDR: "10.0.0.0/8"}} }, want: "now, interval; network"},
		{name: "in the office", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", network: office,
			profile: func(s *profile.Settings) { s.Networks.Allow = []profile.Network{{CIDR: "10.0.0.0/8"}} }, want: "now, interval"},
		{name: "on a network that the user leaves out", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", network: network("192.168.1.7"),
			choices: profile.Choices{NetworksOut: []string{"192.168.1.0/24"}}, want: "now, interval; network 192.168.1.0/24"},
		{name: "on nobody knows what", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET",
			profile: func(s *profile.Settings) { s.Networks.Allow = []profile.Network{{CIDR: "10.0.0.0/8"}} }, want: "now, interval"},
		{name: "all at once", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", network: metered, power: Power{Battery: true, Percent: 3}, profile: within(night),
			want: "23 Nov 2026 20:00 CET, interval; hours until 23 Nov 2026 20:00 CET; battery; metered; stops 24 Nov 2026 06:00 CET"},

		// Pauses and holds.
		{name: "the user's pause", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET",
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 08:00 UTC"), PausedUntil: utc("23 Nov 2026 11:30 UTC")}, want: "23 Nov 2026 12:30 CET, interval; paused until 23 Nov 2026 12:30 CET"},
		{name: "a pause that ends before it is due", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:00 CET",
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 08:00 UTC"), PausedUntil: utc("23 Nov 2026 11:30 UTC")}, want: "23 Nov 2026 13:00 CET, interval"},
		{name: "a pause that is over", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET",
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 08:00 UTC"), PausedUntil: utc("23 Nov 2026 09:00 UTC")}, want: "now, interval"},
		{name: "a pause of days is cut to one", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET",
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 08:00 UTC"), PausedUntil: utc("30 Nov 2026 08:00 UTC")}, want: "24 Nov 2026 09:00 CET, interval; paused until 24 Nov 2026 09:00 CET"},
		{name: "a pause that ends outside of the windows", now: "23 Nov 2026 21:00 CET", done: "23 Nov 2026 05:00 CET", profile: within(night),
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 18:00 UTC"), PausedUntil: utc("24 Nov 2026 08:00 UTC")},
			want:    "24 Nov 2026 20:00 CET, interval; paused until 24 Nov 2026 09:00 CET; hours until 24 Nov 2026 20:00 CET; stops 25 Nov 2026 06:00 CET"},
		{name: "a hold by an administrator", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", held: true, want: "now, interval; hold"},

		// Asked for. A user overrides everything once, but not an administrator.
		{name: "asked by the user", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 09:59 CET", asked: User, want: "now, asked"},
		{name: "by the user, outside of the window", now: "23 Nov 2026 10:00 CET", done: "23 Nov 2026 05:00 CET", asked: User, profile: within(night), want: "now, asked"},
		{name: "by the user, on battery and metered", now: "23 Nov 2026 10:00 CET", asked: User, power: Power{Battery: true, Percent: 3}, network: metered, want: "now, asked"},
		{name: "by the user, on a network that is not allowed", now: "23 Nov 2026 10:00 CET", asked: User, network: network("192.168.1.7"),
			profile: func(s *profile.Settings) { s.Networks.Allow = []profile.Network{{CIDR: "10.0.0.0/8"}} }, want: "now, asked"},
		{name: "by the user, in their own pause", now: "23 Nov 2026 10:00 CET", asked: User,
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 08:00 UTC"), PausedUntil: utc("23 Nov 2026 11:30 UTC")}, want: "now, asked"},
		{name: "by the user, while the server is busy", now: "23 Nov 2026 10:00 CET", asked: User, tried: "23 Nov 2026 09:59 CET", failures: 7, wait: time.Hour, want: "now, asked"},
		{name: "by the user, against a hold", now: "23 Nov 2026 10:00 CET", asked: User, held: true, want: "now, asked; hold"},
		{name: "by an administrator, outside of the window and in a pause", now: "23 Nov 2026 10:00 CET", asked: Administrator, profile: within(night),
			choices: profile.Choices{PausedAt: utc("23 Nov 2026 08:00 UTC"), PausedUntil: utc("23 Nov 2026 11:30 UTC")}, want: "now, asked"},
		{name: "by an administrator, on the user's data plan", now: "23 Nov 2026 10:00 CET", asked: Administrator, network: metered, want: "now, asked; metered"},
		{name: "by an administrator, on battery", now: "23 Nov 2026 10:00 CET", asked: Administrator, power: Power{Battery: true, Percent: 3}, want: "now, asked; battery"},
	} {
		f := p.facts(t)
		d := Next(f)
		if got := shown(d, f.Now); got != p.want && !soon(d, f, p.want) {
			t.Errorf("%s:\n  got  %s\n  want %s", p.name, got, p.want)
		}
		if due := strings.HasPrefix(p.want, "now") && len(d.Blocked) == 0; due != d.Due(f.Now) && !soon(d, f, p.want) {
			t.Errorf("%s: due %v", p.name, d.Due(f.Now))
		}
	}
}

// soon reports whether a backup begins within the minute over which first and
// caught up ones are spread.
func soon(d Decision, f Facts, want string) bool {
	return (d.Reason == First || d.Reason == CatchUp) && d.At.Sub(f.Now) < spread && shown(Decision{Reason: d.Reason, Blocked: d.Blocked, MayRunUntil: d.MayRunUntil}, f.Now) == want
}

// A running backup that was due stops for all that would not have let it begin,
// one that was asked for only for what stands above who asked.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	metered := network("192.168.1.7")
	metered.Metered = true
	noon := time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)
	pause := profile.Choices{PausedAt: noon.Add(-time.Hour), PausedUntil: noon.Add(time.Hour)}
	night := hours("20:00-06:00")
	finish := func(s *profile.Settings) { s.Schedule.Windows = []profile.Window{night} }
	for _, c := range []struct {
		page
		due, user, admin string
	}{
		{page{name: "nothing"}, "", "", ""},
		{page{name: "the end of the window", profile: within(night)}, "hours", "", ""},
		{page{name: "the end of a window in which it may finish", profile: finish}, "", "", ""},
		{page{name: "the user's pause", choices: pause}, "paused", "", ""},
		{page{name: "a hold", held: true}, "hold", "hold", "hold"},
		{page{name: "the battery", power: Power{Battery: true, Percent: 3}}, "battery", "", "battery"},
		{page{name: "another network", network: metered}, "metered", "", "metered"},
	} {
		c.now = "23 Nov 2026 12:00 CET"
		f := c.facts(t)
		for by, want := range map[Asker]string{Nobody: c.due, User: c.user, Administrator: c.admin} {
			var got []string
			for _, b := range Interrupt(f, by) {
				got = append(got, string(b.By))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s, asked by %q: %v, want %q", c.name, by, got, want)
			}
		}
	}
}

// Devices with the same window or the same time do not begin at once.
func TestTimesAreSpread(t *testing.T) {
	t.Parallel()
	p := page{now: "23 Nov 2026 10:00 CET", done: "22 Nov 2026 22:00 CET"}
	for name, change := range map[string]func(*profile.Settings){"window": within(hours("20:00-06:00")), "short window": within(hours("20:00-20:30")), "time": cron("0 20 * * *")} {
		p.profile = func(s *profile.Settings) { change(s); s.Schedule.JitterPercent = 10 }
		f := p.facts(t)
		most := 15 * time.Minute
		if name == "short window" {
			most = 3 * time.Minute
		}
		begin := time.Date(2026, 11, 23, 19, 0, 0, 0, time.UTC)
		tenths := map[int]int{}
		for device := range 1000 {
			f.Device = fmt.Sprint("0190-", device)
			tenths[int(Next(f).At.Sub(begin)*10/most)]++
		}
		for tenth := range 10 {
			if n := tenths[tenth]; n < 60 || n > 140 {
				t.Errorf("%s: %d devices in tenth %d, want about 100: %v", name, n, tenth, tenths)
			}
		}
	}
}
