package accounts_test

import (
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

var system = accountstest.System

const (
	password = accountstest.Password
	server   = accountstest.Address
)

// world is one whose accounts are invited, imported, moved and deleted.
type world struct{ *accountstest.World }

func newWorld(t *testing.T) *world { return &world{accountstest.New(t)} }

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, err := w.Create(system, accounts.New{Username: " Zoe\u0308 ", Email: "Zoe@EXAMPLE.org", FirstName: "Zoë", LastName: "Müller",
		Language: "fr", PasswordHash: w.Hash(password)})
	if err != nil {
		t.Fatal(err)
	}
	got := w.Find(u.ID)
	if got.Username != "Zoë" || got.Email != "Zoe@example.org" || got.Name() != "Zoë Müller" || got.State != accounts.Active || got.Language != "fr" {
		t.Errorf("found %+v", got)
	}
	if got.Keys.Gen != 1 || len(got.Keys.PublicKey) == 0 || len(got.Keys.Wrapped) == 0 || len(got.Keys.Cert) == 0 || len(got.Keys.IdentityKey) == 0 {
		t.Error("the user has no keys")
	}
	rows := w.Audit(audit.Filter{Object: "user/" + string(u.ID)})
	if len(rows) != 1 || rows[0].Action != access.ManageUsers || rows[0].Owner != u.ID {
		t.Errorf("audit: %+v", rows)
	}

	// An e-mail address may be shared.
	if _, err := w.Create(system, accounts.New{Username: "other", Email: "zoe@example.org"}); err != nil {
		t.Error(err)
	}
	invited, err := w.Create(system, accounts.New{Username: "invited"})
	if err != nil || invited.State != accounts.Invited {
		t.Errorf("without a password the state is %s, %v; want invited", invited.State, err)
	}
	admin, err := w.Create(system, accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "admin", PasswordHash: w.Hash(password)})
	if err != nil || w.Find(admin.ID).Keys.Gen != 0 {
		t.Errorf("an administrator has keys, or %v", err)
	}

	long := string(make([]rune, 65))
	for _, c := range []struct {
		name string
		n    accounts.New
		want errs.Kind
	}{
		{"the name of another, in another case", accounts.New{Username: "ZOË"}, errs.Conflict},
		{"an administrator's name for a user", accounts.New{Username: "Admin"}, errs.Conflict},
		{"no name", accounts.New{Username: " "}, errs.Invalid},
		{"a long name", accounts.New{Username: long}, errs.Invalid},
		{"a zero in the name", accounts.New{Username: "a\x00b"}, errs.Invalid},
		{"a zero width space in the name", accounts.New{Username: "zo\u200be"}, errs.Invalid},
		{"text that turns around in the name", accounts.New{Username: "zoe\u202exyz"}, errs.Invalid},
		{"not UTF-8", accounts.New{Username: "a\xff"}, errs.Invalid},
		{"no address", accounts.New{Username: "x", Email: "x"}, errs.Invalid},
		{"a space in the address", accounts.New{Username: "x", Email: "x y@example.org"}, errs.Invalid},
		{"an unknown language", accounts.New{Username: "x", Language: "de"}, errs.Invalid},
		{"a user with a role", accounts.New{Username: "x", Role: access.OrgAdmin}, errs.Invalid},
		{"an administrator without", accounts.New{Kind: access.AdminKind, Username: "x"}, errs.Invalid},
		{"an unknown kind", accounts.New{Kind: "device", Username: "x"}, errs.Invalid},
		{"no organisation", accounts.New{Org: "none", Username: "x"}, errs.NotFound},
	} {
		if _, err := w.Create(system, c.n); errs.KindOf(err) != c.want {
			t.Errorf("%s: %v, want kind %d", c.name, err, c.want)
		}
	}
}

// Usernames are unique on the whole server, also when two are made at once.
func TestUsernamesUnderARace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	results := make(chan error)
	for i := range 8 {
		go func() {
			_, err := w.Create(system, accounts.New{Username: []string{"same", "SAME"}[i%2]})
			results <- err
		}()
	}
	made := 0
	for range 8 {
		err := <-results
		if err == nil {
			made++
		} else if errs.KindOf(err) != errs.Conflict && !db.Duplicate(err) {
			t.Errorf("got %v, want Conflict", err)
		}
	}
	if made != 1 {
		t.Errorf("%d accounts of one name", made)
	}
}

func TestWhoMayManage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, org, viewer := w.Admin("root", access.ServerAdmin), w.Admin("org", access.OrgAdmin), w.Admin("viewer", access.Viewer)
	w.Admin("root2", access.ServerAdmin)
	una, vic := w.User("una"), w.User("vic")
	caller := func(u accounts.User) access.Caller { return u.Caller(access.Caller{}) }
	for _, c := range []struct {
		name   string
		by     access.Caller
		target accounts.User
		want   errs.Kind
	}{
		{"an administrator, a user", caller(org), una, 0},
		{"a server administrator, an administrator", caller(server), org, 0},
		{"an administrator, a server administrator", caller(org), server, errs.Forbidden},
		{"a viewer, a user", caller(viewer), una, errs.Forbidden},
		{"a user, a colleague", caller(una), vic, errs.NotFound},
		{"a user, themselves", caller(una), una, errs.Forbidden},
		{"nobody", access.Caller{}, una, errs.Unauthenticated},
	} {
		for verb, do := range map[string]func(tx *db.Tx) error{
			"Update": func(tx *db.Tx) error {
				name := "New"
				_, err := accounts.Update(t.Context(), tx, c.by, c.target.ID, accounts.Changes{FirstName: &name})
				return err
			},
			"SetState": func(tx *db.Tx) error {
				if err := accounts.SetState(t.Context(), tx, c.by, c.target.ID, accounts.Disabled, ""); err != nil {
					return err
				}
				return accounts.SetState(t.Context(), tx, system, c.target.ID, accounts.Active, "")
			},
			"SetPassword": func(tx *db.Tx) error {
				if c.by.User == c.target.ID {
					return errs.New(errs.Forbidden, "own password: another test")
				}
				return accounts.SetPassword(t.Context(), tx, c.by, c.target.ID, w.Hash(password), false)
			},
		} {
			err := w.DB.Write(t.Context(), do)
			if c.want == 0 && err != nil || c.want != 0 && errs.KindOf(err) != c.want {
				t.Errorf("%s: %s = %v, want kind %d", c.name, verb, err, c.want)
			}
		}
	}
	// Nobody rises above themselves, by making an account or changing one.
	if _, err := w.Create(caller(org), accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "climber"}); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an administrator made a server administrator: %v", err)
	}
	role := access.ServerAdmin
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, caller(org), org.ID, accounts.Changes{Role: &role})
		return err
	})
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an administrator made themselves a server administrator: %v", err)
	}
	if got := w.Find(org.ID).Role; got != access.OrgAdmin {
		t.Errorf("the role is %s now", got)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.Admin("first", access.ServerAdmin)
	state := func(id accounts.ID, to accounts.State) error {
		return w.DB.Write(t.Context(), func(tx *db.Tx) error {
			return accounts.SetState(t.Context(), tx, system, id, to, "")
		})
	}
	if err := state(first.ID, accounts.Disabled); errs.KindOf(err) != errs.Conflict {
		t.Errorf("disabling the last: %v, want Conflict", err)
	}
	role := access.Viewer
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, system, first.ID, accounts.Changes{Role: &role})
		return err
	})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("demoting the last: %v, want Conflict", err)
	}
	w.Admin("second", access.ServerAdmin)
	if err := state(first.ID, accounts.Disabled); err != nil {
		t.Error(err)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	steps := []struct {
		to   accounts.State
		want errs.Kind
	}{
		{accounts.Active, errs.Conflict}, {accounts.Invited, errs.Conflict}, {"none", errs.Conflict},
		{accounts.Disabled, 0}, {accounts.Active, 0}, {accounts.Preserved, 0}, {accounts.Disabled, errs.Conflict},
		{accounts.Active, 0}, {accounts.Deleted, 0}, {accounts.Active, errs.Conflict}, {accounts.Purged, errs.Conflict},
	}
	for _, s := range steps {
		before := w.Find(u.ID).State
		err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
			return accounts.SetState(t.Context(), tx, system, u.ID, s.to, "because it is a test")
		})
		if s.want == 0 && err != nil || s.want != 0 && errs.KindOf(err) != s.want {
			t.Errorf("%s to %s: %v, want kind %d", before, s.to, err, s.want)
		}
	}
	invited, err := w.Create(system, accounts.New{Username: "invited"})
	if err != nil {
		t.Fatal(err)
	}
	err = w.DB.Write(t.Context(), func(tx *db.Tx) error {
		return accounts.SetState(t.Context(), tx, system, invited.ID, accounts.Active, "")
	})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("activating an account without a password: %v", err)
	}
	w.Write(func(tx *db.Tx) error {
		return accounts.SetPassword(t.Context(), tx, system, invited.ID, w.Hash(password), true)
	})
	if got := w.Find(invited.ID); got.State != accounts.Active || !got.MustChangePassword {
		t.Errorf("with a password: %s, must change %v", got.State, got.MustChangePassword)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.User("una")
	w.User("vic")
	change := func(c accounts.Changes) error {
		return w.DB.Write(t.Context(), func(tx *db.Tx) error {
			_, err := accounts.Update(t.Context(), tx, system, u.ID, c)
			return err
		})
	}
	name, mail := "UNA", "u@example.net"
	if err := change(accounts.Changes{Username: &name, Email: &mail}); err != nil {
		t.Fatal(err)
	}
	if got := w.Find(u.ID); got.Username != "UNA" || got.Email != mail || got.Keys.Gen != 1 {
		t.Errorf("found %+v", got)
	}
	rows := w.Audit(audit.Filter{Object: "user/" + string(u.ID), Limit: 1})
	if len(rows[0].Details) != 2 || rows[0].Details[0].Before != "una" || rows[0].Details[0].After != "UNA" {
		t.Errorf("details %+v", rows[0].Details)
	}
	taken := "Vic"
	if err := change(accounts.Changes{Username: &taken}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("taking a name: %v, want Conflict", err)
	}
	bad := "x"
	if err := change(accounts.Changes{Email: &bad}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a wrong address: %v, want Invalid", err)
	}
	w.Write(func(tx *db.Tx) error {
		return accounts.SetLanguage(t.Context(), tx, u.Caller(access.Caller{}), "fr")
	})
	if got := w.Find(u.ID).Language; got != "fr" {
		t.Errorf("language = %q", got)
	}
}
