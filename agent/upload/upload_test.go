package upload_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/e2e/oracle"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func temp(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

// device is this computer: a state folder and something to back up.
type device struct {
	t      testing.TB
	f      *fake
	state  string
	folder string
}

func newDevice(t testing.TB, f *fake) *device {
	t.Helper()
	dir := temp(t)
	d := &device{t: t, f: f, state: filepath.Join(dir, "state"), folder: filepath.Join(dir, "folder")}
	must(t, os.Mkdir(d.folder, 0o755))
	st, err := state.Open(d.state)
	must(t, err)
	must(t, st.SetDevice(&state.Device{
		Server: f.URL, Fingerprint: f.fingerprint(), ID: deviceID, Name: "laptop", Set: setID, User: userID, Org: orgID,
		Store: storeID, KeyGen: 1, Epoch: 1, Scope: userID, UserKey: f.keys.user.SealPublic, OrgRecord: f.keys.record,
		Signing: f.keys.device, ScopeSecret: f.keys.user.Scope, ChunkerSecret: f.keys.user.Chunker,
	}))
	return d
}

// config is what a backup of the device needs: small packs, so that a small
// test has several.
func config(t testing.TB, dir string, folders ...string) upload.Config {
	t.Helper()
	st, err := state.Open(dir)
	must(t, err)
	dev, err := st.Device()
	must(t, err)
	client, err := wire.New(wire.Config{Server: dev.Server, Fingerprint: dev.Fingerprint, DeviceID: dev.ID.String(), Sign: dev.SignToken, Patience: 5 * time.Second})
	must(t, err)
	return upload.Config{Client: client, State: st, Device: dev, Folders: folders, Host: "host", PutBytes: 1 << 20}
}

// back makes a backup that must succeed.
func (d *device) back(edit ...func(*upload.Config)) *upload.Result {
	d.t.Helper()
	r, err := d.try(d.t.Context(), edit...)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *device) try(ctx context.Context, edit ...func(*upload.Config)) (*upload.Result, error) {
	d.t.Helper()
	cfg := config(d.t, d.state, d.folder)
	for _, f := range edit {
		f(&cfg)
	}
	return upload.Run(ctx, cfg)
}

func (d *device) write(name string, data []byte) {
	d.t.Helper()
	path := filepath.Join(d.folder, name)
	must(d.t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644))
}

// fill makes some 12 MB of files of all kinds of sizes.
func (d *device) fill() {
	for i := range 1000 {
		d.write(fmt.Sprintf("docs/%d/%d", i/50, i), noise(uint64(i), i*5))
	}
	for i := range 8 {
		d.write(fmt.Sprintf("media/%d", i), noise(1000+uint64(i), 1_200_000))
	}
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// settle waits until what was written is old enough to be trusted unread.
func settle() { time.Sleep(2100 * time.Millisecond) }

// content lists the objects of kind Data among ids. The others follow from
// folders above the test's, which other tests change.
func (f *fake) content(ids []backup.ID) (data []backup.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if f.objects[id].Kind == backup.Data {
			data = append(data, id)
		}
	}
	return data
}

// reader reads the snapshot's catalog and content from the server's objects.
func (f *fake) reader(c *committed) *catalog.Reader {
	f.t.Helper()
	p := f.opened(c)
	fetch := func(_ context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		for i, ref := range refs {
			f.mu.Lock()
			o, ok := f.objects[ref.ID]
			f.mu.Unlock()
			if !ok {
				return fmt.Errorf("the server has no object %s", ref.ID)
			}
			plain, err := crypt.Open(nil, userID, kind, ref, o.Sealed)
			if err == nil {
				err = each(i, plain)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return catalog.NewReader(p.Root(&c.m.Header), fetch)
}

// restored checks that the newest snapshot restores to what the folder is now.
func (d *device) restored() {
	d.t.Helper()
	target := temp(d.t)
	res, err := restore.Run(d.t.Context(), restore.Config{Catalog: d.f.reader(d.f.head()), Target: target, Privileged: os.Geteuid() == 0})
	must(d.t, err)
	for _, p := range append(res.Failed, res.Warnings...) {
		d.t.Errorf("restoring %s: %v", p.Path, p.Err)
	}
	want, err := oracle.Read(d.folder)
	must(d.t, err)
	got, err := oracle.Read(filepath.Join(target, d.folder))
	must(d.t, err)
	if diffs := oracle.Compare(want, got); len(diffs) > 0 {
		d.t.Errorf("the restored tree differs:\n%s", oracle.Report(diffs, 20))
	}
}

// honest checks the newest snapshot's refs against its catalog.
func (d *device) honest() {
	d.t.Helper()
	c := d.f.head()
	ids := map[backup.ID]bool{}
	must(d.t, d.f.reader(c).Objects(d.t.Context(), func(_ backup.Kind, ref backup.Ref) error {
		ids[ref.ID] = true
		return nil
	}))
	if len(ids) != len(c.ids) {
		d.t.Errorf("the refs list %d objects, the catalog needs %d", len(c.ids), len(ids))
	}
}

func TestTortureTree(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	must(t, oracle.Torture(d.folder, 1))
	settle()
	r := d.back()
	d.restored()
	d.honest()
	if r.Status != snapshot.Complete || r.Seq != 1 || r.Unreadable != 0 || r.Sent == 0 || r.Sent != f.received || len(r.Snapshot) != 16 || r.New != r.Totals.Files {
		t.Errorf("result %+v; the server received %d", r, f.received)
	}
	p := f.opened(f.head())
	if p.Host != "host" || p.SetName != "laptop" || !slices.Equal(p.Roots, []string{d.folder}) {
		t.Errorf("private part %+v", p)
	}

	again := d.back()
	if again.Read > 0 {
		t.Errorf("with nothing changed %d bytes were read", again.Read)
	}
	if again.Sent > 100_000 || again.Seq != 2 || again.New+again.Changed != 0 {
		t.Errorf("with nothing changed: %+v", again)
	}
	if refs := f.head().refs; !refs.Delta || len(f.content(refs.Added))+len(f.content(refs.Removed)) > 0 {
		t.Errorf("with nothing changed, refs are %+v", refs)
	}
	d.write("new", noise(1, 300))
	d.back()
	d.restored()
	d.honest()
}

func TestOnlyWhatChangedIsSent(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	first := d.back()
	time.Sleep(20 * time.Millisecond)
	d.write("docs/1/60", noise(7, 5000))
	d.write("docs/1/60 new", noise(8, 5000))
	must(t, os.RemoveAll(filepath.Join(d.folder, "docs/2")))
	second := d.back()
	d.restored()
	d.honest()
	if second.Sent > 100_000 || second.New != 1 || second.Changed != 1 || first.Sent < 9_000_000 {
		t.Errorf("first %d bytes sent, second %d, %d new and %d changed", first.Sent, second.Sent, second.New, second.Changed)
	}
	// Moved and copied: read again, but the server is asked and has it.
	must(t, os.Rename(filepath.Join(d.folder, "media"), filepath.Join(d.folder, "moved")))
	third := d.back()
	d.restored()
	if third.Sent > 100_000 || third.Read < 9_000_000 {
		t.Errorf("after a move %d bytes were read and %d sent", third.Read, third.Sent)
	}
}

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

// Killed at any point, a backup goes on with the next run, and no more than the
// packs on the way are sent twice.
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
		for _, after := range []int{0, 1, 3, 9, 30} {
			cmd := d.start(partial)
			seen := 0
			f.mu.Lock()
			f.putting = func() {
				if seen++; seen > after {
					cmd.Process.Kill()
				}
			}
			f.mu.Unlock()
			if cmd.Wait() != nil {
				kills++
			}
		}
		f.mu.Lock()
		f.putting = nil
		f.mu.Unlock()
		if err := d.start(partial).Wait(); err != nil {
			t.Fatal(err)
		}
		d.restored()
		d.honest()
		if kills < 3 {
			t.Errorf("only %d runs were killed", kills)
		}
		// Each kill may cost the two packs on their way, of 1 MiB and an object.
		limit := clean.f.received + int64(kills)*2*(2<<20)
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
	n := 0
	f.putting = func() {
		if n++; n == 3 {
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
		if h := f.head(); h != nil && h.m.Files > 300 && !cut.Load() {
			cut.Store(true)
			cancel()
		}
		return false
	}
	partial := func(c *upload.Config) { c.Interval = 1 }
	if _, err := d.try(ctx, partial); !errors.Is(err, context.Canceled) {
		t.Fatalf("the run was to be cut off: %v", err)
	}
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

// What the server turns out to miss is made again, whatever it is.
func TestMissingObjects(t *testing.T) {
	t.Parallel()
	for _, kind := range []backup.Kind{backup.Data, backup.Page} {
		f := newServer(t)
		d := newDevice(t, f)
		d.fill()
		d.back()
		d.write("more", noise(1, 100))
		ids := f.ids(kind)
		f.commitFails = [][]backup.ID{{ids[0]}, {ids[len(ids)-1]}}
		d.back()
		d.restored()
		d.honest()
	}
	// In the first backup of all there is no old catalog: the one just made tells
	// what to read again.
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	settle()
	var once sync.Once
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/commit") {
			once.Do(func() {
				data, pages := f.ids(backup.Data), f.ids(backup.Page)
				f.commitFails = [][]backup.ID{{data[0], pages[0]}}
			})
		}
		return false
	}
	if r := d.back(); r.Read > r.Totals.Bytes+4<<20 {
		t.Errorf("%d of %d bytes were read", r.Read, r.Totals.Bytes)
	}
	d.restored()
	d.honest()

	// What is needed by a folder that is not walked this time is read there.
	docs, media := filepath.Join(d.folder, "docs"), filepath.Join(d.folder, "media")
	lost, err := f.reader(f.head()).Lookup(t.Context(), media+"/1")
	must(t, err)
	f.commitFails = [][]backup.ID{{lost.Extents[0].Ref.ID}}
	d.back(func(c *upload.Config) { c.Folders, c.Walk = []string{docs, media}, []string{docs} })
	d.restored()

	// There is an end to it.
	f.commitFails = slices.Repeat([][]backup.ID{{f.ids(backup.Data)[0]}}, 10)
	d.write("more", noise(1, 100))
	if _, err := d.try(t.Context()); !errs.Is(err, errs.MissingObjects) {
		t.Errorf("a server that always misses something: %v", err)
	}
}

// Objects that the vault lost are sent again when the session says so.
func TestDamagedObjectsAreHealed(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	settle()
	d.back()
	data, pages := f.ids(backup.Data), f.ids(backup.Page)
	f.damaged = []string{data[0].String(), data[3].String(), pages[0].String()}
	f.lose(data[0], data[3], pages[0])
	r := d.back()
	if len(f.snapshots) != 2 || r.Read == 0 || r.Read > 9_000_000 {
		t.Errorf("%d snapshots, %d bytes read", len(f.snapshots), r.Read)
	}
	d.restored()
	d.honest()
}

// A server whose history is not the one that the device remembers is not
// written to (security.md 5.9).
func TestOlderHistory(t *testing.T) {
	t.Parallel()
	for name, turn := range map[string]func(f *fake, d *device){
		"an older head":    func(f *fake, d *device) { f.snapshots = f.snapshots[:1] },
		"no head":          func(f *fake, d *device) { f.snapshots = nil },
		"another head":     func(f *fake, d *device) { f.snapshots[1] = f.snapshots[0]; f.snapshots[1].m.Seq = 2 },
		"another vault":    func(f *fake, d *device) { storeOf(d, backup.UUID{6}) },
		"all is as it was": nil,
	} {
		f := newServer(t)
		d := newDevice(t, f)
		d.write("a", []byte("1"))
		d.back()
		d.write("a", []byte("22"))
		d.back()
		if turn == nil {
			d.back()
			continue
		}
		turn(f, d)
		puts := f.puts
		d.write("a", []byte("333"))
		if _, err := d.try(t.Context()); !errs.Is(err, errs.OlderHistory) || f.puts != puts {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func storeOf(d *device, store backup.UUID) {
	st, err := state.Open(d.state)
	must(d.t, err)
	dev, err := st.Device()
	must(d.t, err)
	dev.Store = store
	must(d.t, st.SetDevice(dev))
}

// Refs are differences, in chains that have an end, and whole again when their
// base is forgotten.
func TestRefs(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	for i := range 60 {
		d.write(fmt.Sprint(i), noise(uint64(i), 270_000))
	}
	deepest := uint8(0)
	for i := range 20 {
		d.write("changes", noise(uint64(i), 300))
		d.back()
		deepest = max(deepest, f.head().refs.Depth)
	}
	if deepest != backup.MaxRefsDepth {
		t.Errorf("the deepest refs have depth %d, want %d", deepest, backup.MaxRefsDepth)
	}
	d.write("changes", nil)
	clear(f.refs)
	d.back()
	if f.head().refs.Delta {
		t.Error("with the base forgotten, refs are a difference")
	}
	d.restored()
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

// What ends a run leaves the device as it was, with an error that names it (R9).
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	for _, code := range []errs.Code{errs.StorageFull, errs.QuotaUsedUp} {
		for _, path := range []string{"/packs/", "/commit", "/have", "/sessions"} {
			f := newServer(t)
			d := newDevice(t, f)
			d.fill()
			d.back()
			st, err := state.Open(d.state)
			must(t, err)
			before, err := st.Head(setID)
			must(t, err)
			d.write("docs/0/1", noise(1, 3_000_000))
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, path) {
					problem(w, http.StatusInsufficientStorage, wire.Problem{Code: string(code)})
					return true
				}
				return false
			}
			if _, err := d.try(t.Context()); !errs.Is(err, code) {
				t.Errorf("%s at %s: %v", code, path, err)
			}
			if after, err := st.Head(setID); err != nil || after.Hash != before.Hash {
				t.Errorf("%s at %s: the device's head moved, %v", code, path, err)
			}
			f.refuse = nil
			d.back()
			d.restored()
		}
	}
}

func TestRejectedRecord(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			io.Copy(io.Discard, r.Body)
			answer(w, wire.PutAnswer{Records: 1, Rejected: []wire.Rejected{{ID: "00", Reason: "hash"}}})
			return true
		}
		return false
	}
	if _, err := d.try(t.Context()); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a rejected record: %v, want E1506", err)
	}
}

// A receipt that is not for this snapshot is none.
func TestForgedReceipt(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.write("a", []byte("1"))
	f.keys.org.Receipt = ed25519.NewKeyFromSeed(make([]byte, 32))
	if _, err := d.try(t.Context()); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a receipt of somebody else's: %v, want E1506", err)
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

// A device that lost its catalog reads everything and sends nothing.
func TestCatalogIsLost(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	d.back()
	files, err := filepath.Glob(filepath.Join(d.state, "sets", "*", "catalog-*"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("catalogs: %q", files)
	}
	must(t, os.Remove(files[0]))
	// Only one folder is asked for; without a catalog none can be carried over.
	other := filepath.Join(d.folder, "docs")
	r := d.back(func(c *upload.Config) { c.Walk = []string{other} })
	if r.Rediscovered == nil || len(f.content(f.head().refs.Added)) != len(f.content(f.ids(backup.Data))) || r.Sent > 300_000 || r.Read < 9_000_000 {
		t.Errorf("with the catalog lost: %+v", r)
	}
	d.restored()
	if r := d.back(); r.Rediscovered != nil || r.Sent > 300_000 {
		t.Errorf("the time after: %+v", r)
	}
}

// After a collection, what is made is asked for again (R3).
func TestCollectionIsNoticed(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	d.back()
	must(t, os.Rename(filepath.Join(d.folder, "media"), filepath.Join(d.folder, "moved")))
	f.haves = 0
	r := d.back()
	if trusted := f.haves; r.Sent > 100_000 || trusted > 2 {
		t.Errorf("in the same epoch: %d questions, %d bytes sent", trusted, r.Sent)
	}
	must(t, os.Rename(filepath.Join(d.folder, "moved"), filepath.Join(d.folder, "back")))
	f.epoch++
	f.haves = 0
	if r := d.back(); f.haves < 3 || r.Sent > 100_000 {
		t.Errorf("in another epoch: %d questions, %d bytes sent", f.haves, r.Sent)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	one, two, gone := filepath.Join(d.folder, "one"), filepath.Join(d.folder, "two"), filepath.Join(d.folder, "gone")
	d.write("one/1", []byte("1"))
	d.write("two/2", []byte("2"))
	d.write("gone/3", []byte("3"))
	all := func(c *upload.Config) { c.Folders = []string{gone, one, two} }
	d.back(all)
	d.write("one/1", []byte("changed"))
	d.write("two/2", []byte("changed too"))
	must(t, os.RemoveAll(gone))

	// Only one is walked, the others are carried over unread.
	r := d.back(all, func(c *upload.Config) { c.Walk = []string{one} })
	if r.Changed != 1 || r.Unreadable != 0 {
		t.Errorf("one folder walked: %+v", r)
	}
	// A folder of the list that is not there is unreadable, and kept.
	r = d.back(all)
	if r.Changed != 1 || r.Unreadable != 2 || len(r.Problems) != 1 || r.Problems[0].Path != gone {
		t.Errorf("one folder missing: %+v", r)
	}
	if p := f.opened(f.head()); len(p.Errors) != 1 || p.Errors[0].Path != gone || p.Errors[0].Reason == "" {
		t.Errorf("the manifest lists %+v", p.Errors)
	}
	e, err := f.reader(f.head()).Lookup(t.Context(), gone+"/3")
	if err != nil || e.Flags != catalog.Unreadable {
		t.Errorf("the missing folder's file is %+v, %v", e, err)
	}
	// One that is asked for and not there is an error, before anything is done.
	puts, n := f.puts, len(f.snapshots)
	_, err = d.try(t.Context(), all, func(c *upload.Config) { c.Walk = []string{gone} })
	if e := errs.Find(err); e == nil || e.Key != "scan.folder.missing" || f.puts != puts || len(f.snapshots) != n {
		t.Errorf("a folder that is not there: %v", err)
	}
	// Taken off the list, it is gone.
	d.back(func(c *upload.Config) { c.Folders = []string{one, two} })
	if _, err := f.reader(f.head()).Lookup(t.Context(), gone+"/3"); !errs.Is(err, errs.NoSuchSnapshot) {
		t.Errorf("a folder off the list: %v", err)
	}
	// The state folder itself is never in a backup.
	d.back(func(c *upload.Config) { c.Folders = []string{filepath.Dir(d.state)} })
	if _, err := f.reader(f.head()).Lookup(t.Context(), d.state); !errs.Is(err, errs.NoSuchSnapshot) {
		t.Errorf("the state folder was backed up: %v", err)
	}
}

// The collector is held back for the time of a backup, and no longer.
func TestMemoryLimitIsPutBack(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	f := newServer(t)
	d := newDevice(t, f)
	d.write("a", []byte("1"))
	during := int64(0)
	d.f.refuse = func(http.ResponseWriter, *http.Request) bool {
		during = max(during, math.MaxInt64-debug.SetMemoryLimit(-1))
		return false
	}
	d.back()
	if during < math.MaxInt64/2 {
		t.Error("no limit was set")
	}
	if after := debug.SetMemoryLimit(-1); after != before {
		t.Errorf("the limit was %d before and is %d after", before, after)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.fill()
	var last wire.Progress
	r := d.back(func(c *upload.Config) {
		c.Progress = func(p wire.Progress) { last = p }
	})
	if last.Files != int64(r.Totals.Files) || last.Bytes != int64(r.Totals.Bytes) || last.Sent != r.Sent || last.Folder == "" {
		t.Errorf("the last progress is %+v, the result %+v", last, r)
	}
}
