package devices

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// cloned notes that two computers claim to be a device, and tells the
// administrators the first time, until one of them has settled it.
func cloned(ctx context.Context, tx *db.Tx, ring *keys.Ring, by access.Caller, d Device, other wire.Hardware) error {
	if _, err := tx.Exec(ctx, "UPDATE devices SET clone_at = $2 WHERE id = $1", d.ID, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("noting a clone of device %s: %w", d.ID, err)
	}
	err := audit.Record(ctx, tx, by, audit.Event{Action: access.Activate, Org: d.Org, Owner: d.User, Object: object(d.ID),
		Outcome: audit.Refuse, Details: []audit.Detail{audit.Note("reason", "clone"), audit.Note("hostname", other.Hostname)}})
	if err != nil || !d.CloneAt.IsZero() {
		return err
	}
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return err
	}
	o, err := orgs.Find(ctx, tx, d.Org)
	if err != nil {
		return err
	}
	return orgs.Notify(ctx, tx, ring, d.Org, mail.Mail{Template: mail.DeviceCloned, Values: map[string]string{
		"device": d.Name, "username": u.Username, "hostname": other.Hostname, "org": o.Name, "at": tx.Now().UTC().Format(time.RFC3339)}})
}

// Settle takes the note from a device that two computers claimed to be it: an
// administrator has seen to that.
func Settle(ctx context.Context, tx *db.Tx, by access.Caller, id ID) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Note("settled", "clone")); err != nil {
		return err
	}
	if err := d.forAdministrators(by); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET clone_at = 0 WHERE id = $1", id); err != nil {
		return fmt.Errorf("settling the clone of device %s: %w", id, err)
	}
	return nil
}
