package wire

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/errs"
)

// The ways in which a computer becomes a device.
const (
	Add        = "add"        // one more device
	Replace    = "replace"    // this computer in place of another, whose device goes on
	Reactivate = "reactivate" // the same computer again
)

// What comes back of the files of a device that a computer replaces.
const (
	RestoreNothing = ""
	RestoreFiles   = "files"
)

// BeginActivation says who a computer is to be activated for, and what the
// computer is. Exactly one proof is given: username and password, an activation
// key, or a deployment token.
type BeginActivation struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	SecondFactor  string `json:"second_factor,omitempty"`
	ActivationKey string `json:"activation_key,omitempty"`
	Token         string `json:"token,omitempty"`
	Identity      string `json:"identity,omitempty"` // with a token: whose computer it is, "email:ADDRESS" or "auto"

	RequestID     string    `json:"request_id"` // UUID of the client's, makes the call repeatable
	Hardware      Hardware  `json:"hardware"`
	ClientVersion string    `json:"client_version"`
	System        bool      `json:"system"`
	SigningKey    []byte    `json:"signing_key"` // Ed25519, 32 bytes
	Previous      *Previous `json:"previous,omitempty"`
}

// Previous proves which device a computer was: a signature by that device's key,
// SignPrevious.
type Previous struct {
	DeviceID  string `json:"device_id"`
	Signature []byte `json:"signature"`
}

// The ways in which a computer was found to be one of the user's devices.
const (
	ByKey     = "key"     // it holds the device's key
	ByMachine = "machine" // the same machine id
	BySerial  = "serial"  // the same serial number of the hardware
	ByName    = "name"    // the same name, which proves nothing
	ByClone   = "clone"   // the same machine id, on two computers

	ByAdministrator = "administrator" // who said which device it is to be
)

// Activation is an activation that was begun. It lasts a day.
type Activation struct {
	Activation string    `json:"activation"` // names and permits it
	ExpiresAt  time.Time `json:"expires_at"`
	UserID     string    `json:"user_id"`
	Username   string    `json:"username"`

	Name     string `json:"name"`                // that the device would get
	FreeName string `json:"free_name,omitempty"` // when Name is taken

	// Match is the device that this computer seems to be.
	Match *Match `json:"match,omitempty"`
	// Suggest is what to preselect: Add, Reactivate, or Replace when the user has
	// to choose.
	Suggest string `json:"suggest"`
	// Devices are the user's that may be replaced, the last seen first.
	Devices []DeviceCard `json:"devices"`
	// Refusal is why a device cannot be added, E1202 or E1203; empty when it can.
	Refusal string `json:"refusal,omitempty"`
	Limit   int    `json:"limit"`
	// Retired says that E1202 is about the kind of device, which nobody adds any
	// more.
	Retired bool `json:"retired,omitempty"`
	// Waiting says that an administrator has to approve the device.
	Waiting bool `json:"waiting,omitempty"`
}

// Refused is why a device cannot be added, nil when it can.
func (a *Activation) Refused() *errs.Error {
	switch {
	case a.Refusal == "":
		return nil
	case a.Retired:
		return errs.Of(errs.Code(a.Refusal), "reason", "retired")
	}
	return errs.Of(errs.Code(a.Refusal), "n", a.Limit)
}

// Match names a device and how it was found.
type Match struct {
	DeviceID string `json:"device_id"`
	By       string `json:"by"`
}

// DeviceCard is what people need to know to tell their devices apart.
type DeviceCard struct {
	DeviceID   string     `json:"device_id"`
	Name       string     `json:"name"`
	OS         string     `json:"os"`
	State      string     `json:"state"`
	System     bool       `json:"system"`
	LastSeen   *time.Time `json:"last_seen,omitempty"`
	LastBackup *time.Time `json:"last_backup,omitempty"`
	Bytes      int64      `json:"bytes"`
}

// PreviewActivation asks what a choice would do.
type PreviewActivation struct {
	Activation string `json:"activation"`
	Choice     string `json:"choice"`
	DeviceID   string `json:"device_id,omitempty"`
	// Choices are what the user chose on this computer last, as Status has them,
	// with Reactivate: a computer that was stopped could not tell them.
	Choices json.RawMessage `json:"choices,omitempty"`
}

// Preview is what replacing or reactivating a device changes.
type Preview struct {
	// Returning are folders that the user had taken off and that come back. How
	// large they are only the computer knows.
	Returning []string `json:"returning"`
	// Settings go back to the profile's values.
	Settings []SettingChange `json:"settings"`
	// KeepUnlinked is the profile's policy: no, ask or yes.
	KeepUnlinked string `json:"keep_unlinked"`
	UsedBytes    int64  `json:"used_bytes"`
	QuotaBytes   int64  `json:"quota_bytes"`          // 0: none
	LeftBytes    *int64 `json:"left_bytes,omitempty"` // of the user's quota and the organisation's; absent: without limit
	SameComputer bool   `json:"same_computer"`
	OtherSystem  bool   `json:"other_system"` // paths of the old computer mean nothing on this one
	Snapshots    int64  `json:"snapshots"`
	// Restore is what of a device that is replaced can come back to this computer;
	// nil when there is nothing, or when somebody else than the user began this.
	Restore *Restorable `json:"restore,omitempty"`
}

// Restorable is the newest snapshot of another computer, as far as it is known
// without opening it.
type Restorable struct {
	Files   int64     `json:"files"`
	Bytes   int64     `json:"bytes"`
	At      time.Time `json:"at"`
	OS      string    `json:"os"`
	Home    string    `json:"home,omitempty"` // of its user
	Folders []string  `json:"folders"`        // that it backed up, as it said last
}

// RestoreGrant lets a device fetch what one snapshot has, also while its user is
// not present: the one of the computer that it replaced. Token goes where a user
// token goes, and ends with the restore, or at ExpiresAt.
type RestoreGrant struct {
	ID        string    `json:"id"`
	Token     string    `json:"token"`
	Snapshot  string    `json:"snapshot"` // its hash
	ExpiresAt time.Time `json:"expires_at"`
	Device    string    `json:"device"` // what the other computer was called
	OS        string    `json:"os"`
	Home      string    `json:"home,omitempty"`
}

// SettingChange is a setting of the user's that goes back to the profile's
// value. Both are as profile.Effective says them.
type SettingChange struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// FinishActivation makes the computer a device. It can be repeated: the same
// activation gives the same device.
type FinishActivation struct {
	Activation    string `json:"activation"`
	Choice        string `json:"choice"`
	DeviceID      string `json:"device_id,omitempty"` // of Replace and Reactivate
	Name          string `json:"name,omitempty"`
	RenameIfTaken bool   `json:"rename_if_taken,omitempty"`
	KeepUnlinked  bool   `json:"keep_unlinked,omitempty"` // when the profile leaves it to the user
	Overflows     bool   `json:"overflows,omitempty"`     // what Reactivate brings back would not fit into the quota: it stays off
	Restore       string `json:"restore,omitempty"`       // RestoreFiles or RestoreNothing, of Replace
	// Choices are as in PreviewActivation.
	Choices      json.RawMessage `json:"choices,omitempty"`
	EnrolmentKey []byte          `json:"enrolment_key"` // X-Wing, for this call only
	Signature    []byte          `json:"signature"`     // SignFinish
}

// SignPrevious proves with an old device's key that this computer was that
// device: signed are the device, the new signing key and the request.
func SignPrevious(old ed25519.PrivateKey, device, request backup.UUID, signingKey []byte) []byte {
	return crypt.Sign(old, "previous", previousMessage(device, request, signingKey))
}

// VerifyPrevious checks it.
func VerifyPrevious(old []byte, device, request backup.UUID, signingKey, signature []byte) error {
	return crypt.VerifySignature(old, "previous", previousMessage(device, request, signingKey), signature)
}

func previousMessage(device, request backup.UUID, signingKey []byte) []byte {
	return append(append(append([]byte{}, device[:]...), request[:]...), signingKey...)
}

// SignFinish proves that who ends an activation holds the key that it was begun
// with: signed are the hashes of the activation and of the enrolment key.
func SignFinish(private ed25519.PrivateKey, activation string, enrolmentKey []byte) []byte {
	return crypt.Sign(private, "finish", finishMessage(activation, enrolmentKey))
}

// VerifyFinish checks it.
func VerifyFinish(signingKey []byte, activation string, enrolmentKey, signature []byte) error {
	return crypt.VerifySignature(signingKey, "finish", finishMessage(activation, enrolmentKey), signature)
}

func finishMessage(activation string, enrolmentKey []byte) []byte {
	a, k := sha256.Sum256([]byte(activation)), sha256.Sum256(enrolmentKey)
	return append(a[:], k[:]...)
}

// BeginActivation proves who the computer is to be activated for.
func (c *Client) BeginActivation(ctx context.Context, in BeginActivation) (Activation, error) {
	var out Activation
	return out, c.json(ctx, call{method: http.MethodPost, path: "activations", in: in, once: true}, &out)
}

// PreviewActivation asks what a choice would do; it does nothing.
func (c *Client) PreviewActivation(ctx context.Context, in PreviewActivation) (Preview, error) {
	var out Preview
	return out, c.json(ctx, call{method: http.MethodPost, path: "activations/preview", in: in}, &out)
}

// FinishActivation makes this computer a device. While an administrator has to
// approve it, the error is device.waiting, and the call is to be repeated.
func (c *Client) FinishActivation(ctx context.Context, in FinishActivation) (Activated, error) {
	var out Activated
	return out, c.json(ctx, call{method: http.MethodPost, path: "activations/finish", in: in, once: true}, &out)
}
