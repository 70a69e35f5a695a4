// Package mailtest gives tests a mail server: a real one, over SMTP, that keeps
// what it takes and shows it as its readers would find it, with the links and
// codes in it. It can be told to refuse.
package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
)

// Server is a running mail server.
type Server struct {
	Settings settings.Mail  // by which it is reached
	Password string         // of Settings.Username
	Roots    *x509.CertPool // that its certificate is from

	t      testing.TB
	mu     sync.Mutex
	mails  []*Mail
	taken  map[*Mail]bool // by Wait
	came   chan struct{}  // closed and replaced when a mail comes
	refuse func(stage, who string) error
}

// Option makes a server other than New does by itself.
type Option func(*Server)

// Security protects the connection as settings.StartTLS or settings.TLS.
func Security(how string) Option {
	return func(s *Server) { s.Settings.Security = how }
}

// Login takes mail only from who logs in.
func Login(username, password string) Option {
	return func(s *Server) { s.Settings.Username, s.Password = username, password }
}

// New starts a mail server that is stopped at the end of the test. Without
// options it speaks in the clear and takes everything.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{t: t, taken: map[*Mail]bool{}, came: make(chan struct{}), Roots: x509.NewCertPool()}
	s.Settings = settings.Mail{Host: "127.0.0.1", Security: settings.Plain, From: "backup@backstay.example", FromName: "Backstay"}
	for _, option := range options {
		option(s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Settings.Port = l.Addr().(*net.TCPAddr).Port
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{server: s, known: s.Settings.Username == ""}, s.refusal("connect", "")
	}))
	server.Domain = "mail.backstay.example"
	server.ReadTimeout, server.WriteTimeout = 30*time.Second, 30*time.Second
	server.MaxMessageBytes = 1 << 20
	server.EnableSMTPUTF8 = true
	server.AllowInsecureAuth = s.Settings.Security == settings.Plain
	server.ErrorLog = log.New(io.Discard, "", 0) // who hangs up in the middle is a test
	if s.Settings.Security != settings.Plain {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.certificate()}}
	}
	if s.Settings.Security == settings.TLS {
		l = tls.NewListener(l, server.TLSConfig)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		l.Close() // which the server does not know before it has begun to serve
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("serving mail: %v", err)
		}
	})
	return s
}

// certificate is a new one for 127.0.0.1, which Roots then trusts.
func (s *Server) certificate() tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailtest"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Refuse asks f at each stage whether to go on: "connect" and "login" with
// nobody, "from", "to" and "data" with whose mail it is. Temporary and Lasting
// make what f answers.
func (s *Server) Refuse(f func(stage, who string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// Temporary is the answer that it may work later.
func Temporary(text string) error {
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: text}
}

// Lasting is the answer that it never will.
func Lasting(text string) error {
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: text}
}

func (s *Server) refusal(stage, who string) error {
	s.mu.Lock()
	f := s.refuse
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(stage, who)
}

// All are the mails that came so far, oldest first.
func (s *Server) All() []*Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Wait returns the oldest mail to an address, of one template, that Wait has
// not returned yet. It gives one that is on its way the time to come.
func (s *Server) Wait(to string, template mail.Template) *Mail {
	s.t.Helper()
	late := time.After(20 * time.Second)
	for {
		m, came := s.next(to, template)
		if m != nil {
			return m
		}
		select {
		case <-came:
		case <-late:
			s.t.Fatalf("no mail %s came for %s; there are %v", template, to, s.All())
		}
	}
}

func (s *Server) next(to string, template mail.Template) (*Mail, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mails {
		if m.To == to && m.Template == template && !s.taken[m] {
			s.taken[m] = true
			return m, nil
		}
	}
	return nil, s.came
}

func (s *Server) take(m *Mail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	close(s.came)
	s.came = make(chan struct{})
}

// session is one connection.
type session struct {
	server   *Server
	known    bool
	from, to string
}

var _ smtp.AuthSession = (*session)(nil)

func (s *session) AuthMechanisms() []string {
	if s.server.Settings.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if err := s.server.refusal("login", ""); err != nil {
			return err
		}
		if username != s.server.Settings.Username || password != s.server.Password {
			return smtp.ErrAuthFailed
		}
		s.known = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return s.server.refusal("from", from)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.server.refusal("to", to)
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.server.refusal("data", s.to); err != nil {
		return err
	}
	m, err := Parse(raw)
	if err != nil {
		s.server.t.Errorf("a mail for %s cannot be read: %v\n%s", s.to, err, raw)
		return Lasting("unreadable")
	}
	if m.From != s.from || m.To != s.to {
		s.server.t.Errorf("a mail from %s to %s came as from %s to %s", m.From, m.To, s.from, s.to)
	}
	s.server.take(m)
	return nil
}

func (s *session) Reset() { s.from, s.to = "", "" }

func (s *session) Logout() error { return nil }
