package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP is the address that a request really came from. A proxy's word is
// taken only when the proxy itself is trusted; X-Forwarded-For is then read
// from the right, past every trusted proxy, since only what trusted proxies
// appended is true. What stands further left the client may have written.
func clientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := peerIP(r)
	if !within(client, trusted) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := parseHop(hop)
		if !ok {
			break // from here on nothing can be believed
		}
		client = addr
		if !within(addr, trusted) {
			break
		}
	}
	return client
}

// peerIP is the other end of the connection.
func peerIP(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return plain(peer.Addr())
}

// parseHop reads one hop: an address, with a port as some proxies have it.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return plain(addr), true
	}
	peer, err := netip.ParseAddrPort(s)
	return plain(peer.Addr()), err == nil
}

// plain is the one spelling of an address that prefixes are compared with.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
