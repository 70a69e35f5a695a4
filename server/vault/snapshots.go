package vault

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Snapshot is what may be known of a snapshot without opening it.
type Snapshot struct {
	Hash   backup.Hash
	Seq    uint64
	Org    access.OrgID
	User   access.UserID
	Device access.DeviceID
	Set    string
	Status string // complete, partial or suspicious

	// SignedAs is the device that the manifest names, where another one took over
	// what that one had; else empty.
	SignedAs access.DeviceID

	StartedAt   time.Time // by the device's clock
	CommittedAt time.Time

	Entries, Files, Bytes, Unreadable int64
}

// Filter says which snapshots a list holds. Its empty fields choose nothing
// away.
type Filter struct {
	Org    access.OrgID
	User   access.UserID
	Device access.DeviceID
	Limit  int // 1,000 when 0

	hide bool // what is of deleted devices
}

const snapshotColumns = `hash, seq, org, user_id, device, set_id, status, started_at, committed_at, entries, files, bytes, unreadable, signed_as`

func scanSnapshot(row db.Row) (s Snapshot, err error) {
	var hash []byte
	var started, committed int64
	err = row.Scan(&hash, &s.Seq, &s.Org, &s.User, &s.Device, &s.Set, &s.Status, &started, &committed,
		&s.Entries, &s.Files, &s.Bytes, &s.Unreadable, &s.SignedAs)
	copy(s.Hash[:], hash)
	s.StartedAt, s.CommittedAt = db.Time(started), db.Time(committed)
	return s, err
}

// Snapshots lists visible snapshots, newest first: of the caller's own devices,
// for an administrator of those in reach, deleted ones as well. Partial ones that a newer snapshot of
// their session replaced are not among them.
func (v *Vault) Snapshots(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) ([]Snapshot, error) {
	if err := f.confine(by); err != nil {
		return nil, err
	}
	where, args := f.where()
	if f.Limit == 0 {
		f.Limit = 1000
	}
	args = append(args, f.Limit)
	list, err := db.All(ctx, tx, scanSnapshot, `SELECT `+snapshotColumns+` FROM snapshots WHERE `+where+
		fmt.Sprintf(" ORDER BY committed_at DESC, number DESC LIMIT $%d", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	return list, nil
}

// Count is how many snapshots Snapshots would list without a limit.
func (v *Vault) Count(ctx context.Context, tx *db.Tx, by access.Caller, f Filter) (n int64, err error) {
	if err := f.confine(by); err != nil {
		return 0, err
	}
	where, args := f.where()
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM snapshots WHERE "+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting snapshots: %w", err)
	}
	return n, nil
}

// where is the condition for what f chooses.
func (f *Filter) where() (string, []any) {
	where, args := []string{"state = 'live'"}, []any{}
	for _, c := range []struct{ column, value string }{
		{"org", string(f.Org)}, {"user_id", string(f.User)}, {"device", string(f.Device)},
	} {
		if c.value != "" {
			args = append(args, c.value)
			where = append(where, fmt.Sprintf("%s = $%d", c.column, len(args)))
		}
	}
	if f.hide {
		where = append(where, shown)
	}
	return strings.Join(where, " AND "), args
}

// shown is the condition that nobody deleted the device of a snapshot.
const shown = "device NOT IN (SELECT d.id FROM devices d WHERE d.state IN ('deleted', 'purged'))"

// confine narrows a filter to what the caller may see, or refuses it.
func (f *Filter) confine(by access.Caller) error {
	object := "snapshots/" + string(f.Device)
	switch by.Kind {
	case access.UserKind, access.DeviceKind:
		f.hide = true
		if f.Org == "" {
			f.Org = by.Org
		}
		if f.User == "" {
			f.User = by.User
		}
	case access.AdminKind:
		if f.Org == "" && by.Role != access.ServerAdmin {
			f.Org = by.Org
		}
	}
	return audit.See(by, viewing(by), f.Org, f.User, object)
}

// viewing is the action that looking at figures is, for a caller.
func viewing(by access.Caller) access.Action {
	if by.Kind == access.DeviceKind {
		return access.Backup
	}
	return access.ViewDevices
}

// Find is the visible snapshot of a device that name means: the first digits of
// its id, as many as make it the only one, or "latest". There is none: E1504.
func (v *Vault) Find(ctx context.Context, tx *db.Tx, by access.Caller, device access.DeviceID, name string) (Snapshot, error) {
	list, err := v.Snapshots(ctx, tx, by, Filter{Device: device, Limit: maxFind})
	if err != nil {
		return Snapshot{}, err
	}
	if name == "latest" && len(list) > 0 {
		return list[0], nil
	}
	var found []Snapshot
	for _, s := range list {
		if name != "" && strings.HasPrefix(s.Hash.String(), strings.ToLower(name)) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return Snapshot{}, errs.Of(errs.NoSuchSnapshot, "what", name)
	}
	return found[0], nil
}

const maxFind = 100_000

// byHash is a visible snapshot that the caller may act on.
func (v *Vault) byHash(ctx context.Context, tx *db.Tx, by access.Caller, hash backup.Hash) (Snapshot, error) {
	s, err := scanSnapshot(tx.QueryRow(ctx, `SELECT `+snapshotColumns+` FROM snapshots WHERE hash = $1 AND state = 'live' AND `+shown, hash[:]))
	if err == nil && access.Sees(by, s.Org, s.User) {
		return s, nil
	}
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return Snapshot{}, errs.Of(errs.NoSuchSnapshot, "what", hash.Short())
	}
	return Snapshot{}, fmt.Errorf("reading snapshot %s: %w", hash.Short(), err)
}

// signer is the device that a snapshot's manifest names.
func (s Snapshot) signer() access.DeviceID { return cmp.Or(s.SignedAs, s.Device) }

// Stats is how much a vault holds.
type Stats struct {
	Packs        int64
	StoredBytes  int64 // of packs
	Snapshots    int64 // visible ones
	OpenSessions int64
}

// Stats counts what the vault holds.
func (v *Vault) Stats(ctx context.Context, tx *db.Tx) (s Stats, err error) {
	err = tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM packs), (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM packs),
		(SELECT count(*) FROM snapshots WHERE state = 'live'), (SELECT count(*) FROM backup_sessions WHERE state = 'open')`).
		Scan(&s.Packs, &s.StoredBytes, &s.Snapshots, &s.OpenSessions)
	if err != nil {
		return Stats{}, fmt.Errorf("counting what the vault holds: %w", err)
	}
	return s, nil
}
