package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/wire"
)

const (
	// KeyPrefix begins every activation key.
	KeyPrefix = "bsy_"

	keyLife  = 72 * time.Hour
	keyTries = 3
	askLife  = 7 * 24 * time.Hour  // of the question to a user who keeps administrators out
	keepKeys = 30 * 24 * time.Hour // after they are over, for those who look what became of them
)

// Key is an activation key: with it a computer activates itself for a user, once.
type Key struct {
	ID        string
	User      accounts.ID
	Choice    string // wire.Add, wire.Replace, wire.Reactivate or Succeed
	Device    ID     // of the choice, empty with wire.Add
	Tries     int    // left
	CreatedBy string // the name
	CreatedAt time.Time
	AllowedAt time.Time // a user who keeps administrators out said yes; zero: not, or nobody had to ask
	MadeAt    time.Time // it has had a text since then; zero: it is still to be allowed or made
	ExpiresAt time.Time
	UsedAt    time.Time
}

// KeyState says what has become of a key.
type KeyState string

// The states. Only an open key lets a computer in.
const (
	KeyAsked   KeyState = "asked"   // its user has not answered
	KeyAllowed KeyState = "allowed" // its user said yes, and it can be made
	KeyOpen    KeyState = "open"
	KeyUsed    KeyState = "used"
	KeyOver    KeyState = "over" // expired, revoked or refused, or tried too often
)

// State is what has become of the key by now.
func (k Key) State(now time.Time) KeyState {
	switch {
	case !k.UsedAt.IsZero():
		return KeyUsed
	case k.Tries <= 0 || !now.Before(k.ExpiresAt):
		return KeyOver
	case !k.MadeAt.IsZero():
		return KeyOpen
	case !k.AllowedAt.IsZero():
		return KeyAllowed
	}
	return KeyAsked
}

// IssueKey makes a key for a user, and returns its text, which nothing keeps. It
// lasts 72 hours, for three tries. A user who keeps administrators out is asked
// first, since whoever holds a key could restore what is theirs: the text is
// empty then, and MakeKey makes it when AllowKey was called. portal is where
// users answer.
func IssueKey(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, portal string, user accounts.ID, choice string, device ID) (text string, k Key, err error) {
	u, err := accounts.Find(ctx, tx, user)
	if err != nil {
		return "", Key{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", Key{}, fmt.Errorf("naming an activation key: %w", err)
	}
	k = Key{ID: id.String(), User: u.ID, Choice: choice, Device: device, Tries: keyTries, CreatedBy: by.Name, CreatedAt: tx.Now(),
		MadeAt: tx.Now(), ExpiresAt: tx.Now().Add(keyLife)}
	if u.PrivacyOn {
		k.MadeAt, k.ExpiresAt = time.Time{}, tx.Now().Add(askLife)
	}
	err = administer(ctx, tx, by, u, audit.Note("activation_key", k.ID), audit.Note("choice", choice), audit.Note("device", device))
	if err != nil {
		return "", Key{}, err
	}
	if err := k.check(ctx, tx, u); err != nil {
		return "", Key{}, err
	}
	hash := []byte{}
	if !u.PrivacyOn {
		text, hash = accounts.NewToken(KeyPrefix)
	}
	_, err = tx.Exec(ctx, `INSERT INTO activation_keys (id, org, user_id, secret, choice, device, tries, created_by, created_at, allowed_at, made_at, expires_at, used_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, 0)`,
		k.ID, u.Org, k.User, hash, k.Choice, k.Device, k.Tries, k.CreatedBy, db.Micros(k.CreatedAt), db.Micros(k.MadeAt), db.Micros(k.ExpiresAt))
	if err != nil {
		return "", Key{}, fmt.Errorf("making an activation key: %w", err)
	}
	if !u.PrivacyOn {
		return text, k, nil
	}
	return "", k, mail.Queue(ctx, tx, ring, mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.KeyAsked, Values: map[string]string{
		"username": u.Username, "admin": by.Name, "link": strings.TrimRight(portal, "/") + "/keys/" + k.ID, "days": strconv.Itoa(int(askLife / day))}})
}

// administer asks whether by may manage a user's devices as an administrator,
// and records it.
func administer(ctx context.Context, tx *db.Tx, by access.Caller, u accounts.User, details ...audit.Detail) error {
	of := "user/" + string(u.ID)
	if err := audit.Check(ctx, tx, by, access.ManageDevices, u.Org, u.ID, of, details...); err != nil {
		return err
	}
	if by.Kind == access.UserKind {
		return errs.New(errs.Forbidden, "access.denied").Because(&audit.Denial{Action: access.ManageDevices, Org: u.Org, Owner: u.ID, Object: of})
	}
	return nil
}

// check refuses a key for somebody who may have none, or for a device that
// cannot be meant.
func (k Key) check(ctx context.Context, tx *db.Tx, u accounts.User) error {
	if u.Kind != access.UserKind || u.State != accounts.Active {
		return errs.New(errs.Conflict, "activation_key.user")
	}
	if k.Choice == wire.Add && k.Device == "" {
		return nil
	}
	if !slices.Contains([]string{wire.Replace, wire.Reactivate, Succeed}, k.Choice) {
		return errs.New(errs.Invalid, "device.activation.choice")
	}
	d, err := Find(ctx, tx, k.Device)
	if err == nil && d.User != u.ID {
		err = errs.New(errs.NotFound, "device.unknown")
	}
	if err == nil && !replaceable(d) {
		err = errs.New(errs.Conflict, "device.activation.gone", "name", d.Name)
	}
	return err
}

// FindKey returns a key to its user and to administrators, and whose it is.
func FindKey(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Key, accounts.User, error) {
	k, err := scanKey(tx.QueryRow(ctx, "SELECT "+keyColumns+" FROM activation_keys WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, accounts.User{}, errs.New(errs.NotFound, "activation_key.unknown")
	}
	if err != nil {
		return Key{}, accounts.User{}, fmt.Errorf("reading activation key %s: %w", id, err)
	}
	u, err := accounts.Find(ctx, tx, k.User)
	if err != nil {
		return Key{}, accounts.User{}, err
	}
	err = audit.See(by, access.ViewDevices, u.Org, u.ID, "activation-key/"+k.ID)
	if e := errs.Find(err); e != nil && e.Kind == errs.NotFound {
		err = errs.New(errs.NotFound, "activation_key.unknown").Because(e.Unwrap())
	}
	return k, u, err
}

// AllowKey is the consent of a user who keeps administrators out: the key can be
// made, within 72 hours. The user is told, and every server administrator.
func AllowKey(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, id string) error {
	k, u, err := answer(ctx, tx, by, id, "activation_key_allowed")
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE activation_keys SET allowed_at = $2, expires_at = $3 WHERE id = $1", id, db.Micros(tx.Now()), db.Micros(tx.Now().Add(keyLife)))
	if err != nil {
		return fmt.Errorf("allowing activation key %s: %w", id, err)
	}
	m := mail.Mail{To: u.Email, Language: u.Language, User: u.ID, Org: u.Org, Template: mail.KeyAllowed, Values: map[string]string{
		"username": u.Username, "admin": k.CreatedBy, "at": tx.Now().UTC().Format(time.RFC3339), "ip": by.IP}}
	if err := mail.Queue(ctx, tx, ring, m); err != nil {
		return err
	}
	return orgs.Notify(ctx, tx, ring, "", m)
}

// RefuseKey is the user's no.
func RefuseKey(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	if _, _, err := answer(ctx, tx, by, id, "activation_key_refused"); err != nil {
		return err
	}
	return endKey(ctx, tx, id)
}

// answer finds a key whose user is asked, for that user alone.
func answer(ctx context.Context, tx *db.Tx, by access.Caller, id, note string) (Key, accounts.User, error) {
	k, u, err := FindKey(ctx, tx, by, id)
	if err != nil {
		return k, u, err
	}
	if err := audit.Check(ctx, tx, by, access.SetPrivacy, u.Org, u.ID, "user/"+string(u.ID), audit.Note(note, k.ID), audit.Note("administrator", k.CreatedBy)); err != nil {
		return k, u, err
	}
	if k.State(tx.Now()) != KeyAsked {
		return k, u, errs.New(errs.Conflict, "activation_key.answered")
	}
	return k, u, nil
}

// MakeKey makes a key that its user has allowed, and returns its text, which
// nothing keeps.
func MakeKey(ctx context.Context, tx *db.Tx, by access.Caller, id string) (text string, k Key, err error) {
	k, u, err := FindKey(ctx, tx, by, id)
	if err != nil {
		return "", k, err
	}
	if err := administer(ctx, tx, by, u, audit.Note("activation_key_made", k.ID)); err != nil {
		return "", k, err
	}
	if k.State(tx.Now()) != KeyAllowed {
		return "", k, errs.New(errs.Conflict, "activation_key.not_allowed")
	}
	if err := k.check(ctx, tx, u); err != nil {
		return "", k, err
	}
	text, hash := accounts.NewToken(KeyPrefix)
	k.MadeAt, k.ExpiresAt = tx.Now(), tx.Now().Add(keyLife)
	_, err = tx.Exec(ctx, "UPDATE activation_keys SET secret = $2, made_at = $3, expires_at = $4 WHERE id = $1", id, hash, db.Micros(k.MadeAt), db.Micros(k.ExpiresAt))
	if err != nil {
		return "", k, fmt.Errorf("making activation key %s: %w", id, err)
	}
	return text, k, nil
}

// TryKey returns the user whom a key is for, and the key, of which one try is
// used up. A key that is none, or over, is Forbidden.
func TryKey(ctx context.Context, tx *db.Tx, text string) (accounts.User, Key, error) {
	over := errs.New(errs.Forbidden, "activation_key.over")
	hash, ok := accounts.HashToken(KeyPrefix, text)
	if !ok {
		return accounts.User{}, Key{}, over
	}
	k, err := scanKey(tx.QueryRow(ctx, "SELECT "+keyColumns+" FROM activation_keys WHERE secret = $1", hash))
	if errors.Is(err, sql.ErrNoRows) || err == nil && k.State(tx.Now()) != KeyOpen {
		return accounts.User{}, Key{}, over
	}
	if err != nil {
		return accounts.User{}, Key{}, fmt.Errorf("looking for an activation key: %w", err)
	}
	n, err := tx.Changed(ctx, "UPDATE activation_keys SET tries = tries - 1 WHERE id = $1 AND tries > 0 AND used_at = 0", k.ID)
	if err != nil {
		return accounts.User{}, Key{}, fmt.Errorf("trying activation key %s: %w", k.ID, err)
	}
	if n != 1 {
		return accounts.User{}, Key{}, over
	}
	k.Tries--
	u, err := accounts.Find(ctx, tx, k.User)
	if err == nil && u.PrivacyOn && k.AllowedAt.IsZero() {
		err = errs.New(errs.Forbidden, "activation_key.private")
	}
	return u, k, err
}

// useKey ends a key with the device that came of it.
func useKey(ctx context.Context, tx *db.Tx, id string) error {
	n, err := tx.Changed(ctx, "UPDATE activation_keys SET used_at = $2 WHERE id = $1 AND used_at = 0 AND expires_at > $2", id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("using activation key %s: %w", id, err)
	}
	if n != 1 {
		return errs.New(errs.Forbidden, "activation_key.over")
	}
	return nil
}

// KeysOf are a user's keys, the newest first, also those that are over.
func KeysOf(ctx context.Context, tx *db.Tx, by access.Caller, user accounts.ID) ([]Key, error) {
	u, err := accounts.Find(ctx, tx, user)
	if err != nil {
		return nil, err
	}
	if err := audit.See(by, access.ViewDevices, u.Org, u.ID, "user/"+string(u.ID)); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, scanKey, "SELECT "+keyColumns+" FROM activation_keys WHERE user_id = $1 ORDER BY created_at DESC, id DESC", u.ID)
	if err != nil {
		return nil, fmt.Errorf("listing the activation keys of user %s: %w", u.ID, err)
	}
	return list, nil
}

// RevokeKey makes a key good for nothing.
func RevokeKey(ctx context.Context, tx *db.Tx, by access.Caller, id string) error {
	k, u, err := FindKey(ctx, tx, by, id)
	if err != nil {
		return err
	}
	if err := audit.Check(ctx, tx, by, access.ManageDevices, u.Org, u.ID, "user/"+string(u.ID), audit.Note("activation_key_revoked", k.ID)); err != nil {
		return err
	}
	return endKey(ctx, tx, id)
}

func endKey(ctx context.Context, tx *db.Tx, id string) error {
	_, err := tx.Exec(ctx, "UPDATE activation_keys SET tries = 0, expires_at = $2 WHERE id = $1 AND used_at = 0 AND expires_at > $2", id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("ending activation key %s: %w", id, err)
	}
	return nil
}

const keyColumns = "id, user_id, choice, device, tries, created_by, created_at, allowed_at, made_at, expires_at, used_at"

func scanKey(row db.Row) (k Key, err error) {
	err = row.Scan(&k.ID, &k.User, &k.Choice, &k.Device, &k.Tries, &k.CreatedBy, instant{&k.CreatedAt}, instant{&k.AllowedAt},
		instant{&k.MadeAt}, instant{&k.ExpiresAt}, instant{&k.UsedAt})
	return k, err
}
