// Package devices knows every computer that may back up: how it is activated,
// proves who it is, is renamed, stopped and retired, what it reports and what it
// is asked to do. A device belongs to one user and has one set, the chain of its
// snapshots.
package devices

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// ID identifies a device: a UUID as text.
type ID = access.DeviceID

// State says where a device is in its life.
type State string

// The states. Only an active device backs up.
const (
	Enrolling       State = "enrolling"
	Waiting         State = "awaiting_approval"
	Active          State = "active"
	Disabled        State = "disabled"    // stopped by an administrator, its key still good
	Deactivated     State = "deactivated" // its key revoked, data intact
	Replaced        State = "replaced"    // another device went on with its set
	Decommissioning State = "decommissioning"
	Decommissioned  State = "decommissioned"
	Deleted         State = "deleted"
	Purged          State = "purged"
)

// gone are the states in which a device has no name any more and does not count
// against its user's limit. The index devices_name says the same.
var gone = []State{Replaced, Decommissioned, Deleted, Purged}

// Device is a computer.
type Device struct {
	ID          ID
	Org         orgs.ID
	User        accounts.ID
	State       State
	StateAt     time.Time
	StateReason string
	StateBefore State          // of a deleted device: what Undelete returns to
	PurgeAt     time.Time      // of a deleted device: when its window ends
	LockedAt    time.Time      // since when nothing is shown or restored there; zero: it is
	ResetAt     time.Time      // when a security reset deactivated it; zero: none did
	InactiveAt  time.Time      // since when it counts as inactive; zero: it does not
	NotedAt     time.Time      // last warning before an inactive device is deleted
	Owner       accounts.State // of the user: while it is not active, the device is refused

	OwnerProfile access.ProfileID // of the user, "" for the organisation's default

	Name          string // what people see, unique among the user's
	Named         bool   // somebody chose the name: it does not follow the host's
	Names         string // those it had, one a line; the search finds them
	Hardware      wire.Hardware
	System        bool // backs up with the system's rights
	ClientVersion string

	SigningKey []byte // Ed25519
	CertSerial uint64
	Cert       []byte // docs/format.md 8

	RootEpoch int64     // one more for each computer of another system that went on with the set
	Replaces  ID        // the device that this one takes over with its first complete backup
	Successor ID        // of a replaced device
	CloneAt   time.Time // two computers claimed to be this one

	// As the device reports.
	Folders    []string
	Choices    *profile.Choices // nil: it never told
	LastSeenAt time.Time
	LastIP     string
	Status     string // wire.StateIdle and so on
	StatusCode string // of the last failure
	Progress   *wire.Progress
	NextRunAt  time.Time

	// As the vault notes.
	LastBackupAt time.Time
	LastSnapshot string
	LastStatus   string
	CompleteAt   time.Time // its newest snapshot that has everything, and for which all folders were read
	StoredBytes  int64
	StoredFiles  int64
	WaitingFiles int64 // in its newest snapshot, for room on the quota

	ProfileVersion int64     // fetched last
	ChangedAt      time.Time // something that the device must be told
	CreatedAt      time.Time
	ActivatedAt    time.Time
	Token          string // the deployment token by which the computer came, or came back, that it is now; "" for none

	requestID string
}

const (
	maxName   = 100
	maxField  = 200 // of a field of the hardware
	maxReason = 1000
)

func object(id ID) string { return "device/" + string(id) }

// Find returns a device and asks nobody's permission; View does.
func Find(ctx context.Context, tx *db.Tx, id ID) (Device, error) {
	d, err := findWhere(ctx, tx, "d.id = $1", string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return Device{}, errs.New(errs.NotFound, "device.unknown")
	}
	if err != nil {
		return Device{}, fmt.Errorf("reading device %s: %w", id, err)
	}
	return d, nil
}

// View returns a device to its user and to administrators; a deleted one is
// hidden from its user.
func View(ctx context.Context, tx *db.Tx, by access.Caller, id ID) (Device, error) {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return Device{}, err
	}
	if err := audit.See(by, access.ViewDevices, d.Org, d.User, object(id)); err != nil {
		return Device{}, err
	}
	if by.Kind == access.UserKind && (d.State == Deleted || d.State == Purged) {
		return Device{}, errs.New(errs.NotFound, "device.unknown")
	}
	return d, nil
}

// Rename gives the device the name people see. Names are unique among a user's
// devices without regard to case, so that a restore cannot pick the wrong one. A
// device that has its computer's name goes on following it.
func Rename(ctx context.Context, tx *db.Tx, by access.Caller, id ID, name string) error {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return err
	}
	old := d.Name
	if d.Name, err = checkName(name); err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Change("name", old, d.Name)); err != nil {
		return err
	}
	other, taken, err := named(ctx, tx, d.User, d.Name)
	if err != nil {
		return err
	}
	if taken && other.ID != d.ID && !slices.Contains(gone, d.State) {
		return sameName(other)
	}
	if d.Name != old {
		d.remember(old)
	}
	d.Named = orgs.Fold(d.Name) != orgs.Fold(HostName(d.Hardware))
	return writeName(ctx, tx, d)
}

func checkName(name string) (string, error) {
	name = strings.TrimSpace(norm.NFC.String(name))
	if name == "" {
		return "", errs.New(errs.Invalid, "device.name.empty")
	}
	if !printable(name) || utf8.RuneCountInString(name) > maxName {
		return "", errs.New(errs.Invalid, "device.name.invalid", "n", maxName)
	}
	return name, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// revoke takes away what devices could use. Their own tokens stay until they
// end: a device that is not active is told so when it shows one. They are gone
// before it becomes active again.
func revoke(ctx context.Context, tx *db.Tx, to State, ids ...ID) error {
	if err := accounts.EndTokens(ctx, tx, ids...); err != nil {
		return err
	}
	if err := endGrants(ctx, tx, ids...); err != nil {
		return err
	}
	if to != Active {
		return nil
	}
	if _, err := tx.Exec(ctx, "DELETE FROM device_tokens WHERE device IN ("+db.In(len(ids), 1)+")", db.Args(ids)...); err != nil {
		return fmt.Errorf("revoking what %d devices have: %w", len(ids), err)
	}
	return nil
}

// Backup is what the vault notes of a snapshot that became visible.
type Backup struct {
	Snapshot string // its id, as people see it
	Status   string
	At       time.Time
	Bytes    int64 // of its files, by the device's word
	Held     int64 // that are stored of their contents
	Files    int64
	Waiting  int64 // files that wait for room
	Carried  int64 // folders that were not read for it
}

// Committed notes a device's newest snapshot, in the transaction that makes it
// visible. Only one that is complete, and for which all folders were read, makes
// the device protected.
func Committed(ctx context.Context, tx *db.Tx, id ID, b Backup) error {
	whole := b.Status == "complete" && b.Carried == 0
	_, err := tx.Exec(ctx, `UPDATE devices SET last_backup_at = $2, last_snapshot = $3, last_status = $4, stored_bytes = $5, stored_files = $6,
		waiting_files = $8, received_bytes = 0, claimed_bytes = 0, held_bytes = $9, last_seen_at = $7, complete_at = CASE WHEN $10 THEN $2 ELSE complete_at END,
		inactive_at = CASE WHEN $10 THEN 0 ELSE inactive_at END, noted_at = CASE WHEN $10 THEN 0 ELSE noted_at END WHERE id = $1`,
		id, db.Micros(b.At), b.Snapshot, b.Status, counts(b.Bytes, b.Held), b.Files, db.Micros(tx.Now()), b.Waiting, b.Held, whole)
	if err != nil {
		return fmt.Errorf("noting a backup of device %s: %w", id, err)
	}
	if !whole {
		return nil
	}
	return succeed(ctx, tx, id)
}

// SetOf returns the id of a device's set.
func SetOf(ctx context.Context, tx *db.Tx, id ID) (string, error) {
	var set string
	err := tx.QueryRow(ctx, "SELECT id FROM sets WHERE device = $1 ORDER BY created_at DESC, id DESC LIMIT 1", id).Scan(&set)
	if err != nil {
		return "", fmt.Errorf("looking for the set of device %s: %w", id, err)
	}
	return set, nil
}

func decodeFolders(text string) (folders []string, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &folders)
	}
	return folders, err
}
