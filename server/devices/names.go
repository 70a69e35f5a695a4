package devices

import (
	"context"
	"slices"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// maxNames is how many names a device is remembered by.
const maxNames = 20

// remember notes a name that the device had, by which the search goes on finding
// it.
func (d *Device) remember(name string) {
	names := slices.DeleteFunc(strings.Split(d.Names, "\n"), func(n string) bool { return n == "" || orgs.Fold(n) == orgs.Fold(name) })
	names = append(names, name)
	d.Names = strings.Join(names[max(0, len(names)-maxNames):], "\n")
}

// OldNames are the names that a device had, the first first.
func (d Device) OldNames() []string {
	if d.Names == "" {
		return nil
	}
	return strings.Split(d.Names, "\n")
}

// follow gives a device the name of its computer when that was renamed, unless
// somebody chose the device's. One that the user has already gets a number.
func (d *Device) follow(ctx context.Context, tx *db.Tx, by access.Caller, before wire.Hardware) error {
	old, host := HostName(before), HostName(d.Hardware)
	if orgs.Fold(old) == orgs.Fold(host) {
		return nil
	}
	if old != "" {
		d.remember(old)
	}
	name, err := checkName(host)
	if d.Named || err != nil || slices.Contains(gone, d.State) || orgs.Fold(name) == orgs.Fold(d.Name) {
		return writeName(ctx, tx, *d)
	}
	was := d.Name
	d.remember(was)
	if d.Name, err = freeName(ctx, tx, d.User, name, true); err != nil {
		return err
	}
	err = audit.Record(ctx, tx, by, audit.Event{Action: access.Report, Org: d.Org, Owner: d.User, Object: object(d.ID), Outcome: audit.Done,
		Details: []audit.Detail{audit.Change("name", was, d.Name)}})
	if err != nil {
		return err
	}
	return writeName(ctx, tx, *d)
}
