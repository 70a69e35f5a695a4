// Package control is the one door to a running agent: a socket in its state
// folder, on Windows a pipe, which only the folder's owner and root may use. Messages are JSON,
// one a line, typed and at most a megabyte; none carries a path that the agent
// would write to or a command that it would run.
//
// A connection carries one request. The agent answers with any number of
// progress lines and one last line; for a backup the asker stays connected, and
// going away cancels what it asked for.
package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// MaxMessage is the longest line.
const MaxMessage = 1 << 20

const socket = "control.sock"

// The requests.
const (
	Backup = "backup"
	Status = "status"
	Choose = "choose"
	Start  = "start" // a backup of all folders, without waiting for it
)

// Request asks the agent for something.
type Request struct {
	Do string `json:"do"`
	// Folders are those to walk, of those the device backs up or new ones; all
	// when there are none. Bytes, since a name need not be UTF-8.
	Folders [][]byte `json:"folders,omitempty"`
	// Change is what Choose asks for.
	Change *Change `json:"change,omitempty"`
}

// Change is what the user of a device wants to be otherwise. A field that is
// zero changes nothing.
type Change struct {
	Pause  time.Duration     `json:"pause,omitempty"` // no backups from now on, for as long
	Resume bool              `json:"resume,omitempty"`
	Set    profile.Choices   `json:"set,omitzero"` // its folders and its pause are not looked at
	Reset  []profile.Setting `json:"reset,omitempty"`
	Add    [][]byte          `json:"add,omitempty"` // folders to back up: absolute, links resolved
	Remove [][]byte          `json:"remove,omitempty"`
}

// Answer is a line of the agent's: exactly one field is set.
type Answer struct {
	Progress *wire.Progress `json:"progress,omitempty"`
	Result   *Result        `json:"result,omitempty"`
	Live     *Live          `json:"live,omitempty"`
	Failure  *Failure       `json:"failure,omitempty"`
	Done     bool           `json:"done,omitempty"`
}

// Problem is something that could not be read.
type Problem struct {
	Path   []byte `json:"path"`
	Reason string `json:"reason"`
}

// Remark is a script around the backup that was not run, or that failed.
type Remark struct {
	Path string `json:"path"`
	errs.Note
}

// Result is a backup that ended well.
type Result struct {
	Snapshot   string        `json:"snapshot"`
	Hash       string        `json:"hash"`
	Seq        uint64        `json:"seq"`
	Status     string        `json:"status"`
	Entries    int64         `json:"entries"`
	Files      int64         `json:"files"`
	Bytes      int64         `json:"bytes"`
	Read       int64         `json:"read"`
	Sent       int64         `json:"sent"`
	Unreadable int64         `json:"unreadable"`
	Deferred   int64         `json:"deferred,omitempty"` // large files that a later backup reads
	Carried    int64         `json:"carried,omitempty"`  // folders that were not read, and are as the backup before had them
	Problems   []Problem     `json:"problems,omitempty"` // the first of them
	Hooks      []Remark      `json:"hooks,omitempty"`    // scripts that did not do their work
	Waiting    int64         `json:"waiting,omitempty"`  // files that wait for room on the quota
	Quota      *Failure      `json:"quota,omitempty"`    // what to say of it
	Took       time.Duration `json:"took"`
	// Rediscovered says why every file was read again, when what was remembered
	// of the last backup could not be used.
	Rediscovered string `json:"rediscovered,omitempty"`
}

// Live is what a running agent knows that the state folder does not.
type Live struct {
	PID      int            `json:"pid"`
	Running  bool           `json:"running"`
	Progress *wire.Progress `json:"progress,omitempty"`
	Started  time.Time      `json:"started,omitzero"`  // of the running backup
	Next     time.Time      `json:"next,omitzero"`     // when the next one is due
	Reason   string         `json:"reason,omitempty"`  // why then
	Online   bool           `json:"online"`            // the server was reached at the last try
	Failure  *Failure       `json:"failure,omitempty"` // why not, or why it refuses this device
	Locked   bool           `json:"locked,omitempty"`  // nothing is shown or restored here
	Retired  bool           `json:"retired,omitempty"` // a device of its kind cannot be added again
	Quota    *wire.Quota    `json:"quota,omitempty"`   // of the user, as the server said last
	Blocked  []Obstacle     `json:"blocked,omitempty"` // what keeps the next backup from beginning
}

// Obstacle stands in the way of the next backup.
type Obstacle struct {
	By    schedule.Obstacle `json:"by"`
	Until time.Time         `json:"until,omitzero"` // when it ends, zero when nobody knows
}

// Failure is an error on its way to another process.
type Failure struct {
	Kind errs.Kind `json:"kind"`
	errs.Note
	Detail  string `json:"detail,omitempty"`
	Refused int    `json:"refused,omitempty"` // the HTTP status, when the server said no
}

// Fail packs err.
func Fail(err error) *Failure {
	f := &Failure{Detail: err.Error()}
	if e := errs.Find(err); e != nil {
		f.Kind, f.Note, f.Detail = e.Kind, errs.NoteOf(e), ""
		if e.Err != nil {
			f.Detail = e.Err.Error()
		}
	}
	var r *wire.Refusal
	if errors.As(err, &r) {
		f.Refused, f.Detail = r.Status, r.Detail
	}
	return f
}

// Err unpacks it.
func (f *Failure) Err() error {
	var cause error
	switch {
	case f.Refused != 0:
		cause = &wire.Refusal{Status: f.Refused, Detail: f.Detail}
	case f.Detail != "":
		cause = errors.New(f.Detail)
	}
	e := f.Failure()
	if e == nil {
		return cause
	}
	e.Kind, e.Err = f.Kind, cause
	return e
}

func writeLine(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a control message: %w", err)
	}
	if len(data) >= MaxMessage {
		return fmt.Errorf("a control message of %d bytes is too long", len(data))
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, MaxMessage) }

func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return errors.New("a control message is too long")
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}
