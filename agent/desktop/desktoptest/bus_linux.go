// Package desktoptest starts a D-Bus of a test's own, with the services on it that
// the test needs. It is Debian's dbus-daemon, and nobody else's.
package desktoptest

import (
	"bufio"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Bus is a bus on which there is nobody yet.
type Bus struct {
	t       testing.TB
	Address string
}

// New starts a bus.
func New(t testing.TB) *Bus {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "bus.conf")
	err := os.WriteFile(conf, []byte(`<busconfig><type>session</type><listen>unix:dir=`+dir+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+conf, "--print-address", "--nofork")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting dbus-daemon, of Debian's package of that name: %v", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &Bus{t, strings.TrimSpace(address)}
}

// Service is somebody on the bus.
type Service struct {
	t    testing.TB
	conn *dbus.Conn
}

// Own puts a service on the bus, under a name that is known.
func (b *Bus) Own(name string) *Service {
	b.t.Helper()
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	if got, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || got != dbus.RequestNameReplyPrimaryOwner {
		b.t.Fatalf("owning %s: %v, %v", name, got, err)
	}
	return &Service{b.t, conn}
}

// Object offers properties, and returns how to change one.
func (s *Service) Object(path dbus.ObjectPath, of string, values map[string]any) (set func(name string, value any)) {
	s.t.Helper()
	p := &properties{of: of, values: map[string]dbus.Variant{}}
	for name, value := range values {
		p.set(name, value)
	}
	if err := s.conn.Export(p, path, "org.freedesktop.DBus.Properties"); err != nil {
		s.t.Fatal(err)
	}
	return p.set
}

// properties are those of an object. The library's own change values that are
// on their way to somebody.
type properties struct {
	of string

	mu     sync.Mutex
	values map[string]dbus.Variant
}

func (p *properties) set(name string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values[name] = dbus.MakeVariant(value)
}

// Get is asked for one property.
func (p *properties) Get(of, name string) (dbus.Variant, *dbus.Error) {
	all, err := p.GetAll(of)
	if v, ok := all[name]; ok || err != nil {
		return v, err
	}
	return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
}

// GetAll is asked for all of them.
func (p *properties) GetAll(of string) (map[string]dbus.Variant, *dbus.Error) {
	if of != p.of {
		return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownInterface", nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.values), nil
}

// Metered puts a NetworkManager on the bus that knows whether the network is
// metered, and returns how to change it.
func (b *Bus) Metered(yes bool) (set func(yes bool)) {
	value := map[bool]uint32{true: 1, false: 2}
	const of = "org.freedesktop.NetworkManager"
	change := b.Own(of).Object("/org/freedesktop/NetworkManager", of, map[string]any{"Metered": value[yes]})
	return func(yes bool) { change("Metered", value[yes]) }
}

// Idle puts a logind on the bus, and returns how to say whether nobody works on
// the computer.
func (b *Bus) Idle(yes bool) (set func(yes bool)) {
	const login = "org.freedesktop.login1"
	change := b.Own(login).Object("/org/freedesktop/login1", login+".Manager", map[string]any{"IdleHint": yes})
	return func(yes bool) { change("IdleHint", yes) }
}

// Screen is a desktop that shows notices.
type Screen struct {
	mu    sync.Mutex
	able  []string
	shown []Shown
}

// Shown is a notice as it came.
type Shown struct {
	App, Icon, Title, Text string
	Replaces               uint32
	Urgency                byte
}

// Screen puts a desktop on the bus that is able to do this.
func (b *Bus) Screen(able ...string) *Screen {
	b.t.Helper()
	s := &Screen{able: able}
	err := b.Own("org.freedesktop.Notifications").conn.Export(s, "/org/freedesktop/Notifications", "org.freedesktop.Notifications")
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// Shown are all that were shown so far.
func (s *Screen) Shown() []Shown {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.shown)
}

// GetCapabilities is what a desktop is asked first.
func (s *Screen) GetCapabilities() ([]string, *dbus.Error) { return s.able, nil }

// Notify shows a notice.
func (s *Screen) Notify(app string, replaces uint32, icon, title, text string, _ []string, hints map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	urgency, _ := hints["urgency"].Value().(byte)
	s.shown = append(s.shown, Shown{app, icon, title, text, replaces, urgency})
	return uint32(len(s.shown)), nil
}
