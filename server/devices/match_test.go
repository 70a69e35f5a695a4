package devices_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	device := func(id string, seen time.Duration, h wire.Hardware) devices.Device {
		return devices.Device{ID: devices.ID(id), Name: id, Hardware: h, LastSeenAt: now.Add(-seen)}
	}
	hard := func(machine, serial, host string) wire.Hardware {
		return wire.Hardware{MachineID: machine, Serial: serial, Hostname: host, OSUser: "una", OS: "linux"}
	}
	week := 7 * 24 * time.Hour
	list := []devices.Device{
		device("desk", week, hard("m1", "s1", "desk")),
		device("old-desk", 2*week, hard("m1", "s1", "desk")),
		device("note", time.Hour, hard("m2", "s2", "note")),
		device("blank", time.Hour, hard("", "None", "blank")),
		device("filled", time.Hour, hard("00000000-0000-0000-0000-000000000000", "To be filled by O.E.M.", "filled")),
		device("renamed", week, hard("m4", "s4", "other")),
	}
	server := device("server", week, hard("m5", "s5", "server"))
	server.System, server.Hardware.OSUser = true, "root"
	list = append(list, server)
	for _, c := range []struct {
		name     string
		shown    devices.Shown
		want, by string
	}{
		{"nothing known", devices.Shown{Hardware: hard("m9", "s9", "new")}, "", ""},
		{"nothing said", devices.Shown{}, "", ""},
		{"the key", devices.Shown{Hardware: hard("m2", "s2", "note"), Key: "desk"}, "desk", wire.ByKey},
		{"the key of a device that is gone", devices.Shown{Hardware: hard("m2", "s2", "note"), Key: "gone"}, "note", wire.ByMachine},
		{"the machine, of two the one seen last", devices.Shown{Hardware: hard("m1", "s1", "desk")}, "desk", wire.ByMachine},
		{"the machine under a new name, long not seen", devices.Shown{Hardware: hard("M1", "x", "desk-2")}, "desk", wire.ByMachine},
		{"the machine, reinstalled within the day", devices.Shown{Hardware: hard("m2", "", "NOTE")}, "note", wire.ByMachine},
		{"another serial system, the same hardware", devices.Shown{Hardware: hard("m8", "s1", "desk")}, "desk", wire.BySerial},
		{"fillers are no ids", devices.Shown{Hardware: hard("", "none", "x")}, "", ""},
		{"nor are zeros", devices.Shown{Hardware: hard("00000000-0000-0000-0000-000000000000", "To Be Filled By O.E.M.", "y")}, "", ""},
		{"a copy of a computer that is in use", devices.Shown{Hardware: hard("m2", "s2", "note-2")}, "note", wire.ByClone},
		{"the host's name", devices.Shown{Hardware: hard("m9", "s9", "other")}, "renamed", wire.ByName},
		{"the device's name", devices.Shown{Hardware: hard("m9", "s9", "Renamed.example.org")}, "renamed", wire.ByName},
		{"another user of the computer", devices.Shown{Hardware: wire.Hardware{MachineID: "m1", Serial: "s1", Hostname: "x", OSUser: "vic"}}, "", ""},
		{"the system is not its user", devices.Shown{Hardware: hard("m1", "s1", "x"), System: true}, "", ""},
		{"the system, whoever activates it", devices.Shown{Hardware: hard("m5", "s5", "server"), System: true}, "server", wire.ByMachine},
	} {
		d, by := devices.Match(now, c.shown, list)
		if string(d.ID) != c.want || by != c.by {
			t.Errorf("%s: %q by %q, want %q by %q", c.name, d.ID, by, c.want, c.by)
		}
	}
}
