package desktop_test

import (
	"errors"
	"net"
	"path/filepath"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/desktop/desktoptest"
)

type object = map[string]any

func TestNetwork(t *testing.T) {
	b := desktoptest.New(t)
	bus := desktop.Bus{System: b.Address}
	if got := bus.Network(t.Context()); got != (desktop.Network{}) {
		t.Errorf("without NetworkManager: %+v", got)
	}
	const nm = "org.freedesktop.NetworkManager"
	s := b.Own(nm)
	set := s.Object("/org/freedesktop/NetworkManager", nm, object{
		"Metered": uint32(0), "ActiveConnections": []dbus.ObjectPath{"/wired", "/joining", "/wireless"}})
	s.Object("/wired", nm+".Connection.Active", object{"Type": "802-3-ethernet", "State": uint32(2), "SpecificObject": dbus.ObjectPath("/")})
	s.Object("/joining", nm+".Connection.Active", object{"Type": "802-11-wireless", "State": uint32(1), "SpecificObject": dbus.ObjectPath("/cafe")})
	s.Object("/wireless", nm+".Connection.Active", object{"Type": "802-11-wireless", "State": uint32(2), "SpecificObject": dbus.ObjectPath("/office")})
	s.Object("/cafe", nm+".AccessPoint", object{"Ssid": []byte("Cafe")})
	s.Object("/office", nm+".AccessPoint", object{"Ssid": []byte("Büro")})
	for value, want := range []bool{false, true, false, true, false} { // unknown, yes, no, guessed yes, guessed no
		set("Metered", uint32(value))
		if got := bus.Network(t.Context()); got != (desktop.Network{Metered: want, SSID: "Büro"}) {
			t.Errorf("metered is %d: %+v", value, got)
		}
	}
	set("ActiveConnections", []dbus.ObjectPath{"/wired", "/gone"})
	if got := bus.Network(t.Context()); got.SSID != "" {
		t.Errorf("by cable: in %q", got.SSID)
	}
}

// Who does not answer is not waited for.
func TestSilence(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "silent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bus := desktop.Bus{System: "unix:path=" + socket}
	if got := bus.Network(t.Context()); got != (desktop.Network{}) {
		t.Errorf("%+v", got)
	}
}

func TestInUse(t *testing.T) {
	b := desktoptest.New(t)
	bus := desktop.Bus{System: b.Address}
	if _, known := bus.InUse(t.Context()); known {
		t.Error("without logind it is known whether somebody is there")
	}
	set := b.Idle(false)
	if inUse, known := bus.InUse(t.Context()); !inUse || !known {
		t.Errorf("somebody works: %v, %v", inUse, known)
	}
	set(true)
	if inUse, known := bus.InUse(t.Context()); inUse || !known {
		t.Errorf("nobody works: %v, %v", inUse, known)
	}
}

func TestShow(t *testing.T) {
	b := desktoptest.New(t)
	bus := desktop.Bus{Session: b.Address}
	problem := desktop.Notice{Title: "The last backup failed", Text: "Look at <a> & b.", Problem: true}
	for name, bus := range map[string]desktop.Bus{
		"nobody shows notices": bus,
		"there is no bus":      {Session: "unix:path=" + filepath.Join(t.TempDir(), "none")},
	} {
		if _, err := bus.Show(t.Context(), problem); !errors.Is(err, desktop.ErrNobody) {
			t.Errorf("%s: %v", name, err)
		}
	}
	screen := b.Screen("body", "body-markup")
	first, err := bus.Show(t.Context(), problem)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Show(t.Context(), desktop.Notice{Title: "Backups work again", Text: "As ever.", Replaces: first}); err != nil {
		t.Fatal(err)
	}
	want := []desktoptest.Shown{
		{App: "Backstay", Icon: "backstay", Title: "The last backup failed", Text: "Look at &lt;a&gt; &amp; b.", Urgency: 1},
		{App: "Backstay", Icon: "backstay", Title: "Backups work again", Text: "As ever.", Replaces: first},
	}
	if got := screen.Shown(); !slices.Equal(got, want) {
		t.Errorf("shown %+v, want %+v", got, want)
	}
}

// A desktop that reads no markup gets none.
func TestShowWithoutMarkup(t *testing.T) {
	b := desktoptest.New(t)
	screen := b.Screen("body")
	if _, err := (desktop.Bus{Session: b.Address}).Show(t.Context(), desktop.Notice{Title: "a", Text: "b & c"}); err != nil {
		t.Fatal(err)
	}
	if got := screen.Shown()[0].Text; got != "b & c" {
		t.Errorf("shown %q", got)
	}
}
