package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

// Holder is the live device of an organisation whose key a computer proved to
// hold, false when it proved nothing; a reset may have ended the trust in that
// key. requestID and signingKey are those of the activation that the proof is
// for.
func Holder(ctx context.Context, tx *db.Tx, org orgs.ID, p *wire.Previous, requestID string, signingKey []byte) (d Device, holds, trusted bool, err error) {
	if p == nil {
		return Device{}, false, false, nil
	}
	d, err = findWhere(ctx, tx, "d.id = $1 AND d.org = $2 AND "+live, p.DeviceID, org)
	if errors.Is(err, sql.ErrNoRows) {
		return Device{}, false, false, nil
	}
	if err != nil {
		return Device{}, false, false, fmt.Errorf("looking for the device of a key: %w", err)
	}
	held, trusted, err := keyHolder(ctx, tx, d.User, p, requestID, signingKey)
	return d, held == d.ID, trusted, err
}

// LiveOf are a user's live devices by name. It asks nobody's permission.
func LiveOf(ctx context.Context, tx *db.Tx, user accounts.ID) ([]Device, error) {
	return liveOf(ctx, tx, user)
}

// NamesOf are the folded names of the live devices that users have.
func NamesOf(ctx context.Context, tx *db.Tx, users []accounts.ID) (map[accounts.ID][]string, error) {
	names := map[accounts.ID][]string{}
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	const atOnce = 250
	for part := range slices.Chunk(users, atOnce) {
		_, err := db.All(ctx, tx, func(row db.Row) (name string, err error) {
			var user accounts.ID
			err = row.Scan(&user, &name)
			names[user] = append(names[user], name)
			return name, err
		}, "SELECT d.user_id, d.name_key FROM devices d WHERE d.user_id IN ("+db.In(len(part), 1)+") AND "+live, db.Args(part)...)
		if err != nil {
			return nil, fmt.Errorf("listing the devices of %d users: %w", len(part), err)
		}
	}
	return names, nil
}

// Had reports whether the user has, or had, a device.
func Had(ctx context.Context, tx *db.Tx, user accounts.ID) (had bool, err error) {
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM devices WHERE user_id = $1)", user).Scan(&had)
	if err != nil {
		return false, fmt.Errorf("looking for devices of user %s: %w", user, err)
	}
	return had, nil
}

// Begun is what a credential left for an activation that it began before, and
// for whom, false when there is none. Of one that is forgotten since, the device
// is left that came of it.
func Begun(ctx context.Context, tx *db.Tx, p Proof, credential, requestID string) (accounts.ID, Beginning, bool, error) {
	a, err := findActivation(ctx, tx, "proof = $1 AND credential = $2 AND request_id = $3", p, credential, requestID)
	if errors.Is(err, sql.ErrNoRows) {
		a = activation{proof: p, credential: credential, choice: wire.Add}
		err = tx.QueryRow(ctx, "SELECT user_id, state = 'awaiting_approval' FROM devices WHERE token = $1 AND request_id = $2 AND state IN ('active', 'awaiting_approval')",
			credential, requestID).Scan(&a.user, &a.waits)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return "", Beginning{}, false, nil
	}
	if err != nil {
		return "", Beginning{}, false, fmt.Errorf("looking for activation %s: %w", requestID, err)
	}
	return a.user, Beginning{Proof: a.proof, Credential: a.credential, Choice: a.choice, Target: a.target, Waits: a.waits, Brings: a.brings}, true, nil
}

// EndBegun ends the activations that a credential began and that came to
// nothing yet: it was revoked. Devices that wait for an administrator wait on.
func EndBegun(ctx context.Context, tx *db.Tx, p Proof, credential string) error {
	_, err := tx.Exec(ctx, "UPDATE activations SET expires_at = $3 WHERE proof = $1 AND credential = $2 AND device = '' AND expires_at > $3",
		p, credential, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("ending what %s began: %w", credential, err)
	}
	return nil
}

// OfToken are the devices in a state that a deployment token brought or brought
// back since a time. It asks nobody's permission.
func OfToken(ctx context.Context, tx *db.Tx, token string, s State, since time.Time) ([]ID, error) {
	list, err := db.All(ctx, tx, db.Column[ID], "SELECT id FROM devices WHERE token = $1 AND state = $2 AND activated_at >= $3 ORDER BY id", token, s, db.Micros(since))
	if err != nil {
		return nil, fmt.Errorf("listing the devices of token %s: %w", token, err)
	}
	return list, nil
}

// DisabledFor are the first of the devices of a deployment token that are disabled
// for a reason, by name, at most limit, and how many there are. It asks nobody's
// permission.
func DisabledFor(ctx context.Context, tx *db.Tx, token, reason string, limit int) (list []Listed, total int, err error) {
	const where = joined + "d.token = $1 AND d.state = 'disabled' AND d.state_reason = $2"
	err = tx.QueryRow(ctx, "SELECT count(*)"+where, token, reason).Scan(&total)
	if err == nil {
		list, err = db.All(ctx, tx, scanListed, listedColumns+where+" ORDER BY d.name_key, d.id LIMIT $3", token, reason, limit)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("listing the disabled devices of token %s: %w", token, err)
	}
	return list, total, nil
}
