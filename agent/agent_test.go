package agent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/desktop"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// fake is a server as far as an agent's loop sees it.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	profile  wire.Profile
	inactive bool
	problem  wire.Problem // why, E1208 when empty
	refused  int          // how often it said so
	requests []wire.Request
	outcomes []string
	statuses []wire.Status
	changed  chan struct{}

	busy    int    // times that a backup may not begin
	asking  int    // times that the server is too busy to tell the profile
	opening func() // is called when one wants to
	left    int    // times that one gave its turn back

	polls  time.Duration // how long a poll takes, 200 ms when 0
	polled string        // the connection by which the last one came
	along  int           // heartbeats that came by it, too
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{changed: make(chan struct{}), profile: wire.Profile{Version: 1, Settings: profile.Defaults().Encode()}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agent/v1/challenge", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Challenge{Challenge: make([]byte, 32)})
	})
	mux.HandleFunc("POST /agent/v1/token", f.known(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Token{Token: "bsa_x", ExpiresAt: time.Now().Add(15 * time.Minute)})
	}))
	mux.HandleFunc("GET /agent/v1/profile", f.known(func(w http.ResponseWriter, _ *http.Request) {
		if f.asking--; f.asking >= 0 {
			tooBusy(w)
			return
		}
		answer(w, f.profile)
	}))
	mux.HandleFunc("PUT /agent/v1/status", f.known(func(w http.ResponseWriter, r *http.Request) {
		var s wire.Status
		json.NewDecoder(r.Body).Decode(&s)
		f.statuses = append(f.statuses, s)
		if f.polled == r.RemoteAddr {
			f.along++
		}
		answer(w, wire.StatusAnswer{ProfileVersion: f.profile.Version, ServerTime: time.Now()})
	}))
	mux.HandleFunc("POST /agent/v1/requests/{n}", f.known(func(w http.ResponseWriter, r *http.Request) {
		var out wire.Outcome
		json.NewDecoder(r.Body).Decode(&out)
		f.outcomes = append(f.outcomes, r.PathValue("n")+" "+out.State+out.Code)
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("POST /agent/v1/sessions", f.known(func(w http.ResponseWriter, _ *http.Request) {
		f.opening()
		if f.busy--; f.busy >= 0 {
			tooBusy(w)
			return
		}
		answer(w, wire.Session{})
	}))
	mux.HandleFunc("DELETE /agent/v1/turn", f.known(func(w http.ResponseWriter, _ *http.Request) {
		f.left++
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("GET /agent/v1/next", f.next)
	f.Server = httptest.NewTLSServer(mux)
	t.Cleanup(f.Close)
	return f
}

func tooBusy(w http.ResponseWriter) {
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.Header().Set("Retry-After", "60")
	w.WriteHeader(http.StatusServiceUnavailable)
	json.NewEncoder(w).Encode(wire.Problem{Code: "E1402"})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set(wire.HeaderVersion, "0.1")
	json.NewEncoder(w).Encode(v)
}

// known answers devices that are active, one at a time.
func (f *fake) known(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.inactive {
			w.Header().Set("Content-Type", wire.MediaTypeProblem)
			w.WriteHeader(http.StatusForbidden)
			f.refused++
			p := f.problem
			if p.Code == "" && p.Key == "" {
				p.Code = "E1208"
			}
			json.NewEncoder(w).Encode(p)
			return
		}
		h(w, r)
	}
}

func (f *fake) next(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	f.mu.Lock()
	f.polled = r.RemoteAddr
	f.mu.Unlock()
	for {
		f.mu.Lock()
		var out wire.Next
		out.ProfileVersion = f.profile.Version
		for _, q := range f.requests {
			if q.Number > after {
				out.Requests = append(out.Requests, q)
			}
		}
		inactive, changed := f.inactive, f.changed
		f.mu.Unlock()
		if inactive || len(out.Requests) > 0 {
			f.known(func(w http.ResponseWriter, _ *http.Request) { answer(w, out) })(w, r)
			return
		}
		select {
		case <-changed:
		case <-time.After(cmp.Or(f.polls, 200*time.Millisecond)):
			answer(w, out)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) ask(r wire.Request) { f.change(func() { f.requests = append(f.requests, r) }) }

// device activates a device of f's in a new state folder, with a folder to
// back up.
func device(t *testing.T, f *fake) *state.State {
	t.Helper()
	st, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	_, private, _ := ed25519.GenerateKey(nil)
	d := &state.Device{Server: f.URL, Fingerprint: wire.Fingerprint(f.Certificate()), ID: backup.UUID{1}, Name: "laptop", Signing: private}
	if err := st.SetDevice(d); err != nil {
		t.Fatal(err)
	}
	if err := st.SetChoices(profile.Choices{Folders: []string{t.TempDir()}}); err != nil {
		t.Fatal(err)
	}
	return st
}

// runs stands in for the upload: it notes what it is given, and does what do
// says.
type runs struct {
	mu   sync.Mutex
	jobs []job
	do   func(ctx context.Context, n int, progress func(wire.Progress)) error
}

func (r *runs) upload(ctx context.Context, _ *Agent, j job, progress func(wire.Progress)) (*control.Result, error) {
	r.mu.Lock()
	r.jobs = append(r.jobs, j)
	n := len(r.jobs)
	r.mu.Unlock()
	if r.do != nil {
		if err := r.do(ctx, n, progress); err != nil {
			return nil, err
		}
	}
	result := &control.Result{Snapshot: fmt.Sprint("snapshot ", n), Files: int64(n)}
	if len(j.walk) > 0 {
		result.Carried = int64(len(j.folders) - len(j.walk))
	}
	return result, nil
}

func (r *runs) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.jobs)
}

// nowhere is a bus that is not there: tests ask nothing of this computer's, and
// show nothing to whoever works on it.
const nowhere = "unix:path=/nonexistent"

// newAgent makes an agent for which time passes a thousand times as fast.
func newAgent(t *testing.T, st *state.State, r *runs) *Agent {
	t.Helper()
	began := time.Now()
	now := func() time.Time { return began.Add(1000 * time.Since(began)) }
	a, err := New(Config{State: st, Now: now, upload: r.upload, pace: 1000, bus: desktop.Bus{System: nowhere, Session: nowhere}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.client.Close)
	return a
}

// start runs the agent until the end of the test.
func start(t *testing.T, a *Agent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never happened that %s", what)
}

func TestFirstBackupAndServersRequests(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st, r := device(t, f), &runs{}
	a := newAgent(t, st, r)
	start(t, a)
	eventually(t, "the first backup was made", func() bool { return r.count() == 1 })
	f.ask(wire.Request{Number: 7, Kind: wire.RequestBackup})
	f.ask(wire.Request{Number: 8, Kind: "dance"})
	outcomes := func() []string {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Sorted(slices.Values(f.outcomes))
	}
	want := []string{"7 done", "7 taken", "8 unsupported"}
	eventually(t, "the server was told "+fmt.Sprint(want), func() bool { return slices.Equal(outcomes(), want) })
	if n := r.count(); n != 2 {
		t.Errorf("%d backups, want 2", n)
	}
	run, ok, err := st.LastRun()
	if err != nil || !ok || run.State != state.RunDone || run.Snapshot != "snapshot 2" || !run.LastDone.Equal(run.Ended) {
		t.Errorf("LastRun = %+v, %v, %v", run, ok, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.statuses) == 0 || len(f.statuses[0].Folders) != 1 || f.statuses[0].Hardware.Hostname == "" {
		t.Errorf("heartbeats %+v", f.statuses)
	}
}

// A command that puts the first folder on the list of a running agent backs it
// up once: the agent sees that a backup is due while that one runs.
func TestFirstFolderIsBackedUpOnce(t *testing.T) {
	t.Parallel()
	st := device(t, newFake(t))
	if err := st.SetChoices(profile.Choices{}); err != nil {
		t.Fatal(err)
	}
	r := &runs{}
	a := newAgent(t, st, r)
	now := a.now().Add(time.Hour)
	a.cfg.Now = func() time.Time { return now }
	ctx, cancel := context.WithCancel(t.Context())
	var scheduled sync.WaitGroup
	defer scheduled.Wait()
	defer cancel()
	r.do = func(_ context.Context, n int, _ func(wire.Progress)) error {
		if n == 1 {
			scheduled.Go(func() { a.keepSchedule(ctx) })
			eventually(t, "the schedule looks while the backup runs", func() bool { return a.Live().Reason == string(schedule.First) })
		}
		return nil
	}
	if _, err := a.Backup(ctx, []string{t.TempDir()}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next backup is one of the interval", func() bool { return a.Live().Reason == string(schedule.Interval) })
	if n := r.count(); n != 1 {
		t.Errorf("%d backups, want 1", n)
	}
}

// Who backs up one folder again and again does not put the others off.
func TestOneFolderDoesNotPutOthersOff(t *testing.T) {
	t.Parallel()
	st, one := device(t, newFake(t)), t.TempDir()
	a := newAgent(t, st, &runs{})
	now := a.now()
	a.cfg.Now = func() time.Time { return now }
	back := func(folders ...string) (state.Run, time.Time) {
		t.Helper()
		if _, err := a.Backup(t.Context(), folders, nil); err != nil {
			t.Fatal(err)
		}
		run, _, err := st.LastRun()
		if err != nil {
			t.Fatal(err)
		}
		return run, a.decide(t.Context()).At
	}
	back(one) // which puts it on the list
	all, next := back()
	now = now.Add(time.Hour)
	if run, at := back(one); !run.LastDone.Equal(all.Ended) || run.State != state.RunDone || !at.Equal(next) {
		t.Errorf("after a backup of one folder of two: %+v, the next is due %v; want the last complete one to be %v, and the next due %v", run, at, all.Ended, next)
	}
	if run, at := back(); !run.LastDone.Equal(now) || !at.After(next) {
		t.Errorf("after one of all: %+v, the next is due %v", run, at)
	}
}

// A server that is too busy for the first call of a backup is waited for, as it
// is at every later one: that is no failure.
func TestBusyServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.asking = 10
	st, r := device(t, f), &runs{}
	if _, err := newAgent(t, st, r).Backup(t.Context(), nil, nil); err != nil || f.asking != -1 {
		t.Errorf("the backup: %v, with the server busy %d times more", err, f.asking+1)
	}
	if run, _, err := st.LastRun(); err != nil || run.State != state.RunDone {
		t.Errorf("the run is %+v, %v, want it done", run, err)
	}
}

func TestFailedBackupIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	r := &runs{do: func(_ context.Context, n int, _ func(wire.Progress)) error {
		if n < 3 {
			return errs.Of(errs.StorageFull).Because(&wire.Refusal{Status: 507})
		}
		return nil
	}}
	a := newAgent(t, st, r)
	start(t, a)
	eventually(t, "the third try was made", func() bool { return r.count() == 3 })
	eventually(t, "it succeeded", func() bool { run, _, _ := st.LastRun(); return run.State == state.RunDone })
}

// A backup stops when something comes in its way, and goes on when that has
// gone; who asked for it hears of the end only.
func TestBackupGivesWay(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	var a *Agent
	root := files(t, map[string]string{"sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/capacity": "12",
		"sys/class/power_supply/AC/type": "Mains", "sys/class/power_supply/AC/online": "1"})
	plugged := func(yes bool) {
		online := map[bool]string{true: "1", false: "0"}[yes]
		if err := os.WriteFile(filepath.Join(root, "sys/class/power_supply/AC/online"), []byte(online), 0o644); err != nil {
			t.Error(err)
		}
		a.poke()
	}
	r := &runs{do: func(ctx context.Context, n int, _ func(wire.Progress)) error {
		if n != 2 {
			return nil
		}
		plugged(false)
		<-ctx.Done()
		return ctx.Err()
	}}
	a = newAgent(t, st, r)
	a.cfg.root = root
	start(t, a)
	eventually(t, "the first backup was made", func() bool { run, ok, _ := st.LastRun(); return ok && run.State == state.RunDone })
	f.ask(wire.Request{Number: 7, Kind: wire.RequestBackup})
	eventually(t, "the second one stopped", func() bool { run, _, _ := st.LastRun(); return run.State == state.RunCancelled })
	time.Sleep(200 * time.Millisecond) // three minutes
	if n := r.count(); n != 2 {
		t.Errorf("%d backups, want none while the battery is low", n-2)
	}
	plugged(true)
	eventually(t, "the server was told that it was made", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Equal(f.outcomes, []string{"7 taken", "7 done"})
	})
	if n := r.count(); n != 3 {
		t.Errorf("%d backups, want 3", n)
	}
}

// A backup that stops before its end lets others have its turn at once, whatever
// stopped it.
func TestStoppedBackupLeavesItsTurn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		stop func(a *Agent, end context.CancelFunc) error
		left int
	}{
		{"nothing", func(*Agent, context.CancelFunc) error { return nil }, 0},
		{"the end of whoever asked for it, or of the agent", func(_ *Agent, end context.CancelFunc) error { end(); return context.Canceled }, 1},
		{"a pause", func(a *Agent, _ context.CancelFunc) error {
			return errors.Join(a.Change(control.Change{Pause: time.Hour}), context.Canceled)
		}, 1},
		{"a failure", func(*Agent, context.CancelFunc) error { return errs.Of(errs.Mismatch) }, 1},
		{"no way to the server", func(*Agent, context.CancelFunc) error { return errs.Of(errs.CannotConnect) }, 0},
	} {
		f := newFake(t)
		ctx, end := context.WithCancel(t.Context())
		r := &runs{}
		a := newAgent(t, device(t, f), r)
		r.do = func(context.Context, int, func(wire.Progress)) error { return tc.stop(a, end) }
		a.Backup(ctx, nil, nil)
		end()
		f.mu.Lock()
		if f.left != tc.left {
			t.Errorf("%s: the turn was given back %d times, want %d", tc.name, f.left, tc.left)
		}
		f.mu.Unlock()
	}
}

// A device that does nothing needs one connection: its heartbeats go between two
// polls.
func TestHeartbeatsGoWithThePolls(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.polls = 500 * time.Millisecond // 50 s of the agent's
	st, r := device(t, f), &runs{}
	if err := st.SetChoices(profile.Choices{}); err != nil {
		t.Fatal(err)
	}
	a, began := newAgent(t, st, r), time.Now()
	a.cfg.pace, a.cfg.Now = 100, func() time.Time { return began.Add(100 * time.Since(began)) }
	start(t, a)
	eventually(t, "two heartbeats came by the connection of the polls", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.along >= 2
	})
}

func TestCommandsHandTheirWorkOver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	extra := t.TempDir()
	shown, third := make(chan struct{}), make(chan struct{})
	r := &runs{do: func(ctx context.Context, n int, progress func(wire.Progress)) error {
		if n == 1 {
			progress(wire.Progress{Files: 1, Folder: "/secret"})
			select {
			case <-shown:
			case <-ctx.Done():
			}
		}
		if n == 3 {
			close(third)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	a := newAgent(t, st, r)
	stop := start(t, a)
	eventually(t, "the first backup runs", func() bool { return a.Live().Progress != nil })
	// Asked for in the middle of another: that one's progress, then ours.
	var seen []int64
	show := sync.OnceFunc(func() { close(shown) })
	answer, err := control.Ask(t.Context(), st.Dir(), control.Request{Do: control.Backup, Folders: [][]byte{[]byte(extra)}},
		func(p wire.Progress) {
			seen = append(seen, p.Files)
			show()
		})
	if err != nil || answer.Result.Snapshot != "snapshot 2" || len(seen) == 0 {
		t.Errorf("Ask = %+v, %v, progress %v", answer, err, seen)
	}
	r.mu.Lock()
	if j := r.jobs[1]; !slices.Equal(j.walk, []string{extra}) || len(j.folders) != 2 {
		t.Errorf("walked %v of %v, want %v of two", j.walk, j.folders, extra)
	}
	r.mu.Unlock()
	f.mu.Lock()
	for _, s := range f.statuses {
		if s.Progress != nil && s.Progress.Folder != "" {
			t.Errorf("the server was told the folder %q", s.Progress.Folder)
		}
	}
	f.mu.Unlock()
	// The asker goes away.
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		<-third
		cancel(context.DeadlineExceeded)
	}()
	if _, err := control.Ask(ctx, st.Dir(), control.Request{Do: control.Backup}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ask = %v", err)
	}
	eventually(t, "the run was cancelled", func() bool { run, _, _ := st.LastRun(); return run.State == state.RunCancelled })
	stop()
	if _, err := os.Stat(filepath.Join(st.Dir(), "control.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	broken := errs.Of(errs.LocalDiskFull)
	a := newAgent(t, st, &runs{do: func(context.Context, int, func(wire.Progress)) error { return broken }})
	if _, err := a.Once(t.Context(), nil, nil); !errs.Is(err, errs.LocalDiskFull) {
		t.Errorf("Once = %v, want E1505", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.statuses[len(f.statuses)-1]
	if last.State != wire.StateFailed || last.Code != "E1505" {
		t.Errorf("the last heartbeat says %s %s, want failed E1505", last.State, last.Code)
	}
}

func TestProfileDecidesAboutFolders(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	mandatory, missing := t.TempDir(), filepath.Join(t.TempDir(), "missing")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(mandatory, link); err != nil {
		t.Fatal(err)
	}
	s := profile.Defaults()
	s.UserMay.Folders = false
	s.Folders = []profile.Folder{{Path: link, Mandatory: true}, {Path: missing}, {Path: missing + "-too", Mandatory: true}}
	f.profile = wire.Profile{Version: 2, Settings: s.Encode()}
	r := &runs{}
	a := newAgent(t, st, r)
	if _, err := a.Backup(t.Context(), []string{t.TempDir()}, nil); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("Backup of a folder of one's own = %v, want a refusal", err)
	}
	if _, ran, err := st.LastRun(); ran || err != nil || a.facts.Failures > 0 || a.Live().Running {
		t.Errorf("the refusal counts as a backup that failed: %v, %v, %+v", ran, err, a.facts)
	}
	if _, err := a.Backup(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := r.jobs[0].folders, slices.Sorted(slices.Values([]string{mandatory, missing + "-too"})); !slices.Equal(got, want) {
		t.Errorf("folders %v, want %v", got, want)
	}
}

// A folder inside another is backed up with it: it is no folder of its own, and
// may yet be backed up alone.
func TestFolderInsideAnother(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	st := device(t, f)
	own, err := st.Choices()
	if err != nil {
		t.Fatal(err)
	}
	alone := own.Folders
	docs := t.TempDir()
	inside, beside := filepath.Join(docs, "locale"), docs+"-2"
	r := &runs{}
	a := newAgent(t, st, r)
	for _, folders := range [][]string{{inside}, {docs, beside}, {inside}} {
		if _, err := a.Backup(t.Context(), folders, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range [][]string{{inside}, {docs, beside}, {docs, beside}} {
		if got, want := r.jobs[i].folders, slices.Sorted(slices.Values(append(want, alone...))); !slices.Equal(got, want) {
			t.Errorf("backup %d is of %v, want %v", i, got, want)
		}
	}
	if got := r.jobs[2].walk; !slices.Equal(got, []string{inside}) {
		t.Errorf("the last backup reads %v, want %s alone", got, inside)
	}
	root := string(filepath.Separator)
	if got := outermost([]string{root + "a", root, root}); !slices.Equal(got, []string{root}) {
		t.Errorf("the outermost are %v, want all of them inside the root", got)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	list := []wire.Snapshot{{Hash: "ab12"}, {Hash: "ab34"}, {Hash: "cd56"}}
	for id, want := range map[string]string{"": "ab12", "latest": "ab12", "ab3": "ab34", "CD": "cd56", "ab": "", "x": ""} {
		got, err := Find(list, id)
		if got.Hash != want || (err == nil) != (want != "") {
			t.Errorf("Find(%q) = %q, %v, want %q", id, got.Hash, err, want)
		}
	}
	if _, err := Find(nil, "latest"); !errs.Is(err, errs.NoSuchSnapshot) {
		t.Errorf("Find in nothing = %v, want E1504", err)
	}
}

// The scripts that the profile names stand around the backup, and one that fails
// before it, or that is not the one that was approved, leaves none to be made.
// What fails after it is remarked on. While the server is busy none runs: what
// they stop would wait with them.
func TestHooks(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/var/lib", "backstay-hooks-") // root's alone, as no temporary folder is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ran := filepath.Join(dir, "ran")
	lay := func(when profile.HookTime, name, script string) profile.Hook {
		text := "#!/bin/sh\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return profile.Hook{When: when, Name: name, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text))), Users: true}
	}
	first := lay(profile.Before, "first", "echo first >>"+ran)
	fails, after := lay(profile.Before, "fails", "exit 1"), lay(profile.After, "after", "echo $BACKSTAY_RESULT $BACKSTAY_SNAPSHOT >>"+ran)
	changed, late, system := first, after, first
	changed.SHA256, late.SHA256, system.Users = fails.SHA256, fails.SHA256, false
	for _, test := range []struct {
		name      string
		hooks     []profile.Hook
		key, want string
		sentence  string // in the list of what was done
		backups   int
	}{
		{"both", []profile.Hook{first, after}, "", "first\ndone snapshot 1\n", "Backed up.", 1},
		{"one that fails", []profile.Hook{fails, after}, "hooks.failed", "failed\n", "The backup failed. The script " + dir + "/fails", 0},
		{"another than was approved", []profile.Hook{changed, after}, "hooks.changed", "failed\n", "The backup failed. The script " + dir + "/first", 0},
		{"another after the backup", []profile.Hook{first, late}, "", "first\n", "Backed up, but not all that the administrator has run around", 1},
		{"one of whole computers", []profile.Hook{system}, "", "", "Backed up.", 1},
	} {
		os.Remove(ran)
		r := &runs{}
		f := newFake(t)
		s := profile.Defaults()
		s.Hooks = test.hooks
		f.profile.Settings = s.Encode()
		f.busy, f.opening = 3, func() {
			if _, err := os.Stat(ran); err == nil {
				t.Errorf("%s: a script ran before the server let the backup begin", test.name)
			}
		}
		st := device(t, f)
		a := newAgent(t, st, r)
		a.cfg.hooks = dir
		_, err := a.Backup(context.Background(), nil, nil)
		key := ""
		if e := errs.Find(err); e != nil {
			key = e.Key
		}
		got, _ := os.ReadFile(ran)
		waited := test.hooks[0].Users && test.backups > 0
		if key != test.key || string(got) != test.want || r.count() != test.backups || waited && f.busy != -1 {
			t.Errorf("%s: %v, ran %q, %d backups", test.name, err, got, r.count())
		}
		if f.left != map[bool]int{true: 1}[test.key != ""] {
			t.Errorf("%s: the turn was given back %d times", test.name, f.left)
		}
		list, _, err := st.Activities("", 1)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %d activities, %v", test.name, len(list), err)
		}
		if text, _, _ := ActivitySentence(locale.For("en"), list[0]); !strings.HasPrefix(text, test.sentence) {
			t.Errorf("%s: listed as %q", test.name, text)
		}
		if strings.HasPrefix(test.name, "another after") && !strings.Contains(FaultSentence(locale.For("en"), list[0].Problems[0]), "approved") {
			t.Errorf("%s: %q", test.name, FaultSentence(locale.For("en"), list[0].Problems[0]))
		}
	}
}
