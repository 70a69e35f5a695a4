package devices

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
)

const (
	// ActivationPrefix begins the token of every activation that was begun.
	ActivationPrefix = "bsx_"

	activationLife = 24 * time.Hour
	// waitingLife is for how long a computer may be off that waits for an
	// administrator, and get in all the same when it is back.
	waitingLife = 30 * 24 * time.Hour
)

// Proof is what proved who a computer is to be activated for.
type Proof string

// The proofs.
const (
	ByPassword Proof = "password"
	ByKey      Proof = "key"   // an activation key
	ByToken    Proof = "token" // a deployment token
	BySSO      Proof = "sso"
)

// The choices that clients do not make, of Beginning.
const (
	// Succeed is one more device, that takes over another with its first complete
	// backup.
	Succeed = "succeed"

	// First is the first device of its user, who has none yet, also when the
	// activation ends: E1205 otherwise.
	First = "first"
)

// Beginning is a computer that is to be activated for a user, who was proved.
type Beginning struct {
	RequestID     string // a UUID of the client's, makes the call repeatable
	Hardware      wire.Hardware
	ClientVersion string
	System        bool
	SigningKey    []byte // Ed25519
	Previous      *wire.Previous

	Proof      Proof
	Credential string // the id of the activation key or deployment token, if it was one

	// What the credential leaves: Choice is wire.Add, wire.Replace,
	// wire.Reactivate, Succeed or First, of the device Target; empty: all is left. Waits
	// says that an administrator has to approve a device that is added.
	Choice string
	Target ID
	Waits  bool

	// Brings is what an administrator wants to come back from Target: DATA, ALL,
	// SYSTEM or nothing.
	Brings string
}

// activation is a row of the table.
type activation struct {
	id         string
	org        orgs.ID
	user       accounts.ID
	requestID  string
	signingKey []byte
	hardware   wire.Hardware
	system     bool
	version    string
	previous   ID
	proof      Proof
	credential string
	choice     string
	target     ID
	waits      bool
	brings     string
	device     ID
	expires    time.Time
}

// Begin notes that a computer is to be activated for u, who was proved, and says
// what it may become. by is that user. Begun again with the same request and key
// it is the same activation, which lasts a day from then on; the token before is
// no longer good.
func Begin(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User, b Beginning) (wire.Activation, error) {
	u, err := eligible(ctx, tx, by, u.ID)
	if err != nil {
		return wire.Activation{}, err
	}
	a := activation{org: u.Org, user: u.ID, requestID: b.RequestID, signingKey: b.SigningKey, hardware: b.Hardware, system: b.System,
		version: b.ClientVersion, proof: b.Proof, credential: b.Credential, choice: b.Choice, target: b.Target, waits: b.Waits, brings: b.Brings}
	if err := a.check(); err != nil {
		return wire.Activation{}, err
	}
	held, trusted, err := keyHolder(ctx, tx, u.ID, b.Previous, b.RequestID, b.SigningKey)
	if err != nil {
		return wire.Activation{}, err
	}
	if trusted {
		a.previous = held
	}
	token, hash := accounts.NewToken(ActivationPrefix)
	a.expires = tx.Now().Add(activationLife)
	if err := a.write(ctx, tx, hash); err != nil {
		return wire.Activation{}, err
	}
	out, err := a.options(ctx, tx, by, ring, u)
	out.Activation, out.ExpiresAt = token, a.expires
	return out, err
}

// eligible returns the user that a computer may be activated for. What was
// proved may be some time ago.
func eligible(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID) (accounts.User, error) {
	u, err := accounts.Find(ctx, tx, id)
	if err != nil {
		return accounts.User{}, err
	}
	if u.Kind != access.UserKind || u.State != accounts.Active {
		return accounts.User{}, errs.Of(errs.AuthFailed)
	}
	return u, audit.See(by, access.Activate, u.Org, u.ID, "user/"+string(u.ID))
}

func (a activation) check() error {
	if _, err := uuid.Parse(a.requestID); err != nil {
		return errs.New(errs.Invalid, "device.request.invalid")
	}
	if len(a.signingKey) != ed25519.PublicKeySize {
		return errs.New(errs.Invalid, "device.key.invalid")
	}
	return checkHardware(a.hardware, a.version)
}

// options says what the computer may become.
func (a activation) options(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User) (wire.Activation, error) {
	out := wire.Activation{UserID: string(u.ID), Username: u.Username, Devices: []wire.DeviceCard{}, Suggest: wire.Add, Waiting: a.waits}
	p, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return out, err
	}
	have, err := liveOf(ctx, tx, u.ID)
	if err != nil {
		return out, err
	}
	name, err := checkName(cmp.Or(HostName(a.hardware), a.hardware.Hostname))
	if err != nil {
		name = a.hardware.OS
	}
	out.Name, out.Limit = name, p.Settings.MaxDevices
	if free, err := freeName(ctx, tx, u.ID, name, true); err != nil {
		return out, err
	} else if free != name {
		out.FreeName = free
	}
	for _, d := range slices.SortedStableFunc(slices.Values(have), func(a, b Device) int { return b.LastSeenAt.Compare(a.LastSeenAt) }) {
		if replaceable(d) && (a.proof != ByKey || d.ID == a.target) {
			out.Devices = append(out.Devices, card(d))
		}
	}
	if refused := refusal(p.Settings, have); refused != nil {
		out.Refusal = string(refused.Code)
	}
	switch err := offered(ctx, tx, a.system, a.hardware.OS); {
	case errs.Is(err, errs.AddDeviceNotAllowed):
		out.Refusal, out.Retired = string(errs.AddDeviceNotAllowed), true
	case err != nil:
		return out, err
	}
	if a.choice != "" {
		out.Suggest = a.choice
		if a.target != "" {
			out.Match = &wire.Match{DeviceID: string(a.target), By: wire.ByAdministrator}
		}
		if a.choice == Succeed || a.choice == First {
			out.Suggest, out.Match = wire.Add, nil
		}
		return out, nil
	}
	d, found := Match(tx.Now(), a.shown(), have)
	if found != "" {
		out.Match = &wire.Match{DeviceID: string(d.ID), By: found}
	}
	out.Suggest = suggest(p.Settings, found, out.Refusal != "")
	if found == wire.ByClone {
		return out, cloned(ctx, tx, ring, by, d, a.hardware)
	}
	return out, nil
}

func (a activation) shown() Shown {
	return Shown{Hardware: a.hardware, System: a.system, Key: a.previous}
}

// suggest is what is preselected for a computer that was found as by, when
// adding it may be refused.
func suggest(s profile.Settings, by string, refused bool) string {
	switch {
	case by == wire.ByKey, by == wire.ByMachine, by == wire.BySerial:
		return wire.Reactivate
	case refused, by == wire.ByName && s.SameName != profile.SameAllow:
		return wire.Replace
	}
	return wire.Add
}

// replaceable reports whether a computer may take the device's place. A device
// that an administrator stopped stays stopped.
func replaceable(d Device) bool { return d.State == Active || d.State == Deactivated }

func card(d Device) wire.DeviceCard {
	c := wire.DeviceCard{DeviceID: string(d.ID), Name: d.Name, OS: d.Hardware.OS, State: string(d.State), System: d.System, Bytes: d.StoredBytes}
	if !d.LastSeenAt.IsZero() {
		c.LastSeen = &d.LastSeenAt
	}
	if !d.LastBackupAt.IsZero() {
		c.LastBackup = &d.LastBackupAt
	}
	return c
}

// keyHolder is the user's device whose key a computer proved to hold, "" when it
// proved nothing. A key that the same device had before counts; that of a
// computer which another one replaced does not. A key is not trusted that was
// the device's before a reset which distrusts those.
func keyHolder(ctx context.Context, tx *db.Tx, user accounts.ID, p *wire.Previous, requestID string, signingKey []byte) (id ID, trusted bool, err error) {
	if p == nil {
		return "", false, nil
	}
	device, err := backup.ParseUUID(p.DeviceID)
	if err != nil {
		return "", false, nil
	}
	request, err := backup.ParseUUID(requestID)
	if err != nil {
		return "", false, nil
	}
	type held struct {
		device                ID
		key                   []byte
		activated, distrusted int64
	}
	all, err := db.All(ctx, tx, func(row db.Row) (h held, err error) {
		err = row.Scan(&h.device, &h.key, &h.activated, &h.distrusted)
		return h, err
	}, `SELECT d.id, d.signing_key, d.activated_at, d.distrusted_at FROM devices d WHERE d.user_id = $1 AND `+live+`
		UNION ALL SELECT d.id, i.signing_key, i.activated_at, d.distrusted_at FROM device_identities i JOIN devices d ON d.id = i.device
		WHERE d.user_id = $1 AND i.ended_why = 'reactivated' AND `+live, user)
	if err != nil {
		return "", false, fmt.Errorf("looking for the device of a key: %w", err)
	}
	for _, h := range all {
		if wire.VerifyPrevious(h.key, device, request, signingKey, p.Signature) == nil {
			return h.device, h.activated > h.distrusted, nil
		}
	}
	return "", false, nil
}

func (a *activation) write(ctx context.Context, tx *db.Tx, token []byte) error {
	hardware, err := json.Marshal(a.hardware)
	if err != nil {
		return err
	}
	old, err := findActivation(ctx, tx, "user_id = $1 AND request_id = $2", a.user, a.requestID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("naming an activation: %w", err)
		}
		a.id = id.String()
		if a.device, err = a.made(ctx, tx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO activations (id, token, org, user_id, request_id, signing_key, hardware, is_system, client_version, previous,
				proof, credential, choice, target, waits, brings, device, created_at, expires_at, ended_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 0)`,
			a.id, token, a.org, a.user, a.requestID, a.signingKey, string(hardware), a.system, a.version, a.previous,
			a.proof, a.credential, a.choice, a.target, a.waits, a.brings, a.device, db.Micros(tx.Now()), db.Micros(a.expires))
		if err != nil {
			return fmt.Errorf("beginning an activation: %w", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("looking for activation %s: %w", a.requestID, err)
	case !bytes.Equal(old.signingKey, a.signingKey):
		return errs.New(errs.Conflict, "device.request.used")
	}
	a.id, a.device = old.id, old.device
	_, err = tx.Exec(ctx, `UPDATE activations SET token = $2, hardware = $3, is_system = $4, client_version = $5, previous = $6, proof = $7,
			credential = $8, choice = $9, target = $10, waits = $11, expires_at = $12, brings = $13 WHERE id = $1`,
		a.id, token, string(hardware), a.system, a.version, a.previous, a.proof, a.credential, a.choice, a.target, a.waits, db.Micros(a.expires), a.brings)
	if err != nil {
		return fmt.Errorf("beginning activation %s again: %w", a.id, err)
	}
	return nil
}

// made is the device that came of the same request before, by an activation that
// is forgotten since, "" when none did: its computer has lost the answer.
func (a activation) made(ctx context.Context, tx *db.Tx) (ID, error) {
	d, err := findWhere(ctx, tx, "d.user_id = $1 AND d.request_id = $2 AND d.state IN ('active', 'awaiting_approval')", a.user, a.requestID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking for the device of activation %s: %w", a.requestID, err)
	case !bytes.Equal(d.SigningKey, a.signingKey):
		return "", errs.New(errs.Conflict, "device.request.used")
	}
	return d.ID, nil
}

func findActivation(ctx context.Context, tx *db.Tx, where string, args ...any) (a activation, err error) {
	var hardware string
	var expires int64
	err = tx.QueryRow(ctx, `SELECT id, org, user_id, request_id, signing_key, hardware, is_system, client_version, previous, proof, credential,
			choice, target, waits, brings, device, expires_at FROM activations WHERE `+where, args...).
		Scan(&a.id, &a.org, &a.user, &a.requestID, &a.signingKey, &hardware, &a.system, &a.version, &a.previous, &a.proof, &a.credential,
			&a.choice, &a.target, &a.waits, &a.brings, &a.device, &expires)
	if err != nil {
		return activation{}, err
	}
	a.expires = db.Time(expires)
	return a, json.Unmarshal([]byte(hardware), &a.hardware)
}

// begun is the activation that a token permits, and its user as a caller.
func begun(ctx context.Context, tx *db.Tx, from access.Caller, token string) (activation, accounts.User, access.Caller, error) {
	over := errs.New(errs.Gone, "device.activation.over")
	hash, ok := accounts.HashToken(ActivationPrefix, token)
	if !ok {
		return activation{}, accounts.User{}, from, over
	}
	a, err := findActivation(ctx, tx, "token = $1 AND expires_at > $2", hash, db.Micros(tx.Now()))
	if errors.Is(err, sql.ErrNoRows) {
		return activation{}, accounts.User{}, from, over
	}
	if err != nil {
		return activation{}, accounts.User{}, from, fmt.Errorf("looking for an activation: %w", err)
	}
	from.Kind, from.User, from.Org = access.UserKind, a.user, a.org
	u, err := eligible(ctx, tx, from, a.user)
	if err != nil {
		return activation{}, accounts.User{}, from, err
	}
	return a, u, u.Caller(from), nil
}

// Activating is whoever an activation is for, as a caller.
func Activating(ctx context.Context, tx *db.Tx, from access.Caller, token string) (access.Caller, error) {
	_, _, by, err := begun(ctx, tx, from, token)
	return by, err
}

// Preview says what a choice would do; it does nothing.
func Preview(ctx context.Context, tx *db.Tx, from access.Caller, in wire.PreviewActivation) (wire.Preview, error) {
	out := wire.Preview{Returning: []string{}, Settings: []wire.SettingChange{}}
	a, u, _, err := begun(ctx, tx, from, in.Activation)
	if err != nil {
		return out, err
	}
	p, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return out, err
	}
	q, err := QuotasOf(ctx, tx, u)
	if err != nil {
		return out, err
	}
	out.KeepUnlinked, out.QuotaBytes, out.UsedBytes = string(p.Settings.ReactivateKeepUnlinked), q.User.Limit, q.User.Used
	if left, ok := q.Left(); ok {
		out.LeftBytes = &left
	}
	if in.Choice == wire.Add {
		return out, nil
	}
	d, err := a.chosen(ctx, tx, in.Choice, ID(in.DeviceID))
	if err != nil {
		return out, err
	}
	_, found := Match(tx.Now(), a.shown(), []Device{d})
	out.SameComputer = found == wire.ByKey || found == wire.ByMachine || found == wire.BySerial
	out.OtherSystem = a.hardware.OS != d.Hardware.OS
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM snapshots WHERE device = $1 AND state = 'live'", d.ID).Scan(&out.Snapshots); err != nil {
		return out, fmt.Errorf("counting the snapshots of device %s: %w", d.ID, err)
	}
	if in.Choice == wire.Reactivate {
		out.Returning, out.Settings = changes(p.Settings, lastChosen(d, in.Choices))
		return out, nil
	}
	out.Restore, err = a.restorable(ctx, tx, d)
	return out, err
}

// Finish makes the computer of an activation a device: one more, the one it was
// before, or another one that it replaces. Finished again it is the same device,
// its secrets sealed again. A device that an administrator has to approve has no
// secrets yet: its state is Waiting.
func Finish(ctx context.Context, tx *db.Tx, from access.Caller, ring *keys.Ring, in wire.FinishActivation) (Activated, error) {
	a, u, by, err := begun(ctx, tx, from, in.Activation)
	if err != nil {
		return Activated{}, err
	}
	if wire.VerifyFinish(a.signingKey, in.Activation, in.EnrolmentKey, in.Signature) != nil {
		return Activated{}, errs.New(errs.Forbidden, "device.proof.wrong")
	}
	c := Activation{RequestID: a.requestID, Name: in.Name, RenameIfTaken: in.RenameIfTaken, Hardware: a.hardware, ClientVersion: a.version,
		System: a.system, SigningKey: a.signingKey, EnrolmentKey: in.EnrolmentKey, brings: in.Restore == wire.RestoreFiles,
		keeps: in.KeepUnlinked, overflows: in.Overflows}
	if a.proof == ByToken {
		c.token = a.credential
	}
	if c.Name == "" {
		c.Name = HostName(a.hardware)
	}
	if err := c.normalise(); err != nil {
		return Activated{}, err
	}
	if a.device != "" {
		d, err := Find(ctx, tx, a.device)
		if err != nil {
			return Activated{}, err
		}
		done, err := again(ctx, tx, ring, u, d, c)
		if err == nil {
			done.Restore, err = a.regrant(ctx, tx, by, done.Device)
		}
		if err == nil {
			err = a.end(ctx, tx, done.Device)
		}
		return done, err
	}
	if a.proof == ByKey {
		if err := useKey(ctx, tx, a.credential); err != nil {
			return Activated{}, err
		}
	}
	done, err := a.finish(ctx, tx, by, ring, u, c, in)
	if err != nil {
		return Activated{}, err
	}
	if done.Restore, err = a.bring(ctx, tx, by, done, in.Restore); err != nil {
		return Activated{}, err
	}
	return done, a.end(ctx, tx, done.Device)
}

// end notes what came of an activation. While that waits for an administrator,
// who may take days, the computer asks again and again.
func (a activation) end(ctx context.Context, tx *db.Tx, d Device) error {
	until := a.expires
	if d.State == Waiting {
		until = tx.Now().Add(waitingLife)
	}
	_, err := tx.Exec(ctx, "UPDATE activations SET device = $2, ended_at = $3, expires_at = $4 WHERE id = $1", a.id, d.ID, db.Micros(tx.Now()), db.Micros(until))
	if err != nil {
		return fmt.Errorf("ending activation %s: %w", a.id, err)
	}
	return nil
}

func (a activation) finish(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User, c Activation, in wire.FinishActivation) (Activated, error) {
	if in.Choice == wire.Add {
		if a.choice != "" && a.choice != wire.Add && a.choice != Succeed && a.choice != First {
			return Activated{}, errs.New(errs.Forbidden, "device.activation.choice")
		}
		if err := a.first(ctx, tx); err != nil {
			return Activated{}, err
		}
		if c.waits = a.waits; a.choice == Succeed {
			c.replaces = a.target
		}
		c.RenameIfTaken = c.RenameIfTaken || a.choice != ""
		// What an administrator said of this computer, the profile is not asked.
		return add(ctx, tx, by, ring, u, c, a.choice != "" && (a.proof != ByToken || a.choice == Succeed))
	}
	d, err := a.chosen(ctx, tx, in.Choice, ID(in.DeviceID))
	if err != nil {
		return Activated{}, err
	}
	if in.Choice == wire.Reactivate {
		d = lastChosen(d, in.Choices)
	}
	return takeOver(ctx, tx, by, ring, u, d, c, in.Choice, in.Name != "")
}

// lastChosen is the device with what its user chose on it last, which it may not
// have been able to tell before. What cannot be meant is as if it were not said,
// so that nobody's computer stays away for it.
func lastChosen(d Device, said json.RawMessage) Device {
	if c, err := checkChoices(said); err == nil && c != nil {
		d.Choices = c
	}
	return d
}

// first refuses another device than the user's first where only that may come.
func (a activation) first(ctx context.Context, tx *db.Tx) error {
	if a.choice != First {
		return nil
	}
	have, err := liveOf(ctx, tx, a.user)
	if err == nil && len(have) > 0 {
		err = errs.Of(errs.FirstDeviceOnly)
	}
	return err
}

// chosen is the device of a choice, if this activation may take it.
func (a activation) chosen(ctx context.Context, tx *db.Tx, choice string, id ID) (Device, error) {
	if choice != wire.Replace && choice != wire.Reactivate || a.choice != "" && (choice != a.choice || id != a.target) {
		return Device{}, errs.New(errs.Forbidden, "device.activation.choice")
	}
	d, err := Find(ctx, tx, id)
	if err == nil && d.User != a.user {
		err = errs.New(errs.NotFound, "device.unknown")
	}
	if err != nil {
		return Device{}, err
	}
	switch {
	case d.State == Disabled:
		return Device{}, errs.New(errs.Forbidden, "device.disabled")
	case !replaceable(d):
		return Device{}, errs.New(errs.Conflict, "device.activation.gone", "name", d.Name)
	case choice == wire.Reactivate && a.choice == "":
		// Whoever is another computer replaces the device: that can be undone.
		if _, found := Match(tx.Now(), a.shown(), []Device{d}); found == "" || found == wire.ByClone {
			return Device{}, errs.New(errs.Conflict, "device.activation.other", "name", d.Name)
		}
	}
	return d, nil
}
