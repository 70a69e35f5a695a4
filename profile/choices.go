package profile

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
)

// Choices are what the user of one device chose. A zero field is no choice. They
// stay as they are while the profile does not allow them, and are in force
// again when it does: Merge says what is in force.
type Choices struct {
	// IntervalMinutes or Cron is how often, or when, backups run; at most one of
	// them.
	IntervalMinutes int    `json:"interval_minutes,omitempty"`
	Cron            string `json:"cron,omitempty"`

	// Windows are when backups may run. An empty list is a choice too: at any
	// time.
	Windows []Window `json:"windows,omitzero"`

	// UpKbps or UpPercent is what backups send at most; at most one of them.
	UpKbps    int `json:"up_kbps,omitempty"`
	UpPercent int `json:"up_percent,omitempty"`
	CPU       CPU `json:"cpu,omitempty"`

	// NetworksOut are networks over which no backup goes: addresses, as
	// 192.168.1.0/24, not more of them than that.
	NetworksOut []string `json:"networks_out,omitempty"`

	// Unlinked are the profile's folders that are left out, as the profile writes
	// them; Folders are the user's own: absolute, by whatever name a folder has.
	Unlinked []string `json:"unlinked,omitempty"`
	Folders  []string `json:"folders,omitempty"`

	// No backup runs from PausedAt to PausedUntil.
	PausedAt    time.Time `json:"paused_at,omitzero"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
}

// The least mask of a network that a user may leave out: one office, not the
// whole internet.
const (
	minUserMask4 = 24
	minUserMask6 = 64
)

// DecodeChoices reads choices from JSON.
func DecodeChoices(text []byte) (Choices, error) {
	var c Choices
	if err := json.Unmarshal(text, &c); err != nil {
		return Choices{}, errs.New(errs.Invalid, "choices.invalid").Because(err)
	}
	return c.normal(), nil
}

// Encode is the JSON of choices; the same choices give the same text.
func (c Choices) Encode() []byte {
	text, err := json.Marshal(c.normal())
	if err != nil {
		panic(err) // a time out of what JSON has; normal sees to that
	}
	return text
}

func (c Choices) normal() Choices {
	c.Cron = strings.Join(strings.Fields(c.Cron), " ")
	if c.Windows != nil {
		c.Windows = unique(c.Windows)
	}
	c.NetworksOut, c.Unlinked = some(trimmed(c.NetworksOut)), some(trimmed(c.Unlinked))
	c.Folders = some(unique(c.Folders)) // a space at the end of a name is part of it
	c.PausedAt, c.PausedUntil = c.PausedAt.UTC(), c.PausedUntil.UTC()
	return c
}

// some is the list, nil when it is empty.
func some(list []string) []string {
	if len(list) > 0 {
		return list
	}
	return nil
}

// Validate refuses choices that cannot be meant. Whether the profile allows
// them is Merge's question.
func (c Choices) Validate() error {
	c = c.normal()
	s := Defaults()
	s.Schedule.Cron, s.Schedule.Windows, s.Bandwidth.UpKbps, s.Bandwidth.Percent = c.Cron, c.Windows, c.UpKbps, c.UpPercent
	orElse(&c.CPU, s.CPU)
	s.CPU = c.CPU
	if c.IntervalMinutes != 0 {
		s.IntervalMinutes = c.IntervalMinutes
	}
	if err := s.Validate(); err != nil {
		return err
	}
	if c.IntervalMinutes != 0 && c.Cron != "" {
		return errs.New(errs.Invalid, "choices.rhythm.both")
	}
	if len(c.Unlinked) > MaxFolders || len(c.Folders) > MaxFolders {
		return errs.New(errs.Invalid, "profile.folders.many", "n", MaxFolders)
	}
	for _, path := range c.Unlinked {
		if !possible(path) {
			return errs.New(errs.Invalid, "profile.folder.invalid", "folder", path)
		}
	}
	for _, path := range c.Folders {
		if !own(path) {
			return errs.New(errs.Invalid, "profile.folder.invalid", "folder", path)
		}
	}
	if len(c.NetworksOut) > MaxNetworks {
		return errs.New(errs.Invalid, "profile.networks_deny.many", "n", MaxNetworks)
	}
	if i := slices.IndexFunc(c.NetworksOut, tooWide); i >= 0 {
		return errs.New(errs.Invalid, "choices.network.invalid", "network", c.NetworksOut[i], "mask", minUserMask4)
	}
	if c.PausedUntil.Before(c.PausedAt) || c.PausedAt.Year() < 0 || c.PausedUntil.Year() > 9999 {
		return errs.New(errs.Invalid, "choices.pause.invalid")
	}
	return nil
}

// tooWide reports whether a network is none that a user may leave out.
func tooWide(text string) bool {
	p, ok := parseCIDR(text)
	least := minUserMask4
	if ok && p.Addr().Is6() {
		least = minUserMask6
	}
	return !ok || p.Bits() < least
}

// outOf reports whether the user leaves out the network that a computer is in,
// and which of those listed it is.
func outOf(networks []string, c Connection) (Network, bool) {
	for _, text := range networks {
		if n := (Network{CIDR: text}); c.Known && n.Is(c) {
			return n, true
		}
	}
	return Network{}, false
}

// Reactivated are the choices that are left when the device is activated again:
// interval, bandwidth and processor are the profile's, and so are the folders,
// unless the list of unlinked ones is kept.
func (c Choices) Reactivated(keepUnlinked bool) Choices {
	c.IntervalMinutes, c.Cron, c.UpKbps, c.UpPercent, c.CPU = 0, "", 0, 0, ""
	if !keepUnlinked {
		c.Unlinked = nil
	}
	return c
}
