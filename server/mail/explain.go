package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"syscall"
)

// explain says in words what kept us from speaking with the mail server, and
// what to do about it.
func (r relay) explain(err error) *refusal {
	host, number := r.Address()
	port := strconv.Itoa(number)
	name := (*net.DNSError)(nil)
	switch {
	case errors.As(err, &name):
		return refuse("mail.error.name", "host", host, "answer", say(name))
	case errors.Is(err, syscall.ECONNREFUSED):
		return refuse("mail.error.refused", "host", host, "port", port)
	}
	if why := r.certificate(err); why != nil {
		return why
	}
	if answer := (*textproto.Error)(nil); errors.As(err, &answer) {
		return refuse("mail.error.answer", "host", host, "answer", say(err))
	}
	if odd := textproto.ProtocolError(""); errors.As(err, &odd) {
		return refuse("mail.error.protocol", "host", host, "port", port)
	}
	if timeout(err) {
		return refuse("mail.error.timeout", "host", host, "port", port)
	}
	if broken(err) {
		return refuse("mail.error.broken", "host", host, "port", port)
	}
	return refuse("mail.error.connect", "host", host, "port", port, "answer", say(err))
}

// certificate explains what is wrong with TLS, nil when nothing is.
func (r relay) certificate(err error) *refusal {
	var (
		record  tls.RecordHeaderError
		alert   tls.AlertError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		other   *tls.CertificateVerificationError
	)
	host, number := r.Address()
	switch {
	case errors.As(err, &record):
		return refuse("mail.error.tls.none", "host", host, "port", strconv.Itoa(number))
	case errors.As(err, &name):
		return refuse("mail.error.tls.name", "host", host)
	case errors.As(err, &unknown):
		return refuse("mail.error.tls.unknown", "host", host)
	case errors.As(err, &invalid), errors.As(err, &other), errors.As(err, &alert):
		return refuse("mail.error.tls", "host", host, "answer", say(err))
	}
	return nil
}

func timeout(err error) bool {
	network := net.Error(nil)
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}

// broken reports whether the connection ended.
func broken(err error) bool {
	return timeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
