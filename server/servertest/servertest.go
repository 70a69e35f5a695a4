// Package servertest gives tests a whole server in one line: over TLS on a port
// of its own, on a database and a vault of its own, with an organisation, an
// administrator and a user whose passwords are known.
package servertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/wire"
)

// The passwords of the accounts that New makes, and of those made by User.
const (
	AdminPassword = "Administrator-1"
	UserPassword  = "User-Password-1"
)

// Hasher is cheap: tests make many accounts and test no guessing.
var Hasher = &passwords.Hasher{Time: 1, Memory: 64, AtOnce: 8}

// Server is a running server. The embedded one reaches behind the pages.
type Server struct {
	*server.Server
	T           testing.TB
	URL         string // https://127.0.0.1:PORT
	Fingerprint string // of its certificate, for --ca-fingerprint
	Config      server.Config
	Org         orgs.Org
	Admin       accounts.User // a server administrator, AdminPassword
	User        accounts.User // UserPassword

	cert *x509.Certificate
	stop func()
}

// New starts a server that is stopped at the end of the test. The options edit
// its configuration.
func New(t testing.TB, options ...func(*server.Config)) *Server {
	t.Helper()
	cfg := server.Config{
		Data: t.TempDir(), DB: dbtest.DSN(t), Listen: "127.0.0.1:0", Hasher: Hasher, MailEvery: 100 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&logs{t: t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, option := range options {
		option(&cfg)
	}
	s := start(t, cfg)
	by := access.System("servertest")
	var err error
	if s.Org, _, err = s.EnsureOrg(t.Context(), by, "Test"); err != nil {
		t.Fatal(err)
	}
	admin := accounts.New{Org: s.Org.ID, Kind: access.AdminKind, Role: access.ServerAdmin, Username: "admin", Email: "admin@example.org"}
	if s.Admin, err = s.NewAccount(t.Context(), by, admin, AdminPassword); err != nil {
		t.Fatal(err)
	}
	s.User = s.NewUser("user")
	return s
}

// Named gives the server a public address with a name, of this computer:
// browsers make no passkeys for an address of numbers. Its URL is that address.
func Named(cfg *server.Config) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a test without a port ends here
	}
	defer l.Close()
	cfg.Listen = l.Addr().String()
	_, port, _ := net.SplitHostPort(cfg.Listen)
	cfg.PublicURL = named + port
}

const named = "https://localhost:"

// start runs a server with cfg until the end of the test.
func start(t testing.TB, cfg server.Config) *Server {
	t.Helper()
	inner, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		t.Fatal(errors.Join(err, inner.Close()))
	}
	// From now on there is an address to come back to.
	cfg.Listen = l.Addr().String()
	s := &Server{Server: inner, T: t, Config: cfg, URL: "https://" + cfg.Listen}
	if cfg.PlainHTTP {
		s.URL = "http://" + cfg.Listen
	} else {
		if strings.HasPrefix(cfg.PublicURL, named) {
			s.URL = cfg.PublicURL
		}
		chain, err := server.Chain(cfg)
		if err != nil {
			t.Fatal(errors.Join(err, l.Close(), inner.Close()))
		}
		s.cert, s.Fingerprint = chain[0], wire.Fingerprint(chain[0])
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- inner.Serve(ctx, l) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, inner.Close()); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// Stop stops the server, as SIGTERM would.
func (s *Server) Stop() { s.stop() }

// Restart stops the server and starts another on the same data and address.
func (s *Server) Restart() {
	s.T.Helper()
	s.Stop()
	s.replace(start(s.T, s.Config))
}

// Beside starts a second server on the same database, keys and vault, at an
// address of its own.
func (s *Server) Beside() *Server {
	s.T.Helper()
	cfg := s.Config
	cfg.Listen = "127.0.0.1:0"
	second := *s
	second.replace(start(s.T, cfg))
	return &second
}

func (s *Server) replace(with *Server) {
	s.Server, s.URL, s.Fingerprint, s.Config, s.cert, s.stop = with.Server, with.URL, with.Fingerprint, with.Config, with.cert, with.stop
}

// NewUser makes another user of the organisation, with UserPassword.
func (s *Server) NewUser(username string) accounts.User {
	s.T.Helper()
	u, err := s.NewAccount(s.T.Context(), access.System("servertest"), accounts.New{
		Org: s.Org.ID, Kind: access.UserKind, Username: username, Email: username + "@example.org"}, UserPassword)
	if err != nil {
		s.T.Fatal(err)
	}
	return u
}

// Client is a browser's HTTP client: it trusts the server, keeps cookies of its
// own, and follows no redirect.
func (s *Server) Client() *http.Client {
	s.T.Helper()
	roots := x509.NewCertPool()
	if s.cert != nil {
		roots.AddCert(s.cert)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.T.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	s.T.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// logs shows what the server has to say where the test failed.
type logs struct{ t testing.TB }

func (l *logs) Write(line []byte) (int, error) {
	l.t.Helper()
	if text := strings.TrimSpace(string(line)); text != "" {
		l.t.Log(text)
	}
	return len(line), nil
}
