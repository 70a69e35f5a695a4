package authattack_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/server/servertest"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// device asks the devices' interface by hand, with what tokens there are. The
// body is JSON where it begins like it.
func (w *world) device(method, call, token, user string, body []byte) answer {
	w.Helper()
	b := w.browser()
	r := b.request(method, wire.Prefix+call, bytes.NewReader(body))
	r.Header.Del("Origin")
	r.Header.Del("Sec-Fetch-Site")
	r.Header.Set("Content-Type", wire.MediaTypeOctets)
	if bytes.HasPrefix(body, []byte("{")) && utf8.Valid(body) { // ids may begin so, too
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if user != "" {
		r.Header.Set(wire.HeaderUserToken, user)
	}
	return b.do(r)
}

// message is JSON, of names and values in turn.
func message(fields ...any) []byte {
	object := map[string]any{}
	for i := 0; i+1 < len(fields); i += 2 {
		object[fields[i].(string)] = fields[i+1]
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(err) // a test's own text
	}
	return text
}

// asked is the answer to a call that must work, read into out.
func (w *world) asked(a answer, out any) {
	w.Helper()
	if a.StatusCode >= 300 {
		w.Fatalf("%s %s = %s %s", a.Request.Method, a.Request.URL.Path, a.Status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), out); err != nil {
		w.Fatal(err)
	}
}

// deviceToken proves a device's key.
func (w *world) deviceToken(d *servertest.Device) string {
	w.Helper()
	var c wire.Challenge
	w.asked(w.device(http.MethodPost, "challenge", "", "", message("device_id", d.DeviceID)), &c)
	var token wire.Token
	w.asked(w.device(http.MethodPost, "token", "", "", message("device_id", d.DeviceID, "challenge", c.Challenge, "signature", w.signed(d, c.Challenge))), &token)
	return token.Token
}

// signed is a challenge, signed by a device.
func (w *world) signed(d *servertest.Device, challenge []byte) []byte {
	w.Helper()
	device, store := w.uuid(d.DeviceID), w.Vault.StoreID()
	return crypt.Sign(d.Signing, "token", append(append(append([]byte{}, device[:]...), store[:]...), challenge...))
}

func (w *world) uuid(text string) backup.UUID {
	w.Helper()
	id, err := backup.ParseUUID(text)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// userToken proves that a device's user is there.
func (w *world) userToken(d *servertest.Device) string {
	w.Helper()
	var token wire.Token
	w.asked(w.device(http.MethodPost, "user-token", w.deviceToken(d), "", message("password", servertest.UserPassword)), &token)
	return token.Token
}

// backedUp is a snapshot that a device has made, of one object and its page.
type backedUp struct {
	hash    string // of the snapshot
	objects []backup.ID
}

// backUp makes one.
func (w *world) backUp(d *servertest.Device) backedUp {
	w.Helper()
	s, err := d.Client.OpenSession(w.Context(), d.SetID)
	if err != nil {
		w.Fatal(err)
	}
	scope := w.uuid(d.ScopeID)
	sealer := crypt.NewSealer(d.Secrets.Scope, scope, crypt.Profile1)
	var all []backup.Object
	for _, part := range []struct {
		kind backup.Kind
		text string
	}{{backup.Page, "the page of " + d.DeviceID}, {backup.Data, "the secret of " + d.DeviceID}} {
		o, err := sealer.Seal(part.kind, []byte(part.text))
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, o)
		records := append(pack.AppendHead(nil, o.Kind, o.Ref.ID, len(o.Sealed)), o.Sealed...)
		if a, err := d.Client.Put(w.Context(), s.SessionID, putID(), o.Kind.Class(), 0, wiretest.Body(records), nil); err != nil || a.Records != 1 {
			w.Fatalf("putting an object: %+v, %v", a, err)
		}
	}
	manifest, refs := w.manifest(d, s, all)
	done, err := d.Client.Commit(w.Context(), s.SessionID, manifest, refs, wire.Lacking{})
	if err != nil {
		w.Fatal(err)
	}
	return backedUp{done.Hash, []backup.ID{all[0].Ref.ID, all[1].Ref.ID}}
}

func putID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// manifest makes the manifest and the references of a snapshot of all, the
// first of which is its root.
func (w *world) manifest(d *servertest.Device, s wire.Session, all []backup.Object) (manifest, refs []byte) {
	w.Helper()
	var ids []backup.ID
	for _, o := range all {
		ids = append(ids, o.Ref.ID)
	}
	ids = snapshot.SortIDs(ids)
	list := snapshot.Refs{Added: ids}
	refs = list.Encode()
	m := &snapshot.Manifest{Header: snapshot.Header{
		User: w.uuid(d.ScopeID), Org: w.uuid(d.OrgID), Device: w.uuid(d.DeviceID), Set: w.uuid(d.SetID), Store: w.Vault.StoreID(),
		Seq: 1, Time: uint64(time.Now().UnixMicro()), Status: snapshot.Complete, Entries: 2, Files: 1, Bytes: 99,
		RootID: all[0].Ref.ID, RefsID: snapshot.RefsID(refs), RefsRoot: snapshot.MerkleRoot(ids), RefsCount: uint64(len(ids)),
		KeyGen: d.KeyGen, DedupScope: snapshot.ScopeUser, Scope: w.uuid(d.ScopeID), Epoch: d.Epoch, Chunker: 1, Profile: 1,
	}}
	copy(m.Nonce[:], s.Nonce)
	org, err := snapshot.DecodeOrgRecord(d.OrgRecord)
	if err != nil {
		w.Fatal(err)
	}
	private := &snapshot.Private{RootKey: all[0].Ref.Key, RootLen: all[0].Ref.Len, Host: d.DeviceName}
	for to, key := range map[snapshot.Recipient][]byte{snapshot.ToUser: d.UserKey, snapshot.ToOrg: org.PublicKey} {
		if err := m.Seal(to, key, private); err != nil {
			w.Fatal(err)
		}
	}
	m.Sign(d.Signing)
	return m.Encode(), refs
}

// A device's token is good only as it was given out, for what it is, until it
// ends; and so is a user's.
func forgedDeviceTokens(t testing.TB) {
	w := newWorld(t)
	d := w.NewDevice(w.User, "laptop")
	token, user := w.deviceToken(d), w.userToken(d)
	none := make([]byte, 4)
	if a := w.device(http.MethodPost, "read", token, user, none); a.StatusCode != http.StatusOK {
		t.Fatalf("the tokens as they are = %s %s", a.Status, a.body)
	}
	refused := func(what, token, user string) {
		t.Helper()
		a := w.device(http.MethodPost, "read", token, user, none)
		if a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s %s", what, a.Status, a.body)
		}
		if len(token) > 8 && strings.Contains(a.body, token) || len(user) > 8 && strings.Contains(a.body, user) {
			t.Errorf("%s is said again: %s", what, a.body)
		}
	}
	for what, wrong := range near(token) {
		refused("a device's token, "+what, wrong, user)
	}
	for what, wrong := range near(user) {
		refused("a user's token, "+what, token, wrong)
	}
	refused("both tokens, exchanged", user, token)
	refused("a device's token twice", token, token)
	refused("a user's token twice", user, user)
	// Of another computer of the same user, a user's token is none.
	second := w.NewDevice(w.User, "desktop")
	refused("a user's token at another computer", w.deviceToken(second), user)
	// Nor is either a session of a browser.
	b := w.browser()
	for _, wrong := range []string{token, user} {
		if b.setSession(wrong); b.in() {
			t.Error("a device's token is a session")
		}
	}
	for _, path := range []string{wire.Prefix + "profile?token=" + token, wire.Prefix + "profile?access_token=" + token} {
		if a := b.do(b.request(http.MethodGet, path, nil)); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a token in an address = %s", a.Status)
		}
	}
	w.challenges(d)
	text := w.logs.String()
	if strings.Contains(text, token) || strings.Contains(text, user) {
		t.Error("the log has a token")
	}
	w.wait(25 * time.Hour)
	refused("tokens of yesterday", token, user)
}

// challenges tries those of one device, and what was signed, in other ways.
func (w *world) challenges(d *servertest.Device) {
	w.Helper()
	challenge := func(id string) []byte {
		var c wire.Challenge
		w.asked(w.device(http.MethodPost, "challenge", "", "", message("device_id", id)), &c)
		return c.Challenge
	}
	prove := func(what string, challenge, signature []byte) {
		w.Helper()
		a := w.device(http.MethodPost, "token", "", "", message("device_id", d.DeviceID, "challenge", challenge, "signature", signature))
		if a.StatusCode != http.StatusUnauthorized {
			w.Errorf("%s = %s", what, a.Status)
		}
	}
	other := w.NewDevice(w.User, "a third")
	c := challenge(d.DeviceID)
	prove("a challenge, signed by another device", c, w.signed(other, c))
	c = challenge(other.DeviceID)
	prove("another device's challenge", c, w.signed(d, c))
	c = challenge(d.DeviceID)
	good := w.signed(d, c)
	var token wire.Token
	w.asked(w.device(http.MethodPost, "token", "", "", message("device_id", d.DeviceID, "challenge", c, "signature", good)), &token)
	prove("a challenge, for the second time", c, good)
	c = challenge(d.DeviceID)
	prove("the signature of a challenge before", c, good)
	prove("no signature", c, nil)
	w.wait(2 * time.Minute)
	prove("a challenge of two minutes ago", c, w.signed(d, c))
	made := bytes.Repeat([]byte{7}, len(c))
	prove("a challenge that was made up", made, w.signed(d, made))
}

// read4 is a body that asks to read objects.
func read4(ids []backup.ID) []byte {
	body := []byte{0, 0, 0, byte(len(ids))}
	for i := range ids {
		body = append(body, ids[i][:]...)
	}
	return body
}
