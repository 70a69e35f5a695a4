package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// activating is a computer that is being activated, step by step.
type activating struct {
	*wiretest.Computer
	h       *host
	client  *wire.Client
	request string
	begun   wire.Activation
}

func (h *host) begins(c *wiretest.Computer, host string, change func(*wire.BeginActivation)) (*activating, error) {
	h.t.Helper()
	a := &activating{Computer: c, h: h, client: h.client("", nil), request: uuid.NewString()}
	in := wire.BeginActivation{Username: "ann", Password: password, RequestID: a.request, ClientVersion: version.Number(), SigningKey: c.SigningKey(),
		Hardware: wire.Hardware{MachineID: "machine-" + host, Hostname: host, OS: "linux", Arch: "amd64"}}
	change(&in)
	var err error
	a.begun, err = a.client.BeginActivation(h.t.Context(), in)
	return a, err
}

func (a *activating) finish(choice, device string) (*machine, error) {
	a.h.t.Helper()
	out, err := a.client.FinishActivation(a.h.t.Context(), wire.FinishActivation{Activation: a.begun.Activation, Choice: choice, DeviceID: device,
		EnrolmentKey: a.Enrolment, Signature: wire.SignFinish(a.Signing, a.begun.Activation, a.Enrolment)})
	if err != nil {
		return nil, err
	}
	d := a.Computer.Device(a.h.t, out)
	return &machine{Device: d, Client: a.h.client(d.DeviceID, d.Prove), h: a.h}, nil
}

// becomes begins and finishes.
func (h *host) becomes(host, choice, device string, change func(*wire.BeginActivation)) *machine {
	h.t.Helper()
	a, err := h.begins(wiretest.NewComputer(h.t), host, change)
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := a.finish(choice, device)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func plain(*wire.BeginActivation) {}

// was proves that a computer was a device.
func (d *machine) was(t *testing.T) func(*wire.BeginActivation) {
	return func(in *wire.BeginActivation) {
		t.Helper()
		device, err := backup.ParseUUID(d.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		request, err := backup.ParseUUID(in.RequestID)
		if err != nil {
			t.Fatal(err)
		}
		in.Previous = &wire.Previous{DeviceID: d.DeviceID, Signature: wire.SignPrevious(d.Signing, device, request, in.SigningKey)}
	}
}

// lists are the snapshots that a device shows, the newest first.
func (d *machine) lists() (hashes []string) {
	d.h.t.Helper()
	list, err := d.Snapshots(d.h.t.Context())
	if err != nil {
		d.h.t.Fatal(err)
	}
	for _, s := range list {
		hashes = append(hashes, s.Hash)
	}
	return hashes
}

// opens checks that a device's user can open a snapshot there, and that what
// signed it is certified.
func (d *machine) opens(hash string) {
	t := d.h.t
	t.Helper()
	u, err := d.Login(t.Context(), password, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := crypt.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	o, err := u.Open(t.Context(), hash, public)
	if err != nil {
		t.Fatalf("opening %s: %v", hash[:8], err)
	}
	m, err := snapshot.Decode(o.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := snapshot.DecodeDeviceCert(o.DeviceCert)
	if err != nil {
		t.Fatal(err)
	}
	org, _ := snapshot.DecodeOrgRecord(d.OrgRecord)
	user, _ := snapshot.DecodeUserCert(d.UserCert)
	if err := snapshot.VerifyChain(org, user, cert); err != nil {
		t.Error(err)
	}
	if err := snapshot.VerifyManifest(m, cert); err != nil {
		t.Error(err)
	}
}

// D-02, D-07: replaced, and taken back. Nobody loses a snapshot.
func TestReplaceAndUndo(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", plain)
	first, _, _ := old.backup("first")
	// It is reactivated in between, as after a reset: another key.
	h.setState(old.DeviceID, devices.Deactivated)
	old = h.becomes("laptop", wire.Reactivate, old.DeviceID, old.was(t))
	second, _, _ := old.backup("second")
	if got := old.lists(); !slices.Equal(got, []string{second.Hash, first.Hash}) {
		t.Errorf("after it was reactivated it lists %v", got)
	}
	old.opens(first.Hash)
	old.opens(second.Hash)

	_, err := old.OpenSession(t.Context(), old.SetID)
	if err != nil {
		t.Fatal(err)
	}
	next := h.becomes("desk", wire.Replace, old.DeviceID, plain)
	if next.DeviceID != old.DeviceID || next.SetID != old.SetID || next.DeviceName != "desk" {
		t.Errorf("the new computer is %s, %s", next.DeviceID, next.DeviceName)
	}
	_, err = old.Snapshots(t.Context())
	if e := errs.Find(err); e == nil || e.Code != errs.DeviceDeactivated || e.Args["replaced_at"] == nil {
		t.Errorf("the old computer: %v, want E1208 and since when", err)
	}
	third, _, _ := next.backup("third")
	next.opens(first.Hash)
	if got := next.lists(); !slices.Equal(got, []string{third.Hash, second.Hash, first.Hash}) {
		t.Errorf("the new computer lists %v", got)
	}

	var split devices.Device
	undo := func() error {
		return h.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
			split, err = devices.UndoReplace(t.Context(), tx, access.System("test"), devices.ID(old.DeviceID))
			return err
		})
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if got := old.lists(); !slices.Equal(got, []string{second.Hash, first.Hash}) {
		t.Errorf("the old computer lists %v", got)
	}
	fourth, _, _ := old.backup("fourth")
	old.opens(fourth.Hash)
	if _, err := next.Snapshots(t.Context()); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the new computer: %v, want E1208", err)
	}
	a, err := h.begins(wiretest.NewComputer(t), "desk", next.was(t))
	if err != nil || a.begun.Match == nil || a.begun.Match.DeviceID != string(split.ID) || a.begun.Match.By != wire.ByKey {
		t.Fatalf("the new computer is %+v, %v; want %s", a.begun.Match, err, split.ID)
	}
	again, err := a.finish(wire.Reactivate, string(split.ID))
	if err != nil {
		t.Fatal(err)
	}
	if again.DeviceName != "desk" || again.SetID == old.SetID {
		t.Errorf("the new computer is %s with set %s", again.DeviceName, again.SetID)
	}
	if got := again.lists(); !slices.Equal(got, []string{third.Hash}) {
		t.Errorf("the new computer lists %v", got)
	}
	again.opens(third.Hash)
	fifth, _, _ := again.backup("fifth")
	again.opens(fifth.Hash)
	if err := undo(); errs.KindOf(err) != errs.Conflict {
		t.Errorf("undone twice: %v, want Conflict", err)
	}
}

func TestUndoEnds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", plain)
	h.becomes("desk", wire.Replace, old.DeviceID, plain)
	for _, c := range []struct {
		day  int
		want bool
	}{{13, true}, {14, false}} {
		h.shift.Store(int64(time.Duration(c.day) * 24 * time.Hour))
		err := h.DB.Read(t.Context(), func(tx *db.Tx) error {
			r, ok, err := devices.Undoable(t.Context(), tx, access.System("test"), devices.ID(old.DeviceID))
			if ok != c.want || ok && (r.Name != "laptop" || r.Hostname != "laptop") {
				t.Errorf("after %d days: %+v, %v; want %v", c.day, r, ok, c.want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := h.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := devices.UndoReplace(t.Context(), tx, access.System("test"), devices.ID(old.DeviceID))
		return err
	})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("after 14 days: %v, want Conflict", err)
	}
}

// C-14: a script may name its request by the usual header. Sent again, also with
// the number in the body, it is the same activation.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("ann")
	c, request := wiretest.NewComputer(t), uuid.NewString()
	for _, inBody := range []string{"", "", request} {
		in := wire.BeginActivation{Username: "ann", Password: password, RequestID: inBody, ClientVersion: version.Number(), SigningKey: c.SigningKey(),
			Hardware: wire.Hardware{MachineID: "m", Hostname: "laptop", OS: "linux", Arch: "amd64"}}
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if r, p := h.raw("POST", "activations", "application/json", bytes.NewReader(body), "Idempotency-Key", request); r.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %+v", r.Status, p)
		}
	}
	err := h.DB.Read(t.Context(), func(tx *db.Tx) error {
		var n int
		err := tx.QueryRow(t.Context(), "SELECT count(*) FROM activations WHERE request_id = $1", request).Scan(&n)
		if n != 1 {
			t.Errorf("there are %d activations, want 1", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// C-13, D-06: an administrator's key. The old computer backs up until the new one
// has its first complete backup.
func TestActivationKeys(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ann := h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", plain)
	first, _, _ := old.backup("first")
	admin := access.Caller{Kind: access.AdminKind, User: "a", Org: h.org.ID, Role: access.OrgAdmin, Name: "ada"}
	issue := func(by access.Caller, choice, device string) (text string, k devices.Key, err error) {
		t.Helper()
		err = h.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
			text, k, err = devices.IssueKey(t.Context(), tx, by, h.Keys, "", ann.ID, choice, devices.ID(device))
			return err
		})
		return text, k, err
	}
	text, _, err := issue(admin, devices.Succeed, old.DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	with := func(text string) func(*wire.BeginActivation) {
		return func(in *wire.BeginActivation) { in.Username, in.Password, in.ActivationKey = "", "", text }
	}
	next := h.becomes("desk", wire.Add, "", with(text))
	if next.Username != "ann" || next.DeviceID == old.DeviceID {
		t.Errorf("the new computer is %s's %s", next.Username, next.DeviceID)
	}
	second, _, _ := old.backup("second")
	third, _, _ := next.backup("third")
	if got := next.lists(); !slices.Equal(got, []string{third.Hash, second.Hash, first.Hash}) {
		t.Errorf("the successor lists %v", got)
	}
	next.opens(first.Hash)
	_, err = old.Snapshots(t.Context())
	if e := errs.Find(err); e == nil || e.Code != errs.DeviceDeactivated || e.Args["replaced_at"] == nil {
		t.Errorf("the old computer: %v, want E1208 and since when", err)
	}

	// D-07: taken back, both go on, each with what it made.
	undo := func() (devices.Device, error) {
		var back devices.Device
		err := h.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
			back, err = devices.UndoReplace(t.Context(), tx, access.System("test"), devices.ID(next.DeviceID))
			return err
		})
		return back, err
	}
	if back, err := undo(); err != nil || string(back.ID) != old.DeviceID || back.State != devices.Active || back.LastSnapshot != second.Snapshot {
		t.Fatalf("taken back: %+v, %v", back, err)
	}
	fourth, _, _ := old.backup("fourth")
	if got := old.lists(); !slices.Equal(got, []string{fourth.Hash, second.Hash, first.Hash}) {
		t.Errorf("the old computer lists %v", got)
	}
	old.opens(first.Hash)
	if got := next.lists(); !slices.Equal(got, []string{third.Hash}) {
		t.Errorf("the other one lists %v", got)
	}
	next.backup("fifth")
	if _, err := undo(); errs.KindOf(err) != errs.Conflict {
		t.Errorf("taken back twice: %v", err)
	}

	refused := func(name, text string) {
		t.Helper()
		if _, err := h.begins(wiretest.NewComputer(t), "thief", with(text)); errs.KindOf(err) != errs.Forbidden {
			t.Errorf("%s: %v, want Forbidden", name, err)
		}
	}
	refused("a used key", text)
	refused("no key", "bsy_x")
	refused("another's form", devices.KeyPrefix+strings.Repeat("A", 43))
	text, _, err = issue(admin, wire.Add, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := h.begins(wiretest.NewComputer(t), "more", with(text)); err != nil {
			t.Error(err)
		}
	}
	refused("a key after three tries", text)
	late, _, err := issue(admin, wire.Add, "")
	if err != nil {
		t.Fatal(err)
	}
	gone, k, err := issue(admin, wire.Add, "")
	if err != nil {
		t.Fatal(err)
	}
	err = h.DB.Write(t.Context(), func(tx *db.Tx) error { return devices.RevokeKey(t.Context(), tx, admin, k.ID) })
	if err != nil {
		t.Fatal(err)
	}
	refused("a revoked key", gone)
	h.shift.Store(int64(72 * time.Hour))
	refused("a key after 72 hours", late)
	for name, by := range map[string]access.Caller{"the user": ann.Caller(access.Caller{}), "a viewer": {Kind: access.AdminKind, User: "v", Org: h.org.ID, Role: access.Viewer},
		"another organisation's": {Kind: access.AdminKind, User: "o", Org: "other", Role: access.OrgAdmin}} {
		if _, _, err := issue(by, wire.Add, ""); errs.Status(err) != http.StatusForbidden && errs.Status(err) != http.StatusNotFound {
			t.Errorf("a key by %s: %v", name, err)
		}
	}
}

// D-05: a computer of another system begins anew beside what was there, and so
// does one that brings nothing back, whatever stands where its serial number is
// missing.
func TestRootEpoch(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", plain)
	first, _, _ := old.backup("first")
	next := h.becomes("mac", wire.Replace, old.DeviceID, func(in *wire.BeginActivation) { in.Hardware.OS, in.Hardware.Serial = "darwin", "Default string" })
	second, _, _ := next.backup("second")
	third := h.becomes("mini", wire.Replace, next.DeviceID, func(in *wire.BeginActivation) { in.Hardware.OS, in.Hardware.Serial = "darwin", "Default string" })
	if old.RootEpoch != 1 || next.RootEpoch != 2 || third.RootEpoch != 3 {
		t.Errorf("the epochs are %d, %d and %d, want 1, 2 and 3", old.RootEpoch, next.RootEpoch, third.RootEpoch)
	}
	for hash, want := range map[string]int64{first.Hash: 1, second.Hash: 2} {
		id, err := backup.ParseHash(hash)
		if err != nil {
			t.Fatal(err)
		}
		var epoch int64
		err = h.DB.Read(t.Context(), func(tx *db.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT root_epoch FROM snapshots WHERE hash = $1", id[:]).Scan(&epoch)
		})
		if err != nil || epoch != want {
			t.Errorf("snapshot %s is of epoch %d, %v; want %d", hash[:8], epoch, err, want)
		}
	}
}

// A refusal on the way is recorded with its user.
func TestFinishingIsRecorded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ann := h.newUser("ann")
	a, err := h.begins(wiretest.NewComputer(t), "laptop", plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.finish(wire.Replace, uuid.NewString()); errs.KindOf(err) != errs.NotFound {
		t.Errorf("replacing nothing: %v", err)
	}
	if _, err := a.finish("steal", ""); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an unknown choice: %v", err)
	}
	if n := h.denied(access.Activate, string(ann.ID)); n == 0 {
		t.Error("the refusal is not recorded")
	}
}
