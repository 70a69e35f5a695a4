package devices_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

func TestProtect(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(h float64) time.Time { return now.Add(-time.Duration(h * float64(time.Hour))) }
	every := func(minutes int) func(*profile.Settings) {
		return func(s *profile.Settings) { s.IntervalMinutes = minutes }
	}
	for _, c := range []struct {
		name    string
		device  devices.Device
		profile func(*profile.Settings)
		level   devices.Level
		reason  string
	}{
		{"new", devices.Device{}, nil, devices.Never, ""},
		{"a part only", devices.Device{LastBackupAt: ago(1), LastStatus: "partial"}, nil, devices.Never, devices.BecausePartial},
		{"failed at once", devices.Device{Status: wire.StateFailed, StatusCode: "E1401"}, nil, devices.Never, devices.BecauseFailed},
		{"an hour ago", devices.Device{CompleteAt: ago(1)}, nil, devices.Protected, ""},
		{"nearly a day ago, every 4 hours", devices.Device{CompleteAt: ago(23.99)}, nil, devices.Protected, ""},
		{"a day ago, every 4 hours", devices.Device{CompleteAt: ago(24)}, nil, devices.AtRisk, ""},
		{"a day ago, once a day", devices.Device{CompleteAt: ago(24)}, every(24 * 60), devices.Protected, ""},
		{"two days ago, once a day", devices.Device{CompleteAt: ago(48)}, every(24 * 60), devices.AtRisk, ""},
		{"a day ago, every 5 minutes", devices.Device{CompleteAt: ago(23)}, every(5), devices.Protected, ""},
		{"a part since", devices.Device{CompleteAt: ago(20), LastBackupAt: ago(1), LastStatus: "partial"}, nil, devices.Protected, devices.BecausePartial},
		{"parts for days", devices.Device{CompleteAt: ago(100), LastBackupAt: ago(1), LastStatus: "partial"}, nil, devices.AtRisk, devices.BecausePartial},
		{"failed since", devices.Device{CompleteAt: ago(2), Status: wire.StateFailed}, nil, devices.Protected, devices.BecauseFailed},
		{"paused", devices.Device{CompleteAt: ago(30), Status: wire.StatePaused}, nil, devices.AtRisk, devices.BecausePaused},
		{"gone", devices.Device{CompleteAt: ago(30), LastSeenAt: ago(29), Status: wire.StateFailed}, nil, devices.AtRisk, devices.BecauseSilent},
		{"running, but late", devices.Device{CompleteAt: ago(30), Status: wire.StateRunning}, nil, devices.AtRisk, ""},
		{"disabled", devices.Device{State: devices.Disabled, CompleteAt: ago(1)}, nil, devices.Stopped, "disabled"},
		{"deactivated", devices.Device{State: devices.Deactivated, CompleteAt: ago(1)}, nil, devices.Stopped, "deactivated"},
		{"its user preserved", devices.Device{Owner: accounts.Preserved, CompleteAt: ago(1)}, nil, devices.Stopped, devices.UserPreserved},
		{"its user disabled, and it by itself", devices.Device{Owner: accounts.Disabled, State: devices.Disabled}, nil, devices.Stopped, "disabled"},
	} {
		d := c.device
		if d.State == "" {
			d.State = devices.Active
		}
		if d.Owner == "" {
			d.Owner = accounts.Active
		}
		if d.LastSeenAt.IsZero() {
			d.LastSeenAt = now
		}
		s := profile.Defaults()
		if c.profile != nil {
			c.profile(&s)
		}
		got := devices.Protect(d, profile.Merge(s, profile.Choices{}), now)
		if got.Level != c.level || got.Reason != c.reason {
			t.Errorf("%s: %s %q, want %s %q", c.name, got.Level, got.Reason, c.level, c.reason)
		}
	}
}

// What counts is the newest complete snapshot of all folders, by the profile of the
// user.
func TestJudge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	d, _ := w.device(w.una, "one")
	carry := func(status string, carried int64) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			return devices.Committed(t.Context(), tx, d.ID, devices.Backup{Snapshot: "0123456789abcdef", Status: status, Carried: carried, At: tx.Now()})
		})
	}
	commit := func(status string) {
		t.Helper()
		carry(status, 0)
	}
	is := func(level devices.Level, reason string) {
		t.Helper()
		w.Read(func(tx *db.Tx) error {
			d, err := devices.View(t.Context(), tx, admin(w, access.Viewer), d.ID)
			if err != nil {
				return err
			}
			got, err := new(devices.Judge).Protection(t.Context(), tx, d, tx.Now())
			if got.Level != level || got.Reason != reason {
				t.Errorf("%s %q, want %s %q", got.Level, got.Reason, level, reason)
			}
			return err
		})
	}
	is(devices.Never, "")
	commit("partial")
	is(devices.Never, devices.BecausePartial)
	commit("complete")
	is(devices.Protected, "")
	move(20 * time.Hour)
	commit("partial")
	is(devices.Protected, devices.BecausePartial)
	carry("complete", 1) // of one folder, when another was read a day ago
	is(devices.Protected, "")
	move(4 * time.Hour)
	carry("complete", 1)
	is(devices.AtRisk, "")
	commit("partial")
	is(devices.AtRisk, devices.BecausePartial)
	w.settings(func(s *profile.Settings) { s.IntervalMinutes = 24 * 60 })
	is(devices.Protected, devices.BecausePartial)
	w.Put(w.una.ID, accounts.Preserved)
	is(devices.Stopped, devices.UserPreserved)
}
