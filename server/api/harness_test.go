package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
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
	"github.com/backstay/backstay/server/blob/disk"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/wire"
)

const password = "Right-Password-1"

func address() string { return "https://backup.example.org" }

// host is an API behind TLS, on a database, keys and store that others may
// share.
type host struct {
	*API
	t        *testing.T
	url      string
	pin      string
	dsn      string
	store    *disk.Store
	received atomic.Int64
	shift    atomic.Int64 // of the clock, in nanoseconds
	log      *bytes.Buffer
	org      orgs.Org
}

func newHost(t *testing.T) *host {
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
	h := startHost(t, dbtest.DSN(t), ring, store)
	err = h.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		by := access.System("test")
		if h.org, err = orgs.Create(t.Context(), tx, by, ring, "Test"); err != nil {
			return err
		}
		_, err = profiles.Create(t.Context(), tx, by, h.org.ID, "Default", "", profile.Defaults())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// beside is a second server on the same database and store.
func (h *host) beside() *host {
	h.t.Helper()
	second := startHost(h.t, h.dsn, h.Keys, h.store)
	second.org = h.org
	return second
}

func startHost(t *testing.T, dsn string, ring *keys.Ring, store *disk.Store) *host {
	t.Helper()
	h := &host{t: t, dsn: dsn, store: store, log: new(bytes.Buffer)}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	d := dbtest.Open(t, dsn)
	d.Now = func() time.Time { return time.Now().Add(time.Duration(h.shift.Load())) }
	v, err := vault.Open(t.Context(), vault.Config{DB: d, Blobs: store, Keys: ring, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h.API = New(Config{
		DB: d, Vault: v, Keys: ring, Log: log, Name: "Test server",
		Gate: &signin.Gate{DB: d, Keys: ring, Hasher: &passwords.Hasher{Time: 1, Memory: 64, AtOnce: 8}, PadTo: time.Millisecond,
			URL: address, Factors: &factors.Factors{DB: d, Keys: ring, Name: "Test", URL: address}},
		Received: func(n int) { h.received.Add(int64(n)) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := access.Caller{IP: "192.0.2.1", RequestID: "R1"}
		w.Header().Set(wire.HeaderRequestID, by.RequestID)
		h.ServeHTTP(w, r.WithContext(access.WithCaller(r.Context(), by)))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	h.url, h.pin = server.URL, wire.Fingerprint(server.Certificate())
	t.Cleanup(func() {
		cancel()
		<-done
		server.Close()
	})
	return h
}

func (h *host) client(device string, sign func([]byte) ([]byte, error)) *wire.Client {
	h.t.Helper()
	c, err := wire.New(wire.Config{Server: h.url, Fingerprint: h.pin, DeviceID: device, Sign: sign, Patience: time.Millisecond})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

func (h *host) newUser(name string) accounts.User {
	h.t.Helper()
	hash, err := h.Gate.Hasher.Hash(h.t.Context(), password)
	if err != nil {
		h.t.Fatal(err)
	}
	var u accounts.User
	err = h.DB.Write(h.t.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.Create(h.t.Context(), tx, access.System("test"), h.Keys, accounts.New{
			Org: h.org.ID, Kind: access.UserKind, Username: name, Email: name + "@example.org", PasswordHash: hash})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

// machine is an activated computer.
type machine struct {
	*wire.Client
	h       *host
	id      wire.Activated
	signing ed25519.PrivateKey
	secrets crypt.Secrets
	scope   backup.UUID
	sealer  *crypt.Sealer
}

func request(name string) (wire.Activate, ed25519.PrivateKey, []byte) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	once, oncePublic, _ := crypt.GenerateKey()
	return wire.Activate{
		Username: name, Password: password, RequestID: uuid.NewString(), Name: "laptop", RenameIfTaken: true,
		Hardware:      wire.Hardware{Hostname: "laptop", OS: "linux", Arch: "amd64"},
		ClientVersion: "0.1", SigningKey: public, EnrolmentKey: oncePublic,
	}, private, once
}

func (h *host) activate(name string) *machine {
	h.t.Helper()
	in, signing, once := request(name)
	id, err := h.client("", nil).Activate(h.t.Context(), in)
	if err != nil {
		h.t.Fatal(err)
	}
	d := &machine{h: h, id: id, signing: signing}
	d.scope, _ = backup.ParseUUID(id.ScopeID)
	device, _ := backup.ParseUUID(id.DeviceID)
	if d.secrets, err = crypt.OpenEnrolment(once, d.scope, device, in.SigningKey, id.SealedSecrets); err != nil {
		h.t.Fatal(err)
	}
	d.sealer = crypt.NewSealer(d.secrets.Scope, d.scope, crypt.Profile1)
	d.Client = h.client(id.DeviceID, d.sign)
	return d
}

func (d *machine) sign(challenge []byte) ([]byte, error) {
	device, _ := backup.ParseUUID(d.id.DeviceID)
	store, err := hex.DecodeString(d.id.StoreID)
	if err != nil {
		return nil, err
	}
	message := append(append(device[:], store...), challenge...)
	return crypt.Sign(d.signing, "token", message), nil
}

// on is the same device, talking to another server.
func (d *machine) on(h *host) *machine {
	other := *d
	other.h, other.Client = h, h.client(d.id.DeviceID, d.sign)
	return &other
}

func (d *machine) seal(kind backup.Kind, text string) backup.Object {
	d.h.t.Helper()
	o, err := d.sealer.Seal(kind, []byte(text))
	if err != nil {
		d.h.t.Fatal(err)
	}
	return o
}

func records(objects ...backup.Object) []byte {
	var b []byte
	for _, o := range objects {
		b = append(pack.AppendHead(b, o.Kind, o.Ref.ID, len(o.Sealed)), o.Sealed...)
	}
	return b
}

func putID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (d *machine) put(s wire.Session, objects ...backup.Object) {
	d.h.t.Helper()
	a, err := d.Put(d.h.t.Context(), s.SessionID, putID(), objects[0].Kind.Class(), bytes.NewReader(records(objects...)))
	if err != nil || a.Records != len(objects) || len(a.Rejected) > 0 {
		d.h.t.Fatalf("Put = %+v, %v", a, err)
	}
}

// manifest makes the manifest and refs of a snapshot of all, the first of which
// is its root page.
func (d *machine) manifest(s wire.Session, all ...backup.Object) (manifest, refs []byte) {
	d.h.t.Helper()
	var ids []backup.ID
	for _, o := range all {
		ids = append(ids, o.Ref.ID)
	}
	ids = snapshot.SortIDs(ids)
	list := snapshot.Refs{Added: ids}
	refs = list.Encode()
	m := &snapshot.Manifest{Header: snapshot.Header{
		User: d.scope, Seq: 1, Time: uint64(time.Now().UnixMicro()), Status: snapshot.Complete, Entries: 2, Files: 1, Bytes: 99,
		RootID: all[0].Ref.ID, RefsID: snapshot.RefsID(refs), RefsRoot: snapshot.MerkleRoot(ids), RefsCount: uint64(len(ids)),
		KeyGen: d.id.KeyGen, DedupScope: snapshot.ScopeUser, Scope: d.scope, Epoch: d.id.Epoch, Chunker: 1, Profile: 1,
	}}
	m.Org, _ = backup.ParseUUID(d.id.OrgID)
	m.Device, _ = backup.ParseUUID(d.id.DeviceID)
	m.Set, _ = backup.ParseUUID(d.id.SetID)
	hex.Decode(m.Store[:], []byte(s.StoreID))
	copy(m.Nonce[:], s.Nonce)
	if s.Head != nil {
		m.Seq = s.Head.Seq + 1
		m.Prev, _ = backup.ParseHash(s.Head.Hash)
	}
	org, err := snapshot.DecodeOrgRecord(d.id.OrgRecord)
	if err != nil {
		d.h.t.Fatal(err)
	}
	private := &snapshot.Private{RootKey: all[0].Ref.Key, RootLen: all[0].Ref.Len, Host: "laptop"}
	for to, key := range map[snapshot.Recipient][]byte{snapshot.ToUser: d.id.UserKey, snapshot.ToOrg: org.PublicKey} {
		if err := m.Seal(to, key, private); err != nil {
			d.h.t.Fatal(err)
		}
	}
	m.Sign(d.signing)
	return m.Encode(), refs
}

// backup sends a whole snapshot of one chunk.
func (d *machine) backup(text string) (wire.Committed, backup.Object, backup.Object) {
	d.h.t.Helper()
	s, err := d.OpenSession(d.h.t.Context(), d.id.SetID)
	if err != nil {
		d.h.t.Fatal(err)
	}
	root, chunk := d.seal(backup.Page, "page of "+text), d.seal(backup.Data, text)
	d.put(s, root)
	d.put(s, chunk)
	manifest, refs := d.manifest(s, root, chunk)
	c, err := d.Commit(d.h.t.Context(), s.SessionID, manifest, refs)
	if err != nil {
		d.h.t.Fatal(err)
	}
	return c, root, chunk
}

func (h *host) setState(device string, to devices.State) {
	h.t.Helper()
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) error {
		return devices.SetState(h.t.Context(), tx, access.System("test"), devices.ID(device), to, "test")
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// denied counts refusals in the audit that match.
func (h *host) denied(action access.Action, actor string) (n int) {
	h.t.Helper()
	err := h.DB.Read(h.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(h.t.Context(), `SELECT count(*) FROM audit WHERE outcome = 'denied' AND action = $1 AND actor_id = $2`,
			string(action), actor).Scan(&n)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// refusals counts all refusals in the audit.
func (h *host) refusals() (n int) {
	h.t.Helper()
	err := h.DB.Read(h.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(h.t.Context(), `SELECT count(*) FROM audit WHERE outcome = 'denied'`).Scan(&n)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// raw sends a request by hand and returns the status and the problem, if any.
func (h *host) raw(method, path, media string, body io.Reader, header ...string) (*http.Response, wire.Problem) {
	h.t.Helper()
	return h.rawAt(method, wire.Prefix+path, media, body, header...)
}

// rawAt is raw for a path that is not of the protocol.
func (h *host) rawAt(method, path, media string, body io.Reader, header ...string) (*http.Response, wire.Problem) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set(wire.HeaderVersion, "0.1")
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	by := access.Caller{IP: "192.0.2.1", RequestID: "R1"}
	h.ServeHTTP(rec, r.WithContext(access.WithCaller(r.Context(), by)))
	answer := rec.Result()
	var p wire.Problem
	if strings.HasPrefix(answer.Header.Get("Content-Type"), wire.MediaTypeProblem) {
		if err := json.NewDecoder(answer.Body).Decode(&p); err != nil {
			h.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	return answer, p
}

// deviceToken gets a token by hand.
func (d *machine) deviceToken() string {
	d.h.t.Helper()
	challenge := devices.NewChallenge(d.h.Keys, d.h.DB.Now(), devices.ID(d.id.DeviceID))
	signature, err := d.sign(challenge)
	if err != nil {
		d.h.t.Fatal(err)
	}
	token, _, err := devices.Prove(d.h.t.Context(), d.h.DB, d.h.Keys, d.h.Vault.StoreID(), devices.ID(d.id.DeviceID), challenge, signature, access.Caller{})
	if err != nil {
		d.h.t.Fatal(err)
	}
	return token
}

// problem is how a failure is answered.
func (h *host) problem(err error) (int, wire.Problem) {
	h.t.Helper()
	rec := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(h.t.Context(), "GET", wire.Prefix+"hello", nil)
	h.fail(rec, r, access.Caller{RequestID: "R1"}, err)
	var p wire.Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		h.t.Error(err)
	}
	return rec.Code, p
}
