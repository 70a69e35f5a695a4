// Package deploy lets computers become devices without anybody sitting at them.
// A token says that a computer belongs to the fleet, never whose it is: that is
// said by the key of a device that it was, by the device map, which an
// administrator filled in, or by the address that its management set, in this
// order. Alone a token opens no account that is there and no data.
package deploy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
)

// Prefix begins every deployment token: bsd1.ID.SECRET.FINGERPRINT, the last of
// the organisation's root key, by which a computer knows whom it backs up to.
const Prefix = "bsd1."

// The bounds of a token's life, docs/decisions/0009-deployment.md.
const (
	MinLife     = time.Hour
	MaxLife     = 365 * 24 * time.Hour
	DefaultLife = 90 * 24 * time.Hour
)

// Rules are what a token allows, and to which computers.
type Rules struct {
	Name        string
	Profile     access.ProfileID // of the users that it makes, "" for the organisation's default
	Networks    []string         // CIDRs; none: any
	Systems     []string         // linux, windows, darwin; none: any
	Hosts       []string         // patterns of host names, with * and ?; none: any
	MaxUses     int64            // 0: without limit
	Approve     bool             // devices wait for an administrator
	CreateUsers bool             // an address that nobody has makes an account
	Domains     []string         // of those addresses
	Prompt      bool             // the user is asked when nothing says whose computer it is
}

// Token is a token, without its secret.
type Token struct {
	ID  string // stands in the token
	Org orgs.ID
	Rules
	Uses         int64
	CreatedBy    string // the name
	CreatedAt    time.Time
	ExpiresAt    time.Time // zero: never
	RevokedAt    time.Time
	LastUsedAt   time.Time
	LastFailedAt time.Time
	Failures     int64

	secret []byte // SHA-256
}

// State says what has become of a token.
type State string

// The states. Only an active token lets anything in.
const (
	Active  State = "active"
	Expired State = "expired"
	Revoked State = "revoked"
	UsedUp  State = "used"
)

// State is what has become of the token by now.
func (t Token) State(now time.Time) State {
	switch {
	case !t.RevokedAt.IsZero():
		return Revoked
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return Expired
	case t.MaxUses > 0 && t.Uses >= t.MaxUses:
		return UsedUp
	}
	return Active
}

// Shown is what people see of a token to tell it from others.
func (t Token) Shown() string { return Prefix + t.ID + ".…" }

func object(id string) string { return "deploy-token/" + id }

const (
	idSize     = 6
	secretSize = 32
)

// Create makes a token of an organisation that lives so long, without end when
// life is 0. The secret is shown this once.
func Create(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, r Rules, life time.Duration) (Token, string, error) {
	if err := r.normalise(); err != nil {
		return Token{}, "", err
	}
	if life != 0 && (life < MinLife || life > MaxLife) {
		return Token{}, "", errs.New(errs.Invalid, "deploy.life.invalid", "days", int(MaxLife/(24*time.Hour)))
	}
	if r.Profile != "" {
		p, err := profiles.View(ctx, tx, by, r.Profile)
		if err != nil {
			return Token{}, "", err
		}
		if p.Org != org {
			return Token{}, "", errs.New(errs.NotFound, "profile.unknown")
		}
	}
	o, err := orgs.Find(ctx, tx, org)
	if err != nil {
		return Token{}, "", err
	}
	root, err := rootOf(o)
	if err != nil {
		return Token{}, "", err
	}
	var id [idSize]byte
	var secret [secretSize]byte
	rand.Read(id[:])
	rand.Read(secret[:])
	t := Token{ID: hex.EncodeToString(id[:]), Org: org, Rules: r, CreatedBy: by.Name, CreatedAt: tx.Now()}
	if life > 0 {
		t.ExpiresAt = tx.Now().Add(life)
	}
	text := Prefix + t.ID + "." + base64.RawURLEncoding.EncodeToString(secret[:])
	t.secret = hash(text)
	err = audit.Check(ctx, tx, by, access.Deploy, org, "", object(t.ID), audit.Change("name", nil, t.Name), audit.Note("expires", t.ExpiresAt),
		audit.Note("uses", t.MaxUses), audit.Note("approve", t.Approve), audit.Note("domains", strings.Join(t.Domains, ", ")))
	if err != nil {
		return Token{}, "", err
	}
	return t, text + "." + root, insert(ctx, tx, t)
}

func hash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// rootOf is the fingerprint of the key that certifies an organisation's users.
func rootOf(o orgs.Org) (string, error) {
	record, err := snapshot.DecodeOrgRecord(o.Record)
	if err != nil {
		return "", fmt.Errorf("reading the record of organisation %s: %w", o.ID, err)
	}
	return snapshot.RootFingerprint(record), nil
}

// View returns a token to those who may deploy.
func View(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Token, error) {
	t, err := find(ctx, tx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, errs.New(errs.NotFound, "deploy.token.unknown")
	}
	if err != nil {
		return Token{}, err
	}
	return t, audit.See(by, access.Deploy, t.Org, "", object(t.ID))
}

// List returns an organisation's tokens, the newest first.
func List(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID) ([]Token, error) {
	if err := audit.See(by, access.Deploy, org, "", "deploy-tokens"); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, scan, "SELECT "+columns+" FROM deploy_tokens t WHERE t.org = $1 ORDER BY t.created_at DESC, t.id", org)
	if err != nil {
		return nil, fmt.Errorf("listing deployment tokens: %w", err)
	}
	return list, nil
}

// Revoke ends a token, and what was begun with it and is no device yet. What it
// brought before goes on.
func Revoke(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	t, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	return revoke(ctx, tx, by, t)
}

func revoke(ctx context.Context, tx *db.Tx, by access.Caller, t Token, details ...audit.Detail) error {
	details = append([]audit.Detail{audit.Change("state", t.State(tx.Now()), Revoked)}, details...)
	if err := audit.Check(ctx, tx, by, access.Deploy, t.Org, "", object(t.ID), details...); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE deploy_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0", t.ID, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("revoking deployment token %s: %w", t.ID, err)
	}
	return devices.EndBegun(ctx, tx, devices.ByToken, t.ID)
}

// Quarantine revokes a token and then disables every device that it brought, or
// brought back, since a time, some at a time; it returns how many. It goes on when
// ctx ends: who has begun it wants it whole. Release lets them go on, one by one.
// Those that wait for an administrator wait on: they have nothing yet.
func Quarantine(ctx context.Context, store *db.DB, by access.Caller, id string, since time.Time) (int, error) {
	ctx = context.WithoutCancel(ctx)
	var t Token
	var list []devices.ID
	err := store.Write(ctx, func(tx *db.Tx) (err error) {
		if t, err = View(ctx, tx, by, id); err != nil {
			return err
		}
		if list, err = devices.OfToken(ctx, tx, t.ID, devices.Active, since); err != nil {
			return err
		}
		return revoke(ctx, tx, by, t, audit.Note("quarantined", len(list)), audit.Note("since", since))
	})
	if err != nil {
		return 0, err
	}
	return setStates(ctx, store, by, list, devices.Active, devices.Disabled, quarantined(t))
}

// quarantined is the reason with which Quarantine disables devices.
func quarantined(t Token) string { return "quarantine: " + t.Name + " (" + t.Shown() + ")" }

// Quarantined are the first of the devices that are disabled because of their
// token, by name, at most limit, and how many there are.
func Quarantined(ctx context.Context, tx *db.Tx, by access.Caller, t Token, limit int) (list []devices.Listed, total int, err error) {
	if err := audit.See(by, access.Deploy, t.Org, "", object(t.ID)); err != nil {
		return nil, 0, err
	}
	return devices.DisabledFor(ctx, tx, t.ID, quarantined(t), limit)
}

// Release lets a device of Quarantined go on.
func Release(ctx context.Context, tx *db.Tx, by access.Caller, id string, device devices.ID) error {
	t, err := View(ctx, tx, by, id)
	if err != nil {
		return err
	}
	d, err := devices.View(ctx, tx, by, device)
	if err != nil {
		return err
	}
	if d.Token != t.ID || d.State != devices.Disabled || d.StateReason != quarantined(t) {
		return errs.New(errs.NotFound, "device.unknown")
	}
	return devices.SetState(ctx, tx, by, device, devices.Active, "")
}
