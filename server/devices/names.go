package devices

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
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
// somebody chose the device's. One that the user has already gets a number. A
// computer that is called now this, now that is two: the disk was copied after
// it was activated, and both have the key. Then the device keeps its name.
func (d *Device) follow(ctx context.Context, tx *db.Tx, ring *keys.Ring, by access.Caller, before wire.Hardware) error {
	old, host := HostName(before), HostName(d.Hardware)
	if orgs.Fold(old) == orgs.Fold(host) {
		return nil
	}
	two, err := d.swaps(ctx, tx, host)
	if err != nil {
		return err
	}
	if old != "" {
		d.remember(old)
	}
	if two && tx.Now().Sub(d.CloneAt) >= cloneWindow {
		if err := cloned(ctx, tx, ring, by, *d, before); err != nil {
			return err
		}
	}
	name, err := checkName(host)
	if two || d.Named || err != nil || slices.Contains(gone, d.State) || orgs.Fold(name) == orgs.Fold(d.Name) {
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

// swaps reports whether the device's computer is called again what it was
// called within a day, and notes that it is called otherwise now.
func (d *Device) swaps(ctx context.Context, tx *db.Tx, host string) (bool, error) {
	var last int64
	if err := tx.QueryRow(ctx, "SELECT host_at FROM devices WHERE id = $1", d.ID).Scan(&last); err != nil {
		return false, fmt.Errorf("looking since when the computer of device %s has its name: %w", d.ID, err)
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET host_at = $2 WHERE id = $1", d.ID, db.Micros(tx.Now())); err != nil {
		return false, fmt.Errorf("noting the name of the computer of device %s: %w", d.ID, err)
	}
	was := slices.ContainsFunc(d.OldNames(), func(n string) bool { return orgs.Fold(n) == orgs.Fold(host) })
	return was && tx.Now().Sub(db.Time(last)) < cloneWindow, nil
}
