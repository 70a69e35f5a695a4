package state_test

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

func open(t *testing.T) *state.State {
	t.Helper()
	s, err := state.Open(filepath.Join(t.TempDir(), "a", "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenChecksTheFolder(t *testing.T) {
	t.Parallel()
	file := func(dir string) { os.WriteFile(filepath.Join(dir, "device.json"), nil, 0o600) }
	tests := []struct {
		name string
		make func(dir string)
		want errs.Code // "" when it is opened
	}{
		{"missing", func(dir string) { os.Remove(dir) }, ""},
		{"ours alone", func(dir string) { os.Chmod(dir, 0o700); file(dir) }, ""},
		{"empty, others may look", func(dir string) { os.Chmod(dir, 0o755) }, ""},
		{"empty, others may write", func(dir string) { os.Chmod(dir, 0o775) }, errs.ForeignState},
		{"in use, others may look", func(dir string) { os.Chmod(dir, 0o750); file(dir) }, errs.ForeignState},
	}
	if os.Geteuid() == 0 {
		tests = append(tests, struct {
			name string
			make func(dir string)
			want errs.Code
		}{"another user's", func(dir string) { os.Chown(dir, 12345, 12345) }, errs.ForeignState})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test.make(dir)
			_, err := state.Open(dir)
			if test.want == "" && err != nil || test.want != "" && !errs.Is(err, test.want) {
				t.Fatalf("Open = %v, want %q", err, test.want)
			}
			if info, _ := os.Stat(dir); err == nil && info.Mode().Perm() != 0o700 {
				t.Errorf("mode = %v, want 0700", info.Mode())
			}
		})
	}
}

func TestDefaultDir(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env  string
		root bool
		want string
	}{
		{"BACKSTAY_STATE=/x HOME=/home/ann", true, "/x"},
		{"HOME=/root", true, "/var/lib/backstay"},
		{"HOME=/home/ann", false, "/home/ann/.local/state/backstay"},
		{"HOME=/home/ann XDG_STATE_HOME=/s", false, "/s/backstay"},
		{"HOME=/home/ann XDG_STATE_HOME=relative", false, "/home/ann/.local/state/backstay"},
		{"", false, ""},
	} {
		env := map[string]string{}
		for _, pair := range strings.Fields(test.env) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		got, err := state.DefaultDir(func(name string) string { return env[name] }, test.root)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("DefaultDir(%s, root %v) = %q, %v, want %q", test.env, test.root, got, err, test.want)
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	a := open(t)
	b, err := state.Open(a.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := b.Lock(); !errs.Is(err, errs.AlreadyRunning) {
		t.Errorf("second Lock = %v, want E1502", err)
	}
	a.Unlock()
	if err := b.Lock(); err != nil {
		t.Errorf("Lock after Unlock = %v", err)
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.Device(); !errs.Is(err, errs.NotActivated) {
		t.Errorf("Device = %v, want E1501", err)
	}
	pub, private, _ := ed25519.GenerateKey(nil)
	want := &state.Device{
		Server: "https://b.example", ID: backup.UUID{1}, Name: "laptop", Store: backup.UUID{2}, KeyGen: 1,
		Signing: private, ScopeSecret: backup.Key{3}, ChunkerSecret: backup.Key{4},
	}
	if err := s.SetDevice(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Device()
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != want.ID || got.ScopeSecret != want.ScopeSecret || got.ChunkerSecret != want.ChunkerSecret || !got.Signing.Equal(private) {
		t.Errorf("Device = %+v, want %+v", got, want)
	}
	if info, _ := os.Stat(filepath.Join(s.Dir(), "device.json")); info.Mode().Perm() != 0o600 {
		t.Errorf("mode of device.json = %v, want 0600", info.Mode())
	}
	signature, err := got.SignToken([]byte("challenge"))
	if err != nil {
		t.Fatal(err)
	}
	m := append(append(append([]byte{}, want.ID[:]...), want.Store[:]...), "challenge"...)
	if err := crypt.VerifySignature(pub, "token", m, signature); err != nil {
		t.Errorf("the token's signature: %v", err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "device", got)
	if strings.Contains(log.String(), "seed") || len(log.String()) > 200 {
		t.Errorf("a logged device shows %s", log.String())
	}
}

func TestDamagedAndNewerFiles(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"{":                 "state.file.damaged",
		`{"format": 2}`:     "state.file.version",
		`{"format": 1}`:     "state.file.damaged", // no keys
		`{"format": "one"}`: "state.file.damaged",
	} {
		s := open(t)
		os.WriteFile(filepath.Join(s.Dir(), "device.json"), []byte(content), 0o600)
		if _, err := s.Device(); errs.Find(err) == nil || errs.Find(err).Key != want {
			t.Errorf("Device with %s = %v, want %s", content, err, want)
		}
	}
}

func TestChoices(t *testing.T) {
	t.Parallel()
	s := open(t)
	if c, err := s.Choices(); err != nil || !reflect.DeepEqual(c, profile.Choices{}) {
		t.Errorf("Choices = %+v, %v, want none", c, err)
	}
	until := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	want := profile.Choices{IntervalMinutes: 30, Windows: []profile.Window{}, Unlinked: []string{"~/Music"}, Folders: []string{"/home/a ", "/home/\xff"},
		PausedAt: until.Add(-time.Hour), PausedUntil: until}
	if err := s.SetChoices(want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Choices(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Choices = %+v, %v, want %+v", got, err, want)
	}
}

func TestLastRunKeepsLastDone(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, ok, err := s.LastRun(); ok || err != nil {
		t.Errorf("LastRun = %v, %v, want none", ok, err)
	}
	done := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	s.SetLastRun(state.Run{State: state.RunDone, LastDone: done})
	s.SetLastRun(state.Run{State: state.RunFailed, Note: errs.Note{Code: errs.CannotConnect}})
	got, ok, err := s.LastRun()
	if err != nil || !ok || got.State != state.RunFailed || !got.LastDone.Equal(done) {
		t.Errorf("LastRun = %+v, %v, %v", got, ok, err)
	}
}

// The proxy settings, which may hold a password, are for their owner alone.
func TestConnection(t *testing.T) {
	t.Parallel()
	st := open(t)
	if c, err := st.Connection(); err != nil || c.Proxy.Mode != wire.ProxySystem {
		t.Errorf("at first Connection = %+v, %v", c, err)
	}
	want := wire.Proxy{Mode: wire.ProxyManual, URL: "http://proxy.example:3128", Username: "ada", Password: "secret", Bypass: []string{".example"}}
	if err := st.SetConnection(state.Connection{Proxy: want}); err != nil {
		t.Fatal(err)
	}
	if c, err := st.Connection(); err != nil || !c.Proxy.Equal(want) {
		t.Errorf("Connection = %+v, %v", c, err)
	}
	info, err := os.Stat(filepath.Join(st.Dir(), "connection.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("connection.json is open: %v, %v", info.Mode(), err)
	}
	if err := st.SetConnection(state.Connection{Proxy: wire.Proxy{Mode: wire.ProxyManual, URL: "ftp://x"}}); err == nil {
		t.Error("settings that cannot be used are kept")
	}
	if c, err := st.Connection(); err != nil || !c.Proxy.Equal(want) {
		t.Errorf("after a failure Connection = %+v, %v", c, err)
	}
	if err := os.WriteFile(filepath.Join(st.Dir(), "connection.json"), []byte(`{"format":1,"proxy":{"mode":"manual"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := st.Connection(); err == nil {
		t.Errorf("settings without an address are %+v", c)
	}
}
