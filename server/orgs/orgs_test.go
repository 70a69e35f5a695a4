package orgs_test

import (
	"testing"

	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
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
