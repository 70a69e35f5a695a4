package server

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/wire"
)

func testConfig(t *testing.T) *Config {
	t.Helper()
	cfg := Config{Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	cfg.setDefaults()
	return &cfg
}

// shown is the certificate that a client sees.
func shown(t *testing.T, c *certificates, client *tls.Config) *x509.Certificate {
	t.Helper()
	state, err := shake(c.config(false), client)
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0]
}

// shake lets a server and a client meet.
func shake(server, client *tls.Config) (tls.ConnectionState, error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() {
		conn := tls.Server(a, server)
		conn.Handshake()
		io.Copy(io.Discard, conn)
	}()
	conn := tls.Client(b, client)
	err := conn.Handshake()
	return conn.ConnectionState(), err
}

func TestSelfSignedKeepsItsKey(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	c, err := newCertificates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	blind := &tls.Config{InsecureSkipVerify: true}
	first := shown(t, c, blind)
	if left := first.NotAfter.Sub(now); left < 365*24*time.Hour {
		t.Errorf("the certificate is good for %v only", left)
	}
	if first.IsCA {
		t.Error("the certificate is an authority")
	}
	info, err := os.Stat(filepath.Join(cfg.Data, "tls", "server.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v, want 0600", info.Mode(), err)
	}

	again, err := newCertificates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !shown(t, again, blind).Equal(first) {
		t.Error("another start made another certificate")
	}

	now = now.Add(selfSignedLife - selfSignedLeft + time.Hour)
	renewed := shown(t, c, blind) // the same process, a year later
	if renewed.Equal(first) {
		t.Error("the certificate was not renewed")
	}
	if got, want := wire.Fingerprint(renewed), wire.Fingerprint(first); got != want {
		t.Errorf("after renewal the fingerprint is %s, was %s", got, want)
	}

	cfg.PublicURL = "https://backup.example.org"
	named, err := newCertificates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cert := shown(t, named, blind)
	if err := cert.VerifyHostname("backup.example.org"); err != nil {
		t.Error(err)
	}
	if wire.Fingerprint(cert) != wire.Fingerprint(first) {
		t.Error("a new name changed the key")
	}
}

func TestDamagedKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	if _, err := newCertificates(cfg); err != nil {
		t.Fatal(err)
	}
	key, cert := selfSignedFiles(cfg.Data)
	if err := os.WriteFile(key, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if _, err := newCertificates(cfg); err == nil {
		t.Error("a damaged key was taken, or replaced")
	}
}

func TestSelfSignedNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, public string
		want           []string
		not            string
	}{
		{":8443", "", []string{"localhost", "127.0.0.1", "::1"}, ""},
		{"0.0.0.0:8443", "", nil, "0.0.0.0"},
		{"[::]:8443", "", nil, "::"},
		{"192.0.2.1:8443", "", []string{"192.0.2.1"}, ""},
		{"Backup.Example.org:443", "", []string{"backup.example.org"}, ""},
		{"bad_name:443", "", nil, "bad_name"},
		{":443", "https://backup.example.org:8443", []string{"backup.example.org"}, ""},
	} {
		got := selfSignedNames(&Config{Listen: c.listen, PublicURL: c.public})
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("names for %s, %s = %q, want %s among them", c.listen, c.public, got, want)
			}
		}
		if c.not != "" && slices.Contains(got, c.not) {
			t.Errorf("names for %s, %s = %q, with %s", c.listen, c.public, got, c.not)
		}
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	other := testConfig(t)
	other.PublicURL = "https://other.example.org"
	if _, err := newCertificates(other); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	now := time.Now()
	cfg.Now = func() time.Time { return now }
	if _, err := newCertificates(cfg); err != nil {
		t.Fatal(err)
	}
	cfg.TLSKey, cfg.TLSCertificate = selfSignedFiles(cfg.Data)
	c, err := newCertificates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	blind := &tls.Config{InsecureSkipVerify: true}
	first := shown(t, c, blind)

	key, cert := selfSignedFiles(other.Data)
	copyFile(t, cert, cfg.TLSCertificate)
	now = now.Add(2 * time.Minute)
	if !shown(t, c, blind).Equal(first) {
		t.Error("a certificate whose key is not there yet was shown")
	}
	copyFile(t, key, cfg.TLSKey)
	now = now.Add(2 * time.Minute)
	if err := shown(t, c, blind).VerifyHostname("other.example.org"); err != nil {
		t.Errorf("after the files changed: %v", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	c, err := newCertificates(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name     string
		tls12    bool
		min, max uint16
		suites   []uint16
		ok       bool
	}{
		{"1.3", false, tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{"1.2 by default", false, tls.VersionTLS12, tls.VersionTLS12, nil, false},
		{"1.2 when allowed", true, tls.VersionTLS12, tls.VersionTLS12, nil, true},
		{"1.2 without authenticated encryption", true, tls.VersionTLS12, tls.VersionTLS12,
			[]uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
		{"1.1", true, tls.VersionTLS11, tls.VersionTLS11, nil, false},
		{"1.0", true, tls.VersionTLS10, tls.VersionTLS10, nil, false},
	} {
		_, err := shake(c.config(v.tls12), &tls.Config{InsecureSkipVerify: true, MinVersion: v.min, MaxVersion: v.max, CipherSuites: v.suites})
		if ok := err == nil; ok != v.ok {
			t.Errorf("TLS %s: %v, want success %v", v.name, err, v.ok)
		}
	}
}
