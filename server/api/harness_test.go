package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
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
	"github.com/backstay/backstay/wire/wiretest"
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
	places   int // for devices that back up, the usual number when 0
}

func newHost(t *testing.T) *host {
	t.Helper()
	return newNarrowHost(t, 0)
}

// newNarrowHost is a host where only so many devices back up at once.
func newNarrowHost(t *testing.T, places int) *host {
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
	h := startHost(t, dbtest.DSN(t), ring, store, places)
	err = h.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		by := access.System("test")
		if h.org, err = orgs.Create(t.Context(), tx, by, ring, "Test"); err != nil {
			return err
		}
		settings := profile.Defaults()
		settings.MaxDevices = profile.MaxDevices
		_, err = profiles.Create(t.Context(), tx, by, h.org.ID, "Default", "", settings)
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
	second := startHost(h.t, h.dsn, h.Keys, h.store, h.places)
	second.org = h.org
	return second
}

func startHost(t *testing.T, dsn string, ring *keys.Ring, store *disk.Store, places int) *host {
	t.Helper()
	h := &host{t: t, dsn: dsn, store: store, log: new(bytes.Buffer), places: places}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	d := dbtest.Open(t, dsn)
	d.Now = func() time.Time { return time.Now().Add(time.Duration(h.shift.Load())) }
	v, err := vault.Open(t.Context(), vault.Config{DB: d, Blobs: store, Keys: ring, Log: log, Places: places})
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
	*wiretest.Device
	*wire.Client
	h *host
}

// request is a new computer's, to be activated.
func request(t *testing.T, name string) wire.Activate {
	t.Helper()
	return ask(wiretest.NewComputer(t), name)
}

func ask(c *wiretest.Computer, name string) wire.Activate {
	in := c.Asks(name, password, "laptop")
	in.RenameIfTaken = true
	return in
}

func (h *host) activate(name string) *machine {
	h.t.Helper()
	c := wiretest.NewComputer(h.t)
	answer, err := h.client("", nil).Activate(h.t.Context(), ask(c, name))
	if err != nil {
		h.t.Fatal(err)
	}
	d := c.Device(h.t, answer)
	return &machine{Device: d, Client: h.client(d.DeviceID, d.Prove), h: h}
}

// on is the same device, talking to another server.
func (d *machine) on(h *host) *machine {
	other := *d
	other.h, other.Client = h, h.client(d.DeviceID, d.Prove)
	return &other
}

func (d *machine) put(s wire.Session, objects ...backup.Object) {
	d.h.t.Helper()
	a, err := d.Put(d.h.t.Context(), s.SessionID, wiretest.PutID(), objects[0].Kind.Class(), 0, wiretest.Body(wiretest.Records(objects...)), nil)
	if err != nil || a.Records != len(objects) || len(a.Rejected) > 0 {
		d.h.t.Fatalf("Put = %+v, %v", a, err)
	}
}

// backup sends a whole snapshot of one chunk.
func (d *machine) backup(text string) (wire.Committed, backup.Object, backup.Object) {
	d.h.t.Helper()
	s, err := d.OpenSession(d.h.t.Context(), d.SetID)
	if err != nil {
		d.h.t.Fatal(err)
	}
	root, chunk := d.Seal(backup.Page, "page of "+text), d.Seal(backup.Data, text)
	d.put(s, root)
	d.put(s, chunk)
	ids := wiretest.IDs(root, chunk)
	refs := &snapshot.Refs{Added: ids}
	c, err := d.Commit(d.h.t.Context(), s.SessionID, d.Manifest(s, time.Now(), root, ids, refs).Encode(), refs.Encode(), wire.Lacking{})
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
	challenge := devices.NewChallenge(d.h.Keys, d.h.DB.Now(), devices.ID(d.DeviceID))
	signature, err := d.Prove(challenge)
	if err != nil {
		d.h.t.Fatal(err)
	}
	token, _, err := devices.Prove(d.h.t.Context(), d.h.DB, d.h.Keys, d.h.Vault.StoreID(), devices.ID(d.DeviceID), challenge, signature, access.Caller{})
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
	h.fail(rec, r.WithContext(access.WithCaller(r.Context(), access.Caller{RequestID: "R1"})), err)
	var p wire.Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		h.t.Error(err)
	}
	return rec.Code, p
}
