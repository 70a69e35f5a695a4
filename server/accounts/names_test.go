package accounts_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

func TestUsernames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	move := w.clock()
	for _, name := range []string{"admin", "Root", "SYSTEM", "administrator"} {
		if _, err := w.Create(system, accounts.New{Username: name, State: accounts.Pending}); errs.KindOf(err) != errs.Invalid {
			t.Errorf("registering as %q: %v, want Invalid", name, err)
		}
	}
	if _, err := w.Create(system, accounts.New{Username: "admin"}); err != nil {
		t.Errorf("an administrator gives it: %v", err)
	}
	u, vic := w.User("una"), w.User("vic")
	rename := func(id accounts.ID, name string) error {
		return w.Try(func(tx *db.Tx) error {
			_, err := accounts.Update(t.Context(), tx, system, id, accounts.Changes{Username: &name})
			return err
		})
	}
	if err := rename(u.ID, "una.nemo"); err != nil {
		t.Fatal(err)
	}
	move(90*day - time.Microsecond)
	if err := rename(vic.ID, "UNA"); errs.KindOf(err) != errs.Conflict {
		t.Errorf("somebody else takes the old name: %v, want Conflict", err)
	}
	if _, err := w.Create(system, accounts.New{Username: "una"}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a new account with the old name: %v, want Conflict", err)
	}
	if err := rename(u.ID, "una"); err != nil {
		t.Errorf("back to one's own: %v", err)
	}
	if err := rename(u.ID, "u"); err != nil { // which starts the 90 days again
		t.Fatal(err)
	}
	move(90 * day)
	if err := rename(vic.ID, "una"); err != nil {
		t.Errorf("after 90 days: %v", err)
	}
}
