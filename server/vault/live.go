package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// liveSets remembers, for the users seen last, which objects their live
// snapshots need. What it holds is good only for the version in the database
// that it was made from, so several servers on one database agree.
type liveSets struct {
	mu    sync.Mutex
	limit uint64 // bytes
	used  uint64
	clock int64
	users map[access.UserID]*liveSet
}

type liveSet struct {
	version int64
	set     *roaring.Bitmap // never changed once it is here
	size    uint64
	seen    int64
}

func (l *liveSets) get(user access.UserID) (version int64, set *roaring.Bitmap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.users[user]
	if e == nil {
		return 0, nil
	}
	l.clock++
	e.seen = l.clock
	return e.version, e.set
}

func (l *liveSets) put(user access.UserID, version int64, set *roaring.Bitmap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = map[access.UserID]*liveSet{}
	}
	if old := l.users[user]; old != nil {
		if old.version > version {
			return
		}
		l.used -= old.size
	}
	l.clock++
	e := &liveSet{version, set, set.GetSizeInBytes() + 256, l.clock}
	l.users[user] = e
	l.used += e.size
	for l.used > l.limit && len(l.users) > 1 {
		l.dropOldest()
	}
}

func (l *liveSets) dropOldest() {
	var oldest access.UserID
	for user, e := range l.users {
		if o := l.users[oldest]; o == nil || e.seen < o.seen {
			oldest = user
		}
	}
	l.used -= l.users[oldest].size
	delete(l.users, oldest)
}

// live is the set of objects that a user's live snapshots need. It must not be
// changed. It reads what is committed: a transaction that changes the user's
// snapshots asks before it does.
func (v *Vault) live(ctx context.Context, tx *db.Tx, user access.UserID) (*roaring.Bitmap, error) {
	var version, removed int64
	err := tx.QueryRow(ctx, `SELECT version, removed FROM vault_users WHERE user_id = $1`, string(user)).Scan(&version, &removed)
	if errors.Is(err, sql.ErrNoRows) {
		return roaring.New(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the version of user %s: %w", user, err)
	}
	have, set := v.sets.get(user)
	switch {
	case set != nil && have == version:
		return set, nil
	case set == nil || have < removed || have > version:
		have, set = 0, roaring.New()
	default:
		set = set.Clone()
	}
	err = unite(ctx, tx, set, `SELECT r.refs FROM snapshots s JOIN snapshot_refs r ON r.snapshot = s.number
		WHERE s.user_id = $1 AND s.state = 'live' AND s.user_version > $2`, string(user), have)
	if err != nil {
		return nil, err
	}
	set.RunOptimize()
	v.sets.put(user, version, set)
	return set, nil
}

// change notes that a user's live snapshots are about to change, and returns
// the version that the change makes. taken says that one is taken away.
func change(ctx context.Context, tx *db.Tx, user access.UserID, taken bool) (int64, error) {
	var version int64
	err := tx.QueryRow(ctx, `INSERT INTO vault_users (user_id, version, removed) VALUES ($1, 1, 0)
		ON CONFLICT (user_id) DO UPDATE SET version = vault_users.version + 1 RETURNING version`, string(user)).Scan(&version)
	if err == nil && taken {
		_, err = tx.Exec(ctx, `UPDATE vault_users SET removed = $2 WHERE user_id = $1`, string(user), version)
	}
	if err != nil {
		return 0, fmt.Errorf("changing the version of user %s: %w", user, err)
	}
	return version, nil
}
