package connection

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/proxytest"
)

// A proxy script from the web leads through Squid to a server that only the
// proxy knows.
func TestScriptLeadsThroughSquid(t *testing.T) {
	t.Parallel()
	proxy := proxytest.Start(t, proxytest.Options{Password: true})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(wire.HeaderVersion, "0.1")
		fmt.Fprint(w, `{"version": "0.1", "min_client": "0.1"}`)
	}))
	defer server.Close()
	address := strings.Replace(server.URL, "127.0.0.1", proxytest.WebHost, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `function FindProxyForURL(url, host) {
			if (isPlainHostName(host) || isInNet(host, "10.0.0.0", "255.0.0.0")) return "DIRECT";
			if (shExpMatch(url, "https://example.com:*/")) return "PROXY 127.0.0.1:1; PROXY %s; DIRECT";
			return "PROXY 127.0.0.1:2";
		}`, proxy.Addr)
	}))
	defer web.Close()
	st, err := state.Open(t.TempDir() + "/state")
	if err != nil {
		t.Fatal(err)
	}
	settings := state.Connection{Proxy: wire.Proxy{Mode: wire.ProxyPAC, URL: web.URL + "/proxy.pac", Username: proxytest.Username, Password: proxytest.Password}}
	if err := st.SetConnection(settings); err != nil {
		t.Fatal(err)
	}
	cfg, err := Config(st)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server, cfg.Fingerprint = address, wire.Fingerprint(server.Certificate())
	c, err := wire.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatalf("Hello = %v", err)
	}
	if r := wire.Diagnose(t.Context(), cfg, "", nil); r.Err() != nil || !strings.HasSuffix(r.Checks[0].Details[1].Value, proxy.Addr) {
		t.Errorf("Diagnose = %v, %+v", r.Err(), r.Checks[0])
	}
	// Without the name and password the proxy is there, and not gone around.
	cfg.Proxy.Username, cfg.Proxy.Password = "", ""
	if c, err = wire.New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hello(t.Context()); !errs.Is(err, errs.ProxyAuth) {
		t.Errorf("without a password Hello = %v, want E1003", err)
	}
}
