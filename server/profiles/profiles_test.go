package profiles_test

import (
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/accounts/accountstest"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
)

var system = accountstest.System

// world is one with a default profile.
type world struct {
	*accountstest.World
	first profiles.Profile
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: accountstest.New(t)}
	w.Write(func(tx *db.Tx) (err error) {
		w.first, err = profiles.Create(t.Context(), tx, system, w.Org.ID, "Default", "", profile.Defaults())
		return err
	})
	return w
}

func (w *world) create(by access.Caller, org orgs.ID, name string, s profile.Settings) (p profiles.Profile, err error) {
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		p, err = profiles.Create(w.Context(), tx, by, org, name, "", s)
		return err
	})
	return p, err
}

func (w *world) save(by access.Caller, id profiles.ID, revision int64, c profiles.Changes) (p profiles.Profile, err error) {
	err = w.DB.Write(w.Context(), func(tx *db.Tx) (err error) {
		p, err = profiles.Save(w.Context(), tx, by, id, revision, c)
		return err
	})
	return p, err
}

func (w *world) user(name string) accounts.User {
	w.Helper()
	return w.Made(accounts.New{Username: name})
}

func (w *world) of(id accounts.ID) (e profiles.Effective) {
	w.Helper()
	err := w.DB.Read(w.Context(), func(tx *db.Tx) error {
		u, err := accounts.Find(w.Context(), tx, id)
		if err != nil {
			return err
		}
		e, err = profiles.Of(w.Context(), tx, u)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return e
}

func admin(org orgs.ID, role access.Role) access.Caller {
	return access.Caller{Kind: access.AdminKind, User: "a", Org: org, Role: role, Name: "ada"}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if !w.first.Default || w.first.Revision != 1 {
		t.Errorf("the first profile is %+v", w.first)
	}
	second, err := w.create(admin(w.Org.ID, access.OrgAdmin), w.Org.ID, "  Laboratory ", profile.Defaults())
	if err != nil || second.Default || second.Name != "Laboratory" {
		t.Errorf("the second is %+v, %v", second, err)
	}
	wrong := profile.Defaults()
	wrong.IntervalMinutes = 1
	for _, c := range []struct {
		name string
		by   access.Caller
		org  orgs.ID
		p    string
		s    profile.Settings
		want errs.Kind
	}{
		{"a name in another case", system, w.Org.ID, "LABORATORY", profile.Defaults(), errs.Conflict},
		{"no name", system, w.Org.ID, " ", profile.Defaults(), errs.Invalid},
		{"a control character", system, w.Org.ID, "a\x00", profile.Defaults(), errs.Invalid},
		{"wrong settings", system, w.Org.ID, "x", wrong, errs.Invalid},
		{"a viewer", admin(w.Org.ID, access.Viewer), w.Org.ID, "x", profile.Defaults(), errs.Forbidden},
		{"from another organisation", admin("other", access.OrgAdmin), w.Org.ID, "x", profile.Defaults(), errs.NotFound},
	} {
		if _, err := w.create(c.by, c.org, c.p, c.s); errs.KindOf(err) != c.want {
			t.Errorf("%s: %v, want kind %d", c.name, err, c.want)
		}
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	by := admin(w.Org.ID, access.OrgAdmin)
	s := profile.Defaults()
	s.WebRestore = false
	s.Folders = []profile.Folder{{Path: "/srv", Mandatory: true}}
	s.Schedule.Cron = "0 12 * * *"
	saved, err := w.save(by, w.first.ID, 1, profiles.Changes{Settings: &s, Reason: "the works council asked"})
	if err != nil || saved.Revision != 2 || !saved.UpdatedAt.After(w.first.UpdatedAt) {
		t.Fatalf("saved %+v, %v", saved, err)
	}
	w.Write(func(tx *db.Tx) error {
		got, err := profiles.View(t.Context(), tx, by, w.first.ID)
		if err != nil || got.Settings.WebRestore || len(got.Settings.Folders) != 1 || got.Revision != 2 {
			t.Errorf("found %+v, %v", got, err)
		}
		list, err := profiles.Revisions(t.Context(), tx, by, w.first.ID)
		if err != nil || len(list) != 2 || list[0].Revision != 2 || list[0].AuthorName != "ada" || list[0].Reason == "" ||
			list[0].Settings.WebRestore || !list[1].Settings.WebRestore {
			t.Errorf("revisions %+v, %v", list, err)
		}
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Object: "profile/" + string(w.first.ID), Limit: 1})
		var names []string
		if err == nil && len(rows) == 1 {
			for _, d := range rows[0].Details {
				names = append(names, d.Name)
			}
		}
		if want := []string{"folders", "schedule.cron", "web_restore", "reason"}; !slices.Equal(names, want) {
			t.Errorf("audited are %v, want %v: %+v, %v", names, want, rows, err)
		}
		return nil
	})
	again, err := w.save(by, w.first.ID, 2, profiles.Changes{Settings: &s})
	if err != nil || again.Revision != 2 {
		t.Errorf("the same again: revision %d, %v; want 2", again.Revision, err)
	}
	name := "Other"
	if _, err := w.save(system, w.first.ID, 1, profiles.Changes{Name: &name}); errs.KindOf(err) != errs.Conflict || errs.Find(err).Args["author"] != "ada" {
		t.Errorf("upon an old revision: %v, want Conflict that names ada", err)
	}
	if _, err := w.create(system, w.Org.ID, "Taken", profile.Defaults()); err != nil {
		t.Fatal(err)
	}
	name = "taken"
	if _, err := w.save(by, w.first.ID, 2, profiles.Changes{Name: &name}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("with another's name: %v, want Conflict", err)
	}
	for _, c := range []struct {
		by   access.Caller
		want errs.Kind
	}{{admin(w.Org.ID, access.Viewer), errs.Forbidden}, {admin("other", access.OrgAdmin), errs.NotFound},
		{access.Caller{Kind: access.UserKind, User: "u", Org: w.Org.ID}, errs.NotFound}} {
		if _, err := w.save(c.by, w.first.ID, 2, profiles.Changes{Settings: &s}); errs.KindOf(err) != c.want {
			t.Errorf("by %s %s: %v, want kind %d", c.by.Kind, c.by.Role, err, c.want)
		}
	}
}

// The version grows with every save, with every assignment, in both directions,
// and when the clock goes back.
func TestOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.DB.Now = func() time.Time { return now }
	u := w.user("una")
	lab, err := w.create(system, w.Org.ID, "Laboratory", profile.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	if got := w.of(u.ID); got.ID != w.first.ID {
		t.Errorf("a new user has profile %s, want the default", got.Name)
	}
	last := w.of(u.ID).Version
	grows := func(what string, want profiles.ID) {
		t.Helper()
		got := w.of(u.ID)
		if got.Version <= last || got.ID != want {
			t.Errorf("%s: version %d after %d, profile %s", what, got.Version, last, got.Name)
		}
		last = got.Version
	}
	assign := func(id profiles.ID) {
		w.Write(func(tx *db.Tx) error { return profiles.Assign(t.Context(), tx, system, u.ID, id) })
	}
	// The default was made by the real clock, which is later than this one.
	assign(lab.ID)
	grows("assigned", lab.ID)
	now = now.Add(time.Second)
	s := profile.Defaults()
	s.WebRestore = false
	if lab, err = w.save(system, lab.ID, 1, profiles.Changes{Settings: &s}); err != nil {
		t.Fatal(err)
	}
	grows("saved", lab.ID)
	now = now.Add(-time.Minute)
	s.MaxDevices = 3
	if lab, err = w.save(system, lab.ID, 2, profiles.Changes{Settings: &s}); err != nil {
		t.Fatal(err)
	}
	grows("saved with the clock gone back", lab.ID)
	now = now.Add(time.Hour)
	assign("")
	grows("back to the default", w.first.ID)
}

func TestAssign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("una")
	var foreign profiles.Profile
	w.Write(func(tx *db.Tx) error {
		other, err := orgs.Create(t.Context(), tx, system, w.Ring, "Other")
		if err != nil {
			return err
		}
		foreign, err = profiles.Create(t.Context(), tx, system, other.ID, "Default", "", profile.Defaults())
		return err
	})
	for _, c := range []struct {
		by   access.Caller
		id   profiles.ID
		want errs.Kind
	}{
		{system, foreign.ID, errs.Invalid},
		{system, "none", errs.NotFound},
		{u.Caller(access.Caller{}), w.first.ID, errs.Forbidden},
	} {
		err := w.DB.Write(t.Context(), func(tx *db.Tx) error { return profiles.Assign(t.Context(), tx, c.by, u.ID, c.id) })
		if errs.KindOf(err) != c.want {
			t.Errorf("Assign(%s) by %s = %v, want kind %d", c.id, c.by.Kind, err, c.want)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lab, err := w.create(system, w.Org.ID, "a laboratory", profile.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	w.user("one")
	two, gone := w.user("two"), w.user("gone")
	w.Write(func(tx *db.Tx) error {
		if err := profiles.Assign(t.Context(), tx, system, two.ID, lab.ID); err != nil {
			return err
		}
		return accounts.SetState(t.Context(), tx, system, gone.ID, accounts.Deleted, "left the company")
	})
	w.Write(func(tx *db.Tx) error {
		list, err := profiles.List(t.Context(), tx, admin(w.Org.ID, access.Viewer), w.Org.ID)
		if err != nil || len(list) != 2 || list[0].ID != lab.ID || list[0].Users != 1 || list[1].Users != 1 {
			t.Errorf("list %+v, %v", list, err)
		}
		if _, err := profiles.List(t.Context(), tx, admin("other", access.OrgAdmin), w.Org.ID); errs.KindOf(err) != errs.NotFound {
			t.Errorf("from another organisation: %v", err)
		}
		return nil
	})
}

// The profile decides who may keep administrators out, not who stops; taking the
// choice away leaves those who made it as they are.
func TestSetPrivacy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, vic := w.user("una"), w.user("vic")
	set := func(u accounts.User, on bool) error {
		return w.Try(func(tx *db.Tx) error {
			return profiles.SetPrivacy(t.Context(), tx, access.Caller{Kind: access.UserKind, User: u.ID, Org: u.Org}, on)
		})
	}
	private := func(u accounts.User) (on bool) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			now, err := accounts.Find(t.Context(), tx, u.ID)
			on = now.PrivacyOn
			return err
		})
		return on
	}
	if err := set(una, true); errs.KindOf(err) != errs.Forbidden || private(una) {
		t.Errorf("against the profile: %v", err)
	}
	s := profile.Defaults()
	s.UserCanEditPrivacy = true
	p, err := w.save(system, w.first.ID, 1, profiles.Changes{Settings: &s})
	if err != nil {
		t.Fatal(err)
	}
	if err := set(una, true); err != nil || !private(una) || private(vic) {
		t.Fatalf("with the profile: %v", err)
	}
	s.UserCanEditPrivacy = false
	if _, err := w.save(system, w.first.ID, p.Revision, profiles.Changes{Settings: &s}); err != nil {
		t.Fatal(err)
	}
	if !private(una) {
		t.Fatal("the profile dropped the privacy of who has it on")
	}
	if err := set(una, true); err != nil || !private(una) {
		t.Errorf("on again what is on: %v", err)
	}
	if err := set(una, false); err != nil || private(una) {
		t.Errorf("off is the user's choice: %v", err)
	}
	if err := set(una, true); errs.KindOf(err) != errs.Forbidden || private(una) {
		t.Errorf("once off, against the profile: %v", err)
	}
	w.Write(func(tx *db.Tx) error {
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Object: "profile/" + string(w.first.ID), Limit: 1})
		if err == nil && (len(rows) != 1 || len(rows[0].Details) != 1 || rows[0].Details[0] != audit.Change("user_can_edit_privacy", true, false)) {
			t.Errorf("the change of the profile is recorded as %+v", rows)
		}
		return err
	})
}
