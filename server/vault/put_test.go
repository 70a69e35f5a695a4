package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

func (w *world) blobCount(prefix string) (n int) {
	w.t.Helper()
	err := w.blobs.List(context.Background(), prefix, func(blob.Info) error { n++; return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestPutStoresOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	a, b, c := d.Seal(backup.Data, "a"), d.Seal(backup.Data, "b"), d.Seal(backup.Data, "c")
	d.put(s, backup.ClassData, a, b)
	d.put(s, backup.ClassData, a, b)    // nothing new: no pack
	d.put(s, backup.ClassData, b, c, c) // one is new, once
	if got := w.blobCount("packs/"); got != 2 {
		t.Errorf("%d packs, want 2", got)
	}
	if got := w.count(`SELECT count(*) FROM chunks`); got != 3 {
		t.Errorf("%d objects, want 3", got)
	}
	if got := w.count(`SELECT records FROM packs ORDER BY number DESC LIMIT 1`); got != 1 {
		t.Errorf("the second pack has %d records, want 1", got)
	}
	w.checkSound(t)
}

func TestPutManySizes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	var all []backup.Object
	for i := range 700 { // more than one look-up takes
		all = append(all, d.Seal(backup.Data, fmt.Sprintf("small %d", i)))
	}
	for i, n := range []int{100 << 10, 130 << 10, 2 << 20, 1, 260 << 10, 8 << 20} {
		all = append(all, d.Seal(backup.Data, strings.Repeat(fmt.Sprint("x", i), n/2)))
	}
	d.put(s, backup.ClassData, all[:300]...)
	d.put(s, backup.ClassData, all...)
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassMetadata, root)
	d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(append(all, root)...)))
	if got := d.read(all...); strings.Contains(got, "-") {
		t.Error("Read misses objects")
	}
	w.checkSound(t)
}

func TestPutIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	bad := d.Seal(backup.Data, "bad")
	bad.Sealed[3] ^= 1
	body := wiretest.Records(d.Seal(backup.Data, "a"), bad)
	id := wiretest.PutID()
	first, err := w.Put(t.Context(), d.caller, s.SessionID, id, backup.ClassData, Size{}, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	again := bytes.NewReader(body)
	second, err := w.Put(t.Context(), d.caller, s.SessionID, id, backup.ClassData, Size{}, again)
	if err != nil || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("the second time Put answers %+v, %v, the first time %+v", second, err, first)
	}
	if again.Len() > 0 {
		t.Error("the repeated body was not read")
	}
	// At the same time, as after a connection that broke unnoticed.
	id = wiretest.PutID()
	body = wiretest.Records(d.Seal(backup.Data, "c"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a, err := w.Put(t.Context(), d.caller, s.SessionID, id, backup.ClassData, Size{}, bytes.NewReader(body))
			if err != nil || a.Records != 1 {
				t.Errorf("Put = %+v, %v", a, err)
			}
		})
	}
	wg.Wait()
	if got := w.count(`SELECT count(*) FROM packs`); got != 2 {
		t.Errorf("%d packs, want 2", got)
	}
	w.checkSound(t)
}

func TestPutRejectsRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	good, bad, page := d.Seal(backup.Data, "good"), d.Seal(backup.Data, "bad"), d.Seal(backup.Page, "page")
	bad.Sealed[0] ^= 1
	a, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, bytes.NewReader(wiretest.Records(bad, good, page)))
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Rejected{{ID: bad.Ref.ID.String(), Reason: "hash"}, {ID: page.Ref.ID.String(), Reason: "kind"}}
	if a.Records != 3 || fmt.Sprint(a.Rejected) != fmt.Sprint(want) {
		t.Errorf("Put answers %+v, want %+v rejected", a, want)
	}
	if got := d.have(s, bad, good, page); got != "[false true false]" {
		t.Errorf("Have says %s", got)
	}
	w.checkSound(t)
}

func TestBrokenPutLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	whole := wiretest.Records(d.Seal(backup.Data, "a"), d.Seal(backup.Data, "b"))
	long := d.Seal(backup.Data, "c")
	junk := pack.AppendHead(nil, 9, long.Ref.ID, 100)
	for name, body := range map[string]io.Reader{
		"no record":       strings.NewReader(""),
		"half a head":     bytes.NewReader(whole[:20]),
		"half a record":   bytes.NewReader(whole[:len(whole)-1]),
		"broken line":     io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(errors.New("connection reset"))),
		"unknown kind":    bytes.NewReader(append(bytes.Clone(whole), junk...)),
		"impossible size": bytes.NewReader(pack.AppendHead(nil, backup.Data, long.Ref.ID, 1<<30)),
	} {
		_, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, body)
		if errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: Put = %v, want Invalid", name, err)
		}
	}
	if got := w.blobCount("packs/"); got != 0 {
		t.Errorf("%d packs are left", got)
	}
	for _, table := range []string{"packs", "chunks", "puts"} {
		if got := w.count(`SELECT count(*) FROM ` + table); got != 0 {
			t.Errorf("%d rows are left in %s", got, table)
		}
	}
	if _, err := w.Put(t.Context(), d.caller, s.SessionID, "xyz", backup.ClassData, Size{}, bytes.NewReader(whole)); errs.KindOf(err) != errs.Invalid {
		t.Errorf("Put under an impossible id = %v", err)
	}
}

func TestPutTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	one := wiretest.Records(d.Seal(backup.Data, strings.Repeat("incompressible", 1)))
	body := bytes.Repeat(one, wire.PackBytes/len(one)+1)
	_, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, bytes.NewReader(body))
	if errs.KindOf(err) != errs.TooLarge {
		t.Errorf("Put of %d bytes = %v, want TooLarge", len(body), err)
	}
	if w.blobCount("packs/") != 0 {
		t.Error("a pack is left")
	}
}

func TestPutIntoFullStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	kept := d.Seal(backup.Data, "kept")
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassData, kept)
	d.put(s, backup.ClassMetadata, root)
	d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(kept, root)))
	s = d.begin()
	full := &fullStore{Store: w.blobs}
	w.Vault = w.open(full)
	full.full = true
	_, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, bytes.NewReader(wiretest.Records(d.Seal(backup.Data, "x"))))
	if !errs.Is(err, errs.StorageFull) {
		t.Errorf("Put = %v, want E1601", err)
	}
	if got := d.read(kept); got != "kept" {
		t.Errorf("Read from a full store gives %q", got)
	}
	w.checkSound(t)
}

// fullStore has no room.
type fullStore struct {
	blob.Store
	full bool
}

func (s *fullStore) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if s.full {
		return blob.Full(errors.New("test"))
	}
	return s.Store.Put(ctx, name, write)
}

func TestConcurrentPuts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	var mu sync.Mutex
	var all []backup.Object
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				own := d.Seal(backup.Data, fmt.Sprint("own ", i, j))
				shared := d.Seal(backup.Data, fmt.Sprint("shared ", j))
				a, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, bytes.NewReader(wiretest.Records(own, shared)))
				if err != nil || a.Records != 2 || len(a.Rejected) > 0 {
					t.Errorf("Put = %+v, %v", a, err)
				}
				mu.Lock()
				all = append(all, own, shared)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassMetadata, root)
	d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(append(all, root)...)))
	if got := w.count(`SELECT count(*) FROM chunks`); got != 46 {
		t.Errorf("%d objects, want 46", got)
	}
	w.checkSound(t)
}
