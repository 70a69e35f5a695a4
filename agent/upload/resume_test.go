//go:build unix

package upload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/wire"
)

// child runs one backup in this process and says how it went.
func TestMain(m *testing.M) {
	if dir := os.Getenv("UPLOAD_TEST_STATE"); dir != "" {
		var t child
		cfg := config(t, dir, os.Getenv("UPLOAD_TEST_FOLDER"))
		if os.Getenv("UPLOAD_TEST_PARTIAL") != "" {
			cfg.Interval = 1
		}
		if _, err := upload.Run(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

// child is as much of a test as config needs.
type child struct{ testing.TB }

func (child) Helper() {}
func (child) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

// start runs a backup in a process of its own.
func (d *device) start(env ...string) *exec.Cmd {
	d.t.Helper()
	bin, err := os.Executable()
	must(d.t, err)
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), append(env, "UPLOAD_TEST_STATE="+d.state, "UPLOAD_TEST_FOLDER="+d.folder)...)
	cmd.Stderr = d.t.Output()
	must(d.t, cmd.Start())
	return cmd
}

// Killed at any point, a backup goes on with the next run, and no object is sent
// twice but those that were cut on their way.
func TestKilled(t *testing.T) {
	t.Parallel()
	clean := newDevice(t, newServer(t))
	clean.fill()
	clean.back()
	for _, partial := range []string{"", "UPLOAD_TEST_PARTIAL=1"} {
		f := newServer(t)
		d := newDevice(t, f)
		d.fill()
		kills := 0
		for _, after := range []int64{0, 1, 3, 6, 12} {
			cmd := d.start(partial)
			var seen atomic.Int64
			f.set(func() {
				f.putting = func() {
					if seen.Add(1) > after {
						cmd.Process.Kill()
					}
				}
			})
			if cmd.Wait() != nil {
				kills++
			}
		}
		f.set(func() { f.putting = nil })
		if err := d.start(partial).Wait(); err != nil {
			t.Fatal(err)
		}
		d.restored()
		d.honest()
		if kills < 3 {
			t.Errorf("only %d runs were killed", kills)
		}
		// Partial snapshots have pages of their own.
		limit := clean.f.received + int64(kills)*upload.Senders*(mediaSize/6)
		if f.received > limit {
			t.Errorf("%d kills: the server received %d bytes, want at most %d; a clean run sends %d", kills, f.received, limit, clean.f.received)
		}
		if head := f.head().m; head.Status != snapshot.Complete || head.Unreadable != 0 {
			t.Errorf("the last snapshot is %v", head.Status)
		}
	}
}

// Ctrl-C ends a run at once and leaves nothing running.
func TestInterrupted(t *testing.T) {
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	f.putting = func() {
		if n.Add(1) == 3 {
			cancel()
		}
	}
	if _, err := d.try(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	stack := make([]byte, 1<<20)
	stack = stack[:runtime.Stack(stack, true)]
	for _, ours := range []string{"agent/upload.(", "backup/archive.(", "agent/scan.(", "backup/catalog.("} {
		if strings.Contains(string(stack), ours) {
			t.Errorf("something of %s still runs:\n%s", ours, stack)
		}
	}
	f.quiet()
	if f.head() != nil {
		t.Error("an interrupted run committed something")
	}
	d.back()
	d.restored()
}

// A long run commits what it has now and then, and a run after it was cut off
// reads only the rest.
func TestPartialSnapshots(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	settle()
	ctx, cancel := context.WithCancel(t.Context())
	var cut atomic.Bool
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		// Not at the first: the device may not remember it yet.
		if h := f.head(); h != nil && h.m.Seq > 1 && h.m.Files > 100 && !cut.Load() {
			cut.Store(true)
			cancel()
		}
		return false
	}
	partial := func(c *upload.Config) { c.Interval = 1 }
	if _, err := d.try(ctx, partial); !errors.Is(err, context.Canceled) {
		t.Fatalf("the run was to be cut off: %v", err)
	}
	f.quiet()
	if h := f.head(); h == nil || h.m.Status != snapshot.Partial {
		t.Fatal("no partial snapshot was committed")
	}
	d.honest()
	// The cut may fall between the server's commit and the device's memory.
	st, err := state.Open(d.state)
	must(t, err)
	h, err := st.Head(setID)
	if newest := f.head().m.Seq; err != nil || h.Session == "" || h.Seq != newest && h.Seq != newest-1 {
		t.Fatalf("the device remembers %+v, %v; the head is %d", h, err, newest)
	}
	safe := f.snapshots[h.Seq-1].m.Bytes
	r := d.back(partial)
	d.restored()
	d.honest()
	if r.Read > r.Totals.Bytes-safe || safe == 0 {
		t.Errorf("of %d bytes %d were in the partial snapshot, and %d were read after it", r.Totals.Bytes, safe, r.Read)
	}
	if f.session != nil {
		t.Error("the session is still open after the whole snapshot")
	}
}

// Until a first backup is through, and after one was cut off, what is done is
// committed earlier than every ten minutes: the computer may not run for so long.
func TestPartialSnapshotsComeSooner(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	// The clock is looked at now and then; by itself it stands still.
	var looks atomic.Int64
	begin := time.Now()
	slow := func(c *upload.Config) {
		c.Interval = time.Hour
		c.Now = func() time.Time { return begin.Add(time.Duration(looks.Add(1)) * 3 * time.Minute) }
	}
	d.back(slow)
	first := len(f.snapshots)
	if first < 2 {
		t.Errorf("a first backup made %d snapshots, want a partial one", first)
	}
	d.write("docs/0/new", noise(2000, 1000))
	d.back(slow)
	if made := len(f.snapshots) - first; made != 1 {
		t.Errorf("a backup in less than an hour made %d snapshots, want 1", made)
	}

	d.write("docs/0/new", noise(2001, 1000))
	ctx, cancel := context.WithCancel(t.Context())
	f.set(func() { f.putting = cancel })
	if _, err := d.try(ctx, slow); !errors.Is(err, context.Canceled) {
		t.Fatalf("the run was to be cut off: %v", err)
	}
	f.quiet()
	f.set(func() { f.putting = nil })
	before := len(f.snapshots)
	d.back(slow)
	if made := len(f.snapshots) - before; made < 2 {
		t.Errorf("the backup after one that was cut off made %d snapshots, want a partial one", made)
	}
	d.restored()
	d.honest()
}

// A put that breaks on its way is sent again under the same name.
func TestBrokenPuts(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	var mu sync.Mutex
	tries := map[string]int{}
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		mu.Lock()
		tries[r.URL.Path]++
		n, first := len(tries), tries[r.URL.Path] == 1
		mu.Unlock()
		switch {
		case first && n%3 == 0: // half of it, then the line is cut
			io.CopyN(io.Discard, r.Body, 500_000)
			panic(http.ErrAbortHandler)
		case first && n%3 == 1:
			problem(w, http.StatusServiceUnavailable, wire.Problem{Title: "busy", Retryable: true})
			return true
		}
		return false
	}
	d.back()
	d.restored()
	again := 0
	for _, n := range tries {
		if n > 1 {
			again++
		}
	}
	if again < 2 {
		t.Errorf("%d puts were tried again", again)
	}
}

// A put that was cut off goes on behind what came whole of it, also in a first
// backup, which has no other reason to ask what the server has.
func TestCutPutsGoOn(t *testing.T) {
	t.Parallel()
	// So many that several puts have a third record, wherever the new keys cut.
	fill := func(d *device) {
		d.fill()
		for i := range 12 {
			d.write(fmt.Sprintf("more/%d", i), noise(2000+uint64(i), mediaSize/6))
		}
	}
	clean := newDevice(t, newServer(t))
	fill(clean)
	clean.back()
	f := newServer(t)
	f.cutAfter = 2
	d := newDevice(t, f)
	fill(d)
	d.back(func(c *upload.Config) { c.PutBytes = 2 << 20 })
	d.restored()
	d.honest()
	if len(f.cuts) < 2 {
		t.Errorf("%d puts were cut off, want some", len(f.cuts))
	}
	// Of each cut the third record had come, and comes again.
	largest := 0
	for _, o := range f.objects {
		largest = max(largest, len(o.Sealed))
	}
	if limit := clean.f.received + int64(len(f.cuts)*largest); f.received > limit {
		t.Errorf("the server received %d bytes, want at most %d; an undisturbed run sends %d", f.received, limit, clean.f.received)
	}
}

// Cut off between the server's commit and the device's memory, the device is one
// snapshot behind, and goes on from there.
func TestDeviceIsOneBehind(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	d.back()
	saved := filepath.Join(temp(t), "state")
	must(t, os.CopyFS(saved, os.DirFS(d.state)), os.Chmod(saved, 0o700))
	d.write("docs/3/new", noise(1, 1000))
	d.write("docs/1/51", noise(2, 1000))
	d.back()
	d.write("docs/3/newer", noise(3, 1000))
	must(t, os.RemoveAll(d.state), os.Rename(saved, d.state))
	r := d.back()
	if r.Seq != 3 {
		t.Errorf("the snapshot is number %d, want 3", r.Seq)
	}
	d.restored()
	d.honest()
}
