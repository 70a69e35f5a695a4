package devices

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
)

// offered refuses with E1202 to add a device of a kind that is no longer
// offered.
func offered(ctx context.Context, tx *db.Tx, system bool, os string) error {
	set, err := settings.Load(ctx, tx)
	if err == nil && set.Devices.Retires(system, os) {
		err = errs.Of(errs.AddDeviceNotAllowed, "reason", "retired")
	}
	return err
}

// Retired reports whether a device is of a kind that is no longer offered: it
// works until it is deleted, and then there cannot be one like it.
func Retired(ctx context.Context, tx *db.Tx, d Device) (bool, error) {
	set, err := settings.Load(ctx, tx)
	return err == nil && set.Devices.Retires(d.System, d.Hardware.OS), err
}

// Kinds counts the devices of every kind that have not ended, on the whole
// server; for who may change which kinds there are.
func Kinds(ctx context.Context, tx *db.Tx, by access.Caller) (map[string]int, error) {
	if err := audit.See(by, access.ManageSettings, "", "", "settings"); err != nil {
		return nil, err
	}
	counts, err := db.Counts[string](ctx, tx, `SELECT kind, COUNT(*) FROM (
			SELECT CASE WHEN d.is_system THEN $1 ELSE $2 END AS kind FROM devices d WHERE `+live+`
			UNION ALL SELECT d.os FROM devices d WHERE `+live+`) AS kinds GROUP BY kind`, settings.SystemDevices, settings.UserDevices)
	if err != nil {
		return nil, fmt.Errorf("counting the kinds of devices: %w", err)
	}
	return counts, nil
}
