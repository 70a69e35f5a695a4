package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/chunk"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
)

// The vectors fix the format for everybody: other readers check themselves
// against them, and so do we. -update makes them anew after a change of
// docs/format.md; what is random (HPKE, wraps) then becomes different, and all
// else must not, unless the document says so.
var update = flag.Bool("update", false, "write testdata/vectors anew")

// hexBytes are bytes in a vector.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// vectors calls check on what the file holds. With -update it writes what
// fresh makes first. Without, what is not random must be what fresh makes.
func vectors[T any](t *testing.T, name string, fresh T, equal func(got, want T) bool) T {
	t.Helper()
	file := filepath.Join("..", "..", "testdata", "vectors", name+".json")
	if *update {
		b, err := json.MarshalIndent(fresh, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got T
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if !equal(got, fresh) {
		t.Errorf("%s no longer says what this code makes", file)
	}
	return got
}

func same[T any](got, want T) bool { return reflect.DeepEqual(got, want) }

var vectorURK, vectorORK = bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)

type userVector struct {
	URK, HPKEPrivate, HPKEPublic, IdentitySeed, IdentityPublic, Scope, Chunker hexBytes
	Gen, Epoch                                                                 uint64
}

type orgVector struct {
	ORK, HPKEPrivate, HPKEPublic, RootSeed, RootPublic, ReceiptSeed, ReceiptPublic hexBytes
	Gen                                                                            uint64
}

type keysVector struct {
	Users []userVector
	Orgs  []orgVector
	Gear  struct {
		Chunker hexBytes
		First   []string // entries of the table, hex
		Cuts    []int    // lengths of chunks of the counter pattern
		Size    int
	}
}

func public(k ed25519.PrivateKey) []byte { return k.Public().(ed25519.PublicKey) }

func TestVectorsKeys(t *testing.T) {
	t.Parallel()
	var v keysVector
	for _, ge := range [][2]uint64{{1, 1}, {2, 10}} {
		u := must(crypt.DeriveUser(backup.Key(vectorURK), ge[0], ge[1]))
		v.Users = append(v.Users, userVector{
			URK: vectorURK, Gen: ge[0], Epoch: ge[1], HPKEPrivate: u.SealPrivate, HPKEPublic: u.SealPublic,
			IdentitySeed: u.Identity.Seed(), IdentityPublic: public(u.Identity), Scope: u.Scope[:], Chunker: u.Chunker[:],
		})
		o := must(crypt.DeriveOrg(backup.Key(vectorORK), ge[0]))
		v.Orgs = append(v.Orgs, orgVector{
			ORK: vectorORK, Gen: ge[0], HPKEPrivate: o.SealPrivate, HPKEPublic: o.SealPublic,
			RootSeed: o.Root.Seed(), RootPublic: public(o.Root), ReceiptSeed: o.Receipt.Seed(), ReceiptPublic: public(o.Receipt),
		})
	}
	v.Gear.Chunker = v.Users[0].Chunker
	table := must(hkdf.Expand(sha256.New, v.Gear.Chunker, "backstay/v1/gear", 2048))
	for i := range 4 {
		v.Gear.First = append(v.Gear.First, fmt.Sprintf("%016x", binary.BigEndian.Uint64(table[8*i:])))
	}
	v.Gear.Size = 6 << 20
	c := chunk.NewChunker(backup.Key(v.Gear.Chunker))
	for b := counter(v.Gear.Size); len(b) > 0; {
		n := c.Cut(b, true)
		v.Gear.Cuts = append(v.Gear.Cuts, n)
		b = b[n:]
	}
	vectors(t, "keys", v, same)
}

// counter is the pattern that long plaintexts have: SHA-256 of 0, 1, 2... as
// u64, joined and cut.
func counter(n int) []byte {
	var b []byte
	for i := uint64(0); len(b) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// lines is a pattern that compresses: the numbers from 0, a line each.
func lines(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d\n", i)
	}
	return b[:n]
}

type objectVector struct {
	Name    string
	Kind    backup.Kind
	Pattern string // "counter", "lines"
	Size    int
	Comp    int
	ID, Key hexBytes
	Padded  int      // len(encoded)
	Sealed  hexBytes `json:",omitempty"` // of short ones
}

type objectsVector struct {
	Secret, Scope hexBytes
	Objects       []objectVector
}

func TestVectorsObjects(t *testing.T) {
	t.Parallel()
	u := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	scope := uuid(0x33)
	s := crypt.NewSealer(u.Scope, scope, crypt.Profile1)
	v := objectsVector{Secret: u.Scope[:], Scope: scope[:]}
	plain := map[string]func(int) []byte{"counter": counter, "lines": lines}
	for i, x := range []struct {
		pattern string
		size    int
		comp    int
	}{
		{"counter", 0, 0}, {"counter", 1, 0}, {"counter", 100, 0}, {"counter", 4091, 0}, {"counter", 65536, 0}, {"counter", 1 << 20, 0}, {"counter", 4 << 20, 0},
		{"lines", 3, 0}, {"lines", 1000, 1}, {"lines", 65536, 1}, {"lines", 1 << 20, 1}, {"lines", 4 << 20, 1},
	} {
		kind := backup.Kind(1 + i%4)
		b := plain[x.pattern](x.size)
		o := must(s.Seal(kind, b))
		ov := objectVector{
			Name: fmt.Sprintf("%s %d", x.pattern, x.size), Kind: kind, Pattern: x.pattern, Size: x.size, Comp: x.comp,
			ID: o.Ref.ID[:], Key: o.Ref.Key[:], Padded: len(o.Sealed) - 16,
		}
		if len(o.Sealed) < 5000 {
			ov.Sealed = o.Sealed
		}
		v.Objects = append(v.Objects, ov)
	}
	for _, o := range vectors(t, "objects", v, same).Objects {
		if o.Sealed == nil {
			continue
		}
		got, err := crypt.Open(nil, scope, o.Kind, backup.Ref{ID: backup.ID(o.ID), Key: backup.Key(o.Key), Len: uint32(o.Size)}, o.Sealed)
		if err != nil || !bytes.Equal(got, plain[o.Pattern](o.Size)) {
			t.Errorf("%s: opened to %d bytes, %v", o.Name, len(got), err)
		}
	}
}

type pageVector struct {
	Plain, Sealed, ID, Key hexBytes
}

type entryVector struct {
	Path   hexBytes // names need not be UTF-8
	Type   string
	Size   uint64   `json:",omitempty"`
	Hash   hexBytes `json:",omitempty"`
	Target string   `json:",omitempty"`
}

type catalogVector struct {
	Secret, Scope, Chunker hexBytes
	Leaf                   pageVector
	Entries                []entryVector
	Inner                  pageVector
	Children               []hexBytes // ids of the pages below Inner
}

func TestVectorsCatalog(t *testing.T) {
	t.Parallel()
	u := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	scope := uuid(0x33)
	v := catalogVector{Secret: u.Scope[:], Scope: scope[:], Chunker: u.Chunker[:]}
	small := smallTree()
	for i := range small {
		e := &small[i]
		ev := entryVector{Path: []byte(e.Path()), Type: e.Type.String(), Size: e.Size, Target: e.Target}
		if e.Type == catalog.File {
			ev.Hash = e.Hash[:]
		}
		v.Entries = append(v.Entries, ev)
	}
	v.Leaf, _ = pages(t, u, small)
	var large []catalog.Entry
	for i := range 3000 {
		large = append(large, file("/large", fmt.Sprintf("file-%04d", i), lines(10+i), 1))
	}
	v.Inner, v.Children = pages(t, u, large)
	vectors(t, "catalog", v, same)
}

// smallTree has every type of entry, and every form of its parts but those
// that need much room.
func smallTree() []catalog.Entry {
	top := func(name string, kind catalog.Type) catalog.Entry {
		return catalog.Entry{Folder: "/", Name: name, Type: kind, Mode: 0o755, Owner: "root", Group: "root", Nlink: 1}
	}
	in := func(name string, kind catalog.Type) catalog.Entry {
		e := top(name, kind)
		e.Folder, e.Mode, e.UID, e.GID, e.Owner, e.Group = "/home", 0o644, 1000, 1000, "user", "users"
		e.Mtime, e.Ctime = catalog.Time{Sec: 1763781363, Nsec: 123456789}, catalog.Time{Sec: -1, Nsec: 999999999}
		e.Ino, e.Dev = 17, 23
		return e
	}
	sparse := file("/home", "sparse", append(append(lines(100), make([]byte, 8092)...), counter(50)...), 1)
	sparse.Holes = []catalog.Hole{{Offset: 100, Length: 8092}}
	sparse.Extents = []catalog.Extent{{Ref: chunkRef(lines(100)), Length: 100}, {Ref: chunkRef(counter(50)), Length: 50}}
	link := in("link", catalog.Symlink)
	link.Target = "../etc/passwd"
	device := in("null", catalog.Char)
	device.Rdev = 0x103
	folder := top("home", catalog.Folder)
	folder.Attrs = []catalog.Attr{{Name: "system.posix_acl_access", Value: "\x02\x00\x00\x00"}, {Name: "user.note", Value: "kept"}}
	torn := file("/home", "torn", lines(20), 1)
	torn.Flags = catalog.Torn
	names := []catalog.Entry{
		file("/home", "a", lines(3), 1), file("/home", "b\xff", lines(1000), 1), file("/home", "empty", nil, 1),
		in("fifo", catalog.Fifo), file("/home", "hard1", lines(7), 2), file("/home", "hard2", lines(7), 2),
		link, device, in("socket", catalog.Socket), sparse, torn,
	}
	return append([]catalog.Entry{folder}, names...)
}

var vectorSealer = sync.OnceValue(func() *crypt.Sealer {
	u := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	return crypt.NewSealer(u.Scope, uuid(0x33), crypt.Profile1)
})

func chunkRef(plain []byte) backup.Ref { return must(vectorSealer().Seal(backup.Data, plain)).Ref }

func file(folder, name string, content []byte, nlink uint32) catalog.Entry {
	e := catalog.Entry{
		Folder: folder, Name: name, Type: catalog.File, Mode: 0o644, UID: 1000, GID: 1000, Owner: "user", Group: "users",
		Mtime: catalog.Time{Sec: 1763781363}, Ctime: catalog.Time{Sec: 1763781363}, Ino: 5, Dev: 6, Nlink: nlink,
		Size: uint64(len(content)), Hash: sha256.Sum256(content),
	}
	if len(content) > 0 {
		e.Extents = []catalog.Extent{{Ref: chunkRef(content), Length: uint32(len(content))}}
	}
	return e
}

// pages writes a catalog and returns its root page and the ids of all others.
func pages(t *testing.T, u crypt.User, entries []catalog.Entry) (root pageVector, others []hexBytes) {
	t.Helper()
	var mu sync.Mutex
	all := map[backup.ID]pageVector{}
	w := catalog.NewWriter(catalog.WriterConfig{Secret: u.Chunker, Seal: func(kind backup.Kind, plain []byte) (backup.Ref, error) {
		o, err := vectorSealer().Seal(kind, plain)
		if err != nil {
			return backup.Ref{}, err
		}
		mu.Lock()
		defer mu.Unlock()
		all[o.Ref.ID] = pageVector{Plain: bytes.Clone(plain), Sealed: o.Sealed, ID: o.Ref.ID[:], Key: o.Ref.Key[:]}
		return o.Ref, nil
	}})
	for i := range entries {
		if err := w.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	ref := must(w.Close())
	for id := range all {
		if id != ref.ID {
			others = append(others, bytes.Clone(id[:]))
		}
	}
	slices.SortFunc(others, func(a, b hexBytes) int { return bytes.Compare(a, b) })
	return all[ref.ID], others
}

type refsVector struct {
	Full, Delta, FullID, DeltaID hexBytes
	IDs, Added, Removed          []hexBytes // IDs after the delta
	Roots                        []hexBytes // Merkle roots of the first 0, 1, 2... of IDs
}

func TestVectorsRefs(t *testing.T) {
	t.Parallel()
	var base []backup.ID
	for i := range 10 {
		base = append(base, sha256.Sum256([]byte{byte(i)}))
	}
	base = SortIDs(base)
	want := SortIDs(append(slices.Clone(base[2:]), sha256.Sum256([]byte{100}), sha256.Sum256([]byte{101})))
	full := (&Refs{Added: base}).Encode()
	added, removed := Diff(base, want)
	delta := (&Refs{Delta: true, Base: RefsID(full), Depth: 1, Added: added, Removed: removed}).Encode()
	fullID, deltaID := RefsID(full), RefsID(delta)
	list := func(ids []backup.ID) (out []hexBytes) {
		for _, id := range ids {
			out = append(out, bytes.Clone(id[:]))
		}
		return out
	}
	v := refsVector{Full: full, Delta: delta, FullID: fullID[:], DeltaID: deltaID[:], IDs: list(want), Added: list(added), Removed: list(removed)}
	for n := range len(want) + 1 {
		root := MerkleRoot(want[:n])
		v.Roots = append(v.Roots, root[:])
	}
	got := vectors(t, "refs", v, same)
	d := must(DecodeRefs(got.Delta))
	if ids := must(d.Materialise(must(DecodeRefs(got.Full)).Added)); !slices.Equal(ids, want) {
		t.Error("the delta gives another list")
	}
}

type manifestVector struct {
	URK, ORK                           hexBytes
	OrgRecord, UserCert, DeviceCert    hexBytes
	DeviceSeed                         hexBytes
	Manifest, Hash, HeaderHash         hexBytes
	SnapshotID                         string
	Private                            hexBytes
	Receipt                            hexBytes
	RootID, RootKey, RefsID, RefsRoot  hexBytes
	Host, SetName, Client              string
	Roots                              []hexBytes
	Errors                             [][2]string
	Seq, Time, Entries, Files, Bytes   uint64
	Org, User, Device, Set, StoreID    string
	WrappedUser, Enrolment, Opening    hexBytes // sealed to pk_org, and to the one-time key
	OneTimePrivate, OneTimePublic      hexBytes
	SecretScope, SecretChunker, DevPub hexBytes
}

func uuid(b byte) backup.UUID { return backup.UUID(bytes.Repeat([]byte{b}, 16)) }

func TestVectorsManifest(t *testing.T) {
	t.Parallel()
	org := must(crypt.DeriveOrg(backup.Key(vectorORK), 1))
	user := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	device := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x44}, 32))
	ids := [4]backup.UUID{uuid(0xa1), uuid(0x33), uuid(0xa3), uuid(0xa4)} // organisation, user, device, set
	record := OrgRecord{Org: ids[0], Gen: 1, Root: [32]byte(public(org.Root)), Receipt: [32]byte(public(org.Receipt)), PublicKey: org.SealPublic}
	record.Sign(org.Root)
	userCert := UserCert{Org: ids[0], User: ids[1], Gen: 1, Identity: [32]byte(public(user.Identity)), PublicKey: user.SealPublic}
	userCert.Sign(org.Root)
	deviceCert := DeviceCert{Org: ids[0], User: ids[1], Device: ids[2], Serial: 7, Key: [32]byte(public(device)), Caps: CapAppend, NotBefore: 1763781363000000}
	deviceCert.Sign(user.Identity)

	refIDs := SortIDs([]backup.ID{sha256.Sum256([]byte("chunk")), sha256.Sum256([]byte("page"))})
	refs := (&Refs{Added: refIDs}).Encode()
	m := &Manifest{Header: Header{
		Org: ids[0], User: ids[1], Device: ids[2], Set: ids[3],
		Seq: 2, Prev: sha256.Sum256([]byte("previous manifest")), Store: uuid(0xa5), Nonce: sha256.Sum256([]byte("nonce")), Time: 1763781363123456,
		Status: Complete, Entries: 12, Files: 7, Bytes: 9999, Unreadable: 1,
		RootID: sha256.Sum256([]byte("page")), RefsID: RefsID(refs), RefsRoot: MerkleRoot(refIDs), RefsCount: 2,
		KeyGen: 1, DedupScope: ScopeUser, Scope: ids[1], Epoch: 1, Chunker: chunk.ID, Profile: crypt.Profile1,
	}}
	private := &Private{
		RootKey: sha256.Sum256([]byte("root key")), RootLen: 4321, Host: "marlin", SetName: "everything", Client: "0.1.0",
		Policy: sha256.Sum256([]byte("policy")), Roots: []string{"/home", "/srv/\xff"}, Errors: []Problem{{"/home/locked", "permission denied"}},
	}
	for i, key := range [][]byte{user.SealPublic, org.SealPublic} {
		if err := m.Seal(ToUser+Recipient(i), key, private); err != nil {
			t.Fatal(err)
		}
	}
	m.Sign(device)
	hash := m.Hash()
	receipt := Receipt{Manifest: hash, Seq: 2, Time: 1763781364000000, GCEpoch: 3}
	receipt.Sign(org.Receipt)
	oneTime, oneTimePub, err := crypt.DeriveKey(bytes.Repeat([]byte{0x55}, 32))
	if err != nil {
		t.Fatal(err)
	}
	plain := must(private.Encode())
	secrets := crypt.Secrets{KeyGen: 1, Epoch: 1, Scope: user.Scope, Chunker: user.Chunker}
	header := sha256.Sum256(m.Header.Encode())
	v := manifestVector{
		URK: vectorURK, ORK: vectorORK, OrgRecord: record.Encode(), UserCert: userCert.Encode(), DeviceCert: deviceCert.Encode(), DeviceSeed: device.Seed(),
		Manifest: m.Encode(), Hash: hash[:], HeaderHash: header[:], SnapshotID: hash.Short(), Private: plain, Receipt: receipt.Encode(),
		RootID: m.RootID[:], RootKey: private.RootKey[:], RefsID: m.RefsID[:], RefsRoot: m.RefsRoot[:],
		Host: private.Host, SetName: private.SetName, Client: private.Client, Roots: []hexBytes{[]byte("/home"), []byte("/srv/\xff")},
		Errors: [][2]string{{"/home/locked", "permission denied"}},
		Seq:    m.Seq, Time: m.Time, Entries: m.Entries, Files: m.Files, Bytes: m.Bytes,
		Org: m.Org.String(), User: m.User.String(), Device: m.Device.String(), Set: m.Set.String(), StoreID: m.Store.String(),
		WrappedUser:    must(crypt.SealUser(org.SealPublic, ids[1], 1, backup.Key(vectorURK))),
		Enrolment:      must(crypt.SealEnrolment(oneTimePub, ids[1], ids[2], public(device), secrets)),
		Opening:        must(crypt.SealOpening(oneTimePub, hash, plain)),
		OneTimePrivate: oneTime, OneTimePublic: oneTimePub, SecretScope: user.Scope[:], SecretChunker: user.Chunker[:], DevPub: public(device),
	}
	got := vectors(t, "manifest", v, func(got, want manifestVector) bool {
		for _, x := range []*manifestVector{&got, &want} { // what is random
			x.Manifest, x.Hash, x.SnapshotID, x.Receipt, x.WrappedUser, x.Enrolment, x.Opening = nil, nil, "", nil, nil, nil, nil
		}
		return same(got, want)
	})
	checkManifest(t, &got)
}

// checkManifest reads the vector as a stranger would.
func checkManifest(t *testing.T, v *manifestVector) {
	t.Helper()
	record, user, device := must(DecodeOrgRecord(v.OrgRecord)), must(DecodeUserCert(v.UserCert)), must(DecodeDeviceCert(v.DeviceCert))
	if err := VerifyChain(record, user, device); err != nil {
		t.Error(err)
	}
	m := must(Decode(v.Manifest))
	if err := VerifyManifest(m, device); err != nil {
		t.Error(err)
	}
	if hash := m.Hash(); !bytes.Equal(hash[:], v.Hash) || hash.Short() != v.SnapshotID || !bytes.Equal(m.Encode(), v.Manifest) {
		t.Errorf("the manifest's hash is %v, want %x", hash, v.Hash)
	}
	u, o := must(crypt.DeriveUser(backup.Key(v.URK), 1, 1)), must(crypt.DeriveOrg(backup.Key(v.ORK), 1))
	if got := must(m.Open(u.SealPrivate, u.SealPublic)); !bytes.Equal(got, v.Private) {
		t.Error("the user opens something else")
	}
	if got := must(m.Open(o.SealPrivate, o.SealPublic)); !bytes.Equal(got, v.Private) {
		t.Error("the organisation opens something else")
	}
	receipt := must(DecodeReceipt(v.Receipt))
	if err := receipt.Verify(record.Receipt[:]); err != nil || receipt.Manifest != backup.Hash(v.Hash) {
		t.Errorf("the receipt is for %v: %v", receipt.Manifest, err)
	}
	if got := must(crypt.OpenUser(o.SealPrivate, m.User, 1, v.WrappedUser)); !bytes.Equal(got[:], v.URK) {
		t.Error("W_org opens to something else")
	}
	if got := must(crypt.OpenEnrolment(v.OneTimePrivate, m.User, m.Device, v.DevPub, v.Enrolment)); got != (crypt.Secrets{KeyGen: 1, Epoch: 1, Scope: u.Scope, Chunker: u.Chunker}) {
		t.Error("the enrolment opens to something else")
	}
	if got := must(crypt.OpenOpening(v.OneTimePrivate, backup.Hash(v.Hash), v.Opening)); !bytes.Equal(got, v.Private) {
		t.Error("the opening opens to something else")
	}
}

type wrapVector struct{ KEK, AAD, X, Wrapped hexBytes }

func TestVectorsWrap(t *testing.T) {
	t.Parallel()
	v := wrapVector{KEK: bytes.Repeat([]byte{0x66}, 32), AAD: []byte("for the vectors"), X: []byte("a secret of some length")}
	v.Wrapped = crypt.Wrap(v.KEK, v.AAD, v.X)
	got := vectors(t, "wrap", v, func(got, want wrapVector) bool {
		got.Wrapped, want.Wrapped = nil, nil
		return same(got, want)
	})
	if x := must(crypt.Unwrap(got.KEK, got.AAD, got.Wrapped)); !bytes.Equal(x, got.X) {
		t.Error("unwrapped to something else")
	}
}

type packVector struct {
	Pack    hexBytes
	Class   backup.Class
	Time    uint64
	IDs     []hexBytes
	Kinds   []int
	Offsets []uint64
	Lengths []uint32
}

func TestVectorsPack(t *testing.T) {
	t.Parallel()
	u := must(crypt.DeriveUser(backup.Key(vectorURK), 1, 1))
	s := crypt.NewSealer(u.Scope, uuid(0x33), crypt.Profile1)
	var out bytes.Buffer
	h := pack.Head{Class: backup.ClassMetadata, Org: uuid(0xa1), User: uuid(0x33), Device: uuid(0xa3), Time: 1763781363123456}
	w := must(pack.NewWriter(&out, h))
	for i, plain := range [][]byte{lines(10), lines(2000), counter(300)} {
		o := must(s.Seal(backup.Kind(2+i), plain))
		if err := w.Add(o.Kind, o.Ref.ID, o.Sealed); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	v := packVector{Pack: out.Bytes(), Class: h.Class, Time: h.Time}
	for _, e := range w.Entries() {
		v.IDs, v.Kinds = append(v.IDs, bytes.Clone(e.ID[:])), append(v.Kinds, int(e.Kind))
		v.Offsets, v.Lengths = append(v.Offsets, e.Offset), append(v.Lengths, e.Len)
	}
	got := vectors(t, "pack", v, same)
	head, entries, err := pack.ReadIndex(bytes.NewReader(got.Pack), int64(len(got.Pack)))
	if err != nil || head != h || len(entries) != 3 {
		t.Errorf("the pack reads as %v with %d records, %v", head, len(entries), err)
	}
	n := 0
	_, err = pack.Scan(bytes.NewReader(got.Pack), func(e pack.Entry, sealed []byte) error {
		if e != entries[n] || sha256.Sum256(sealed) != e.ID {
			return io.ErrUnexpectedEOF
		}
		n++
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("scanned %d records, %v", n, err)
	}
}
