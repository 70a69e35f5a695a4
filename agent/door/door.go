// Package door is how Backstay's programs on one computer find each other: a
// Unix socket, or on Windows a named pipe, and who is at the other end, as the
// system tells it. There is no port.
//
// A user is named by what the system knows them by: the user id, on Windows the
// security identifier. Root is whoever has all rights: user 0, on Windows the
// system itself and every process with an administrator's rights.
//
// BUG: the pipe was compiled for Windows and tried under Wine, the socket compiled
// for macOS; neither ran on the system itself.
package door

// For says who may knock. Who it is decides what they are answered: that is for
// the one who listens, by Peer.
type For int

// Who may knock at a door: the user who opened it and root, or everybody who is on
// this computer.
const (
	Owner For = iota
	Everybody
)
