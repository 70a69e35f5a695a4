package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/proxytest"
	"github.com/backstay/backstay/wire/wiretest"
)

// behind starts a server that is reached through a proxy alone.
func behind(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := serve(t, h, leaf(t, authority{}, proxytest.Host, time.Now().Add(time.Hour)))
	s.URL = strings.Replace(s.URL, "127.0.0.1", proxytest.Host, 1)
	return s
}

func manual(address string, user ...string) wire.Proxy {
	p := wire.Proxy{Mode: wire.ProxyManual, URL: address}
	if len(user) > 0 {
		p.Username, p.Password = user[0], user[1]
	}
	return p
}

// everything is a server that takes what devices do for long: a pack, a long
// poll.
func everything(t *testing.T) http.Handler {
	mux := device(nil)
	mux.HandleFunc("GET /agent/v1/hello", hello)
	mux.HandleFunc("GET /agent/v1/next", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(1200 * time.Millisecond)
		answer(w, wire.Next{ProfileVersion: 7})
	})
	mux.HandleFunc("PUT /agent/v1/sessions/{s}/packs/{p}", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != 8<<20 {
			t.Errorf("a pack of %d bytes came, %v", n, err)
		}
		answer(w, wire.PutAnswer{Records: 1})
	})
	return mux
}

// All that a device does works through Squid: plain, with a password, over TLS.
func TestThroughSquid(t *testing.T) {
	t.Parallel()
	cert, key := files(t, leaf(t, public, "127.0.0.1", time.Now().Add(time.Hour)))
	for _, test := range []struct {
		name    string
		options proxytest.Options
		scheme  string
		user    []string
	}{
		{"plain", proxytest.Options{}, "http://", nil},
		{"password", proxytest.Options{Password: true}, "http://", []string{proxytest.Username, proxytest.Password}},
		{"TLS", proxytest.Options{Cert: cert, Key: key, Password: true}, "https://", []string{proxytest.Username, proxytest.Password}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy := proxytest.Start(t, test.options)
			s := behind(t, everything(t))
			c := client(t, s, func(cfg *wire.Config) { cfg.Proxy = manual(test.scheme+proxy.Addr, test.user...) })
			if _, err := c.Hello(t.Context()); err != nil {
				t.Fatalf("Hello = %v", err)
			}
			if next, err := c.Next(t.Context(), 2*time.Second, wire.Known{}); err != nil || next.ProfileVersion != 7 {
				t.Errorf("Next = %+v, %v", next, err)
			}
			body := wiretest.Body(make([]byte, 8<<20))
			if _, err := c.Put(t.Context(), "s", "p", backup.ClassData, 0, body, nil); err != nil {
				t.Errorf("Put = %v", err)
			}
			c.Close()
			if want := "CONNECT " + strings.TrimPrefix(s.URL, "https://"); !eventually(func() bool { return strings.Contains(proxy.Log(), want) }) {
				t.Errorf("the proxy's log lacks %q:\n%s", want, proxy.Log())
			}
		})
	}
}

func eventually(ok func() bool) bool {
	for range 100 {
		if ok() {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// files writes a certificate and its key where Squid can read them.
func files(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	raw, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// What a proxy says no by, each named by its hop, and no secret in any of it.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	asking := proxytest.Start(t, proxytest.Options{Password: true})
	refusing := proxytest.Start(t, proxytest.Options{Refuse: true})
	untrusted := serve(t, http.HandlerFunc(hello)) // self-signed
	untrusted.Config.ErrorLog = discard
	garbage, _ := listen(t, func(conn net.Conn) { io.WriteString(conn, "220 mail.example ESMTP\r\n") })
	talker, _ := listen(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nand more") })
	gone := closed(t)
	const secret = "Geheim-4711"
	for _, test := range []struct {
		name  string
		proxy wire.Proxy
		code  errs.Code
		why   string
		step  wire.Step
		hop   string // is named
	}{
		{"no password", manual("http://" + asking.Addr), errs.ProxyAuth, "proxy.password.missing", wire.StepProxy, asking.Addr},
		{"wrong password", manual("http://"+asking.Addr, proxytest.Username, secret), errs.ProxyAuth, "proxy.password.wrong", wire.StepProxy, asking.Addr},
		{"refused", manual("http://"+refusing.Addr, "ada", secret), errs.CannotConnect, "proxy.refused", wire.StepProxy, refusing.Addr},
		{"nobody there", manual("http://"+gone, "ada", secret), errs.CannotConnect, "connection.refused.proxy", wire.StepConnection, "127.0.0.1"},
		{"no such name", manual("http://proxy.invalid:3128", "ada", secret), errs.CannotConnect, "name.unknown.proxy", wire.StepName, "proxy.invalid"},
		{"no proxy", manual("http://"+garbage, "ada", secret), errs.CannotConnect, "proxy.broken", wire.StepProxy, garbage},
		{"speaks first", manual("http://"+talker, "ada", secret), errs.CannotConnect, "proxy.broken", wire.StepProxy, talker},
		{"a certificate of nobody's", manual(untrusted.URL, "ada", secret), errs.UntrustedCert, wire.CertAuthority, wire.StepProxy, untrusted.Listener.Addr().String()},
		{"TLS where there is none", manual("https://"+asking.Addr, "ada", secret), errs.CannotConnect, "proxy.broken", wire.StepProxy, asking.Addr},
		{"SOCKS where there is none", manual("socks5://"+garbage, "ada", secret), errs.CannotConnect, "proxy.broken", wire.StepProxy, garbage},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := behind(t, http.HandlerFunc(hello))
			c := client(t, s, func(cfg *wire.Config) {
				cfg.Proxy, cfg.Patience, cfg.Log = test.proxy, time.Millisecond, slog.New(slog.NewJSONHandler(&log, nil))
			})
			_, err := c.Hello(t.Context())
			e := errs.Find(err)
			if e == nil || e.Code != test.code || e.Args["why"] != test.why || wire.StepOf(err) != test.step {
				t.Fatalf("Hello = %v, want %s, %s at step %s", err, test.code, test.why, test.step)
			}
			args, _ := json.Marshal(e.Args)
			said := err.Error() + string(args) + log.String()
			if !strings.Contains(said, test.hop) {
				t.Errorf("%v does not name %s", err, test.hop)
			}
			if strings.Contains(said, secret) || strings.Contains(said, "QWRh") || strings.Contains(said, "YWRh") {
				t.Errorf("a secret is told: %s", said)
			}
		})
	}
}

// socks is a SOCKS 5 proxy that knows one user and leads to one address,
// whatever it is asked for.
func socks(t *testing.T, to string) string {
	addr, _ := listen(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		take := func(n int) []byte {
			p := make([]byte, n)
			io.ReadFull(in, p)
			return p
		}
		take(int(take(2)[1])) // version, methods
		conn.Write([]byte{5, 2})
		name := take(int(take(2)[1]))
		password := take(int(take(1)[0]))
		if string(name) != proxytest.Username || string(password) != proxytest.Password {
			conn.Write([]byte{1, 1})
			conn.Close()
			return
		}
		conn.Write([]byte{1, 0})
		if head := take(4); head[3] != 3 {
			t.Errorf("a SOCKS proxy is asked for an address of type %d, want a name", head[3])
		}
		if host := take(int(take(1)[0])); string(host) != proxytest.Host {
			t.Errorf("a SOCKS proxy is asked for %s", host)
		}
		take(2)
		conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		onward, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		defer onward.Close()
		go io.Copy(conn, onward)
		io.Copy(onward, in)
	})
	return addr
}

func TestThroughSocks(t *testing.T) {
	t.Parallel()
	s := behind(t, http.HandlerFunc(hello))
	proxy := socks(t, s.Listener.Addr().String())
	for password, want := range map[string]string{proxytest.Password: "", "wrong": "proxy.password.wrong"} {
		c := client(t, s, func(cfg *wire.Config) { cfg.Proxy = manual("socks5://"+proxy, proxytest.Username, password) })
		_, err := c.Hello(t.Context())
		if e := errs.Find(err); want == "" && err != nil || want != "" && (e == nil || e.Args["why"] != want) {
			t.Errorf("Hello = %v, want %q", err, want)
		}
	}
}

// listen answers connections with what each writes, and returns the address.
func listen(t *testing.T, each func(net.Conn)) (addr string, close func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				each(conn)
				io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() { l.Close() }
}

// closed is an address at which nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	addr, close := listen(t, func(net.Conn) {})
	close()
	return addr
}

// script stands for a proxy script that always says the same.
func script(says string) func(*wire.Config) {
	return func(cfg *wire.Config) {
		cfg.Proxy = wire.Proxy{Mode: wire.ProxyPAC, URL: "http://wpad.example/proxy.pac"}
		cfg.FindProxy = func(context.Context, string, *url.URL) (string, error) { return says, nil }
	}
}

// The ways that a script names are tried in their order; one that failed comes
// last for a while.
func TestWaysInOrder(t *testing.T) {
	t.Parallel()
	proxy := proxytest.Start(t, proxytest.Options{})
	asking := proxytest.Start(t, proxytest.Options{Password: true})
	gone := closed(t)
	for _, test := range []struct {
		says string
		why  string // of the failure
	}{
		{"PROXY " + proxy.Addr, ""},
		{"PROXY " + gone + "; PROXY " + proxy.Addr, ""},
		{"SOCKS " + gone + "; SOCKS4 " + gone + ";HTTP\t" + proxy.Addr + " ; DIRECT", ""},
		{"proxy " + proxy.Addr + ";", ""},
		{"DIRECT; PROXY " + proxy.Addr, ""}, // the name is known to the proxy alone
		{"PROXY " + gone + "; PROXY proxy.invalid:1", "connection.refused.proxy"},
		{"PROXY " + asking.Addr + "; PROXY " + proxy.Addr, "proxy.password.missing"},
		{"", "name.unknown"}, // that is to say, directly
		{"SOCKS " + gone, "proxy.script.unknown"},
		{"PROXY", "proxy.script.unknown"},
	} {
		t.Run(test.says, func(t *testing.T) {
			t.Parallel()
			c := client(t, behind(t, http.HandlerFunc(hello)), script(test.says))
			_, err := c.Hello(t.Context())
			if test.why == "" {
				if err != nil {
					t.Errorf("Hello = %v", err)
				}
				return
			}
			if e := errs.Find(err); e == nil || e.Args["why"] != test.why {
				t.Errorf("Hello = %v, want %s", err, test.why)
			}
		})
	}
}

// A script that cannot be had is done without; one that is wrong is not.
func TestNoScript(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(hello), leaf(t, authority{}, "127.0.0.1", time.Now().Add(time.Hour)))
	// Loopback addresses are never asked about, so another name of them it is.
	for _, test := range []struct {
		err error
		why string
	}{{wire.ErrNoScript, "name.unknown"}, {io.ErrUnexpectedEOF, "proxy.script"}} {
		c := client(t, s, script(""), func(cfg *wire.Config) {
			cfg.Server = strings.Replace(s.URL, "127.0.0.1", proxytest.Host, 1)
			cfg.FindProxy = func(context.Context, string, *url.URL) (string, error) { return "", test.err }
		})
		_, err := c.Hello(t.Context())
		if e := errs.Find(err); e == nil || e.Args["why"] != test.why || !strings.Contains(err.Error(), test.err.Error()) {
			t.Errorf("after %v Hello = %v, want %s", test.err, err, test.why)
		}
	}
}

// The environment names a proxy, with its password.
func TestSystemProxy(t *testing.T) {
	proxy := proxytest.Start(t, proxytest.Options{Password: true})
	s := behind(t, http.HandlerFunc(hello))
	for _, test := range []struct {
		address, except string
		proxy           wire.Proxy
		want            string
	}{
		{(&url.URL{Scheme: "http", Host: proxy.Addr, User: url.UserPassword(proxytest.Username, proxytest.Password)}).String(), "", wire.Proxy{}, ""},
		{proxy.Addr, "", wire.Proxy{Mode: wire.ProxySystem, Username: proxytest.Username, Password: proxytest.Password}, ""},
		{"http://" + proxy.Addr, "", wire.Proxy{Mode: wire.ProxySystem}, "proxy.password.missing"},
		{"http://" + proxy.Addr, "other.test,.test", wire.Proxy{}, "name.unknown"},
		{"http://" + proxy.Addr, "", wire.Proxy{Mode: wire.ProxyNone}, "name.unknown"},
		{"http://ada:Geheim-4711@prox y:1", "", wire.Proxy{}, "proxy.system"},
		{"ftp://ada:Geheim-4711@proxy:1", "", wire.Proxy{}, "proxy.system"},
	} {
		t.Setenv("HTTPS_PROXY", test.address)
		t.Setenv("NO_PROXY", test.except)
		_, err := client(t, s, func(cfg *wire.Config) { cfg.Proxy = test.proxy }).Hello(t.Context())
		e := errs.Find(err)
		if (test.want == "") != (err == nil) || test.want != "" && (e == nil || e.Args["why"] != test.want) {
			t.Errorf("by %s but for %q, %s: Hello = %v, want %q", test.address, test.except, test.proxy.Mode, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "Geheim") {
			t.Errorf("a secret is told: %v", err)
		}
	}
}

// Settings that change are used by the next connection.
func TestSetProxy(t *testing.T) {
	t.Parallel()
	proxy := proxytest.Start(t, proxytest.Options{})
	c := client(t, behind(t, http.HandlerFunc(hello)), func(cfg *wire.Config) { cfg.Proxy = wire.Proxy{Mode: wire.ProxyNone} })
	if _, err := c.Hello(t.Context()); wire.StepOf(err) != wire.StepName {
		t.Fatalf("without the proxy Hello = %v", err)
	}
	if err := c.SetProxy(manual("http://" + proxy.Addr)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Errorf("with the proxy Hello = %v", err)
	}
	if err := c.SetProxy(manual("ftp://x")); err == nil {
		t.Error("SetProxy takes ftp")
	}
	p := manual("http://" + proxy.Addr)
	p.Bypass = []string{".test"}
	if err := c.SetProxy(p); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hello(t.Context()); wire.StepOf(err) != wire.StepName {
		t.Errorf("around the proxy Hello = %v", err)
	}
}

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]wire.Proxy{
		"system":                       {Mode: wire.ProxySystem},
		"none":                         {Mode: wire.ProxyNone},
		"proxy:3128":                   manual("http://proxy:3128"),
		"http://proxy":                 manual("http://proxy:80"),
		"https://proxy.example/":       manual("https://proxy.example:443"),
		"socks5h://proxy":              manual("socks5://proxy:1080"),
		"http://[2001:db8::1]:8080":    manual("http://[2001:db8::1]:8080"),
		"http://ada@proxy:3128":        manual("http://proxy:3128", "ada", ""),
		"pac:http://wpad/proxy.pac":    {Mode: wire.ProxyPAC, URL: "http://wpad/proxy.pac"},
		"pac:file:///etc/proxy.pac":    {Mode: wire.ProxyPAC, URL: "file:///etc/proxy.pac"},
		"":                             {},
		"ftp://proxy":                  {},
		"http://":                      {},
		"http://proxy/path":            {},
		"http://proxy:port":            {},
		"http://ada:secret@proxy:3128": {},
		"ada:secret@proxy:3128":        {},
		"pac:":                         {},
		"pac:ftp://wpad/proxy.pac":     {},
		"pac:http://a:b@wpad/x":        {},
		"pac:file://server/proxy.pac":  {},
	} {
		got, err := wire.ParseProxy(in)
		if !got.Equal(want) || (err == nil) != (want.Mode != "") {
			t.Errorf("ParseProxy(%q) = %+v, %v; want %+v", in, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseProxy(%q) tells the password: %v", in, err)
		}
	}
	for _, p := range []wire.Proxy{
		{Mode: "auto"}, {Mode: wire.ProxyManual}, {Mode: wire.ProxySystem, Password: "x"}, {Mode: wire.ProxySystem, Username: "a:b", Password: "x"},
	} {
		if got, err := p.Check(); err == nil {
			t.Errorf("Check takes %+v as %+v", p, got)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "proxy", manual("http://proxy:1", "ada", "secret"))
	if strings.Contains(log.String(), "ada") || strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "proxy:1") {
		t.Errorf("logged as %s", log.String())
	}
}
