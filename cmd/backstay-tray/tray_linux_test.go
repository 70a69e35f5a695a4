package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"image"
	_ "image/png"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/desktop/desktoptest"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestSee(t *testing.T) {
	t.Parallel()
	inForce := profile.Merge(profile.Defaults(), profile.Choices{})
	paused := profile.Merge(profile.Defaults(), profile.Choices{PausedAt: noon.Add(-time.Minute), PausedUntil: noon.Add(time.Hour)})
	done := state.Run{State: state.RunDone, LastDone: noon.Add(-time.Hour)}
	for name, c := range map[string]struct {
		s    agent.Standing
		err  error
		want view
	}{
		"protected":    {agent.Standing{Run: done, Ran: true, Settings: inForce}, nil, view{tone: agent.Good, backUp: true, pause: true}},
		"paused":       {agent.Standing{Run: done, Ran: true, Settings: paused}, nil, view{tone: agent.Good, backUp: true, pause: true, paused: true}},
		"backing up":   {agent.Standing{Run: done, Ran: true, Settings: inForce, Live: &control.Live{Running: true}}, nil, view{tone: agent.Good, pause: true}},
		"removed":      {agent.Standing{Run: done, Ran: true, Settings: inForce, Live: &control.Live{Failure: control.Fail(errs.Of(errs.DeviceDeactivated))}}, nil, view{tone: agent.Bad}},
		"no device":    {agent.Standing{}, errs.Of(errs.NotActivated), view{tone: agent.Warn}},
		"not readable": {agent.Standing{}, errors.New("no"), view{tone: agent.Bad}},
	} {
		for _, l := range locale.Langs() {
			c.s.Now = noon
			got := see(locale.For(l), c.s, nil, c.err)
			if got.text == "" || strings.Contains(got.text, "tray.") {
				t.Errorf("%s: it says %q", name, got.text)
			}
			got.text = ""
			if got != c.want {
				t.Errorf("%s = %+v, want %+v", name, got, c.want)
			}
		}
	}
}

// A computer that is to become a device by itself says why it is none yet.
func TestSeeDeployment(t *testing.T) {
	t.Parallel()
	refused := &state.Deployment{Note: errs.NoteOf(errs.Of(errs.BadDeployToken))}
	got := see(locale.For("en"), agent.Standing{}, refused, errs.Of(errs.NotActivated))
	if !strings.Contains(got.text, "The deployment token is not valid") || got.tone != agent.Warn {
		t.Errorf("the tray shows %+v", got)
	}
}

func TestIcon(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for tone := range dots {
		img, kind, err := image.Decode(bytes.NewReader(icon(tone)))
		if err != nil || kind != "png" || img.Bounds().Dx() != iconSize {
			t.Fatalf("%s: %v, %s", tone, err, kind)
		}
		r, g, b, _ := img.At(25*2, 25*2).RGBA()
		seen[fmt.Sprint(r, g, b)] = true
		if _, _, _, a := img.At(0, 0).RGBA(); a != 0 {
			t.Errorf("%s: the corner is not clear", tone)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d colours, want one of each tone", len(seen))
	}
}

// panel is a desktop that shows icons.
type panel struct{ came chan dbus.Sender }

func (p panel) RegisterStatusNotifierItem(sender dbus.Sender, _ string) *dbus.Error {
	p.came <- sender
	return nil
}

const (
	watcher  = "org.kde.StatusNotifierWatcher"
	item     = "org.kde.StatusNotifierItem"
	menuPath = "/StatusNotifierItem/menu"
	menu     = "com.canonical.dbusmenu"
)

// shownTray is a tray as the desktop sees it.
type shownTray struct {
	t    *testing.T
	conn *dbus.Conn
	name string
	did  string // the file in which backstay writes what it was asked
}

// node is a part of a menu as D-Bus has it.
type node struct {
	ID         int32
	Properties map[string]dbus.Variant
	Children   []dbus.Variant
}

// entries are the ids of what can be chosen, and of what can only be read, by
// their text.
func (s shownTray) entries() (can, only map[string]int32) {
	s.t.Helper()
	var revision uint32
	var root node
	err := s.conn.Object(s.name, menuPath).Call(menu+".GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root)
	if err != nil {
		s.t.Fatal(err)
	}
	can, only = map[string]int32{}, map[string]int32{}
	for _, child := range root.Children {
		var n node
		if err := dbus.Store([]any{child.Value()}, &n); err != nil {
			s.t.Fatal(err)
		}
		label, _ := n.Properties["label"].Value().(string)
		if visible, ok := n.Properties["visible"].Value().(bool); ok && !visible || label == "" {
			continue
		}
		if enabled, ok := n.Properties["enabled"].Value().(bool); ok && !enabled {
			only[label] = n.ID
		} else {
			can[label] = n.ID
		}
	}
	return can, only
}

// until waits until the menu is as good says.
func (s shownTray) until(what string, good func(can, only map[string]int32) bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		can, only := s.entries()
		if good(can, only) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("waiting until %s: the menu has %v and shows %v", what, can, only)
		}
	}
}

// choose clicks on an entry, and waits until backstay was asked for something.
func (s shownTray) choose(label, want string) {
	s.t.Helper()
	can, _ := s.entries()
	id, ok := can[label]
	if !ok {
		s.t.Fatalf("there is no %s to choose among %v", label, can)
	}
	before, _ := os.ReadFile(s.did)
	s.conn.Object(s.name, menuPath).Call(menu+".Event", 0, id, "clicked", dbus.MakeVariant(""), uint32(0))
	s.until(want, func(map[string]int32, map[string]int32) bool {
		now, _ := os.ReadFile(s.did)
		return string(now) == string(before)+want+"\n"
	})
}

// working is an agent as far as the tray sees it.
type working struct {
	control.Handler
	mu   sync.Mutex
	live control.Live
}

func (w *working) Live() control.Live {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live
}

// The program shows itself on a real bus, with an agent behind a real socket.
func TestTray(t *testing.T) {
	bus := desktoptest.New(t)
	conn, err := dbus.Connect(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := panel{make(chan dbus.Sender, 1)}
	if err := conn.Export(p, "/StatusNotifierWatcher", watcher); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(watcher, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	stateDir, did := filepath.Join(dir, "state"), filepath.Join(dir, "did")
	st, err := state.Open(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	start(t, bus.Address, dir, did, stateDir)
	s := shownTray{t, conn, string(<-p.came), did}

	// Before the activation there is nothing but the way to it.
	s.until("it says that this computer is not backed up", func(can, only map[string]int32) bool {
		_, open := can["Open Backstay"]
		_, says := only["This computer is not backed up yet."]
		_, backUp := only["Back up now"]
		return open && says && backUp
	})
	s.choose("Open Backstay", "ui")
	if v, err := conn.Object(s.name, "/StatusNotifierItem").GetProperty(item + ".IconPixmap"); err != nil || !strings.HasPrefix(v.Signature().String(), "a(iiay)") {
		t.Errorf("the icon is %v, %v", v.Signature(), err)
	}

	_, private, _ := ed25519.GenerateKey(nil)
	if err := st.SetDevice(&state.Device{Server: "https://backup.example.org", ID: backup.UUID{1}, Name: "laptop", Signing: private}); err != nil {
		t.Fatal(err)
	}
	a := &working{live: control.Live{PID: os.Getpid(), Online: true}}
	door, err := control.Listen(stateDir, a, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	says := func(text string) func(can, only map[string]int32) bool {
		return func(_, only map[string]int32) bool { _, ok := only[text]; return ok }
	}
	s.until("it is a device", says("Not protected. There has been no backup yet."))
	s.choose("Back up now", "backup")
	s.choose("Pause for an hour", "pause")
	// What fails says why.
	if err := os.WriteFile(filepath.Join(dir, "why"), []byte("backstay: the server is away (E1301)\nmore"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.choose("Back up now", "backup")
	s.until("it says why that failed", says("backstay: the server is away (E1301)"))

	a.mu.Lock()
	a.live.Running, a.live.Progress = true, &wire.Progress{Files: 3, TotalFiles: 7}
	a.mu.Unlock()
	s.until("it counts", says("Backing up: 3 of 7 files."))
	if can, only := s.entries(); only["Back up now"] == 0 {
		t.Errorf("a second backup could begin: %v", slices.Collect(maps.Keys(can)))
	}
	can, _ := s.entries()
	conn.Object(s.name, menuPath).Call(menu+".Event", 0, can["Quit"], "clicked", dbus.MakeVariant(""), uint32(0))
}

// start runs the tray beside a backstay that writes down what it is asked, and
// fails when there is a file that says why. The tray has to end by itself, well.
func start(t *testing.T, address, dir, did, stateDir string) {
	t.Helper()
	// Built as it is shipped, and so without the race detector: systray v1.12.2
	// reads and raises the version of its menu under two different locks.
	program := filepath.Join(dir, "backstay-tray")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the tray: %v\n%s", err, out)
	}
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\ncat %s/why >&2 2>/dev/null && exit 1\nexit 0\n", did, dir)
	if err := os.WriteFile(filepath.Join(dir, "backstay"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = []string{"DBUS_SESSION_BUS_ADDRESS=" + address, "BACKSTAY_STATE=" + stateDir, "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C"}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the tray ended: %v\n%s", err, said.String())
		}
	})
}
