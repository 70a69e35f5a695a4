package vault

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/blob"
	"github.com/backstay/backstay/server/blob/disk"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/wire"
)

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
	v, err := Open(w.t.Context(), Config{DB: d, Blobs: s, Keys: w.ring})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (w *world) write(query string, args ...any) {
	w.t.Helper()
	err := w.db.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(context.Background(), query, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
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

func (w *world) newOrg() access.OrgID {
	w.t.Helper()
	org := access.OrgID(newID())
	k, err := w.ring.NewOrg(org)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(`INSERT INTO orgs (id, name, name_key, state, key_gen, record, created_at, updated_at)
		VALUES ($1, $1, $1, 'active', $2, $3, 1, 1)`, string(org), int64(k.Gen), k.Record)
	return org
}

type person struct {
	w    *world
	org  access.OrgID
	id   access.UserID
	keys keys.UserKeys
}

func (w *world) newUser(org access.OrgID) *person {
	w.t.Helper()
	p := &person{w: w, org: org, id: access.UserID(newID())}
	var err error
	if p.keys, err = w.ring.NewUser(org, p.id); err != nil {
		w.t.Fatal(err)
	}
	w.write(`INSERT INTO users (id, org, kind, role, username, username_key, email, email_key, first_name, last_name, search, language,
			state, state_at, profile_at, password, password_at, must_change_password, locked_until, key_gen, public_key, identity_key,
			wrapped_key, user_cert, last_login_at, created_at, updated_at)
		VALUES ($1, $2, 'user', '', $1, $1, '', '', '', '', '', 'en', 'active', 1, 1, '', 1, FALSE, 0, $3, $4, $5, $6, $7, 0, 1, 1)`,
		string(p.id), string(org), int64(p.keys.Gen), p.keys.PublicKey, p.keys.IdentityKey, p.keys.Wrapped, p.keys.Cert)
	return p
}

func (p *person) caller(session string) access.Caller {
	return access.Caller{Kind: access.UserKind, User: p.id, Org: p.org, Session: session}
}

var serials atomic.Int64 // tests run side by side

type machine struct {
	w       *world
	owner   *person
	caller  access.Caller
	set     string
	signing ed25519.PrivateKey
	orgKey  []byte
	sealer  *crypt.Sealer
	scope   backup.UUID

	head  backup.Hash
	seq   uint64
	refs  backup.Hash
	depth uint8
	all   []backup.ID // of the head
}

func (p *person) newDevice() *machine {
	w := p.w
	w.t.Helper()
	d := &machine{w: w, owner: p, set: newID()}
	id := access.DeviceID(newID())
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	d.signing = private
	once, oncePublic, err := crypt.GenerateKey()
	if err != nil {
		w.t.Fatal(err)
	}
	serial := serials.Add(1)
	e, err := w.ring.Enrol(keys.Enrolment{Org: p.org, User: p.id, Device: id, Gen: p.keys.Gen, Wrapped: p.keys.Wrapped,
		SigningKey: public, EnrolmentKey: oncePublic, Serial: uint64(serial), NotBefore: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	uid, _ := backup.ParseUUID(string(p.id))
	did, _ := backup.ParseUUID(string(id))
	secrets, err := crypt.OpenEnrolment(once, uid, did, public, e.Sealed)
	if err != nil {
		w.t.Fatal(err)
	}
	d.scope = uid
	d.sealer = crypt.NewSealer(secrets.Scope, uid, crypt.Profile1)
	var record []byte
	w.db.Read(context.Background(), func(tx *db.Tx) error {
		return tx.QueryRow(context.Background(), `SELECT record FROM orgs WHERE id = $1`, string(p.org)).Scan(&record)
	})
	r, err := snapshot.DecodeOrgRecord(record)
	if err != nil {
		w.t.Fatal(err)
	}
	d.orgKey = r.PublicKey
	d.caller = access.Caller{Kind: access.DeviceKind, User: p.id, Org: p.org, Device: id}
	w.write(`INSERT INTO devices (id, org, user_id, request_id, state, state_at, state_reason, name, name_key, search, machine_id, serial,
			hostname, os, os_version, arch, os_user, is_system, client_version, signing_key, cert_serial, cert, folders, last_seen_at,
			last_ip, status, status_code, progress, next_run_at, last_backup_at, last_snapshot, last_status, stored_bytes, stored_files,
			profile_version, changed_at, created_at, activated_at)
		VALUES ($1, $2, $3, $1, 'active', 1, '', $1, $1, '', '', '', '', '', '', '', '', FALSE, '', $4, $5, $6, '[]', 0, '', '', '', '',
			0, 0, '', '', 0, 0, 0, 0, 1, 1)`,
		string(id), string(p.org), string(p.id), []byte(public), serial, e.Cert)
	w.write(`INSERT INTO sets (id, org, user_id, device, created_at) VALUES ($1, $2, $3, $4, 1)`,
		d.set, string(p.org), string(p.id), string(id))
	return d
}

func (d *machine) seal(kind backup.Kind, text string) backup.Object {
	d.w.t.Helper()
	o, err := d.sealer.Seal(kind, []byte(text))
	if err != nil {
		d.w.t.Fatal(err)
	}
	return o
}

func (d *machine) begin() wire.Session {
	d.w.t.Helper()
	s, err := d.w.Begin(d.w.t.Context(), d.caller, d.set)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return s
}

func records(objects ...backup.Object) []byte {
	var b []byte
	for _, o := range objects {
		b = pack.AppendHead(b, o.Kind, o.Ref.ID, len(o.Sealed))
		b = append(b, o.Sealed...)
	}
	return b
}

func putID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (d *machine) put(s wire.Session, class backup.Class, objects ...backup.Object) wire.PutAnswer {
	d.w.t.Helper()
	a, err := d.w.Put(d.w.t.Context(), d.caller, s.SessionID, putID(), class, bytes.NewReader(records(objects...)))
	if err != nil {
		d.w.t.Fatal(err)
	}
	if a.Records != len(objects) || len(a.Rejected) > 0 {
		d.w.t.Fatalf("Put of %d records answers %+v", len(objects), a)
	}
	return a
}

func ids(objects ...backup.Object) []backup.ID {
	var list []backup.ID
	for _, o := range objects {
		list = append(list, o.Ref.ID)
	}
	return snapshot.SortIDs(list)
}

// attempt is a commit in the making; its parts may be spoilt before it is sent.
type attempt struct {
	m     *snapshot.Manifest
	refs  *snapshot.Refs
	ids   []backup.ID
	key   ed25519.PrivateKey
	extra []byte // after the body
}

// prepare makes the next manifest of the chain, which needs ids; the first
// object is the root page.
func (d *machine) prepare(s wire.Session, status snapshot.Status, root backup.Object, all []backup.ID) *attempt {
	d.w.t.Helper()
	a := &attempt{key: d.signing, ids: all, refs: &snapshot.Refs{Added: all}}
	if d.all != nil && d.depth < backup.MaxRefsDepth {
		a.refs = &snapshot.Refs{Delta: true, Base: d.refs, Depth: d.depth + 1}
		a.refs.Added, a.refs.Removed = snapshot.Diff(d.all, all)
	}
	a.m = &snapshot.Manifest{Header: snapshot.Header{
		Seq: d.seq + 1, Prev: d.head, Store: d.w.StoreID(), Time: uint64(d.w.clock.UnixMicro()), Status: status,
		Entries: 3, Files: 2, Bytes: 1000, RootID: root.Ref.ID,
		KeyGen: d.owner.keys.Gen, DedupScope: snapshot.ScopeUser, Scope: d.scope, Epoch: 1, Chunker: 1, Profile: 1, User: d.scope,
	}}
	a.m.Org, _ = backup.ParseUUID(string(d.owner.org))
	a.m.Device, _ = backup.ParseUUID(string(d.caller.Device))
	a.m.Set, _ = backup.ParseUUID(d.set)
	copy(a.m.Nonce[:], s.Nonce)
	private := &snapshot.Private{RootKey: root.Ref.Key, RootLen: root.Ref.Len, Host: "host", SetName: "set", Roots: []string{"/home"}}
	a.m.RefsID = snapshot.RefsID(a.refs.Encode())
	a.m.RefsRoot = snapshot.MerkleRoot(a.ids)
	a.m.RefsCount = uint64(len(a.ids))
	for to, key := range map[snapshot.Recipient][]byte{snapshot.ToUser: d.owner.keys.PublicKey, snapshot.ToOrg: d.orgKey} {
		if err := a.m.Seal(to, key, private); err != nil {
			d.w.t.Fatal(err)
		}
	}
	a.m.Sign(a.key)
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
	return d.w.Commit(d.w.t.Context(), d.caller, s.SessionID, bytes.NewReader(a.body()))
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
		chunks = append(chunks, d.seal(backup.Data, text))
	}
	root := d.seal(backup.Page, "page of "+strings.Join(texts, ", "))
	d.put(s, backup.ClassData, chunks...)
	d.put(s, backup.ClassMetadata, root)
	c := d.commit(s, d.prepare(s, snapshot.Complete, root, ids(append(chunks, root)...)))
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
			plain, err := crypt.Open(nil, d.scope, rec.Kind, refs[rec.ID].Ref, rec.Sealed)
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
