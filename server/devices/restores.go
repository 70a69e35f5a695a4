package devices

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
)

const (
	// RestorePrefix begins the token of every restore beside backups.
	RestorePrefix = "bsr_"

	// restoreLife is how long one may take without its user: a computer may be
	// off for a holiday. It is as long as a replacement can be taken back.
	restoreLife = undoWithin
)

// predecessor is the computer whose place another one took, and the newest
// snapshot that it made.
type predecessor struct {
	name     string
	hardware wire.Hardware
	snapshot backup.Hash
}

// predecessorOf is the computer before the one that d is now; false when it left
// nothing.
func predecessorOf(ctx context.Context, tx *db.Tx, d Device) (p predecessor, ok bool, err error) {
	list, err := identities(ctx, tx, d.ID)
	if err != nil {
		return p, false, err
	}
	var last int64
	if i := slices.IndexFunc(list, func(i identity) bool { return i.why == wasReplaced && !i.undone }); i >= 0 {
		last, p.name, p.hardware = list[i].lastSeq, list[i].name, list[i].hardware
	}
	set, err := SetOf(ctx, tx, d.ID)
	if err != nil {
		return p, false, err
	}
	// What it has of another set came from the device that it succeeds.
	var hash []byte
	var own bool
	var signed ID
	err = tx.QueryRow(ctx, `SELECT hash, set_id = $2, signed_as FROM snapshots WHERE device = $1 AND state = 'live' AND (set_id <> $2 OR seq <= $3)
		ORDER BY committed_at DESC, number DESC LIMIT 1`, d.ID, set, last).Scan(&hash, &own, &signed)
	if errors.Is(err, sql.ErrNoRows) {
		return p, false, nil
	}
	if err != nil || len(hash) != len(p.snapshot) {
		return p, false, fmt.Errorf("looking for what device %s had before: %w", d.ID, err)
	}
	p.snapshot = backup.Hash(hash)
	if !own && signed != "" {
		old, err := Find(ctx, tx, signed)
		if err != nil {
			return p, false, err
		}
		p.name, p.hardware = old.Name, old.Hardware
	}
	return p, true, nil
}

// restorable is what of d can come back to the computer of an activation: to
// whoever proved to be its user, and to nobody else.
func (a activation) restorable(ctx context.Context, tx *db.Tx, d Device) (*wire.Restorable, error) {
	if !a.proof.user() {
		return nil, nil
	}
	r := &wire.Restorable{OS: d.Hardware.OS, Home: d.Hardware.OSHome, Folders: slices.Clone(d.Folders)}
	var at int64
	err := tx.QueryRow(ctx, `SELECT files, bytes, committed_at FROM snapshots WHERE device = $1 AND state = 'live'
		ORDER BY committed_at DESC, number DESC LIMIT 1`, d.ID).Scan(&r.Files, &r.Bytes, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the newest snapshot of device %s: %w", d.ID, err)
	}
	r.At = db.Time(at)
	return r, nil
}

// user reports whether a proof is one of the user, who may read what is theirs.
// A key or a token lets a computer back up.
func (p Proof) user() bool { return p == ByPassword || p == BySSO }

// bring does what is wanted of the files of the computer before.
func (a activation) bring(ctx context.Context, tx *db.Tx, by access.Caller, done Activated, wanted string) (*wire.RestoreGrant, error) {
	d := done.Device
	switch {
	case wanted != wire.RestoreNothing && wanted != wire.RestoreFiles:
		return nil, errs.New(errs.Forbidden, "device.activation.choice")
	case wanted == wire.RestoreFiles && !a.proof.user():
		return nil, errs.New(errs.Forbidden, "device.restore.proof")
	case wanted == wire.RestoreFiles && done.Choice == wire.Replace:
		p, ok, err := predecessorOf(ctx, tx, d)
		if err != nil || !ok {
			return nil, err
		}
		return grant(ctx, tx, by, d, p, "")
	case done.Choice == wire.Replace && !a.proof.user():
		return nil, offerRestore(ctx, tx, d)
	case done.Choice == wire.Reactivate:
		return a.regrant(ctx, tx, by, d)
	case a.choice == Succeed:
		if a.proof == ByKey {
			a.brings = "DATA"
		}
		if _, err := tx.Exec(ctx, "UPDATE devices SET brings = $2 WHERE id = $1", d.ID, a.brings); err != nil {
			return nil, fmt.Errorf("noting what comes back to device %s: %w", d.ID, err)
		}
	}
	return nil, nil
}

// regrant lets a restore go on that lost its token: with the answer that carried
// it, or because the device was deactivated meanwhile.
func (a activation) regrant(ctx context.Context, tx *db.Tx, by access.Caller, d Device) (*wire.RestoreGrant, error) {
	if !a.proof.user() {
		return nil, nil
	}
	id, begun, err := openRestore(ctx, tx, d.ID)
	if err != nil || !begun {
		return nil, err
	}
	p, ok, err := predecessorOf(ctx, tx, d)
	if err != nil || !ok {
		return nil, err
	}
	return grant(ctx, tx, by, d, p, id)
}

// openRestore is the device's restore that has not ended; begun is false for one
// that is only offered, and id empty when there is none.
func openRestore(ctx context.Context, tx *db.Tx, device ID) (id string, begun bool, err error) {
	err = tx.QueryRow(ctx, "SELECT id, state <> 'offered' FROM restores WHERE device = $1 AND ended_at = 0", device).Scan(&id, &begun)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("looking for the restore of device %s: %w", device, err)
	}
	return id, begun, nil
}

// BeginRestore lets a device fetch what the computer had that it replaced, also
// when its user, who is present now, is gone. by is the user at the device. One
// that was begun and has not ended goes on.
func BeginRestore(ctx context.Context, tx *db.Tx, by access.Caller) (wire.RestoreGrant, error) {
	if by.Snapshot != "" {
		return wire.RestoreGrant{}, errs.New(errs.Forbidden, "access.denied") // a grant makes no other
	}
	d, err := Find(ctx, tx, by.Device)
	if err != nil {
		return wire.RestoreGrant{}, err
	}
	p, ok, err := predecessorOf(ctx, tx, d)
	if err == nil && !ok {
		err = errs.New(errs.NotFound, "device.restore.none")
	}
	if err != nil {
		return wire.RestoreGrant{}, err
	}
	id, _, err := openRestore(ctx, tx, d.ID)
	if err != nil {
		return wire.RestoreGrant{}, err
	}
	g, err := grant(ctx, tx, by, d, p, id)
	if err != nil {
		return wire.RestoreGrant{}, err
	}
	return *g, nil
}

// grant begins a restore, or goes on with the one id.
func grant(ctx context.Context, tx *db.Tx, by access.Caller, d Device, p predecessor, id string) (*wire.RestoreGrant, error) {
	err := audit.Check(ctx, tx, by, access.ReadOwnData, d.Org, d.User, object(d.ID), audit.Note("restore", p.snapshot.Short()), audit.Note("from", p.name))
	if err != nil {
		return nil, err
	}
	if id == "" {
		if id, err = insertRestore(ctx, tx, d, p); err != nil {
			return nil, err
		}
	}
	token, hash := accounts.NewToken(RestorePrefix)
	expires := tx.Now().Add(restoreLife)
	_, err = tx.Exec(ctx, "UPDATE restores SET token = $2, expires_at = $3, state = $4, code = '' WHERE id = $1", id, hash, db.Micros(expires), wire.RestoreRunning)
	if err != nil {
		return nil, fmt.Errorf("granting restore %s: %w", id, err)
	}
	var snapshot []byte
	if err := tx.QueryRow(ctx, "SELECT snapshot FROM restores WHERE id = $1", id).Scan(&snapshot); err != nil {
		return nil, fmt.Errorf("reading restore %s: %w", id, err)
	}
	return &wire.RestoreGrant{ID: id, Token: token, Snapshot: hex.EncodeToString(snapshot), ExpiresAt: expires,
		Device: p.name, OS: p.hardware.OS, Home: p.hardware.OSHome}, nil
}

// insertRestore notes what may come back to a device. There is one at a time.
func insertRestore(ctx context.Context, tx *db.Tx, d Device, p predecessor) (string, error) {
	if _, err := endRestores(ctx, tx, d, wasReplaced); err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("naming a restore: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO restores (id, org, user_id, device, token, snapshot, source, host, state, code, progress, created_at, expires_at, ended_at)
		VALUES ($1, $2, $3, $4, NULL, $5, $6, $7, 'offered', '', '', $8, 0, 0)`,
		id.String(), d.Org, d.User, d.ID, p.snapshot[:], p.name, d.Hardware.Hostname, db.Micros(tx.Now()))
	if err != nil {
		return "", fmt.Errorf("noting the restore of device %s: %w", d.ID, err)
	}
	return id.String(), nil
}

// offerRestore notes that files may come back to d, from the computer that it
// replaced, once its user says so there. Of a successor the device map may say
// that none shall.
func offerRestore(ctx context.Context, tx *db.Tx, d Device) error {
	if d.Replaces != "" {
		var brings string
		if err := tx.QueryRow(ctx, "SELECT brings FROM devices WHERE id = $1", d.ID).Scan(&brings); err != nil {
			return fmt.Errorf("reading what comes back to device %s: %w", d.ID, err)
		}
		// System settings cannot be brought back yet.
		if brings != "DATA" && brings != "ALL" {
			return nil
		}
	}
	p, ok, err := predecessorOf(ctx, tx, d)
	if err == nil && ok {
		_, err = insertRestore(ctx, tx, d, p)
	}
	return err
}

// FindGrant returns the user who let a restore go on without them, as a caller
// that may read what the restore needs and nothing else. from is the device.
func FindGrant(ctx context.Context, tx *db.Tx, token string, from access.Caller) (access.Caller, error) {
	ended := errs.New(errs.Unauthenticated, "device.restore.ended")
	hash, ok := accounts.HashToken(RestorePrefix, token)
	if !ok {
		return access.Caller{}, ended
	}
	var id, state string
	var device ID
	var snapshot []byte
	var expires, over int64
	err := tx.QueryRow(ctx, "SELECT id, device, state, snapshot, expires_at, ended_at FROM restores WHERE token = $1 AND user_id = $2", hash, from.User).
		Scan(&id, &device, &state, &snapshot, &expires, &over)
	if errors.Is(err, sql.ErrNoRows) {
		return access.Caller{}, ended
	}
	if err != nil {
		return access.Caller{}, fmt.Errorf("looking for a restore's token: %w", err)
	}
	switch {
	case state == wasUndone: // to go on with it is of no use, by whichever device
		return access.Caller{}, errs.New(errs.Unauthenticated, "device.restore.undone")
	case over > 0 || device != from.Device || !tx.Now().Before(db.Time(expires)):
		return access.Caller{}, ended
	}
	u, err := accounts.Find(ctx, tx, from.User)
	if err != nil {
		return access.Caller{}, err
	}
	if u.State != accounts.Active {
		return access.Caller{}, ended
	}
	c := u.Caller(from)
	c.Device, c.Session, c.Snapshot = from.Device, "restore-"+id, hex.EncodeToString(snapshot)
	return c, nil
}

// noteRestore notes how a restore goes on. With its end ends what it may read.
func noteRestore(ctx context.Context, d *db.DB, by access.Caller, r wire.Restoring) error {
	states := []string{wire.RestoreRunning, wire.RestoreWaiting, wire.RestoreFailed, wire.RestoreDone, wire.RestoreCancelled}
	if !slices.Contains(states, r.State) || len(r.Code) > 100 || !printable(r.Code) {
		return errs.New(errs.Invalid, "device.report.invalid")
	}
	r.Progress.Folder = ""
	progress, err := json.Marshal(r.Progress)
	if err != nil {
		return err
	}
	return d.Write(ctx, func(tx *db.Tx) error {
		var ended time.Time
		set := ""
		if r.State == wire.RestoreDone || r.State == wire.RestoreCancelled {
			ended, set = tx.Now(), ", token = NULL"
		}
		_, err := tx.Exec(ctx, "UPDATE restores SET state = $3, code = $4, progress = $5, ended_at = $6"+set+" WHERE id = $1 AND device = $2 AND ended_at = 0 AND state <> 'offered'",
			r.ID, by.Device, r.State, r.Code, string(progress), db.Micros(ended))
		if err != nil {
			return fmt.Errorf("noting a restore of device %s: %w", by.Device, err)
		}
		return nil
	})
}

// Restore is what comes back to a device from the computer that it replaced.
type Restore struct {
	State    string // offered, as wire.Restoring has it, or why it was cancelled: replaced, undone
	Code     string
	From     string // what the other computer was called
	Host     string // host name of the computer to which it comes back
	Progress wire.Progress
	At       time.Time // when it was begun or offered
	Ended    time.Time // zero: not yet
}

// Restores are the restore of a device that has not ended, and those that were
// cancelled within the last 14 days because the device became another computer.
func Restores(ctx context.Context, tx *db.Tx, by access.Caller, id ID) ([]Restore, error) {
	if _, err := View(ctx, tx, by, id); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, func(row db.Row) (r Restore, err error) {
		var progress string
		var at, ended int64
		if err = row.Scan(&r.State, &r.Code, &r.From, &r.Host, &progress, &at, &ended); err != nil {
			return r, err
		}
		if r.At, r.Ended = db.Time(at), db.Time(ended); progress != "" {
			err = json.Unmarshal([]byte(progress), &r.Progress)
		}
		return r, err
	}, `SELECT state, code, source, host, progress, created_at, ended_at FROM restores
		WHERE device = $1 AND (ended_at = 0 OR state IN ('replaced', 'undone') AND ended_at > $2) ORDER BY created_at DESC, id`,
		id, db.Micros(tx.Now().Add(-restoreLife)))
	if err != nil {
		return nil, fmt.Errorf("reading the restores of device %s: %w", id, err)
	}
	return list, nil
}

// Told fills in what a device is told at each heartbeat: its name, whether it is
// locked, and whose files may come back to it.
func Told(ctx context.Context, tx *db.Tx, d Device, out *wire.StatusAnswer) (err error) {
	out.Name, out.Locked = d.Name, !d.LockedAt.IsZero()
	if out.Retired, err = Retired(ctx, tx, d); err != nil {
		return err
	}
	out.Offer, err = offer(ctx, tx, d.ID)
	return err
}

// offer names the computer whose files a device's user may have brought back,
// "" for none.
func offer(ctx context.Context, tx *db.Tx, id ID) (from string, err error) {
	err = tx.QueryRow(ctx, "SELECT coalesce(max(source), '') FROM restores WHERE device = $1 AND ended_at = 0 AND state = 'offered'", id).Scan(&from)
	if err != nil {
		return "", fmt.Errorf("looking for what is offered to device %s: %w", id, err)
	}
	return from, nil
}

// cancelRestores ends what was to come back to a computer that the device is no
// longer, and records that: who waits for files has to learn that none come.
func cancelRestores(ctx context.Context, tx *db.Tx, d Device, why string) error {
	ended, err := endRestores(ctx, tx, d, why)
	if err != nil {
		return err
	}
	var events []audit.Event
	for _, r := range ended {
		events = append(events, audit.Event{Action: access.ReadOwnData, Org: d.Org, Owner: d.User, Object: object(d.ID), Outcome: audit.Done,
			Details: []audit.Detail{audit.Note("restore_cancelled", why), audit.Note("from", r.From), audit.Note("hostname", r.Host)}})
	}
	return audit.Record(ctx, tx, access.System("replacement"), events...)
}

// endRestores ends what has not ended of a device's restores, and returns those
// that somebody had begun. One that was only offered is missed by nobody.
func endRestores(ctx context.Context, tx *db.Tx, d Device, why string) ([]Restore, error) {
	begun, err := db.All(ctx, tx, func(row db.Row) (r Restore, err error) {
		return r, row.Scan(&r.From, &r.Host)
	}, "SELECT source, host FROM restores WHERE device = $1 AND ended_at = 0 AND state <> 'offered'", d.ID)
	if err != nil {
		return nil, fmt.Errorf("looking for what comes back to device %s: %w", d.ID, err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM restores WHERE device = $1 AND ended_at = 0 AND state = 'offered'", d.ID); err != nil {
		return nil, fmt.Errorf("withdrawing what is offered to device %s: %w", d.ID, err)
	}
	// The token opens nothing more; it tells whoever still shows it what became of it.
	if _, err := tx.Exec(ctx, "UPDATE restores SET state = $2, ended_at = $3 WHERE device = $1 AND ended_at = 0", d.ID, why, db.Micros(tx.Now())); err != nil {
		return nil, fmt.Errorf("cancelling what comes back to device %s: %w", d.ID, err)
	}
	return begun, nil
}

// endGrants takes away what a device could read without its user. The user lets
// it go on.
func endGrants(ctx context.Context, tx *db.Tx, ids ...ID) error {
	if _, err := tx.Exec(ctx, "UPDATE restores SET token = NULL WHERE device IN ("+db.In(len(ids), 1)+") AND ended_at = 0", db.Args(ids)...); err != nil {
		return fmt.Errorf("ending what %d devices may read: %w", len(ids), err)
	}
	return nil
}
