//go:build !linux

package localui

import "net"

// ours cannot be told here: see the package's BUG.
func ours(net.Conn) bool { return true }
