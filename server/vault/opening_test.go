package vault

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/blob/disk"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

func TestOpening(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.newUser(w.org), w.newUser(w.org)
	d := alice.newDevice()
	_, chunks, root := d.backup("a", "b")
	hash := d.head
	opened := func() int64 {
		return w.count(`SELECT count(*) FROM audit WHERE action IN ('data.read', 'data.read.others')`)
	}

	by := alice.caller("login 1")
	o, err := w.Opening(t.Context(), by, hash)
	if err != nil {
		t.Fatal(err)
	}
	if o.Private.Host != "host" || o.Root != root.Ref || o.Seq != 1 {
		t.Errorf("Opening gives %+v", o)
	}
	var got []string
	err = o.Fetch(t.Context(), backup.Data, []backup.Ref{chunks[1].Ref, chunks[0].Ref, chunks[1].Ref}, func(i int, plain []byte) error {
		got = append(got, string(rune('0'+i))+string(plain))
		return nil
	})
	if err != nil || len(got) != 3 || !strings.Contains(strings.Join(got, " "), "1a") {
		t.Errorf("Fetch calls with %q, %v", got, err)
	}
	none := chunks[0].Ref
	none.ID[0] ^= 1
	if err := o.Fetch(t.Context(), backup.Data, []backup.Ref{none}, nil); !errs.Is(err, errs.Mismatch) {
		t.Errorf("Fetch of what is not there = %v, want E1506", err)
	}
	if err := o.Fetch(t.Context(), backup.Page, []backup.Ref{chunks[0].Ref}, nil); !errs.Is(err, errs.Mismatch) {
		t.Errorf("Fetch as another kind = %v, want E1506", err)
	}
	// One record for a login and a snapshot, for 15 minutes.
	for range 3 {
		if _, err := w.Opening(t.Context(), by, hash); err != nil {
			t.Error(err)
		}
	}
	if got := opened(); got != 1 {
		t.Errorf("%d openings are recorded, want 1", got)
	}
	if _, err := w.Opening(t.Context(), alice.caller("login 2"), hash); err != nil || opened() != 2 {
		t.Errorf("another login: %v, %d openings recorded", err, opened())
	}
	w.clock = w.clock.Add(16 * time.Minute)
	if _, err := w.Opening(t.Context(), by, hash); err != nil || opened() != 3 {
		t.Errorf("after 16 minutes: %v, %d openings recorded", err, opened())
	}
	// Others.
	if _, err := w.Opening(t.Context(), bob.caller("login"), hash); !errs.Is(err, errs.NoSuchSnapshot) {
		t.Errorf("Opening by another user = %v, want E1504", err)
	}
	if _, err := w.Opening(t.Context(), d.caller, hash); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("Opening by the device alone = %v, want Forbidden", err)
	}
	viewer := access.Caller{Kind: access.AdminKind, Role: access.Viewer, Org: w.org, User: "v", Session: "v"}
	if _, err := w.Opening(t.Context(), viewer, hash); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("Opening by a viewer = %v, want Forbidden", err)
	}
	admin := access.Caller{Kind: access.AdminKind, Role: access.OrgAdmin, Org: w.org, User: "a", Session: "a"}
	if _, err := w.Opening(t.Context(), admin, hash); err != nil || opened() != 4 {
		t.Errorf("Opening by an administrator = %v, %d recorded", err, opened())
	}
	if _, err := w.Opening(t.Context(), alice.caller(""), hash); err == nil {
		t.Error("Opening works without a login")
	}
}

func TestOpeningForAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.newUser(w.org)
	d := alice.newDevice()
	_, _, root := d.backup("a")
	private, public, err := crypt.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	by := alice.caller("token")
	by.Device = d.caller.Device
	o, err := w.OpeningFor(t.Context(), by, d.head, public)
	if err != nil {
		t.Fatal(err)
	}
	m, err := snapshot.Decode(o.Manifest)
	if err != nil || m.Hash() != d.head {
		t.Fatalf("another manifest: %v", err)
	}
	plain, err := crypt.OpenOpening(private, m.Hash(), o.Opening)
	if err != nil {
		t.Fatal(err)
	}
	p, err := snapshot.DecodePrivate(plain)
	if err != nil || p.Root(&m.Header) != root.Ref {
		t.Errorf("the private part is %+v, %v", p, err)
	}
	if _, err := w.OpeningFor(t.Context(), by, d.head, []byte("no key")); errs.KindOf(err) != errs.Invalid {
		t.Errorf("OpeningFor no key = %v", err)
	}
}

func TestSnapshotLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.newUser(w.org), w.newUser(w.org)
	d1, d2, d3 := alice.newDevice(), alice.newDevice(), bob.newDevice()
	carol := w.newUser(w.newOrg())
	d4 := carol.newDevice()
	for _, d := range []*machine{d1, d2, d3, d4, d1} {
		w.clock = w.clock.Add(time.Second)
		d.backup("a")
	}
	admin := func(role access.Role) access.Caller {
		return access.Caller{Kind: access.AdminKind, Role: role, Org: w.org, User: "admin"}
	}
	for _, c := range []struct {
		name string
		by   access.Caller
		f    Filter
		want int // -1: refused
	}{
		{"own device", d1.caller, Filter{Device: d1.caller.Device}, 2},
		{"user", alice.caller(""), Filter{}, 3},
		{"user's device", alice.caller(""), Filter{Device: d2.caller.Device}, 1},
		{"another user's device", alice.caller(""), Filter{Device: d3.caller.Device}, 0},
		{"another user", alice.caller(""), Filter{User: bob.ID}, -1},
		{"another organisation", alice.caller(""), Filter{Org: carol.Org}, -1},
		{"administrator", admin(access.OrgAdmin), Filter{}, 4},
		{"administrator, a user", admin(access.OrgAdmin), Filter{User: bob.ID}, 1},
		{"administrator, elsewhere", admin(access.OrgAdmin), Filter{Org: carol.Org}, -1},
		{"viewer", admin(access.Viewer), Filter{}, 4},
		{"server administrator", admin(access.ServerAdmin), Filter{}, 5},
		{"limit", admin(access.ServerAdmin), Filter{Limit: 2}, 2},
		{"nobody", access.Caller{}, Filter{}, -1},
	} {
		err := w.db.Read(t.Context(), func(tx *db.Tx) error {
			list, err := w.Snapshots(t.Context(), tx, c.by, c.f)
			if err == nil && len(list) != c.want {
				t.Errorf("%s: %d snapshots, want %d", c.name, len(list), c.want)
			}
			n, refusal := w.Count(t.Context(), tx, c.by, c.f)
			if (refusal != nil) != (err != nil) || err == nil && c.f.Limit == 0 && n != int64(c.want) {
				t.Errorf("%s: %d snapshots are counted, want %d: %v", c.name, n, c.want, refusal)
			}
			for i := 1; i < len(list); i++ {
				if list[i].CommittedAt.After(list[i-1].CommittedAt) {
					t.Errorf("%s: the list is not newest first", c.name)
				}
			}
			return err
		})
		if (err != nil) != (c.want < 0) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	err := w.db.Read(t.Context(), func(tx *db.Tx) error {
		s, err := w.Stats(t.Context(), tx)
		if err == nil && (s.Snapshots != 5 || s.Packs == 0 || s.StoredBytes == 0 || s.OpenSessions != 0) {
			t.Errorf("Stats = %+v", s)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	find := func(name string) (s Snapshot, err error) {
		w.db.Read(t.Context(), func(tx *db.Tx) error {
			s, err = w.Find(t.Context(), tx, alice.caller(""), d1.caller.Device, name)
			return nil
		})
		return s, err
	}
	for _, name := range []string{"latest", d1.head.Short(), d1.head.String(), strings.ToUpper(d1.head.Short())} {
		if s, err := find(name); err != nil || s.Hash != d1.head {
			t.Errorf("Find(%q) = %v, %v", name, s.Hash, err)
		}
	}
	for _, name := range []string{"", "ffffffff", "zz", d3.head.Short()} {
		if _, err := find(name); !errs.Is(err, errs.NoSuchSnapshot) {
			t.Errorf("Find(%q) = %v, want E1504", name, err)
		}
	}
}

func TestStoreAndDatabaseBelongTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.newUser(w.org).newDevice().backup("a")
	open := func(d *db.DB, s blob.Store) error {
		_, err := Open(t.Context(), Config{DB: d, Blobs: s, Keys: w.ring})
		return err
	}
	empty := func() *disk.Store {
		s, err := disk.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	if err := open(w.db, w.store); err != nil {
		t.Errorf("opening again: %v", err)
	}
	if err := open(w.db, empty()); errs.Find(err) == nil || errs.Find(err).Key != "vault.absent" {
		t.Errorf("a database with packs opens an empty store: %v", err)
	}
	if err := open(dbtest.New(t), w.store); err != nil {
		t.Errorf("an empty database does not take the store's id: %v", err)
	}
	other := dbtest.New(t)
	if err := open(other, empty()); err != nil {
		t.Fatal(err)
	}
	if err := open(other, w.store); errs.Find(err) == nil || errs.Find(err).Key != "vault.foreign" {
		t.Errorf("a store of another database opens: %v", err)
	}
	strange := empty()
	if err := blob.Write(t.Context(), strange, "packs/aa/b", nil); err != nil {
		t.Fatal(err)
	}
	if err := open(dbtest.New(t), strange); errs.Find(err) == nil || errs.Find(err).Key != "vault.foreign" {
		t.Errorf("a store with data and no id opens: %v", err)
	}
}

func TestLostPack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := t.TempDir()
	store, err := disk.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w.dsn = dbtest.DSN(t)
	w.Vault = w.open(store)
	w.org = w.newOrg()
	d := w.newUser(w.org).newDevice()
	_, chunks, root := d.backup("a", "b")
	n := 0
	err = filepath.WalkDir(filepath.Join(folder, "packs"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if n++; n == 1 {
			return os.Remove(p)
		}
		return os.Truncate(p, 120)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.read(append(chunks, root)...); got != "-|-|-" {
		t.Errorf("Read of a lost and a torn pack gives %q", got)
	}
}
