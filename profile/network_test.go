package profile

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want Network
		ok   bool
	}{
		{"192.168.1.7/24", Network{CIDR: "192.168.1.0/24"}, true},
		{"10.1.2.3", Network{CIDR: "10.1.2.3/32"}, true},
		{"2001:db8::/32", Network{CIDR: "2001:db8::/32"}, true},
		{"00-11-22-AA-BB-CC", Network{GatewayMAC: "00:11:22:aa:bb:cc"}, true},
		{"0011.22aa.bbcc", Network{GatewayMAC: "00:11:22:aa:bb:cc"}, true},
		{" Café du coin ", Network{SSID: "Café du coin"}, true},
		{"ssid:10.1.2.3", Network{SSID: "10.1.2.3"}, true},
		{"ssid: ssid:odd", Network{SSID: "ssid:odd"}, true},
		{"10.1.2.0/33", Network{SSID: "10.1.2.0/33"}, true},                            // strange, but a name can be that
		{"00:11:22:33:44:55:66:77", Network{CIDR: "0:11:22:33:44:55:66:77/128"}, true}, // an address of IPv6
		{"", Network{}, false},
		{"ssid:", Network{}, false},
		{strings.Repeat("x", 33), Network{SSID: strings.Repeat("x", 33)}, false},
		{"a\nb", Network{SSID: "a\nb"}, false},
	} {
		got := ParseNetwork(c.text)
		if got != c.want || got.valid() != c.ok {
			t.Errorf("ParseNetwork(%q) = %+v, valid %v; want %+v, %v", c.text, got, got.valid(), c.want, c.ok)
		}
		if again := ParseNetwork(got.String()); c.ok && again != got {
			t.Errorf("%q is written %q, which is %+v", c.text, got, again)
		}
	}
	for _, n := range []Network{{CIDR: "10.0.0.0/8", SSID: "x"}, {CIDR: "::ffff:10.0.0.0/104"}, {CIDR: "x"}, {GatewayMAC: "x"}} {
		if n.valid() {
			t.Errorf("%+v is valid", n)
		}
	}
}

func TestNetworksPermit(t *testing.T) {
	t.Parallel()
	office := Connection{Known: true, Addrs: []netip.Addr{netip.MustParseAddr("10.7.1.20"), netip.MustParseAddr("fe80::1")}, Gateways: []string{"00:11:22:AA:BB:CC"}}
	cafe := Connection{Known: true, Addrs: []netip.Addr{netip.MustParseAddr("192.168.1.20")}, SSID: "Café"}
	nets := func(list ...string) (out []Network) {
		for _, text := range list {
			out = append(out, ParseNetwork(text))
		}
		return out
	}
	for _, c := range []struct {
		name string
		n    Networks
		in   Connection
		ok   bool
		rule string
	}{
		{"no rules", Networks{}, cafe, true, ""},
		{"allowed by address", Networks{Allow: nets("10.0.0.0/8")}, office, true, ""},
		{"allowed by gateway", Networks{Allow: nets("00-11-22-aa-bb-cc")}, office, true, ""},
		{"allowed by name", Networks{Allow: nets("10.0.0.0/8", "Café")}, cafe, true, ""},
		{"names have capitals", Networks{Allow: nets("café")}, cafe, false, ""},
		{"none of those allowed", Networks{Allow: nets("10.0.0.0/8")}, cafe, false, ""},
		{"denied", Networks{Deny: nets("Café")}, cafe, false, "Café"},
		{"denied though allowed", Networks{Allow: nets("192.168.0.0/16"), Deny: nets("x", "192.168.1.0/24")}, cafe, false, "192.168.1.0/24"},
		{"no wireless network is not one without a name", Networks{Deny: []Network{{}}}, office, true, ""},
		{"nobody knows", Networks{Allow: nets("10.0.0.0/8")}, Connection{}, true, ""},
		{"offline is in none", Networks{Allow: nets("10.0.0.0/8")}, Connection{Known: true}, false, ""},
		{"an address as it comes on a socket", Networks{Deny: nets("10.0.0.0/8")}, Connection{Known: true, Addrs: []netip.Addr{netip.MustParseAddr("::ffff:10.7.1.20")}}, false, "10.0.0.0/8"},
	} {
		rule, ok := c.n.Permits(c.in)
		if ok != c.ok || rule.String() != c.rule && rule != (Network{}) {
			t.Errorf("%s: %v by %q, want %v by %q", c.name, ok, rule, c.ok, c.rule)
		}
	}
}

func TestBandwidthAt(t *testing.T) {
	t.Parallel()
	day := Rate{window(t, "08:00", "18:00", "mon", "tue", "wed", "thu", "fri"), 2000}
	night := Rate{window(t, "22:00", "06:00"), 0}
	b := Bandwidth{UpKbps: 8000, Table: []Rate{day, night, {window(t, "17:00", "23:00"), 500}}, LANExempt: []string{"10.0.0.0/8", "fd00::/8"}}
	for text, want := range map[string]int{
		"2026-11-23 08:00 UTC": 2000,
		"2026-11-23 17:30 UTC": 2000, // the first that holds
		"2026-11-23 18:00 UTC": 500,
		"2026-11-23 22:30 UTC": 0, // no limit
		"2026-11-24 07:00 UTC": 8000,
		"2026-11-22 12:00 UTC": 8000, // Sunday
	} {
		if got, percent := b.At(at(t, time.UTC, text)); got != want || percent != 0 {
			t.Errorf("at %s the limit is %d, %d %%, want %d", text, got, percent, want)
		}
	}
	percent := Bandwidth{Percent: 30, Table: []Rate{night}}
	if kbps, p := percent.At(at(t, time.UTC, "2026-11-23 12:00 UTC")); kbps != 0 || p != 30 {
		t.Errorf("by day %d, %d %%", kbps, p)
	}
	if kbps, p := percent.At(at(t, time.UTC, "2026-11-23 23:00 UTC")); kbps != 0 || p != 0 {
		t.Errorf("by night %d, %d %%", kbps, p)
	}
	for text, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd12::1": true, "11.1.2.3": false, "2001:db8::1": false} {
		if got := b.Exempt(netip.MustParseAddr(text)); got != want {
			t.Errorf("Exempt(%s) = %v", text, got)
		}
	}
}

func TestNetworksAreReadAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := ParseNetwork(rapid.OneOf(rapid.String(), rapid.StringMatching(`(ssid:)?[0-9a-f:./]{1,20}`)).Draw(t, "text"))
		if n.valid() && ParseNetwork(n.String()) != n {
			t.Fatalf("%+v is written %q, which is %+v", n, n, ParseNetwork(n.String()))
		}
	})
}
