package wire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// public is an authority that this computer's roots have.
var public authority

// The roots are read once, when the first of them is asked for.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "backstay-roots-")
	if err != nil {
		panic(err)
	}
	key, cert := makeAuthority("Public CA")
	public = authority{cert, key}
	file := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file)
	os.Setenv("SSL_CERT_DIR", dir)
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// authority is a certificate authority of the test's.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	key, cert := makeAuthority(name)
	return authority{cert, key}
}

func makeAuthority(name string) (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-100 * time.Hour), NotAfter: time.Now().Add(100 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return key, sign(template, template, &key.PublicKey, key)
}

func sign(template, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

// leaf issues a server certificate; self-signed when by is empty.
func leaf(t testing.TB, by authority, host string, until time.Time, chain ...*x509.Certificate) tls.Certificate {
	t.Helper()
	return leafFrom(t, by, host, time.Now().Add(-2*time.Hour), until, chain...)
}

func leafFrom(t testing.TB, by authority, host string, from, until time.Time, chain ...*x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "backup.example"},
		NotBefore: from, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	parent, signer := template, key
	if by.cert != nil {
		parent, signer = by.cert, by.key
	}
	cert := sign(template, parent, &key.PublicKey, signer)
	out := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
	for _, c := range chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

func TestTrust(t *testing.T) {
	t.Parallel()
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	ca, other := newAuthority(t, "Good CA"), newAuthority(t, "Other CA")
	tests := []struct {
		name   string
		cert   tls.Certificate
		pin    string
		reason string // of E1002; "" when the server is trusted
	}{
		{"system roots do not know it", leaf(t, ca, "127.0.0.1", soon, ca.cert), "", "unknown authority"},
		{"pinned authority", leaf(t, ca, "127.0.0.1", soon, ca.cert), wire.Fingerprint(ca.cert), ""},
		{"authority not presented", leaf(t, ca, "127.0.0.1", soon), wire.Fingerprint(ca.cert), "expected fingerprint"},
		// The pinned certificate is public; whoever sends it along has not been signed by it.
		{"authority of somebody else", leaf(t, other, "127.0.0.1", soon, ca.cert), wire.Fingerprint(ca.cert), "unknown authority"},
		{"wrong name", leaf(t, ca, "192.0.2.1", soon, ca.cert), wire.Fingerprint(ca.cert), "not 127.0.0.1"},
		{"expired", leaf(t, ca, "127.0.0.1", past, ca.cert), wire.Fingerprint(ca.cert), "expired"},
	}
	self := leaf(t, authority{}, "127.0.0.1", soon)
	expired := leaf(t, authority{}, "127.0.0.1", past)
	misnamed := leaf(t, authority{}, "192.0.2.1", soon)
	for _, c := range []struct {
		name, reason string
		cert         tls.Certificate
	}{{"self-signed", "", self}, {"self-signed, expired", "expired", expired}, {"self-signed, wrong name", "not 127.0.0.1", misnamed}} {
		tests = append(tests, struct {
			name   string
			cert   tls.Certificate
			pin    string
			reason string
		}{c.name, c.cert, wire.Fingerprint(c.cert.Leaf), c.reason})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, http.HandlerFunc(hello), test.cert)
			s.Config.ErrorLog = discard
			c := client(t, s, func(cfg *wire.Config) { cfg.Fingerprint = test.pin })
			_, err := c.Hello(context.Background())
			if test.reason == "" {
				if err != nil {
					t.Fatalf("Hello = %v, want nil", err)
				}
				return
			}
			e := errs.Find(err)
			if e == nil || e.Code != errs.UntrustedCert {
				t.Fatalf("Hello = %v, want E1002", err)
			}
			if reason := fmt.Sprint(e.Args["reason"]); !strings.Contains(reason, test.reason) {
				t.Errorf("reason = %q, want something with %q", reason, test.reason)
			}
			if got, want := e.Args["fingerprint"], wire.Fingerprint(test.cert.Leaf); got != want {
				t.Errorf("fingerprint = %v, want %v", got, want)
			}
		})
	}
}
