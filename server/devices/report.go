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
	"unicode/utf8"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

const (
	// seenEvery bounds the writes that idle devices cost: a heartbeat that says
	// nothing new is written down no more often.
	seenEvery = 2 * time.Minute

	keepRequests  = 30 * 24 * time.Hour
	maxRequests   = 100
	maxFolders    = 1000
	maxFolderPath = 4096
)

// Report notes what a device says about itself, and returns the device with it. by
// is the device.
func Report(ctx context.Context, d *db.DB, ring *keys.Ring, by access.Caller, s wire.Status) (Device, error) {
	if err := audit.See(by, access.Report, by.Org, by.User, object(by.Device)); err != nil {
		return Device{}, err
	}
	if err := checkStatus(s); err != nil {
		return Device{}, err
	}
	choices, err := checkChoices(s.Choices)
	if err != nil {
		return Device{}, err
	}
	var old Device
	var now time.Time
	err = d.Peek(ctx, func(tx *db.Tx) (err error) {
		now = tx.Now()
		if old, err = Find(ctx, tx, by.Device); err == nil {
			err = old.stillIs(by)
		}
		return err
	})
	if err != nil {
		return Device{}, err
	}
	if s.Restore != nil {
		if err := noteRestore(ctx, d, by, *s.Restore); err != nil {
			return Device{}, err
		}
	}
	updated := old.reported(s, by.IP)
	if choices != nil {
		updated.Choices = choices
	}
	if equalReports(old, updated) && now.Sub(old.LastSeenAt) < seenEvery && !now.Before(old.LastSeenAt) {
		return updated, nil
	}
	var noted Device
	err = d.Write(ctx, func(tx *db.Tx) error {
		d, err := Find(ctx, tx, by.Device)
		if err == nil {
			err = d.stillIs(by)
		}
		if err != nil {
			return err
		}
		noted = updated
		if err := noted.follow(ctx, tx, ring, by, old.Hardware); err != nil {
			return err
		}
		if err := noted.sighted(ctx, tx, by, old.LastIP); err != nil {
			return err
		}
		return noted.writeReport(ctx, tx, choices)
	})
	if err != nil {
		return Device{}, fmt.Errorf("noting the report of device %s: %w", by.Device, err)
	}
	return noted, nil
}

// stillIs refuses a computer whose device another one has become since its
// request began: what it says is of itself. It learns why when it asks for
// another token.
func (d Device) stillIs(by access.Caller) error {
	if d.CertSerial != by.Computer {
		return tokenEnded()
	}
	return nil
}

func checkStatus(s wire.Status) error {
	states := []string{wire.StateIdle, wire.StateRunning, wire.StatePaused, wire.StateFailed}
	if !slices.Contains(states, s.State) || len(s.Code) > 100 || !printable(s.Code) || len(s.Folders) > maxFolders {
		return errs.New(errs.Invalid, "device.report.invalid")
	}
	for _, f := range s.Folders {
		// A path is not text for certain; in JSON it arrives as such.
		if len(f) > maxFolderPath || !utf8.ValidString(f) || strings.ContainsRune(f, 0) {
			return errs.New(errs.Invalid, "device.report.invalid")
		}
	}
	return checkHardware(s.Hardware, s.ClientVersion)
}

// checkChoices reads what the user of a device chose, nil when it says nothing
// of that. What the profile does not allow is kept and not in force.
func checkChoices(text json.RawMessage) (*profile.Choices, error) {
	if len(text) == 0 {
		return nil, nil
	}
	c, err := profile.DecodeChoices(text)
	if err != nil {
		return nil, err
	}
	return &c, c.Validate()
}

// reported is the device with what it says. What identifies the computer is
// kept when it is not said.
func (d Device) reported(s wire.Status, ip string) Device {
	d.Status, d.StatusCode, d.Progress, d.Folders, d.LastIP = s.State, s.Code, s.Progress, s.Folders, ip
	d.NextRunAt = time.Time{}
	if s.NextRun != nil {
		d.NextRunAt = s.NextRun.UTC().Truncate(time.Microsecond)
	}
	if p := d.Progress; p != nil {
		q := *p
		q.Folder = "" // which folder it is in stays on the device
		d.Progress = &q
	}
	h := s.Hardware
	for _, f := range []struct {
		old   *string
		value string
	}{
		{&d.Hardware.MachineID, h.MachineID}, {&d.Hardware.Serial, h.Serial}, {&d.Hardware.Hostname, h.Hostname}, {&d.Hardware.OS, h.OS},
		{&d.Hardware.OSVersion, h.OSVersion}, {&d.Hardware.Arch, h.Arch}, {&d.Hardware.OSUser, h.OSUser}, {&d.ClientVersion, s.ClientVersion},
	} {
		if f.value != "" {
			*f.old = f.value
		}
	}
	return d
}

func equalReports(a, b Device) bool {
	same := a.Status == b.Status && a.StatusCode == b.StatusCode && a.LastIP == b.LastIP && a.NextRunAt.Equal(b.NextRunAt) &&
		a.Hardware == b.Hardware && a.ClientVersion == b.ClientVersion && slices.Equal(a.Folders, b.Folders) &&
		encodeChoices(a.Choices) == encodeChoices(b.Choices)
	if a.Progress == nil || b.Progress == nil {
		return same && a.Progress == b.Progress
	}
	return same && *a.Progress == *b.Progress
}

// writeReport writes what a device says. Choices that it does not tell stay as
// they are: an activation may have changed them a moment ago.
func (d Device) writeReport(ctx context.Context, tx *db.Tx, choices *profile.Choices) error {
	folders, err := json.Marshal(d.Folders)
	if err != nil {
		return err
	}
	progress := []byte{}
	if d.Progress != nil {
		if progress, err = json.Marshal(d.Progress); err != nil {
			return err
		}
	}
	h := d.Hardware
	_, err = tx.Exec(ctx, `UPDATE devices SET status = $2, status_code = $3, progress = $4, folders = $5, next_run_at = $6, last_ip = $7,
			last_seen_at = $8, machine_id = $9, serial = $10, hostname = $11, os = $12, os_version = $13, arch = $14, os_user = $15,
			client_version = $16, search = $17, choices = CASE WHEN $18 = '' THEN choices ELSE $18 END
		WHERE id = $1`, d.ID, d.Status, d.StatusCode, string(progress), string(folders), db.Micros(d.NextRunAt), d.LastIP,
		db.Micros(tx.Now()), h.MachineID, h.Serial, h.Hostname, h.OS, h.OSVersion, h.Arch, h.OSUser, d.ClientVersion, d.searchText(), encodeChoices(choices))
	return err
}

// Profile returns the profile in force for a device.
func Profile(ctx context.Context, tx *db.Tx, by access.Caller) (profiles.Effective, error) {
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return profiles.Effective{}, err
	}
	return profiles.Of(ctx, tx, u)
}

// Fetched notes which version of its profile a device has.
func Fetched(ctx context.Context, tx *db.Tx, by access.Caller, version int64) error {
	_, err := tx.Exec(ctx, "UPDATE devices SET profile_version = $2 WHERE id = $1 AND profile_version <> $2", by.Device, version)
	if err != nil {
		return fmt.Errorf("noting the profile of device %s: %w", by.Device, err)
	}
	return nil
}

// Ask puts a request to a device, such as wire.RequestBackup. One of the same
// kind that is still waiting serves as well.
func Ask(ctx context.Context, tx *db.Tx, by access.Caller, id ID, kind string, data json.RawMessage) (number int64, err error) {
	d, err := Find(ctx, tx, id)
	if err != nil {
		return 0, err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, d.Org, d.User, object(id), audit.Note("request", kind)); err != nil {
		return 0, err
	}
	refused, err := allowed(ctx, tx, d)
	if err != nil {
		return 0, err
	}
	if refused != nil {
		return 0, refused
	}
	err = tx.QueryRow(ctx, "SELECT number FROM device_requests WHERE device = $1 AND kind = $2 AND data = $3 AND state = 'waiting'", id, kind, string(data)).Scan(&number)
	if err == nil {
		return number, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("looking for requests to device %s: %w", id, err)
	}
	err = tx.QueryRow(ctx, `INSERT INTO device_requests (device, kind, data, state, code, created_by, created_at, taken_at, done_at)
		VALUES ($1, $2, $3, 'waiting', '', $4, $5, 0, 0) RETURNING number`, id, kind, string(data), by.ID(), db.Micros(tx.Now())).Scan(&number)
	if err != nil {
		return 0, fmt.Errorf("asking device %s for %s: %w", id, kind, err)
	}
	if _, err := tx.Exec(ctx, "UPDATE devices SET changed_at = $2 WHERE id = $1", id, db.Micros(tx.Now())); err != nil {
		return 0, fmt.Errorf("asking device %s for %s: %w", id, kind, err)
	}
	return number, nil
}

// Next returns what a device is to be told: the requests that it has not
// answered with a number above known.After, the version of its profile, whether
// it is locked, and whose files are offered to it. news is whether there is a
// request, another profile than the device fetched, or another lock or offer than
// it knows.
func Next(ctx context.Context, tx *db.Tx, by access.Caller, known wire.Known) (n wire.Next, news bool, err error) {
	// As profiles.Of has it, without its settings, and requests only when there are
	// any: this is asked by every device that waits, each minute.
	var fetched, assigned, saved, locked int64
	var asked bool
	var offer string
	err = tx.QueryRow(ctx, `SELECT d.profile_version, d.locked_at, u.profile_at, (SELECT coalesce(max(p.updated_at), 0) FROM profiles p
		WHERE p.id = u.profile OR u.profile IS NULL AND p.org = u.org AND p.is_default),
		EXISTS (SELECT 1 FROM device_requests r WHERE r.device = d.id AND r.number > $2 AND r.state IN ('waiting', 'taken')),
		coalesce((SELECT max(s.source) FROM restores s WHERE s.device = d.id AND s.ended_at = 0 AND s.state = 'offered'), '')
		FROM devices d JOIN users u ON u.id = d.user_id WHERE d.id = $1`, by.Device, known.After).Scan(&fetched, &locked, &assigned, &saved, &asked, &offer)
	if err != nil {
		return wire.Next{}, false, fmt.Errorf("reading device %s: %w", by.Device, err)
	}
	n = wire.Next{Requests: []wire.Request{}, ProfileVersion: max(assigned, saved), Locked: locked != 0, Offer: offer} // a list in JSON
	if asked {
		if n.Requests, err = requests(ctx, tx, by.Device, known.After); err != nil {
			return wire.Next{}, false, err
		}
	}
	return n, asked || fetched != n.ProfileVersion || known.Locked != n.Locked || known.Offer != n.Offer, nil
}

func requests(ctx context.Context, tx *db.Tx, id ID, after int64) ([]wire.Request, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (r wire.Request, err error) {
		var data string
		err = row.Scan(&r.Number, &r.Kind, &data)
		r.Data = json.RawMessage(data)
		return r, err
	}, `SELECT number, kind, data FROM device_requests WHERE device = $1 AND number > $2 AND state IN ('waiting', 'taken')
		ORDER BY number LIMIT $3`, id, after, maxRequests)
	if err != nil {
		return nil, fmt.Errorf("listing requests to device %s: %w", id, err)
	}
	return list, nil
}

// Answer notes what became of a request. Said again, it changes nothing.
func Answer(ctx context.Context, tx *db.Tx, by access.Caller, number int64, o wire.Outcome) error {
	if err := audit.See(by, access.Report, by.Org, by.User, object(by.Device)); err != nil {
		return err
	}
	if len(o.Code) > 100 || !printable(o.Code) {
		return errs.New(errs.Invalid, "device.report.invalid")
	}
	set := "done_at = $4"
	switch o.State {
	case "taken":
		set = "taken_at = $4"
	case "done", "failed", "unsupported":
	default:
		return errs.New(errs.Invalid, "device.report.invalid")
	}
	n, err := tx.Changed(ctx, "UPDATE device_requests SET state = $3, code = $5, "+set+" WHERE number = $1 AND device = $2 AND done_at = 0",
		number, by.Device, o.State, db.Micros(tx.Now()), o.Code)
	if err != nil {
		return fmt.Errorf("noting the outcome of request %d: %w", number, err)
	}
	if n == 1 {
		return nil
	}
	var there int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM device_requests WHERE number = $1 AND device = $2", number, by.Device).Scan(&there); err != nil {
		return fmt.Errorf("looking for request %d: %w", number, err)
	}
	if there == 0 {
		return errs.New(errs.NotFound, "device.request.unknown")
	}
	return nil
}

// Change is a device that must be told something since At.
type Change struct {
	Device ID
	At     time.Time
}

// Changed returns the devices about which something was changed after since
// that they must be told: a request, their state or their user's, their profile.
// A server asks once a second for all its waiting devices, and asks back a few
// seconds more than it last did: transactions are seen in the order of their
// ends, and servers' clocks differ.
//
// CROSS JOIN has SQLite begin with the few profiles, of which mostly none has
// changed: by itself it begins with all devices.
func Changed(ctx context.Context, tx *db.Tx, since time.Time) ([]Change, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (c Change, err error) {
		var at int64
		err = row.Scan(&c.Device, &at)
		c.At = db.Time(at)
		return c, err
	}, `
		SELECT id, changed_at FROM devices WHERE changed_at > $1
		UNION ALL SELECT d.id, u.state_at FROM users u JOIN devices d ON d.user_id = u.id WHERE u.state_at > $1
		UNION ALL SELECT d.id, u.profile_at FROM users u JOIN devices d ON d.user_id = u.id WHERE u.profile_at > $1
		UNION ALL SELECT d.id, p.updated_at FROM profiles p CROSS JOIN users u CROSS JOIN devices d
			WHERE p.updated_at > $1 AND u.profile = p.id AND d.user_id = u.id
		UNION ALL SELECT d.id, p.updated_at FROM profiles p CROSS JOIN users u CROSS JOIN devices d
			WHERE p.updated_at > $1 AND p.is_default AND u.org = p.org AND u.profile IS NULL AND d.user_id = u.id`, db.Micros(since))
	if err != nil {
		return nil, fmt.Errorf("looking for changes: %w", err)
	}
	return list, nil
}
