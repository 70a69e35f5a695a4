package vault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// missingOf is what a refused commit lists, nil when err is something else.
func missingOf(err error) []string {
	if !errs.Is(err, errs.MissingObjects) {
		return nil
	}
	list, _ := errs.Find(err).Args["missing"].([]string)
	slices.Sort(list)
	return list
}

func hexes(objects ...backup.Object) []string {
	var list []string
	for _, id := range wiretest.IDs(objects...) {
		list = append(list, id.String())
	}
	return list
}

func TestChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	texts := []string{"a", "b", "c"}
	for i := range 20 { // more than the longest chain of deltas
		texts = append(texts[1:], fmt.Sprint("new ", i))
		c, _, _ := d.backup(texts...)
		if c.Seq != uint64(i+1) {
			t.Errorf("snapshot %d has seq %d", i+1, c.Seq)
		}
	}
	if got := w.count(`SELECT max(refs_depth) FROM snapshots`); got != backup.MaxRefsDepth {
		t.Errorf("the deepest refs are of depth %d, want %d", got, backup.MaxRefsDepth)
	}
	// Each snapshot's bitmap is exactly its objects, by delta or in full.
	if got := w.count(`SELECT count(*) FROM snapshots WHERE refs_count <> 4`); got != 0 {
		t.Errorf("%d snapshots have other than 4 objects", got)
	}
	s := d.begin()
	if s.Head == nil || s.Head.Seq != 20 || s.Head.Hash != d.head.String() || s.Head.RefsID != d.refs.String() || s.Head.Status != "complete" {
		t.Errorf("Begin shows head %+v", s.Head)
	}
	w.checkSound(t)
}

func TestCommitIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassMetadata, root)
	a := d.prepare(s, snapshot.Complete, root, wiretest.IDs(root))
	var first wire.Committed
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c, err := d.try(s, a)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || first.Hash != "" && fmt.Sprint(c) != fmt.Sprint(first) {
				t.Errorf("Commit = %+v, %v, first %+v", c, err, first)
			}
			first = c
		})
	}
	wg.Wait()
	again := d.commit(s, a)
	if fmt.Sprint(again) != fmt.Sprint(first) || w.count(`SELECT count(*) FROM snapshots`) != 1 {
		t.Errorf("the repeated commit answers %+v, the first %+v", again, first)
	}
	r, err := snapshot.DecodeReceipt(again.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	org, err := w.certsFor(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(org.org.Receipt[:]); err != nil || r.Manifest != a.m.Hash() || r.Seq != 1 {
		t.Errorf("receipt %+v: %v", r, err)
	}
	// The store alone is enough to check the chain of keys.
	if n := w.blobCount("certs/"); n != 3 {
		t.Errorf("%d certificates are in the store, want 3", n)
	}
}

func (w *world) certsFor(d *machine) (c certs, err error) {
	err = w.db.Read(w.t.Context(), func(tx *db.Tx) error {
		c, err = w.certsOf(w.t.Context(), tx, d.caller)
		return err
	})
	return c, err
}

func TestCommitRefusesForgery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.newUser(w.org)
	d, other := alice.newDevice(), alice.newDevice()
	d.backup("before")
	s := d.begin()
	root, data := d.Seal(backup.Page, "root"), d.Seal(backup.Data, "data")
	d.put(s, backup.ClassMetadata, root)
	d.put(s, backup.ClassData, data)
	all := wiretest.IDs(root, data)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	for _, c := range []struct {
		name  string
		spoil func(*attempt)
		want  errs.Kind
	}{
		{"signature", func(a *attempt) { a.m.Signature[5] ^= 1 }, errs.Invalid},
		{"signed by a stranger", func(a *attempt) { a.m.Sign(stranger) }, errs.Invalid},
		{"signed by another device", func(a *attempt) { a.m.Sign(other.Signing) }, errs.Invalid},
		{"changed after signing", func(a *attempt) { a.m.Bytes++ }, errs.Invalid},
		{"organisation", func(a *attempt) { a.m.Org[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"user", func(a *attempt) { a.m.User[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"device", func(a *attempt) { a.m.Device[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"set", func(a *attempt) { a.m.Set[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"store", func(a *attempt) { a.m.Store[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"nonce", func(a *attempt) { a.m.Nonce[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"scope", func(a *attempt) { a.m.Scope[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"scope of the organisation", func(a *attempt) { a.m.DedupScope = snapshot.ScopeOrg; a.m.Sign(d.Signing) }, errs.Invalid},
		{"generation", func(a *attempt) { a.m.KeyGen++; a.m.Sign(d.Signing) }, errs.Invalid},
		{"not sealed to the organisation", func(a *attempt) {
			a.m.Sealed = slices.DeleteFunc(a.m.Sealed, func(s snapshot.SealedRoot) bool { return s.Recipient == snapshot.ToOrg })
			a.m.Sign(d.Signing)
		}, errs.Invalid},
		{"sealed to another key", func(a *attempt) { a.m.Sealed[0].KeyID[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"sealed twice", func(a *attempt) { a.m.Sealed = append(a.m.Sealed, a.m.Sealed[0]); a.m.Sign(d.Signing) }, errs.Invalid},
		{"negative figures", func(a *attempt) { a.m.Bytes = 1 << 63; a.m.Sign(d.Signing) }, errs.Invalid},
		{"other refs", func(a *attempt) { a.m.RefsID[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"Merkle root", func(a *attempt) { a.m.RefsRoot[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"count", func(a *attempt) { a.m.RefsCount++; a.m.Sign(d.Signing) }, errs.Invalid},
		{"root not among refs", func(a *attempt) { a.m.RootID[0] ^= 1; a.m.Sign(d.Signing) }, errs.Invalid},
		{"root that is no page", func(a *attempt) { a.m.RootID = data.Ref.ID; a.m.Sign(d.Signing) }, errs.Invalid},
		{"left over", func(a *attempt) { a.extra = []byte{0} }, errs.Invalid},
		{"seq too high", func(a *attempt) { a.m.Seq++; a.m.Sign(d.Signing) }, errs.Conflict},
		{"seq too low", func(a *attempt) { a.m.Seq, a.m.Prev = 1, backup.Hash{}; a.m.Sign(d.Signing) }, errs.Conflict},
		{"another prev", func(a *attempt) { a.m.Prev[0] ^= 1; a.m.Sign(d.Signing) }, errs.Conflict},
		{"base of nobody", func(a *attempt) { rebase(a, func(r *snapshot.Refs) { r.Base[0] ^= 1 }); a.m.Sign(d.Signing) }, errs.Conflict},
		{"depth", func(a *attempt) { rebase(a, func(r *snapshot.Refs) { r.Depth++ }); a.m.Sign(d.Signing) }, errs.Conflict},
		{"added what is there", func(a *attempt) {
			rebase(a, func(r *snapshot.Refs) { r.Added, r.Removed = d.all, nil })
			a.m.Sign(d.Signing)
		}, errs.Invalid},
	} {
		a := d.prepare(s, snapshot.Complete, root, all)
		c.spoil(a)
		if _, err := d.try(s, a); errs.KindOf(err) != c.want {
			t.Errorf("%s: Commit = %v, want kind %v", c.name, err, c.want)
		}
	}
	for _, body := range [][]byte{nil, {0, 0, 0, 1}, {255, 255, 255, 255, 1}, d.prepare(s, snapshot.Complete, root, all).body()[:200]} {
		if _, err := w.Commit(t.Context(), d.caller, s.SessionID, wire.Lacking{}, bytes.NewReader(body)); err == nil {
			t.Errorf("Commit of %d bytes worked", len(body))
		}
	}
	if got := w.count(`SELECT count(*) FROM snapshots`); got != 1 {
		t.Errorf("%d snapshots, want the one from before", got)
	}
	d.commit(s, d.prepare(s, snapshot.Complete, root, all))
	w.checkSound(t)
}

// rebase changes an attempt's delta, and signs for the changed one.
func rebase(a *attempt, change func(*snapshot.Refs)) {
	change(a.refs)
	a.m.RefsID = snapshot.RefsID(a.refs.Encode())
}

func TestCommitNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	root, a, b := d.Seal(backup.Page, "root"), d.Seal(backup.Data, "a"), d.Seal(backup.Data, "b")
	d.put(s, backup.ClassMetadata, root)
	d.put(s, backup.ClassData, a)
	try := d.prepare(s, snapshot.Complete, root, wiretest.IDs(root, a, b))
	_, err := d.try(s, try)
	if got := missingOf(err); !slices.Equal(got, hexes(b)) || errs.Find(err).Args["n"] != 1 {
		t.Errorf("Commit = %v, missing %q, want %q", err, got, hexes(b))
	}
	if got := d.read(a); got != "-" {
		t.Errorf("Read before the commit gives %q", got)
	}
	d.put(s, backup.ClassData, b)
	d.commit(s, try)
	// As a delta, too.
	s = d.begin()
	c := d.Seal(backup.Data, "c")
	try = d.prepare(s, snapshot.Complete, root, wiretest.IDs(root, b, c))
	if !try.refs.Delta {
		t.Fatal("these refs are no delta")
	}
	if _, err = d.try(s, try); !slices.Equal(missingOf(err), hexes(c)) {
		t.Errorf("Commit = %v, want %q missing", err, hexes(c))
	}
	d.put(s, backup.ClassData, c)
	d.commit(s, try)
	w.checkSound(t)
}

// TestForeignObjects is the rule that keeps users apart, also in one
// organisation and also for the bytes themselves: somebody else's objects are
// like ones that do not exist, until one sends them.
func TestForeignObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.newUser(w.org), w.newUser(w.org)
	carol := w.newUser(w.newOrg())
	_, chunks, _ := alice.newDevice().backup("secret")
	secret := chunks[0]
	none := secret
	none.Ref.ID[0] ^= 1
	for name, d := range map[string]*machine{"same organisation": bob.newDevice(), "another one": carol.newDevice()} {
		s := d.begin()
		if s.Known {
			t.Errorf("%s: Begin says that something is known", name)
		}
		root := d.Seal(backup.Page, "root")
		d.put(s, backup.ClassMetadata, root)
		if got := d.have(s, secret, none, root); got != "[false false true]" {
			t.Errorf("%s: Have says %s", name, got)
		}
		if got := d.read(secret, none); got != "-|-" {
			t.Errorf("%s: Read gives %q", name, got)
		}
		try := d.prepare(s, snapshot.Complete, root, wiretest.IDs(root, secret))
		_, err := d.try(s, try)
		if got := missingOf(err); !slices.Equal(got, hexes(secret)) {
			t.Errorf("%s: Commit = %v, want the foreign id missing", name, err)
		}
		// The very bytes, sent: they count now, and the answer does not tell that
		// they were there.
		before := w.blobCount("packs/")
		answer := d.put(s, backup.ClassData, secret)
		fresh := d.put(s, backup.ClassData, d.Seal(backup.Data, "fresh"))
		if fmt.Sprint(answer) != fmt.Sprint(fresh) {
			t.Errorf("%s: Put answers %+v for a known object, %+v for a new one", name, answer, fresh)
		}
		d.commit(s, try)
		if stored := w.blobCount("packs/") - before; name == "same organisation" && stored != 1 {
			t.Errorf("%s: %d packs were stored, want the fresh one only", name, stored)
		}
		if got := d.have(d.begin(), secret); got != "[true]" {
			t.Errorf("%s: after the commit Have says %s", name, got)
		}
	}
	w.checkSound(t)
}

func TestUsersOtherDeviceKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.newUser(w.org)
	_, chunks, _ := alice.newDevice().backup("shared")
	d := alice.newDevice()
	s := d.begin()
	if !s.Known || d.have(s, chunks[0]) != "[true]" {
		t.Error("a second device of the user does not know what the first sent")
	}
	root := d.Seal(backup.Page, "mine")
	d.put(s, backup.ClassMetadata, root)
	d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(root, chunks[0])))
	w.checkSound(t)
}

func TestPartials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	root1, root2, a, b := d.Seal(backup.Page, "1"), d.Seal(backup.Page, "2"), d.Seal(backup.Data, "a"), d.Seal(backup.Data, "b")
	d.put(s, backup.ClassMetadata, root1)
	d.put(s, backup.ClassData, a)
	first := d.commit(s, d.prepare(s, snapshot.Partial, root1, wiretest.IDs(root1, a)))
	if got := w.list(d); len(got) != 1 || got[0].Status != "partial" {
		t.Errorf("after a partial the list is %+v", got)
	}
	if got := d.read(a); got != "a" {
		t.Errorf("a partial's object reads %q", got)
	}
	d.put(s, backup.ClassMetadata, root2)
	d.put(s, backup.ClassData, b)
	last := d.commit(s, d.prepare(s, snapshot.Complete, root2, wiretest.IDs(root2, b)))
	got := w.list(d)
	if len(got) != 1 || got[0].Hash.String() != last.Hash || got[0].Seq != 2 {
		t.Errorf("after the whole the list is %+v, want only %s", got, last.Hash)
	}
	if got := d.read(a, b); got != "-|b" {
		t.Errorf("the partial is replaced, and Read gives %q", got)
	}
	// The session is over; what the replaced partial had is not live.
	if _, err := w.Have(t.Context(), d.caller, s.SessionID, nil); errs.KindOf(err) != errs.Conflict {
		t.Errorf("Have in an ended session = %v", err)
	}
	if _, err := w.Put(t.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, bytes.NewReader(wiretest.Records(a))); errs.KindOf(err) != errs.Conflict {
		t.Errorf("Put in an ended session = %v", err)
	}
	if got := d.have(d.begin(), a, b); got != "[false true]" {
		t.Errorf("Have says %s", got)
	}
	_ = first
	w.checkSound(t)
}

func (w *world) list(d *machine) (list []Snapshot) {
	w.t.Helper()
	err := w.db.Read(w.t.Context(), func(tx *db.Tx) (err error) {
		list, err = w.Snapshots(w.t.Context(), tx, d.caller, Filter{Device: d.caller.Device})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// TestSeveralServers has two servers on one database and store: what one
// commits or takes away, the other knows at once.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := w.open(w.store)
	if second.StoreID() != w.StoreID() {
		t.Fatal("two servers give one store two ids")
	}
	d := w.newUser(w.org).newDevice()
	_, chunks, _ := d.backup("a")
	s := d.begin()
	ask := func() string {
		answer, err := second.Have(t.Context(), d.caller, s.SessionID, wiretest.IDs(chunks...))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(answer)
	}
	if got := ask(); got != "[true]" {
		t.Errorf("the second server says %s", got)
	}
	b := d.Seal(backup.Data, "b")
	if got, err := second.Have(t.Context(), d.caller, s.SessionID, wiretest.IDs(b)); err != nil || got[0] {
		t.Errorf("Have = %v, %v", got, err)
	}
	d.put(s, backup.ClassData, b)
	if got, err := second.Have(t.Context(), d.caller, s.SessionID, wiretest.IDs(b)); err != nil || !got[0] {
		t.Errorf("after a put on the first, the second's Have = %v, %v", got, err)
	}
	// An expiry, as the engine's retention will do it.
	err := w.db.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := change(t.Context(), tx, d.caller.User, true); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `UPDATE snapshots SET state = 'expired'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != "[false]" {
		t.Errorf("after an expiry on the first, the second says %s", got)
	}
}

// A snapshot for which one folder was read is complete, and the others in it are
// as old as before: it does not make the device protected (G-08).
func TestCommitOfOneFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newUser(w.org).newDevice()
	keep := func(name string, lacking wire.Lacking) {
		t.Helper()
		w.clock = w.clock.Add(time.Hour)
		s := d.begin()
		root := d.Seal(backup.Page, name)
		d.put(s, backup.ClassMetadata, root)
		a := d.prepare(s, snapshot.Complete, root, wiretest.IDs(root))
		c, err := w.Commit(t.Context(), d.caller, s.SessionID, lacking, bytes.NewReader(a.body()))
		if err != nil {
			t.Fatal(err)
		}
		d.head, d.seq, d.refs, d.depth, d.all = a.m.Hash(), a.m.Seq, a.m.RefsID, a.refs.Depth, a.ids
		if c.Seq != a.m.Seq {
			t.Errorf("%s: %+v", name, c)
		}
	}
	whole := func() int64 { return w.count(`SELECT complete_at FROM devices`) }
	keep("of all folders", wire.Lacking{})
	first := whole()
	if first == 0 {
		t.Fatal("a backup of all folders is not noted")
	}
	keep("of one folder", wire.Lacking{Carried: 1})
	if got := whole(); got != first {
		t.Errorf("a backup of one folder counts as one of all: at %d, before %d", got, first)
	}
	if got := w.count(`SELECT count(*) FROM devices d JOIN snapshots s ON s.committed_at = d.last_backup_at WHERE s.carried = 1 AND d.last_status = 'complete'`); got != 1 {
		t.Errorf("the newest snapshot is not the one of one folder: %d", got)
	}
	keep("of all again", wire.Lacking{})
	if got := whole(); got <= first {
		t.Errorf("a backup of all folders counts from %d, before %d", got, first)
	}
}
