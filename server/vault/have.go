package vault

import (
	"context"
	"fmt"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Have answers, in order, which of ids need not be sent: those that the
// user's live snapshots need or this session sent, and that are sound. It says
// nothing of what others have, also in the same organisation.
func (v *Vault) Have(ctx context.Context, by access.Caller, id string, ids []backup.ID) ([]bool, error) {
	answer := make([]bool, len(ids))
	err := v.db.Read(ctx, func(tx *db.Tx) error {
		s, err := openSession(ctx, tx, by, id)
		if err != nil {
			return err
		}
		org, err := orgNumber(ctx, tx, s.org)
		if err != nil || org == 0 {
			return err
		}
		there := make(map[backup.ID]uint32, len(ids))
		err = lookup(ctx, tx, org, ids, func(id backup.ID, r row) {
			if r.state == sound {
				there[id] = r.number
			}
		})
		if err != nil || len(there) == 0 {
			return err
		}
		mine, err := v.live(ctx, tx, s.user)
		if err != nil {
			return err
		}
		var sent *roaring.Bitmap
		for i := range ids {
			n, ok := there[ids[i]]
			if !ok {
				continue
			}
			if answer[i] = mine.Contains(n); answer[i] {
				continue
			}
			if sent == nil {
				if sent, err = v.sent.of(ctx, tx, s.id); err != nil {
					return err
				}
			}
			answer[i] = sent.Contains(n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// sentSets remembers what sessions sent, so that a long session's thousands of
// puts are not read again for every question. A put that was committed out of
// turn may be overlooked: then an object is sent twice, and nothing else,
// since a commit reads the database itself.
type sentSets struct {
	mu       sync.Mutex
	sessions map[string]*sentSet
}

type sentSet struct {
	last int64 // number of the newest put that is in set
	set  *roaring.Bitmap
}

const maxSentSets = 256

func (c *sentSets) of(ctx context.Context, tx *db.Tx, id string) (*roaring.Bitmap, error) {
	c.mu.Lock()
	old := c.sessions[id]
	c.mu.Unlock()
	now := &sentSet{set: roaring.New()}
	if old != nil {
		now.last, now.set = old.last, old.set.Clone()
	}
	err := unite(ctx, tx, now.set, `SELECT refs FROM puts WHERE session = $1 AND number > $2`, id, now.last)
	if err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, `SELECT coalesce(max(number), 0) FROM puts WHERE session = $1`, id).Scan(&now.last)
	if err != nil {
		return nil, fmt.Errorf("reading a session's puts: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil || len(c.sessions) >= maxSentSets {
		c.sessions = map[string]*sentSet{}
	}
	c.sessions[id] = now
	return now.set, nil
}
