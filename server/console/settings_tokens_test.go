package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/tokens"
)

// A token is made by who has just proved who they are, shown once, used, and
// revoked; the page says all of that.
func TestAPITokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	const at = "/admin/settings/tokens"
	admin.get(at).want(t, http.StatusOK, "There are no API tokens")
	admin.post(at+"/new", "name", "Inventory", "days", "30", "unit", "days").want(t, http.StatusBadRequest, "Choose what the token is for.")
	admin.post(at+"/new", "name", " ", "scopes", access.MapWrite, "days", "30", "unit", "days").want(t, http.StatusBadRequest, "Give the token a name.")
	admin.post(at+"/new", "name", "Inventory", "scopes", access.MapWrite, "days", "366", "unit", "days").want(t, http.StatusBadRequest, "one hour to 365 days")
	admin.post(at+"/new", "name", "Inventory", "scopes", "everything", "days", "30", "unit", "days").want(t, http.StatusBadRequest, "Choose what the token is for.")
	made := admin.post(at+"/new", "name", "Inventory", "scopes", access.MapWrite, "days", "30", "unit", "days")
	made.want(t, http.StatusCreated, "It is shown this once", "/api/v1/device-map")
	secret := tokens.Prefix + between(made.body, "Bearer "+tokens.Prefix, "&#39;")
	id, _, _ := strings.Cut(strings.TrimPrefix(secret, tokens.Prefix), ".")
	page := admin.get(at)
	page.want(t, http.StatusOK, "Inventory", tokens.Prefix+id+".…", "Change the device map", "Active", "admin")
	page.lacks(t, secret)

	use := func() error {
		_, err := tokens.Verify(t.Context(), w.DB, secret, access.Caller{IP: "192.0.2.77"})
		return err
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	admin.get(at).want(t, http.StatusOK, "192.0.2.77")

	// Who only looks sees none, and makes none.
	viewer := w.as("viewer")
	viewer.get(at).want(t, http.StatusForbidden)
	viewer.get(at+"/new").want(t, http.StatusForbidden)
	viewer.get("/admin/settings").lacks(t, "API tokens")
	viewer.post(at+"/"+id+"/revoke").want(t, http.StatusForbidden)

	admin.get(at+"/"+id+"/revoke").want(t, http.StatusOK, "Inventory", "cannot be undone")
	admin.done(admin.post(at+"/"+id+"/revoke"), "The token is revoked.")
	if err := use(); err == nil {
		t.Error("a revoked token is good")
	}
	admin.get(at).want(t, http.StatusOK, "Revoked")
	admin.get("/admin/audit").want(t, http.StatusOK, "Change to an API token")

	// Long ago, nobody asks for it any more.
	err := w.DB.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := tx.Exec(t.Context(), "UPDATE api_tokens SET revoked_at = $1", db.Micros(tx.Now().Add(-91*24*time.Hour))); err != nil {
			return err
		}
		n, err := tokens.Expire(t.Context(), tx)
		if n != 1 {
			t.Errorf("%d tokens were forgotten, want 1", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
