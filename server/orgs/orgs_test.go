package orgs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	create := func(by access.Caller, name string) (o orgs.Org, err error) {
		t.Helper()
		err = d.Write(t.Context(), func(tx *db.Tx) (err error) {
			o, err = orgs.Create(t.Context(), tx, by, ring, name)
			return err
		})
		return o, err
	}
	made, err := create(access.System("test"), "  Éole SA ")
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "Éole SA" || made.KeyGen != 1 {
		t.Errorf("made %q with keys of generation %d", made.Name, made.KeyGen)
	}
	record, err := snapshot.DecodeOrgRecord(made.Record)
	if err != nil || record.Org.String() != string(made.ID) || record.Verify() != nil {
		t.Errorf("its record: %v", err)
	}
	for _, c := range []struct {
		name string
		by   access.Caller
		want errs.Kind
	}{
		{"", access.System("test"), errs.Invalid},
		{" \t", access.System("test"), errs.Invalid},
		{"a\x00b", access.System("test"), errs.Invalid},
		{"a\xffb", access.System("test"), errs.Invalid},
		{string(make([]byte, 101)), access.System("test"), errs.Invalid},
		// The same name in another case, and with its accent apart.
		{"e\u0301OLE sa", access.System("test"), errs.Conflict},
		{"other", access.Caller{Kind: access.AdminKind, User: "a", Org: made.ID, Role: access.OrgAdmin}, errs.NotFound},
	} {
		if _, err := create(c.by, c.name); errs.KindOf(err) != c.want {
			t.Errorf("Create(%q) = %v, want kind %d", c.name, err, c.want)
		}
	}
	err = d.Read(t.Context(), func(tx *db.Tx) error {
		for _, find := range []func() (orgs.Org, error){
			func() (orgs.Org, error) { return orgs.Find(t.Context(), tx, made.ID) },
			func() (orgs.Org, error) { return orgs.FindByName(t.Context(), tx, "éole sa") },
		} {
			got, err := find()
			if err != nil || got.ID != made.ID || got.Name != made.Name || !got.CreatedAt.Equal(made.CreatedAt) || string(got.Record) != string(made.Record) {
				t.Errorf("found %+v, %v; want %+v", got, err, made)
			}
		}
		if _, err := orgs.Find(t.Context(), tx, "x"); errs.KindOf(err) != errs.NotFound {
			t.Errorf("Find of nothing = %v", err)
		}
		for _, c := range []struct {
			by   access.Caller
			want int
		}{
			{access.System("x"), 1},
			{access.Caller{Kind: access.AdminKind, User: "a", Org: made.ID, Role: access.Viewer}, 1},
			{access.Caller{Kind: access.AdminKind, User: "a", Org: "other", Role: access.OrgAdmin}, 0},
			{access.Caller{}, 0},
		} {
			list, err := orgs.List(t.Context(), tx, c.by)
			if err != nil || len(list) != c.want {
				t.Errorf("List for %+v = %d, %v; want %d", c.by, len(list), err, c.want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	d := dbtest.New(t)
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var one, two orgs.Org
	write := func(f func(tx *db.Tx) error) error { return d.Write(t.Context(), f) }
	err = write(func(tx *db.Tx) (err error) {
		if one, err = orgs.Create(t.Context(), tx, access.System("test"), ring, "One"); err == nil {
			two, err = orgs.Create(t.Context(), tx, access.System("test"), ring, "Two")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	admin := access.Caller{Kind: access.AdminKind, User: "a", Org: one.ID, Role: access.ServerAdmin}
	for _, c := range []struct {
		by       access.Caller
		id       orgs.ID
		to, name string
		want     errs.Kind
	}{
		{admin, one.ID, " ", "One", errs.Invalid},
		{admin, one.ID, "TWO", "One", errs.Conflict},
		{admin, "none", "Three", "", errs.NotFound},
		{access.Caller{Kind: access.AdminKind, User: "b", Org: one.ID, Role: access.OrgAdmin}, one.ID, "Mine", "One", errs.Forbidden},
		{access.Caller{Kind: access.AdminKind, User: "b", Org: two.ID, Role: access.OrgAdmin}, one.ID, "Mine", "One", errs.NotFound},
		{admin, one.ID, "ONE", "ONE", 0}, // the same in another case
		{admin, two.ID, " Three ", "Three", 0},
		{admin, one.ID, "two", "two", 0}, // which is free now
	} {
		err := write(func(tx *db.Tx) error { return orgs.Rename(t.Context(), tx, c.by, c.id, c.to) })
		if c.want == 0 && err != nil || c.want != 0 && errs.KindOf(err) != c.want {
			t.Errorf("%s renames %s to %q: %v, want kind %d", c.by.Role, c.id, c.to, err, c.want)
		}
		if c.name == "" {
			continue
		}
		err = d.Read(t.Context(), func(tx *db.Tx) error {
			o, err := orgs.Find(t.Context(), tx, c.id)
			if err == nil && o.Name != c.name {
				t.Errorf("after %q it is called %q, want %q", c.to, o.Name, c.name)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	var rows []audit.Row
	err = d.Read(t.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(t.Context(), tx, access.System("test"), audit.Filter{Org: one.ID, Action: access.ManageOrgs})
		return err
	})
	if err != nil || len(rows) != 3 || !strings.Contains(fmt.Sprint(rows[0].Details), "two") {
		t.Errorf("recorded %v, %+v; want its making and two changes", err, rows)
	}
}
