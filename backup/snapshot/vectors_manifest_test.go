package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/chunk"
	"github.com/backstay/backstay/backup/crypt"
)

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
