package server

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/api"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// front is what stands before every handler, whatever it serves. Its steps, in
// their order: name the request and find out who asks; count, log and survive
// it; set the headers that every response carries; refuse what is not for us;
// bound how slowly bodies may come and go.
type front struct {
	cfg     *Config
	host    string // that must be asked for, "" for any
	metrics *metrics
	next    http.Handler
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, answer, end := f.begin(w, r)
	defer end()
	if f.admit(answer, r) {
		f.next.ServeHTTP(answer, r)
	}
}

// begin does what comes before a request's handler, and returns what comes after
// it, to be deferred. Little of it stays on the stack: ten thousand devices that
// wait have one each.
func (f *front) begin(w http.ResponseWriter, r *http.Request) (_ *http.Request, answer *response, end func()) {
	began := f.cfg.Now()
	caller := access.Caller{Kind: access.Anonymous, IP: clientIP(r, f.cfg.TrustedProxies).String(), RequestID: newRequestID()}
	ctx, asked := access.Notice(access.WithCaller(r.Context(), caller))
	r = r.WithContext(ctx)
	w.Header().Set(wire.HeaderRequestID, caller.RequestID)
	web.SetHeaders(w.Header())

	answer = newResponse(w)
	body := pace(answer.control, r)
	return r, answer, func() {
		failure := recover()
		aborted := failure == http.ErrAbortHandler
		if failure != nil && !aborted {
			f.cfg.Log.Error("request panicked", "request", caller.RequestID, "panic", failure, "stack", string(debug.Stack()))
			if answer.status == 0 {
				refuse(answer, r, http.StatusInternalServerError, "error.unexpected")
			} else {
				aborted = true // half an answer must not look like a whole one
			}
		}
		body.finish()
		f.record(r.WithContext(access.WithCaller(r.Context(), asked())), caller, answer, f.cfg.Now().Sub(began), aborted)
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}
}

// admit refuses what no handler should see.
func (f *front) admit(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method == http.MethodTrace || r.Method == http.MethodConnect:
		refuse(w, r, http.StatusMethodNotAllowed, "request.method")
	case f.cfg.PlainHTTP && !probe(r) && !within(peerIP(r), f.cfg.TrustedProxies):
		// Without TLS, only a proxy that has it may pass things on.
		refuse(w, r, http.StatusForbidden, "request.proxy_only")
	case f.host != "" && !probe(r) && normalHost(r.Host) != f.host:
		// A name that is not ours came by a wrong record or a forged header; no
		// link and no cookie may be made for it.
		refuse(w, r, http.StatusMisdirectedRequest, "request.host")
	default:
		if agentPath(r.URL.Path) && r.URL.Path != api.VersionPath {
			r.Header.Del("Cookie") // tokens only: a browser cannot be made to act as a device
		}
		return true
	}
	return false
}

// probe reports whether a request is a monitor's, which asks by address.
func probe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/metrics" }

// agentPath reports whether a path is asked for by programs with tokens.
func agentPath(path string) bool {
	return strings.HasPrefix(path, "/agent/") || strings.HasPrefix(path, "/api/")
}

// record counts and logs a request. Its query stays out of the log, since it
// may hold what people searched for or chose.
func (f *front) record(r *http.Request, caller access.Caller, answer *response, took time.Duration, aborted bool) {
	class, status := routeClass(r.URL.Path), answer.status
	if status == 0 {
		status = http.StatusOK // nothing was written: an empty answer
	}
	f.metrics.requests.WithLabelValues(class, strconv.Itoa(status)).Inc()
	f.metrics.seconds.WithLabelValues(class).Observe(took.Seconds())
	level := slog.LevelInfo
	if probe(r) || class == "asset" || class == "agent_next" {
		level = slog.LevelDebug
	}
	f.cfg.Log.LogAttrs(r.Context(), level, "request",
		slog.String("request", caller.RequestID), slog.String("ip", caller.IP),
		slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.Int64("sent", answer.sent),
		slog.Duration("took", took), slog.Bool("aborted", aborted))
}

// refuse answers in the form that the asker reads: a problem for a device, a
// line of text for anybody else.
func refuse(w http.ResponseWriter, r *http.Request, status int, key string) {
	id := w.Header().Get(wire.HeaderRequestID)
	printer := locale.For(web.LangOf(r))
	if !agentPath(r.URL.Path) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		w.Write([]byte(printer.T(key) + " (" + id + ")\n"))
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(wire.Problem{
		Title: http.StatusText(status), Status: status, Detail: printer.T(key), Key: key,
		Retryable: status == http.StatusInternalServerError, RequestID: id,
	})
}

// newRequestID is short enough to be read out on the telephone.
func newRequestID() string { return rand.Text()[:13] }

// routeClass sorts requests for the metrics, into few enough kinds.
func routeClass(path string) string {
	call, agent := strings.CutPrefix(path, "/agent/v1/")
	switch {
	case agent:
		return "agent_" + agentCall(strings.Split(call, "/"))
	case path == "/healthz" || path == "/metrics":
		return "probe"
	case strings.HasPrefix(path, web.StaticPath):
		return "asset"
	case strings.HasPrefix(path, "/api/"):
		return "api"
	case path == "/admin" || strings.HasPrefix(path, "/admin/"):
		return "console"
	}
	return "portal"
}

func agentCall(parts []string) string {
	switch parts[0] {
	case "sessions", "snapshots":
		if len(parts) < 3 {
			return parts[0]
		}
		switch parts[2] {
		case "have", "packs", "commit", "open":
			return parts[2]
		}
	case "sign-in", "register", "password", "username", "hello", "activate", "challenge", "token", "profile", "status", "next", "requests", "user-token", "read":
		return parts[0]
	}
	return "other"
}
