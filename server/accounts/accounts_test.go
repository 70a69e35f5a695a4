package accounts_test

import (
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
)

var system = access.System("test")

const password = "Correct horse 1"

// world is a database with one organisation.
type world struct {
	*testing.T
	d    *db.DB
	ring *keys.Ring
	h    *passwords.Hasher
	org  orgs.Org
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ring, err := keys.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, d: dbtest.New(t), ring: ring, h: &passwords.Hasher{Time: 1, Memory: 8}}
	w.write(func(tx *db.Tx) error {
		w.org, err = orgs.Create(t.Context(), tx, system, ring, "Example")
		return err
	})
	return w
}

// write fails the test when f does.
func (w *world) write(f func(*db.Tx) error) {
	w.Helper()
	if err := w.d.Write(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

func (w *world) hash(password string) string {
	w.Helper()
	hash, err := w.h.Hash(w.Context(), password)
	if err != nil {
		w.Fatal(err)
	}
	return hash
}

func (w *world) create(by access.Caller, n accounts.New) (u accounts.User, err error) {
	w.Helper()
	if n.Org == "" {
		n.Org = w.org.ID
	}
	if n.Kind == "" {
		n.Kind = access.UserKind
	}
	err = w.d.Write(w.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.Create(w.Context(), tx, by, w.ring, n)
		return err
	})
	return u, err
}

// user makes an active user, address and password as given.
func (w *world) user(username string) accounts.User {
	w.Helper()
	u, err := w.create(system, accounts.New{Username: username, Email: username + "@example.org", PasswordHash: w.hash(password)})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) admin(username string, role access.Role) accounts.User {
	w.Helper()
	u, err := w.create(system, accounts.New{Kind: access.AdminKind, Role: role, Username: username, PasswordHash: w.hash(password)})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) find(id accounts.ID) (u accounts.User) {
	w.Helper()
	err := w.d.Read(w.Context(), func(tx *db.Tx) (err error) {
		u, err = accounts.Find(w.Context(), tx, id)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) audit(f audit.Filter) (rows []audit.Row) {
	w.Helper()
	err := w.d.Read(w.Context(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(w.Context(), tx, system, f)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return rows
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, err := w.create(system, accounts.New{Username: " Zoe\u0308 ", Email: "Zoe@EXAMPLE.org", FirstName: "Zoë", LastName: "Müller",
		Language: "fr", PasswordHash: w.hash(password)})
	if err != nil {
		t.Fatal(err)
	}
	got := w.find(u.ID)
	if got.Username != "Zoë" || got.Email != "Zoe@example.org" || got.Name() != "Zoë Müller" || got.State != accounts.Active || got.Language != "fr" {
		t.Errorf("found %+v", got)
	}
	if got.Keys.Gen != 1 || len(got.Keys.PublicKey) == 0 || len(got.Keys.Wrapped) == 0 || len(got.Keys.Cert) == 0 || len(got.Keys.IdentityKey) == 0 {
		t.Error("the user has no keys")
	}
	rows := w.audit(audit.Filter{Object: "user/" + string(u.ID)})
	if len(rows) != 1 || rows[0].Action != access.ManageUsers || rows[0].Owner != u.ID {
		t.Errorf("audit: %+v", rows)
	}

	// An e-mail address may be shared.
	if _, err := w.create(system, accounts.New{Username: "other", Email: "zoe@example.org"}); err != nil {
		t.Error(err)
	}
	invited, err := w.create(system, accounts.New{Username: "invited"})
	if err != nil || invited.State != accounts.Invited {
		t.Errorf("without a password the state is %s, %v; want invited", invited.State, err)
	}
	admin, err := w.create(system, accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "admin", PasswordHash: w.hash(password)})
	if err != nil || w.find(admin.ID).Keys.Gen != 0 {
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
		if _, err := w.create(system, c.n); errs.KindOf(err) != c.want {
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
			_, err := w.create(system, accounts.New{Username: []string{"same", "SAME"}[i%2]})
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
	server, org, viewer := w.admin("root", access.ServerAdmin), w.admin("org", access.OrgAdmin), w.admin("viewer", access.Viewer)
	w.admin("root2", access.ServerAdmin)
	una, vic := w.user("una"), w.user("vic")
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
				return accounts.SetPassword(t.Context(), tx, c.by, c.target.ID, w.hash(password), false)
			},
		} {
			err := w.d.Write(t.Context(), do)
			if c.want == 0 && err != nil || c.want != 0 && errs.KindOf(err) != c.want {
				t.Errorf("%s: %s = %v, want kind %d", c.name, verb, err, c.want)
			}
		}
	}
	// Nobody rises above themselves, by making an account or changing one.
	if _, err := w.create(caller(org), accounts.New{Kind: access.AdminKind, Role: access.ServerAdmin, Username: "climber"}); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an administrator made a server administrator: %v", err)
	}
	role := access.ServerAdmin
	err := w.d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, caller(org), org.ID, accounts.Changes{Role: &role})
		return err
	})
	if errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an administrator made themselves a server administrator: %v", err)
	}
	if got := w.find(org.ID).Role; got != access.OrgAdmin {
		t.Errorf("the role is %s now", got)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.admin("first", access.ServerAdmin)
	state := func(id accounts.ID, to accounts.State) error {
		return w.d.Write(t.Context(), func(tx *db.Tx) error {
			return accounts.SetState(t.Context(), tx, system, id, to, "")
		})
	}
	if err := state(first.ID, accounts.Disabled); errs.KindOf(err) != errs.Conflict {
		t.Errorf("disabling the last: %v, want Conflict", err)
	}
	role := access.Viewer
	err := w.d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.Update(t.Context(), tx, system, first.ID, accounts.Changes{Role: &role})
		return err
	})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("demoting the last: %v, want Conflict", err)
	}
	w.admin("second", access.ServerAdmin)
	if err := state(first.ID, accounts.Disabled); err != nil {
		t.Error(err)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("una")
	steps := []struct {
		to   accounts.State
		want errs.Kind
	}{
		{accounts.Active, errs.Conflict}, {accounts.Invited, errs.Conflict}, {"none", errs.Conflict},
		{accounts.Disabled, 0}, {accounts.Active, 0}, {accounts.Preserved, 0}, {accounts.Disabled, errs.Conflict},
		{accounts.Active, 0}, {accounts.Deleted, 0}, {accounts.Active, errs.Conflict}, {accounts.Purged, errs.Conflict},
	}
	for _, s := range steps {
		before := w.find(u.ID).State
		err := w.d.Write(t.Context(), func(tx *db.Tx) error {
			return accounts.SetState(t.Context(), tx, system, u.ID, s.to, "because it is a test")
		})
		if s.want == 0 && err != nil || s.want != 0 && errs.KindOf(err) != s.want {
			t.Errorf("%s to %s: %v, want kind %d", before, s.to, err, s.want)
		}
	}
	invited, err := w.create(system, accounts.New{Username: "invited"})
	if err != nil {
		t.Fatal(err)
	}
	err = w.d.Write(t.Context(), func(tx *db.Tx) error {
		return accounts.SetState(t.Context(), tx, system, invited.ID, accounts.Active, "")
	})
	if errs.KindOf(err) != errs.Conflict {
		t.Errorf("activating an account without a password: %v", err)
	}
	w.write(func(tx *db.Tx) error {
		return accounts.SetPassword(t.Context(), tx, system, invited.ID, w.hash(password), true)
	})
	if got := w.find(invited.ID); got.State != accounts.Active || !got.MustChangePassword {
		t.Errorf("with a password: %s, must change %v", got.State, got.MustChangePassword)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("una")
	w.user("vic")
	change := func(c accounts.Changes) error {
		return w.d.Write(t.Context(), func(tx *db.Tx) error {
			_, err := accounts.Update(t.Context(), tx, system, u.ID, c)
			return err
		})
	}
	name, mail := "UNA", "u@example.net"
	if err := change(accounts.Changes{Username: &name, Email: &mail}); err != nil {
		t.Fatal(err)
	}
	if got := w.find(u.ID); got.Username != "UNA" || got.Email != mail || got.Keys.Gen != 1 {
		t.Errorf("found %+v", got)
	}
	rows := w.audit(audit.Filter{Object: "user/" + string(u.ID), Limit: 1})
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
	w.write(func(tx *db.Tx) error {
		return accounts.SetLanguage(t.Context(), tx, u.Caller(access.Caller{}), "fr")
	})
	if got := w.find(u.ID).Language; got != "fr" {
		t.Errorf("language = %q", got)
	}
}
