package devices_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := w.device(w.una, "Laptop")
	_, err := w.activate(w.una, w.computer("laptop"))
	if !errs.Is(err, errs.SameDeviceName) {
		t.Fatalf("a taken name: %v, want E1201", err)
	}
	if c, ok := errs.Find(err).Args["device"].(wire.DeviceCard); !ok || c.DeviceID != string(first.ID) || c.Name != "Laptop" {
		t.Errorf("the candidate is %+v", errs.Find(err).Args["device"])
	}
	for _, want := range []string{"laptop-2", "laptop-3"} {
		c := w.computer("laptop")
		c.activation.RenameIfTaken = true
		if a, err := w.activate(w.una, c); err != nil || a.Device.Name != want {
			t.Errorf("renamed to %q, %v; want %q", a.Device.Name, err, want)
		}
	}
	long := w.computer(strings.Repeat("é", 100))
	long.activation.RenameIfTaken, long.activation.Hardware = true, wire.Hardware{Hostname: "host"}
	for range 2 {
		long.activation.RequestID = uuid.NewString()
		if a, err := w.activate(w.una, long); err != nil || len([]rune(a.Device.Name)) > 100 {
			t.Errorf("a long name became %q, %v", a.Device.Name, err)
		}
	}
	// Another user's devices are in nobody's way, and neither are those that are gone.
	w.device(w.user("vic"), "laptop")
	if err := w.setState(system, first.ID, devices.Deactivated); err != nil {
		t.Fatal(err)
	}
	if _, err := w.activate(w.una, w.computer("Laptop")); !errs.Is(err, errs.SameDeviceName) {
		t.Errorf("the name of a deactivated device: %v, want E1201", err)
	}
	if err := w.setState(system, first.ID, devices.Deleted); err != nil {
		t.Fatal(err)
	}
	if _, err := w.activate(w.una, w.computer("Laptop")); err != nil {
		t.Errorf("the name of a deleted device: %v", err)
	}
	if got := w.find(w.onlyNamed("no name")).Name; got != "no name.example.org" {
		t.Errorf("without a name it is called %q, want the host's", got)
	}
}

// onlyNamed activates a computer that has only its host's name.
func (w *world) onlyNamed(host string) devices.ID {
	w.Helper()
	c := w.computer(host)
	c.activation.Name = ""
	a, err := w.activate(w.una, c)
	if err != nil {
		w.Fatal(err)
	}
	return a.Device.ID
}

func TestRename(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, _ := w.device(w.una, "one")
	w.device(w.una, "two")
	rename := func(by access.Caller, name string) error {
		return w.DB.Write(t.Context(), func(tx *db.Tx) error { return devices.Rename(t.Context(), tx, by, one.ID, name) })
	}
	for _, c := range []struct {
		by   access.Caller
		name string
		kind errs.Kind
	}{
		{w.una.Caller(from), "Two", errs.Conflict},
		{w.una.Caller(from), "", errs.Invalid},
		{admin(w, access.Viewer), "x", errs.Forbidden},
		{w.user("vic").Caller(from), "x", errs.NotFound},
		{access.Caller{Kind: access.DeviceKind, User: w.una.ID, Org: w.Org.ID, Device: one.ID}, "x", errs.Forbidden},
	} {
		if err := rename(c.by, c.name); errs.KindOf(err) != c.kind {
			t.Errorf("to %q by %s %s: %v, want kind %d", c.name, c.by.Kind, c.by.Role, err, c.kind)
		}
	}
	for by, name := range map[access.Caller]string{w.una.Caller(from): "ONE", admin(w, access.OrgAdmin): " Études "} {
		if err := rename(by, name); err != nil || w.find(one.ID).Name != strings.TrimSpace(name) {
			t.Errorf("to %q: %v", name, err)
		}
	}
}
