package audit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
)

var (
	admin = access.Caller{Kind: access.AdminKind, User: "a", Org: "o", Role: access.OrgAdmin, Name: "ada",
		IP: "192.0.2.7", RequestID: "r1", Session: "s1"}
	user = access.Caller{Kind: access.UserKind, User: "u", Org: "o", Name: "una"}
)

func list(t *testing.T, d *db.DB, f audit.Filter) []audit.Row {
	t.Helper()
	var rows []audit.Row
	err := d.Read(t.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(t.Context(), tx, access.System("test"), f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func check(t *testing.T, d *db.DB, by access.Caller, a access.Action, org access.OrgID, owner access.UserID, object string, details ...audit.Detail) error {
	t.Helper()
	return d.Write(t.Context(), func(tx *db.Tx) error {
		return audit.Check(t.Context(), tx, by, a, org, owner, object, details...)
	})
}

func TestCheckRecords(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	d.Now = func() time.Time { return at }
	err := check(t, d, admin, access.ManageDevices, "o", "u", "device/d1", audit.Change("name", "old", "new"), audit.Note("reason", "asked"))
	if err != nil {
		t.Fatal(err)
	}
	rows := list(t, d, audit.Filter{})
	if len(rows) != 1 {
		t.Fatalf("%d rows, want 1", len(rows))
	}
	got := rows[0]
	details := got.Details
	got.Details = nil
	want := audit.Row{Seq: 1, At: at, Org: "o", Owner: "u", ActorKind: access.AdminKind, ActorID: "a", ActorName: "ada",
		Action: access.ManageDevices, ObjectKind: "device", ObjectID: "d1", Outcome: audit.Done,
		IP: "192.0.2.7", RequestID: "r1", Session: "s1"}
	if got.Seq != want.Seq || !got.At.Equal(want.At) {
		t.Errorf("seq %d at %v, want %d at %v", got.Seq, got.At, want.Seq, want.At)
	}
	got.At = want.At
	if !equal(got, want) {
		t.Errorf("row = %+v\nwant  %+v", got, want)
	}
	if len(details) != 2 || details[0].Before != "old" || details[0].After != "new" || details[1].After != "asked" {
		t.Errorf("details = %+v", details)
	}
}

func equal(a, b audit.Row) bool {
	a.Details, b.Details = nil, nil
	return a.Seq == b.Seq && a.At.Equal(b.At) && a.Org == b.Org && a.Owner == b.Owner && a.ActorKind == b.ActorKind &&
		a.ActorID == b.ActorID && a.ActorName == b.ActorName && a.Action == b.Action && a.ObjectKind == b.ObjectKind &&
		a.ObjectID == b.ObjectID && a.Outcome == b.Outcome && a.Code == b.Code && a.IP == b.IP && a.RequestID == b.RequestID && a.Session == b.Session
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		by    access.Caller
		org   access.OrgID
		owner access.UserID
		want  errs.Kind
	}{
		{"nobody", access.Caller{}, "o", "u", errs.Unauthenticated},
		{"a user on a colleague's", user, "o", "v", errs.NotFound},
		{"a user on their own", user, "o", "u", errs.Forbidden},
		{"an administrator elsewhere", admin, "p", "u", errs.NotFound},
		{"a viewer", access.Caller{Kind: access.AdminKind, User: "w", Org: "o", Role: access.Viewer}, "o", "u", errs.Forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := dbtest.New(t)
			err := check(t, d, c.by, access.ManageUsers, c.org, c.owner, "user/"+string(c.owner))
			if got := errs.KindOf(err); got != c.want {
				t.Errorf("Check = %v (kind %d), want kind %d", err, got, c.want)
			}
			if rows := list(t, d, audit.Filter{}); len(rows) != 0 {
				t.Fatalf("a refusal left %d rows in its own transaction", len(rows))
			}
			if err := audit.Denied(t.Context(), d, c.by, "", "", err); err != nil {
				t.Fatal(err)
			}
			rows := list(t, d, audit.Filter{Outcome: audit.Refuse})
			if len(rows) != 1 {
				t.Fatalf("%d rows of refusals, want 1", len(rows))
			}
			r := rows[0]
			if r.Action != access.ManageUsers || r.Org != c.org || r.Owner != c.owner || r.ObjectKind != "user" || r.ActorKind != c.by.Kind {
				t.Errorf("row = %+v", r)
			}
		})
	}
}

func TestDeniedRecordsOnlyRefusals(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	device := access.Caller{Kind: access.DeviceKind, User: "u", Org: "o", Device: "d"}
	for _, c := range []struct {
		name   string
		action access.Action
		err    error
		want   int
	}{
		{"nothing failed", access.Backup, nil, 0},
		{"not expected", access.Backup, errors.New("disk on fire"), 0},
		{"bad input", access.Backup, errs.New(errs.Invalid, "x"), 0},
		{"no action known", "", errs.Of(errs.DeviceDeactivated), 0},
		{"a refusal with a code", access.Backup, errs.Of(errs.DeviceDeactivated), 1},
	} {
		before := len(list(t, d, audit.Filter{}))
		if err := audit.Denied(t.Context(), d, device, c.action, "device/d", c.err); err != nil {
			t.Fatal(err)
		}
		rows := list(t, d, audit.Filter{})
		if got := len(rows) - before; got != c.want {
			t.Errorf("%s: %d rows, want %d", c.name, got, c.want)
		}
		if c.want == 1 && (rows[0].Code != "E1208" || rows[0].ActorID != "d") {
			t.Errorf("%s: row %+v", c.name, rows[0])
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i, e := range []struct {
		org    access.OrgID
		owner  access.UserID
		object string
	}{{"o", "u", "device/1"}, {"o", "v", "user/v"}, {"p", "w", "device/1"}, {"o", "u", "device/2"}} {
		d.Now = func() time.Time { return day.AddDate(0, 0, i) }
		if err := check(t, d, access.System("s"), access.ManageDevices, e.org, e.owner, e.object); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		f    audit.Filter
		want []int64
	}{
		{"all, newest first", audit.Filter{}, []int64{4, 3, 2, 1}},
		{"an organisation", audit.Filter{Org: "o"}, []int64{4, 2, 1}},
		{"an owner", audit.Filter{Owner: "u"}, []int64{4, 1}},
		{"an object", audit.Filter{Object: "device/1"}, []int64{3, 1}},
		{"a kind", audit.Filter{Object: "user"}, []int64{2}},
		{"a first page", audit.Filter{Limit: 2}, []int64{4, 3}},
		{"the next page", audit.Filter{Limit: 2, Before: 3}, []int64{2, 1}},
		{"a span", audit.Filter{From: day.AddDate(0, 0, 1), To: day.AddDate(0, 0, 3)}, []int64{3, 2}},
		{"an actor that did nothing", audit.Filter{Actor: "nobody"}, nil},
		{"an action", audit.Filter{Action: access.ManageDevices, Outcome: audit.Done, Org: "p"}, []int64{3}},
		// An attack on the query is only a value.
		{"an attack", audit.Filter{Org: "o' OR '1'='1"}, nil},
	} {
		var got []int64
		for _, r := range list(t, d, c.f) {
			got = append(got, r.Seq)
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

func TestWhoMayList(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	for _, c := range []struct {
		by   access.Caller
		org  access.OrgID
		want bool
	}{
		{admin, "o", true},
		{admin, "p", false},
		{admin, "", false}, // the whole server is not theirs
		{user, "o", false},
		{access.Caller{Kind: access.AdminKind, User: "x", Org: "o", Role: access.ServerAdmin}, "", true},
	} {
		err := d.Read(t.Context(), func(tx *db.Tx) error {
			_, err := audit.List(t.Context(), tx, c.by, audit.Filter{Org: c.org})
			return err
		})
		if got := err == nil; got != c.want {
			t.Errorf("%s of %q lists %q: %v, want allowed %v", c.by.Kind, c.by.Org, c.org, err, c.want)
		}
	}
}
