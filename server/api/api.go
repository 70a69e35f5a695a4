// Package api is what devices ask the server over HTTP: the calls of
// docs/protocol.md, each a few lines that read a message, call the feature it
// belongs to, and write the answer. It keeps nothing but who is waiting.
package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
)

// MinClient is the oldest client that this server understands.
const MinClient = "0.1"

// Config is what the API is made of.
type Config struct {
	DB    *db.DB
	Vault *vault.Vault
	Keys  *keys.Ring
	Gate  *signin.Gate
	Log   *slog.Logger // slog.Default() when nil

	Name      string // of this server, for people
	MinClient string // the package's MinClient when empty

	// Received is told of bytes of puts as they arrive, finished or not.
	Received func(n int)

	// Fatal is told that the store can no longer keep its word, so that the
	// server must stop.
	Fatal func(error)
}

// API answers everything below wire.Prefix. It expects the request's id and
// address in access.CallerOf of the request's context.
type API struct {
	Config
	mux     *http.ServeMux
	waiting waiting
	reading streams
}

var _ http.Handler = (*API)(nil)

// New makes an API. Its Run must run for as long as it answers.
func New(c Config) *API {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.MinClient == "" {
		c.MinClient = MinClient
	}
	if c.Received == nil {
		c.Received = func(int) {}
	}
	if c.Fatal == nil {
		c.Fatal = func(error) {}
	}
	a := &API{Config: c, mux: http.NewServeMux()}
	a.waiting.stop = make(chan struct{})
	a.routes()
	return a
}

func (a *API) routes() {
	a.handle("GET hello", a.hello)
	a.handle("POST activate", a.activate)
	a.handle("POST challenge", a.challenge)
	a.handle("POST token", a.token)

	a.handle("GET profile", a.device(a.profile))
	a.handle("PUT status", a.device(a.status))
	a.handle("GET next", a.device(a.next))
	a.handle("POST requests/{number}", a.device(a.outcome))

	a.handle("POST sessions", a.device(a.openSession))
	a.handle("POST sessions/{session}/have", a.device(a.have))
	a.handle("PUT sessions/{session}/packs/{put}", a.device(a.put))
	a.handle("POST sessions/{session}/commit", a.device(a.commit))
	a.handle("GET snapshots", a.device(a.snapshots))

	a.handle("POST user-token", a.device(a.userToken))
	a.handle("POST snapshots/{hash}/open", a.user(a.openSnapshot))
	a.handle("POST read", a.user(a.readObjects))

	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, access.CallerOf(r.Context()), errs.New(errs.NotFound, "request.path"))
	})
}

// call answers a request of somebody who is known as far as the call needs.
type call func(w http.ResponseWriter, r *http.Request, by access.Caller) error

// handle routes a call, whose caller is not known yet.
func (a *API) handle(route string, c call) {
	method, path, _ := cut(route)
	gate := path != "hello" // which tells the version that is needed
	a.mux.HandleFunc(method+" "+wire.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
		by := access.CallerOf(r.Context())
		if gate && version.Less(r.Header.Get(wire.HeaderVersion), a.MinClient) {
			a.fail(w, r, by, errs.Of(errs.ClientTooOld, "v", a.MinClient))
			return
		}
		if err := c(w, r, by); err != nil {
			a.fail(w, r, by, err)
		}
	})
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(wire.HeaderVersion, version.Number())
	w.Header().Set("Cache-Control", "no-store")
	a.mux.ServeHTTP(w, r)
}

func (a *API) hello(w http.ResponseWriter, r *http.Request, _ access.Caller) error {
	return answer(w, http.StatusOK, wire.Hello{
		ServerTime: a.DB.Now().UTC().Truncate(time.Millisecond), Version: version.Number(), MinClient: a.MinClient, Name: a.Name,
	})
}
