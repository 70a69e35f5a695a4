package accounts_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/db/dbtest"
	"github.com/backstay/backstay/server/orgs"
)

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var other orgs.Org
	w.Write(func(tx *db.Tx) (err error) {
		other, err = orgs.Create(t.Context(), tx, system, w.Ring, "Other")
		return err
	})
	for _, n := range []accounts.New{
		{Username: "carl", Email: "carl@example.org", FirstName: "Carl", LastName: "Élan"},
		{Username: "Bea", Email: "bea@example.org", FirstName: "Béatrice", LastName: "Dupont"},
		{Username: "anna_1", Email: "100%@example.org"},
		{Username: "annax1", Email: "1000@example.org"},
		{Username: "zed", Org: other.ID},
		{Username: "boss", Kind: access.AdminKind, Role: access.OrgAdmin},
	} {
		if _, err := w.Create(system, n); err != nil {
			t.Fatal(err)
		}
	}
	gone := w.User("gone")
	w.Write(func(tx *db.Tx) error {
		return accounts.SetState(t.Context(), tx, system, gone.ID, accounts.Deleted, "left the company")
	})
	list := func(by access.Caller, f accounts.Filter) (names string, after string, err error) {
		err = w.DB.Read(t.Context(), func(tx *db.Tx) error {
			users, next, err := accounts.List(t.Context(), tx, by, f)
			if err != nil {
				return err
			}
			for _, u := range users {
				names += u.Username + " "
			}
			after = next
			n, err := accounts.Count(t.Context(), tx, by, f)
			if f.Limit == 0 && f.After == "" && n != len(users) {
				t.Errorf("Count(%+v) = %d, the list has %d", f, n, len(users))
			}
			return err
		})
		return names, after, err
	}
	for _, c := range []struct {
		f    accounts.Filter
		want string
	}{
		{accounts.Filter{}, "anna_1 annax1 Bea boss carl zed "},
		{accounts.Filter{Org: w.Org.ID, Kind: access.UserKind}, "anna_1 annax1 Bea carl "},
		{accounts.Filter{Kind: access.AdminKind}, "boss "},
		{accounts.Filter{State: accounts.Deleted}, "gone "},
		{accounts.Filter{Seat: "active"}, ""},
		{accounts.Filter{Search: "bea", Before: w.DB.Now().Add(time.Hour)}, "Bea "},
		{accounts.Filter{Search: "bea", Before: w.DB.Now().Add(-time.Hour)}, ""},
		{accounts.Filter{Licence: "none"}, ""},
		{accounts.Filter{Profile: "none"}, ""},
		{accounts.Filter{Profile: "none", Default: true, Kind: access.AdminKind}, "boss "},
		{accounts.Filter{Search: "élan"}, "carl "},
		{accounts.Filter{Search: "E\u0301LAN"}, "carl "},
		{accounts.Filter{Search: "dupont béa"}, "Bea "},
		{accounts.Filter{Search: "EXAMPLE.org"}, "anna_1 annax1 Bea carl "},
		// The wildcards of LIKE are letters here.
		{accounts.Filter{Search: "a_1"}, "anna_1 "},
		{accounts.Filter{Search: "100%"}, "anna_1 "},
		{accounts.Filter{Search: `\`}, ""},
		{accounts.Filter{Search: "' OR 1=1 --"}, ""},
	} {
		got, _, err := list(system, c.f)
		if err != nil || got != c.want {
			t.Errorf("List(%+v) = %q, %v; want %q", c.f, got, err, c.want)
		}
	}
	// Page after page is the whole list.
	var all, after string
	for range 10 {
		names, next, err := list(system, accounts.Filter{Limit: 2, After: after})
		if err != nil {
			t.Fatal(err)
		}
		all += names
		if after = next; after == "" {
			break
		}
	}
	if want := "anna_1 annax1 Bea boss carl zed "; all != want {
		t.Errorf("the pages together are %q, want %q", all, want)
	}
	for _, c := range []struct {
		name string
		by   access.Caller
		org  orgs.ID
		ok   bool
	}{
		{"an administrator, own", access.Caller{Kind: access.AdminKind, User: "a", Org: w.Org.ID, Role: access.OrgAdmin}, w.Org.ID, true},
		{"an administrator, other", access.Caller{Kind: access.AdminKind, User: "a", Org: w.Org.ID, Role: access.OrgAdmin}, other.ID, false},
		{"an administrator, all", access.Caller{Kind: access.AdminKind, User: "a", Org: w.Org.ID, Role: access.OrgAdmin}, "", false},
		{"a user", access.Caller{Kind: access.UserKind, User: gone.ID, Org: w.Org.ID}, w.Org.ID, false},
	} {
		if _, _, err := list(c.by, accounts.Filter{Org: c.org}); (err == nil) != c.ok {
			t.Errorf("%s: %v, want allowed %v", c.name, err, c.ok)
		}
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	una, vic := w.User("una"), w.User("vic")
	for _, c := range []struct {
		by access.Caller
		id accounts.ID
		ok bool
	}{
		{una.Caller(access.Caller{}), una.ID, true},
		{una.Caller(access.Caller{}), vic.ID, false},
		{access.Caller{Kind: access.AdminKind, User: "a", Org: w.Org.ID, Role: access.Viewer}, una.ID, true},
		{access.Caller{Kind: access.DeviceKind, User: una.ID, Org: w.Org.ID, Device: "d"}, una.ID, false},
	} {
		err := w.DB.Read(t.Context(), func(tx *db.Tx) error {
			_, err := accounts.View(t.Context(), tx, c.by, c.id)
			return err
		})
		if (err == nil) != c.ok {
			t.Errorf("View by %s %s of %s = %v, want allowed %v", c.by.Kind, c.by.User, c.id, err, c.ok)
		}
	}
}

// BenchmarkList is a page of a search that few of 100,000 accounts match.
func BenchmarkList(b *testing.B) {
	d := dbtest.New(b)
	err := d.Write(b.Context(), func(tx *db.Tx) error {
		if _, err := tx.Exec(b.Context(), `INSERT INTO orgs (id, name, name_key, state, key_gen, record, created_at, updated_at)
			VALUES ('o', 'o', 'o', 'active', 1, $1, 0, 0)`, []byte{1}); err != nil {
			return err
		}
		for i := range 100_000 {
			name := fmt.Sprintf("user%06d", i)
			if _, err := tx.Exec(b.Context(), `INSERT INTO users (id, org, kind, role, username, username_key, email, email_key, first_name, last_name,
				search, language, state, state_at, profile_at, password, password_at, must_change_password, locked_until, key_gen,
				last_login_at, created_at, updated_at) VALUES ($1, 'o', 'user', '', $1, $1, '', '', '', '', $2, '', 'active', 0, 0, '', 0, FALSE, 0, 1, 0, 0, 0)`,
				name, name+"\n"+name+"@example.org\nfirst last"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, search := range []string{"", "user09999", "nobody at all"} {
		b.Run(search, func(b *testing.B) {
			for b.Loop() {
				err := d.Read(b.Context(), func(tx *db.Tx) error {
					_, _, err := accounts.List(b.Context(), tx, system, accounts.Filter{Org: "o", Kind: access.UserKind, Search: search})
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The counts by state are those of everything else that the filter says.
func TestCountStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"anna", "bea", "carl"} {
		w.User(name)
	}
	gone := w.User("gone")
	w.Write(func(tx *db.Tx) error {
		return accounts.SetState(t.Context(), tx, system, gone.ID, accounts.Deleted, "has left the company")
	})
	for _, c := range []struct {
		f    accounts.Filter
		want map[accounts.State]int
	}{
		{accounts.Filter{Org: w.Org.ID}, map[accounts.State]int{accounts.Active: 3, accounts.Deleted: 1}},
		{accounts.Filter{Org: w.Org.ID, State: accounts.Invited}, map[accounts.State]int{accounts.Active: 3, accounts.Deleted: 1}},
		{accounts.Filter{Org: w.Org.ID, Search: "a"}, map[accounts.State]int{accounts.Active: 3, accounts.Deleted: 1}},
		{accounts.Filter{Org: w.Org.ID, Search: "bea"}, map[accounts.State]int{accounts.Active: 1}},
		{accounts.Filter{Org: "another"}, map[accounts.State]int{}},
	} {
		var got map[accounts.State]int
		err := w.DB.Read(t.Context(), func(tx *db.Tx) (err error) {
			got, err = accounts.CountStates(t.Context(), tx, system, c.f)
			return err
		})
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("CountStates(%+v) = %v, %v; want %v", c.f, got, err, c.want)
		}
	}
	viewer := access.Caller{Kind: access.AdminKind, User: "x", Org: "another", Role: access.Viewer}
	err := w.DB.Read(t.Context(), func(tx *db.Tx) error {
		_, err := accounts.CountStates(t.Context(), tx, viewer, accounts.Filter{Org: w.Org.ID})
		return err
	})
	if errs.KindOf(err) != errs.NotFound {
		t.Errorf("somebody of another organisation counts: %v", err)
	}
}
