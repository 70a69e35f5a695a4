package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/version"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// replaces has a computer take the place of a device, with its files.
func (h *host) replaces(name, device string, change func(*wire.BeginActivation)) (*machine, *wire.RestoreGrant, error) {
	h.t.Helper()
	a, err := h.begins(wiretest.NewComputer(h.t), name, change)
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := a.client.FinishActivation(h.t.Context(), wire.FinishActivation{Activation: a.begun.Activation, Choice: wire.Replace, DeviceID: device,
		Restore: wire.RestoreFiles, EnrolmentKey: a.Enrolment, Signature: wire.SignFinish(a.Signing, a.begun.Activation, a.Enrolment)})
	if err != nil {
		return nil, nil, err
	}
	d := a.Computer.Device(h.t, out)
	return &machine{Device: d, Client: h.client(d.DeviceID, d.Prove), h: h}, out.Restore, nil
}

// opensBy tries to open a snapshot at a device, and to read an object there.
func (d *machine) opensBy(u *wire.User, hash string, object backup.Object) (opened, read error) {
	d.h.t.Helper()
	_, public, err := crypt.GenerateKey()
	if err != nil {
		d.h.t.Fatal(err)
	}
	_, opened = u.Open(d.h.t.Context(), hash, public)
	read = u.Read(d.h.t.Context(), []backup.ID{object.Ref.ID}, func(kind backup.Kind, _ backup.ID, _ []byte) error {
		if kind == backup.Missing {
			return errs.Of(errs.NoSuchSnapshot, "what", "object")
		}
		return nil
	})
	return opened, read
}

func (d *machine) reports(r *wire.Restoring) wire.StatusAnswer {
	d.h.t.Helper()
	said, err := d.PutStatus(d.h.t.Context(), wire.Status{State: wire.StateIdle, ClientVersion: version.Number(), Restore: r,
		Hardware: wire.Hardware{Hostname: "desk", OS: "linux", Arch: "amd64"}})
	if err != nil {
		d.h.t.Fatal(err)
	}
	return said
}

// D-03, D-04: the new computer may fetch what the old one's newest snapshot
// needs, and nothing else, until that is done.
func TestRestoreGrant(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", func(in *wire.BeginActivation) { in.Hardware.OSHome = "/home/old" })
	first, _, before := old.backup("first")
	newest, _, object := old.backup("second")
	if _, err := old.OpenSession(t.Context(), old.SetID); err != nil { // it had not finished
		t.Fatal(err)
	}
	next, grant, err := h.replaces("desk", old.DeviceID, plain)
	if err != nil || grant == nil {
		t.Fatalf("the grant is %+v, %v", grant, err)
	}
	if grant.Snapshot != newest.Hash || grant.Device != "laptop" || grant.Home != "/home/old" || next.RootEpoch != 1 {
		t.Errorf("the grant is %+v, the epoch %d", grant, next.RootEpoch)
	}
	user := next.Granted(grant.Token)
	if opened, read := next.opensBy(user, newest.Hash, object); opened != nil || read != nil {
		t.Errorf("the snapshot that it is for: %v, %v", opened, read)
	}
	if opened, read := next.opensBy(user, first.Hash, before); !errs.Is(opened, errs.NoSuchSnapshot) || read == nil {
		t.Errorf("another snapshot: %v, %v", opened, read)
	}
	other := h.becomes("other", wire.Add, "", plain)
	if opened, read := other.opensBy(other.Granted(grant.Token), newest.Hash, object); errs.KindOf(opened) != errs.Unauthenticated || errs.KindOf(read) != errs.Unauthenticated {
		t.Errorf("at another device: %v, %v", opened, read)
	}
	if _, err := user.BeginRestore(t.Context()); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a grant by a grant: %v", err)
	}
	if s, err := next.OpenSession(t.Context(), next.SetID); err != nil || s.Resumed {
		t.Errorf("the new computer goes on with the session of the old one: %+v, %v", s, err)
	}

	next.reports(&wire.Restoring{ID: grant.ID, State: wire.RestoreRunning, Progress: wire.Progress{Files: 1, TotalFiles: 2, Folder: "/home/old/secret"}})
	shown := h.restoring(next)
	if len(shown) != 1 || shown[0].State != wire.RestoreRunning || shown[0].From != "laptop" || shown[0].Host != "desk" || shown[0].Progress.Files != 1 || shown[0].Progress.Folder != "" {
		t.Errorf("the server shows %+v", shown)
	}
	next.reports(&wire.Restoring{ID: grant.ID, State: wire.RestoreDone})
	if opened, read := next.opensBy(user, newest.Hash, object); errs.KindOf(opened) != errs.Unauthenticated || errs.KindOf(read) != errs.Unauthenticated {
		t.Errorf("after its end: %v, %v", opened, read)
	}
}

// restoring is what the server shows of a device's restore.
func (h *host) restoring(d *machine) (list []devices.Restore) {
	h.t.Helper()
	err := h.DB.Read(h.t.Context(), func(tx *db.Tx) (err error) {
		list, err = devices.Restores(h.t.Context(), tx, access.System("test"), devices.ID(d.DeviceID))
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// What may be read without the user ends with the device, and with its time. The
// user lets it go on.
func TestRestoreGrantEnds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", plain)
	made, _, object := old.backup("all")
	next, grant, err := h.replaces("desk", old.DeviceID, plain)
	if err != nil {
		t.Fatal(err)
	}
	ended := func(what string, g wire.RestoreGrant) {
		t.Helper()
		if opened, read := next.opensBy(next.Granted(g.Token), made.Hash, object); errs.KindOf(opened) != errs.Unauthenticated || errs.KindOf(read) != errs.Unauthenticated {
			t.Errorf("%s: %v, %v", what, opened, read)
		}
	}
	goesOn := func() wire.RestoreGrant {
		t.Helper()
		u, err := next.Login(t.Context(), password, nil)
		if err != nil {
			t.Fatal(err)
		}
		g, err := u.BeginRestore(t.Context())
		if err != nil || g.ID != grant.ID || g.Snapshot != made.Hash {
			t.Fatalf("it goes on as %+v, %v", g, err)
		}
		if opened, read := next.opensBy(next.Granted(g.Token), made.Hash, object); opened != nil || read != nil {
			t.Fatalf("going on: %v, %v", opened, read)
		}
		return g
	}
	h.setState(next.DeviceID, devices.Disabled)
	h.setState(next.DeviceID, devices.Active)
	ended("after the device was disabled", *grant)
	second := goesOn()
	ended("once there is another", *grant)
	h.shift.Store(int64(15 * 24 * time.Hour))
	ended("after 15 days", second)
	third := goesOn()

	// D-02: what was to come back to a computer that is replaced does not.
	last, _, err := h.replaces("last", next.DeviceID, plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Snapshots(t.Context()); !errs.Is(err, errs.DeviceDeactivated) {
		t.Errorf("the replaced computer: %v", err)
	}
	if _, read := last.opensBy(last.Granted(third.Token), made.Hash, object); errs.KindOf(read) != errs.Unauthenticated {
		t.Errorf("with the token of the computer before: %v", read)
	}
	// Its user is told, and so is who looks at the device later.
	list := h.restoring(last)
	if len(list) != 2 || list[0].Host != "last" || list[1].State != "replaced" || list[1].From != "laptop" || list[1].Host != "desk" || list[1].Ended.IsZero() {
		t.Errorf("the server shows %+v", list)
	}
	if got := h.cancelled(); !slices.Equal(got, []string{"replaced laptop desk"}) {
		t.Errorf("recorded is %q", got)
	}
	h.later(15 * 24 * time.Hour)
	if list := h.restoring(last); len(list) != 1 || list[0].Host != "last" {
		t.Errorf("15 days later the server shows %+v", list)
	}
}

// cancelled are the restores that the activity of ann has as cancelled: why, whose
// files, and where they were to come back.
func (h *host) cancelled() (list []string) {
	h.t.Helper()
	err := h.DB.Read(h.t.Context(), func(tx *db.Tx) error {
		u, err := accounts.FindByUsername(h.t.Context(), tx, "ann")
		if err != nil {
			return err
		}
		rows, err := audit.OfOwn(h.t.Context(), tx, u.Caller(access.Caller{}), audit.Data, 0, 100)
		for _, row := range rows {
			said := map[string]any{}
			for _, d := range row.Details {
				said[d.Name] = d.After
			}
			if why := said["restore_cancelled"]; why != nil {
				list = append(list, fmt.Sprint(why, " ", said["from"], " ", said["hostname"]))
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// byKey begins an activation with a key of an administrator's, which is for a
// choice about one device.
func (h *host) byKey(u accounts.User, choice string, of *machine) func(*wire.BeginActivation) {
	h.t.Helper()
	var key string
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) (err error) {
		key, _, err = devices.IssueKey(h.t.Context(), tx, access.System("test"), h.Keys, "", u.ID, choice, devices.ID(of.DeviceID))
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return func(in *wire.BeginActivation) { in.Username, in.Password, in.ActivationKey = "", "", key }
}

// Whoever does not prove to be the user may not read, whatever they activate.
func TestRestoreNeedsTheUser(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ann := h.newUser("ann")
	old := h.becomes("laptop", wire.Add, "", plain)
	old.backup("all")
	byKey := h.byKey(ann, wire.Replace, old)
	if _, _, err := h.replaces("desk", old.DeviceID, byKey); errs.Status(err) != http.StatusForbidden || errs.Find(err).Key != "device.restore.proof" {
		t.Errorf("files by an activation key: %v", err)
	}
	next := h.becomes("desk", wire.Replace, old.DeviceID, byKey)
	if said := next.reports(nil); said.Offer != "laptop" || said.Name != "desk" {
		t.Errorf("the device is told %+v", said)
	}
	if next.RootEpoch != 2 {
		t.Errorf("the epoch of a computer that knows nothing of the old one is %d", next.RootEpoch)
	}
	u, err := next.Login(t.Context(), password, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := u.BeginRestore(t.Context()); err != nil || g.Device != "laptop" {
		t.Errorf("by the user, later: %+v, %v", g, err)
	}
	if said := next.reports(nil); said.Offer != "" {
		t.Errorf("what was begun is still offered: %+v", said)
	}
}

// succession is ann's laptop with a backup, and the desk that is to succeed it and
// has none yet.
func (h *host) succession() (old, next *machine) {
	h.t.Helper()
	ann := h.newUser("ann")
	old = h.becomes("laptop", wire.Add, "", plain)
	old.backup("all")
	return old, h.becomes("desk", wire.Add, "", h.byKey(ann, devices.Succeed, old))
}

// D-06: the final delta is offered when the successor has its first backup, and
// not before; what was never another computer's is not.
func TestSuccessorIsOffered(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	old, next := h.succession()
	user := func() *wire.User {
		u, err := next.Login(t.Context(), password, nil)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if _, err := user().BeginRestore(t.Context()); errs.KindOf(err) != errs.NotFound {
		t.Errorf("before its first backup: %v", err)
	}
	last, _, object := old.backup("the last of the old one")
	if said := next.reports(nil); said.Offer != "" {
		t.Errorf("offered before its first backup: %+v", said)
	}
	next.backup("its own")
	if said := next.reports(nil); said.Offer != "laptop" {
		t.Errorf("after its first backup it is told %+v", said)
	}
	g, err := user().BeginRestore(t.Context())
	if err != nil || g.Snapshot != last.Hash {
		t.Fatalf("the grant is %+v, %v; want the old one's newest snapshot", g, err)
	}
	if opened, read := next.opensBy(next.Granted(g.Token), last.Hash, object); opened != nil || read != nil {
		t.Errorf("reading it: %v, %v", opened, read)
	}

	// D-07: taken back, nothing is offered any more, and what was begun says why.
	h.undo(next)
	if opened, _ := next.opensBy(next.Granted(g.Token), last.Hash, object); errs.Find(opened) == nil || errs.Find(opened).Key != "device.restore.undone" {
		t.Errorf("after it was undone: %v", opened)
	}
	if said := next.reports(nil); said.Offer != "" {
		t.Errorf("after it was undone it is offered %q", said.Offer)
	}
	if _, err := user().BeginRestore(t.Context()); errs.KindOf(err) != errs.NotFound {
		t.Errorf("begun after it was undone: %v", err)
	}
	if got := h.cancelled(); !slices.Equal(got, []string{"undone laptop desk"}) {
		t.Errorf("recorded is %q", got)
	}
}

func (h *host) undo(d *machine) {
	h.t.Helper()
	err := h.DB.Write(h.t.Context(), func(tx *db.Tx) error {
		_, err := devices.UndoReplace(h.t.Context(), tx, access.System("test"), devices.ID(d.DeviceID))
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// A device that waits is told at once that an offer is taken back, and is not
// woken by one that it knows.
func TestOfferIsTakenBack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	_, next := h.succession()
	next.backup("its own")
	if n, err := next.Next(t.Context(), 30*time.Second, wire.Known{}); err != nil || n.Offer != "laptop" {
		t.Fatalf("told of the offer: %+v, %v", n, err)
	}
	type told struct {
		wire.Next
		error
	}
	answers := make(chan told)
	go func() {
		n, err := next.Next(t.Context(), 30*time.Second, wire.Known{Offer: "laptop"})
		answers <- told{n, err}
	}()
	for h.Waiting() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	h.undo(next)
	if got := <-answers; got.error != nil || got.Offer != "" {
		t.Errorf("after it was undone: %+v", got)
	}
}

// E-07: the device map says what is offered of the device that a computer
// succeeds. A token opens nothing: the user takes it.
func TestMapSaysWhatIsOffered(t *testing.T) {
	t.Parallel()
	for restores, offer := range map[string]string{"": "", "DATA": "laptop", "ALL": "laptop", "SYSTEM": ""} {
		t.Run(restores, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.newUser("ann")
			h.becomes("laptop", wire.Add, "", plain).backup("all")
			_, secret := h.newToken(deploy.Rules{})
			err := h.DB.Write(t.Context(), func(tx *db.Tx) error {
				f, err := deploy.ImportMap(t.Context(), tx, access.System("test"), h.Keys, h.org.ID,
					strings.NewReader("email,device_id,id_type,old_device_name,data_restore\nann@example.org,machine-pc,uuid,laptop,"+restores+"\n"))
				if f.Bad > 0 {
					t.Fatal(f.Rows[0].Reason)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			c, client, request := wiretest.NewComputer(t), h.client("", nil), uuid.NewString()
			if _, err := h.enrol(c, client, request, secret, "pc"); errs.Find(err) == nil || errs.Find(err).Key != "device.waiting" {
				t.Fatalf("before an administrator has looked: %v", err)
			}
			h.setState(h.waiting(), devices.Active)
			out, err := h.enrol(c, client, request, secret, "pc")
			if err != nil || out.Restore != nil {
				t.Fatalf("enrolled: %+v, %v", out.Restore, err)
			}
			d := c.Device(t, out)
			next := &machine{Device: d, Client: h.client(d.DeviceID, d.Prove), h: h}
			next.backup("its own")
			if said := next.reports(nil); said.Offer != offer {
				t.Errorf("%q is offered, want %q", said.Offer, offer)
			}
		})
	}
}

// waiting is the one device that an administrator has to approve.
func (h *host) waiting() (id string) {
	h.t.Helper()
	err := h.DB.Read(h.t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(h.t.Context(), "SELECT id FROM devices WHERE state = $1", devices.Waiting).Scan(&id)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}
