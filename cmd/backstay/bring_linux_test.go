package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/wire"
)

// What comes back of a replaced device is asked: its files, but nothing on the
// very same computer. From another system the home has its place, the rest is
// asked for.
func TestChoosingWhatComesBack(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	os.WriteFile(password, []byte("Secret-One\n"), 0o600)
	offer := wire.Activation{Name: "new", FreeName: "new-2", Match: &wire.Match{DeviceID: "d1", By: wire.ByName}, Suggest: wire.Replace, Devices: []wire.DeviceCard{laptop}}
	files := func(system, home string, folders ...string) *wire.Restorable {
		return &wire.Restorable{Files: 3, Bytes: 5000, OS: system, Home: home, Folders: folders}
	}
	for _, c := range []struct {
		name    string
		preview wire.Preview
		talk    []string
		want    string
	}{
		{"another computer", wire.Preview{Restore: files("linux", "/home/old", "/home/old/Documents")},
			[]string{"1  Nothing", "", "2  Files (3 files, 5 kB)", "", "Select data to restore [2]", "", "/home/old/Documents → ", "", "Continue? [y]", ""}, "files"},
		{"and nothing", wire.Preview{Restore: files("linux", "/home/old", "/home/old/Documents")},
			[]string{"Select data to restore [2]", "1", "Continue? [y]", ""}, ""},
		{"the same computer", wire.Preview{SameComputer: true, Restore: files("linux", "/home/old", "/home/old/Documents")},
			[]string{"The newest data is already on this computer.", "", "Select data to restore [1]", "", "Continue? [y]", ""}, ""},
		{"another system", wire.Preview{OtherSystem: true, Restore: files("windows", `C:\Users\old`, `C:\Users\old\Documents`, `D:\Projects`)},
			[]string{"Select data to restore [2]", "", "Where does /D:/Projects go?", "", "]", "/srv/projects", "/D:/Projects → /srv/projects", "", "Continue? [y]", ""}, "files"},
		{"somebody who is not known to be the user", wire.Preview{}, []string{"Continue? [y]", ""}, ""},
	} {
		server, chosen := offering(t, offer, c.preview)
		s := sit(t, t.TempDir(), append([]string{"activate", "--system-device", "--user", "ann", "--password-file", password}, server.flags...)...)
		s.Answer("What should this computer be? [1]", "")
		s.talk(c.talk)
		s.end()
		if got, _ := (*chosen)["restore"].(string); got != c.want || (*chosen)["choice"] != wire.Replace {
			t.Errorf("%s: %v, want %q", c.name, *chosen, c.want)
		}
	}
}

// By flags, nothing comes back that is not asked for.
func TestWhatComesBackByFlags(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	os.WriteFile(password, []byte("Secret-One\n"), 0o600)
	offer := wire.Activation{Name: "new", Suggest: wire.Add, Devices: []wire.DeviceCard{laptop}}
	for _, c := range []struct {
		flags  string
		status int
		want   string
	}{
		{"--replace laptop", exitRefused, ""},
		{"--replace laptop --restore nothing", exitRefused, ""},
		{"--replace laptop --restore files --map /data=/srv/data", exitRefused, "files"},
		{"--replace laptop --restore settings", exitUsage, ""},
		{"--replace laptop --restore files --map /data", exitUsage, ""},
		{"--replace laptop --restore files --map /data=here", exitUsage, ""},
	} {
		server, chosen := offering(t, offer, wire.Preview{Restore: &wire.Restorable{OS: "linux", Home: "/home/old"}})
		args := append([]string{"activate", "--system-device", "--user", "ann", "--password-file", password}, server.flags...)
		status, _, errOut := run(t, "", append(args, strings.Fields(c.flags)...)...)
		if got, _ := (*chosen)["restore"].(string); got != c.want || status != c.status {
			t.Errorf("%q: %d, restore %q, want %d, %q; %s", c.flags, status, got, c.status, c.want, errOut)
		}
	}
}

// C-14: an activation that was begun goes on without the password, as long as
// the server knows it; then the user signs in again.
func TestActivationGoesOn(t *testing.T) {
	server := newCounter(t)
	server.answer("POST activations", wire.Activation{Activation: "bsx_1", ExpiresAt: time.Now().Add(24 * time.Hour), Username: "ann", UserID: "u",
		Name: "new", Suggest: wire.Add, Devices: []wire.DeviceCard{laptop}})
	var over atomic.Bool
	server.play("POST activations/preview", func(map[string]any) any {
		if over.Load() {
			return refusal(410, "", "device.activation.over", nil)
		}
		return wire.Preview{}
	})
	var finished atomic.Int32
	server.play("POST activations/finish", func(map[string]any) any {
		finished.Add(1)
		return refusal(402, "E1301", "error.E1301", nil)
	})
	dir := t.TempDir()
	activate := append([]string{"activate", "--system-device", "--user", "ann"}, server.flags...)

	s := sit(t, dir, activate...)
	s.Secret("assword", "Secret-One")
	s.Answer("What should this computer be? [1]", "")
	s.end()

	s = sit(t, dir, activate...)
	s.Expect("The activation for ann goes on where it was.")
	s.Answer("What should this computer be? [1]", "")
	s.end()

	over.Store(true)
	s = sit(t, dir, activate...)
	s.Secret("assword", "Secret-One")
	s.Answer("What should this computer be? [1]", "")
	s.end()
	if n := finished.Load(); n != 3 {
		t.Errorf("ended %d times, want 3", n)
	}
}
