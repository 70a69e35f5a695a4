//go:build unix && !linux

package control

import "net"

// checkPeer relies on the state folder's mode, which only its owner and root
// can pass.
func checkPeer(net.Conn) error { return nil }
