package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
)

// fetch asks for a path and returns the answer with its body read.
func fetch(t *testing.T, s *servertest.Server, method, path string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	check := func(wantStatus int, want server.Health) {
		t.Helper()
		answer, body := fetch(t, s, "GET", "/healthz", nil)
		var got server.Health
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != wantStatus || got != want {
			t.Errorf("/healthz = %d %+v, want %d %+v", answer.StatusCode, got, wantStatus, want)
		}
	}
	check(200, server.Health{Status: "ok", Database: "ok", Store: "ok"})

	id := filepath.Join(s.Config.Data, "vault", "vault.id")
	if err := os.Rename(id, id+".away"); err != nil {
		t.Fatal(err)
	}
	check(503, server.Health{Status: "failed", Database: "ok", Store: "failed"})
	if err := os.Rename(id+".away", id); err != nil {
		t.Fatal(err)
	}
	check(200, server.Health{Status: "ok", Database: "ok", Store: "ok"})

	if err := s.DB.Close(); err != nil {
		t.Fatal(err)
	}
	check(503, server.Health{Status: "failed", Database: "failed", Store: "ok"})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	_, body := fetch(t, s, "GET", "/metrics", nil)
	for _, want := range []string{
		"backstay_received_bytes_total 0", "backstay_stored_bytes 0", "backstay_open_sessions 0", "backstay_devices 0", "backstay_devices_online 0", `backstay_mails{state="waiting"} 0`, `backstay_mails{state="failed"} 0`, `backstay_backups{state="sending"} 0`, `backstay_backups{state="waiting"} 0`, "backstay_snapshots 0",
		"backstay_build_info{", "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// Every kind of answer, whoever gives it, has the headers.
func TestHeadersOnEveryAnswer(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for _, c := range []struct{ method, path string }{
		{"GET", "/"}, {"GET", "/login"}, {"POST", "/login"}, {"GET", "/nowhere"}, {"GET", "/admin"}, {"GET", "/admin/"},
		{"GET", "/admin/login"}, {"GET", "/admin/nowhere"}, {"GET", "/static/nowhere"}, {"GET", "/healthz"}, {"GET", "/metrics"},
		{"POST", "/healthz"}, {"GET", "/agent/v1/hello"}, {"GET", "/agent/v1/nowhere"}, {"GET", "/agent/"}, {"TRACE", "/"}, {"OPTIONS", "/"},
		{"PUT", "/agent/v1/sessions/x/packs/y"},
	} {
		answer, _ := fetch(t, s, c.method, c.path, nil)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "Strict-Transport-Security": "max-age=",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control": "", "Date": "", wire.HeaderRequestID: "",
		} {
			if got := answer.Header.Get(name); got == "" || !strings.Contains(got, want) {
				t.Errorf("%s %s (%d): %s is %q", c.method, c.path, answer.StatusCode, name, got)
			}
		}
		for name := range answer.Header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Server" || name == "X-Powered-By" {
				t.Errorf("%s %s sends %s", c.method, c.path, name)
			}
		}
		for _, cookie := range answer.Cookies() {
			if strings.HasPrefix(c.path, "/agent/") {
				t.Errorf("%s %s sets a cookie", c.method, c.path)
			}
			if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode {
				t.Errorf("%s %s: cookie %s is not safe", c.method, c.path, cookie.Name)
			}
		}
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for _, path := range []string{"/login", "/preferences", "/admin/login", "/admin/preferences"} {
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.com"} {
			answer, _ := fetch(t, s, "POST", path, func(r *http.Request) { r.Header.Set(name, value) })
			if answer.StatusCode != http.StatusForbidden {
				t.Errorf("POST %s with %s: %s gives %d, want 403", path, name, value, answer.StatusCode)
			}
		}
	}
}

func TestHTTP2AndTLS(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	answer, _ := fetch(t, s, "GET", "/healthz", nil)
	if answer.ProtoMajor != 2 {
		t.Errorf("a browser gets %s, want HTTP/2", answer.Proto)
	}
	plain, err := http.Get("http" + strings.TrimPrefix(s.URL, "https") + "/healthz")
	if err == nil {
		plain.Body.Close()
		if plain.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP gives %d, want a refusal", plain.StatusCode)
		}
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	url, fingerprint, store := s.URL, s.Fingerprint, s.Vault.StoreID()
	s.Restart()
	if s.URL != url || s.Fingerprint != fingerprint || s.Vault.StoreID() != store {
		t.Errorf("after a restart: %s %s %s, was %s %s %s", s.URL, s.Fingerprint, s.Vault.StoreID(), url, fingerprint, store)
	}
	if answer, _ := fetch(t, s, "GET", "/healthz", nil); answer.StatusCode != 200 {
		t.Errorf("after a restart /healthz = %d", answer.StatusCode)
	}
	second := s.Beside()
	if second.URL == s.URL || second.Fingerprint != fingerprint || second.Vault.StoreID() != store {
		t.Error("the second server is not one on the same data")
	}
}

func TestNewerDatabaseIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	d, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, TRUE)`, db.Target()+1)
		return err
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	path, isFile := strings.CutPrefix(dsn, "sqlite:")
	read := func() (list []string, content []byte) {
		if !isFile {
			return nil, nil
		}
		names, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		content, err = os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return names, content
	}
	names, before := read()
	_, err = server.New(t.Context(), server.Config{Data: t.TempDir(), DB: dsn})
	if !errs.Is(err, errs.SchemaVersion) {
		t.Errorf("New on a newer database = %v, want E1602", err)
	}
	namesAfter, after := read()
	if !slices.Equal(names, namesAfter) || string(before) != string(after) {
		t.Error("the refused database changed")
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for name, cfg := range map[string]server.Config{
		"no data":                    {},
		"plain HTTP alone":           {Data: data, PlainHTTP: true},
		"plain HTTP without proxies": {Data: data, PlainHTTP: true, PublicURL: "https://b.example.org"},
		"a public URL of HTTP":       {Data: data, PublicURL: "http://b.example.org"},
		"half a certificate":         {Data: data, TLSKey: "/x"},
	} {
		if s, err := server.New(t.Context(), cfg); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: New = %v, %v", name, s, err)
		}
	}
	if list, err := os.ReadDir(data); err != nil || len(list) > 0 {
		t.Errorf("a refused configuration left %v behind, %v", list, err)
	}
}

func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, func(cfg *server.Config) {
		cfg.PlainHTTP = true
		cfg.PublicURL = "https://backup.example.org"
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	ours := func(r *http.Request) {
		r.Host = "backup.example.org"
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
	}
	for _, c := range []struct {
		path string
		edit func(*http.Request)
		want int
	}{
		{"/login", ours, 200},
		{"/admin/login", ours, 200},
		{"/agent/v1/hello", ours, 200},
		{"/login", nil, 421},
		{"/healthz", nil, 200},
		{"/metrics", nil, 200},
		{"/metrics", ours, 403}, // the proxy passes on what somebody outside asks
	} {
		if answer, body := fetch(t, s, "GET", c.path, c.edit); answer.StatusCode != c.want {
			t.Errorf("%s gives %d, want %d: %s", c.path, answer.StatusCode, c.want, body)
		}
	}
	// The audit has the client's address, not the proxy's.
	fetch(t, s, "POST", "/login", func(r *http.Request) {
		ours(r)
		form := "username=user&password=wrong-password"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://backup.example.org")
		r.Header.Set("Cookie", "__Host-backstay-check=1")
		r.Body = io.NopCloser(strings.NewReader(form))
		r.ContentLength = int64(len(form))
	})
	err := s.DB.Read(t.Context(), func(tx *db.Tx) error {
		var n int
		err := tx.QueryRow(t.Context(), `SELECT count(*) FROM audit WHERE ip = '192.0.2.7' AND action = 'login'`).Scan(&n)
		if n != 1 {
			t.Errorf("%d log-ins are recorded from the client's address, want 1", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
