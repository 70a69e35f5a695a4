package server

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/passwords"
)

// A console with a listener of its own is there and nowhere else, and nothing
// else is there.
func TestConsoleApart(t *testing.T) {
	t.Parallel()
	s, err := New(t.Context(), Config{Data: t.TempDir(), DB: dbtest.DSN(t), Hasher: &passwords.Hasher{Time: 1, Memory: 64}, Log: slog.New(slog.DiscardHandler),
		PublicURL: "https://backup.example.org", AdminListen: "127.0.0.1:0", AdminURL: "https://admin.example.org:8444"})
	if err != nil {
		t.Fatal(err)
	}
	listeners := [2]net.Listener{}
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.ServeApart(ctx, listeners[0], listeners[1]) }()
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		Timeout:   20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	portal, console := listeners[0].Addr().String(), listeners[1].Addr().String()
	const backup, admin = "backup.example.org", "admin.example.org:8444"
	for _, c := range []struct {
		at, host, path string
		status         int
		location       string
	}{
		{portal, backup, "/login", http.StatusOK, ""},
		{portal, backup, "/admin", http.StatusNotFound, ""},
		{portal, backup, "/admin/", http.StatusNotFound, ""},
		{portal, backup, "/admin/login", http.StatusNotFound, ""},
		{portal, backup, "/admin/users", http.StatusNotFound, ""},
		{portal, admin, "/admin/login", http.StatusMisdirectedRequest, ""},
		{console, admin, "/", http.StatusSeeOther, "/admin/"},
		{console, admin, "/admin/login", http.StatusOK, ""},
		{console, admin, "/login", http.StatusNotFound, ""},
		{console, admin, "/agent/v1/hello", http.StatusNotFound, ""},
		{console, admin, "/api/v1/version", http.StatusUnauthorized, ""},
		{console, admin, "/api/v1/device-map", http.StatusUnauthorized, ""},
		{console, admin, "/api/openapi.json", http.StatusOK, ""},
		{portal, backup, "/api/v1/version", http.StatusUnauthorized, ""},
		{portal, backup, "/api/v1/device-map", http.StatusNotFound, ""},
		{portal, backup, "/api/openapi.json", http.StatusNotFound, ""},
		{console, admin, "/metrics", http.StatusNotFound, ""},
		{console, admin, "/healthz", http.StatusOK, ""},
		{console, backup, "/admin/login", http.StatusMisdirectedRequest, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.at+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != c.status || answer.Header.Get("Location") != c.location {
			t.Errorf("%s%s: %s to %q, want %d to %q", c.host, c.path, answer.Status, answer.Header.Get("Location"), c.status, c.location)
		}
		if c.path == "/admin/login" && c.status == http.StatusOK && !strings.Contains(string(body), "https://backup.example.org") {
			t.Error("the console's log-in page does not say where the portal is")
		}
		for _, cookie := range answer.Cookies() {
			if !strings.HasPrefix(cookie.Name, "__Host-") {
				t.Errorf("%s%s sets the cookie %s", c.host, c.path, cookie.Name)
			}
		}
	}
	if got := s.Gate.Address(access.AdminKind); got != "https://admin.example.org:8444" {
		t.Errorf("administrators' links go to %s", got)
	}
	if got := s.Gate.Address(access.UserKind); got != "https://backup.example.org" {
		t.Errorf("users' links go to %s", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ServeApart = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestConsoleURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		addr string
		want string
	}{
		{Config{PublicURL: "https://backup.example.org"}, "0.0.0.0:8444", "https://backup.example.org:8444"},
		{Config{PublicURL: "https://backup.example.org:8443/"}, "[::]:8444", "https://backup.example.org:8444"},
		{Config{PublicURL: "https://backup.example.org:8443"}, "10.0.0.1:443", "https://backup.example.org"},
		{Config{PublicURL: "https://[2001:db8::1]"}, ":8444", "https://[2001:db8::1]:8444"},
		{Config{PublicURL: "https://backup.example.org", AdminURL: "https://admin.example.org/"}, ":8444", "https://admin.example.org"},
	} {
		if got := c.cfg.ConsoleURL(listen(c.addr)); got != c.want {
			t.Errorf("ConsoleURL(%s) of %+v = %s, want %s", c.addr, c.cfg.PublicURL, got, c.want)
		}
	}
}
