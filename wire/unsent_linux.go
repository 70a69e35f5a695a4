package wire

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes written to conn the other side has not yet
// acknowledged.
func unsent(conn net.Conn) int {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}
