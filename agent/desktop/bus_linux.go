package desktop

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"slices"
	"strconv"

	"github.com/godbus/dbus/v5"
)

// The names of services, and of what they offer.
const (
	manager     = "org.freedesktop.NetworkManager"
	managerPath = "/org/freedesktop/NetworkManager"
	login       = "org.freedesktop.login1"
	loginPath   = "/org/freedesktop/login1"
	notices     = "org.freedesktop.Notifications"
	noticesPath = "/org/freedesktop/Notifications"
)

// system opens the bus of the computer.
func (b Bus) system(ctx context.Context) (*dbus.Conn, error) {
	if b.System == "" {
		return dbus.ConnectSystemBus(dbus.WithContext(ctx))
	}
	return dbus.Connect(b.System, dbus.WithContext(ctx))
}

// session opens the bus of the user's desktop. An agent that the service started
// was told nothing of it, but the place is always the same.
func (b Bus) session(ctx context.Context) (*dbus.Conn, error) {
	address := b.Session
	if address == "" {
		address = os.Getenv("DBUS_SESSION_BUS_ADDRESS")
	}
	if address == "" {
		socket := "/run/user/" + strconv.Itoa(os.Getuid()) + "/bus"
		if _, err := os.Stat(socket); err != nil {
			return nil, err
		}
		address = "unix:path=" + socket
	}
	return dbus.Connect(address, dbus.WithContext(ctx))
}

// service is an object of a service that runs. One that does not is not started
// for us.
type service struct {
	ctx  context.Context
	conn *dbus.Conn
	name string
}

// get reads a property into to.
func (s service) get(path dbus.ObjectPath, of, name string, to any) error {
	var v dbus.Variant
	call := s.conn.Object(s.name, path).CallWithContext(s.ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, of, name)
	if err := call.Store(&v); err != nil {
		return err
	}
	return v.Store(to)
}

// Network asks NetworkManager.
func (b Bus) Network(ctx context.Context) (n Network) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := b.system(ctx)
	if err != nil {
		return n
	}
	defer conn.Close()
	s := service{ctx, conn, manager}
	var metered uint32 // 1 yes, 2 no, 3 guessed yes, 4 guessed no
	if s.get(managerPath, manager, "Metered", &metered) == nil {
		n.Metered = metered == 1 || metered == 3
	}
	n.SSID = s.ssid()
	return n
}

// ssid is the name of the wireless network that is in use.
func (s service) ssid() string {
	var active []dbus.ObjectPath
	if s.get(managerPath, manager, "ActiveConnections", &active) != nil {
		return ""
	}
	for _, connection := range active {
		var kind string
		var state uint32
		var point dbus.ObjectPath
		var name []byte
		const of = manager + ".Connection.Active"
		if s.get(connection, of, "Type", &kind) != nil || kind != "802-11-wireless" ||
			s.get(connection, of, "State", &state) != nil || state != 2 || // activated
			s.get(connection, of, "SpecificObject", &point) != nil ||
			s.get(point, manager+".AccessPoint", "Ssid", &name) != nil {
			continue
		}
		return string(name)
	}
	return ""
}

// InUse asks logind whether somebody works on this computer: in a session in
// which something was done within the last minutes, or that wants to be taken
// for one, as a film that is shown does.
func (b Bus) InUse(ctx context.Context) (inUse, known bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := b.system(ctx)
	if err != nil {
		return false, false
	}
	defer conn.Close()
	var idle bool
	if (service{ctx, conn, login}).get(loginPath, login+".Manager", "IdleHint", &idle) != nil {
		return false, false
	}
	return !idle, true
}

// Show shows a notice on the user's desktop, and returns its number. ErrNobody
// says that there is none.
func (b Bus) Show(ctx context.Context, n Notice) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := b.session(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNobody, err)
	}
	defer conn.Close()
	desktop := conn.Object(notices, noticesPath)
	var able []string
	err = desktop.CallWithContext(ctx, notices+".GetCapabilities", 0).Store(&able)
	if gone := (dbus.Error{}); errors.As(err, &gone) && gone.Name == "org.freedesktop.DBus.Error.ServiceUnknown" {
		return 0, fmt.Errorf("%w: %w", ErrNobody, err)
	}
	if err != nil {
		return 0, fmt.Errorf("asking the desktop what it can show: %w", err)
	}
	text, urgency := n.Text, byte(0)
	if slices.Contains(able, "body-markup") {
		text = html.EscapeString(text) // folders may have any name
	}
	if n.Problem {
		urgency = 1
	}
	hints := map[string]dbus.Variant{"urgency": dbus.MakeVariant(urgency), "desktop-entry": dbus.MakeVariant("backstay")}
	var number uint32
	err = desktop.CallWithContext(ctx, notices+".Notify", 0,
		"Backstay", n.Replaces, "backstay", n.Title, text, []string{}, hints, int32(-1)).Store(&number)
	if err != nil {
		return 0, fmt.Errorf("showing a notice: %w", err)
	}
	return number, nil
}
