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
// On Linux systemd starts it. BUG: on Windows and macOS there is no service yet:
// Run, Install and Ask say so.
package osservice

import (
	"time"

	"github.com/backstay/backstay/errs"
)

// Name is what the operating system calls the service.
const Name = "backstay"

// Where the service keeps and opens what it needs, unless systemd names other
// folders.
const (
	stateDir   = "/var/lib/backstay"
	runtimeDir = "/run/backstay"
)

// The requests.
const (
	Adopt  = "adopt"
	Drop   = "drop"
	Status = "status"
)

// What the service does about an enrolment.
const (
	Running = "running" // an agent runs
	Waiting = "waiting" // it ended, and is started again
)

// Kept is an enrolment and how its agent is doing.
type Kept struct {
	UID     uint32    `json:"uid"`
	User    string    `json:"user"`
	State   []byte    `json:"state"` // the folder; bytes, since a name need not be UTF-8
	Doing   string    `json:"doing"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`    // it runs
	Next    time.Time `json:"next,omitzero"`     // it is started again
	Ended   int       `json:"ended"`             // how often it ended by itself
	Failure string    `json:"failure,omitempty"` // why it ended the last time
}

// ErrNoService says that no service answers on this computer.
var ErrNoService = errs.New(errs.Local, "service.none")
