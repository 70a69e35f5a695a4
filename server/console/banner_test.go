package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors/factorstest"
	"github.com/backstay/backstay/server/servertest"
)

// Who has no second factor hears from the first day on until when that goes, on
// every page, whatever they may do; who has one does not.
func TestSecondFactorIsAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	until := locale.For("en").Date(w.DB.Now().UTC().AddDate(0, 0, 7))
	for _, name := range []string{"admin", "viewer"} {
		b := w.as(name)
		b.get("/admin/").want(t, http.StatusOK, "You have no second factor yet. From "+until+" on", `href="/admin/account/security"`)
		b.get("/admin/account/sessions").want(t, http.StatusOK, "You have no second factor yet.")
	}
	admin := w.as("admin")
	by := w.find("admin").Caller(access.Caller{})
	var secret string
	for _, do := range []func(*db.Tx) error{
		func(tx *db.Tx) error {
			app, err := w.Gate.Factors.BeginTOTP(t.Context(), tx, by)
			secret = app.Secret
			return err
		},
		func(tx *db.Tx) error {
			return w.Gate.Factors.ConfirmTOTP(t.Context(), tx, by, factorstest.Code(t, strings.ReplaceAll(secret, " ", ""), w.DB.Now()))
		},
	} {
		if err := w.DB.Write(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	admin.get("/admin/").want(t, http.StatusOK).lacks(t, "second factor yet")
	w.later(8 * 24 * time.Hour)
	viewer := w.stranger()
	viewer.get("/admin/login")
	if p := viewer.post("/admin/login", "username", "viewer", "password", servertest.AdminPassword); p.to != "/admin/enrol" {
		t.Errorf("on the day itself the viewer is led to %q", p.to)
	}
}
