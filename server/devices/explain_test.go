package devices_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	good := func() devices.Device {
		return devices.Device{State: devices.Active, Owner: accounts.Active, LastSeenAt: now.Add(-time.Minute), Status: wire.StateIdle, LastStatus: "complete",
			Folders: []string{"/home/ann"}, LastBackupAt: now.Add(-time.Hour), CompleteAt: now.Add(-time.Hour)}
	}
	for _, c := range []struct {
		name    string
		change  func(*devices.Device)
		wrong   string // the line that does not hold
		key     string
		fix     devices.Fix
		visible int // lines
	}{
		{"all is well", func(*devices.Device) {}, "", "", "", 7},
		{"disabled", func(d *devices.Device) { d.State = devices.Disabled }, "state", "why.state.disabled", devices.FixEnable, 1},
		{"deactivated", func(d *devices.Device) { d.State = devices.Deactivated }, "state", "why.state.deactivated", devices.FixKey, 1},
		{"waiting", func(d *devices.Device) { d.State = devices.Waiting }, "state", "why.state.awaiting_approval", devices.FixApprove, 1},
		{"deleted with its user", func(d *devices.Device) { d.State, d.Owner = devices.Deleted, accounts.Deleted }, "state", "why.state.deleted", devices.FixUser, 1},
		// Behind a user who does not work nothing else is worth looking at.
		{"its user is preserved", func(d *devices.Device) { d.Owner, d.CompleteAt = accounts.Preserved, time.Time{} }, "owner", "why.owner.user_preserved", devices.FixUser, 2},
		{"silent", func(d *devices.Device) { d.LastSeenAt = now.AddDate(0, 0, -3) }, "contact", "why.contact.silent", "", 7},
		{"paused by its own word", func(d *devices.Device) { d.Status = wire.StatePaused }, "pause", "why.pause.on", "", 7},
		{"paused until", func(d *devices.Device) {
			d.Choices = &profile.Choices{PausedAt: now.Add(-time.Hour), PausedUntil: now.Add(time.Hour)}
		}, "pause", "why.pause.until", "", 7},
		{"without folders", func(d *devices.Device) { d.Folders = nil }, "folders", "why.folders.none", devices.FixProfile, 7},
		{"failed", func(d *devices.Device) { d.Status, d.StatusCode = wire.StateFailed, "E1401" }, "last", "why.last.failed.code", "", 7},
		{"partial", func(d *devices.Device) { d.LastStatus = "partial" }, "last", "why.last.partial", "", 7},
		{"old", func(d *devices.Device) { d.CompleteAt = now.AddDate(0, 0, -2) }, "complete", "why.complete.old", devices.FixBackup, 7},
	} {
		d := good()
		c.change(&d)
		choices := profile.Choices{}
		if d.Choices != nil {
			choices = *d.Choices
		}
		settings := profile.Defaults()
		settings.Folders = nil
		lines := devices.Explain(d, profile.Merge(settings, choices), now)
		if len(lines) != c.visible || devices.Well(lines) != (c.wrong == "") {
			t.Errorf("%s: %d lines, well %v: %+v", c.name, len(lines), devices.Well(lines), lines)
		}
		for _, l := range lines {
			if (l.Name == c.wrong) == l.OK || !l.OK && (l.Key != c.key || l.Fix != c.fix) {
				t.Errorf("%s: %+v", c.name, l)
			}
		}
	}
}
