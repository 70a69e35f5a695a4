package profile

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Networks say over which networks backups go, and on which power. A user's
// *Back up now* overrides all of it once.
type Networks struct {
	// Allow are the networks over which backups go, all when there are none. Deny
	// are those over which none goes, also when Allow has them.
	Allow []Network `json:"allow"`
	Deny  []Network `json:"deny"`

	// Metered is Pause when backups wait as long as the network counts what goes
	// over it, and Allow when they do not.
	Metered Metered `json:"metered"`

	// BatteryPercent is below what a computer on battery does not back up, 0 for
	// never mind.
	BatteryPercent int `json:"battery_percent"`
}

// Metered says what becomes of backups over a metered network.
type Metered string

// What becomes of backups over a metered network.
const (
	MeteredPause Metered = "pause"
	MeteredAllow Metered = "allow"
)

// Network names a network in one of three ways: by the addresses that computers
// have in it, as 192.168.0.0/16; by the hardware address of its gateway, as
// 00:11:22:aa:bb:cc; or by the name of a wireless network.
type Network struct {
	CIDR       string `json:"cidr,omitempty"`
	GatewayMAC string `json:"gateway_mac,omitempty"`
	SSID       string `json:"ssid,omitempty"`
}

// ParseNetwork reads what String writes. What looks like addresses or a
// hardware address is taken for that, anything else for a wireless network;
// "ssid:" before a name says that it is one.
func ParseNetwork(text string) Network {
	text = strings.TrimSpace(text)
	if name, ok := strings.CutPrefix(text, "ssid:"); ok {
		return Network{SSID: strings.TrimSpace(name)}
	}
	if p, ok := parseCIDR(text); ok {
		return Network{CIDR: p.String()}
	}
	if mac, ok := parseMAC(text); ok {
		return Network{GatewayMAC: mac}
	}
	return Network{SSID: text}
}

func (n Network) String() string {
	switch {
	case n.CIDR != "":
		return n.CIDR
	case n.GatewayMAC != "":
		return n.GatewayMAC
	case ParseNetwork(n.SSID) != n:
		return "ssid:" + n.SSID
	}
	return n.SSID
}

// parseCIDR reads a network of addresses, or one address.
func parseCIDR(text string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// parseMAC reads a hardware address of 48 bits, and writes it in the usual way.
func parseMAC(text string) (string, bool) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return "", false
	}
	return mac.String(), true
}

func (n Network) valid() bool {
	switch n {
	case Network{CIDR: n.CIDR}:
		_, ok := parseCIDR(n.CIDR)
		return ok
	case Network{GatewayMAC: n.GatewayMAC}:
		_, ok := parseMAC(n.GatewayMAC)
		return ok
	case Network{SSID: n.SSID}:
		// A name has at most 32 bytes, of any kind; we want to show it.
		return n.SSID != "" && len(n.SSID) <= 32 && text(n.SSID)
	}
	return false
}

// Connection is the network that a computer is in, as far as it knows. The zero
// Connection is an unknown one.
type Connection struct {
	Known    bool
	Addrs    []netip.Addr // the computer's own
	Gateways []string     // hardware addresses of its gateways
	SSID     string       // of the wireless network that it is in
	Metered  bool
}

// Is reports whether the network is the one that a computer is in.
func (n Network) Is(c Connection) bool {
	switch {
	case n.CIDR != "":
		p, ok := parseCIDR(n.CIDR)
		return ok && slices.ContainsFunc(c.Addrs, func(a netip.Addr) bool { return p.Contains(a.Unmap()) })
	case n.GatewayMAC != "":
		mac, _ := parseMAC(n.GatewayMAC)
		return slices.ContainsFunc(c.Gateways, func(g string) bool {
			gateway, ok := parseMAC(g)
			return ok && gateway == mac
		})
	}
	return n.SSID != "" && n.SSID == c.SSID
}

// Permits reports whether backups go over the network that a computer is in,
// and if not which rule says so: the zero Network when it is that none of those
// allowed is it. An unknown network is permitted: better a backup too many.
func (n Networks) Permits(c Connection) (Network, bool) {
	if !c.Known {
		return Network{}, true
	}
	is := func(n Network) bool { return n.Is(c) }
	if i := slices.IndexFunc(n.Deny, is); i >= 0 {
		return n.Deny[i], false
	}
	return Network{}, len(n.Allow) == 0 || slices.ContainsFunc(n.Allow, is)
}
