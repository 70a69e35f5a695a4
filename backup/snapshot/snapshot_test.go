package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/errs"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// people is an organisation with a user and a device.
type people struct {
	org    crypt.Org
	user   crypt.User
	device ed25519.PrivateKey

	orgRecord  OrgRecord
	userCert   UserCert
	deviceCert DeviceCert
}

func newPeople(seed byte) *people {
	p := &people{
		org:    must(crypt.DeriveOrg(backup.Key{seed, 1}, 1)),
		user:   must(crypt.DeriveUser(backup.Key{seed, 2}, 1, 1)),
		device: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)),
	}
	pub := func(k ed25519.PrivateKey) [32]byte { return [32]byte(k.Public().(ed25519.PublicKey)) }
	p.orgRecord = OrgRecord{Org: backup.UUID{1, seed}, Gen: 1, Root: pub(p.org.Root), Receipt: pub(p.org.Receipt), PublicKey: p.org.SealPublic}
	p.orgRecord.Sign(p.org.Root)
	p.userCert = UserCert{Org: backup.UUID{1, seed}, User: backup.UUID{2, seed}, Gen: 1, Identity: pub(p.user.Identity), PublicKey: p.user.SealPublic}
	p.userCert.Sign(p.org.Root)
	p.deviceCert = DeviceCert{
		Org: backup.UUID{1, seed}, User: backup.UUID{2, seed}, Device: backup.UUID{3, seed},
		Serial: 1, Key: pub(p.device), Caps: CapAppend, NotBefore: 5,
	}
	p.deviceCert.Sign(p.user.Identity)
	return p
}

func (p *people) manifest() *Manifest {
	return &Manifest{Header: Header{
		Org: p.deviceCert.Org, User: p.deviceCert.User, Device: p.deviceCert.Device, Set: backup.UUID{4},
		Seq: 2, Prev: backup.Hash{5}, Store: backup.UUID{6}, Nonce: [32]byte{7}, Time: 8,
		Status: Complete, Entries: 9, Files: 10, Bytes: 11, Unreadable: 12,
		RootID: backup.ID{13}, RefsID: backup.Hash{14}, RefsRoot: backup.Hash{15}, RefsCount: 16,
		KeyGen: 1, DedupScope: ScopeUser, Scope: p.deviceCert.User, Epoch: 1, Chunker: 1, Profile: 1,
	}}
}

var private = Private{
	RootKey: backup.Key{1}, RootLen: 2, Host: "host", SetName: "set", Client: "0.1", Policy: backup.Hash{3},
	Roots: []string{"/home", "/srv"}, Errors: []Problem{{"/home/locked", "permission denied"}},
}

func (p *people) signed() *Manifest {
	m := p.manifest()
	for to, key := range map[Recipient][]byte{ToUser: p.user.SealPublic, ToOrg: p.org.SealPublic} {
		if err := m.Seal(to, key, &private); err != nil {
			panic(err)
		}
	}
	m.Sign(p.device)
	return m
}

func TestManifest(t *testing.T) {
	t.Parallel()
	p := newPeople(1)
	m := p.signed()
	b := m.Encode()
	if len(b) > MaxManifest {
		t.Errorf("a manifest of %d bytes", len(b))
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) || !bytes.Equal(got.Encode(), b) || got.Hash() != sha256.Sum256(b) {
		t.Errorf("decoded to %+v, want %+v", got, m)
	}
	if err := VerifyManifest(got, &p.deviceCert); err != nil {
		t.Error(err)
	}
	for name, keys := range map[string][2][]byte{
		"user":         {p.user.SealPrivate, p.user.SealPublic},
		"organisation": {p.org.SealPrivate, p.org.SealPublic},
	} {
		plain, err := got.Open(keys[0], keys[1])
		if err != nil {
			t.Errorf("opening as the %s: %v", name, err)
			continue
		}
		priv, err := DecodePrivate(plain)
		if err != nil || !reflect.DeepEqual(priv, &private) {
			t.Errorf("opened as the %s to %+v, %v", name, priv, err)
		}
		if ref := priv.Root(&got.Header); ref != (backup.Ref{ID: backup.ID{13}, Key: backup.Key{1}, Len: 2}) {
			t.Errorf("the root is %v", ref.ID)
		}
	}
	other := newPeople(2)
	if _, err := got.Open(other.user.SealPrivate, other.user.SealPublic); !errs.Is(err, errs.Mismatch) {
		t.Errorf("opened by somebody else: %v, want E1506", err)
	}
}

// Whatever is changed about a manifest, it no longer decodes, verifies or opens.
func TestManifestNoticesEveryChange(t *testing.T) {
	t.Parallel()
	p := newPeople(1)
	b := p.signed().Encode()
	for i := 0; i < len(b); i++ {
		if i > 500 && i%37 != 0 && i < len(b)-100 {
			continue // inside long ciphertexts some are enough
		}
		bad := bytes.Clone(b)
		bad[i] ^= 1
		m, err := Decode(bad)
		if err == nil {
			err = VerifyManifest(m, &p.deviceCert)
		}
		if !errs.Is(err, errs.Mismatch) {
			t.Errorf("byte %d of %d changed: %v, want E1506", i, len(b), err)
		}
	}
	// A signature by the device over a header that the copies are not bound
	// to: a copy from another manifest is no use.
	m := p.signed()
	m.Seq++
	m.Sign(p.device)
	if err := VerifyManifest(m, &p.deviceCert); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(p.user.SealPrivate, p.user.SealPublic); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a copy sealed for another header: %v, want E1506", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	p := newPeople(1)
	for name, change := range map[string]func(*Manifest){
		"seq 0":                 func(m *Manifest) { m.Seq, m.Prev = 0, backup.Hash{} },
		"seq 0 with previous":   func(m *Manifest) { m.Seq = 0 },
		"first with previous":   func(m *Manifest) { m.Seq = 1 },
		"second without":        func(m *Manifest) { m.Prev = backup.Hash{} },
		"unknown status":        func(m *Manifest) { m.Status = 4 },
		"no status":             func(m *Manifest) { m.Status = 0 },
		"unknown dedup mode":    func(m *Manifest) { m.DedupMode = 1 },
		"unknown dedup scope":   func(m *Manifest) { m.DedupScope = 3 },
		"unknown chunker":       func(m *Manifest) { m.Chunker = 2 },
		"no profile":            func(m *Manifest) { m.Profile = 0 },
		"unknown recipient":     func(m *Manifest) { m.Sealed[0].Recipient = 3 },
		"too many copies":       func(m *Manifest) { m.Sealed = slices.Repeat(m.Sealed, 5) },
		"too long a copy":       func(m *Manifest) { m.Sealed[0].CT = make([]byte, maxCT+1) },
		"too long a key's copy": func(m *Manifest) { m.Sealed[0].Enc = make([]byte, 1121) },
	} {
		m := p.signed()
		change(m)
		if _, err := Decode(m.Encode()); !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
	}
	if _, err := Decode(append(p.signed().Encode(), 0)); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a byte more: %v, want E1506", err)
	}
}

func TestPrivateKeepsItsLimit(t *testing.T) {
	t.Parallel()
	p := private
	p.Errors = slices.Repeat([]Problem{{strings.Repeat("/long", 100), "permission denied"}}, 1000)
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodePrivate(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > backup.MaxPrivate || len(b) < backup.MaxPrivate-600 || len(got.Errors) == 0 || !reflect.DeepEqual(got.Errors, p.Errors[:len(got.Errors)]) {
		t.Errorf("%d bytes with %d errors", len(b), len(got.Errors))
	}
	p.Roots = slices.Repeat([]string{strings.Repeat("/long", 100)}, 1000)
	if _, err := p.Encode(); err == nil {
		t.Error("more folders than fit were encoded")
	}
	if _, err := DecodePrivate(append(b, make([]byte, 1000)...)); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a private part over its limit: %v, want E1506", err)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	p := newPeople(1)
	org := must(DecodeOrgRecord(p.orgRecord.Encode()))
	user := must(DecodeUserCert(p.userCert.Encode()))
	device := must(DecodeDeviceCert(p.deviceCert.Encode()))
	if !reflect.DeepEqual(*org, p.orgRecord) || !reflect.DeepEqual(*user, p.userCert) || !reflect.DeepEqual(*device, p.deviceCert) {
		t.Error("decoded to something else")
	}
	if err := VerifyChain(org, user, device); err != nil {
		t.Fatal(err)
	}
	receipt := Receipt{Manifest: backup.Hash{1}, Seq: 2, Time: 3, GCEpoch: 4}
	receipt.Sign(p.org.Receipt)
	got := must(DecodeReceipt(receipt.Encode()))
	if err := got.Verify(org.Receipt[:]); err != nil || *got != receipt {
		t.Errorf("receipt %+v: %v", got, err)
	}
	check := map[string]func(b []byte) error{
		"org": func(b []byte) error {
			r, err := DecodeOrgRecord(b)
			if err != nil {
				return err
			}
			return VerifyChain(r, user, device)
		},
		"user": func(b []byte) error {
			c, err := DecodeUserCert(b)
			if err != nil {
				return err
			}
			return VerifyChain(org, c, device)
		},
		"device": func(b []byte) error {
			c, err := DecodeDeviceCert(b)
			if err != nil {
				return err
			}
			return VerifyChain(org, user, c)
		},
		"receipt": func(b []byte) error {
			r, err := DecodeReceipt(b)
			if err != nil {
				return err
			}
			return r.Verify(org.Receipt[:])
		},
	}
	for name, b := range map[string][]byte{
		"org": p.orgRecord.Encode(), "user": p.userCert.Encode(), "device": p.deviceCert.Encode(), "receipt": receipt.Encode(),
	} {
		if err := check[name](b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if err := check[name](bad); !errs.Is(err, errs.Mismatch) {
				t.Errorf("%s, byte %d changed: %v, want E1506", name, i, err)
			}
		}
		if err := check[name](b[:len(b)-1]); !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s, cut: %v, want E1506", name, err)
		}
	}
}

// Every signature of the chain may be good, and still not be about this user.
func TestChainMustBelongTogether(t *testing.T) {
	t.Parallel()
	p, q := newPeople(1), newPeople(2)
	for name, err := range map[string]error{
		"another organisation": VerifyChain(&q.orgRecord, &p.userCert, &p.deviceCert),
		"another user":         VerifyChain(&p.orgRecord, &q.userCert, &p.deviceCert),
		"another device":       VerifyChain(&p.orgRecord, &p.userCert, &q.deviceCert),
	} {
		if !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
	}
	// The right keys, but ids that do not agree.
	user := p.userCert
	user.Org = q.userCert.Org
	user.Sign(p.org.Root)
	device := p.deviceCert
	device.Org = q.deviceCert.Org
	device.Sign(p.user.Identity)
	owner := p.deviceCert
	owner.User = q.deviceCert.User
	owner.Sign(p.user.Identity)
	for name, err := range map[string]error{
		"user of another organisation":   VerifyChain(&p.orgRecord, &user, &p.deviceCert),
		"device of another organisation": VerifyChain(&p.orgRecord, &p.userCert, &device),
		"device of another user":         VerifyChain(&p.orgRecord, &p.userCert, &owner),
	} {
		if !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
	}
	// A colleague of the same organisation signs for this user's device.
	forged := p.deviceCert
	forged.Sign(q.user.Identity)
	if err := VerifyChain(&p.orgRecord, &p.userCert, &forged); !errs.Is(err, errs.Mismatch) {
		t.Errorf("certified by a colleague: %v, want E1506", err)
	}
	m := p.signed()
	m.Device = q.deviceCert.Device
	m.Sign(p.device)
	if err := VerifyManifest(m, &p.deviceCert); !errs.Is(err, errs.Mismatch) {
		t.Errorf("signed for another device: %v, want E1506", err)
	}
	m = p.signed()
	m.Signer[0] ^= 1
	copy(m.Signature[:], crypt.Sign(p.device, "manifest", m.body()))
	if err := VerifyManifest(m, &p.deviceCert); !errs.Is(err, errs.Mismatch) {
		t.Errorf("naming another signer: %v, want E1506", err)
	}
	m = p.signed()
	m.Sign(q.device)
	if err := VerifyManifest(m, &p.deviceCert); !errs.Is(err, errs.Mismatch) {
		t.Errorf("signed with another device's key: %v, want E1506", err)
	}
}

func ids(t *rapid.T, name string) []backup.ID {
	out := make([]backup.ID, 0)
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 60).Draw(t, name) {
		out = append(out, sha256.Sum256([]byte{byte(n)}))
	}
	return SortIDs(out)
}

func TestRefs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base, want := ids(t, "base"), ids(t, "ids")
		full := Refs{Added: want}
		back := must(DecodeRefs(full.Encode()))
		if got := must(back.Materialise(nil)); !slices.Equal(got, want) {
			t.Fatal("a full list came back as another")
		}
		added, removed := Diff(base, want)
		delta := Refs{Delta: true, Base: backup.Hash{1}, Depth: 3, Added: added, Removed: removed}
		back = must(DecodeRefs(delta.Encode()))
		if back.Base != delta.Base || back.Depth != 3 || !bytes.Equal(back.Encode(), delta.Encode()) {
			t.Fatal("a delta came back as another")
		}
		if got := must(back.Materialise(base)); !slices.Equal(got, want) {
			t.Fatal("a delta gave another list")
		}
		if len(base) > 0 {
			again := Refs{Delta: true, Depth: 1, Added: base[:1]}
			if _, err := again.Materialise(base); !errs.Is(err, errs.Mismatch) {
				t.Fatalf("adding what is there: %v, want E1506", err)
			}
		}
		strange := Refs{Delta: true, Depth: 1, Removed: []backup.ID{sha256.Sum256([]byte("strange"))}}
		if _, err := strange.Materialise(base); !errs.Is(err, errs.Mismatch) {
			t.Fatalf("removing what is not there: %v, want E1506", err)
		}
	})
}

func TestDecodeRefsRefuses(t *testing.T) {
	t.Parallel()
	a, b := backup.ID{1}, backup.ID{2}
	huge := (&Refs{}).Encode()
	huge[2] = 0xff
	tests := map[string][]byte{
		"order":         (&Refs{Added: []backup.ID{b, a}}).Encode(),
		"twice":         (&Refs{Added: []backup.ID{a, a}}).Encode(),
		"order removed": (&Refs{Delta: true, Depth: 1, Removed: []backup.ID{b, a}}).Encode(),
		"depth 0":       (&Refs{Delta: true}).Encode(),
		"depth 17":      (&Refs{Delta: true, Depth: 17}).Encode(),
		"huge count":    huge,
		"version":       append([]byte{2}, (&Refs{}).Encode()[1:]...),
		"form":          append([]byte{1, 3}, (&Refs{}).Encode()[2:]...),
		"rest":          append((&Refs{}).Encode(), 0),
		"nothing":       nil,
	}
	for name, b := range tests {
		if _, err := DecodeRefs(b); !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
	}
}

// merkle is RFC 9162, 2.1.1, word for word.
func merkle(ids []backup.ID) backup.Hash {
	switch len(ids) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, ids[0][:]...))
	}
	k := 1
	for k*2 < len(ids) {
		k *= 2
	}
	left, right := merkle(ids[:k]), merkle(ids[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func TestMerkleRoot(t *testing.T) {
	t.Parallel()
	var list []backup.ID
	for i := range 300 {
		if got, want := MerkleRoot(list), merkle(list); got != want {
			t.Fatalf("%d leaves: root %v, want %v", len(list), got, want)
		}
		list = append(list, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
}

func FuzzManifest(f *testing.F) {
	m := newPeople(1).signed()
	m.Sealed[0].CT, m.Sealed[1].Enc = m.Sealed[0].CT[:20], m.Sealed[1].Enc[:20]
	f.Add(m.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzz(t, b, Decode, (*Manifest).Encode)
	})
}

func FuzzPrivate(f *testing.F) {
	f.Add(must(private.Encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzz(t, b, DecodePrivate, func(p *Private) []byte { return must(p.Encode()) })
	})
}

func FuzzRefs(f *testing.F) {
	f.Add((&Refs{Added: []backup.ID{{1}, {2}}}).Encode())
	f.Add((&Refs{Delta: true, Depth: 2, Added: []backup.ID{{1}}, Removed: []backup.ID{{3}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzz(t, b, DecodeRefs, (*Refs).Encode)
	})
}

func FuzzCertificates(f *testing.F) {
	p := newPeople(1)
	for _, b := range [][]byte{p.orgRecord.Encode(), p.userCert.Encode(), p.deviceCert.Encode(), (&Receipt{}).Encode()} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzz(t, b, DecodeOrgRecord, (*OrgRecord).Encode)
		fuzz(t, b, DecodeUserCert, (*UserCert).Encode)
		fuzz(t, b, DecodeDeviceCert, (*DeviceCert).Encode)
		fuzz(t, b, DecodeReceipt, (*Receipt).Encode)
	})
}

// fuzz holds a decoder to: refuse, or have read exactly these bytes.
func fuzz[T any](t *testing.T, b []byte, decode func([]byte) (*T, error), encode func(*T) []byte) {
	t.Helper()
	v, err := decode(b)
	if err != nil {
		if !errs.Is(err, errs.Mismatch) {
			t.Fatalf("%v, want E1506", err)
		}
		return
	}
	if !bytes.Equal(encode(v), b) {
		t.Fatal("the value has another encoding")
	}
}
