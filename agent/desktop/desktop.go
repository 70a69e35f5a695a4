// Package desktop asks the system's own services what goes on on this computer,
// and shows its user notices: on Linux NetworkManager, logind and the desktop,
// over D-Bus. On other systems it knows and shows nothing yet.
//
// Nothing here is needed to back up. A service that is not there, or does not
// answer within two seconds, is no error: what it would know is not known.
package desktop

import (
	"errors"
	"time"
)

// Bus says where the services are. The zero Bus is that of this computer and of
// the user that this program runs as.
type Bus struct {
	System, Session string // addresses as D-Bus writes them; the usual ones when empty
}

// Network is what is known of the network beyond addresses.
type Network struct {
	Metered bool   // what goes over it is counted
	SSID    string // of the wireless network, empty when there is none
}

// Notice is something to tell the user of this computer.
type Notice struct {
	Title, Text string
	Problem     bool // it stays until it was seen
	// Replaces is the number of a notice that this one takes the place of, 0 for
	// none.
	Replaces uint32
}

// ErrNobody says that there is no desktop to show anything on: nobody has logged
// in to one.
var ErrNobody = errors.New("nobody has a desktop here")

const patience = 2 * time.Second
