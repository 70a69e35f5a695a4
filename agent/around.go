package agent

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/profile"
)

// around is what is known of the power and the network of this computer.
//
// BUG(agent): batteries, gateways, wireless networks and metered ones are known
// on Linux alone.
func around(ctx context.Context, root string, bus desktop.Bus) (schedule.Power, profile.Connection) {
	told := bus.Network(ctx)
	network := profile.Connection{Addrs: addresses(), Gateways: gateways(filepath.Join(root, "proc/net")), SSID: told.SSID, Metered: told.Metered}
	network.Known = len(network.Addrs) > 0
	return power(filepath.Join(root, "sys/class/power_supply")), network
}

// power reads what Linux says of batteries and mains. The batteries of a mouse
// or a headset are not the computer's.
func power(supplies string) (p schedule.Power) {
	entries, _ := os.ReadDir(supplies)
	var batteries, percent int
	for _, e := range entries {
		read := func(name string) string { return firstWord(filepath.Join(supplies, e.Name(), name)) }
		switch kind := read("type"); {
		case read("scope") == "Device":
		case kind == "Battery":
			if read("status") == "Charging" {
				return schedule.Power{} // not all chargers are listed
			}
			if n, err := strconv.Atoi(read("capacity")); err == nil {
				batteries, percent = batteries+1, percent+n
			}
		case read("online") == "1":
			return schedule.Power{} // mains, or a charger by USB
		}
	}
	if batteries == 0 {
		return schedule.Power{}
	}
	return schedule.Power{Battery: true, Percent: percent / batteries}
}

func firstWord(path string) string {
	data, _ := os.ReadFile(path)
	word, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	return word
}

// addresses are this computer's own in the networks that it is in now, without
// those that every computer has.
func addresses() (list []netip.Addr) {
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagRunning == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		all, _ := i.Addrs()
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
				list = append(list, p.Addr().Unmap())
			}
		}
	}
	return list
}

// gateways are the hardware addresses of the default gateways, from the tables
// of routes and of neighbours of a Linux system.
func gateways(dir string) (macs []string) {
	routes, _ := os.ReadFile(filepath.Join(dir, "route"))
	var ips []string
	for line := range strings.Lines(string(routes)) {
		f := strings.Fields(line) // Iface Destination Gateway ...
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" || f[2] == "00000000" {
			continue
		}
		if b, err := hex.DecodeString(f[2]); err == nil && len(b) == 4 {
			slices.Reverse(b) // as the processor has it
			ips = append(ips, net.IP(b).String())
		}
	}
	neighbours, _ := os.ReadFile(filepath.Join(dir, "arp"))
	for line := range strings.Lines(string(neighbours)) {
		f := strings.Fields(line) // IP HWtype Flags HWaddress ...
		if len(f) > 3 && slices.Contains(ips, f[0]) && f[3] != "00:00:00:00:00:00" {
			macs = append(macs, f[3])
		}
	}
	return macs
}
