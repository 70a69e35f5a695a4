// Package osservice is Backstay as a service of the operating system: one
// process with the system's rights that keeps an agent running for each user of
// this computer who has activated it, with that user's rights and no others.
//
// Which agents those are is said by enrolments, a folder of small files that
// belongs to root. A user asks over a socket to have theirs kept (adopt), no
// longer kept (drop), or shown (status). The peer's user id, as the system tells
// it, decides whose enrolment a request is about: nobody can name another's.
// The service opens nothing on behalf of a user but the way to their state
// folder, which must be theirs and lie in their home.
//
// systemd starts it, launchd, or Windows' service control manager. What differs
// between them is in the files named after systems; on Windows there are user
// accounts (SIDs) in place of user ids, and an agent runs while its user is logged
// in, since nobody gets a user's rights without them.
//
// BUG: for Windows and macOS it was compiled, and its texts tested; it never ran
// there.
package osservice

import (
	"time"

	"github.com/backstay/backstay/errs"
)

// Name is what the operating system calls the service.
const Name = "backstay"

// The requests.
const (
	Drop   = "drop"
	Status = "status"

	adopt      = "adopt"      // see HandOver
	deployment = "deployment" // see Deployment
)

// What the service does about an enrolment.
const (
	Running = "running" // an agent runs
	Waiting = "waiting" // it ended, and is started again
)

// Kept is an enrolment and how its agent is doing.
type Kept struct {
	ID      string    `json:"id"` // of the user, as package door names them
	User    string    `json:"user"`
	State   []byte    `json:"state"`            // the folder; bytes, since a name need not be UTF-8
	Server  string    `json:"server,omitempty"` // that the user's device backs up to, as they say
	Doing   string    `json:"doing"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`    // it runs
	Next    time.Time `json:"next,omitzero"`     // it is started again
	Ended   int       `json:"ended"`             // how often it ended by itself
	Failure string    `json:"failure,omitempty"` // why it ended the last time
}

// ErrNoService says that no service answers on this computer.
var ErrNoService = errs.New(errs.Local, "service.none")
