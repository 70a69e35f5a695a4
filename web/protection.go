package web

import "strings"

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
	"approved": "azure", "running": "azure", "paused": "orange", "expired": "secondary", "disabled": "orange", "partial": "orange", "failed": "orange", "awaiting_approval": "orange", "revoked": "azure", "suspicious": "red", "refused": "red", "denied": "red",
}

// State is the word for a state, whose key begins with prefix.
func (f Frame) State(prefix, state string) State {
	colour := stateColours[state]
	if colour == "" {
		colour = "secondary"
	}
	return State{Colour: colour, Text: f.p.T(prefix + state)}
}
