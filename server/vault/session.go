package vault

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

// SessionLife is how long a backup session may take.
const SessionLife = 7 * 24 * time.Hour

// session is a row of backup_sessions.
type session struct {
	id      string
	org     access.OrgID
	user    access.UserID
	device  access.DeviceID
	set     string
	nonce   backup.Hash
	state   string
	epoch   int64
	expires int64
}

const sessionColumns = `id, org, user_id, device, set_id, nonce, state, epoch, expires_at`

func scanSession(r *sql.Row) (s session, err error) {
	var nonce []byte
	err = r.Scan(&s.id, &s.org, &s.user, &s.device, &s.set, &nonce, &s.state, &s.epoch, &s.expires)
	copy(s.nonce[:], nonce)
	return s, err
}

// openSession returns the caller's open session. What is somebody else's is answered
// like what does not exist.
func openSession(ctx context.Context, tx *db.Tx, by access.Caller, id string) (session, error) {
	s, err := scanSession(tx.QueryRow(ctx, `SELECT `+sessionColumns+` FROM backup_sessions WHERE id = $1 AND device = $2`,
		id, string(by.Device)))
	if errors.Is(err, sql.ErrNoRows) {
		return session{}, errs.New(errs.NotFound, "session.unknown")
	}
	if err != nil {
		return session{}, fmt.Errorf("reading backup session %s: %w", id, err)
	}
	if s.state != "open" || s.expires <= db.Micros(tx.Now()) {
		return session{}, errs.New(errs.Conflict, "session.ended")
	}
	return s, nil
}

// Begin opens the set's backup session, or finds the unfinished one with all
// that it sent. When too many devices back up already it is E1402, and nothing
// has begun.
func (v *Vault) Begin(ctx context.Context, by access.Caller, set string) (wire.Session, error) {
	if err := v.line.Enter(ctx, by); err != nil {
		return wire.Session{}, err
	}
	var answer wire.Session
	err := v.db.Write(ctx, func(tx *db.Tx) error {
		if err := ownSet(ctx, tx, by, set); err != nil {
			return err
		}
		s, resumed, err := v.resume(ctx, tx, by, set)
		if err == nil && !resumed {
			s, err = v.begin(ctx, tx, by, set)
		}
		if err != nil {
			return err
		}
		answer, err = v.describe(ctx, tx, s)
		answer.Resumed = resumed
		return err
	})
	if err != nil {
		return wire.Session{}, err
	}
	v.log.InfoContext(ctx, "backup begins", "backup_session", answer.SessionID, "set", set, "resumed", answer.Resumed)
	return answer, nil
}

// Leave gives back the place of a device whose backup stops before its end, or
// the turn that it waits for. What it sent stays with its session.
func (v *Vault) Leave(ctx context.Context, by access.Caller) error {
	return v.line.Leave(ctx, by.Device)
}

// ownSet checks that a set is the one of the device that asks.
func ownSet(ctx context.Context, tx *db.Tx, by access.Caller, set string) error {
	own, err := devices.SetOf(ctx, tx, by.Device)
	if err != nil {
		return err
	}
	if set != own {
		return errs.New(errs.NotFound, "set.unknown")
	}
	return nil
}

// stillActive refuses a device that was stopped since its request began. A body
// may take hours; what it brings counts only if its sender is still allowed.
func stillActive(ctx context.Context, tx *db.Tx, by access.Caller) error {
	device, err := devices.Find(ctx, tx, by.Device)
	if err != nil {
		return err
	}
	user, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return err
	}
	if device.State != devices.Active || user.State != accounts.Active {
		return errs.Of(errs.DeviceDeactivated)
	}
	return nil
}

// resume finds the set's open session; one that is over its time is ended.
func (v *Vault) resume(ctx context.Context, tx *db.Tx, by access.Caller, set string) (session, bool, error) {
	s, err := scanSession(tx.QueryRow(ctx, `SELECT `+sessionColumns+` FROM backup_sessions
		WHERE set_id = $1 AND state = 'open'`, set))
	if errors.Is(err, sql.ErrNoRows) {
		return session{}, false, nil
	}
	if err != nil {
		return session{}, false, fmt.Errorf("looking for a backup session of set %s: %w", set, err)
	}
	if s.expires > db.Micros(tx.Now()) && s.device == by.Device {
		return s, true, nil
	}
	return session{}, false, end(ctx, tx, s.id, "expired")
}

// end closes a session. What it pinned is free: a snapshot holds it now, or
// nobody wants it.
func end(ctx context.Context, tx *db.Tx, id, state string) error {
	var device access.DeviceID
	err := tx.QueryRow(ctx, `UPDATE backup_sessions SET state = $2, ended_at = $3 WHERE id = $1 RETURNING device`,
		id, state, db.Micros(tx.Now())).Scan(&device)
	if err == nil {
		_, err = tx.Exec(ctx, `DELETE FROM puts WHERE session = $1`, id)
	}
	if err != nil {
		return fmt.Errorf("ending backup session %s: %w", id, err)
	}
	return devices.Unclaim(ctx, tx, device)
}

// Abandon ends the session of a device that another computer is now: what that
// one commits takes no place of what the one before had not finished.
func Abandon(ctx context.Context, tx *db.Tx, device access.DeviceID) error {
	open, err := db.All(ctx, tx, db.Column[string], `SELECT id FROM backup_sessions WHERE state = 'open' AND device = $1`, string(device))
	if err != nil {
		return fmt.Errorf("looking for the backup session of device %s: %w", device, err)
	}
	for _, id := range open {
		if err := end(ctx, tx, id, "expired"); err != nil {
			return err
		}
	}
	return nil
}

// Expire ends sessions that are over their time, so that what they pinned can be
// collected, and returns how many. A few at a time are enough for a job that
// runs every hour.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	over, err := db.All(ctx, tx, db.Column[string], `SELECT id FROM backup_sessions WHERE state = 'open' AND expires_at <= $1 LIMIT 1000`, db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("looking for expired backup sessions: %w", err)
	}
	for _, id := range over {
		if err := end(ctx, tx, id, "expired"); err != nil {
			return 0, err
		}
	}
	return int64(len(over)), nil
}

func (v *Vault) begin(ctx context.Context, tx *db.Tx, by access.Caller, set string) (session, error) {
	if err := v.flood(ctx, tx, set); err != nil {
		return session{}, err
	}
	epoch, _, err := counters(ctx, tx)
	if err != nil {
		return session{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return session{}, fmt.Errorf("naming a backup session: %w", err)
	}
	s := session{
		id: id.String(), org: by.Org, user: by.User, device: by.Device, set: set, state: "open",
		epoch: epoch, expires: db.Micros(tx.Now().Add(SessionLife)),
	}
	rand.Read(s.nonce[:])
	_, err = tx.Exec(ctx, `INSERT INTO backup_sessions (id, org, user_id, device, set_id, nonce, state, epoch, created_at, expires_at, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6, 'open', $7, $8, $9, 0)`,
		s.id, string(s.org), string(s.user), string(s.device), s.set, s.nonce[:], s.epoch, db.Micros(tx.Now()), s.expires)
	if err != nil {
		return session{}, fmt.Errorf("opening a backup session: %w", err)
	}
	return s, nil
}

// flood refuses a set's session, and its snapshot, after too many snapshots in
// a day: a device that was taken over could otherwise push out the good ones
// by number. Partials that a newer snapshot replaced do not count.
func (v *Vault) flood(ctx context.Context, tx *db.Tx, set string) error {
	var n int
	day := db.Micros(tx.Now().Add(-24 * time.Hour))
	err := tx.QueryRow(ctx, `SELECT count(*) FROM snapshots WHERE set_id = $1 AND committed_at > $2 AND state <> 'replaced'`,
		set, day).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting today's snapshots: %w", err)
	}
	if n >= v.perDay {
		return errs.New(errs.TooMany, "snapshot.flood", "n", v.perDay)
	}
	return nil
}

func counters(ctx context.Context, tx *db.Tx) (epoch, removals int64, err error) {
	err = tx.QueryRow(ctx, `SELECT epoch, removals FROM vault_state WHERE one = 1`).Scan(&epoch, &removals)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the vault's counters: %w", err)
	}
	return epoch, removals, nil
}

func (v *Vault) describe(ctx context.Context, tx *db.Tx, s session) (wire.Session, error) {
	epoch, _, err := counters(ctx, tx)
	if err != nil {
		return wire.Session{}, err
	}
	answer := wire.Session{
		SessionID: s.id, Nonce: s.nonce[:], ExpiresAt: db.Time(s.expires),
		GCEpoch: uint64(epoch), StoreID: v.id.Hex(),
		Limits: wire.SessionLimits{PackBytes: wire.PackBytes, RecordBytes: wire.RecordBytes, HaveIDs: wire.MaxHave},
	}
	h, err := head(ctx, tx, s.set)
	if err != nil {
		return wire.Session{}, err
	}
	if h.seq > 0 {
		answer.Head = &wire.Head{Hash: h.hash.String(), Seq: h.seq, RefsID: h.refsID.String(), Status: h.status, Bytes: h.bytes}
	}
	set, err := v.live(ctx, tx, s.user)
	if err != nil {
		return wire.Session{}, err
	}
	answer.Known = !set.IsEmpty()
	if !answer.Known {
		sent, err := sent(ctx, tx, s.id)
		if err != nil {
			return wire.Session{}, err
		}
		answer.Known = !sent.IsEmpty()
	}
	if answer.Room, err = devices.Room(ctx, tx, access.Caller{User: s.user, Device: s.device}); err != nil {
		return wire.Session{}, err
	}
	answer.Damaged, err = v.damaged(ctx, tx, s)
	return answer, err
}

// chainHead is the newest snapshot of a set, whatever its state.
type chainHead struct {
	seq          uint64 // 0: there is none
	hash, refsID backup.Hash
	status       string
	bytes        int64 // of its files
}

func head(ctx context.Context, tx *db.Tx, set string) (chainHead, error) {
	var h chainHead
	var hash, refsID []byte
	err := tx.QueryRow(ctx, `SELECT seq, hash, refs_id, status, bytes FROM snapshots WHERE set_id = $1 ORDER BY seq DESC LIMIT 1`,
		set).Scan(&h.seq, &hash, &refsID, &h.status, &h.bytes)
	if errors.Is(err, sql.ErrNoRows) {
		return chainHead{}, nil
	}
	if err != nil {
		return chainHead{}, fmt.Errorf("reading the newest snapshot of set %s: %w", set, err)
	}
	copy(h.hash[:], hash)
	copy(h.refsID[:], refsID)
	return h, nil
}

// damaged lists what the set's live snapshots need and the vault has lost.
func (v *Vault) damaged(ctx context.Context, tx *db.Tx, s session) ([]string, error) {
	org, err := orgNumber(ctx, tx, s.org)
	if err != nil || org == 0 {
		return nil, err
	}
	gone := roaring.New()
	err = numbers(ctx, tx, gone, `SELECT number FROM chunks WHERE org = $1 AND state <> 0 AND state = $2`, org, lost)
	if err != nil {
		return nil, fmt.Errorf("listing lost objects: %w", err)
	}
	if gone.IsEmpty() {
		return nil, nil
	}
	need := roaring.New()
	err = unite(ctx, tx, need, `SELECT r.refs FROM snapshots s JOIN snapshot_refs r ON r.snapshot = s.number
		WHERE s.set_id = $1 AND s.state = 'live'`, s.set)
	if err != nil {
		return nil, err
	}
	gone.And(need)
	return hexNames(ctx, tx, gone, wire.MaxMissing)
}

// hexNames are the ids of at most limit objects of a set.
func hexNames(ctx context.Context, tx *db.Tx, set *roaring.Bitmap, limit int) ([]string, error) {
	rows := set.ToArray()
	if len(rows) > limit {
		rows = rows[:limit]
	}
	// A list is filled up with repeats, which a query answers once.
	ids := make([]string, 0, len(rows))
	err := names(ctx, tx, rows, func(_ uint32, id backup.ID) { ids = append(ids, id.String()) })
	return ids, err
}

// sent is the set of objects that a session's puts brought, new or not.
func sent(ctx context.Context, tx *db.Tx, id string) (*roaring.Bitmap, error) {
	set := roaring.New()
	err := unite(ctx, tx, set, `SELECT refs FROM puts WHERE session = $1`, id)
	return set, err
}
