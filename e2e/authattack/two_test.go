package authattack_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
)

// One administrator would be two: by an account of their own making, by a
// colleague's whose password they set, by others who may less, and by doing it
// twice.
func oneWhoWouldBeTwo(t testing.TB) {
	w := newWorld(t)
	other := w.org("Other")
	w.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "second"})
	taken := w.account(accounts.New{Kind: access.AdminKind, Role: access.OrgAdmin, Username: "taken"})
	w.account(accounts.New{Kind: access.AdminKind, Role: access.Viewer, Username: "viewer"})
	w.account(accounts.New{Org: other.ID, Kind: access.AdminKind, Role: access.OrgAdmin, Username: "foreign"})
	hash, err := servertest.Hasher.Hash(w.Context(), servertest.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	w.write(func(ctx context.Context, tx *db.Tx) error {
		_, err := accounts.Create(ctx, tx, caller(w.Admin), w.Keys, accounts.New{Org: w.Org.ID, Kind: access.AdminKind, Role: access.ServerAdmin, Username: "made", PasswordHash: hash})
		if err != nil {
			return err
		}
		return accounts.SetPassword(ctx, tx, caller(w.Admin), taken.ID, hash, false)
	})
	admin, user := w.console().login("admin"), "/users/"+string(w.User.ID)
	ask := func() string {
		t.Helper()
		admin.post(user+"/purge", "confirm", "user", "reason", "because it must be")
		var id string
		w.read(func(ctx context.Context, tx *db.Tx) error {
			return tx.QueryRow(ctx, "SELECT id FROM approvals WHERE state = 'waiting'").Scan(&id)
		})
		return "/approvals/" + id
	}
	admin.post(user+"/delete", "confirm", "user", "reason", "because it must be")
	at := ask()
	for _, name := range []string{"admin", "made", "taken", "viewer", "foreign"} {
		if a := w.console().login(name).post(at + "/approve"); a.StatusCode == http.StatusSeeOther {
			t.Errorf("%s approves what admin asked for", name)
		}
	}
	second := w.console().login("second")
	if a := second.post(at + "/refuse"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("refused: %s", a.Status)
	}
	if a := second.post(at + "/approve"); a.StatusCode == http.StatusSeeOther {
		t.Error("what was refused is approved")
	}
	at = ask()
	w.exec("UPDATE approvals SET data = replace(data, '" + string(w.User.ID) + "', '" + string(w.Admin.ID) + "') WHERE state = 'waiting'")
	if a := second.post(at + "/approve"); a.StatusCode == http.StatusSeeOther {
		t.Error("what was changed is approved")
	}
	var state accounts.State
	w.read(func(ctx context.Context, tx *db.Tx) error {
		return tx.QueryRow(ctx, "SELECT state FROM users WHERE id = $1", w.User.ID).Scan(&state)
	})
	if state != accounts.Deleted {
		t.Errorf("the user is %s", state)
	}
}
