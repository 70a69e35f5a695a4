//go:build unix

package upload_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// fake is a server for one device, as strict as the protocol, that fails when
// a test wants it to.
type fake struct {
	*httptest.Server
	t    testing.TB
	keys keys

	mu        sync.Mutex
	idle      *sync.Cond     // busy has become 0
	busy      int            // requests being answered
	arriving  map[string]int // puts being received, by name
	arrived   *sync.Cond     // one of them is not any more
	objects   map[backup.ID]backup.Object
	session   *session
	snapshots []*committed
	refs      map[backup.Hash][]backup.ID
	epoch     uint64
	damaged   []string
	puts      int
	haves     int
	received  int64 // bytes of records
	quota     int64 // bytes that a snapshot may have, 0 for any number
	silent    bool  // about the quota, until a put goes over it

	// refuse may answer a call in the server's place: it returns true when it did.
	refuse func(w http.ResponseWriter, r *http.Request) bool
	// putting is called for each record that arrives.
	putting func()
	// cutAfter breaks the first connection of each put behind so many records, 0
	// none.
	cutAfter int
	cuts     map[string]bool
	// commitFails lists what the next commits say they miss.
	commitFails [][]backup.ID
}

type session struct {
	id    string
	nonce []byte
	sent  map[backup.ID]bool
}

type committed struct {
	m    *snapshot.Manifest
	refs *snapshot.Refs
	ids  []backup.ID

	waiting string // files that wait for room
	carried string // folders that were not read
}

// keys are all that belong to the one user.
type keys struct {
	user   crypt.User
	org    crypt.Org
	device ed25519.PrivateKey
	record []byte
}

var (
	orgID, userID   = backup.UUID{1}, backup.UUID{2}
	deviceID, setID = backup.UUID{3}, backup.UUID{4}
	storeID         = backup.UUID{5}
)

func newKeys(t testing.TB) keys {
	t.Helper()
	user, err := crypt.DeriveUser(backup.Key{1}, 1, 1)
	must(t, err)
	org, err := crypt.DeriveOrg(backup.Key{2}, 1)
	must(t, err)
	r := snapshot.OrgRecord{Org: orgID, Gen: 1, PublicKey: org.SealPublic}
	copy(r.Root[:], org.Root.Public().(ed25519.PublicKey))
	copy(r.Receipt[:], org.Receipt.Public().(ed25519.PublicKey))
	r.Sign(org.Root)
	return keys{user, org, ed25519.NewKeyFromSeed(make([]byte, 32)), r.Encode()}
}

func newServer(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, keys: newKeys(t), objects: map[backup.ID]backup.Object{}, refs: map[backup.Hash][]backup.ID{}, epoch: 1,
		arriving: map[string]int{}, cuts: map[string]bool{}}
	f.idle, f.arrived = sync.NewCond(&f.mu), sync.NewCond(&f.mu)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agent/v1/challenge", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Challenge{Challenge: make([]byte, 32)})
	})
	mux.HandleFunc("POST /agent/v1/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Token{Token: "bsa_x", ExpiresAt: time.Now().Add(15 * time.Minute)})
	})
	mux.HandleFunc("POST /agent/v1/sessions", f.open)
	mux.HandleFunc("POST /agent/v1/sessions/{id}/have", f.have)
	mux.HandleFunc("PUT /agent/v1/sessions/{id}/packs/{put}", f.put)
	mux.HandleFunc("POST /agent/v1/sessions/{id}/commit", f.commit)
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var refuse func(http.ResponseWriter, *http.Request) bool
		f.set(func() { refuse = f.refuse; f.busy++ })
		defer f.set(func() {
			if f.busy--; f.busy == 0 {
				f.idle.Broadcast()
			}
		})
		if refuse != nil && refuse(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set(wire.HeaderVersion, "0.1")
	json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, status int, p wire.Problem) {
	w.Header().Set(wire.HeaderVersion, "0.1")
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.WriteHeader(status)
	p.Status = status
	json.NewEncoder(w).Encode(p)
}

// set changes something while the server runs.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// quiet waits until all is answered that a device asked for before it was cut
// off.
func (f *fake) quiet() {
	f.CloseClientConnections()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy > 0 {
		f.idle.Wait()
	}
}

func (f *fake) head() *committed {
	if len(f.snapshots) == 0 {
		return nil
	}
	return f.snapshots[len(f.snapshots)-1]
}

func (f *fake) open(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.arriving) > 0 {
		f.arrived.Wait()
	}
	s := wire.Session{StoreID: storeID.Hex(), GCEpoch: f.epoch, Damaged: f.damaged, ExpiresAt: time.Now().Add(time.Hour)}
	s.Limits = wire.SessionLimits{PackBytes: wire.PackBytes, RecordBytes: wire.RecordBytes, HaveIDs: 100}
	if f.quota > 0 && !f.silent {
		s.Room = &wire.Room{Bytes: f.quota, Quota: f.quota, Of: "user"}
	}
	if s.Resumed = f.session != nil; !s.Resumed {
		nonce := sha256.Sum256(fmt.Append(nil, "nonce", len(f.snapshots)))
		f.session = &session{id: fmt.Sprint("session-", len(f.snapshots)), nonce: nonce[:], sent: map[backup.ID]bool{}}
	}
	s.SessionID, s.Nonce = f.session.id, f.session.nonce
	s.Known = len(f.session.sent) > 0 || len(f.snapshots) > 0
	if h := f.head(); h != nil {
		hash := h.m.Hash()
		s.Head = &wire.Head{Hash: hash.String(), Seq: h.m.Seq, RefsID: h.m.RefsID.String(), Status: h.m.Status.String(), Bytes: int64(h.m.Bytes)}
	}
	answer(w, s)
}

// holds reports whether the user may refer to an object.
func (f *fake) holds(id backup.ID) bool {
	if _, ok := f.objects[id]; !ok || slices.Contains(f.damaged, id.String()) {
		return false
	}
	if f.session.sent[id] {
		return true
	}
	for _, s := range f.snapshots {
		if _, ok := slices.BinarySearchFunc(s.ids, id, func(a, b backup.ID) int { return slices.Compare(a[:], b[:]) }); ok {
			return true
		}
	}
	return false
}

func (f *fake) have(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.haves++
	for f.arriving[r.URL.Query().Get("cut")] > 0 {
		f.arrived.Wait()
	}
	if err != nil || len(body)%32 != 0 || len(body) > 100*32 {
		problem(w, http.StatusBadRequest, wire.Problem{Title: "have"})
		return
	}
	for id := range slices.Chunk(body, 32) {
		if f.holds(backup.ID(id)) {
			w.Write([]byte{1})
		} else {
			w.Write([]byte{0})
		}
	}
}

func (f *fake) put(w http.ResponseWriter, r *http.Request) {
	class, err := backup.ParseClass(r.URL.Query().Get("class"))
	if err != nil {
		problem(w, http.StatusBadRequest, wire.Problem{Title: "class"})
		return
	}
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil {
		problem(w, http.StatusBadRequest, wire.Problem{Title: "size"})
		return
	}
	f.mu.Lock()
	quota := f.quota
	f.mu.Unlock()
	if quota > 0 && size > quota && class == backup.ClassData {
		problem(w, http.StatusInsufficientStorage, wire.Problem{Code: "E1401", Data: map[string]any{"q": quota, "room": quota, "of": "user"}})
		return
	}
	name := r.PathValue("put")
	f.set(func() { f.arriving[name]++ })
	defer f.set(func() {
		if f.arriving[name]--; f.arriving[name] == 0 {
			delete(f.arriving, name)
		}
		f.arrived.Broadcast()
	})
	var objects []backup.Object
	in := pack.NewReader(r.Body, false)
	var cut error
	for {
		rec, err := in.Next()
		if err == io.EOF {
			break
		}
		if cut = err; cut != nil && errs.Find(cut) == nil {
			break // what came whole counts
		}
		f.mu.Lock()
		f.received += int64(len(rec.Sealed))
		putting := f.putting
		f.mu.Unlock()
		if putting != nil {
			putting()
		}
		if err != nil || rec.Kind.Class() != class || sha256.Sum256(rec.Sealed) != rec.ID {
			problem(w, http.StatusBadRequest, wire.Problem{Title: fmt.Sprint("record: ", err)})
			return
		}
		f.mu.Lock()
		if len(objects) == f.cutAfter && f.cutAfter > 0 && !f.cuts[name] {
			f.cuts[name] = true
			cut = http.ErrAbortHandler
		}
		f.mu.Unlock()
		if cut != nil {
			break
		}
		objects = append(objects, backup.Object{Ref: backup.Ref{ID: rec.ID}, Kind: rec.Kind, Sealed: slices.Clone(rec.Sealed)})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	if f.session == nil || r.PathValue("id") != f.session.id {
		problem(w, http.StatusNotFound, wire.Problem{Title: "session"})
		return
	}
	for _, o := range objects {
		if f.session.sent[o.Ref.ID] {
			f.t.Errorf("object %s was sent twice in one session", o.Ref.ID)
		}
		f.objects[o.Ref.ID] = o
		f.session.sent[o.Ref.ID] = true
		f.damaged = slices.DeleteFunc(f.damaged, func(id string) bool { return id == o.Ref.ID.String() })
	}
	if cut == http.ErrAbortHandler {
		panic(cut)
	}
	if cut != nil {
		problem(w, http.StatusBadRequest, wire.Problem{Title: fmt.Sprint("body: ", cut)})
		return
	}
	answer(w, wire.PutAnswer{Records: len(objects)})
}

func (f *fake) commit(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := binary.BigEndian.Uint32(body)
	manifest, rest := body[4:4+n], body[4+n:]
	refs := rest[8:]
	for _, s := range f.snapshots {
		if string(s.m.Encode()) == string(manifest) {
			answer(w, f.receipt(s))
			return
		}
	}
	c, problems := f.check(manifest, refs)
	if problems != "" {
		f.t.Errorf("the commit breaks the protocol: %s", problems)
		problem(w, http.StatusBadRequest, wire.Problem{Title: problems})
		return
	}
	if c == nil {
		problem(w, http.StatusConflict, wire.Problem{Key: "refs.base", Title: "base"})
		return
	}
	if missing := f.missing(c); len(missing) > 0 {
		problem(w, http.StatusConflict, wire.Problem{Code: "E1507", Data: map[string]any{"n": len(missing), "missing": missing}})
		return
	}
	c.waiting, c.carried = r.URL.Query().Get("waiting"), r.URL.Query().Get("carried")
	f.snapshots = append(f.snapshots, c)
	f.refs[c.m.RefsID] = c.ids
	if c.m.Status == snapshot.Complete || c.waiting != "0" {
		f.session = nil
	}
	answer(w, f.receipt(c))
}

func (f *fake) receipt(c *committed) wire.Committed {
	hash := c.m.Hash()
	r := snapshot.Receipt{Manifest: hash, Seq: c.m.Seq, Time: 1, GCEpoch: f.epoch}
	r.Sign(f.keys.org.Receipt)
	return wire.Committed{Snapshot: hash.Short(), Hash: hash.String(), Seq: c.m.Seq, Receipt: r.Encode()}
}

func (f *fake) check(manifest, refs []byte) (*committed, string) {
	m, err := snapshot.Decode(manifest)
	if err != nil {
		return nil, err.Error()
	}
	r, err := snapshot.DecodeRefs(refs)
	if err != nil {
		return nil, err.Error()
	}
	c := &committed{m: m, refs: r}
	if r.Delta && f.refs[r.Base] == nil {
		return nil, ""
	}
	if c.ids, err = r.Materialise(f.refs[r.Base]); err != nil {
		return nil, err.Error()
	}
	seq, prev := uint64(1), backup.Hash{}
	if h := f.head(); h != nil {
		seq, prev = h.m.Seq+1, h.m.Hash()
	}
	switch {
	case m.Verify(f.keys.device.Public().(ed25519.PublicKey)) != nil:
		return nil, "signature"
	case m.Seq != seq || m.Prev != prev:
		return nil, "chain"
	case m.Org != orgID || m.User != userID || m.Device != deviceID || m.Set != setID || m.Store != storeID || string(m.Nonce[:]) != string(f.session.nonce):
		return nil, "identity"
	case m.RefsID != snapshot.RefsID(refs) || m.RefsCount != uint64(len(c.ids)) || m.RefsRoot != snapshot.MerkleRoot(c.ids):
		return nil, "refs"
	}
	return c, ""
}

func (f *fake) missing(c *committed) (missing []string) {
	if len(f.commitFails) > 0 {
		for _, id := range f.commitFails[0] {
			missing = append(missing, id.String())
			delete(f.objects, id)
			delete(f.session.sent, id)
		}
		f.commitFails = f.commitFails[1:]
		return missing
	}
	for _, id := range c.ids {
		if !f.holds(id) {
			missing = append(missing, id.String())
		}
	}
	return missing
}

// fingerprint is for wire.Config.
func (f *fake) fingerprint() string {
	sum := sha256.Sum256(f.Certificate().RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// opened opens a snapshot's private part with the user's key, and with the
// organisation's, which must say the same.
func (f *fake) opened(c *committed) *snapshot.Private {
	f.t.Helper()
	one, err := c.m.Open(f.keys.user.SealPrivate, f.keys.user.SealPublic)
	must(f.t, err)
	two, err := c.m.Open(f.keys.org.SealPrivate, f.keys.org.SealPublic)
	must(f.t, err)
	if string(one) != string(two) {
		f.t.Error("user and organisation find different private parts")
	}
	p, err := snapshot.DecodePrivate(one)
	must(f.t, err)
	return p
}

// lose forgets objects, as a vault does that was damaged.
func (f *fake) lose(ids ...backup.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.objects, id)
	}
}

func (f *fake) ids(kind backup.Kind) (ids []backup.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.SortedFunc(maps.Keys(f.objects), func(a, b backup.ID) int { return slices.Compare(a[:], b[:]) }) {
		if f.objects[id].Kind == kind {
			ids = append(ids, id)
		}
	}
	return ids
}
