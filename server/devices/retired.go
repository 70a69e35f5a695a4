package devices

import (
	"context"
	"fmt"
	"slices"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
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

// AskToSave writes to the user of a device that is to be deleted and could not be
// added again, so that they save what they need first: link leads to its files.
func AskToSave(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, id ID, link string) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return err
	}
	err = audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Note("mail", mail.SaveFirst))
	if err != nil {
		return err
	}
	if err := d.forAdministrators(by); err != nil {
		return err
	}
	if !CanSave(u) {
		return errs.New(errs.Conflict, "devices.save.impossible", "user", u.Username)
	}
	return mail.Queue(ctx, tx, ring, mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.SaveFirst,
		Values: map[string]string{"username": u.Username, "device": d.Name, "admin": by.Name, "link": link}})
}

// RetiredOf are the devices of a user, by name, that could not be added again and
// that have something to save. It asks nobody's permission.
func RetiredOf(ctx context.Context, tx *db.Tx, user accounts.ID) ([]Device, error) {
	set, err := settings.Load(ctx, tx)
	if err != nil || len(set.Devices.Retired) == 0 {
		return nil, err
	}
	have, err := liveOf(ctx, tx, user)
	return slices.DeleteFunc(have, func(d Device) bool {
		return d.LastBackupAt.IsZero() || !set.Devices.Retires(d.System, d.Hardware.OS)
	}), err
}

// AskToSaveAll is AskToSave for each of RetiredOf, of a user who is to be deleted.
// A link begins with link and ends with the device.
func AskToSaveAll(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, user accounts.ID, link string) error {
	list, err := RetiredOf(ctx, tx, user)
	if err == nil && len(list) == 0 {
		err = errs.New(errs.Conflict, "devices.save.none")
	}
	for _, d := range list {
		if err == nil {
			err = AskToSave(ctx, tx, by, ring, d.ID, link+string(d.ID))
		}
	}
	return err
}

// CanSave reports whether AskToSave reaches a user, who can then sign in and
// save something.
func CanSave(u accounts.User) bool { return u.State == accounts.Active && u.Email != "" }

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
