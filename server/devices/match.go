package devices

import (
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// cloneWindow is how lately a device was seen that a computer of another name
// cannot have become.
const cloneWindow = 24 * time.Hour

// Shown is what a computer that is to be activated shows of itself.
type Shown struct {
	Hardware wire.Hardware
	System   bool
	Key      ID // the device whose key it proved to hold, empty: none
}

// Match says which of a user's live devices a computer is, and how that was
// found: wire.ByKey and so on, the best proof first and of several devices the
// one seen last; "" when it is none of them. A device of the same machine id
// that was seen lately under another host name is a clone's original, not this
// computer. A name proves nothing.
func Match(now time.Time, s Shown, devices []Device) (Device, string) {
	devices = slices.SortedStableFunc(slices.Values(devices), func(a, b Device) int { return b.LastSeenAt.Compare(a.LastSeenAt) })
	for _, by := range []struct {
		name string
		is   func(Device) bool
	}{
		{wire.ByKey, func(d Device) bool { return s.Key != "" && d.ID == s.Key }},
		{wire.ByMachine, func(d Device) bool {
			return sameMachine(s.Hardware, d.Hardware) && s.sameUser(d) && !s.isCloneOf(now, d)
		}},
		{wire.BySerial, func(d Device) bool {
			return sameSerial(s.Hardware, d.Hardware) && s.sameUser(d) && !s.isCloneOf(now, d)
		}},
		{wire.ByClone, func(d Device) bool { return s.isCloneOf(now, d) }},
		{wire.ByName, s.sameName},
	} {
		if i := slices.IndexFunc(devices, by.is); i >= 0 {
			return devices[i], by.name
		}
	}
	return Device{}, ""
}

// sameComputer reports whether two descriptions are of one piece of hardware.
func sameComputer(a, b wire.Hardware) bool { return sameMachine(a, b) || sameSerial(a, b) }

func sameMachine(a, b wire.Hardware) bool {
	return Telling(a.MachineID) && strings.EqualFold(a.MachineID, b.MachineID)
}

func sameSerial(a, b wire.Hardware) bool {
	return Telling(a.Serial) && strings.EqualFold(a.Serial, b.Serial)
}

// sameUser reports whether the device backed up with the same rights: each user
// of a computer has a device of their own.
func (s Shown) sameUser(d Device) bool {
	return s.System == d.System && (s.System || s.Hardware.OSUser == d.Hardware.OSUser)
}

func (s Shown) isCloneOf(now time.Time, d Device) bool {
	return sameMachine(s.Hardware, d.Hardware) && !sameHost(s.Hardware, d.Hardware) && now.Sub(d.LastSeenAt) < cloneWindow
}

func (s Shown) sameName(d Device) bool {
	return sameHost(s.Hardware, d.Hardware) || orgs.Fold(HostName(s.Hardware)) == orgs.Fold(d.Name)
}

func sameHost(a, b wire.Hardware) bool { return orgs.Fold(a.Hostname) == orgs.Fold(b.Hostname) }

// HostName is a computer's name without its domain.
func HostName(h wire.Hardware) string {
	name, _, _ := strings.Cut(h.Hostname, ".")
	return name
}

// fillers stand where a maker or a system wrote no id.
var fillers = []string{"", "0", "none", "unknown", "default string", "not specified", "not applicable", "not available",
	"to be filled by o.e.m.", "system serial number", "uninitialized", "123456789", "0123456789"}

// Telling reports whether an id of the hardware tells computers apart: some makers
// write none.
func Telling(id string) bool {
	id = strings.ToLower(strings.TrimSpace(id))
	return !slices.Contains(fillers, id) && strings.Trim(id, "0-f.x") != ""
}
