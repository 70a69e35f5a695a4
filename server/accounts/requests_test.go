package accounts_test

import (
	"fmt"
	"testing"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

func TestRequestDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock()
	una, vic := w.User("una"), w.User("vic")
	for name, role := range map[string]access.Role{"boss": access.ServerAdmin, "org": access.OrgAdmin, "viewer": access.Viewer} {
		_, err := w.Create(system, accounts.New{Kind: access.AdminKind, Role: role, Username: name, Email: name + "@example.org", PasswordHash: w.Hash(password)})
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func(u accounts.User) error {
		return w.Try(func(tx *db.Tx) error {
			return accounts.RequestDeletion(t.Context(), tx, u.Caller(from), w.Ring, "https://admin.example.org/")
		})
	}
	open := func() (names string) {
		t.Helper()
		w.Write(func(tx *db.Tx) error {
			list, err := accounts.Requests(t.Context(), tx, system, w.Org.ID)
			for names = ""; len(list) > 0; list = list[1:] {
				names += list[0].Username + " "
			}
			return err
		})
		return names
	}
	w.Write(func(tx *db.Tx) error { return accounts.SetHold(t.Context(), tx, system, vic.ID, true) })
	// Twice is once, and a hold is not to be noticed.
	for _, u := range []accounts.User{una, una, vic} {
		if err := ask(u); err != nil {
			t.Errorf("%s asks: %v", u.Username, err)
		}
	}
	var to []string
	for _, m := range w.Mails() {
		if link := m.Values["link"]; link != "https://admin.example.org/admin/users/"+string(una.ID) && link != "https://admin.example.org/admin/users/"+string(vic.ID) {
			t.Errorf("the mail leads to %q", link)
		}
		to = append(to, string(m.Template)+" "+m.To+" "+m.Values["username"])
	}
	want := []string{"deletion_requested boss@example.org una", "deletion_requested org@example.org una",
		"deletion_requested boss@example.org vic", "deletion_requested org@example.org vic"}
	if fmt.Sprint(to) != fmt.Sprint(want) {
		t.Errorf("mailed %v, want %v", to, want)
	}
	if got := open(); got != "una vic " {
		t.Errorf("open are %q", got)
	}
	if err := w.setState(una.ID, accounts.Deleted); err != nil {
		t.Fatal(err)
	}
	if got := open(); got != "vic " {
		t.Errorf("after the deletion open are %q", got)
	}
	var id string
	w.Write(func(tx *db.Tx) error {
		list, err := accounts.Requests(t.Context(), tx, system, "")
		id = list[0].ID
		return err
	})
	refuse := func(by access.Caller) error {
		return w.Try(func(tx *db.Tx) error { return accounts.RefuseRequest(t.Context(), tx, by, id) })
	}
	if err := refuse(vic.Caller(from)); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user refuses: %v", err)
	}
	if err := refuse(system); err != nil {
		t.Error(err)
	}
	if err := refuse(system); errs.KindOf(err) != errs.NotFound {
		t.Errorf("twice: %v, want NotFound", err)
	}
	err := w.Try(func(tx *db.Tx) error {
		_, err := accounts.Requests(t.Context(), tx, vic.Caller(from), w.Org.ID)
		return err
	})
	if errs.KindOf(err) != errs.NotFound && errs.KindOf(err) != errs.Forbidden {
		t.Errorf("a user lists the requests: %v", err)
	}
}
