package accounts_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Everybody sets their own name and nobody else's; what is no name changes
// nothing and is not recorded as done.
func TestSetNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, ada := w.User("una"), w.Admin("ada", access.Viewer)
	set := func(by access.Caller, first, last string) error {
		return w.Try(func(tx *db.Tx) error { return accounts.SetNames(t.Context(), tx, by, first, last) })
	}
	changes := func(u accounts.User) []audit.Row {
		return w.Audit(audit.Filter{Object: "user/" + string(u.ID), Action: access.ChangeAccount})
	}
	for _, u := range []accounts.User{una, ada} {
		if err := set(u.Caller(from), "  Zoe\u0308 ", "O’Neil"); err != nil {
			t.Fatal(err)
		}
		if got := w.Find(u.ID); got.FirstName != "Zoë" || got.LastName != "O’Neil" || got.Username != u.Username {
			t.Errorf("after SetNames: %+v", got)
		}
		rows := changes(u)
		if len(rows) != 1 || len(rows[0].Details) != 2 || rows[0].Details[0] != audit.Change("first_name", "", "Zoë") || rows[0].ActorID != string(u.ID) {
			t.Errorf("recorded %+v", rows)
		}
	}
	for _, bad := range [][2]string{{"Zoë\x00", "Neil"}, {"Zoë", strings.Repeat("x", 101)}, {"\xff", ""}, {"a\nb", ""}} {
		if err := set(una.Caller(from), bad[0], bad[1]); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v, want Invalid", bad, err)
		}
	}
	if err := set(una.Caller(from), "Zoë", "O’Neil"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if got := w.Find(una.ID); got.Name() != "Zoë O’Neil" || len(changes(una)) != 1 {
		t.Errorf("bad names or the same again changed something: %+v, %d records", got, len(changes(una)))
	}
	if err := set(access.Caller{Kind: access.AdminKind, Role: access.ServerAdmin, User: una.ID, Org: "elsewhere"}, "Eve", ""); err == nil {
		t.Error("somebody of another organisation sets a name")
	}
	if err := set(una.Caller(from), "", ""); err != nil || w.Find(una.ID).Name() != "una" {
		t.Errorf("nobody needs a name: %v", err)
	}
}

// Who looks into backups, by whether their owner keeps administrators out.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, vic := w.User("una"), w.User("vic")
	server, org, viewer := w.Admin("ada", access.ServerAdmin), w.Admin("bea", access.OrgAdmin), w.Admin("cleo", access.Viewer)
	private := func(by access.Caller, on bool) error {
		return w.Try(func(tx *db.Tx) error { return accounts.SetPrivacy(t.Context(), tx, by, on) })
	}
	check := func(on bool, want map[string]errs.Kind) {
		t.Helper()
		for name, by := range map[string]access.Caller{"the owner": una.Caller(from), "a colleague": vic.Caller(from), "server administrator": server.Caller(from),
			"administrator": org.Caller(from), "viewer": viewer.Caller(from), "nobody": {}, "the server": system,
			"the device": {Kind: access.DeviceKind, User: una.ID, Org: una.Org, Device: "d"}} {
			err := w.DB.Read(t.Context(), func(tx *db.Tx) error { return accounts.MayOpen(t.Context(), tx, by, una.ID, "snapshot/s") })
			if kind, refused := want[name]; refused != (err != nil) || refused && errs.KindOf(err) != kind {
				t.Errorf("%s with privacy %v: %v", name, on, err)
			}
			denial := (*audit.Denial)(nil)
			if err != nil && (!errors.As(err, &denial) || denial.Owner != una.ID || denial.Object != "snapshot/s") {
				t.Errorf("%s with privacy %v: the refusal would not be recorded: %v", name, on, err)
			}
		}
	}
	never := map[string]errs.Kind{"a colleague": errs.NotFound, "viewer": errs.Forbidden, "nobody": errs.Unauthenticated, "the device": errs.Forbidden}
	check(false, never)
	for name, by := range map[string]access.Caller{"an administrator": org.Caller(from), "the device": {Kind: access.DeviceKind, User: una.ID, Org: una.Org, Device: "d"}} {
		if err := private(by, true); errs.KindOf(err) != errs.Forbidden {
			t.Errorf("%s switches privacy: %v", name, err)
		}
	}
	if w.Find(una.ID).PrivacyOn || w.Find(org.ID).PrivacyOn {
		t.Fatal("somebody else switched privacy on")
	}
	for range 2 { // the second changes nothing
		if err := private(una.Caller(from), true); err != nil {
			t.Fatal(err)
		}
	}
	rows := w.Audit(audit.Filter{Object: "user/" + string(una.ID), Action: access.SetPrivacy})
	if len(rows) != 1 || rows[0].Details[0] != audit.Change("privacy_on", false, true) {
		t.Errorf("recorded %+v", rows)
	}
	shut := map[string]errs.Kind{"server administrator": errs.Forbidden, "administrator": errs.Forbidden, "the server": errs.Forbidden}
	for name, kind := range never {
		shut[name] = kind
	}
	check(true, shut)
	// Nor does an administrator become the user.
	address := "eve@example.org"
	err := w.Try(func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, server.Caller(from), una.ID, accounts.Changes{Email: &address})
		return err
	})
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an administrator sets the address: %v", err)
	}
	err = w.Try(func(tx *db.Tx) error {
		return accounts.SetPassword(t.Context(), tx, server.Caller(from), una.ID, w.Hash("Another-Pass-1"), false)
	})
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an administrator sets the password: %v", err)
	}
	name := "Una"
	w.Write(func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, server.Caller(from), una.ID, accounts.Changes{FirstName: &name})
		return err
	})
	if u := w.Find(una.ID); u.Email != una.Email || u.FirstName != "Una" || !u.PrivacyOn {
		t.Errorf("the account is %+v", u)
	}
	if err := private(una.Caller(from), false); err != nil {
		t.Fatal(err)
	}
	check(false, never)
}
