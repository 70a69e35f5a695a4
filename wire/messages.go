// Package wire is what a device and the server say to each other: the messages
// of docs/protocol.md, their limits, and the client side of the connection. The
// two programs meet only here. A field, once released, keeps its name and
// meaning; new fields are optional.
package wire

import (
	"encoding/json"
	"time"

	"github.com/backstay/backstay/errs"
)

// Limits of the protocol.
const (
	MaxJSON     = 1 << 20  // bytes of a JSON body
	MaxHave     = 1000     // ids in one have or read call
	MaxMissing  = 10_000   // ids listed in a refused commit
	MaxWait     = 60       // seconds of a long poll
	PackBytes   = 64 << 20 // bytes of records in one put
	RecordBytes = 8454144  // bytes of one sealed object, format.md section 4
)

// Prefix is where the calls live, Header names the fields they use.
const (
	Prefix           = "/agent/v1/"
	HeaderVersion    = "Backstay-Version"
	HeaderRequestID  = "Backstay-Request-Id"
	HeaderUserToken  = "Backstay-User-Token"
	MediaTypeOctets  = "application/octet-stream"
	MediaTypeProblem = "application/problem+json"
)

// Problem is an error as RFC 9457 has it, with the product's code.
type Problem struct {
	Type      string      `json:"type,omitempty"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	Code      string      `json:"code,omitempty"`
	Key       string      `json:"key,omitempty"` // message key, so that the client can say it in its own language
	Retryable bool        `json:"retryable"`
	RequestID string      `json:"request_id,omitempty"`
	Data      errs.Values `json:"data,omitempty"`
}

// Hello is what a server says of itself to anybody.
type Hello struct {
	ServerTime time.Time `json:"server_time"`
	Version    string    `json:"version"`
	MinClient  string    `json:"min_client"`
	Name       string    `json:"name"`
}

// Hardware is what identifies a computer, as far as its system tells.
type Hardware struct {
	MachineID string `json:"machine_id,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Hostname  string `json:"hostname"`
	OS        string `json:"os"`
	OSVersion string `json:"os_version,omitempty"`
	Arch      string `json:"arch"`
	OSUser    string `json:"os_user,omitempty"`
	OSHome    string `json:"os_home,omitempty"` // of OSUser
}

// Activate asks to make this computer a device of a user.
type Activate struct {
	Username      string   `json:"username"`
	Password      string   `json:"password"`
	RequestID     string   `json:"request_id"` // UUID of the client's, makes the call repeatable
	Name          string   `json:"name"`
	RenameIfTaken bool     `json:"rename_if_taken"`
	Hardware      Hardware `json:"hardware"`
	ClientVersion string   `json:"client_version"`
	System        bool     `json:"system"`                  // backs up with the system's rights
	SigningKey    []byte   `json:"signing_key"`             // Ed25519, 32 bytes
	EnrolmentKey  []byte   `json:"enrolment_key"`           // X-Wing, 1,216 bytes, for this call only
	SecondFactor  string   `json:"second_factor,omitempty"` // a code, of a user who has a second factor

	// Previous is the device that this computer was: it becomes that one again.
	Previous *Previous `json:"previous,omitempty"`
}

// Activated is a device's identity and what it needs to write.
type Activated struct {
	DeviceID      string  `json:"device_id"`
	DeviceName    string  `json:"device_name"`
	SetID         string  `json:"set_id"`
	UserID        string  `json:"user_id"`
	Username      string  `json:"username"`
	OrgID         string  `json:"org_id"`
	StoreID       string  `json:"store_id"` // 32 hex digits
	KeyGen        uint64  `json:"key_gen"`
	Epoch         uint64  `json:"epoch"`
	ScopeID       string  `json:"scope_id"`
	UserKey       []byte  `json:"user_key"`       // pk_u
	SealedSecrets []byte  `json:"sealed_secrets"` // format.md 8, enrolment
	DeviceCert    []byte  `json:"device_cert"`
	UserCert      []byte  `json:"user_cert"`
	OrgRecord     []byte  `json:"org_record"`
	Profile       Profile `json:"profile"`
	// Choice is what was done: Add, Replace or Reactivate. Choices is the JSON of
	// profile.Choices that the device begins with; empty: none.
	Choice    string          `json:"choice,omitempty"`
	Choices   json.RawMessage `json:"choices,omitempty"`
	RootEpoch int64           `json:"root_epoch,omitempty"`
	// OldOS and OldHome are of the computer that was replaced: its folders are
	// called otherwise here.
	OldOS   string `json:"old_os,omitempty"`
	OldHome string `json:"old_home,omitempty"`
	// Restore permits what FinishActivation asked to bring back.
	Restore *RestoreGrant `json:"restore,omitempty"`
	Quota   *Quota        `json:"quota,omitempty"` // of the user; absent: none
}

// ChallengeRequest asks for a challenge to sign.
type ChallengeRequest struct {
	DeviceID string `json:"device_id"`
}

// Challenge is good once and for 60 seconds.
type Challenge struct {
	Challenge []byte `json:"challenge"`
}

// TokenRequest proves the device key.
type TokenRequest struct {
	DeviceID  string `json:"device_id"`
	Challenge []byte `json:"challenge"`
	Signature []byte `json:"signature"`
}

// UserTokenRequest proves that the device's user is present. A code is not
// asked for again from who shows a token that was given for one, as
// Backstay-User-Token.
type UserTokenRequest struct {
	Password     string `json:"password"`
	SecondFactor string `json:"second_factor,omitempty"`
}

// Token is a bearer token and when it ends.
type Token struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Profile is the settings in force for a device. Settings is the JSON of
// profile.Settings.
type Profile struct {
	Version  int64           `json:"version"`
	Name     string          `json:"name"`
	Settings json.RawMessage `json:"settings"`
}

// Progress is how far a run is.
type Progress struct {
	Files      int64  `json:"files"`
	TotalFiles int64  `json:"total_files,omitempty"` // an estimate, 0 when unknown
	Bytes      int64  `json:"bytes"`
	TotalBytes int64  `json:"total_bytes,omitempty"`
	Sent       int64  `json:"sent"`
	Errors     int64  `json:"errors"`
	Waits      int64  `json:"waits,omitempty"` // minutes until it goes on that the server, being busy, lets wait
	Folder     string `json:"folder,omitempty"`
}

// The states a device reports.
const (
	StateIdle    = "idle"
	StateRunning = "running"
	StatePaused  = "paused"
	StateFailed  = "failed"
)

// Status is the heartbeat. It carries no file names: Progress.Folder stays on
// the device.
type Status struct {
	State         string     `json:"state"`
	Code          string     `json:"code,omitempty"` // the last failure's
	Progress      *Progress  `json:"progress,omitempty"`
	Folders       []string   `json:"folders"`
	NextRun       *time.Time `json:"next_run,omitempty"`
	Hardware      Hardware   `json:"hardware"`
	ClientVersion string     `json:"client_version"`
	// Choices is the JSON of profile.Choices that the device's user made; absent
	// when they are as the server knows them.
	Choices json.RawMessage `json:"choices,omitempty"`
	// Restore is how what comes back from another computer goes on.
	Restore *Restoring `json:"restore,omitempty"`
}

// The states of a restore beside backups.
const (
	RestoreRunning   = "running"
	RestoreWaiting   = "waiting" // for the server, or for room on the disk
	RestoreFailed    = "failed"  // it needs somebody
	RestoreDone      = "done"
	RestoreCancelled = "cancelled"
)

// Restoring is how a restore beside backups goes on. It carries no file names.
type Restoring struct {
	ID       string   `json:"id"`
	State    string   `json:"state"`
	Code     string   `json:"code,omitempty"` // why it waits or failed
	Progress Progress `json:"progress"`
}

// StatusAnswer tells a device what it may have missed.
type StatusAnswer struct {
	ProfileVersion int64     `json:"profile_version"`
	ServerTime     time.Time `json:"server_time"`
	Locked         bool      `json:"locked,omitempty"`  // nothing is shown or restored here
	Retired        bool      `json:"retired,omitempty"` // its kind is no longer offered
	Name           string    `json:"name"`              // of the device, which others may change
	// Offer names the computer whose files the user may have brought back here;
	// empty: none.
	Offer string `json:"offer,omitempty"`
	Quota *Quota `json:"quota,omitempty"` // of the user; absent: none
}

// Quota is how much a user may have backed up, and has.
type Quota struct {
	LimitBytes int64 `json:"limit_bytes"`
	UsedBytes  int64 `json:"used_bytes"`
}

// The kinds of requests a server makes of a device.
const (
	RequestBackup  = "backup"
	RequestProfile = "profile"
)

// Request is something the server asks of a device.
type Request struct {
	Number int64           `json:"number"`
	Kind   string          `json:"kind"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// Known is what a device knows when it begins a long poll. What differs from it
// is news.
type Known struct {
	After  int64  // the highest number of a request that it was told
	Locked bool   // nothing is shown or restored on it
	Offer  string // whose files may be brought back to it
}

// Next is the answer to a long poll.
type Next struct {
	Requests       []Request `json:"requests"`
	ProfileVersion int64     `json:"profile_version"`
	Locked         bool      `json:"locked,omitempty"` // as StatusAnswer has it, and the offer
	Offer          string    `json:"offer,omitempty"`
}

// Outcome says what became of a request: taken, done, failed or unsupported.
type Outcome struct {
	State string `json:"state"`
	Code  string `json:"code,omitempty"`
}

// OpenSession opens the set's backup session, or finds the unfinished one.
type OpenSession struct {
	SetID string `json:"set_id"`
}

// Head is the newest snapshot of a set.
type Head struct {
	Hash   string `json:"hash"`
	Seq    uint64 `json:"seq"`
	RefsID string `json:"refs_id"`
	Status string `json:"status"`
	Bytes  int64  `json:"bytes"` // of its files
}

// SessionLimits are the server's, at most those of this package.
type SessionLimits struct {
	PackBytes   int64 `json:"pack_bytes"`
	RecordBytes int64 `json:"record_bytes"`
	HaveIDs     int   `json:"have_ids"`
}

// Session is an open backup session.
type Session struct {
	SessionID      string        `json:"session_id"`
	Nonce          []byte        `json:"nonce"` // 32 bytes, goes into the manifest
	Resumed        bool          `json:"resumed"`
	ExpiresAt      time.Time     `json:"expires_at"`
	Head           *Head         `json:"head,omitempty"`
	GCEpoch        uint64        `json:"gc_epoch"`
	StoreID        string        `json:"store_id"`
	ProfileVersion int64         `json:"profile_version"`
	Known          bool          `json:"known"`
	Damaged        []string      `json:"damaged,omitempty"`
	Limits         SessionLimits `json:"limits"`
	Room           *Room         `json:"room,omitempty"` // absent: without limit
}

// Room is how many bytes of files the next snapshot of a device may have.
type Room struct {
	Bytes int64  `json:"bytes"`
	Quota int64  `json:"quota"` // that bounds it
	Of    string `json:"of"`    // whose that is: user or org
}

// Rejected is a record the server refused.
type Rejected struct {
	ID     string `json:"id"`
	Reason string `json:"reason"` // "hash", "kind" or "size"
}

// PutAnswer says what became of a put's records.
type PutAnswer struct {
	Records  int        `json:"records"`
	Rejected []Rejected `json:"rejected,omitempty"`
}

// Lacking is what a snapshot does not have of this backup, by the device's word.
type Lacking struct {
	Waiting int64 // files that wait for room on the quota
	Carried int64 // folders that were not read: they are as the snapshot before has them
}

// Committed is a visible snapshot.
type Committed struct {
	Snapshot string `json:"snapshot"` // first 16 hex digits of Hash
	Hash     string `json:"hash"`
	Seq      uint64 `json:"seq"`
	Receipt  []byte `json:"receipt"`
}

// Snapshot is what lists show of a snapshot without opening it.
type Snapshot struct {
	Snapshot    string    `json:"snapshot"`
	Hash        string    `json:"hash"`
	Seq         uint64    `json:"seq"`
	DeviceID    string    `json:"device_id"`
	Status      string    `json:"status"` // complete, partial or suspicious
	StartedAt   time.Time `json:"started_at"`
	CommittedAt time.Time `json:"committed_at"`
	Entries     int64     `json:"entries"`
	Files       int64     `json:"files"`
	Bytes       int64     `json:"bytes"`
	Unreadable  int64     `json:"unreadable"`
}

// Snapshots is a list of them, newest first.
type Snapshots struct {
	Snapshots []Snapshot `json:"snapshots"`
}

// Open asks for a snapshot's root key, sealed to a one-time key.
type Open struct {
	RecipientKey []byte `json:"recipient_key"`
}

// Opening is a manifest and the private part of it, sealed to the asker.
type Opening struct {
	Manifest []byte `json:"manifest"`
	Opening  []byte `json:"opening"`
	// DeviceCert certifies the key that signed the manifest; absent: the device's
	// own. A device that was reactivated or replaced had another before.
	DeviceCert []byte `json:"device_cert,omitempty"`
}
