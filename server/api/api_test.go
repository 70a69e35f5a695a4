package api

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

func TestWholeWay(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	hello, err := h.client("", nil).Hello(t.Context())
	if err != nil || hello.Name != "Test server" || hello.MinClient != MinClient {
		t.Errorf("Hello = %+v, %v", hello, err)
	}
	alice := h.newUser("alice")
	d := h.activate("alice")
	if d.UserID != string(alice.ID) || d.DeviceName != "laptop" || d.Activated.Profile.Version == 0 || len(d.Activated.Profile.Settings) == 0 {
		t.Errorf("Activate answers %+v", d.Activated)
	}
	d.checkCerts()
	committed, root, chunk := d.backup("the content")

	list, err := d.Snapshots(t.Context())
	if err != nil || len(list) != 1 || list[0].Hash != committed.Hash || list[0].Status != "complete" || list[0].Bytes != 1000 {
		t.Errorf("Snapshots = %+v, %v", list, err)
	}
	u, err := d.Login(t.Context(), password, nil)
	if err != nil {
		t.Fatal(err)
	}
	private, public, _ := crypt.GenerateKey()
	o, err := u.Open(t.Context(), committed.Hash, public)
	if err != nil {
		t.Fatal(err)
	}
	m, err := snapshot.Decode(o.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := crypt.OpenOpening(private, m.Hash(), o.Opening)
	if err != nil {
		t.Fatal(err)
	}
	p, err := snapshot.DecodePrivate(plain)
	if err != nil || p.Root(&m.Header) != root.Ref {
		t.Errorf("the opening holds %+v, %v", p, err)
	}
	token, err := d.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[backup.ID]string{}
	err = d.Read(t.Context(), token.Token, []backup.ID{chunk.Ref.ID, root.Ref.ID, {1}}, func(kind backup.Kind, id backup.ID, sealed []byte) error {
		if kind == backup.Missing {
			got[id] = "missing"
			return nil
		}
		ref := chunk.Ref
		if id == root.Ref.ID {
			ref = root.Ref
		}
		text, err := crypt.Open(nil, d.Scope(), kind, ref, sealed)
		got[id] = string(text)
		return err
	})
	if err != nil || got[chunk.Ref.ID] != "the content" || got[root.Ref.ID] != "page of the content" || got[backup.ID{1}] != "missing" {
		t.Errorf("Read gives %v, %v", got, err)
	}
	if n := h.received.Load(); n != int64(len(wiretest.Records(root))+len(wiretest.Records(chunk))) {
		t.Errorf("%d bytes of puts were counted", n)
	}
	var dev devices.Device
	h.DB.Read(t.Context(), func(tx *db.Tx) (err error) {
		dev, err = devices.Find(t.Context(), tx, devices.ID(d.DeviceID))
		return err
	})
	if dev.LastSnapshot != committed.Snapshot || dev.StoredBytes != 1000 || dev.LastBackupAt.IsZero() {
		t.Errorf("the device's last backup is %q, %d bytes, %v", dev.LastSnapshot, dev.StoredBytes, dev.LastBackupAt)
	}
}

func (d *machine) checkCerts() {
	d.h.t.Helper()
	org, err := snapshot.DecodeOrgRecord(d.OrgRecord)
	if err != nil {
		d.h.t.Fatal(err)
	}
	user, err := snapshot.DecodeUserCert(d.UserCert)
	if err != nil {
		d.h.t.Fatal(err)
	}
	device, err := snapshot.DecodeDeviceCert(d.DeviceCert)
	if err != nil {
		d.h.t.Fatal(err)
	}
	if err := snapshot.VerifyChain(org, user, device); err != nil {
		d.h.t.Error(err)
	}
	if !bytes.Equal(device.Key[:], d.Signing.Public().(ed25519.PublicKey)) {
		d.h.t.Error("the certificate is for another key")
	}
}

// Whose quota a backup nearly fills is told with it, not with the next look at
// all users.
func TestBackupTellsOfQuota(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	box := h.mails()
	alice := h.newUser("alice")
	limit := int64(1200)
	err := h.DB.Write(t.Context(), func(tx *db.Tx) error {
		return accounts.SetQuota(t.Context(), tx, access.System("test"), alice.ID, &limit)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.activate("alice").backup("the content") // 1000 bytes, it says
	if m := box.Wait("alice@example.org", mail.QuotaFilling); !strings.Contains(m.Subject, "83%") {
		t.Errorf("the subject is %q", m.Subject)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	bearer := []string{"Authorization", "Bearer " + d.deviceToken()}
	with := func(more ...string) []string { return append(slices.Clone(bearer), more...) }
	const jsonType, bytesType = "application/json", wire.MediaTypeOctets
	for _, c := range []struct {
		name, method, path, media, body string
		header                          []string
		status                          int
		code, key                       string
	}{
		{"nowhere", "GET", "nothing", "", "", bearer, 404, "", "request.path"},
		{"another method", "DELETE", "snapshots", "", "", bearer, 404, "", "request.path"},
		{"old client", "GET", "snapshots", "", "", with(wire.HeaderVersion, "0.0"), 426, "E1005", "error.E1005"},
		{"no version", "GET", "snapshots", "", "", with(wire.HeaderVersion, ""), 426, "E1005", "error.E1005"},
		{"no token", "GET", "snapshots", "", "", nil, 401, "", "device.token.ended"},
		{"another's kind of token", "GET", "snapshots", "", "", []string{"Authorization", "Basic x"}, 401, "", "device.token.ended"},
		{"made-up token", "GET", "snapshots", "", "", []string{"Authorization", "Bearer bsa_" + strings.Repeat("A", 43)}, 401, "", "device.token.ended"},
		{"no user token", "POST", "read", bytesType, "\x00\x00\x00\x00", bearer, 401, "", "login.token.ended"},
		{"device token as user token", "POST", "read", bytesType, "\x00\x00\x00\x00", with(wire.HeaderUserToken, bearer[1][7:]), 401, "", "login.token.ended"},
		{"not JSON", "POST", "sessions", jsonType, "{", bearer, 400, "", "request.body"},
		{"JSON as text", "POST", "sessions", "text/plain", "{}", bearer, 400, "", "request.type"},
		{"long JSON", "POST", "sessions", jsonType, strings.Repeat(" ", wire.MaxJSON+1), bearer, 413, "", "request.size"},
		{"no set", "POST", "sessions", jsonType, `{"set_id":"x"}`, bearer, 404, "", "set.unknown"},
		{"no session", "POST", "sessions/x/have", bytesType, strings.Repeat("a", 32), bearer, 404, "", "session.unknown"},
		{"half an id", "POST", "sessions/x/have", bytesType, "abc", bearer, 400, "", "request.body"},
		{"too many ids", "POST", "sessions/x/have", bytesType, strings.Repeat("a", 32*1001), bearer, 413, "", "request.size"},
		{"no class", "PUT", "sessions/x/packs/" + wiretest.PutID(), bytesType, "", bearer, 400, "", "put.class"},
		{"put nowhere", "PUT", "sessions/x/packs/" + wiretest.PutID() + "?class=data", bytesType, "", bearer, 404, "", "session.unknown"},
		{"commit of nothing", "POST", "sessions/x/commit", bytesType, "", bearer, 400, "", "put.body"},
		{"wrong password", "POST", "user-token", jsonType, `{"password":"wrong"}`, bearer, 401, "E1101", "error.E1101"},
		{"activation with a wrong password", "POST", "activate", jsonType, `{"username":"alice","password":"wrong"}`, nil, 401, "E1101", "error.E1101"},
		{"activation of nobody", "POST", "activate", jsonType, `{"username":"nobody","password":"wrong"}`, nil, 401, "E1101", "error.E1101"},
		{"outcome of nothing", "POST", "requests/99", jsonType, `{"state":"done"}`, bearer, 404, "", "device.request.unknown"},
		{"outcome of no number", "POST", "requests/x", jsonType, `{"state":"done"}`, bearer, 404, "", "device.request.unknown"},
		{"bad wait", "GET", "next?wait=x", "", "", bearer, 400, "", "request.body"},
	} {
		answer, p := h.raw(c.method, c.path, c.media, strings.NewReader(c.body), c.header...)
		if answer.StatusCode != c.status || p.Code != c.code || p.Key != c.key || p.Status != c.status {
			t.Errorf("%s: %d %+v, want %d %s %s", c.name, answer.StatusCode, p, c.status, c.code, c.key)
		}
		if p.RequestID != "R1" || p.Detail == "" || p.Detail == p.Key {
			t.Errorf("%s: the problem is %+v", c.name, p)
		}
		if answer.Header.Get(wire.HeaderVersion) == "" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", c.name, answer.Header)
		}
	}
	_, p := h.raw("POST", "user-token", jsonType, strings.NewReader(`{"password":"wrong"}`), with("Accept-Language", "fr-FR,fr;q=0.9")...)
	if !strings.Contains(p.Detail, "authentification") {
		t.Errorf("in French the problem says %q", p.Detail)
	}
	if h.log.Len() > 0 {
		t.Errorf("expected refusals are logged: %s", h.log)
	}
}

func TestActivateAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	c := h.client("", nil)
	in := request(t, "alice")
	first, err := c.Activate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Activate(t.Context(), in)
	if err != nil || again.DeviceID != first.DeviceID || again.SetID != first.SetID {
		t.Errorf("repeated, Activate = %s, %v, want %s", again.DeviceID, err, first.DeviceID)
	}
	other := request(t, "alice")
	other.RequestID = in.RequestID
	if _, err := c.Activate(t.Context(), other); errs.KindOf(err) != errs.Conflict {
		t.Errorf("with another key, Activate = %v, want Conflict", err)
	}
	taken := request(t, "alice")
	taken.RenameIfTaken = false
	_, err = c.Activate(t.Context(), taken)
	if !errs.Is(err, errs.SameDeviceName) {
		t.Fatalf("with the same name, Activate = %v, want E1201", err)
	}
	if card, _ := errs.Find(err).Args["device"].(map[string]any); card["device_id"] != first.DeviceID {
		t.Errorf("the device in the way is %v, want %s", card, first.DeviceID)
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	p, _, err := d.Profile(t.Context(), 0)
	if err != nil || p.Version != d.Activated.Profile.Version || p.Name != "Default" {
		t.Errorf("Profile = %+v, %v", p, err)
	}
	bearer := "Bearer " + d.deviceToken()
	answer, _ := h.raw("GET", "profile", "", nil, "Authorization", bearer)
	tag := answer.Header.Get("ETag")
	answer, _ = h.raw("GET", "profile", "", nil, "Authorization", bearer, "If-None-Match", tag)
	if tag == "" || answer.StatusCode != http.StatusNotModified {
		t.Errorf("with If-None-Match: %s the answer is %d", tag, answer.StatusCode)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	in := wire.Status{State: wire.StateRunning, Progress: &wire.Progress{Files: 3, Folder: "/home/alice/secret"}, Folders: []string{"/home"},
		Hardware: wire.Hardware{Hostname: "laptop", OS: "linux"}, ClientVersion: "0.1"}
	out, err := d.PutStatus(t.Context(), in)
	if err != nil || out.ProfileVersion != d.Activated.Profile.Version || time.Since(out.ServerTime).Abs() > time.Minute {
		t.Errorf("PutStatus = %+v, %v", out, err)
	}
	in.State = "dancing"
	if _, err := d.PutStatus(t.Context(), in); errs.KindOf(err) != errs.Invalid {
		t.Errorf("PutStatus of an unknown state = %v", err)
	}
}

// TestRevokedWithinSeconds: a device that is deactivated on one server is told
// so on another, in a poll that waits and with the next request.
func TestRevokedWithinSeconds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	second := h.beside()
	h.newUser("alice")
	d := h.activate("alice").on(second)
	s, err := d.OpenSession(t.Context(), d.SetID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(t.Context(), 0, wire.Known{}); err != nil {
		t.Fatal(err)
	}
	type end struct {
		err  error
		when time.Time
	}
	polled := make(chan end, 1)
	go func() {
		_, err := d.Next(t.Context(), time.Minute, wire.Known{})
		polled <- end{err, time.Now()}
	}()
	for second.Waiting() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	// A put whose body is still on its way is worth nothing any more.
	body, feed := io.Pipe()
	put := make(chan error, 1)
	go func() {
		_, err := d.Put(t.Context(), s.SessionID, wiretest.PutID(), backup.ClassData, 0, wiretest.Stream(body), nil)
		put <- err
	}()
	one := wiretest.Records(d.Seal(backup.Data, "late"))
	if _, err := feed.Write(one[:10]); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	h.setState(d.DeviceID, devices.Deactivated)
	if _, err := d.Snapshots(t.Context()); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the next request on the second server = %v, want E1208", err)
	}
	if _, err := d.on(second).Snapshots(t.Context()); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("a new token for a revoked device = %v, want E1208", err)
	}
	e := <-polled
	if took := e.when.Sub(revoked); !errs.Is(e.err, errs.DeviceDeactivated) || took > 5*time.Second {
		t.Errorf("the waiting poll ended after %v with %v, want E1208 within 5 s", took, e.err)
	}
	feed.Write(one[10:])
	feed.Close()
	if err := <-put; !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the put that was on its way = %v, want E1208", err)
	}
	if n := h.denied(access.Backup, d.DeviceID); n == 0 {
		t.Error("the refusals are not recorded")
	}
}

// TestRequestsArrive: what is asked on one server reaches a device that waits on
// another.
func TestRequestsArrive(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	second := h.beside()
	h.newUser("alice")
	d := h.activate("alice").on(second)
	type end struct {
		next wire.Next
		err  error
	}
	polled := make(chan end, 1)
	poll := func(after int64) {
		n, err := d.Next(t.Context(), 30*time.Second, wire.Known{After: after})
		polled <- end{n, err}
	}
	go poll(0)
	for second.Waiting() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	err := h.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := devices.Ask(t.Context(), tx, access.System("test"), devices.ID(d.DeviceID), wire.RequestBackup, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	e := <-polled
	if took := time.Since(began); e.err != nil || len(e.next.Requests) != 1 || e.next.Requests[0].Kind != wire.RequestBackup || took > 5*time.Second {
		t.Fatalf("Next = %+v, %v after %v", e.next, e.err, took)
	}
	number := e.next.Requests[0].Number
	if err := d.PutOutcome(t.Context(), number, wire.Outcome{State: "done"}); err != nil {
		t.Error(err)
	}
	// A lock is told as soon, and so is its end.
	for _, locked := range []bool{true, false} {
		go func() {
			n, err := d.Next(t.Context(), 30*time.Second, wire.Known{After: number, Locked: !locked})
			polled <- end{n, err}
		}()
		for second.Waiting() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		err := h.DB.Write(t.Context(), func(tx *db.Tx) error {
			if locked {
				return devices.Lock(t.Context(), tx, access.System("test"), devices.ID(d.DeviceID), "lost on the train")
			}
			return devices.Unlock(t.Context(), tx, access.System("test"), devices.ID(d.DeviceID))
		})
		if err != nil {
			t.Fatal(err)
		}
		if e := <-polled; e.err != nil || e.next.Locked != locked {
			t.Errorf("Next = %+v, %v; want locked %v", e.next, e.err, locked)
		}
	}
	// Nothing is told twice, and a wait without news ends when it should: at most a
	// round of two seconds before its time.
	began = time.Now()
	n, err := d.Next(t.Context(), 3*time.Second, wire.Known{After: number})
	if err != nil || len(n.Requests) != 0 || time.Since(began) < 900*time.Millisecond {
		t.Errorf("Next = %+v, %v after %v", n, err, time.Since(began))
	}
	if second.Waiting() != 0 {
		t.Errorf("%d devices still wait", second.Waiting())
	}
}

// TestStoppedWithinSeconds: a device that is stopped waits on one server until it
// is let in again on another, whoever of the two was stopped, it or its user. What
// a wait ends with is recorded nowhere.
func TestStoppedWithinSeconds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	second := h.beside()
	alice := h.newUser("alice")
	d := h.activate("alice").on(second)
	write := func(do func(tx *db.Tx) error) {
		t.Helper()
		if err := h.DB.Write(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	user := func(to accounts.State) {
		t.Helper()
		write(func(tx *db.Tx) error {
			return accounts.SetState(t.Context(), tx, access.System("test"), alice.ID, to, "for this test")
		})
	}
	for _, c := range []struct {
		name       string
		stop, back func()
		key        string
	}{
		{"disabled", func() { h.setState(d.DeviceID, devices.Disabled) }, func() { h.setState(d.DeviceID, devices.Active) }, "device.disabled"},
		{"its user disabled", func() { user(accounts.Disabled) }, func() { user(accounts.Active) }, "error.E1102"},
		{"its user preserved", func() { user(accounts.Preserved) }, func() { user(accounts.Active) }, "error.E1103"},
	} {
		c.stop()
		if _, err := d.Next(t.Context(), 30*time.Second, wire.Known{}); errs.Find(err) == nil || errs.Find(err).Key != c.key {
			t.Fatalf("%s: Next = %v, want %s", c.name, err, c.key)
		}
		before := h.refusals()
		if err := d.Readmitted(t.Context(), time.Second); errs.Find(err) == nil || errs.Find(err).Key != c.key {
			t.Errorf("%s: Readmitted = %v, want %s", c.name, err, c.key)
		}
		if n := h.refusals() - before; n != 0 {
			t.Errorf("%s: the end of a wait is recorded %d times", c.name, n)
		}
		readmitted := make(chan error, 1)
		go func() { readmitted <- d.Readmitted(t.Context(), 50*time.Second) }()
		for second.Waiting() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		c.back()
		if err := <-readmitted; err != nil {
			t.Errorf("%s: it is not let in again: %v", c.name, err)
		}
		if _, err := d.Next(t.Context(), 0, wire.Known{}); err != nil {
			t.Errorf("%s: Next = %v", c.name, err)
		}
	}
	if second.Waiting() != 0 {
		t.Errorf("%d devices still wait", second.Waiting())
	}

	// Only who signs is kept waiting: others learn nothing, and cost nothing.
	h.setState(d.DeviceID, devices.Disabled)
	stranger := second.client(d.DeviceID, func([]byte) ([]byte, error) { return make([]byte, ed25519.SignatureSize), nil })
	if err := stranger.Readmitted(t.Context(), time.Minute); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("by a signature that is none: %v, want Unauthenticated", err)
	}
}

func TestReadIsForTheUserOnly(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	h.newUser("bob")
	a, b := h.activate("alice"), h.activate("bob")
	committed, _, chunk := a.backup("secret")
	bobs, err := b.UserToken(t.Context(), wire.UserTokenRequest{Password: password}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, public, _ := crypt.GenerateKey()
	if _, err := b.OpenSnapshot(t.Context(), bobs.Token, committed.Hash, public); !errs.Is(err, errs.NoSuchSnapshot) {
		t.Errorf("bob opens alice's snapshot: %v, want E1504", err)
	}
	err = b.Read(t.Context(), bobs.Token, []backup.ID{chunk.Ref.ID}, func(kind backup.Kind, _ backup.ID, _ []byte) error {
		if kind != backup.Missing {
			t.Error("bob reads alice's chunk")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// A user token is bound to the device it was given to.
	if _, err := a.OpenSnapshot(t.Context(), bobs.Token, committed.Hash, public); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("bob's token on alice's device: %v, want Unauthenticated", err)
	}
	if n := h.denied(access.ReadOwnData, a.DeviceID); n == 0 {
		t.Error("the refusal is not recorded")
	}
	if list, err := b.Snapshots(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("bob's device lists %+v, %v", list, err)
	}
	// Wrong passwords are recorded once, by the accounts.
	before := h.refusals()
	if _, err := a.UserToken(t.Context(), wire.UserTokenRequest{Password: "wrong"}, ""); !errs.Is(err, errs.AuthFailed) {
		t.Errorf("a wrong password = %v", err)
	}
	if n := h.refusals() - before; n != 1 {
		t.Errorf("a wrong password is recorded %d times, want once", n)
	}
}

func TestReceivedCountsUnfinishedPuts(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("alice")
	d := h.activate("alice")
	s, err := d.OpenSession(t.Context(), d.SetID)
	if err != nil {
		t.Fatal(err)
	}
	body, feed := io.Pipe()
	go func() {
		feed.Write(make([]byte, 100<<10)) // no record at all
		feed.CloseWithError(errors.New("the line broke"))
	}()
	if _, err := d.Put(t.Context(), s.SessionID, wiretest.PutID(), backup.ClassData, 0, wiretest.Stream(body), nil); err == nil {
		t.Error("half a put worked")
	}
	deadline := time.Now().Add(5 * time.Second)
	for h.received.Load() == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if h.received.Load() == 0 {
		t.Error("bytes of a put that broke off are not counted")
	}
}

func TestLostSyncStopsTheServer(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	var fatal error
	h.Fatal = func(err error) { fatal = err }
	answer, p := h.problem(durable.ErrSync)
	if answer != http.StatusInternalServerError || p.Detail == "" || !errors.Is(fatal, durable.ErrSync) {
		t.Errorf("a lost sync is answered %d %+v, and Fatal is told %v", answer, p, fatal)
	}
	if _, p := h.problem(errors.New("secret detail")); strings.Contains(p.Detail, "secret") || !p.Retryable {
		t.Errorf("an unexpected failure is answered %+v", p)
	}
	if !strings.Contains(h.log.String(), "secret detail") {
		t.Error("an unexpected failure is not logged")
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	var s streams[access.UserID]
	for range 16 {
		if !s.begin("u", 16) {
			t.Fatal("too few streams")
		}
	}
	if s.begin("u", 16) || !s.begin("v", 16) {
		t.Error("the bound is not each user's own")
	}
	s.end("u")
	if !s.begin("u", 16) {
		t.Error("a stream that ended still counts")
	}
}
