package web

import (
	"strings"
	"time"
)

// Sign is a sentence with the sign before it.
type Sign struct {
	Sign string // good, warn, bad or idle: its colour
	Icon string
	Text string
}

// State is a word with a coloured dot.
type State struct {
	Colour string
	Text   string
}

// Level is how well a device is protected.
type Level string

// The levels.
const (
	Protected Level = "protected"
	AtRisk    Level = "risk"
	Never     Level = "never"
	Stopped   Level = "stopped" // deactivated: nobody expects backups of it
)

// Late is how long a device may be without a backup before somebody should
// look at it: a weekend is not late, a week is.
const Late = 5 * 24 * time.Hour

// Protection is what is known of a device when a page says how well it is
// protected.
type Protection struct {
	Active      bool      // it may back up
	LastBackup  time.Time // of the last snapshot that was committed
	Unfinished  bool      // that snapshot is a part
	Unreadable  int64     // what it could not read
	Running     bool      // so it said
	SeenAt      time.Time // when it said so
	Done, Total int64     // files of the running backup, when known
}

// reportLasts is how long a device's word that it is backing up is believed.
const reportLasts = 15 * time.Minute

// Level is how well the device is protected now.
func (d Protection) Level(now time.Time) Level {
	switch {
	case !d.Active:
		return Stopped
	case d.LastBackup.IsZero():
		return Never
	case now.Sub(d.LastBackup) >= Late:
		return AtRisk
	}
	return Protected
}

// Sign is the sentence for it, in the frame's language.
func (f Frame) Sign(d Protection) Sign {
	p := f.p
	if d.Active && d.Running && f.now.Sub(d.SeenAt) < reportLasts {
		if d.Total > 0 {
			return Sign{"good", "refresh", p.T("protection.running.files", "done", d.Done, "total", d.Total)}
		}
		return Sign{"good", "refresh", p.T("protection.running")}
	}
	switch d.Level(f.now) {
	case Stopped:
		return Sign{"idle", "ban", p.T("protection.stopped")}
	case Never:
		return Sign{"bad", "shield-x", p.T("protection.never")}
	case AtRisk:
		return Sign{"warn", "alert-triangle", p.N("protection.late", int64(f.now.Sub(d.LastBackup)/(24*time.Hour)))}
	}
	if d.Unfinished {
		return Sign{"warn", "shield-check", p.T("protection.partial")}
	}
	if d.Unreadable > 0 {
		return Sign{"warn", "shield-check", p.N("protection.unreadable", d.Unreadable)}
	}
	return Sign{"good", "shield-check", p.T("protection.good")}
}

// System is a computer's system as people say it.
func System(os, version, arch string) string {
	name := map[string]string{"linux": "Linux", "windows": "Windows", "darwin": "macOS"}[os]
	if name == "" {
		name = os
	}
	if strings.HasPrefix(strings.ToLower(version), strings.ToLower(name)) || os == "linux" && version != "" {
		name, version = version, ""
	}
	cpu := map[string]string{"amd64": "x86-64", "arm64": "ARM64"}[arch]
	if cpu == "" {
		cpu = arch
	}
	text := strings.TrimSpace(name + " " + version)
	if text != "" && cpu != "" {
		text += " · "
	}
	return Visible(text + cpu)
}

// DeviceIcon is the icon of a computer.
func DeviceIcon(system bool) string {
	if system {
		return "server-2"
	}
	return "device-laptop"
}

var stateColours = map[string]string{
	"active": "green", "complete": "green", "done": "green", "sent": "green",
	"invited": "azure", "pending": "azure", "waiting": "azure", "sending": "azure", "deleted": "red",
	"disabled": "orange", "partial": "orange", "failed": "orange", "awaiting_approval": "orange", "suspicious": "red", "denied": "red",
}

// State is the word for a state, whose key begins with prefix.
func (f Frame) State(prefix, state string) State {
	colour := stateColours[state]
	if colour == "" {
		colour = "secondary"
	}
	return State{Colour: colour, Text: f.p.T(prefix + state)}
}
