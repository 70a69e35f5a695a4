package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

func (w *world) settings() (s settings.Settings) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) (err error) {
		s, err = settings.Load(w.t.Context(), tx)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// Who may see which page: server administrators all, others what is their
// organisation's.
func TestSettingsByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for role, can := range map[string][]string{
		"admin":    {"", "organisation", "licences", "administrators", "users", "registration", "signin", "mail", "mail/queue", "portals", "database", "licences/new", "administrators/new"},
		"orgadmin": {"", "organisation", "licences", "administrators", "administrators/new"},
		"viewer":   {"", "organisation", "licences"},
	} {
		v := w.as(role)
		allowed := map[string]bool{}
		for _, page := range can {
			allowed[page] = true
			v.get(strings.TrimSuffix("/admin/settings/"+page, "/")).want(t, http.StatusOK)
		}
		for _, page := range []string{"administrators", "users", "registration", "signin", "mail", "mail/queue", "portals", "database", "licences/new", "administrators/new"} {
			if allowed[page] {
				continue
			}
			if p := v.get("/admin/settings/" + page); p.status != http.StatusForbidden && p.status != http.StatusNotFound {
				t.Errorf("%s sees %s: %d", role, page, p.status)
			}
		}
		if role == "admin" {
			continue
		}
		for path, form := range map[string][]string{
			"users": {"rollback_days", "1", "preserved_cap_percent", "10"}, "registration": {"mode", "serial"},
			"signin": {"user_policy", "modern"}, "mail": {"host", "mail.example.org"}, "mail/test": {"to", "a@example.org"},
			"mail/queue/1/send": nil, "mail/queue/1/drop": nil, "licences": {"grace_days", "90"},
			"licences/new": {"name", "Mine", "seats", "9", "preserved", "0"},
		} {
			if p := v.post("/admin/settings/"+path, form...); p.status != http.StatusForbidden && p.status != http.StatusNotFound {
				t.Errorf("%s posts %s: %d to %s", role, path, p.status, p.to)
			}
		}
	}
	if s := w.settings(); s.Registration.Mode != settings.RegistrationOff || s.Mail.Host != "" || s.Licences.GraceDays != 14 {
		t.Errorf("the settings are %+v", s)
	}
	viewer := w.as("viewer")
	viewer.post("/admin/settings/administrators/new", "username", "eve", "role", "viewer").want(t, http.StatusForbidden)
	viewer.post(administrator(w, "viewer")+"/role", "role", "server_admin").want(t, http.StatusForbidden)
}

func TestSettingsAreSaved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	admin.done(admin.post("/admin/settings/users", "rollback_days", "30", "preserved_cap_percent", "20"), "Saved.", `value="30"`)
	admin.done(admin.post("/admin/settings/users", "rollback_days", "7", "preserved_cap_percent", "20"), `value="30"`, "it will be 7 days", "Take the shorter time back")
	admin.done(admin.post("/admin/settings/users", "rollback_days", "30", "preserved_cap_percent", "20", "withdraw", "on")).lacks(t, "it will be")
	// The share is that of a licence which does not say how many.
	admin.done(admin.post("/admin/settings/licences/new", "name", "Main", "seats", "50", "preserved", ""), `value="50"`, `value="10"`)
	admin.post("/admin/settings/users", "rollback_days", "91", "preserved_cap_percent", "x").want(t, http.StatusBadRequest, "field-error", `value="91"`)

	admin.done(admin.post("/admin/settings/registration", "mode", "open", "domains", "Example.org\n@lab.example.org", "shared_emails", "on"), "example.org\nlab.example.org")
	if s := w.settings().Registration; s.Mode != "open" || s.Org != w.Org.ID || !s.SharedEmails {
		t.Errorf("registration is %+v", s)
	}
	admin.post("/admin/settings/registration", "mode", "open", "domains", "not a domain").want(t, http.StatusBadRequest, "not a domain is not a domain")
	admin.post("/admin/settings/registration", "mode", "open").want(t, http.StatusBadRequest, "at least one domain")
	admin.post("/admin/settings/registration", "mode", "everybody").want(t, http.StatusBadRequest)

	form := []string{"user_policy", "modern", "admin_policy", "strong-admin", "history", "5", "expiry_days", "0", "lock_after", "10", "lock_minutes", "15",
		"network_per_hour", "100", "admin_idle_minutes", "60", "admin_absolute_minutes", "720", "user_idle_minutes", "480", "user_absolute_minutes", "1440",
		"admin_factor_days", "7", "step_up_minutes", "5", "activation_days", "7", "reset_minutes", "30", "code_minutes", "10"}
	admin.done(admin.post("/admin/settings/signin", form...), "Saved.", "NIST and OWASP ASVS")
	if s := w.settings().SignIn; s.UserPolicy != "modern" || s.AdminPolicy != "strong-admin" {
		t.Errorf("signing in is %+v", s)
	}
	form[11] = "0"
	admin.post("/admin/settings/signin", form...).want(t, http.StatusBadRequest, "A lock lasts from 1 to 60 minutes.")
	if w.audited("settings/sign_in", "user_policy") != 1 {
		t.Error("the audit does not tell of the new policy")
	}
	admin.done(admin.post("/admin/settings/organisation", "name", "  Vent d’est "), "Saved.", `value="Vent d’est"`)
	admin.get("/admin/").want(t, http.StatusOK, "Vent d’est")
	admin.post("/admin/settings/organisation", "name", " ").want(t, http.StatusBadRequest, "field-error", "Give the organisation a name.")
	orgadmin := w.as("orgadmin")
	orgadmin.get("/admin/settings/organisation").want(t, http.StatusOK, "Vent d’est").lacks(t, "<form class=\"card\"")
	orgadmin.post("/admin/settings/organisation", "name", "Mine").want(t, http.StatusForbidden)
	admin.get("/admin/settings/database").want(t, http.StatusOK, "backstay-server migrate --to")
	admin.get("/admin/settings/portals").want(t, http.StatusOK, w.URL+"/admin/", w.Fingerprint)
}

// The mail server's password goes in and never comes out; what the mail server
// says is told.
func TestMailServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	admin.get("/admin/").want(t, http.StatusOK, "Mail does not work")
	const password = "hunter2-is-secret"
	form := []string{"host", "mail.example.org", "security", "starttls", "username", "backup", "password", password, "from", "backup@example.org", "from_name", "Backups"}
	admin.done(admin.post("/admin/settings/mail", form...), "Send a test", "One is stored").lacks(t, password)
	if s := w.settings().Mail; !s.HasPassword || s.Host != "mail.example.org" {
		t.Errorf("mail is %+v", s)
	}
	admin.done(admin.post("/admin/settings/mail", "host", "mail.example.org", "security", "starttls", "username", "backup", "from", "backup@example.org"), "One is stored")
	admin.done(admin.post("/admin/settings/mail", "host", "mail.example.org", "security", "starttls", "username", "backup", "from", "backup@example.org", "forget", "on"), "None is stored")
	admin.post("/admin/settings/mail", "host", "mail.example.org", "security", "none", "from", "backup@example.org").want(t, http.StatusBadRequest, "Confirm that you accept this")
	admin.post("/admin/settings/mail", "host", "http://mail", "security", "tls", "from", "x").want(t, http.StatusBadRequest, "field-error")
	if n := w.audited("settings/mail", password); n > 0 {
		t.Error("the audit holds the password")
	}

	box := w.Mail()
	admin.post("/admin/settings/mail/test").want(t, http.StatusBadRequest, "Enter an address for the test.")
	admin.done(admin.post("/admin/settings/mail/test", "to", "boss@example.org"), "The mail server took the test for boss@example.org.").lacks(t, "Mail does not work")
	box.Wait("boss@example.org", mail.TestMail)
	box.Refuse(func(string, string) error { return mailtest.Lasting("no such user") })
	admin.post("/admin/settings/mail/test", "to", "nobody@example.org").want(t, http.StatusServiceUnavailable, "no such user")
}
