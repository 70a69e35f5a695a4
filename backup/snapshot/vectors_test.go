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
	"testing"

	"github.com/backstay/backstay/backup"
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
