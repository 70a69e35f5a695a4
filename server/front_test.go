package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/wire"
)

// newFront puts the front before next; log gets what it logs.
func newFront(cfg Config, next http.HandlerFunc) (f *front, log *bytes.Buffer) {
	log = &bytes.Buffer{}
	cfg.Log = slog.New(withCaller{slog.NewJSONHandler(log, nil)})
	cfg.setDefaults()
	return &front{cfg: &cfg, host: cfg.publicHost(), metrics: newMetrics(prometheus.NewRegistry()), next: next}, log
}

func get(f http.Handler, target string, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func TestFrontSaysWhoAsks(t *testing.T) {
	t.Parallel()
	var got access.Caller
	f, log := newFront(Config{TrustedProxies: prefixes(t, "192.0.2.0/24")}, func(_ http.ResponseWriter, r *http.Request) {
		got = access.CallerOf(r.Context())
	})
	w := get(f, "/devices?q=secret-search", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "198.51.100.7") })
	if got.IP != "198.51.100.7" || got.Kind != access.Anonymous || len(got.RequestID) < 10 {
		t.Errorf("caller = %+v", got)
	}
	if id := w.Header().Get(wire.HeaderRequestID); id != got.RequestID {
		t.Errorf("%s = %q, want %q", wire.HeaderRequestID, id, got.RequestID)
	}
	for _, want := range []string{got.RequestID, "198.51.100.7", `"path":"/devices"`, `"status":200`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	if strings.Contains(log.String(), "secret-search") {
		t.Errorf("the query is in the log: %s", log)
	}
	first := got.RequestID
	w2 := get(f, "/", func(r *http.Request) { r.Header.Set(wire.HeaderRequestID, "chosen-by-client") })
	if id := w2.Header().Get(wire.HeaderRequestID); id == "chosen-by-client" || id == first {
		t.Errorf("the second request has the id %q", id)
	}
}

// The line of a request names whom the handlers behind found out, also those
// that ended in a panic.
func TestFrontLogsWhoItWas(t *testing.T) {
	t.Parallel()
	f, log := newFront(Config{}, func(_ http.ResponseWriter, r *http.Request) {
		by := access.CallerOf(r.Context())
		by.User, by.Device, by.Name = "u1", "d1", "alice"
		ctx := access.WithCaller(r.Context(), by)
		if got := access.CallerOf(ctx); got != by {
			t.Errorf("the caller behind is %+v", got)
		}
		if r.URL.Path == "/panic" {
			panic("oh")
		}
	})
	for _, path := range []string{"/", "/panic"} {
		log.Reset()
		get(f, path, nil)
		for _, want := range []string{`"user":"u1"`, `"device":"d1"`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %s: %s", want, log)
			}
		}
		if strings.Contains(log.String(), "alice") {
			t.Errorf("the log names somebody: %s", log)
		}
	}
	log.Reset()
	f2, log2 := newFront(Config{}, func(http.ResponseWriter, *http.Request) {})
	get(f2, "/", nil)
	if strings.Contains(log2.String(), `"user"`) {
		t.Errorf("the log names a user where nobody is known: %s", log2)
	}
}

func TestFrontRefuses(t *testing.T) {
	t.Parallel()
	public := Config{PublicURL: "https://backup.example.org"}
	plain := Config{PublicURL: "https://backup.example.org", PlainHTTP: true, TrustedProxies: prefixes(t, "10.0.0.1/32")}
	for _, c := range []struct {
		name         string
		cfg          Config
		method       string
		target, host string
		peer         string
		want         int
	}{
		{"no public URL: any name", Config{}, "GET", "/", "anything", "", 200},
		{"our name", public, "GET", "/", "backup.example.org", "", 200},
		{"our name in capitals", public, "GET", "/", "BACKUP.example.org", "", 200},
		{"our name with the usual port", public, "GET", "/", "backup.example.org:443", "", 200},
		{"our name with a final dot", public, "GET", "/", "backup.example.org.", "", 200},
		{"our name with another port", public, "GET", "/", "backup.example.org:8443", "", 421},
		{"another name", public, "GET", "/", "evil.example.com", "", 421},
		{"another name for the agent", public, "GET", "/agent/v1/hello", "evil.example.com", "", 421},
		{"a longer name", public, "GET", "/", "backup.example.org.evil.example.com", "", 421},
		{"an address", public, "GET", "/", "127.0.0.1:8443", "", 421},
		{"no name", public, "GET", "/", "", "", 421},
		{"a monitor asks by address", public, "GET", "/healthz", "127.0.0.1:8443", "", 200},
		{"port in the public URL", Config{PublicURL: "https://b.example.org:8443"}, "GET", "/", "b.example.org:8443", "", 200},
		{"port in the public URL only", Config{PublicURL: "https://b.example.org:8443"}, "GET", "/", "b.example.org", "", 421},
		{"TRACE", Config{}, "TRACE", "/", "x", "", 405},
		{"CONNECT", Config{}, "CONNECT", "/", "x", "", 405},
		{"plain HTTP from the proxy", plain, "GET", "/", "backup.example.org", "10.0.0.1:999", 200},
		{"plain HTTP from anybody", plain, "GET", "/", "backup.example.org", "10.0.0.2:999", 403},
		{"plain HTTP from who claims to be the proxy", plain, "GET", "/agent/v1/hello", "backup.example.org", "192.0.2.1:999", 403},
		{"plain HTTP from a monitor", plain, "GET", "/healthz", "10.0.0.2", "10.0.0.2:999", 200},
	} {
		called := false
		f, _ := newFront(c.cfg, func(http.ResponseWriter, *http.Request) { called = true })
		r := httptest.NewRequest(c.method, "/", nil)
		r.URL.Path, r.Host = c.target, c.host
		r.Header.Set("X-Forwarded-Host", "backup.example.org")
		r.Header.Set("X-Forwarded-For", "10.0.0.1")
		if c.peer != "" {
			r.RemoteAddr = c.peer
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != c.want || called != (c.want == 200) {
			t.Errorf("%s: status %d, handler called %v, want %d", c.name, w.Code, called, c.want)
		}
		if w.Code == 200 {
			continue
		}
		wantType := "text/plain; charset=utf-8"
		if agentPath(c.target) {
			wantType = "application/problem+json"
		}
		if got := w.Header().Get("Content-Type"); got != wantType {
			t.Errorf("%s: the refusal is %s, want %s", c.name, got, wantType)
		}
	}
}

func TestFrontSetsHeadersOnEverything(t *testing.T) {
	t.Parallel()
	f, _ := newFront(Config{PublicURL: "https://b.example.org"}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panics":
			panic("boom")
		case "/missing":
			http.NotFound(w, r)
		}
	})
	for _, target := range []string{"/", "/missing", "/panics", "/agent/v1/x", "/static/x", "/healthz", "https://elsewhere.example.org/"} {
		w := get(f, target, func(r *http.Request) {
			if r.Host == "example.com" {
				r.Host = "b.example.org"
			}
		})
		for _, name := range []string{
			"Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "Referrer-Policy",
			"Cache-Control", "X-Frame-Options", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", wire.HeaderRequestID,
		} {
			if w.Header().Get(name) == "" {
				t.Errorf("%s (%d) has no %s", target, w.Code, name)
			}
		}
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") || name == "Server" {
				t.Errorf("%s sends %s", target, name)
			}
		}
	}
}

func TestFrontSurvivesPanics(t *testing.T) {
	t.Parallel()
	f, log := newFront(Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Write([]byte("half"))
		}
		panic("the secret of " + r.URL.Path)
	})
	for target, kind := range map[string]string{"/early": "text/plain; charset=utf-8", "/agent/v1/hello": "application/problem+json"} {
		w := get(f, target, nil)
		if w.Code != 500 || w.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %s, want 500 %s", target, w.Code, w.Header().Get("Content-Type"), kind)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the panic's text was sent", target)
		}
		if kind == "application/problem+json" {
			var problem wire.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.RequestID == "" || !problem.Retryable {
				t.Errorf("problem = %+v, %v", problem, err)
			}
		}
	}
	if !strings.Contains(log.String(), "the secret of /early") || !strings.Contains(log.String(), "front_test.go") {
		t.Error("the log lacks the panic or its stack")
	}
	func() {
		defer func() {
			if got := recover(); got != http.ErrAbortHandler {
				t.Errorf("after half an answer the panic is %v, want ErrAbortHandler", got)
			}
		}()
		get(f, "/late", nil)
	}()
}

func TestNoCookiesForDevices(t *testing.T) {
	t.Parallel()
	var got string
	f, _ := newFront(Config{}, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Cookie") })
	for target, want := range map[string]string{"/agent/v1/hello": "", "/api/v1/users": "", "/api/v1/version": "a=b", "/": "a=b"} {
		get(f, target, func(r *http.Request) { r.Header.Set("Cookie", "a=b") })
		if got != want {
			t.Errorf("%s sees the cookie %q, want %q", target, got, want)
		}
	}
}

func TestRouteClass(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/":                              "portal",
		"/devices/1":                     "portal",
		"/administrator":                 "portal",
		"/admin":                         "console",
		"/admin/users":                   "console",
		"/static/app.css":                "asset",
		"/healthz":                       "probe",
		"/agent/v1/hello":                "agent_hello",
		"/agent/v1/next":                 "agent_next",
		"/agent/v1/sessions":             "agent_sessions",
		"/agent/v1/sessions/1":           "agent_sessions",
		"/agent/v1/requests/17":          "agent_requests",
		"/agent/v1/sessions/0190-x/have": "agent_have",
		"/agent/v1/sessions/0190-x/packs/00112233445": "agent_packs",
		"/agent/v1/sessions/0190-x/commit":            "agent_commit",
		"/agent/v1/snapshots/0123/open":               "agent_open",
		"/agent/v1/whatever-a-scanner-tries":          "agent_other",
		"/agent/v1/sessions/x/whatever":               "agent_other",
		"/agent/v1/":                                  "agent_other",
		"/agent/v1/register/confirm":                  "agent_register",
		"/agent/v1/password/forgot":                   "agent_password",
		"/api/v1/version":                             "api",
		"/apis":                                       "portal",
	} {
		if got := routeClass(path); got != want {
			t.Errorf("routeClass(%s) = %s, want %s", path, got, want)
		}
	}
}

func TestFrontCounts(t *testing.T) {
	t.Parallel()
	f, _ := newFront(Config{}, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	get(f, "/agent/v1/hello", nil)
	get(f, "/agent/v1/hello", nil)
	get(f, "/x", nil)
	w := get(f.metrics.handler(f.cfg.MetricsAllowed, nil), "/metrics", func(r *http.Request) { r.RemoteAddr = "127.0.0.1:1" })
	for _, want := range []string{
		`backstay_requests_total{class="agent_hello",status="404"} 2`, `backstay_requests_total{class="portal",status="404"} 1`,
		`backstay_request_seconds_count{class="agent_hello"} 2`, "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the figures lack %s", want)
		}
	}
}

func TestMetricsAreForAllowedNetworks(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	cfg.setDefaults()
	m := newMetrics(prometheus.NewRegistry())
	for _, c := range []struct {
		peer, forwarded string
		want            int
	}{
		{"127.0.0.1:1", "", 200},
		{"[::1]:1", "", 200},
		{"192.0.2.1:1", "", 403},
		{"192.0.2.1:1", "127.0.0.1", 403},
		{"10.0.0.1:1", "127.0.0.1", 200}, // a trusted proxy says so
		{"10.0.0.1:1", "192.0.2.1", 403},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", c.forwarded)
		w := httptest.NewRecorder()
		m.handler(cfg.MetricsAllowed, prefixes(t, "10.0.0.0/8")).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("/metrics for %s, forwarded for %q: %d, want %d", c.peer, c.forwarded, w.Code, c.want)
		}
		if w.Code == 200 && !strings.Contains(w.Body.String(), "backstay_received_bytes_total 0") {
			t.Error("the figures lack backstay_received_bytes_total")
		}
	}
}

// listenFront serves f over TCP, as Serve would, and returns its address.
func listenFront(t *testing.T, f http.Handler) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// talk sends a request on conn and returns the answer.
func talk(t *testing.T, conn net.Conn, request string) string {
	t.Helper()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer := make([]byte, 64<<10)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatalf("after %q: %v", request, err)
	}
	return string(answer[:n])
}

// A handler that has read its body may be silent for longer than any deadline
// that the body, or the answer before on the same connection, had; and it is
// told when its client goes.
func TestDeadlinesEndWithWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	const soon = 50 * time.Millisecond
	gone := make(chan struct{})
	f, _ := newFront(Config{}, func(w http.ResponseWriter, r *http.Request) {
		r.Body.(*body).end = time.Now().Add(soon)
		io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/first":
			w.WriteHeader(http.StatusNoContent)
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(soon))
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/wait":
			select {
			case <-r.Context().Done():
				t.Error("the request was cancelled while its client was waiting")
			case <-time.After(4 * soon):
				w.Write([]byte("waited"))
			}
		case "/leave":
			<-r.Context().Done()
			close(gone)
		}
	})
	conn, err := net.Dial("tcp", listenFront(t, f))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const rest = " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
	for _, c := range []struct{ path, want string }{{"/first", "204"}, {"/empty", "204"}, {"/wait", "waited"}} {
		if got := talk(t, conn, "POST "+c.path+rest); !strings.Contains(got, c.want) {
			t.Fatalf("%s: answer %q, want %s in it", c.path, got, c.want)
		}
		time.Sleep(2 * soon)
	}
	conn.Write([]byte("POST /leave" + rest))
	time.Sleep(soon)
	conn.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the handler was not told that its client went away")
	}
}

func TestBodyEndsWhenItStandsStill(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	f, _ := newFront(Config{}, func(_ http.ResponseWriter, r *http.Request) {
		// As if a minute had passed: the deadline is not moved for later reads.
		r.Body.(*body).end = time.Now().Add(50 * time.Millisecond)
		_, err := io.Copy(io.Discard, r.Body)
		failed <- err
	})
	conn, err := net.Dial("tcp", listenFront(t, f))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"))
	select {
	case err := <-failed:
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("the body ended with %v, want a timeout", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a body that stands still holds its handler")
	}
}

func TestServeStops(t *testing.T) {
	t.Parallel()
	started := make(chan string, 2)
	f, _ := newFront(Config{}, func(w http.ResponseWriter, r *http.Request) {
		started <- r.URL.Path
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
			if r.URL.Path == "/forever" {
				<-r.Context().Done()
			}
		}
		w.Write([]byte("done"))
	})
	s := &Server{cfg: *f.cfg, handler: f, failed: make(chan struct{})}
	s.cfg.Grace = 600 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	answers := make(chan string, 2)
	for _, path := range []string{"/quick", "/forever"} {
		go func() {
			r, err := http.Get("http://" + l.Addr().String() + path)
			if err != nil {
				answers <- path + " failed"
				return
			}
			text, _ := io.ReadAll(r.Body)
			r.Body.Close()
			answers <- path + " " + string(text)
		}()
	}
	<-started
	<-started
	began := time.Now()
	cancel()
	if got := <-answers; got != "/quick done" {
		t.Errorf("first answer %q, want the quick one", got)
	}
	<-answers
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestServeEndsWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	f, _ := newFront(Config{}, nil)
	s := &Server{cfg: *f.cfg, handler: f, failed: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("wrong")
	s.fail(wrong)
	s.fail(errors.New("later"))
	if err := s.Serve(t.Context(), l); !errors.Is(err, wrong) {
		t.Errorf("Serve = %v, want %v", err, wrong)
	}
}
