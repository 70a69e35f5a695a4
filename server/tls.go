package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/durable"
)

// How long a certificate of our own is good for, and how much of that must be
// left. It is renewed with the same key, so that devices which pinned it notice
// nothing.
const (
	selfSignedLife = 2 * 365 * 24 * time.Hour
	selfSignedLeft = selfSignedLife / 2
)

// certificates has the certificate that the server shows. Files are read again
// when they change, and one of our own is renewed, both without a restart.
type certificates struct {
	keyFile, certFile string
	names             []string // of a certificate of our own; nil for files
	now               func() time.Time
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   string    // of the files that current was read from
	checked time.Time // when they were last looked at
}

func newCertificates(cfg *Config) (*certificates, error) {
	c := &certificates{keyFile: cfg.TLSKey, certFile: cfg.TLSCertificate, now: cfg.Now, log: cfg.Log}
	if c.certFile == "" {
		dir := filepath.Join(cfg.Data, "tls")
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		c.keyFile, c.certFile = selfSignedFiles(cfg.Data)
		c.names = selfSignedNames(cfg)
	}
	if err := c.refresh(); err != nil {
		return nil, err
	}
	return c, nil
}

func selfSignedFiles(data string) (key, cert string) {
	dir := filepath.Join(data, "tls")
	return filepath.Join(dir, "server.key"), filepath.Join(dir, "server.crt")
}

// config is what a listener needs. TLS 1.3 unless an administrator allows 1.2,
// and then only with ciphers that authenticate what they encrypt.
func (c *certificates) config(tls12 bool) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		Time:       c.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.get(), nil
		},
	}
	if tls12 {
		cfg.MinVersion = tls.VersionTLS12
		cfg.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	return cfg
}

// get is the certificate of this moment. What cannot be refreshed is reported,
// and the certificate of before is shown on.
func (c *certificates) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.checked).Abs() >= time.Minute {
		if err := c.refresh(); err != nil {
			c.log.Error("certificate not refreshed", "error", err)
		}
	}
	return c.current
}

func (c *certificates) refresh() error {
	c.checked = c.now()
	if c.names != nil && !c.usable() {
		if err := c.renew(); err != nil {
			return fmt.Errorf("making a self-signed certificate: %w", err)
		}
	}
	stamp := stampOf(c.certFile, c.keyFile)
	if c.current != nil && stamp == c.stamp {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	c.current, c.stamp = &cert, stamp
	return nil
}

// stampOf changes when one of the files does.
func stampOf(files ...string) string {
	var b strings.Builder
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprint(&b, info.ModTime().UnixNano(), " ", info.Size(), ";")
		}
	}
	return b.String()
}

// usable reports whether our own certificate has the right names and enough
// time left. Several servers may share the folder: one that has been renewed
// by another is usable too.
func (c *certificates) usable() bool {
	chain, err := readChain(c.certFile)
	if err != nil {
		return false
	}
	now := c.now()
	if now.Before(chain[0].NotBefore) || chain[0].NotAfter.Sub(now) < selfSignedLeft {
		return false
	}
	return !slices.ContainsFunc(c.names, func(name string) bool { return chain[0].VerifyHostname(name) != nil })
}

// renew writes a certificate, and the key when there is none yet.
func (c *certificates) renew() error {
	key, err := ownKey(c.keyFile)
	if err != nil {
		return err
	}
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] &= 0x7f
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: "Backstay server", Organization: []string{"self-signed"}},
		// Clocks of devices may be behind.
		NotBefore:             c.now().Add(-24 * time.Hour),
		NotAfter:              c.now().Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, // not an authority: the key vouches for nobody else
	}
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	return durable.WriteFile(c.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// ownKey reads the key of our own certificate, and makes it when it is absent.
// A key that cannot be read is an error, not a reason for a new one: devices
// know the old one.
func ownKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, durable.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no ECDSA key", file)
	}
	return key, nil
}

// selfSignedNames are those under which this computer may be asked for.
func selfSignedNames(cfg *Config) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	add := func(name string) {
		name = strings.ToLower(name)
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if host, err := os.Hostname(); err == nil && validName(host) {
		add(host)
	}
	for _, address := range []string{cfg.Listen, cfg.AdminListen} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			if ip := net.ParseIP(host); ip == nil && validName(host) || ip != nil && !ip.IsUnspecified() {
				add(host)
			}
		}
	}
	for _, address := range []string{cfg.PublicURL, cfg.AdminURL} {
		if u, err := url.Parse(address); err == nil {
			add(u.Hostname())
		}
	}
	return names
}

// validName reports whether a certificate can carry name: a host may be called
// anything, and one bad name would spoil the others.
func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
				return false
			}
		}
	}
	return true
}

// Chain reads the certificates that a server with this configuration shows,
// its own first, and makes none: before the first start of a server without
// certificate files there is none, and the error is fs.ErrNotExist.
func Chain(cfg Config) ([]*x509.Certificate, error) {
	cfg.setDefaults()
	file := cfg.TLSCertificate
	if file == "" {
		_, file = selfSignedFiles(cfg.Data)
	}
	return readChain(file)
}

func readChain(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return chain, nil
}
