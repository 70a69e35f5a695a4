package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// Activation is what somebody says to make this computer a device.
type Activation struct {
	Server      string
	Fingerprint string // of the server's key, or "" to trust the system's roots
	Username    string
	Password    string
	Code        string // of the second factor, "" while nobody asked for one
	Key         string // of an administrator's, in place of name and password
	Token       string // of a deployment, likewise
	Identity    string // with a token: whose computer it is, as wire.BeginActivation has it
	System      bool   // it backs up with the system's rights
}

// Choice is what becomes of a computer whose activation was begun.
type Choice struct {
	Choice       string // wire.Add, wire.Replace or wire.Reactivate
	DeviceID     string // that is replaced or reactivated
	Name         string // the computer's own when empty
	Rename       bool   // to a name with a number, when it is taken
	KeepUnlinked bool   // folders that the user took off stay off, as far as the profile lets them
	Overflows    bool   // they stay off, since they would not fit into the quota

	// Restore is what comes back of the files of a device that is replaced,
	// wire.RestoreFiles or wire.RestoreNothing; Maps say where, beside what goes
	// without saying. The agent brings it back in the background.
	Restore string
	Maps    []state.PathMap
}

// Begin proves to the server who this computer is to be activated for, and
// returns what it may become; Preview and Finish go on, and so may another
// process within a day, by Begun. Who this computer was, its device of before
// proves. The caller holds the state folder's lock.
func Begin(ctx context.Context, st *state.State, client *wire.Client, in Activation) (*wire.Activation, error) {
	p, err := pending(st, in)
	if err != nil {
		return nil, err
	}
	begin := wire.BeginActivation{
		Username: in.Username, Password: in.Password, SecondFactor: in.Code, ActivationKey: in.Key,
		Token: in.Token, Identity: in.Identity, RequestID: p.RequestID, Hardware: Hardware(),
		ClientVersion: version.Number(), System: in.System, SigningKey: publicKey(p),
	}
	if begin.Previous, err = previous(st, p); err != nil {
		return nil, err
	}
	out, err := client.BeginActivation(ctx, begin)
	if err != nil {
		return nil, err
	}
	p.Begun, p.Choice, p.Waits, p.Root = &out, nil, false, rootOf(in.Token)
	return &out, st.SetPending(p)
}

// pending returns the activation that was begun for the same user, or a new
// one, on the disk before the server hears of it: repeated, it gives the same
// device.
func pending(st *state.State, in Activation) (*state.Pending, error) {
	p, err := st.Pending()
	if err != nil {
		return nil, err
	}
	if p != nil && p.Server == in.Server && p.Username == in.Username && p.System == in.System && !ended(st, p) {
		p.Fingerprint = in.Fingerprint
		return p, nil
	}
	p = &state.Pending{
		Server: in.Server, Fingerprint: in.Fingerprint, Username: in.Username, System: in.System,
		RequestID: uuid.NewString(), SigningSeed: make([]byte, ed25519.SeedSize),
	}
	rand.Read(p.SigningSeed)
	return p, st.SetPending(p)
}

// ended reports whether the device that this computer is, or was, came of an
// activation: it was switched off before it forgot that one.
func ended(st *state.State, p *state.Pending) bool {
	d, err := st.Device()
	return err == nil && bytes.Equal(d.Signing.Seed(), p.SigningSeed)
}

func publicKey(p *state.Pending) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(p.SigningSeed).Public().(ed25519.PublicKey)
}

// previous proves which device this computer was on that server, nil when it was
// none.
func previous(st *state.State, p *state.Pending) (*wire.Previous, error) {
	d, err := st.Device()
	if errs.Is(err, errs.NotActivated) || err == nil && d.Server != p.Server {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	request, err := backup.ParseUUID(p.RequestID)
	if err != nil {
		return nil, err
	}
	return &wire.Previous{DeviceID: d.ID.String(), Signature: wire.SignPrevious(d.Signing, d.ID, request, publicKey(p))}, nil
}

// Begun returns the activation that goes on, nil when there is none or its day
// is over.
func Begun(st *state.State, now time.Time) (*state.Pending, error) {
	p, err := st.Pending()
	if err != nil || p == nil || p.Begun == nil || !now.Before(p.Begun.ExpiresAt) {
		return nil, err
	}
	return p, nil
}

// Returning is a folder that its user had taken off and that comes back.
type Returning struct {
	Path  string
	Files int64
	Bytes int64
}

// Preview is what a choice changes.
type Preview struct {
	wire.Preview
	Folders []Returning // Preview.Returning, as they are on this computer
	// Overflows says that with them the user would have more than the quota: they
	// stay off.
	Overflows bool
	UsedAfter int64 // of the quota
}

// PreviewChoice asks what a choice would change, and measures what it brings
// back.
func PreviewChoice(ctx context.Context, st *state.State, client *wire.Client, choice, device string) (*Preview, error) {
	p, err := begun(st)
	if err != nil {
		return nil, err
	}
	asked := wire.PreviewActivation{Activation: p.Begun.Activation, Choice: choice, DeviceID: device}
	if asked.Choices, err = lastChosen(st, p, choice); err != nil {
		return nil, err
	}
	out, err := client.PreviewActivation(ctx, asked)
	if err != nil {
		return nil, err
	}
	preview := &Preview{Preview: out}
	var returning int64
	for _, path := range out.Returning {
		f := Returning{Path: path}
		for _, here := range (profile.Settings{Folders: []profile.Folder{{Path: path}}}).Paths(home()) {
			f.Path = here
			f.Files, f.Bytes = measure(ctx, []string{here}, func(string) bool { return false })
		}
		returning += f.Bytes
		preview.Folders = append(preview.Folders, f)
	}
	preview.Overflows = out.LeftBytes != nil && len(out.Returning) > 0 && returning > *out.LeftBytes
	preview.UsedAfter = out.UsedBytes
	if !preview.Overflows {
		preview.UsedAfter += returning
	}
	return preview, ctx.Err()
}

func begun(st *state.State) (*state.Pending, error) {
	p, err := st.Pending()
	if err == nil && (p == nil || p.Begun == nil) {
		err = errs.New(errs.Conflict, "activation.none")
	}
	return p, err
}

// lastChosen is what the user who activates this computer again chose on it last,
// nil when it was not their device.
func lastChosen(st *state.State, p *state.Pending, choice string) ([]byte, error) {
	d, err := st.Device()
	if choice != wire.Reactivate || errs.Is(err, errs.NotActivated) {
		return nil, nil
	}
	if err != nil || d.Server != p.Server || d.User.String() != p.Begun.UserID {
		return nil, err
	}
	c, err := st.Choices()
	return c.Encode(), err
}

// Finish makes this computer the device that was chosen and remembers it. What
// it remembers of its set stays, so that a reactivated device goes on with its
// next incremental backup. While an administrator has to approve the device the
// error is device.waiting; the choice is remembered, and Finish is to be called
// again, by whichever process, with the same. The caller holds the state
// folder's lock.
func Finish(ctx context.Context, st *state.State, client *wire.Client, choice Choice) (*state.Device, error) {
	p, err := begun(st)
	if err != nil {
		return nil, err
	}
	private, public, err := crypt.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("making the one-time key: %w", err)
	}
	signing := ed25519.NewKeyFromSeed(p.SigningSeed)
	finish := wire.FinishActivation{Activation: p.Begun.Activation, Choice: choice.Choice, DeviceID: choice.DeviceID, Name: choice.Name,
		RenameIfTaken: choice.Rename, KeepUnlinked: choice.KeepUnlinked, Overflows: choice.Overflows, Restore: choice.Restore}
	p.Choice, p.Maps = &finish, choice.Maps
	if err := st.SetPending(p); err != nil {
		return nil, err
	}
	asked := finish
	if asked.Choices, err = lastChosen(st, p, choice.Choice); err != nil {
		return nil, err
	}
	asked.EnrolmentKey, asked.Signature = public, wire.SignFinish(signing, p.Begun.Activation, public)
	out, err := client.FinishActivation(ctx, asked)
	if err != nil {
		e := errs.Find(err)
		p.Waits = e != nil && e.Key == "device.waiting"
		if lost := st.SetPending(p); lost != nil {
			return nil, lost
		}
		return nil, err
	}
	device, err := accept(out, signing, private)
	if err != nil {
		return nil, fmt.Errorf("checking what the server answered: %w", err)
	}
	if err := trusted(p, device); err != nil {
		return nil, err
	}
	device.Server, device.Fingerprint, device.System = p.Server, p.Fingerprint, p.System
	if err := remember(st, device, out, choice.Maps); err != nil {
		return nil, err
	}
	return device, st.SetPending(nil)
}

// remember keeps who the device is, and what it begins with: the folders of the
// computer that it replaces, as they are called here, and what comes back of it.
func remember(st *state.State, device *state.Device, out wire.Activated, maps []state.PathMap) error {
	err := st.SetProfile(state.Profile{Version: out.Profile.Version, Name: out.Profile.Name, Settings: out.Profile.Settings})
	if err != nil {
		return err
	}
	choices, err := begins(st, out, maps)
	if err != nil {
		return err
	}
	if err := st.SetChoices(choices); err != nil {
		return err
	}
	if err := rememberRestore(st, out, maps); err != nil {
		return err
	}
	return st.SetDevice(device)
}

// rememberRestore keeps what comes back, or goes on to. What was to come back to
// another device than this one is now does not.
func rememberRestore(st *state.State, out wire.Activated, maps []state.PathMap) error {
	old, err := st.Restore()
	if err != nil {
		return err
	}
	switch {
	case out.Restore == nil && (out.Choice == wire.Add || out.Choice == wire.Replace):
		return st.SetRestore(nil)
	case out.Restore == nil:
		return nil
	case old != nil && old.ID == out.Restore.ID:
		old.Token, old.Expires, old.State, old.Note = out.Restore.Token, out.Restore.ExpiresAt, wire.RestoreRunning, errs.Note{}
		return st.SetRestore(old)
	}
	return st.SetRestore(restoreOf(*out.Restore, maps, time.Now()))
}

// carried are the folders of another computer as they are called on this one.
// Those of another system that are nowhere here are left out.
func carried(folders []string, out wire.Activated, maps []state.PathMap) (here []string) {
	m := move{fromOS: cmp.Or(out.OldOS, runtime.GOOS), fromHome: out.OldHome, toOS: runtime.GOOS, toHome: home(), maps: maps}
	for _, f := range folders {
		if r := m.target(inCatalog(m.fromOS, f)); !r.aside {
			here = append(here, r.to)
		} else if m.fromOS == m.toOS {
			here = append(here, f)
		}
	}
	return here
}

// accept checks the answer: the chain of certificates down to this device's
// key, and that the ids and keys are the ones certified.
func accept(out wire.Activated, signing ed25519.PrivateKey, oneTime []byte) (*state.Device, error) {
	d := &state.Device{
		Name: out.DeviceName, Username: out.Username, KeyGen: out.KeyGen, Epoch: out.Epoch, UserKey: out.UserKey,
		DeviceCert: out.DeviceCert, UserCert: out.UserCert, OrgRecord: out.OrgRecord, Signing: signing,
	}
	for _, id := range []struct {
		text string
		to   *backup.UUID
	}{{out.DeviceID, &d.ID}, {out.SetID, &d.Set}, {out.UserID, &d.User}, {out.OrgID, &d.Org}, {out.ScopeID, &d.Scope}} {
		var err error
		if *id.to, err = backup.ParseUUID(id.text); err != nil {
			return nil, err
		}
	}
	var err error
	if d.Store, err = state.ParseStore(out.StoreID); err != nil {
		return nil, err
	}
	certs, err := decodeCerts(d)
	if err != nil {
		return nil, err
	}
	public := signing.Public().(ed25519.PublicKey)
	if certs.device.Device != d.ID || certs.device.User != d.User || certs.device.Org != d.Org ||
		!bytes.Equal(certs.device.Key[:], public) || !bytes.Equal(certs.user.PublicKey, d.UserKey) || certs.user.Gen != d.KeyGen {
		return nil, errs.Of(errs.Mismatch).Because(fmt.Errorf("the certificates are not for this device"))
	}
	secrets, err := crypt.OpenEnrolment(oneTime, d.User, d.ID, public, out.SealedSecrets)
	if err != nil {
		return nil, err
	}
	if secrets.KeyGen != d.KeyGen || secrets.Epoch != d.Epoch {
		return nil, errs.Of(errs.Mismatch).Because(fmt.Errorf("the secrets are of another generation"))
	}
	d.ScopeSecret, d.ChunkerSecret = secrets.Scope, secrets.Chunker
	return d, nil
}

type certs struct {
	org    *snapshot.OrgRecord
	user   *snapshot.UserCert
	device *snapshot.DeviceCert
}

// decodeCerts reads a device's certificates and checks their chain.
func decodeCerts(d *state.Device) (c certs, err error) {
	if c.org, err = snapshot.DecodeOrgRecord(d.OrgRecord); err != nil {
		return c, err
	}
	if c.user, err = snapshot.DecodeUserCert(d.UserCert); err != nil {
		return c, err
	}
	if c.device, err = snapshot.DecodeDeviceCert(d.DeviceCert); err != nil {
		return c, err
	}
	return c, snapshot.VerifyChain(c.org, c.user, c.device)
}
