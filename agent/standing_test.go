package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

func TestSentence(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hours := func(n int) time.Time { return now.Add(-time.Duration(n) * time.Hour) }
	rare := profile.Merge(profile.Defaults(), profile.Choices{IntervalMinutes: 20 * 60})
	paused := profile.Merge(profile.Defaults(), profile.Choices{PausedAt: hours(1), PausedUntil: hours(-1)})
	tests := []struct {
		name string
		s    Standing
		want string
		good bool
	}{
		{"new", Standing{}, "no backup yet", false},
		{"recent", Standing{Ran: true, Run: state.Run{LastDone: hours(2)}}, "Protected. Last backup 2 hours ago", true},
		{"long ago", Standing{Ran: true, Run: state.Run{LastDone: hours(30)}}, "Not protected", false},
		{"long ago, rare backups", Standing{Settings: rare, Ran: true, Run: state.Run{LastDone: hours(30)}}, "Protected", true},
		{"failed since", Standing{Ran: true, Run: state.Run{State: state.RunFailed, LastDone: hours(2)}}, "Protected", true},
		{"never succeeded", Standing{Ran: true, Run: state.Run{State: state.RunFailed}}, "No backup has succeeded", false},
		{"deactivated", Standing{Ran: true, Run: state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.Of(errs.DeviceDeactivated)), LastDone: hours(2)}}, "deactivated", false},
		{"removed", Standing{Ran: true, Run: state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.Of(errs.DeviceDeactivated, "state", "deleted")), LastDone: hours(2)}}, "Not protected. This device was removed by an administrator.", false},
		{"its user is preserved", Standing{Live: &control.Live{Failure: &control.Failure{Note: errs.Note{Code: "E1103", Key: "error.E1103"}}}, Ran: true, Run: state.Run{LastDone: hours(2)}}, "Not protected. Your account is preserved", false},
		{"disabled", Standing{Live: &control.Live{Failure: &control.Failure{Note: errs.Note{Key: "device.disabled"}}}, Ran: true, Run: state.Run{LastDone: hours(2)}}, "Not protected. An administrator", false},
		{"offline", Standing{Live: &control.Live{Failure: &control.Failure{Note: errs.Note{Code: "E1001", Key: "error.E1001"}}}, Ran: true, Run: state.Run{LastDone: hours(2)}}, "Protected", true},
		{"active again", Standing{Live: &control.Live{Online: true}, Ran: true, Run: state.Run{State: state.RunFailed, Note: errs.NoteOf(errs.Of(errs.DeviceDeactivated)), LastDone: hours(2)}}, "Protected", true},
		{"running here", Standing{Busy: true}, "Backing up", true},
		{"running in the agent", Standing{Live: &control.Live{Running: true, Progress: &wire.Progress{Files: 3214, TotalFiles: 61659}}},
			"Backing up: 3,214 of 61,659 files", true},
		{"running for a minute", Standing{Live: &control.Live{Running: true, Started: now.Add(-time.Minute), Progress: &wire.Progress{Files: 10, TotalFiles: 50, Bytes: 2e8, TotalBytes: 1e9}}},
			"Backing up: 10 of 50 files, 4 min left.", true},
		{"waiting for a busy server", Standing{Live: &control.Live{Running: true, Progress: &wire.Progress{Waits: 3}}, Ran: true, Run: state.Run{LastDone: hours(2)}},
			"The server is busy, the backup goes on in about 3 minutes.", true},
		{"waiting, and unprotected", Standing{Live: &control.Live{Running: true, Progress: &wire.Progress{Waits: 1}}}, "The server is busy, the backup goes on in about a minute.", false},
		{"paused", Standing{Settings: paused, Ran: true, Run: state.Run{LastDone: hours(2)}}, "Backups are paused until 13:00.", true},
		{"paused, and unprotected", Standing{Settings: paused, Ran: true, Run: state.Run{LastDone: hours(48)}}, "Backups are paused", false},
		{"unreachable for long", Standing{Live: &control.Live{Failure: &control.Failure{Note: errs.Note{Code: "E1001", Key: "error.E1001"}}}, Ran: true, Run: state.Run{LastDone: hours(72)}},
			"Not protected since 20 Nov 2026. Unable to connect", false},
		{"on battery for long", Standing{Live: &control.Live{Online: true, Blocked: []control.Obstacle{{By: "battery"}}}, Ran: true, Run: state.Run{LastDone: hours(72)}},
			"Not protected since 20 Nov 2026. The battery is too low", false},
		{"an idle agent holds the lock", Standing{Busy: true, Live: &control.Live{}}, "no backup yet", false},
	}
	for _, test := range tests {
		if test.s.Now = now; test.s.Settings.Rhythm.Value.IntervalMinutes == 0 {
			test.s.Settings = profile.Merge(profile.Defaults(), profile.Choices{})
		}
		got, tone := test.s.Sentence(locale.For(locale.English))
		if !strings.Contains(got, test.want) || (tone == Good) != test.good {
			t.Errorf("%s: %q, %s; want %q, %v", test.name, got, tone, test.want, test.good)
		}
		// What scripts read says the same.
		if !test.s.Running() && test.s.Protected() != test.good {
			t.Errorf("%s: protected is %v, and the sentence %q", test.name, !test.good, got)
		}
	}
}
