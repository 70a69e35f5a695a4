package localui

import (
	"testing"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/wire"
)

// Files that nobody looks at any more are closed: the window asks for the
// password again, and has forgotten the one that was typed.
func TestFilesAreClosed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 16, 8, 0, 0, 0, time.UTC)
	w := &Window{cfg: Config{Now: func() time.Time { return now }}}
	m := &w.reading
	m.user, m.secret, m.used = &wire.User{}, "secret", now
	m.opened, m.picked = map[string]*shown{"hash": {Opened: &agent.Opened{}}}, picked{from: &shown{}}
	now = now.Add(openFor)
	w.forget()
	if m.user == nil || len(m.opened) == 0 {
		t.Error("files that somebody looked at a moment ago are closed")
	}
	now = now.Add(time.Second)
	w.forget()
	if m.user != nil || m.secret != "" || len(m.opened) > 0 || m.picked.from != nil {
		t.Errorf("after %v without a look the files are open", openFor)
	}
}

// A form says which page of the restore is meant, and no other.
func TestRestorePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/restore/at/abc?in=L2hvbWU": "/restore/at/abc?in=L2hvbWU",
		"":                           "/restore",
		"/settings":                  "/restore",
		"https://evil.example/":      "/restore",
		"//evil.example/restore/at/": "/restore",
		"/restore/again":             "/restore",
	} {
		if got := restorePath(path); got != want {
			t.Errorf("restorePath(%q) = %q, want %q", path, got, want)
		}
	}
}
