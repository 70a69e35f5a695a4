// Package api is what programs ask the server over HTTP: devices by the calls of
// docs/protocol.md, administrators' programs by those of /api/openapi.json, each a
// few lines that read a message, call the feature it belongs to, and write the
// answer. It keeps nothing but who is waiting, and who asked how often.
package api

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
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

// VersionPath is where a server tells those whom it knows which build it is.
const VersionPath = "/api/v1/version"

// API answers everything below wire.Prefix and /api/. It expects the request's id
// and address in access.CallerOf of the request's context.
type API struct {
	Config
	mux     *http.ServeMux
	table   []access.Route
	huma    huma.API
	asked   asked
	waiting waiting
	reading streams[access.UserID]
	putting puts
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
	a.handle(access.Anyone, "GET hello", a.hello)
	a.handle(access.Anyone, "GET sign-in", a.signIn)
	a.handle(access.Anyone, "POST discover", a.discover)
	a.handle(access.Anyone, "POST register", a.register)
	a.handle(access.Anyone, "POST register/resend", a.resendCode)
	a.handle(access.Anyone, "POST register/confirm", a.confirmRegistration)
	a.handle(access.Anyone, "POST password/forgot", a.forgotPassword)
	a.handle(access.Anyone, "POST username/forgot", a.forgotUsername)
	a.handle(access.Anyone, "POST password/replace", a.replacePassword)

	a.handle(access.Anyone, "POST activate", a.activate)
	a.handle(access.Anyone, "POST activations", a.beginActivation)
	a.handle(access.Anyone, "POST activations/preview", a.previewActivation)
	a.handle(access.Anyone, "POST activations/finish", a.finishActivation)
	a.handle(access.Anyone, "POST challenge", a.challenge)
	a.handle(access.Anyone, "POST token", a.token)

	a.handle(access.AnyDevice, "GET profile", a.profile)
	a.handle(access.AnyDevice, "PUT status", a.status)
	a.route(access.AnyDevice, "GET next", a.next)
	a.handle(access.AnyDevice, "POST requests/{number}", a.outcome)

	a.handle(access.AnyDevice, "POST sessions", a.openSession)
	a.handle(access.AnyDevice, "POST sessions/{session}/have", a.have)
	a.handle(access.AnyDevice, "PUT sessions/{session}/packs/{put}", a.put)
	a.handle(access.AnyDevice, "POST sessions/{session}/commit", a.commit)
	a.handle(access.AnyDevice, "DELETE turn", a.leave)
	a.handle(access.AnyDevice, "GET snapshots", a.unlocked(a.snapshots))

	a.handle(access.AnyDevice, "POST user-token", a.unlocked(a.userToken))
	a.handle(access.AnyDevice, "POST password/change", a.unlocked(a.changePassword))
	a.handle(access.PresentUser, "POST restores", a.beginRestore)
	a.handle(access.PresentUser, "POST snapshots/{hash}/open", a.openSnapshot)
	a.handle(access.PresentUser, "POST read", a.readObjects)

	a.table = append(a.table, access.Route{Pattern: "GET " + VersionPath, Guard: access.Known})
	a.mux.HandleFunc("GET "+VersionPath, func(w http.ResponseWriter, r *http.Request) {
		if err := a.version(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
	a.administration()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, errs.New(errs.NotFound, "request.path"))
	})
}

// call answers a request of somebody who is known as far as the call needs.
type call func(w http.ResponseWriter, r *http.Request, by access.Caller) error

// handle routes a call that those behind the guard may make.
func (a *API) handle(guard access.Guard, route string, c call) {
	switch guard {
	case access.AnyDevice:
		c = a.device(c)
	case access.PresentUser:
		c = a.user(a.unlocked(c))
	}
	a.route(guard, route, c)
}

// route routes a call that looks itself who makes it.
func (a *API) route(guard access.Guard, route string, c call) {
	method, path, _ := cut(route)
	gate := path != "hello" // which tells the version that is needed
	pattern := method + " " + wire.Prefix + path
	a.table = append(a.table, access.Route{Pattern: pattern, Guard: guard})
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if gate && version.Less(r.Header.Get(wire.HeaderVersion), a.MinClient) {
			a.fail(w, r, errs.Of(errs.ClientTooOld, "v", a.MinClient))
			return
		}
		if err := c(w, r, access.CallerOf(r.Context())); err != nil {
			a.fail(w, r, err)
		}
	})
}

// Routes are all calls, and who may make them.
func (a *API) Routes() []access.Route { return a.table }

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

// version tells those whom the server knows what this build is. What others may
// know of it, the log-in page decides.
func (a *API) version(w http.ResponseWriter, r *http.Request) error {
	if err := a.known(r); err != nil {
		return err
	}
	return answer(w, http.StatusOK, wire.Version{Version: version.Version, Release: version.Release, Build: version.Build})
}

// known refuses who shows no token, of a device or a user at one, and no cookie of
// a log-in at a portal. To change anything a cookie would not do here: other sites
// can have a browser send it.
func (a *API) known(r *http.Request) error {
	by := access.CallerOf(r.Context())
	if token := bearer(r); token != "" {
		return a.DB.Read(r.Context(), func(tx *db.Tx) error {
			if strings.HasPrefix(token, accounts.UserTokenPrefix) {
				_, err := accounts.FindTokenAlone(r.Context(), tx, token, by)
				return err
			}
			_, err := devices.Verify(r.Context(), tx, token, by)
			return err
		})
	}
	for _, portal := range []accounts.Portal{accounts.ToPortal, accounts.ToConsole} {
		cookie, err := r.Cookie(portal.Cookie())
		if err != nil {
			continue
		}
		_, _, err = accounts.FindSession(r.Context(), a.DB, portal, cookie.Value)
		if errs.KindOf(err) != errs.Unauthenticated {
			return err
		}
	}
	return errs.New(errs.Unauthenticated, "request.version")
}
