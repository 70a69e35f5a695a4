package entry_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/servertest"
)

// now is the account as it is.
func now(t *testing.T, s *servertest.Server, id accounts.ID) (u accounts.User) {
	t.Helper()
	write(t, s, func(tx *db.Tx) (err error) {
		u, err = accounts.Find(t.Context(), tx, id)
		return err
	})
	return u
}

func TestChangeName(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for base, u := range map[string]accounts.User{"": s.User, "/admin": s.Admin} {
		b := open(t, s)
		password := map[string]string{"": servertest.UserPassword, "/admin": servertest.AdminPassword}[base]
		b.logIn(base, u.Username, password, http.StatusSeeOther)
		b.post(base+"/account/name", http.StatusSeeOther, "first_name", "Zoë", "last_name", "<b>Neil").leads(t, base+"/account")
		b.get(base+"/account", http.StatusOK).has(t, "Your name is changed.", `value="Zoë"`, `value="&lt;b&gt;Neil"`)
		long := strings.Repeat("y", 101)
		b.post(base+"/account/name", http.StatusBadRequest, "first_name", "Other", "last_name", long).has(t, "field-error", "at most 100 characters", `value="Other"`, long)
		b.post(base+"/account/name", http.StatusBadRequest, "first_name", "a\x00", "last_name", "")
		if got := now(t, s, u.ID); got.FirstName != "Zoë" || got.LastName != "<b>Neil" {
			t.Errorf("the name is %q %q", got.FirstName, got.LastName)
		}
	}
	open(t, s).post("/account/name", http.StatusSeeOther, "first_name", "Eve").leads(t, "/login")
	if got := now(t, s, s.User.ID); got.FirstName != "Zoë" {
		t.Errorf("a stranger names the user %q", got.FirstName)
	}
}

// The switch is there where the profile has it; letting administrators in asks
// who it is.
func TestSwitchPrivacy(t *testing.T) {
	t.Parallel()
	s, clock := newClock(t)
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	b.get("/account/privacy", http.StatusOK).has(t, `data-private="off"`, "Your profile does not let you keep them out.")
	b.get("/account/privacy", http.StatusOK).lacks(t, `id="private"`)
	b.post("/account/privacy", http.StatusForbidden, "private", "on").has(t, "Your profile does not let you")
	if now(t, s, s.User.ID).PrivacyOn {
		t.Fatal("privacy is on against the profile")
	}
	write(t, s, func(tx *db.Tx) error {
		rows, err := audit.List(t.Context(), tx, system, audit.Filter{Action: access.SetPrivacy, Outcome: audit.Refuse})
		if err == nil && (len(rows) != 1 || rows[0].Owner != s.User.ID) {
			t.Errorf("the refusal is recorded as %+v", rows)
		}
		return err
	})
	setProfile(t, s, func(p *profile.Settings) { p.UserCanEditPrivacy = true })
	b.get("/account/privacy", http.StatusOK).has(t, "Keep administrators out")
	clock.advance(6 * time.Minute) // shutting needs no fresh proof
	b.post("/account/privacy", http.StatusSeeOther, "private", "on").leads(t, "/account/privacy")
	b.get("/account/privacy", http.StatusOK).has(t, "Your backups are private now.", `data-private="on"`, "Let administrators in")
	if !now(t, s, s.User.ID).PrivacyOn {
		t.Fatal("privacy is off")
	}
	b.post("/account/privacy", http.StatusSeeOther, "private", "off").leads(t, "/confirm?next=%2Faccount%2Fprivacy")
	setProfile(t, s, func(p *profile.Settings) { p.UserCanEditPrivacy = false })
	p := b.get("/account/privacy", http.StatusOK)
	p.has(t, `data-private="on"`, "Your profile no longer offers this.")
	b.post("/confirm", http.StatusSeeOther, "password", servertest.UserPassword, "next", "/account/privacy").leads(t, "/account/privacy")
	if !now(t, s, s.User.ID).PrivacyOn {
		t.Fatal("privacy went off by itself")
	}
	b.post("/account/privacy", http.StatusSeeOther, "private", "off").leads(t, "/account/privacy")
	b.get("/account/privacy", http.StatusOK).has(t, `data-private="off"`)
	b.post("/account/export", http.StatusOK).has(t, `"backups_private": false`)
	b.get("/activity?show=data", http.StatusOK).has(t, "Kept administrators out of the backups", "Let administrators into the backups", "Denied")
	b.get("/activity?show=logins", http.StatusOK).lacks(t, "administrators")

	admin := open(t, s)
	admin.logIn("/admin", "admin", servertest.AdminPassword, http.StatusSeeOther)
	admin.get("/admin/account/privacy", http.StatusOK).lacks(t, "data-private")
	admin.post("/admin/account/privacy", http.StatusNotFound, "private", "on")
}

// The fifth wrong code ends the log-in, says so, and begins again.
func TestWrongCodesEndTheLogin(t *testing.T) {
	t.Parallel()
	s, clock := newClock(t)
	setProfile(t, s, func(p *profile.Settings) { p.SecondFactor = profile.Required })
	b := open(t, s)
	b.logIn("", "user", servertest.UserPassword, http.StatusSeeOther)
	app := appOf(t, b.get("/enrol", http.StatusOK))
	b.post("/enrol", http.StatusOK, "code", codeAt(t, app, clock.now()))
	clock.advance(time.Minute)
	next := open(t, s)
	next.logIn("", "user", servertest.UserPassword, http.StatusSeeOther).leads(t, "/factor")
	for range 4 {
		next.post("/factor", http.StatusUnauthorized, "code", "000000").has(t, "That code is not correct")
		clock.advance(20 * time.Second)
	}
	next.post("/factor", http.StatusSeeOther, "code", "000000", "next", "/account/security").leads(t, "/login?next=%2Faccount%2Fsecurity")
	next.get("/login", http.StatusOK).has(t, "Too many wrong codes: this log-in is over.")
	next.get("/factor", http.StatusSeeOther).leads(t, "/login?next=%2Ffactor")
	clock.advance(time.Minute)
	next.logIn("", "user", servertest.UserPassword, http.StatusSeeOther).leads(t, "/factor")
	next.post("/factor", http.StatusSeeOther, "code", codeAt(t, app, clock.now())).leads(t, "/")
	next.get("/activity?show=logins", http.StatusOK).has(t, "Tried to log in", "Gave the password; the second factor was asked for", "Logged in to the portal", "Somebody who was not logged in")
}
