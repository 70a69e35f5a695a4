package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
)

// settings are the defaults, changed.
func settings(change ...func(*profile.Settings)) profile.Effective {
	s := profile.Defaults()
	for _, c := range change {
		c(&s)
	}
	return profile.Merge(s, profile.Choices{})
}

func every(minutes int) func(*profile.Settings) {
	return func(s *profile.Settings) { s.IntervalMinutes = minutes }
}

func TestNext(t *testing.T) {
	t.Parallel()
	boot := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	const hour, minute = time.Hour, time.Minute
	tests := []struct {
		name     string
		s        func(*profile.Settings)
		f        Facts
		from, to time.Duration // after boot
		why      Reason
	}{
		{"never", every(240), Facts{}, 0, minute, First},
		{"every four hours", every(240), Facts{LastDone: boot.Add(hour)}, hour + 216*minute, hour + 264*minute, Interval},
		{"every hour", every(60), Facts{LastDone: boot.Add(hour)}, hour + 54*minute, hour + 66*minute, Interval},
		{"too often", every(1), Facts{LastDone: boot}, 270 * time.Second, 330 * time.Second, Interval},
		{"too rarely", every(900 * 60), Facts{LastDone: boot}, 151 * hour, 185 * hour, Interval},
		{"due before the agent started", every(240), Facts{LastDone: boot.Add(-90 * hour)}, 0, minute, CatchUp},
		{"asked", every(240), Facts{Asked: User, LastDone: boot, LastTry: boot}, 0, 0, Asked},
		{"asked after failures", every(240), Facts{Asked: User, Failures: 9, LastTry: boot}, 0, 0, Asked},
		{"failed once", every(240), Facts{Failures: 1, LastTry: boot}, 108 * time.Second, 132 * time.Second, Again},
		{"failed three times", every(240), Facts{Failures: 3, LastTry: boot}, 432 * time.Second, 528 * time.Second, Again},
		{"failed often", every(240), Facts{Failures: 60, LastTry: boot}, 54 * minute, 66 * minute, Again},
		{"failed often, short interval", every(10), Facts{Failures: 60, LastTry: boot}, 9 * minute, 11 * minute, Again},
		{"server asked to wait", every(240), Facts{Failures: 1, LastTry: boot, Wait: 30 * minute}, 30 * minute, 30 * minute, Again},
		// A failure that a later backup made good says nothing any more.
		{"failed before the last success", every(240), Facts{Failures: 1, LastTry: boot.Add(-hour), LastDone: boot}, 216 * minute, 264 * minute, Interval},
	}
	for _, test := range tests {
		for device := range 50 {
			f := test.f
			f.Now, f.Started, f.Device, f.Settings = boot, boot, fmt.Sprint("device ", device), settings(test.s)
			if f.LastDone.After(f.Now) {
				f.Now = f.LastDone
			}
			d := Next(f)
			if after := d.At.Sub(boot); d.Reason != test.why || after < test.from || after > test.to {
				t.Errorf("%s: Next = %v after boot, %s; want %v to %v, %s", test.name, after, d.Reason, test.from, test.to, test.why)
			}
		}
	}
}

// A thousand devices that last backed up at the same moment do not come back
// at the same moment.
func TestDevicesAreSpread(t *testing.T) {
	t.Parallel()
	boot := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	tenths := map[int]int{}
	e := settings()
	for device := range 1000 {
		d := Next(Facts{Now: boot, Started: boot, Device: fmt.Sprint("0190-", device), LastDone: boot, Settings: e})
		tenths[int(d.At.Sub(boot.Add(216*time.Minute))/(288*time.Second))]++
	}
	for tenth := range 10 {
		if n := tenths[tenth]; n < 60 || n > 140 {
			t.Errorf("%d devices in tenth %d of the spread, want about 100: %v", n, tenth, tenths)
		}
	}
}
