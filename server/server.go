// Package server puts the server together: New opens everything a Config
// names, hands each part what it needs and mounts what can be asked over HTTP;
// Serve answers until its context ends. Nothing else wires parts.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/api"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/blob/disk"
	"github.com/backstay/backstay/server/console"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/portal"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// Server is a server, ready to serve.
type Server struct {
	// The parts that programs and tests reach behind the pages.
	DB     *db.DB
	Keys   *keys.Ring
	Hasher *passwords.Hasher
	Gate   *signin.Gate
	Desk   *approvals.Desk
	Vault  *vault.Vault

	cfg     Config
	blobs   *disk.Store
	api     *api.API
	certs   *certificates // nil without TLS
	metrics *metrics
	handler http.Handler
	console http.Handler // what the console's own listener answers; nil when it has none
	table   []access.Route
	jobs    []func(context.Context) // what it does of its own accord, each until its context ends
	address atomic.Value            // string: the URL of Serve's listener

	consoleAddress atomic.Value // string: the URL of the console's own listener

	work     sync.WaitGroup // what background does
	working  context.Context
	stopWork func()

	failOnce sync.Once
	failed   chan struct{} // closed by fail
	failure  error
}

// New opens the database, the vault and the keys, and makes them when there
// are none. A database of another version is refused with E1602.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.Log = slog.New(withCaller{cfg.Log.Handler()})
	s := &Server{cfg: cfg, failed: make(chan struct{})}
	s.working, s.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if err := passwords.Load(); err != nil {
		return err
	}
	if err := durable.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	if !s.cfg.PlainHTTP {
		if s.certs, err = newCertificates(&s.cfg); err != nil {
			return err
		}
	}
	if s.DB, err = db.Open(ctx, s.cfg.DB); err != nil {
		return err
	}
	s.DB.Now = s.cfg.Now
	if err := s.DB.Prepare(ctx); err != nil {
		return err
	}
	if s.blobs, err = disk.Open(s.cfg.Vault); err != nil {
		return err
	}
	if s.Keys, err = keys.Open(filepath.Join(s.cfg.Data, "keys")); err != nil {
		return err
	}
	s.Hasher = s.cfg.Hasher
	s.Gate = &signin.Gate{
		DB: s.DB, Hasher: s.Hasher, Keys: s.Keys, URL: s.url, Log: s.cfg.Log,
		Factors: &factors.Factors{DB: s.DB, Keys: s.Keys, Name: s.cfg.Name, URL: s.url},
	}
	if s.cfg.AdminListen != "" {
		s.Gate.Console, s.Gate.Factors.Console = s.consoleURL, s.consoleURL
	}
	s.Desk = approvals.New(s.Keys, s.consoleURL, append(devices.PurgeKinds(), resets.Kind())...)
	s.Vault, err = vault.Open(ctx, vault.Config{DB: s.DB, Blobs: s.blobs, Keys: s.Keys, Log: s.cfg.Log, Places: s.cfg.BackupsAtOnce})
	if err != nil {
		return err
	}
	s.metrics = newMetrics(&figures{s})
	routes, forAdmins, err := s.routes()
	if err != nil {
		return err
	}
	post := &mail.Sender{DB: s.DB, Keys: s.Keys, Log: s.cfg.Log, Name: s.cfg.Name, URL: s.url, Every: s.cfg.MailEvery}
	s.jobs = []func(context.Context){s.api.Run, s.cleanUp, s.remind, s.carryOut, post.Run}
	s.handler = &front{cfg: &s.cfg, host: s.cfg.publicHost(), metrics: s.metrics, next: routes}
	if s.cfg.AdminListen != "" {
		s.console = &front{cfg: &s.cfg, host: hostOf(s.consoleURL()), metrics: s.metrics, next: forAdmins}
	}
	return nil
}

// routes is the whole server: pages for people and the protocol for devices
// stand apart, each with its own defences. A console that listens for itself is
// not on the common routes.
func (s *Server) routes() (common, forConsole http.Handler, err error) {
	assets, err := web.LoadAssets()
	if err != nil {
		return nil, nil, err
	}
	s.api = api.New(api.Config{
		DB: s.DB, Vault: s.Vault, Keys: s.Keys, Gate: s.Gate, Log: s.cfg.Log, Name: s.cfg.Name,
		Received: func(n int) { s.metrics.received.Add(float64(n)) },
		Fatal:    s.fail,
	})
	pin, err := s.pin()
	if err != nil {
		return nil, nil, err
	}
	clients := deploy.Clients{Dir: filepath.Join(s.cfg.Data, "clients")}
	pages := entry.Config{DB: s.DB, Gate: s.Gate, Desk: s.Desk, Keys: s.Keys, Vault: s.Vault, PublicURL: s.cfg.PublicURL,
		Fingerprint: pin, Clients: clients, HideBuild: s.cfg.HideBuild, Background: s.background, Log: s.cfg.Log}
	users, err := portal.New(pages)
	if err != nil {
		return nil, nil, err
	}
	admins, err := console.New(pages)
	if err != nil {
		return nil, nil, err
	}
	mux, apart := http.NewServeMux(), http.NewServeMux()
	mux.Handle("/", users.Handler())
	own := mux
	if s.cfg.AdminListen != "" {
		own = apart
		own.Handle("GET /{$}", http.RedirectHandler(console.Base+"/", http.StatusSeeOther))
	}
	forAdmins := admins.Handler()
	own.Handle(console.Base, forAdmins)
	own.Handle(console.Base+"/", forAdmins)
	mux.Handle("/agent/", s.api)
	own.Handle("/api/", s.api) // as much as the console may
	if s.cfg.AdminListen != "" {
		mux.Handle("GET "+api.VersionPath, s.api)
	}
	s.table = slices.Concat(users.Routes(), admins.Routes(), s.api.Routes())
	also := func(by access.Guard, pattern string, h http.Handler) {
		mux.Handle(pattern, h)
		s.table = append(s.table, access.Route{Pattern: pattern, Guard: by})
	}
	also(access.Anyone, web.StaticPath, assets)
	also(access.Anyone, "GET "+deploy.ClientsPath, clients)
	also(access.Anyone, "GET /healthz", http.HandlerFunc(s.health))
	also(access.Monitor, "GET /metrics", s.metrics.handler(s.cfg.MetricsAllowed, s.cfg.TrustedProxies))
	apart.Handle(web.StaticPath, assets)
	apart.HandleFunc("GET /healthz", s.health)
	return mux, apart, nil
}

// Routes are all addresses that the server answers to, and who gets to them.
func (s *Server) Routes() []access.Route { return s.table }

// pin is the fingerprint by which devices must trust this server's certificate:
// of a self-signed one, which no system trusts by itself.
func (s *Server) pin() (string, error) {
	if s.certs == nil || s.cfg.TLSCertificate != "" {
		return "", nil
	}
	chain, err := Chain(s.cfg)
	if err != nil {
		return "", err
	}
	return wire.Fingerprint(chain[0]), nil
}

// url is where people reach this server, for links in mails and for what is
// bound to its name: as it is configured, whatever a request calls it.
func (s *Server) url() string {
	if url, ok := s.address.Load().(string); ok {
		return url
	}
	return s.cfg.URL(listen(s.cfg.Listen))
}

// consoleURL is where administrators reach the console: this server's address,
// unless it listens for itself.
func (s *Server) consoleURL() string {
	if url, ok := s.consoleAddress.Load().(string); ok {
		return url
	}
	if s.cfg.AdminListen != "" {
		return s.cfg.ConsoleURL(listen(s.cfg.AdminListen))
	}
	return s.url()
}

// listen is an address to listen at, as the configuration has it.
type listen string

func (listen) Network() string  { return "tcp" }
func (l listen) String() string { return string(l) }

// Handler answers every request, as Serve's listener gets them.
func (s *Server) Handler() http.Handler { return s.handler }

// Close gives up what New opened. Serve has ended before.
func (s *Server) Close() error {
	var all []error
	s.stopWork()
	s.work.Wait()
	if s.Gate != nil {
		s.Gate.Wait()
	}
	if s.DB != nil {
		all = append(all, s.DB.Close())
	}
	if s.blobs != nil {
		all = append(all, s.blobs.Close())
	}
	return errors.Join(all...)
}

// background does what somebody asked for and does not wait for. Nobody asks any
// more when the server is closed, and what runs then is stopped.
func (s *Server) background(do func(context.Context)) {
	s.work.Go(func() { do(s.working) })
}

// fail makes Serve end with err: the store or the database can no longer keep
// its word, and going on would promise what is not true (R12).
func (s *Server) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		close(s.failed)
	})
}
