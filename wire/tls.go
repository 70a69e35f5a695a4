package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
)

// Fingerprint is the hex SHA-256 of a certificate's SubjectPublicKeyInfo, as
// --ca-fingerprint takes it.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// ParseFingerprint reads a fingerprint as people paste it, with or without
// colons, and gives it in the form of Fingerprint.
func ParseFingerprint(s string) (string, error) {
	clean := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(s))
	clean = strings.TrimPrefix(clean, "sha256")
	if raw, err := hex.DecodeString(clean); err != nil || len(raw) != sha256.Size {
		return "", errs.New(errs.Invalid, "server.fingerprint.invalid", "fingerprint", s)
	}
	return clean, nil
}

// trust makes the TLS settings for host: the system's roots, or one pinned key.
func trust(host, fingerprint string, now func() time.Time) (*tls.Config, error) {
	cfg := &tls.Config{
		// The server decides whether 1.2 will do; see protocol.md.
		MinVersion: tls.VersionTLS12,
		Time:       now,
		// Full records from the first byte: nearly everything here is bulk.
		DynamicRecordSizingDisabled: true,
	}
	if fingerprint == "" {
		return cfg, nil
	}
	pin, err := ParseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	// The chain is verified below, against the pinned key instead of the
	// system's roots. VerifyConnection runs for resumed connections too.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		// ServerName is empty for an address of digits. Another name than the
		// server's is a proxy that speaks TLS itself: the pin is not for it.
		if s.ServerName != "" && !strings.EqualFold(s.ServerName, host) {
			return verifySystem(s.PeerCertificates, s.ServerName, now())
		}
		return verifyPinned(s.PeerCertificates, host, pin, now())
	}
	return cfg, nil
}

// verifyPinned checks that the chain leads from its first certificate up to one
// with the pinned key. That the pinned certificate is merely present proves
// nothing: anybody can send a certificate along.
func verifyPinned(chain []*x509.Certificate, name, pin string, now time.Time) error {
	if len(chain) == 0 {
		return errs.Of(errs.UntrustedCert, "reason", "no certificate")
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, cert := range chain {
		if Fingerprint(cert) == pin {
			roots.AddCert(cert)
			found = true
		} else {
			others.AddCert(cert)
		}
	}
	if !found {
		return untrusted(chain[0], errors.New("no certificate presented has the expected fingerprint"))
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, Intermediates: others, CurrentTime: now,
	})
	if err != nil {
		return untrusted(chain[0], err)
	}
	return nil
}

// verifySystem is what crypto/tls would have done.
func verifySystem(chain []*x509.Certificate, name string, now time.Time) error {
	if len(chain) == 0 {
		return errs.Of(errs.UntrustedCert, "reason", "no certificate")
	}
	others := x509.NewCertPool()
	for _, cert := range chain[1:] {
		others.AddCert(cert)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Intermediates: others, CurrentTime: now}); err != nil {
		return untrusted(chain[0], err)
	}
	return nil
}

// untrusted is E1002 with all that somebody needs to decide what to do.
func untrusted(cert *x509.Certificate, cause error) error {
	return errs.Of(errs.UntrustedCert,
		"subject", certName(cert.Subject.String(), cert.DNSNames),
		"issuer", cert.Issuer.String(),
		"fingerprint", Fingerprint(cert),
		"reason", strings.TrimPrefix(cause.Error(), "x509: "),
	).Because(cause)
}

func certName(subject string, names []string) string {
	if subject == "" {
		return strings.Join(names, ", ")
	}
	return subject
}

// certError turns the standard verification's failure into E1002; nil for any
// other error.
func certError(err error) error {
	var failed *tls.CertificateVerificationError
	if !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0 {
		return nil
	}
	return untrusted(failed.UnverifiedCertificates[0], failed.Err)
}

// connectError is E1001 with what happened below.
func connectError(server string, err error) error {
	return errs.Of(errs.CannotConnect, "server", server).Because(fmt.Errorf("connecting to %s: %w", server, err))
}
