package wire

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
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
		ServerName: host,
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
		return verifyPinned(s.PeerCertificates, host, pin, now())
	}
	return cfg, nil
}

// verifyPinned checks that the chain leads from its first certificate up to one
// with the pinned key. That the pinned certificate is merely present proves
// nothing: anybody can send a certificate along.
func verifyPinned(chain []*x509.Certificate, name, pin string, now time.Time) error {
	if len(chain) == 0 {
		return errs.Of(errs.UntrustedCert, "why", CertUnusable)
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
		return untrusted(chain[0], notPinned(chain, others, now), name, now, errors.New("no certificate presented has the expected fingerprint"))
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, Intermediates: others, CurrentTime: now,
	})
	if err != nil {
		return untrusted(chain[0], reason(err, now), name, now, err)
	}
	return nil
}

// Why a certificate is not trusted, each a sentence below connect.why. Others
// decide by them what to show, so they stay as they are.
const (
	CertExpired     = "certificate.expired"
	CertNotYet      = "certificate.not_yet_valid"
	CertAuthority   = "certificate.unknown_authority"
	CertName        = "certificate.wrong_name"
	CertIntercepted = "certificate.intercepted" // another authority than the pinned one, which nobody knows
	CertOther       = "certificate.not_pinned"  // another key than the pinned one
	CertUnusable    = "certificate.unusable"
)

// notPinned tells a connection into which somebody stepped from a server with
// another key than the pinned one: who opens connections on their way signs
// with an authority of their own.
func notPinned(chain []*x509.Certificate, others *x509.CertPool, now time.Time) string {
	first := chain[0]
	if first.CheckSignatureFrom(first) == nil || bytes.Equal(first.RawIssuer, first.RawSubject) {
		return CertOther
	}
	if _, err := first.Verify(x509.VerifyOptions{Intermediates: others, CurrentTime: now}); err == nil {
		return CertOther
	}
	return CertIntercepted
}

// reason is why a verification failed.
func reason(err error, now time.Time) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return CertNotYet
		}
		return CertExpired
	case errors.As(err, &name):
		return CertName
	case errors.As(err, &unknown):
		return CertAuthority
	}
	return CertUnusable
}

// instant is how times are told here: to people and to those who help them.
const instant = "2006-01-02 15:04:05 MST"

// untrusted is E1002 with all that somebody needs to decide what to do.
func untrusted(cert *x509.Certificate, why, name string, now time.Time, cause error) *errs.Error {
	args := certArgs(cert)
	args["step"], args["why"], args["name"] = string(StepCertificate), why, name
	args["clock"] = now.UTC().Format(instant)
	args["reason"] = strings.TrimPrefix(cause.Error(), "x509: ")
	e := errs.Of(errs.UntrustedCert).Because(cause)
	e.Args = args
	return e
}

// certArgs are what tells one certificate from another.
func certArgs(cert *x509.Certificate) map[string]any {
	sum := sha256.Sum256(cert.Raw)
	return map[string]any{
		"subject":     cert.Subject.String(),
		"names":       strings.Join(certNames(cert), ", "),
		"issuer":      cert.Issuer.String(),
		"not_before":  cert.NotBefore.UTC().Format(instant),
		"not_after":   cert.NotAfter.UTC().Format(instant),
		"certificate": hex.EncodeToString(sum[:]),
		"fingerprint": Fingerprint(cert), // of its key
	}
}

// certDetails puts what is known of a certificate in order.
func certDetails(args map[string]any) (list []Detail) {
	for _, name := range []string{"subject", "names", "issuer", "not_before", "not_after", "clock", "certificate", "fingerprint"} {
		if value, _ := args[name].(string); value != "" {
			list = append(list, Detail{name, value})
		}
	}
	return list
}

// certNames are the names that a certificate is for.
func certNames(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// certError turns the standard verification's failure into E1002; nil for any
// other error.
func (c *Client) certError(err error, name string) *errs.Error {
	var failed *tls.CertificateVerificationError
	if !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0 {
		return nil
	}
	now := c.cfg.Now()
	return untrusted(failed.UnverifiedCertificates[0], reason(failed.Err, now), name, now, failed.Err)
}
