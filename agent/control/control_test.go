//go:build unix

package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

type handler struct {
	change func(control.Change) error
	backup func(ctx context.Context, folders []string, progress func(wire.Progress)) (*control.Result, error)
}

func (h handler) Backup(ctx context.Context, folders []string, progress func(wire.Progress)) (*control.Result, error) {
	return h.backup(ctx, folders, progress)
}

func (h handler) Change(c control.Change) error { return h.change(c) }

func (h handler) Start() { h.change(control.Change{}) }

func (handler) Live() control.Live { return control.Live{PID: 42, Running: true} }

// serve starts an agent in a folder whose path is as long as paths get.
func serve(t *testing.T, h handler) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := control.Listen(dir, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "control.sock")); !os.IsNotExist(err) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return dir
}

func TestBackup(t *testing.T) {
	t.Parallel()
	dir := serve(t, handler{backup: func(_ context.Context, folders []string, progress func(wire.Progress)) (*control.Result, error) {
		progress(wire.Progress{Files: 1})
		progress(wire.Progress{Files: 2, Folder: "/home"})
		return &control.Result{Snapshot: fmt.Sprintf("%q", folders)}, nil
	}})
	if info, err := os.Stat(filepath.Join(dir, "control.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket = %v, %v, want 0600", info.Mode(), err)
	}
	var files []int64
	a, err := control.Ask(context.Background(), dir, control.Request{Do: control.Backup, Folders: [][]byte{[]byte("/a\xff")}},
		func(p wire.Progress) { files = append(files, p.Files) })
	if err != nil || a.Result == nil || a.Result.Snapshot != `["/a\xff"]` {
		t.Errorf("Ask = %+v, %v", a, err)
	}
	if fmt.Sprint(files) != "[1 2]" {
		t.Errorf("progress %v, want [1 2]", files)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	var got []control.Change
	dir := serve(t, handler{change: func(c control.Change) error {
		got = append(got, c)
		if c.Resume {
			return errs.New(errs.Forbidden, "choices.not_allowed.pause")
		}
		return nil
	}})
	asked := control.Change{Pause: time.Hour, Set: profile.Choices{Windows: []profile.Window{}, UpKbps: 500}, Reset: []profile.Setting{profile.SettingCPU},
		Add: [][]byte{[]byte("/home/\xff")}}
	a, err := control.Ask(t.Context(), dir, control.Request{Do: control.Choose, Change: &asked}, nil)
	if err != nil || !a.Done || !reflect.DeepEqual(got, []control.Change{asked}) {
		t.Errorf("Ask = %+v, %v; the agent was asked for %+v, want %+v", a, err, got, asked)
	}
	_, err = control.Ask(t.Context(), dir, control.Request{Do: control.Choose, Change: &control.Change{Resume: true}}, nil)
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a change that is refused: %v", err)
	}
	if a, err := control.Ask(t.Context(), dir, control.Request{Do: control.Start}, nil); err != nil || !a.Done || len(got) != 3 {
		t.Errorf("Ask to start = %+v, %v", a, err)
	}
	if _, err := control.Ask(t.Context(), dir, control.Request{Do: control.Choose}, nil); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no change: %v", err)
	}
}

func TestFailuresKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	for _, want := range []error{
		errs.Of(errs.ClockSkew, "n", int64(7)),
		errs.Of(errs.QuotaUsedUp, "q", "1 GB").Because(&wire.Refusal{Status: 507, Detail: "full"}),
		errs.Of(errs.CannotConnect).Because(errors.New("connection refused")),
		errs.Of(errs.DeviceDeactivated, "reset_at", time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)),
		errors.New("something broke"),
	} {
		dir := serve(t, handler{backup: func(context.Context, []string, func(wire.Progress)) (*control.Result, error) {
			return nil, fmt.Errorf("backing up: %w", want)
		}})
		_, got := control.Ask(context.Background(), dir, control.Request{Do: control.Backup}, nil)
		g, w := errs.Find(got), errs.Find(want)
		if (g == nil) != (w == nil) || g != nil && (g.Code != w.Code || g.Key != w.Key || fmt.Sprint(g.Args) != fmt.Sprint(w.Args)) {
			t.Errorf("Ask = %v, want %v", got, want)
		}
		if g != nil && fmt.Sprint(g.Err) != fmt.Sprint(w.Err) {
			t.Errorf("Ask = %v, because of %v, want %v", got, g.Err, w.Err)
		}
		var gr, wr *wire.Refusal
		if errors.As(got, &gr) != errors.As(want, &wr) {
			t.Errorf("Ask = %v: refused by the server %v, want %v", got, gr, wr)
		}
	}
}

func TestAskerGoesAway(t *testing.T) {
	t.Parallel()
	started, cancelled := make(chan bool), make(chan bool, 1)
	dir := serve(t, handler{backup: func(ctx context.Context, _ []string, _ func(wire.Progress)) (*control.Result, error) {
		close(started)
		<-ctx.Done()
		cancelled <- true
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancelCause(context.Background())
	interrupted := errors.New("interrupted")
	go func() {
		<-started
		cancel(interrupted)
	}()
	if _, err := control.Ask(ctx, dir, control.Request{Do: control.Backup}, nil); err != interrupted {
		t.Errorf("Ask = %v, want the context's cause", err)
	}
	select {
	case <-cancelled:
	case <-time.After(5 * time.Second):
		t.Error("the agent goes on with what nobody waits for")
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := control.Ask(context.Background(), dir, control.Request{Do: control.Status}, nil); !errors.Is(err, control.ErrNobody) {
		t.Errorf("Ask = %v, want ErrNobody", err)
	}
	// What a crash left: a socket that nobody listens on.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "control.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := control.Ask(context.Background(), dir, control.Request{Do: control.Status}, nil); !errors.Is(err, control.ErrNobody) {
		t.Errorf("Ask = %v, want ErrNobody", err)
	}
	s, err := control.Listen(dir, handler{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Listen over a left socket = %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go s.Serve(ctx)
	defer cancel()
	a, err := control.Ask(context.Background(), dir, control.Request{Do: control.Status}, nil)
	if err != nil || a.Live == nil || a.Live.PID != 42 {
		t.Errorf("Ask = %+v, %v", a, err)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	dir := serve(t, handler{})
	if _, err := control.Ask(context.Background(), dir, control.Request{Do: "shell"}, nil); errs.KindOf(err) != errs.Invalid {
		t.Errorf("Ask for something unknown = %v", err)
	}
	for name, line := range map[string]string{
		"no JSON":  "hello\n",
		"too long": strings.Repeat("x", control.MaxMessage+1) + "\n",
	} {
		conn := dialSocket(t, dir)
		conn.Write([]byte(line))
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if got, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			t.Errorf("%s: answered %q, want the connection closed", name, got)
		}
	}
}

func dialSocket(t *testing.T, dir string) net.Conn {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/control.sock", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
