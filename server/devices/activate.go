package devices

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

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

// Activation is a computer that wants to become a device.
type Activation struct {
	RequestID     string // a UUID of the client's, makes the call repeatable
	Name          string // the host name when empty
	RenameIfTaken bool   // or fail with E1201
	Hardware      wire.Hardware
	ClientVersion string
	System        bool
	SigningKey    []byte // Ed25519
	EnrolmentKey  []byte // X-Wing, for this once
	Previous      *wire.Previous

	waits    bool   // for an administrator
	replaces ID     // the device that this one is to succeed
	brings   bool   // what the computer had that it replaces
	token    string // the deployment token that lets it in, empty: something else does

	// Of a device that is activated again: the user wants the folders that were
	// taken off to stay off; they would not fit into the quota.
	keeps, overflows bool
}

// Activated is a device and what it needs to write.
type Activated struct {
	Device  Device
	User    accounts.User
	Choice  string // wire.Add, wire.Replace or wire.Reactivate; empty for a repeated one
	Set     string
	Epoch   uint64
	Secrets []byte             // sealed to the enrolment key, docs/format.md 8; nil while the device waits
	Before  wire.Hardware      // the computer that was replaced
	Restore *wire.RestoreGrant // of its files, when they come back
}

// Activate makes a computer a device of u, who has just proved to be u; by is
// that user. A computer that proves to hold the key of a device of u's is that
// device again. Any other is one more: it fails with E1202 and E1203 when the
// profile does not allow another device, with E1201 when the name is taken, and
// with E1301 when it is the first and the licence has no seat for the user. The
// same request with the same signing key gets the same device, its secrets
// sealed again.
func Activate(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User, a Activation) (Activated, error) {
	if err := a.normalise(); err != nil {
		return Activated{}, err
	}
	u, err := eligible(ctx, tx, by, u.ID)
	if err != nil {
		return Activated{}, err
	}
	d, err := findWhere(ctx, tx, "d.user_id = $1 AND d.request_id = $2", u.ID, a.RequestID)
	if err == nil {
		return again(ctx, tx, ring, u, d, a)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return Activated{}, fmt.Errorf("looking for activation %s: %w", a.RequestID, err)
	}
	held, trusted, err := keyHolder(ctx, tx, u.ID, a.Previous, a.RequestID, a.SigningKey)
	if err != nil {
		return Activated{}, err
	}
	if held != "" && trusted {
		d, err := activation{user: u.ID, hardware: a.Hardware, system: a.System, previous: held}.chosen(ctx, tx, wire.Reactivate, held)
		if err != nil {
			return Activated{}, err
		}
		return takeOver(ctx, tx, by, ring, u, d, a, wire.Reactivate, false)
	}
	return add(ctx, tx, by, ring, u, a, false)
}

// add makes one more device, as far as the profile lets users do that or an
// administrator has said so. What becomes of one whose name is taken the
// profile says, unless a name with a number is asked for.
func add(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User, a Activation, ordered bool) (Activated, error) {
	p, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return Activated{}, err
	}
	other, taken, err := named(ctx, tx, u.ID, a.Name)
	if err != nil {
		return Activated{}, err
	}
	if taken && !ordered && p.Settings.SameName == profile.SameReplace && replaceable(other) {
		return takeOver(ctx, tx, by, ring, u, other, a, wire.Replace, false)
	}
	if err := offered(ctx, tx, a.System, a.Hardware.OS); err != nil {
		return Activated{}, err
	}
	if ordered {
		err = accounts.TakeSeat(ctx, tx, ring, u.ID)
	} else {
		err = admit(ctx, tx, ring, u, p.Settings)
	}
	if err != nil {
		return Activated{}, err
	}
	name, err := freeName(ctx, tx, u.ID, a.Name, a.RenameIfTaken || ordered || p.Settings.SameName == profile.SameAllow)
	if err != nil {
		return Activated{}, err
	}
	return create(ctx, tx, by, ring, u, name, a)
}

func (a *Activation) normalise() (err error) {
	if _, err := uuid.Parse(a.RequestID); err != nil {
		return errs.New(errs.Invalid, "device.request.invalid")
	}
	if err := checkHardware(a.Hardware, a.ClientVersion); err != nil {
		return err
	}
	if strings.TrimSpace(a.Name) == "" {
		a.Name = a.Hardware.Hostname
	}
	if a.Name, err = checkName(a.Name); err != nil {
		return err
	}
	if len(a.SigningKey) != ed25519.PublicKeySize {
		return errs.New(errs.Invalid, "device.key.invalid")
	}
	return nil
}

func checkHardware(h wire.Hardware, version string) error {
	for _, s := range []string{h.MachineID, h.Serial, h.Hostname, h.OS, h.OSVersion, h.Arch, h.OSUser, version} {
		if len(s) > maxField || !printable(s) {
			return errs.New(errs.Invalid, "device.hardware.invalid", "n", maxField)
		}
	}
	return nil
}

// admit asks the profile whether the user may have one more device, and takes
// a seat of the licence for the first.
func admit(ctx context.Context, tx *db.Tx, ring *keys.Ring, u accounts.User, s profile.Settings) error {
	have, err := liveOf(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if refused := refusal(s, have); refused != nil {
		return refused
	}
	return accounts.TakeSeat(ctx, tx, ring, u.ID)
}

// refusal says why a profile lets nobody add a device who has some, nil when it
// does.
func refusal(s profile.Settings, have []Device) *errs.Error {
	if !s.AllowAddDevices {
		return errs.Of(errs.AddDeviceNotAllowed)
	}
	if len(have) < s.MaxDevices {
		return nil
	}
	cards := make([]wire.DeviceCard, len(have))
	for i, d := range have {
		cards[i] = card(d)
	}
	return errs.Of(errs.TooManyDevices, "n", s.MaxDevices, "devices", cards)
}

func sameName(d Device) error {
	return errs.Of(errs.SameDeviceName, "device", card(d))
}

// freeName returns name, or name-2, name-3 and so on when it is taken and that
// is wanted.
func freeName(ctx context.Context, tx *db.Tx, user accounts.ID, name string, rename bool) (string, error) {
	try := name
	for n := 2; ; n++ {
		other, taken, err := named(ctx, tx, user, try)
		if err != nil {
			return "", err
		}
		if !taken {
			return try, nil
		}
		if !rename {
			return "", sameName(other)
		}
		suffix := fmt.Sprintf("-%d", n)
		base := []rune(name)
		try = string(base[:min(len(base), maxName-len(suffix))]) + suffix
	}
}

const firstSerial = 1

func create(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, u accounts.User, name string, a Activation) (Activated, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Activated{}, fmt.Errorf("creating a device: %w", err)
	}
	set, err := uuid.NewV7()
	if err != nil {
		return Activated{}, fmt.Errorf("creating a set: %w", err)
	}
	d := Device{ID: ID(id.String()), Org: u.Org, User: u.ID, requestID: a.RequestID, State: Active, StateAt: tx.Now(), Name: name,
		Named:    orgs.Fold(a.Name) != orgs.Fold(HostName(a.Hardware)) && orgs.Fold(a.Name) != orgs.Fold(a.Hardware.Hostname),
		Hardware: a.Hardware, System: a.System, ClientVersion: a.ClientVersion, SigningKey: a.SigningKey, CertSerial: firstSerial, RootEpoch: 1,
		Replaces: a.replaces, Token: a.token, LastSeenAt: tx.Now(), LastIP: by.IP, ChangedAt: tx.Now(), CreatedAt: tx.Now(), ActivatedAt: tx.Now()}
	if a.waits {
		d.State = Waiting
	}
	done, err := certify(ring, u, d, a.EnrolmentKey)
	if err != nil {
		return Activated{}, err
	}
	d, done.Set, done.Choice = done.Device, set.String(), wire.Add
	err = audit.Check(ctx, tx, by, access.Activate, u.Org, u.ID, object(d.ID), audit.Change("name", nil, d.Name),
		audit.Note("hostname", d.Hardware.Hostname), audit.Note("os", d.Hardware.OS), audit.Note("system", d.System))
	if err != nil {
		return Activated{}, err
	}
	locked, err := lockOn(ctx, tx, d.User, d.Hardware)
	if err != nil {
		return Activated{}, err
	}
	if err := insert(ctx, tx, d); err != nil {
		return Activated{}, fmt.Errorf("creating device %q: %w", name, err)
	}
	if !locked.IsZero() {
		if err := writeLock(ctx, tx, d.ID, locked); err != nil {
			return Activated{}, err
		}
	}
	_, err = tx.Exec(ctx, "INSERT INTO sets (id, org, user_id, device, created_at) VALUES ($1, $2, $3, $4, $5)",
		set.String(), d.Org, d.User, d.ID, db.Micros(tx.Now()))
	if err != nil {
		return Activated{}, fmt.Errorf("creating the set of device %q: %w", name, err)
	}
	return done, nil
}

// certify gives a device its certificate, and its secrets unless it waits.
func certify(ring *keys.Ring, u accounts.User, d Device, enrolmentKey []byte) (Activated, error) {
	enrolled, err := ring.Enrol(keys.Enrolment{Org: u.Org, User: u.ID, Device: d.ID, Gen: u.Keys.Gen, Wrapped: u.Keys.Wrapped,
		SigningKey: d.SigningKey, EnrolmentKey: enrolmentKey, Serial: d.CertSerial, NotBefore: d.ActivatedAt})
	if err != nil {
		return Activated{}, err
	}
	d.Cert = enrolled.Cert
	out := Activated{Device: d, User: u, Epoch: enrolled.Epoch, Secrets: enrolled.Sealed}
	if d.State == Waiting {
		out.Secrets = nil
	}
	return out, nil
}

// again answers a repeated activation. Who sends it may have lost the first
// answer, and with it the enrolment key.
func again(ctx context.Context, tx *db.Tx, ring *keys.Ring, u accounts.User, d Device, a Activation) (Activated, error) {
	if !bytes.Equal(d.SigningKey, a.SigningKey) {
		return Activated{}, errs.New(errs.Conflict, "device.request.used")
	}
	if d.State != Active && d.State != Waiting {
		return Activated{}, verdict(d.State, d.ResetAt, accounts.Active)
	}
	done, err := certify(ring, u, d, a.EnrolmentKey)
	if err != nil {
		return Activated{}, err
	}
	done.Device.Cert = d.Cert // Ed25519 gives the same one; what is stored counts
	done.Set, err = SetOf(ctx, tx, d.ID)
	return done, err
}
