package devices

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

// Why an identity of a device ended.
const (
	wasReplaced    = "replaced"
	wasReactivated = "reactivated"
	wasUndone      = "undone" // the replacement was taken back
)

// takeOver makes a computer the device d: the one it was, or one that it
// replaces. The device keeps its id, its set and its name, unless that is the
// old computer's; the key of before is of no more use, from this transaction on.
func takeOver(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User, d Device, c Activation, choice string, named bool) (Activated, error) {
	p, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return Activated{}, err
	}
	old, why, off := d, wasReactivated, 0
	if choice == wire.Replace {
		why = wasReplaced
		if d.Name, err = replacedName(ctx, tx, d, c, named); err != nil {
			return Activated{}, err
		}
		d.Named = d.Named || named
		d.remember(old.Name)
		d.Choices = carried(p.Settings, d)
		if c.Hardware.OS != d.Hardware.OS || !c.brings && !sameComputer(c.Hardware, d.Hardware) {
			d.RootEpoch++ // what its first backup lacks, nobody has deleted
		}
	} else if d.Choices != nil {
		if off, err = leftOff(ctx, tx, ring, u, p.Settings, d, c.overflows); err != nil {
			return Activated{}, err
		}
		kept := d.Choices.Reactivated(off > 0 || keepUnlinked(p.Settings, c.keeps))
		d.Choices = &kept
	}
	details := []audit.Detail{audit.Note("choice", choice), audit.Change("name", old.Name, d.Name),
		audit.Change("hostname", old.Hardware.Hostname, c.Hardware.Hostname), audit.Change("state", old.State, Active)}
	if off > 0 {
		details = append(details, audit.Note("left_off", strconv.Itoa(off)))
	}
	err = audit.Check(ctx, tx, by, access.Activate, d.Org, d.User, object(d.ID), details...)
	if err != nil {
		return Activated{}, err
	}
	if err := endIdentity(ctx, tx, by, old, why); err != nil {
		return Activated{}, err
	}
	if d.CertSerial, err = nextSerial(ctx, tx, d.ID); err != nil {
		return Activated{}, err
	}
	d.State, d.StateAt, d.StateReason, d.requestID, d.Hardware, d.System, d.ClientVersion, d.SigningKey = Active, tx.Now(), "", c.RequestID, c.Hardware, c.System, c.ClientVersion, c.SigningKey
	d.Token = c.token
	d.LastSeenAt, d.LastIP, d.ChangedAt, d.ActivatedAt = tx.Now(), by.IP, tx.Now(), tx.Now()
	done, err := certify(ring, u, d, c.EnrolmentKey)
	if err != nil {
		return Activated{}, err
	}
	done.Choice = choice
	if done.Set, err = SetOf(ctx, tx, d.ID); err != nil {
		return Activated{}, err
	}
	if choice == wire.Replace {
		done.Before = old.Hardware
		if err := cancelRequests(ctx, tx, d.ID); err != nil {
			return Activated{}, err
		}
		if err := cancelRestores(ctx, tx, d, wasReplaced); err != nil {
			return Activated{}, err
		}
	}
	locked, err := lockOn(ctx, tx, d.User, c.Hardware)
	if err != nil {
		return Activated{}, err
	}
	if choice == wire.Replace || !locked.IsZero() {
		if err := writeLock(ctx, tx, d.ID, locked); err != nil {
			return Activated{}, err
		}
	}
	if err := revoke(ctx, tx, Active, d.ID); err != nil {
		return Activated{}, err
	}
	return done, done.Device.writeIdentity(ctx, tx)
}

// replacedName is the name of a device that a computer takes over: the
// computer's own, where nobody chose one for the device.
func replacedName(ctx context.Context, tx *db.Tx, d Device, c Activation, named bool) (string, error) {
	if d.Named && !named || orgs.Fold(d.Name) == orgs.Fold(c.Name) {
		return d.Name, nil
	}
	return freeName(ctx, tx, d.User, c.Name, true)
}

// carried are the choices with which another computer goes on: those that the
// profile lets users make. A device that never told them has its folders all
// the same.
func carried(s profile.Settings, d Device) *profile.Choices {
	if d.Choices == nil {
		if !s.UserMay.Folders || len(d.Folders) == 0 {
			return nil
		}
		return &profile.Choices{Folders: slices.Clone(d.Folders)}
	}
	c, may := *d.Choices, s.UserMay
	if !may.Schedule {
		c.IntervalMinutes, c.Cron, c.Windows = 0, "", nil
	}
	if !may.Bandwidth {
		c.UpKbps, c.UpPercent = 0, 0
	}
	if !may.CPU {
		c.CPU = ""
	}
	if !may.Networks {
		c.NetworksOut = nil
	}
	if !may.Folders {
		c.Folders = nil
	}
	c.PausedAt, c.PausedUntil = time.Time{}, time.Time{} // of the computer that slept
	return &c
}

// keepUnlinked says whether folders that the user took off stay off: as the
// profile has it, or the user, where it leaves that to them.
func keepUnlinked(s profile.Settings, asked bool) bool {
	return s.ReactivateKeepUnlinked == profile.KeepYes || s.ReactivateKeepUnlinked == profile.KeepAsk && asked
}

// leftOff is how many folders that would come back to a device stay off since
// they do not fit into the quota: only the computer knows that. The user and the
// administrators are told, so that somebody gives them room.
func leftOff(ctx context.Context, tx *db.Tx, ring *keys.Ring, u accounts.User, s profile.Settings, d Device, overflows bool) (int, error) {
	folders, _ := changes(s, d)
	if !overflows || len(folders) == 0 {
		return 0, nil
	}
	q, err := QuotasOf(ctx, tx, u)
	if err != nil {
		return 0, err
	}
	if _, bounded := q.Left(); !bounded {
		return 0, nil
	}
	return len(folders), tellOf(ctx, tx, ring, u, func(*locale.Printer) mail.Mail {
		return mail.Mail{Template: mail.QuotaLeftOff, Values: map[string]string{
			"username": u.Username, "device": d.Name, "folders": strconv.Itoa(len(folders))}}
	})
}

// changes are what reactivating a device changes: the folders that come back,
// and the settings that return to the profile's.
func changes(s profile.Settings, d Device) (returning []string, settings []wire.SettingChange) {
	returning, settings = []string{}, []wire.SettingChange{}
	if d.Choices == nil {
		return returning, settings
	}
	now, then := profile.Merge(s, *d.Choices), profile.Merge(s, d.Choices.Reactivated(s.ReactivateKeepUnlinked == profile.KeepYes))
	for i, f := range now.Folders {
		if !f.Backed() && then.Folders[i].Backed() {
			returning = append(returning, f.Path)
		}
	}
	add := func(name, before, after string) {
		if before != after {
			settings = append(settings, wire.SettingChange{Name: name, Old: before, New: after})
		}
	}
	add("interval", rhythm(now.Rhythm.Value), rhythm(then.Rhythm.Value))
	add("bandwidth", limit(now.Limit().Value), limit(then.Limit().Value))
	add("cpu", string(now.CPU.Value), string(then.CPU.Value))
	return returning, settings
}

// rhythm is the times of a crontab, or a number of minutes.
func rhythm(r profile.Rhythm) string {
	if r.Cron != "" {
		return r.Cron
	}
	return strconv.Itoa(r.IntervalMinutes)
}

// limit is a number of kilobits a second, of percent, or both.
func limit(l profile.Limit) string {
	switch {
	case l.Percent > 0 && l.Kbps > 0:
		return fmt.Sprintf("%d kbit/s, %d%%", l.Kbps, l.Percent)
	case l.Percent > 0:
		return fmt.Sprintf("%d%%", l.Percent)
	}
	return strconv.Itoa(l.Kbps)
}

// endIdentity keeps what a device was up to now. One that was split from another
// and has no certificate yet never wrote anything.
func endIdentity(ctx context.Context, tx *db.Tx, by access.Caller, d Device, why string) error {
	if len(d.Cert) == 0 {
		return nil
	}
	hardware, err := json.Marshal(d.Hardware)
	if err != nil {
		return err
	}
	var seq int64
	err = tx.QueryRow(ctx, "SELECT coalesce(max(s.seq), 0) FROM snapshots s JOIN sets t ON t.id = s.set_id WHERE t.device = $1", d.ID).Scan(&seq)
	if err != nil {
		return fmt.Errorf("reading the newest snapshot of device %s: %w", d.ID, err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO device_identities (device, signing_key, cert, cert_serial, name, named, hardware, is_system, choices,
			activated_at, ended_at, ended_why, ended_by, last_seq, locked_at, undone_at, token, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, $16, $17)`,
		d.ID, d.SigningKey, d.Cert, int64(d.CertSerial), d.Name, d.Named, string(hardware), d.System, encodeChoices(d.Choices),
		db.Micros(d.ActivatedAt), db.Micros(tx.Now()), why, by.Name, seq, db.Micros(d.LockedAt), d.Token, d.requestID)
	if err != nil {
		return fmt.Errorf("keeping what device %s was: %w", d.ID, err)
	}
	return nil
}

// identity is a computer that a device was.
type identity struct {
	number     int64
	signingKey []byte
	cert       []byte
	certSerial uint64
	name       string
	named      bool
	hardware   wire.Hardware
	system     bool
	choices    *profile.Choices
	activated  time.Time
	ended      time.Time
	why        string
	by         string
	lastSeq    int64
	locked     time.Time // zero: it was not
	undone     bool
	token      string    // the deployment token that it came by, empty: none
	seen       time.Time // as of the table
	seenIP     string
}

// identities are the computers that a device was, the last one first.
func identities(ctx context.Context, tx *db.Tx, id ID) ([]identity, error) {
	list, err := db.All(ctx, tx, func(row db.Row) (i identity, err error) {
		var hardware, choices string
		var serial, activated, ended, undone int64
		err = row.Scan(&i.number, &i.signingKey, &i.cert, &serial, &i.name, &i.named, &hardware, &i.system, &choices, &activated, &ended, &i.why, &i.by, &i.lastSeq, instant{&i.locked}, &undone, &i.token,
			instant{&i.seen}, &i.seenIP)
		if err != nil {
			return i, err
		}
		i.certSerial, i.activated, i.ended, i.undone = uint64(serial), db.Time(activated), db.Time(ended), undone > 0
		if i.choices, err = decodeChoices(choices); err != nil {
			return i, err
		}
		return i, json.Unmarshal([]byte(hardware), &i.hardware)
	}, `SELECT number, signing_key, cert, cert_serial, name, named, hardware, is_system, choices, activated_at, ended_at, ended_why, ended_by, last_seq, locked_at, undone_at, token,
			seen_at, seen_ip FROM device_identities WHERE device = $1 ORDER BY number DESC`, id)
	if err != nil {
		return nil, fmt.Errorf("reading what device %s was: %w", id, err)
	}
	return list, nil
}

// Certs are the certificates that a device has or had, the newest first.
func Certs(ctx context.Context, tx *db.Tx, id ID) ([][]byte, error) {
	list, err := db.All(ctx, tx, db.Column[[]byte], `SELECT cert FROM (SELECT cert, cert_serial FROM devices WHERE id = $1
		UNION ALL SELECT cert, cert_serial FROM device_identities WHERE device = $1) AS certs ORDER BY cert_serial DESC`, id)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of device %s: %w", id, err)
	}
	return list, nil
}

// nextSerial is the number of a device's next certificate. None is used twice,
// also when an earlier identity comes back.
func nextSerial(ctx context.Context, tx *db.Tx, id ID) (uint64, error) {
	var serial int64
	err := tx.QueryRow(ctx, `SELECT max(n) FROM (SELECT cert_serial AS n FROM devices WHERE id = $1
		UNION ALL SELECT cert_serial FROM device_identities WHERE device = $1) AS serials`, id).Scan(&serial)
	if err != nil {
		return 0, fmt.Errorf("numbering a certificate of device %s: %w", id, err)
	}
	return uint64(serial) + 1, nil
}

// writeIdentity writes who the device is now.
func (d Device) writeIdentity(ctx context.Context, tx *db.Tx) error {
	h := d.Hardware
	_, err := tx.Exec(ctx, `UPDATE devices SET request_id = $2, state = $3, state_at = $4, state_reason = '', reset_at = 0, name = $5, name_key = $6, named = $7,
			search = $8, machine_id = $9, serial = $10, hostname = $11, os = $12, os_version = $13, arch = $14, os_user = $15, os_home = $16,
			is_system = $17, client_version = $18, signing_key = $19, cert_serial = $20, cert = $21, last_seen_at = $4, last_ip = $22,
			status = '', status_code = '', progress = '', next_run_at = 0, profile_version = 0, changed_at = $4, activated_at = $23,
			choices = $24, root_epoch = $25, names = $26, token = $27 WHERE id = $1`,
		d.ID, d.requestID, d.State, db.Micros(tx.Now()), d.Name, orgs.Fold(d.Name), d.Named, d.searchText(), h.MachineID, h.Serial, h.Hostname,
		h.OS, h.OSVersion, h.Arch, h.OSUser, h.OSHome, d.System, d.ClientVersion, d.SigningKey, int64(d.CertSerial), d.Cert, d.LastIP,
		db.Micros(d.ActivatedAt), encodeChoices(d.Choices), d.RootEpoch, d.Names, d.Token)
	if err != nil {
		return fmt.Errorf("writing who device %s is: %w", d.ID, err)
	}
	return nil
}

// cancelRequests ends what a computer was asked that is replaced.
func cancelRequests(ctx context.Context, tx *db.Tx, id ID) error {
	_, err := tx.Exec(ctx, "UPDATE device_requests SET state = 'failed', code = 'replaced', done_at = $2 WHERE device = $1 AND done_at = 0", id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("cancelling the requests to device %s: %w", id, err)
	}
	return nil
}
