//go:build unix

package upload_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
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

const putBytes = 256 << 10

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
	return upload.Config{Client: client, State: st, Device: dev, Folders: folders, Host: "host", PutBytes: putBytes}
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

// fill makes some 6 MB of files, most of it in media.
func (d *device) fill() {
	for i := range 600 {
		d.write(fmt.Sprintf("docs/%d/%d", i/50, i), noise(uint64(i), i*12))
	}
	for i := range 6 {
		d.write(fmt.Sprintf("media/%d", i), noise(1000+uint64(i), mediaSize/6))
	}
}

const mediaSize = 3_600_000

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
	if second.Sent > 100_000 || second.New != 1 || second.Changed != 1 || first.Sent < mediaSize {
		t.Errorf("first %d bytes sent, second %d, %d new and %d changed", first.Sent, second.Sent, second.New, second.Changed)
	}
	// Moved and copied: read again, but the server is asked and has it.
	must(t, os.Rename(filepath.Join(d.folder, "media"), filepath.Join(d.folder, "moved")))
	third := d.back()
	d.restored()
	if third.Sent > 100_000 || third.Read < mediaSize {
		t.Errorf("after a move %d bytes were read and %d sent", third.Read, third.Sent)
	}
}

// Refs are differences, in chains that have an end, and whole again when their
// base is forgotten.
func TestRefs(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	for i := range 30 {
		d.write(fmt.Sprint(i), noise(uint64(i), 264_000))
	}
	settle()
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
	if r.Rediscovered == nil || len(f.content(f.head().refs.Added)) != len(f.content(f.ids(backup.Data))) || r.Sent > 300_000 || r.Read < mediaSize {
		t.Errorf("with the catalog lost: %+v", r)
	}
	d.restored()
	if r := d.back(); r.Rediscovered != nil || r.Sent > 300_000 {
		t.Errorf("the time after: %+v", r)
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
	if r.Changed != 1 || r.Unreadable != 0 || r.Carried != 2 || f.head().carried != "2" {
		t.Errorf("one folder walked: %+v; the server was told of %s carried over", r, f.head().carried)
	}
	// A folder of the list that is not there is unreadable, and kept.
	r = d.back(all)
	if r.Changed != 1 || r.Unreadable != 2 || r.Carried != 0 || f.head().carried != "0" || len(r.Problems) != 1 || r.Problems[0].Path != gone {
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

// A backup keeps to the limit that its client has, over all its connections
// together.
func TestLimit(t *testing.T) {
	t.Parallel()
	f := newServer(t)
	d := newDevice(t, f)
	d.write("large", noise(7, 2_000_000))
	began := time.Now()
	d.back(func(c *upload.Config) {
		client, err := wire.New(wire.Config{Server: c.Device.Server, Fingerprint: c.Device.Fingerprint, DeviceID: c.Device.ID.String(), Sign: c.Device.SignToken,
			Limits: func() wire.Limits { return wire.Limits{Up: 8000} }})
		must(t, err)
		t.Cleanup(client.Close)
		c.Client = client
	})
	if took := time.Since(began); took < 1800*time.Millisecond {
		t.Errorf("2 MB at 8 Mbit/s took %v", took)
	}
}
