package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/blob/disk"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

var system = access.System("test")

// world is a vault on a fresh database and folder, with an organisation.
type world struct {
	*Vault
	t     testing.TB
	dsn   string
	ring  *keys.Ring
	store *disk.Store
	org   access.OrgID
	clock time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w := &world{t: t, dsn: dbtest.DSN(t), ring: ring, store: store, clock: time.Now()}
	w.Vault = w.open(store)
	w.org = w.newOrg()
	return w
}

// open opens the vault once more, as another server on the same database does.
func (w *world) open(s blob.Store) *Vault {
	w.t.Helper()
	d := dbtest.Open(w.t, w.dsn)
	d.Now = func() time.Time { return w.clock }
	v, err := Open(w.t.Context(), Config{DB: d, Blobs: s, Keys: w.ring, Places: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// do fails the test when f does.
func (w *world) do(f func(*db.Tx) error) {
	w.t.Helper()
	if err := w.db.Write(context.Background(), f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(query string, args ...any) {
	w.t.Helper()
	w.do(func(tx *db.Tx) error {
		_, err := tx.Exec(context.Background(), query, args...)
		return err
	})
}

func (w *world) count(query string, args ...any) (n int64) {
	w.t.Helper()
	err := w.db.Read(context.Background(), func(tx *db.Tx) error {
		return tx.QueryRow(context.Background(), query, args...).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// newOrg makes an organisation with a default profile.
func (w *world) newOrg() (org access.OrgID) {
	w.t.Helper()
	w.do(func(tx *db.Tx) error {
		o, err := orgs.Create(w.t.Context(), tx, system, w.ring, uuid.NewString())
		if err != nil {
			return err
		}
		org = o.ID
		_, err = profiles.Create(w.t.Context(), tx, system, org, "Default", "", profile.Defaults())
		return err
	})
	return org
}

type person struct {
	w *world
	accounts.User
}

func (w *world) newUser(org access.OrgID) *person {
	w.t.Helper()
	p := &person{w: w}
	w.do(func(tx *db.Tx) (err error) {
		p.User, err = accounts.Create(w.t.Context(), tx, system, w.ring,
			accounts.New{Org: org, Kind: access.UserKind, Username: uuid.NewString(), PasswordHash: "hash"})
		return err
	})
	return p
}

func (p *person) caller(session string) access.Caller {
	return p.Caller(access.Caller{Session: session})
}

type machine struct {
	*wiretest.Device
	w      *world
	caller access.Caller

	head  backup.Hash
	seq   uint64
	refs  backup.Hash
	depth uint8
	all   []backup.ID // of the head
}

func (p *person) newDevice() *machine {
	w := p.w
	w.t.Helper()
	c := wiretest.NewComputer(w.t)
	var done devices.Activated
	var org orgs.Org
	w.do(func(tx *db.Tx) (err error) {
		if org, err = orgs.Find(w.t.Context(), tx, p.Org); err != nil {
			return err
		}
		done, err = devices.Activate(w.t.Context(), tx, p.caller(""), w.ring, p.User, devices.Activation{
			RequestID: uuid.NewString(), Name: uuid.NewString(), SigningKey: c.SigningKey(), EnrolmentKey: c.Enrolment})
		return err
	})
	return &machine{w: w, caller: access.Caller{Kind: access.DeviceKind, User: p.ID, Org: p.Org, Device: done.Device.ID},
		Device: c.Device(w.t, wire.Activated{
			DeviceID: string(done.Device.ID), SetID: done.Set, UserID: string(p.ID), OrgID: string(p.Org), StoreID: w.StoreID().Hex(),
			KeyGen: p.Keys.Gen, Epoch: done.Epoch, ScopeID: string(p.ID), UserKey: p.Keys.PublicKey, SealedSecrets: done.Secrets, OrgRecord: org.Record,
		})}
}

func (d *machine) begin() wire.Session {
	d.w.t.Helper()
	s, err := d.w.Begin(d.w.t.Context(), d.caller, d.SetID)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return s
}

func (d *machine) put(s wire.Session, class backup.Class, objects ...backup.Object) wire.PutAnswer {
	d.w.t.Helper()
	a, err := d.w.Put(d.w.t.Context(), d.caller, s.SessionID, wiretest.PutID(), class, Size{}, bytes.NewReader(wiretest.Records(objects...)))
	if err != nil {
		d.w.t.Fatal(err)
	}
	if a.Records != len(objects) || len(a.Rejected) > 0 {
		d.w.t.Fatalf("Put of %d records answers %+v", len(objects), a)
	}
	return a
}

// attempt is a commit in the making; its parts may be spoilt before it is sent.
type attempt struct {
	m     *snapshot.Manifest
	refs  *snapshot.Refs
	ids   []backup.ID
	extra []byte // after the body
}

// prepare makes the next manifest of the chain, which needs ids; the first
// object is the root page.
func (d *machine) prepare(s wire.Session, status snapshot.Status, root backup.Object, all []backup.ID) *attempt {
	d.w.t.Helper()
	a := &attempt{ids: all, refs: &snapshot.Refs{Added: all}}
	if d.all != nil && d.depth < backup.MaxRefsDepth {
		a.refs = &snapshot.Refs{Delta: true, Base: d.refs, Depth: d.depth + 1}
		a.refs.Added, a.refs.Removed = snapshot.Diff(d.all, all)
	}
	if d.seq > 0 { // it may have committed since the session began
		s.Head = &wire.Head{Hash: d.head.String(), Seq: d.seq}
	}
	a.m = d.Manifest(s, d.w.clock, root, all, a.refs)
	a.m.Status = status
	a.m.Sign(d.Signing)
	return a
}

func (a *attempt) body() []byte {
	m, refs := a.m.Encode(), a.refs.Encode()
	b := binary.BigEndian.AppendUint32(nil, uint32(len(m)))
	b = append(b, m...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(refs)))
	b = append(b, refs...)
	return append(b, a.extra...)
}

func (d *machine) try(s wire.Session, a *attempt) (wire.Committed, error) {
	return d.w.Commit(d.w.t.Context(), d.caller, s.SessionID, wire.Lacking{}, bytes.NewReader(a.body()))
}

func (d *machine) commit(s wire.Session, a *attempt) wire.Committed {
	d.w.t.Helper()
	c, err := d.try(s, a)
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.head, d.seq, d.refs, d.depth, d.all = a.m.Hash(), a.m.Seq, a.m.RefsID, a.refs.Depth, a.ids
	return c
}

// backup makes a whole snapshot of texts, each a chunk, under a page made of
// their names.
func (d *machine) backup(texts ...string) (wire.Committed, []backup.Object, backup.Object) {
	d.w.t.Helper()
	s := d.begin()
	var chunks []backup.Object
	for _, text := range texts {
		chunks = append(chunks, d.Seal(backup.Data, text))
	}
	root := d.Seal(backup.Page, "page of "+strings.Join(texts, ", "))
	d.put(s, backup.ClassData, chunks...)
	d.put(s, backup.ClassMetadata, root)
	c := d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(append(chunks, root)...)))
	return c, chunks, root
}

func (d *machine) have(s wire.Session, objects ...backup.Object) string {
	d.w.t.Helper()
	var list []backup.ID
	for _, o := range objects {
		list = append(list, o.Ref.ID)
	}
	answer, err := d.w.Have(d.w.t.Context(), d.caller, s.SessionID, list)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return fmt.Sprint(answer)
}

// read is what the device's user gets for objects: the plain text of each, "-"
// for one that is missing.
func (d *machine) read(objects ...backup.Object) string {
	d.w.t.Helper()
	var list []backup.ID
	refs := map[backup.ID]backup.Object{}
	for _, o := range objects {
		list = append(list, o.Ref.ID)
		refs[o.Ref.ID] = o
	}
	var b bytes.Buffer
	if err := d.w.Read(d.w.t.Context(), d.caller, list, &b); err != nil {
		d.w.t.Fatal(err)
	}
	got := map[backup.ID]string{}
	r := pack.NewReader(&b, true)
	for range objects {
		rec, err := r.Next()
		if err != nil {
			d.w.t.Fatal(err)
		}
		got[rec.ID] = "-"
		if rec.Kind != backup.Missing {
			plain, err := crypt.Open(nil, d.Scope(), rec.Kind, refs[rec.ID].Ref, rec.Sealed)
			if err != nil {
				d.w.t.Fatal(err)
			}
			got[rec.ID] = string(plain)
		}
	}
	var texts []string
	for _, id := range list {
		texts = append(texts, got[id])
	}
	return strings.Join(texts, "|")
}
