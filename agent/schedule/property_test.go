package schedule

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/profile"
)

// somewhere is any profile on any device at any time, around changes of the
// clock and far from them.
func somewhere(t *rapid.T) Facts {
	s := profile.Defaults()
	s.IntervalMinutes = rapid.SampledFrom([]int{5, 60, 240, 1440, 10080}).Draw(t, "interval")
	s.Schedule.Cron = rapid.SampledFrom([]string{"", "", "30 2 * * *", "0 * * * *", "15 12 * * mon-fri", "0 0 1 * *"}).Draw(t, "cron")
	s.Schedule.JitterPercent = rapid.SampledFrom([]int{0, 10, 50}).Draw(t, "jitter")
	s.Schedule.OnWindowEnd = rapid.SampledFrom([]profile.WindowEnd{profile.Finish, profile.Pause}).Draw(t, "end")
	windows := func(name string, n int) (list []profile.Window) {
		for range rapid.IntRange(0, n).Draw(t, name) {
			from := rapid.IntRange(0, 95).Draw(t, "from")
			list = append(list, profile.Window{Days: profile.Days(rapid.IntRange(0, 127).Draw(t, "days")),
				From: profile.Clock(15 * from), To: profile.Clock(15 * ((from + rapid.IntRange(2, 80).Draw(t, "length")) % 96))})
		}
		return list
	}
	s.Schedule.Windows, s.Schedule.Blackouts = windows("windows", 2), windows("blackouts", 1)
	if s.Validate() != nil {
		s.Schedule.Blackouts = nil
	}
	loc, err := time.LoadLocation(rapid.SampledFrom([]string{"Europe/Paris", "America/Los_Angeles", "Australia/Lord_Howe", "UTC"}).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	day := rapid.SampledFrom([]string{"2026-10-24", "2026-10-31", "2027-03-13", "2027-03-27", "2026-06-10"}).Draw(t, "day")
	now, err := time.ParseInLocation(time.DateOnly, day, loc)
	if err != nil {
		t.Fatal(err)
	}
	return Facts{Now: now.Add(time.Duration(rapid.IntRange(0, 48*60).Draw(t, "minute")) * time.Minute), Settings: profile.Merge(s, profile.Choices{}),
		Device: rapid.StringN(1, 8, 8).Draw(t, "device")}
}

// The decision does not move while it is waited for.
func TestNextStays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := somewhere(t)
		minutes := func(name string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Minute
		}
		f.Started = f.Now.Add(-minutes("up", 20000))
		if rapid.Bool().Draw(t, "backed up before") {
			f.LastDone = f.Now.Add(-minutes("done", 20000))
		}
		if f.Failures = rapid.IntRange(0, 3).Draw(t, "failures"); f.Failures > 0 {
			f.LastTry = f.Now.Add(-minutes("tried", 200))
		}
		first := Next(f)
		for !f.Now.After(first.At) {
			if d := Next(f); !d.At.Equal(first.At) || d.Reason != first.Reason {
				t.Fatalf("at %s the next is %s, %s; at first it was %s, %s", f.Now, d.At, d.Reason, first.At, first.Reason)
			}
			f.Now = f.Now.Add(max(time.Minute, first.At.Sub(f.Now)/7))
		}
		f.Now = later(first.At, f.Now)
		if d := Next(f); !first.At.Before(f.Now) && !d.Due(f.Now) {
			t.Fatalf("at %s it is not due: %+v", f.Now, d)
		}
	})
}

// A device that does what it is told backs up in its hours only, comes back
// within the time that its profile means, and not oftener; and the same holds
// when it sleeps, and after its clock was put wherever.
func TestLifeOfADevice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := somewhere(t)
		f.Started = f.Now
		hours, rhythm := f.Settings.Hours(), f.Settings.Rhythm.Value
		longest := f.Settings.ProtectedFor(f.Now)
		var awake time.Duration // since the last backup
		put := false
		for step := range 30 {
			d := Next(f)
			if len(d.Blocked) > 0 && d.Due(f.Now) {
				t.Fatalf("due and blocked: %+v", d)
			}
			wait := max(0, d.At.Sub(f.Now))
			if awake+wait > longest+time.Hour {
				t.Fatalf("step %d: %v since the last backup, and the next is at %s, %s; the profile means %v", step, awake, d.At, d.Reason, longest)
			}
			switch rapid.IntRange(0, 9).Draw(t, "what happens") {
			case 0: // it sleeps
				f.Now = f.Now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "asleep")) * time.Minute)
				f.Woke, awake = f.Now, 0
				continue
			case 1: // the clock is put
				f.Now = f.Now.Add(time.Duration(rapid.IntRange(-500000, 500000).Draw(t, "clock")) * time.Minute)
				awake, put = 0, true
				continue
			case 2: // time passes
				part := wait / 2
				f.Now, awake = f.Now.Add(part), awake+part
				continue
			}
			f.Now = f.Now.Add(wait)
			d = Next(f)
			for range 3 {
				if put && !d.Due(f.Now) { // it has come to where it was once before
					f.Now = later(d.At, f.Now)
					d = Next(f)
				}
			}
			if !d.Due(f.Now) {
				t.Fatalf("step %d: not due at %s: %+v", step, f.Now, d)
			}
			if !hours.Open(f.Now) {
				t.Fatalf("step %d: begins at %s, outside of its hours: %+v", step, f.Now, d)
			}
			if !d.MayRunUntil.IsZero() && !d.MayRunUntil.After(f.Now) {
				t.Fatalf("step %d: begins at %s and stops at %s", step, f.Now, d.MayRunUntil)
			}
			if gap := f.Now.Sub(f.LastDone); d.Reason == Interval && rhythm.Cron == "" && float64(gap) < 0.49*float64(f.interval()) {
				t.Fatalf("step %d: %v after the last", step, gap)
			}
			took := time.Duration(rapid.IntRange(0, 30).Draw(t, "took")) * time.Minute
			f.Now = f.Now.Add(took)
			f.LastDone, f.LastTry, awake = f.Now, f.Now, 0
		}
	})
}
