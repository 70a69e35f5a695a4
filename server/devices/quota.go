package devices

import (
	"context"
	"fmt"
	"slices"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

// Quota is how much somebody may have backed up, and how much counts on it: for
// each live device the size of its newest snapshot, before anything is stored
// only once. While a device sends, what it claims counts instead, where that is
// more (docs/decisions/0015-quota.md).
type Quota struct {
	Limit int64 // in bytes, 0: none
	Used  int64
	Own   bool // the user has a limit of their own, which no profile changes
}

// Left is how much more may be backed up; ok is false when nothing bounds it.
func (q Quota) Left() (left int64, ok bool) { return max(q.Limit-q.Used, 0), q.Limit > 0 }

// Percent is how much of the limit is used, 0 when there is none.
func (q Quota) Percent() int64 {
	if q.Limit == 0 {
		return 0
	}
	return int64(float64(q.Used) / float64(q.Limit) * 100)
}

// Quotas are those that bound what one user may have: their own and their
// organisation's.
type Quotas struct{ User, Org Quota }

// Left is what both leave; ok is false when neither bounds it.
func (q Quotas) Left() (left int64, ok bool) {
	tight, _ := q.tighter()
	return tight.Left()
}

// tighter is the quota that leaves less, and whose it is: user or org.
func (q Quotas) tighter() (tight Quota, of string) {
	if q.Org.Limit > 0 && (q.User.Limit == 0 || q.Org.Limit-q.Org.Used < q.User.Limit-q.User.Used) {
		return q.Org, "org"
	}
	return q.User, "user"
}

// Room is how many bytes the next snapshot of a device may have that counts for so
// many now; ok is false when nothing bounds it.
func (q Quotas) Room(device int64) (bytes int64, ok bool) {
	tight, _ := q.tighter()
	return max(tight.Limit-(tight.Used-device), 0), tight.Limit > 0
}

// Admits says whether a device may have size bytes, counted, while everything
// else stays as it is: nil, or E1401 with how many it may have. device is what
// counts for it now.
func (q Quotas) Admits(device, size int64) error {
	room, ok := q.Room(device)
	if !ok || size <= room {
		return nil
	}
	tight, of := q.tighter()
	return errs.Of(errs.QuotaUsedUp, "q", tight.Limit, "room", room, "of", of)
}

// MaxCounted is the most that counts of one device, whatever it says: the sums of
// many fit into a number.
const MaxCounted = 1 << 50

// counted is what counts of a device on a quota.
const counted = "CASE WHEN d.claimed_bytes > d.stored_bytes THEN d.claimed_bytes ELSE d.stored_bytes END"

func usedBy(ctx context.Context, tx *db.Tx, where string, arg any) (n int64, err error) {
	err = tx.QueryRow(ctx, "SELECT CAST(coalesce(sum("+counted+"), 0) AS BIGINT) FROM devices d WHERE "+where+" AND "+live, arg).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("adding up what is used of a quota: %w", err)
	}
	return n, nil
}

// QuotaOf is the quota of a user, and how much is used of it: the one answer for
// pages, messages and puts.
func QuotaOf(ctx context.Context, tx *db.Tx, u accounts.User) (q Quota, err error) {
	var p profiles.Effective
	if u.Quota == nil {
		if p, err = profiles.Of(ctx, tx, u); err != nil {
			return q, err
		}
	}
	return QuotaUnder(ctx, tx, u, p)
}

// limitOf is how many bytes a user may have under a profile, 0 for any number, and
// whether that is the user's own.
func limitOf(u accounts.User, p profiles.Effective) (bytes int64, own bool) {
	if u.Quota != nil {
		return *u.Quota, true
	}
	return p.Settings.QuotaBytes, false
}

// Limited reports whether a user has a quota under a profile. To add up what is
// used of one costs more.
func Limited(u accounts.User, p profiles.Effective) bool {
	limit, _ := limitOf(u, p)
	return limit != 0
}

// QuotaUnder is QuotaOf where the profile in force for the user is known.
func QuotaUnder(ctx context.Context, tx *db.Tx, u accounts.User, p profiles.Effective) (q Quota, err error) {
	q.Limit, q.Own = limitOf(u, p)
	q.Used, err = usedBy(ctx, tx, "d.user_id = $1", u.ID)
	return q, err
}

// QuotasOfUsers is QuotaOf for many.
func QuotasOfUsers(ctx context.Context, tx *db.Tx, users []accounts.User) (map[accounts.ID]Quota, error) {
	all := map[accounts.ID]Quota{}
	var judge Judge
	for part := range slices.Chunk(users, 500) {
		args := make([]any, len(part))
		for i, u := range part {
			args[i] = string(u.ID)
		}
		rows, err := db.All(ctx, tx, func(row db.Row) (q usage, err error) {
			err = row.Scan(&q.user, &q.used)
			return q, err
		}, "SELECT d.user_id, CAST(sum("+counted+") AS BIGINT) FROM devices d WHERE d.user_id IN ("+db.In(len(part), 1)+") AND "+live+" GROUP BY d.user_id", args...)
		if err != nil {
			return nil, fmt.Errorf("adding up what is used of quotas: %w", err)
		}
		used := map[accounts.ID]int64{}
		for _, q := range rows {
			used[q.user] = q.used
		}
		for _, u := range part {
			q := Quota{Used: used[u.ID], Own: u.Quota != nil}
			if q.Own {
				q.Limit = *u.Quota
			} else if u.Kind == access.UserKind {
				s, err := judge.Profile(ctx, tx, Device{Org: u.Org, User: u.ID, OwnerProfile: u.Profile})
				if err != nil {
					return nil, err
				}
				q.Limit = s.QuotaBytes
			}
			all[u.ID] = q
		}
	}
	return all, nil
}

type usage struct {
	user accounts.ID
	used int64
}

// RoomMade asks the devices whose files wait to back up again: those of a user, or
// of all of the organisation. Whoever asks may have changed a quota.
func RoomMade(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, user accounts.ID) error {
	waiting, err := db.All(ctx, tx, scanOne, "SELECT "+columns+` FROM devices d WHERE d.org = $1 AND ($2 = '' OR d.user_id = $2)
		AND d.waiting_files > 0 AND d.state = 'active'`, org, user)
	if err != nil {
		return fmt.Errorf("looking for devices whose files wait: %w", err)
	}
	for _, d := range waiting {
		if d.Owner != accounts.Active {
			continue
		}
		if _, err := Ask(ctx, tx, by, d.ID, wire.RequestBackup, nil); err != nil {
			return err
		}
	}
	return nil
}

// QuotaOfOrg is the quota of an organisation. How much is used is added up only
// where there is one.
func QuotaOfOrg(ctx context.Context, tx *db.Tx, id orgs.ID) (q Quota, err error) {
	o, err := orgs.Find(ctx, tx, id)
	if err != nil || o.Quota == 0 {
		return q, err
	}
	q.Limit = o.Quota
	q.Used, err = usedBy(ctx, tx, "d.org = $1", id)
	return q, err
}

// QuotasOf are both quotas that bound a user.
func QuotasOf(ctx context.Context, tx *db.Tx, u accounts.User) (q Quotas, err error) {
	if q.User, err = QuotaOf(ctx, tx, u); err == nil {
		q.Org, err = QuotaOfOrg(ctx, tx, u.Org)
	}
	return q, err
}

// liveShare is the least part of what the vault holds for a snapshot that is still
// in use: small files lie together in bundles, and one that stays keeps what was
// deleted beside it.
const liveShare = 4

// counts is how many bytes of a quota a snapshot takes: the size of its files by the
// device's word, and no less than a part of what is held for it, which nobody has
// to believe.
func counts(said, held int64) int64 { return max(min(said, MaxCounted), held/liveShare) }

// taking is a device that is about to take room.
type taking struct {
	Quotas
	now            int64 // what counts for it
	received, held int64
}

func takingOf(ctx context.Context, tx *db.Tx, by access.Caller) (t taking, err error) {
	u, err := accounts.Find(ctx, tx, by.User)
	if err != nil {
		return t, err
	}
	if t.Quotas, err = QuotasOf(ctx, tx, u); err != nil {
		return t, err
	}
	err = tx.QueryRow(ctx, "SELECT "+counted+", d.received_bytes, d.held_bytes FROM devices d WHERE d.id = $1", by.Device).
		Scan(&t.now, &t.received, &t.held)
	if err != nil {
		return t, fmt.Errorf("reading what device %s has of its quota: %w", by.Device, err)
	}
	return t, nil
}

// claim is what would count for it with a put of so many bytes, for a snapshot
// that by its word will have size bytes: no less than what was received, whose
// files nothing else has in it, and as after the commit.
func (t taking) claim(size, put int64) int64 {
	received := t.received + put
	return max(counts(size, t.held+received), received)
}

// Room is how many bytes the next snapshot of a device may have, nil when nothing
// bounds it.
func Room(ctx context.Context, tx *db.Tx, by access.Caller) (*wire.Room, error) {
	t, err := takingOf(ctx, tx, by)
	if err != nil {
		return nil, err
	}
	bytes, ok := t.Room(t.now)
	if !ok {
		return nil, nil
	}
	tight, of := t.tighter()
	return &wire.Room{Bytes: bytes, Quota: tight.Limit, Of: of}, nil
}

// MaySend refuses contents that a device is about to send, when they do not fit:
// so many bytes, for a snapshot that will have size bytes.
func MaySend(ctx context.Context, tx *db.Tx, by access.Caller, size, put int64) error {
	t, err := takingOf(ctx, tx, by)
	if err != nil {
		return err
	}
	return t.Admits(t.now, t.claim(size, put))
}

// Claim is MaySend for contents that have come; they count from now on. What does
// not fit is E1401, and counts nothing.
func Claim(ctx context.Context, tx *db.Tx, by access.Caller, size, put int64) error {
	t, err := takingOf(ctx, tx, by)
	if err != nil {
		return err
	}
	claim := t.claim(size, put)
	if err := t.Admits(t.now, claim); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE devices SET received_bytes = $2, claimed_bytes = $3 WHERE id = $1", by.Device, t.received+put, claim)
	if err != nil {
		return fmt.Errorf("counting what device %s sent: %w", by.Device, err)
	}
	return nil
}

// Unclaim takes back what a device claimed: its session is over.
func Unclaim(ctx context.Context, tx *db.Tx, id ID) error {
	_, err := tx.Exec(ctx, "UPDATE devices SET received_bytes = 0, claimed_bytes = 0 WHERE id = $1 AND received_bytes + claimed_bytes > 0", id)
	if err != nil {
		return fmt.Errorf("ending the claim of device %s: %w", id, err)
	}
	return nil
}
