package schedule

import (
	"fmt"
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	t.Parallel()
	boot := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	const hour, minute = time.Hour, time.Minute
	tests := []struct {
		name     string
		f        Facts
		from, to time.Duration // after boot
		why      Reason
	}{
		{"never", Facts{}, 0, minute, First},
		{"every four hours", Facts{LastDone: boot.Add(hour)}, hour + 216*minute, hour + 264*minute, Interval},
		{"every hour", Facts{Interval: hour, LastDone: boot.Add(hour)}, hour + 54*minute, hour + 66*minute, Interval},
		{"too often", Facts{Interval: time.Second, LastDone: boot}, 270 * time.Second, 330 * time.Second, Interval},
		{"too rarely", Facts{Interval: 900 * hour, LastDone: boot}, 151 * hour, 185 * hour, Interval},
		{"due before the agent started", Facts{LastDone: boot.Add(-90 * hour)}, 0, minute, CatchUp},
		{"asked", Facts{Asked: true, LastDone: boot, LastTry: boot}, 0, 0, Asked},
		{"asked after failures", Facts{Asked: true, Failures: 9, LastTry: boot}, 0, 0, Asked},
		{"failed once", Facts{Failures: 1, LastTry: boot}, 108 * time.Second, 132 * time.Second, Again},
		{"failed three times", Facts{Failures: 3, LastTry: boot}, 432 * time.Second, 528 * time.Second, Again},
		{"failed often", Facts{Failures: 60, LastTry: boot}, 54 * minute, 66 * minute, Again},
		{"failed often, short interval", Facts{Interval: 10 * minute, Failures: 60, LastTry: boot}, 9 * minute, 11 * minute, Again},
		{"server asked to wait", Facts{Failures: 1, LastTry: boot, Wait: 30 * minute}, 30 * minute, 30 * minute, Again},
		// A failure that a later backup made good says nothing any more.
		{"failed before the last success", Facts{Failures: 1, LastTry: boot.Add(-hour), LastDone: boot}, 216 * minute, 264 * minute, Interval},
	}
	for _, test := range tests {
		for device := range 50 {
			f := test.f
			f.Started, f.Device = boot, fmt.Sprint("device ", device)
			at, why := Next(f)
			if after := at.Sub(boot); why != test.why || after < test.from || after > test.to {
				t.Errorf("%s: Next = %v after boot, %s; want %v to %v, %s", test.name, after, why, test.from, test.to, test.why)
			}
			if again, _ := Next(f); !again.Equal(at) {
				t.Errorf("%s: Next moved from %v to %v", test.name, at, again)
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
	for device := range 1000 {
		at, _ := Next(Facts{Started: boot, Device: fmt.Sprint("0190-", device), LastDone: boot})
		tenths[int(at.Sub(boot.Add(216*time.Minute))/(288*time.Second))]++
	}
	for tenth := range 10 {
		if n := tenths[tenth]; n < 60 || n > 140 {
			t.Errorf("%d devices in tenth %d of the spread, want about 100: %v", n, tenth, tenths)
		}
	}
}
