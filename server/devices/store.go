package devices

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

const columns = `d.id, d.org, d.user_id, d.request_id, d.state, d.state_at, d.state_reason, d.name, d.machine_id, d.serial, d.hostname,
	d.state_before, d.names, d.purge_at, d.locked_at, d.reset_at, d.inactive_at, d.noted_at, d.complete_at,
	d.os, d.os_version, d.arch, d.os_user, d.is_system, d.client_version, d.signing_key, d.cert_serial, d.cert, d.folders, d.last_seen_at,
	d.last_ip, d.status, d.status_code, d.progress, d.next_run_at, d.last_backup_at, d.last_snapshot, d.last_status, d.stored_bytes,
	d.stored_files, d.profile_version, d.changed_at, d.created_at, d.activated_at, d.os_home, d.named, d.choices, d.root_epoch, d.replaces,
	d.successor, d.clone_at, d.token, d.waiting_files, (SELECT o.state FROM users o WHERE o.id = d.user_id),
	(SELECT COALESCE(o.profile, '') FROM users o WHERE o.id = d.user_id)`

func scanOne(row db.Row) (Device, error) { return scan(row) }

func scan(row db.Row, more ...any) (d Device, err error) {
	var state, seen, next, backup, changed, created, activated, clone int64
	var folders, progress, choices string
	h := &d.Hardware
	err = row.Scan(append([]any{&d.ID, &d.Org, &d.User, &d.requestID, &d.State, &state, &d.StateReason, &d.Name, &h.MachineID, &h.Serial, &h.Hostname,
		&d.StateBefore, &d.Names, instant{&d.PurgeAt}, instant{&d.LockedAt}, instant{&d.ResetAt}, instant{&d.InactiveAt}, instant{&d.NotedAt}, instant{&d.CompleteAt},
		&h.OS, &h.OSVersion, &h.Arch, &h.OSUser, &d.System, &d.ClientVersion, &d.SigningKey, &d.CertSerial, &d.Cert, &folders, &seen,
		&d.LastIP, &d.Status, &d.StatusCode, &progress, &next, &backup, &d.LastSnapshot, &d.LastStatus, &d.StoredBytes,
		&d.StoredFiles, &d.ProfileVersion, &changed, &created, &activated, &h.OSHome, &d.Named, &choices, &d.RootEpoch, &d.Replaces,
		&d.Successor, &clone, &d.Token, &d.WaitingFiles, &d.Owner, &d.OwnerProfile}, more...)...)
	if err != nil {
		return Device{}, err
	}
	d.StateAt, d.LastSeenAt, d.NextRunAt, d.LastBackupAt = db.Time(state), db.Time(seen), db.Time(next), db.Time(backup)
	d.ChangedAt, d.CreatedAt, d.ActivatedAt, d.CloneAt = db.Time(changed), db.Time(created), db.Time(activated), db.Time(clone)
	if d.Choices, err = decodeChoices(choices); err != nil {
		return Device{}, fmt.Errorf("reading the choices of device %s: %w", d.ID, err)
	}
	if d.Folders, err = decodeFolders(folders); err != nil {
		return Device{}, fmt.Errorf("reading the folders of device %s: %w", d.ID, err)
	}
	if progress != "" {
		d.Progress = new(wire.Progress)
		if err := json.Unmarshal([]byte(progress), d.Progress); err != nil {
			return Device{}, fmt.Errorf("reading the progress of device %s: %w", d.ID, err)
		}
	}
	return d, nil
}

func findWhere(ctx context.Context, tx *db.Tx, where string, args ...any) (Device, error) {
	return scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM devices d WHERE "+where, args...))
}

// live is the condition that a device has its name and counts.
const live = "d.state NOT IN ('replaced', 'decommissioned', 'deleted', 'purged')"

// named returns the user's live device of this name, if there is one.
func named(ctx context.Context, tx *db.Tx, user accounts.ID, name string) (Device, bool, error) {
	d, err := findWhere(ctx, tx, "d.user_id = $1 AND d.name_key = $2 AND "+live, user, orgs.Fold(name))
	if errors.Is(err, sql.ErrNoRows) {
		return Device{}, false, nil
	}
	if err != nil {
		return Device{}, false, fmt.Errorf("looking for a device called %q: %w", name, err)
	}
	return d, true, nil
}

// liveOf returns a user's live devices by name.
func liveOf(ctx context.Context, tx *db.Tx, user accounts.ID) ([]Device, error) {
	list, err := db.All(ctx, tx, scanOne, "SELECT "+columns+" FROM devices d WHERE d.user_id = $1 AND "+live+" ORDER BY d.name_key", user)
	if err != nil {
		return nil, fmt.Errorf("listing the devices of user %s: %w", user, err)
	}
	return list, nil
}

func (d Device) searchText() string {
	return orgs.Fold(d.Name + "\n" + d.Hardware.Hostname + "\n" + d.Hardware.Serial + "\n" + d.Names)
}

func insert(ctx context.Context, tx *db.Tx, d Device) error {
	h := d.Hardware
	_, err := tx.Exec(ctx, `INSERT INTO devices (id, org, user_id, request_id, state, state_at, state_reason, name, name_key, search,
			machine_id, serial, hostname, os, os_version, arch, os_user, is_system, client_version, signing_key, cert_serial, cert, folders,
			last_seen_at, last_ip, status, status_code, progress, next_run_at, last_backup_at, last_snapshot, last_status, stored_bytes,
			stored_files, profile_version, changed_at, created_at, activated_at, os_home, named, choices, root_epoch, replaces, token)
		VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, '',
			$6, $22, '', '', '', 0, 0, '', '', 0, 0, 0, $6, $6, $6, $23, $24, $25, $26, $27, $28)`,
		d.ID, d.Org, d.User, d.requestID, d.State, db.Micros(d.CreatedAt), d.Name, orgs.Fold(d.Name), d.searchText(),
		h.MachineID, h.Serial, h.Hostname, h.OS, h.OSVersion, h.Arch, h.OSUser, d.System, d.ClientVersion, d.SigningKey, int64(d.CertSerial), d.Cert,
		d.LastIP, h.OSHome, d.Named, encodeChoices(d.Choices), d.RootEpoch, d.Replaces, d.Token)
	return err
}

func decodeChoices(text string) (*profile.Choices, error) {
	if text == "" {
		return nil, nil
	}
	c, err := profile.DecodeChoices([]byte(text))
	return &c, err
}

func encodeChoices(c *profile.Choices) string {
	if c == nil {
		return ""
	}
	return string(c.Encode())
}

// instant scans a time.
type instant struct{ at *time.Time }

// Scan reads microseconds.
func (i instant) Scan(value any) error {
	n, ok := value.(int64)
	if !ok {
		return fmt.Errorf("%T is no time", value)
	}
	*i.at = db.Time(n)
	return nil
}

// writeName writes the name of a device down, and what finds it.
func writeName(ctx context.Context, tx *db.Tx, d Device) error {
	_, err := tx.Exec(ctx, "UPDATE devices SET name = $2, name_key = $3, search = $4, changed_at = $5, named = $6, names = $7 WHERE id = $1",
		d.ID, d.Name, orgs.Fold(d.Name), d.searchText(), db.Micros(tx.Now()), d.Named, d.Names)
	if err != nil {
		return fmt.Errorf("renaming device %s: %w", d.ID, err)
	}
	return nil
}
