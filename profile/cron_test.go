package profile

import (
	"testing"
	"time"
	_ "time/tzdata" // the tests must not depend on what this computer has

	"pgregory.net/rapid"
)

// zone is a time zone by its name.
func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestParseCron(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{"30 12 * * *", true},
		{"  30   12 * *  mon-fri ", true},
		{"0 9 * * THU", true}, // not the H of some dialects
		{"0,30 8-18/2 1,15 JAN-MAR ?", true},
		{"*/5 * * * *", true},
		{"0 0 29 2 *", true},
		{"", false},
		{"30 12 * *", false},
		{"0 30 12 * * *", false},
		{"@daily", false},
		{"@every 1h 0 0 0", false},
		{"TZ=UTC 30 12 * * *", false},
		{"60 12 * * *", false},
		{"30 12 * * bob", false},
		{"0 0 30 2 *", false},  // no such day
		{"*/4 * * * *", false}, // oftener than every five minutes
		{"0,58 * * * *", false},
		{"* 12 * * *", false},
		{"H 12 * * *", false},
	} {
		if _, err := ParseCron(c.text); (err == nil) != c.ok {
			t.Errorf("ParseCron(%q) = %v, want valid %v", c.text, err, c.ok)
		}
	}
}

func TestCronNext(t *testing.T) {
	t.Parallel()
	const layout = "Mon 2 Jan 2006 15:04 MST"
	for _, c := range []struct{ name, zone, cron, after, want string }{
		{"today", "Europe/Paris", "30 12 * * *", "Sun 22 Nov 2026 12:29 CET", "Sun 22 Nov 2026 12:30 CET"},
		{"after it, tomorrow", "Europe/Paris", "30 12 * * *", "Sun 22 Nov 2026 12:30 CET", "Mon 23 Nov 2026 12:30 CET"},
		{"on working days", "Europe/Paris", "30 12 * * mon-fri", "Fri 20 Nov 2026 13:00 CET", "Mon 23 Nov 2026 12:30 CET"},
		{"either day field, as crontabs have it", "UTC", "0 9 13 * fri", "Sat 14 Nov 2026 00:00 UTC", "Fri 20 Nov 2026 09:00 UTC"},
		// Paris has no 02:30 on 28 March 2027: the clock goes from 02:00 to 03:00.
		{"left out in spring", "Europe/Paris", "30 2 * * *", "Sat 27 Mar 2027 02:30 CET", "Sun 28 Mar 2027 03:00 CEST"},
		{"and on the day after", "Europe/Paris", "30 2 * * *", "Sun 28 Mar 2027 03:00 CEST", "Mon 29 Mar 2027 02:30 CEST"},
		{"Los Angeles in spring", "America/Los_Angeles", "30 2 * * *", "Sat 13 Mar 2027 02:30 PST", "Sun 14 Mar 2027 03:00 PDT"},
		// It has 02:30 twice on 25 October 2026: at 03:00 the clock goes back to 02:00.
		{"the first in autumn", "Europe/Paris", "30 2 * * *", "Sun 25 Oct 2026 01:00 CEST", "Sun 25 Oct 2026 02:30 CEST"},
		{"not the second", "Europe/Paris", "30 2 * * *", "Sun 25 Oct 2026 02:30 CEST", "Mon 26 Oct 2026 02:30 CET"},
		{"Los Angeles in autumn", "America/Los_Angeles", "30 1 * * *", "Sun 1 Nov 2026 01:30 PDT", "Mon 2 Nov 2026 01:30 PST"},
		{"the day after, where it was half an hour", "Australia/Lord_Howe", "0 0 * * *", "Sun 5 Apr 2026 00:00 +11", "Mon 6 Apr 2026 00:00 +1030"},
		{"a midnight that is left out", "America/Santiago", "0 0 * * *", "Sat 5 Sep 2026 12:00 -04", "Sun 6 Sep 2026 01:00 -03"},
		{"every hour means every hour", "Europe/Paris", "0 * * * *", "Sun 25 Oct 2026 02:00 CEST", "Sun 25 Oct 2026 02:00 CET"},
		{"every two hours, at both", "Europe/Paris", "0 */2 * * *", "Sun 25 Oct 2026 02:00 CEST", "Sun 25 Oct 2026 02:00 CET"},
		{"and then by the clock", "Europe/Paris", "0 */2 * * *", "Sun 25 Oct 2026 02:00 CET", "Sun 25 Oct 2026 04:00 CET"},
		{"every two hours, without the one that is left out", "Europe/Paris", "0 */2 * * *", "Sun 28 Mar 2027 00:00 CET", "Sun 28 Mar 2027 04:00 CEST"},
		{"and each once in spring", "Europe/Paris", "0 * * * *", "Sun 28 Mar 2027 01:00 CET", "Sun 28 Mar 2027 03:00 CEST"},
		{"after the hour that came twice", "Europe/Paris", "0 3 * * *", "Sun 25 Oct 2026 02:30 CET", "Sun 25 Oct 2026 03:00 CET"},
	} {
		loc := zone(t, c.zone)
		// The zone's abbreviation says which of two equal times is meant.
		after, err := time.ParseInLocation(layout, c.after, loc)
		if err != nil || after.Format(layout) != c.after {
			t.Fatalf("%s: %s is %v, %v", c.name, c.after, after, err)
		}
		spec, err := ParseCron(c.cron)
		if err != nil {
			t.Fatal(err)
		}
		if got := spec.Next(after).Format(layout); got != c.want {
			t.Errorf("%s: %q after %s is %s, want %s", c.name, c.cron, c.after, got, c.want)
		}
	}
}

func TestCronLongestGap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"*/15 * * * *":     15 * time.Minute,
		"0 9,17 * * *":     16 * time.Hour,
		"0 12 * * mon-fri": 3 * 24 * time.Hour,
		"0 0 1 * *":        31 * 24 * time.Hour,
		"0 9 * * mon,tue":  6 * 24 * time.Hour,
	} {
		c, err := ParseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LongestGap(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("LongestGap of %q = %v, want %v", text, got, want)
		}
	}
}

// zones change their clocks in many ways: at night, at midnight, by half an
// hour, in the south, not at all.
var zones = []string{"Europe/Paris", "America/Los_Angeles", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu", "UTC"}

// A fixed time of the day comes on every day exactly once, in any time zone,
// whatever the clock does.
func TestCronComesOnceADay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(rt, "zone"))
		at := Clock(rapid.IntRange(0, int(dayEnd)-1).Draw(rt, "time"))
		start := time.Date(2026, time.Month(rapid.IntRange(1, 12).Draw(rt, "month")), 1, 12, 0, 0, 0, loc)
		text := at.String()
		c, err := ParseCron(text[3:] + " " + text[:2] + " * * *")
		if err != nil {
			rt.Fatal(err)
		}
		last := c.Next(start)
		for range 40 {
			next := c.Next(last)
			if gap := next.Sub(last); gap < 22*time.Hour || gap > 26*time.Hour {
				rt.Fatalf("%s comes at %s and then at %s", text, last, next)
			}
			last = next
		}
	})
}
