package deploy

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/wire"
)

// redemption is a computer that shows a token.
type redemption struct {
	in   wire.BeginActivation
	from access.Caller
	ring *keys.Ring

	token  Token  // "" as its id: of no known one
	secret bool   // it is the token's
	reason string // what of the token did not fit
}

// use is what is noted of a computer that was let in.
type use struct{ request, ip, hostname, os, how string }

// Begin notes that a computer that shows a token is to be activated, for the
// user whose it is found to be; from is where it calls from. It asks nobody: a
// computer that belongs to nobody known is refused with E1206, or with
// deploy.prompt when its user has to sign in at it, which tells again the
// address that it named. Every token that does not let it in, for whatever
// reason, is E1204.
//
// Each computer uses the token once, however often it begins; of computers that
// come at once no more get in than there are uses. Who showed a good secret and
// was not let in stands in Knocks.
func Begin(ctx context.Context, d *db.DB, ring *keys.Ring, from access.Caller, in wire.BeginActivation) (out wire.Activation, err error) {
	r := redemption{in: in, from: from, ring: ring}
	err = d.Write(ctx, func(tx *db.Tx) (err error) {
		r.token, r.secret, r.reason = Token{}, false, ""
		out, err = r.begin(ctx, tx)
		return err
	})
	if err == nil {
		return out, nil
	}
	return wire.Activation{}, errors.Join(err, r.refused(ctx, d, err))
}

func (r *redemption) begin(ctx context.Context, tx *db.Tx) (wire.Activation, error) {
	if err := r.admit(ctx, tx); err != nil {
		return wire.Activation{}, err
	}
	user, b, again, err := devices.Begun(ctx, tx, devices.ByToken, r.token.ID, r.in.RequestID)
	if err != nil {
		return wire.Activation{}, err
	}
	if !again {
		if user, b, err = r.first(ctx, tx); err != nil {
			return wire.Activation{}, err
		}
	}
	u, err := accounts.Find(ctx, tx, user)
	if err != nil {
		return wire.Activation{}, err
	}
	b.RequestID, b.Hardware, b.ClientVersion, b.System = r.in.RequestID, r.in.Hardware, r.in.ClientVersion, r.in.System
	b.SigningKey, b.Previous, b.Proof, b.Credential = r.in.SigningKey, r.in.Previous, devices.ByToken, r.token.ID
	return devices.Begin(ctx, tx, u.Caller(r.from), r.ring, u, b)
}

// admit finds the token and asks whether it is good for this computer.
func (r *redemption) admit(ctx context.Context, tx *db.Tx) error {
	bad := errs.Of(errs.BadDeployToken)
	id, hash, ok := parse(r.in.Token)
	if !ok {
		return bad
	}
	t, err := find(ctx, tx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return bad
	}
	if err != nil {
		return err
	}
	r.token, r.secret = t, subtle.ConstantTimeCompare(t.secret, hash) == 1
	if !r.secret {
		return bad
	}
	state := t.State(tx.Now())
	if state == UsedUp {
		used, err := t.used(ctx, tx, r.in.RequestID)
		if err != nil {
			return err
		}
		if used {
			state = Active
		}
	}
	if state != Active {
		r.reason = string(state)
	} else {
		r.reason = t.fits(r.from.IP, r.in.Hardware)
	}
	if r.reason != "" {
		return bad
	}
	return nil
}

// parse takes a token apart: the id, and the hash of what is secret. The
// fingerprint is for the computer.
func parse(token string) (id string, secret []byte, ok bool) {
	text, prefixed := strings.CutPrefix(strings.TrimSpace(token), Prefix)
	parts := strings.Split(text, ".")
	if !prefixed || len(parts) != 3 || len(parts[0]) != hex.EncodedLen(idSize) || len(parts[1]) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return "", nil, false
	}
	return parts[0], hash(Prefix + parts[0] + "." + parts[1]), true
}

// first finds out whose computer it is, and uses the token.
func (r *redemption) first(ctx context.Context, tx *db.Tx) (accounts.ID, devices.Beginning, error) {
	c, err := r.resolve(ctx, tx)
	if err != nil {
		return "", devices.Beginning{}, err
	}
	if err := r.onlyFirst(ctx, tx, c); err != nil {
		return "", devices.Beginning{}, err
	}
	by := r.system()
	if c.create != nil {
		if c.user, err = accounts.Create(ctx, tx, by, r.ring, *c.create); err != nil {
			return "", devices.Beginning{}, err
		}
	}
	if c.user, err = accounts.BeginDeployed(ctx, tx, by, c.user); err != nil {
		return "", devices.Beginning{}, err
	}
	// Without a seat for whoever has no device yet nothing would come of it.
	if c.choice == devices.First || c.choice == wire.Add {
		if err := accounts.AskSeat(ctx, tx, r.ring, c.user.ID); err != nil {
			return "", devices.Beginning{}, err
		}
	}
	h := r.in.Hardware
	used, err := r.token.use(ctx, tx, use{request: r.in.RequestID, ip: r.from.IP, hostname: tidy(h.Hostname), os: tidy(h.OS), how: c.how})
	if err == nil && !used {
		r.reason, err = string(UsedUp), errs.Of(errs.BadDeployToken)
	}
	if err == nil {
		err = c.forget(ctx, tx)
	}
	if err == nil {
		err = r.unknock(ctx, tx)
	}
	if err == nil {
		err = audit.Record(ctx, tx, by, audit.Event{Action: access.Activate, Org: r.token.Org, Owner: c.user.ID, Object: object(r.token.ID), Outcome: audit.Done,
			Details: []audit.Detail{audit.Note("token", r.token.Name), audit.Note("user", c.user.Username), audit.Note("found_by", c.how), audit.Note("hostname", tidy(h.Hostname))}})
	}
	return c.user.ID, devices.Beginning{Choice: c.choice, Target: c.target, Waits: c.waits, Brings: c.brings}, err
}

// system is who acts on behalf of a token.
func (r *redemption) system() access.Caller {
	c := access.System("deployment token " + r.token.ID)
	c.IP, c.RequestID = r.from.IP, r.from.RequestID
	return c
}

// onlyFirst refuses one more device of a user where the organisation wants
// that. Devices that come back are none.
func (r *redemption) onlyFirst(ctx context.Context, tx *db.Tx, c claim) error {
	if c.create != nil || c.choice == wire.Reactivate || c.choice == devices.Succeed {
		return nil
	}
	only, err := FirstDeviceOnly(ctx, tx, r.token.Org)
	if err != nil || !only {
		return err
	}
	have, err := devices.LiveOf(ctx, tx, c.user.ID)
	if err == nil && len(have) > 0 {
		err = errs.Of(errs.FirstDeviceOnly)
	}
	return err
}
