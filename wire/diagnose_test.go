//go:build linux

package wire_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/proxytest"
)

// discovering is a server that answers all that a diagnosis asks.
func discovering(change ...func(mux *http.ServeMux)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agent/v1/discover", func(w http.ResponseWriter, r *http.Request) {
		var in wire.Discover
		json.NewDecoder(r.Body).Decode(&in)
		if in.Identifier != "ada@example.org" {
			refuse(w, 429, wire.Problem{Code: "E1104", Data: map[string]any{"n": 7}})
			return
		}
		answer(w, wire.Discovered{SignInMethod: wire.SignInMethod{Method: wire.MethodPassword}})
	})
	for _, f := range change {
		f(mux)
	}
	if len(change) == 0 {
		mux.HandleFunc("GET /agent/v1/hello", hello)
	}
	return mux
}

func greeting(h http.HandlerFunc) func(*http.ServeMux) {
	return func(mux *http.ServeMux) { mux.HandleFunc("GET /agent/v1/hello", h) }
}

// nothing is what a server answers that has fallen silent.
func nothing(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // only then is it seen that nobody waits any more
	<-r.Context().Done()
}

// marks are a report's outcomes in short: + passed, ! failed, - skipped.
func marks(r wire.Report) string {
	var b strings.Builder
	for _, c := range r.Checks {
		b.WriteString(map[string]string{wire.CheckPassed: "+", wire.CheckFailed: "!", wire.CheckSkipped: "-"}[c.Outcome])
	}
	return b.String()
}

// intercepted stands between a client and a server: it ends the client's TLS
// with a certificate that it issues itself, as firewalls do.
func intercepted(t *testing.T, by authority) string {
	t.Helper()
	s := serve(t, discovering(), leaf(t, by, "127.0.0.1", time.Now().Add(time.Hour), by.cert))
	s.Config.ErrorLog = discard
	return s.URL
}

// Each thing that can be wrong between here and a server, and what is said of
// it.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	ours, firewall := newAuthority(t, "Our CA"), newAuthority(t, "Firewall CA")
	good := func(t *testing.T) (string, string) {
		s := serve(t, discovering())
		return s.URL, wire.Fingerprint(s.TLS.Certificates[0].Leaf)
	}
	showing := func(cert tls.Certificate, pin string) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) {
			s := serve(t, discovering(), cert)
			s.Config.ErrorLog = discard
			return s.URL, pin
		}
	}
	saying := func(h http.HandlerFunc) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) {
			s := serve(t, discovering(greeting(h)))
			s.Config.ErrorLog = discard
			return s.URL, wire.Fingerprint(s.TLS.Certificates[0].Leaf)
		}
	}
	at := func(url string) func(*testing.T) (string, string) {
		return func(*testing.T) (string, string) { return url, "" }
	}
	garbage, _ := listen(t, func(conn net.Conn) { io.WriteString(conn, "220 mail.example ESMTP\r\n") })
	silent, _ := listen(t, func(net.Conn) {})
	hangup, _ := listen(t, func(conn net.Conn) { conn.Close() })
	self := leaf(t, authority{}, "127.0.0.1", soon)
	pin := wire.Fingerprint(ours.cert)
	tests := []struct {
		name   string
		server func(*testing.T) (url, pin string)
		marks  string // name connection proxy certificate clock version realm
		code   errs.Code
		why    string
		said   string // in the English text
	}{
		{"all well", good, "++-++++", "", "", "Way to sign in known"},
		{"publicly trusted", showing(leaf(t, public, "127.0.0.1", soon), ""), "++-++++", "", "", "Issued by: CN=Public CA"},
		{"no such name", at("https://nowhere.invalid"), "!------", errs.CannotConnect, "name.unknown", "There is no computer named nowhere.invalid."},
		{"port closed", at("https://" + closed(t)), "+!-----", errs.CannotConnect, "connection.refused", "127.0.0.1 refuses the connection"},
		{"no answer to the connection", at("https://" + blackhole(t)), "+!-----", errs.CannotConnect, "connection.silent", "127.0.0.1 does not answer on port"},
		{"no answer at all", at("https://" + silent), "++-!---", errs.CannotConnect, "certificate.silent", "takes the connection and does not answer"},
		{"hangs up", at("https://" + hangup), "++-!---", errs.CannotConnect, "certificate.broken", "broke off"},
		{"no TLS", at("https://" + garbage), "++-!---", errs.CannotConnect, "certificate.none", "opens no secure connection"},
		{"expired", showing(leaf(t, ours, "127.0.0.1", past, ours.cert), pin), "++-!---", errs.UntrustedCert, wire.CertExpired, "The certificate expired on"},
		{"expired, publicly trusted", showing(leaf(t, public, "127.0.0.1", past), ""), "++-!---", errs.UntrustedCert, wire.CertExpired, "The certificate expired on"},
		{"not yet valid", showing(leafFrom(t, ours, "127.0.0.1", soon, soon.Add(time.Hour), ours.cert), pin), "++-!---", errs.UntrustedCert, wire.CertNotYet, "valid only from"},
		{"not yet valid, publicly trusted", showing(leafFrom(t, public, "127.0.0.1", soon, soon.Add(time.Hour)), ""), "++-!---", errs.UntrustedCert, wire.CertNotYet, "valid only from"},
		{"self-signed, not pinned", showing(self, ""), "++-!---", errs.UntrustedCert, wire.CertAuthority, "SHA-256 of the key (fingerprint): " + wire.Fingerprint(self.Leaf)},
		{"self-signed, another pinned", showing(self, pin), "++-!---", errs.UntrustedCert, wire.CertOther, "another key"},
		{"wrong name", showing(leaf(t, ours, "elsewhere.example", soon, ours.cert), pin), "++-!---", errs.UntrustedCert, wire.CertName, "The certificate is for elsewhere.example, and not for 127.0.0.1."},
		{"wrong name, publicly trusted", showing(leaf(t, public, "elsewhere.example", soon), ""), "++-!---", errs.UntrustedCert, wire.CertName, "The certificate is for elsewhere.example"},
		{"unknown authority", showing(leaf(t, ours, "127.0.0.1", soon, ours.cert), ""), "++-!---", errs.UntrustedCert, wire.CertAuthority, "CN=Our CA"},
		{"publicly trusted, another pinned", showing(leaf(t, public, "127.0.0.1", soon), pin), "++-!---", errs.UntrustedCert, wire.CertOther, "another key"},
		{"intercepted", func(t *testing.T) (string, string) { return intercepted(t, firewall), pin }, "++-!---", errs.UntrustedCert, wire.CertIntercepted, "intercepted by CN=Firewall CA"},
		{"clock", saying(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			hello(w, r)
		}), "++-+!--", errs.ClockSkew, "", "differs from the server by 60 minutes"},
		{"version gate", saying(func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 426, wire.Problem{Code: "E1005", Data: map[string]any{"v": "8.0"}})
		}), "++-++!-", errs.ClientTooOld, "", "Minimum 8.0"},
		{"newer server", saying(func(w http.ResponseWriter, r *http.Request) {
			answer(w, wire.Hello{Version: "9.0", MinClient: "8.0"})
		}), "++-++!-", errs.ClientTooOld, "", "Minimum 8.0"},
		{"another web site", saying(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }), "++-+-!-", errs.CannotConnect, "version.foreign", "is not a Backstay server"},
		{"a page to log in to the network", saying(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }), "++-+-!-", errs.CannotConnect, "version.foreign", "is not a Backstay server"},
		{"another name", saying(func(w http.ResponseWriter, r *http.Request) { refuse(w, http.StatusMisdirectedRequest, wire.Problem{}) }),
			"++-++!-", errs.CannotConnect, "version.name", "does not answer under the name 127.0.0.1"},
		{"says nothing", saying(nothing), "++-+-!-", errs.CannotConnect, "version.silent", "takes the question"},
		{"says nothing of signing in", func(t *testing.T) (string, string) {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /agent/v1/hello", hello)
			mux.HandleFunc("POST /agent/v1/discover", nothing)
			s := serve(t, mux)
			return s.URL, wire.Fingerprint(s.TLS.Certificates[0].Leaf)
		}, "++-+++!", errs.CannotConnect, "realm.silent", "does not answer how you sign in"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url, pin := test.server(t)
			var told []wire.Check
			began := time.Now()
			r := wire.Diagnose(t.Context(), wire.Config{Server: url, Fingerprint: pin, Proxy: wire.Proxy{Mode: wire.ProxyNone}}, "ada@example.org",
				func(c wire.Check) { told = append(told, c) })
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := marks(r); got != test.marks {
				t.Errorf("outcomes %s, want %s: %v", got, test.marks, r.Err())
			}
			if len(told) != len(wire.Steps) || !slices.EqualFunc(told, r.Checks, func(a, b wire.Check) bool { return a.Step == b.Step && a.Outcome == b.Outcome }) {
				t.Errorf("told of %v", told)
			}
			e := errs.Find(r.Err())
			switch {
			case test.code == "":
				if e != nil || r.Method.Method != wire.MethodPassword || r.Hello.Version != "0.1" {
					t.Errorf("Err = %v, Method = %v, Hello = %v", e, r.Method, r.Hello)
				}
			case e == nil || e.Code != test.code || test.why != "" && e.Args["why"] != test.why:
				t.Errorf("Err = %v, want %s, %s", r.Err(), test.code, test.why)
			case r.Failed().Advice(locale.For(locale.English)) == "":
				t.Errorf("nothing is said about what to do")
			}
			for _, lang := range []locale.Lang{locale.English, locale.French} {
				text := r.Text(locale.For(lang))
				if lang == locale.English && !strings.Contains(text, test.said) {
					t.Errorf("the text lacks %q:\n%s", test.said, text)
				}
				if strings.Contains(text, "connect.") || strings.Contains(text, "no value") {
					t.Errorf("the text lacks a message:\n%s", text)
				}
			}
		})
	}
}

// blackhole is an address at which connections are never answered: the queue of
// those that wait is full.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	for range 4 {
		conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return addr.String()
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("every connection is answered")
	return ""
}

// fingerprints are new in each run, and now and then have a name among their digits.
var fingerprints = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// The steps through a proxy, and a block of text that may be sent to anybody.
func TestDiagnoseThroughProxy(t *testing.T) {
	t.Parallel()
	proxy := proxytest.Start(t, proxytest.Options{Password: true})
	s := behind(t, discovering())
	pin := wire.Fingerprint(s.TLS.Certificates[0].Leaf)
	gone, silent := closed(t), blackhole(t)
	const secret = "Geheim-4711"
	for _, test := range []struct {
		name   string
		change func(*wire.Config)
		marks  string
		why    string
		said   string
	}{
		{"right", func(cfg *wire.Config) {
			cfg.Proxy = manual("http://"+proxy.Addr, proxytest.Username, proxytest.Password)
		}, "+++++++", "", "Proxy: http://" + proxy.Addr},
		{"no password", func(cfg *wire.Config) { cfg.Proxy = manual("http://" + proxy.Addr) }, "++!----", "proxy.password.missing", "E1003"},
		{"wrong password", func(cfg *wire.Config) { cfg.Proxy = manual("http://"+proxy.Addr, proxytest.Username, secret) }, "++!----", "proxy.password.wrong", "does not accept"},
		{"closed", func(cfg *wire.Config) { cfg.Proxy = manual("http://"+gone, "ada", secret) }, "+!-----", "connection.refused.proxy", "The proxy 127.0.0.1 refuses"},
		{"silent", func(cfg *wire.Config) { cfg.Proxy = manual("http://"+silent, "ada", secret) }, "+!-----", "connection.silent.proxy", "The proxy 127.0.0.1 does not answer"},
		{"second way", script("PROXY " + gone + "; PROXY " + proxy.Addr), "++!----", "proxy.password.missing", "Tried before: http://" + gone},
		{"script", func(cfg *wire.Config) { script("SOCKS4 x:1")(cfg) }, "--!----", "proxy.script.unknown", "SOCKS4 x:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := wire.Config{Server: s.URL, Fingerprint: pin}
			test.change(&cfg)
			r := wire.Diagnose(t.Context(), cfg, "ada@example.org", nil)
			if got := marks(r); got != test.marks {
				t.Errorf("outcomes %s, want %s: %v", got, test.marks, r.Err())
			}
			if e := errs.Find(r.Err()); test.why != "" && (e == nil || e.Args["why"] != test.why) {
				t.Errorf("Err = %v, want %s", r.Err(), test.why)
			}
			text := r.Text(locale.For(locale.English))
			if !strings.Contains(text, test.said) {
				t.Errorf("the text lacks %q:\n%s", test.said, text)
			}
			if strings.Contains(text, secret) || strings.Contains(text, proxytest.Password) || strings.Contains(fingerprints.ReplaceAllString(text, ""), "ada") {
				t.Errorf("the text has a secret:\n%s", text)
			}
		})
	}
}

// However many ways there are that lead nowhere, it is over in time.
func TestDiagnoseEnds(t *testing.T) {
	t.Parallel()
	silent := blackhole(t)
	began := time.Now()
	cfg := wire.Config{Server: "https://" + proxytest.Host}
	script(strings.Repeat("PROXY "+silent+";", 8))(&cfg)
	r := wire.Diagnose(t.Context(), cfg, "", nil)
	if took := time.Since(began); took > 22*time.Second || r.Err() == nil {
		t.Errorf("it took %v and ended with %v", took, r.Err())
	}
}

// A server that asks people to wait is reached all the same: it is the last step
// that fails.
func TestDiagnoseRealm(t *testing.T) {
	t.Parallel()
	s := serve(t, discovering())
	cfg := wire.Config{Server: s.URL, Fingerprint: wire.Fingerprint(s.TLS.Certificates[0].Leaf)}
	if r := wire.Diagnose(t.Context(), cfg, "grace@example.org", nil); marks(r) != "++-+++!" || !errs.Is(r.Err(), errs.TooManyAttempts) {
		t.Errorf("outcomes %s, %v; want E1104 at the end", marks(r), r.Err())
	}
	if r := wire.Diagnose(t.Context(), cfg, "", nil); marks(r) != "++-+++-" || r.Err() != nil {
		t.Errorf("outcomes %s, %v; want the last step skipped", marks(r), r.Err())
	}
	if r := wire.Diagnose(t.Context(), wire.Config{Server: "http://x"}, "", nil); marks(r) != "!------" || errs.Find(r.Err()).Key != "server.url.https" {
		t.Errorf("outcomes %s, %v; want the address refused", marks(r), r.Err())
	}
}
