package server

import (
	"net/http"
	"net/netip"
	"testing"
)

func prefixes(t *testing.T, list ...string) []netip.Prefix {
	t.Helper()
	var got []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	return got
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	proxies := prefixes(t, "10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:5000", nil, "192.0.2.1"},
		{"direct, with a header of its own making", "192.0.2.1:5000", []string{"198.51.100.7"}, "192.0.2.1"},
		{"direct over IPv6", "[2001:db8::1]:5000", []string{"127.0.0.1"}, "2001:db8::1"},
		{"one proxy", "10.0.0.1:5000", []string{"192.0.2.1"}, "192.0.2.1"},
		{"one proxy over IPv6", "[fd00::1]:5000", []string{"2001:db8::9"}, "2001:db8::9"},
		{"proxy as IPv4 in IPv6", "[::ffff:10.0.0.1]:5000", []string{"192.0.2.1"}, "192.0.2.1"},
		{"client as IPv4 in IPv6", "10.0.0.1:5000", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"two proxies", "10.0.0.1:5000", []string{"192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		{"what the client wrote stays left", "10.0.0.1:5000", []string{"127.0.0.1, 192.0.2.1"}, "192.0.2.1"},
		{"in a header of its own", "10.0.0.1:5000", []string{"127.0.0.1", "192.0.2.1"}, "192.0.2.1"},
		{"the client claims to be a proxy", "10.0.0.1:5000", []string{"127.0.0.1, 10.9.9.9, 192.0.2.1"}, "192.0.2.1"},
		{"an untrusted proxy between", "10.0.0.1:5000", []string{"127.0.0.1, 192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		{"no header", "10.0.0.1:5000", nil, "10.0.0.1"},
		{"an empty header", "10.0.0.1:5000", []string{""}, "10.0.0.1"},
		{"only proxies", "10.0.0.1:5000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"rubbish at the right", "10.0.0.1:5000", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"rubbish behind a proxy", "10.0.0.1:5000", []string{"192.0.2.1, <script>, 10.0.0.2"}, "10.0.0.2"},
		{"with a port", "10.0.0.1:5000", []string{"192.0.2.1:4711"}, "192.0.2.1"},
		{"IPv6 with a port", "10.0.0.1:5000", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:5000", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"a zone is no way around", "[fd00::1%eth0]:5000", []string{"192.0.2.1"}, "192.0.2.1"},
		{"no peer", "@", []string{"192.0.2.1"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := clientIP(r, proxies).String(); got != c.want {
			t.Errorf("%s: clientIP(%s, %q) = %s, want %s", c.name, c.peer, c.forwarded, got, c.want)
		}
	}
	r := &http.Request{RemoteAddr: "10.0.0.1:5000", Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}
	if got := clientIP(r, nil).String(); got != "10.0.0.1" {
		t.Errorf("without trusted proxies clientIP = %s, want the peer", got)
	}
}
