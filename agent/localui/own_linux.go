package localui

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ours reports whether a process of the user that this one belongs to opened the
// connection. The kernel's list of sockets says whose each is.
func ours(conn net.Conn) bool {
	far, ok := conn.RemoteAddr().(*net.TCPAddr)
	near, ok2 := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return false
	}
	for _, list := range []struct {
		path   string
		mapped bool // an IPv4 address written as an IPv6 one
	}{{"/proc/net/tcp", false}, {"/proc/net/tcp6", true}} {
		uid, found := ownerIn(list.path, inList(far.AddrPort(), list.mapped), inList(near.AddrPort(), list.mapped))
		if found {
			return uid == os.Geteuid()
		}
	}
	return false
}

// inList is an address as the list has it: the bytes of each 32-bit word in this
// computer's order, in hexadecimal.
func inList(a netip.AddrPort, mapped bool) string {
	four := a.Addr().Unmap().As4()
	words := fmt.Sprintf("%08X", binary.NativeEndian.Uint32(four[:]))
	if mapped {
		prefix := [4]byte{0, 0, 0xff, 0xff}
		words = "0000000000000000" + fmt.Sprintf("%08X", binary.NativeEndian.Uint32(prefix[:])) + words
	}
	return fmt.Sprintf("%s:%04X", words, a.Port())
}

// ownerIn finds whose the socket is that leads from one address to the other.
func ownerIn(path, from, to string) (uid int, found bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid ...
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[1] != from || fields[2] != to {
			continue
		}
		uid, err := strconv.Atoi(fields[7])
		return uid, err == nil
	}
	return 0, false
}
