//go:build unix

package upload_test

import (
	"crypto/ed25519"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/agent/upload"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

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
	if r := d.back(); r.Read > r.Totals.Bytes+2<<20 {
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
	if len(f.snapshots) != 2 || r.Read == 0 || r.Read == r.Totals.Bytes {
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

// What ends a run leaves the device as it was, with an error that names it (R9).
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	for _, code := range []errs.Code{errs.StorageFull, errs.QuotaUsedUp} {
		for _, path := range []string{"/packs/", "/commit", "/have", "/sessions"} {
			f := newServer(t)
			d := newDevice(t, f)
			d.write("a", noise(1, 1000))
			d.back()
			st, err := state.Open(d.state)
			must(t, err)
			before, err := st.Head(setID)
			must(t, err)
			d.write("a", noise(2, 600_000))
			f.set(func() {
				f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
					if strings.Contains(r.URL.Path, path) {
						problem(w, http.StatusInsufficientStorage, wire.Problem{Code: string(code)})
						return true
					}
					return false
				}
			})
			if _, err := d.try(t.Context()); !errs.Is(err, code) {
				t.Errorf("%s at %s: %v", code, path, err)
			}
			if after, err := st.Head(setID); err != nil || after.Hash != before.Hash {
				t.Errorf("%s at %s: the device's head moved, %v", code, path, err)
			}
			f.set(func() { f.refuse = nil })
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
