//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/wire"
)

// offering is a server that offers devices, shows what a choice changes, and
// keeps what was chosen; it then refuses.
func offering(t *testing.T, offer wire.Activation, preview wire.Preview) (c *counter, chosen *map[string]any) {
	t.Helper()
	c, chosen = newCounter(t), new(map[string]any)
	offer.Activation, offer.ExpiresAt, offer.Username, offer.UserID = "bsx_1", time.Now().Add(24*time.Hour), "ann", "u"
	c.answer("POST activations", offer)
	c.answer("POST activations/preview", preview)
	c.play("POST activations/finish", func(in map[string]any) any {
		*chosen = in
		return refusal(402, "E1301", "error.E1301", nil)
	})
	return c, chosen
}

var laptop = wire.DeviceCard{DeviceID: "d1", Name: "laptop", OS: "linux", State: "deactivated", Bytes: 5000}
var desk = wire.DeviceCard{DeviceID: "d2", Name: "desk", OS: "windows", State: "active"}

func TestChoosingOnATerminal(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	os.WriteFile(password, []byte("Secret-One\n"), 0o600)
	match := func(by string) *wire.Match { return &wire.Match{DeviceID: "d1", By: by} }
	both := []wire.DeviceCard{laptop, desk}
	for _, c := range []struct {
		name    string
		offer   wire.Activation
		preview wire.Preview
		talk    []string // what is shown, and what is answered to it, in turn
		want    string   // choice, device and name
	}{
		{"the same hardware", wire.Activation{Name: "laptop", FreeName: "laptop-2", Match: match(wire.ByMachine), Suggest: wire.Reactivate, Devices: both},
			wire.Preview{Snapshots: 3, Settings: []wire.SettingChange{{Name: "interval", Old: "30", New: "240"}}},
			[]string{"1  Reactivate this device, laptop", "", "What should this computer be? [1]", "", "30 min → 4 h", ""}, "reactivate d1 "},
		{"the same name", wire.Activation{Name: "laptop", FreeName: "laptop-2", Match: match(wire.ByName), Suggest: wire.Replace, Devices: both}, wire.Preview{},
			[]string{"A device with the same name is already configured.", "", "1  Replace laptop", "", "What should this computer be? [1]", "", "Continue? [y]", ""}, "replace d1 "},
		{"the same name, another device", wire.Activation{Name: "laptop", FreeName: "laptop-2", Match: match(wire.ByName), Suggest: wire.Replace, Devices: both}, wire.Preview{},
			[]string{"2  Add as another device, laptop-2", "", "What should this computer be? [1]", "2"}, "add  laptop-2"},
		{"no more devices", wire.Activation{Name: "new", Refusal: "E1203", Limit: 2, Suggest: wire.Replace, Devices: both}, wire.Preview{},
			[]string{"You already have the maximum of 2 devices", "", "1  Replace my existing device", "", "What should this computer be? [1]", "", "2  desk (windows)", "", "Select device to replace: [1]", "2", "Continue? [y]", ""},
			"replace d2 "},
		{"some devices", wire.Activation{Name: "new", Suggest: wire.Add, Devices: both}, wire.Preview{},
			[]string{"1  Add as another device, new", "", "What should this computer be? [1]", ""}, "add  new"},
		{"none", wire.Activation{Name: "new", Suggest: wire.Add}, wire.Preview{}, nil, "add  new"},
		{"its own key", wire.Activation{Name: "laptop", Match: match(wire.ByKey), Suggest: wire.Reactivate, Devices: both}, wire.Preview{}, nil, "reactivate d1 "},
		{"folders that come back", wire.Activation{Name: "laptop", Match: match(wire.ByKey), Suggest: wire.Reactivate, Devices: both},
			wire.Preview{Returning: []string{"~/Music"}, KeepUnlinked: "ask"}, []string{"Music", "", "Back up these folders again? [y]", "n"}, "reactivate d1  kept"},
		{"a copy", wire.Activation{Name: "laptop", FreeName: "laptop-2", Match: match(wire.ByClone), Suggest: wire.Add, Devices: both}, wire.Preview{},
			[]string{"is a copy of the device laptop", "", "What should this computer be? [1]", ""}, "add  laptop"},
	} {
		server, chosen := offering(t, c.offer, c.preview)
		s := sit(t, t.TempDir(), append([]string{"activate", "--system-device", "--user", "ann", "--password-file", password}, server.flags...)...)
		s.talk(c.talk)
		s.end()
		if got := spoken(*chosen); got != c.want {
			t.Errorf("%s: chosen %q, want %q", c.name, got, c.want)
		}
	}
}

// talk is what is shown, and what is answered to it, in turn: to what ends in a
// bracket.
func (s *screen) talk(lines []string) {
	s.t.Helper()
	for i := 0; i < len(lines); i += 2 {
		if strings.HasSuffix(lines[i], "]") {
			s.Answer(lines[i], lines[i+1])
		} else {
			s.Expect(lines[i])
		}
	}
}

func spoken(in map[string]any) string {
	text := func(name string) string { s, _ := in[name].(string); return s }
	said := text("choice") + " " + text("device_id") + " " + text("name")
	if in["keep_unlinked"] == true {
		said += " kept"
	}
	return said
}

// Without a terminal nothing is guessed.
func TestChoosingByFlags(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	os.WriteFile(password, []byte("Secret-One\n"), 0o600)
	offer := wire.Activation{Name: "laptop", FreeName: "laptop-2", Match: &wire.Match{DeviceID: "d1", By: wire.ByMachine}, Suggest: wire.Reactivate, Devices: []wire.DeviceCard{laptop, desk}}
	for _, c := range []struct {
		flags  string
		status int
		want   string
	}{
		{"", exitRefused, "add  laptop"},
		{"--add --name other", exitRefused, "add  other"},
		{"--reactivate", exitRefused, "reactivate d1 "},
		{"--replace DESK", exitRefused, "replace d2 "},
		{"--replace d2 --name new", exitRefused, "replace d2 new"},
		{"--replace nothing", exitFailed, "  "},
		{"--add --reactivate", exitUsage, "  "},
	} {
		server, chosen := offering(t, offer, wire.Preview{})
		args := append([]string{"activate", "--system-device", "--user", "ann", "--password-file", password}, server.flags...)
		status, _, errOut := run(t, "", append(args, strings.Fields(c.flags)...)...)
		if got := spoken(*chosen); got != c.want || status != c.status {
			t.Errorf("%q: %d, chosen %q, want %d, %q; %s", c.flags, status, got, c.status, c.want, errOut)
		}
	}
}
