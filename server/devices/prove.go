package devices

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

const (
	// TokenPrefix begins every device token.
	TokenPrefix = "bsa_"

	tokenLife     = 15 * time.Minute
	challengeLife = time.Minute
	challengeSize = 32
)

// NewChallenge makes 32 bytes for the device to sign within a minute, once:
// when they end, a random number, and a MAC of both for this device. Nothing is
// kept of them, so that asking costs nothing, and nobody learns which devices
// are known.
func NewChallenge(ring *keys.Ring, now time.Time, id ID) []byte {
	challenge := binary.BigEndian.AppendUint64(nil, uint64(db.Micros(now.Add(challengeLife))))
	challenge = append(challenge, make([]byte, 8)...)
	rand.Read(challenge[8:])
	return append(challenge, challengeMAC(ring, id, challenge)...)
}

func challengeMAC(ring *keys.Ring, id ID, head []byte) []byte {
	return ring.MAC("device challenge", []byte(id), head)[:challengeSize-16]
}

// ours reports whether a challenge was made for this device, and until when it
// is good.
func ours(ring *keys.Ring, id ID, challenge []byte) (until time.Time, ok bool) {
	if len(challenge) != challengeSize || !hmac.Equal(challenge[16:], challengeMAC(ring, id, challenge[:16])) {
		return time.Time{}, false
	}
	return db.Time(int64(binary.BigEndian.Uint64(challenge))), true
}

// Prove gives a token to a device that has signed its challenge for this vault:
// docs/protocol.md, POST token. The challenge is used up whatever comes of it. A
// device that is known by its signature and may not work is told why; every
// other failure is Unauthenticated.
func Prove(ctx context.Context, d *db.DB, ring *keys.Ring, store backup.UUID, id ID, challenge, signature []byte, from access.Caller) (token string, expires time.Time, err error) {
	wrong := errs.New(errs.Unauthenticated, "device.proof.wrong")
	until, ok := ours(ring, id, challenge)
	if !ok || len(signature) != ed25519.SignatureSize {
		return "", time.Time{}, wrong
	}
	uid, err := backup.ParseUUID(string(id))
	if err != nil {
		return "", time.Time{}, wrong
	}
	var refused error
	err = d.Write(ctx, func(tx *db.Tx) error {
		refused = nil
		device, err := Find(ctx, tx, id)
		if errs.KindOf(err) == errs.NotFound || err == nil && !tx.Now().Before(until) {
			refused = wrong
			return nil
		}
		if err != nil {
			return err
		}
		sum := sha256.Sum256(challenge)
		n, err := tx.Changed(ctx, "INSERT INTO device_challenges (challenge, device, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			sum[:], id, db.Micros(until))
		if err != nil {
			return fmt.Errorf("using a challenge of device %s: %w", id, err)
		}
		if n != 1 {
			refused = wrong
			return nil
		}
		message := proof(uid, store, challenge)
		if err := crypt.VerifySignature(device.SigningKey, "token", message, signature); err != nil {
			if refused, err = formerly(ctx, tx, ring, from, device, message, signature); refused != nil || err != nil {
				return err
			}
			refused = wrong
			return refuse(ctx, tx, device, from, "signature", wrong)
		}
		if refused, err = allowed(ctx, tx, device); err != nil {
			return err
		}
		if device.State == Replaced {
			refused = replacedAt(device.StateAt)
		}
		if refused != nil {
			if err := device.tried(ctx, tx, from); err != nil {
				return err
			}
			return refuse(ctx, tx, device, from, "state_"+string(device.State), errs.Find(refused))
		}
		token, expires, err = issue(ctx, tx, id)
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expires, nil
}

// Held says why a device may not work that signed its challenge, as Prove does,
// where that may change at any time and without the device: an administrator
// stopped it, or its user. In every other case it is nil, and Prove says the rest.
// It uses nothing up and records nothing.
func Held(ctx context.Context, d *db.DB, ring *keys.Ring, store backup.UUID, id ID, challenge, signature []byte) (refused, err error) {
	until, ok := ours(ring, id, challenge)
	uid, bad := backup.ParseUUID(string(id))
	if !ok || bad != nil {
		return nil, nil
	}
	err = d.Peek(ctx, func(tx *db.Tx) error {
		device, err := Find(ctx, tx, id)
		if errs.KindOf(err) == errs.NotFound {
			return nil
		}
		if err != nil || !tx.Now().Before(until) || crypt.VerifySignature(device.SigningKey, "token", proof(uid, store, challenge), signature) != nil {
			return err
		}
		refused, err = allowed(ctx, tx, device)
		return err
	})
	if errs.Is(refused, errs.DeviceDeactivated) {
		return nil, err
	}
	return refused, err
}

// proof is what a device signs to prove itself to a vault.
func proof(device, store backup.UUID, challenge []byte) []byte {
	return slices.Concat(device[:], store[:], challenge)
}

func issue(ctx context.Context, tx *db.Tx, id ID) (string, time.Time, error) {
	token, hash := accounts.NewToken(TokenPrefix)
	expires := tx.Now().Add(tokenLife)
	_, err := tx.Exec(ctx, "INSERT INTO device_tokens (token, device, created_at, expires_at) VALUES ($1, $2, $3, $4)",
		hash, id, db.Micros(tx.Now()), db.Micros(expires))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("issuing a token to device %s: %w", id, err)
	}
	return token, expires, nil
}

func refuse(ctx context.Context, tx *db.Tx, d Device, from access.Caller, reason string, told *errs.Error) error {
	return audit.Record(ctx, tx, from, audit.Event{Action: access.Login, Org: d.Org, Owner: d.User, Object: object(d.ID),
		Outcome: audit.Refuse, Code: told.Code, Details: []audit.Detail{audit.Note("reason", reason)}})
}

// replacedAt is what a computer is told whose device another one is now.
func replacedAt(at time.Time) *errs.Error {
	return errs.Of(errs.DeviceDeactivated, "replaced_at", at, "state", string(Replaced))
}

// formerly says what a computer is told that the device was before, nil when it
// never was. Two computers that are the same by their hardware within a day of
// each other are clones.
func formerly(ctx context.Context, tx *db.Tx, ring *keys.Ring, from access.Caller, d Device, message, signature []byte) (refused, err error) {
	list, err := identities(ctx, tx, d.ID)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if crypt.VerifySignature(i.signingKey, "token", message, signature) != nil {
			continue
		}
		told := errs.Of(errs.DeviceDeactivated, "state", i.why)
		if i.why == wasReplaced {
			told = replacedAt(i.ended)
		}
		if i.shutOut() {
			if err := i.sighted(ctx, tx, d, from); err != nil {
				return nil, err
			}
		}
		if i.why == wasReactivated && tx.Now().Sub(i.ended) < cloneWindow {
			if err := cloned(ctx, tx, ring, from, d, i.hardware); err != nil {
				return nil, err
			}
		}
		return told, refuse(ctx, tx, d, from, "was_"+i.why, told)
	}
	return nil, nil
}

// allowed says why a device may not work, nil when it may: its own state, and
// its user's.
func allowed(ctx context.Context, tx *db.Tx, d Device) (refused, err error) {
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return nil, err
	}
	return verdict(d.State, d.ResetAt, u.State), nil
}

// verdict says why a device may not work, nil when it may; reset is when a
// security reset deactivated it.
func verdict(device State, reset time.Time, user accounts.State) error {
	switch device {
	case Active:
	case Disabled:
		return errs.New(errs.Forbidden, "device.disabled")
	case Enrolling, Waiting:
		return errs.New(errs.Forbidden, "device.waiting")
	case Deactivated:
		if !reset.IsZero() {
			return errs.Of(errs.DeviceDeactivated, "reset_at", reset, "state", string(device))
		}
		fallthrough
	default:
		return errs.Of(errs.DeviceDeactivated, "state", string(device))
	}
	switch user {
	case accounts.Active:
		return nil
	case accounts.Disabled:
		return errs.Of(errs.AccountDisabled)
	case accounts.Preserved:
		return errs.Of(errs.AccountPreserved)
	}
	return errs.Of(errs.DeviceDeactivated, "state", string(user))
}

// Verify returns the device that a token belongs to, as a caller. It looks at
// the device and its user each time, so that a revocation holds from the next
// request on, on every server: then the answer is E1208, or the reason that
// applies. A token that is none, or over, is Unauthenticated; the device gets
// another by signing a challenge.
func Verify(ctx context.Context, tx *db.Tx, token string, from access.Caller) (access.Caller, error) {
	ended := tokenEnded()
	hash, ok := accounts.HashToken(TokenPrefix, token)
	if !ok {
		return access.Caller{}, ended
	}
	c := access.Caller{Kind: access.DeviceKind, IP: from.IP, RequestID: from.RequestID}
	var device State
	var reset time.Time
	var user accounts.State
	err := tx.QueryRow(ctx, `SELECT d.id, d.user_id, d.org, d.name, d.cert_serial, d.state, d.reset_at, u.state
		FROM device_tokens t JOIN devices d ON d.id = t.device JOIN users u ON u.id = d.user_id
		WHERE t.token = $1 AND t.expires_at > $2`, hash, db.Micros(tx.Now())).
		Scan(&c.Device, &c.User, &c.Org, &c.Name, &c.Computer, &device, instant{&reset}, &user)
	if errors.Is(err, sql.ErrNoRows) {
		return access.Caller{}, ended
	}
	if err != nil {
		return access.Caller{}, fmt.Errorf("looking for a device token: %w", err)
	}
	// The caller is known even when it is refused: the record names it.
	return c, verdict(device, reset, user)
}

func tokenEnded() error { return errs.New(errs.Unauthenticated, "device.token.ended") }

// Expire deletes challenges, tokens and activations that are over, and keys and requests that ended
// long ago; it returns how many.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	var all int64
	now := tx.Now()
	for _, s := range []struct {
		statement string
		before    time.Time
	}{
		{"DELETE FROM device_challenges WHERE expires_at <= $1", now},
		{"DELETE FROM device_tokens WHERE expires_at <= $1", now},
		{"DELETE FROM activations WHERE expires_at <= $1", now},
		{"DELETE FROM activation_keys WHERE expires_at <= $1", now.Add(-keepKeys)},
		{"DELETE FROM device_requests WHERE done_at > 0 AND done_at <= $1", now.Add(-keepRequests)},
	} {
		n, err := tx.Changed(ctx, s.statement, db.Micros(s.before))
		if err != nil {
			return 0, fmt.Errorf("cleaning up after devices: %w", err)
		}
		all += n
	}
	return all, nil
}
