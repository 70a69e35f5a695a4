package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/servertest"
)

func TestUsersListIsNarrowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.NewUser("anna")
	w.NewUser("bertrand")
	admin := w.as("admin")
	admin.done(admin.post("/admin/users/"+string(w.User.ID)+"/disable", "confirm", "user"), "user is disabled.")
	copied := admin.post("/admin/profiles/" + profileID(admin) + "/copy")
	admin.done(copied)
	lab := strings.TrimPrefix(copied.to, "/admin/profiles/")
	admin.done(admin.post("/admin/users/"+string(w.find("anna").ID)+"/profile", "profile", lab), "The profile of anna is changed.")

	all := admin.get("/admin/users").want(t, http.StatusOK, "anna", "bertrand", ">user<", `All <span class="count">3</span>`, `Active <span class="count">2</span>`, `Disabled <span class="count">1</span>`)
	all.lacks(t, "Preserved <span", ">admin</bdi>")
	admin.get("/admin/users?state=disabled").want(t, http.StatusOK, ">user<", `/admin/users/export?state=disabled`).lacks(t, "anna", "bertrand")
	admin.get("/admin/users?profile="+lab).want(t, http.StatusOK, "anna", `href="/admin/users?profile=`+lab+`&amp;state=active"`).lacks(t, "bertrand")
	admin.get("/admin/users?q=bert&state=active").want(t, http.StatusOK, "bertrand").lacks(t, "anna")
	admin.get("/admin/users?q=nobody").want(t, http.StatusOK, "Nothing matches")
	admin.get("/admin/users?state=nonsense").want(t, http.StatusOK, "anna", "bertrand")
	viewer := w.as("viewer")
	viewer.get("/admin/users").want(t, http.StatusOK, "anna", "/admin/users/export").lacks(t, "/admin/users/new", "/admin/users/import")
}

// profileID is that of the organisation's first profile.
func profileID(v *visitor) string {
	v.w.t.Helper()
	_, rest, ok := strings.Cut(v.get("/admin/profiles").body, `href="/admin/profiles/`)
	if !ok {
		v.w.t.Fatal("the console shows no profile")
	}
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// Without mail the link is handed over: it is shown once, recorded, and the one
// before it is void.
func TestInvitationIsHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	admin.get("/admin/users/new").want(t, http.StatusOK, "Mail does not work on this server")
	made := admin.post("/admin/users", "username", "zoe", "email", "zoe@example.org", "first_name", "Zoé", "language", "fr", "no_mail", "on")
	made.want(t, http.StatusCreated, "zoe has been created", "shown only this once")
	first, secret := made.copied(t, "link"), made.copied(t, "secret")
	u := w.find("zoe")
	if u.State != accounts.Invited || u.Language != "fr" || u.TemporaryUntil.IsZero() {
		t.Errorf("zoe is %+v", u)
	}
	if w.audited("user/"+string(u.ID), "link_copied") == 0 && w.audited("user/"+string(u.ID), "copied") == 0 {
		t.Error("the audit does not say that the link was copied")
	}
	if w.audited("user/"+string(u.ID), secret) > 0 || w.audited("user/"+string(u.ID), first[len(first)-20:]) > 0 {
		t.Error("the audit holds a secret")
	}
	page := admin.get("/admin/users/"+string(u.ID)).want(t, http.StatusOK, "Invited", "Resend activation mail", "Copy activation link")
	page.lacks(t, secret, first[len(first)-20:])

	again := admin.post("/admin/users/"+string(u.ID)+"/link").want(t, http.StatusOK, "no longer works")
	second := again.copied(t, "link")
	stranger := w.stranger()
	if first == second {
		t.Error("the link is the same")
	}
	stranger.get(path(first)).want(t, http.StatusGone)
	stranger.get(path(second)).want(t, http.StatusOK, "zoe")
	admin.post("/admin/users", "username", "zoe").want(t, http.StatusConflict, "already taken")
	admin.post("/admin/users", "username", "yves", "email", "not an address").want(t, http.StatusBadRequest, "This is not an e-mail address.", `value="yves"`)
}

// path is what of a link belongs to whatever server it names.
func path(link string) string {
	_, rest, _ := strings.Cut(link, "://")
	return rest[strings.IndexByte(rest, '/'):]
}

// With mail nothing is shown: the link and the secret are the user's alone.
func TestInvitationIsMailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	box := w.Mail()
	admin := w.as("admin")
	made := admin.post("/admin/users", "username", "zoe", "email", "zoe@example.org").want(t, http.StatusCreated, "on its way to zoe@example.org")
	m := box.Wait("zoe@example.org", mail.Activation)
	made.lacks(t, `id="secret"`, `id="link"`)
	if !strings.Contains(m.Text, "zoe") {
		t.Errorf("the mail is:\n%s", m.Text)
	}
	u := w.find("zoe")
	admin.done(admin.post("/admin/users/"+string(u.ID)+"/invite"), "A new activation mail is on its way to zoe.")
	if again := box.Wait("zoe@example.org", mail.Activation); again.Text == m.Text {
		t.Error("the second mail is the first")
	}
	admin.get("/admin/users").lacks(t, "Mail does not work")
}

func TestPasswordIsPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	admin.post("/admin/users", "how", "password", "username", "paul").want(t, http.StatusCreated, "paul has been created", `id="secret"`).lacks(t, `id="link"`)
	if u := w.find("paul"); u.State != accounts.Active || !u.MustChangePassword {
		t.Errorf("paul is %s, and keeps a password that two know: %v", u.State, !u.MustChangePassword)
	}
	picked := admin.post("/admin/users", "how", "password", "username", "pia", "password", "Picked by 1 admin").want(t, http.StatusCreated)
	if picked.copied(t, "secret") == "Picked by 1 admin" {
		t.Error("an administrator picks a password")
	}
}

func TestActs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.NewDevice(w.User, "LAPTOP")
	admin, at := w.as("admin"), "/admin/users/"+string(w.User.ID)
	state := func(want accounts.State) {
		t.Helper()
		if got := w.find("user").State; got != want {
			t.Errorf("the user is %s, want %s", got, want)
		}
	}
	admin.get(at+"/disable").want(t, http.StatusOK, "1 device stops backing up.", "Activate undoes it")
	admin.post(at+"/disable", "confirm", "usre").want(t, http.StatusBadRequest, "This is not the name.")
	state(accounts.Active)
	admin.done(admin.post(at+"/disable", "confirm", " USER "), "user is disabled.", "Disabled with its user", "Not backed up: its user is disabled")
	state(accounts.Disabled)
	admin.get("/admin/devices").want(t, http.StatusOK, "Disabled with its user")
	admin.done(admin.post(at+"/activate"), "user is active again.").lacks(t, "Disabled with its user")
	admin.get(at+"/preserve").want(t, http.StatusOK, "the last one never expires")
	admin.done(admin.post(at+"/preserve", "confirm", "user"), "user is preserved.")
	state(accounts.Preserved)
	admin.done(admin.post(at+"/activate"), "user is active again.")

	admin.get(at+"/delete").want(t, http.StatusOK, "becomes final", "Undo deletion brings everything back", `name="reason"`)
	admin.post(at+"/delete", "confirm", "user", "reason", "too few").want(t, http.StatusBadRequest, "10", "150", `value="too few"`)
	admin.post(at+"/delete", "confirm", "user").want(t, http.StatusBadRequest)
	state(accounts.Active)
	admin.done(admin.post(at+"/delete", "confirm", "user", "reason", "has left the company"), "user is deleted.", "has left the company", "Undo deletion")
	state(accounts.Deleted)
	admin.get("/admin/users").lacks(t, at)
	admin.get("/admin/users?state=deleted").want(t, http.StatusOK, at)
	admin.done(admin.post(at+"/undelete"), "user is back")
	state(accounts.Active)
	admin.get("/admin/users/"+string(w.Admin.ID)).want(t, http.StatusNotFound)
	admin.get("/admin/settings/administrators/"+string(w.User.ID)).want(t, http.StatusNotFound)
}

// What destroys or raises somebody asks for a proof not older than some minutes.
func TestProofIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, at := w.as("admin"), "/admin/users/"+string(w.User.ID)
	w.later(6 * time.Minute)
	for _, path := range []string{at + "/delete", at + "/factors", at + "/licence", "/admin/devices/write", "/admin/settings/licences/new", "/admin/settings/administrators/new"} {
		if p := admin.get(path); p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, "/admin/confirm?next=") {
			t.Errorf("%s: %d %s, want to be asked", path, p.status, p.to)
		}
	}
	for path, form := range map[string][]string{
		at + "/delete":                          {"confirm", "user", "reason", "has left the company"},
		at + "/factors":                         {"confirm", "user"},
		at + "/licence":                         {"licence", ""},
		at + "/link":                            nil,
		at + "/reset-link":                      nil,
		"/admin/settings/licences/new":          {"name", "Main", "seats", "5", "preserved", "1"},
		"/admin/settings/licences":              {"grace_days", "1", "licence_expiry_days", "1"},
		"/admin/settings/administrators/new":    {"username", "eve", "role", "server_admin"},
		"/admin/settings/signin":                {"user_policy", "modern"},
		"/admin/settings/users":                 {"rollback_days", "1", "preserved_cap_percent", "0"},
		"/admin/settings/registration":          {"mode", "open", "domains", "example.org"},
		"/admin/devices/write/send":             {"window", "today", "since", "2026-11-21", "link", "https://example.org/", "contact", "eve"},
		"/admin/settings/mail":                  {"host", "localhost", "security", "none", "from", "a@example.org"},
		administrator(w, "viewer") + "/role":    {"role", "server_admin"},
		administrator(w, "viewer") + "/delete":  {"confirm", "viewer", "reason", "has left the company"},
		administrator(w, "viewer") + "/factors": {"confirm", "viewer"},
	} {
		if p := admin.post(path, form...); p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, "/admin/confirm?next=") {
			t.Errorf("posting %s: %d %s, want to be asked", path, p.status, p.to)
		}
	}
	if u := w.find("user"); u.State != accounts.Active {
		t.Errorf("the user is %s", u.State)
	}
	for _, section := range []string{"signin", "users", "registration"} {
		admin.get("/admin/settings/"+section).want(t, http.StatusOK, "Confirm who you are", "<fieldset disabled>")
	}
	p := admin.post("/admin/confirm", "next", at+"/delete", "password", servertest.AdminPassword)
	if p.status != http.StatusSeeOther || p.to != at+"/delete" {
		t.Fatalf("the proof leads to %d %s\n%s", p.status, p.to, p.body)
	}
	admin.done(admin.post(at+"/delete", "confirm", "user", "reason", "has left the company"), "user is deleted.")
}

func administrator(w *world, username string) string {
	return "/admin/settings/administrators/" + string(w.find(username).ID)
}

// A long import runs by itself: its page shows how far it is, and is found again.
func TestImportRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	at := admin.upload("/admin/users/import", "username\none\ntwo\nthree\n").to
	admin.get("/admin/users/import").want(t, http.StatusOK, at, "Checked, not imported")
	_, err := accounts.BeginImport(t.Context(), w.DB, access.System("test"), w.Keys, w.Hasher, w.URL, strings.TrimPrefix(at, "/admin/imports/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	admin.get(at).want(t, http.StatusOK, "0 of 3 rows done", `http-equiv="refresh"`, "You can leave this page").lacks(t, "Import 3 users")
	admin.get("/admin/users/import").want(t, http.StatusOK, at, "0 of 3 rows done")
	admin.post(at).want(t, http.StatusConflict, "This import is running already.")
	err = w.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE user_imports SET run_at = 1, done = 2")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	admin.get(at).want(t, http.StatusOK, "Stopped after 2 of 3 rows.", "Import 3 users").lacks(t, "refresh")
	admin.done(admin.post(at), "3 users have been made")
	admin.get("/admin/users/import").want(t, http.StatusOK, at, "Imported")
}

// A file is checked before anything is made; what is wrong comes back as a
// file that no spreadsheet takes for a program.
func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	admin.get("/admin/users/import").want(t, http.StatusOK, "send_mail")
	if rows := admin.get("/admin/users/import/sample").table(t); len(rows) != 2 || rows[0][0] != "username" {
		t.Errorf("the sample is %v", rows)
	}
	admin.post("/admin/users/import").want(t, http.StatusBadRequest, "Choose a file first.")
	admin.upload("/admin/users/import", "no\nheader\n").want(t, http.StatusBadRequest)
	many := "username\n" + strings.Repeat("una\n", accounts.MaxImportRows+1)
	admin.upload("/admin/users/import", many).want(t, http.StatusRequestEntityTooLarge, "The file has more than 10,000 rows.", "Check the file")
	file := "\ufeffusername,email,first_name,last_name,profile,licence,language,send_mail\r\n" +
		"anna,anna@example.org,Anna,Élan,,,fr,no\r\n" +
		"user,user@example.org,,,,,,no\r\n" +
		"\"=cmd|' /C calc'!A1\",not an address,<b>,,,,,no\r\n" +
		"carl,carl@example.org,,,No such profile,,,no\r\n"
	up := admin.upload("/admin/users/import", file)
	checked := admin.done(up, "1 user can be made", "1 is there already", "2 rows cannot be imported", "Import 1 user", "=cmd|").lacks(t, "<b>")
	_ = checked
	failed := admin.get(up.to + "/failed").table(t)
	if len(failed) != 3 || failed[1][0] == "=cmd|' /C calc'!A1" || !strings.HasSuffix(failed[1][0], "=cmd|' /C calc'!A1") || failed[1][len(failed[1])-1] == "" {
		t.Errorf("the failed rows are %q", failed)
	}
	if n := len(admin.get("/admin/users?q=anna").body); strings.Contains(admin.get("/admin/users?q=anna").body, "anna@") {
		t.Errorf("the check has made a user (%d bytes)", n)
	}
	admin.done(admin.post(up.to), "1 user has been made", "Show the users")
	if u := w.find("anna"); u.State != accounts.Invited || u.LastName != "Élan" {
		t.Errorf("anna is %+v", u)
	}
	orgadmin, viewer := w.as("orgadmin"), w.as("viewer")
	orgadmin.get(up.to).want(t, http.StatusOK)
	viewer.get(up.to).want(t, http.StatusForbidden)
	viewer.get(up.to+"/failed").want(t, http.StatusForbidden)
	viewer.get("/admin/users/import").want(t, http.StatusForbidden)
	viewer.upload("/admin/users/import", file).want(t, http.StatusForbidden)
	admin.get("/admin/imports/none").want(t, http.StatusNotFound)
}

func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	for _, name := range []string{"=1+1", "+anna", "-bea", "@carl"} {
		admin.post("/admin/users", "how", "password", "username", name, "first_name", "=A1", "last_name", `"x",y`).want(t, http.StatusCreated)
	}
	rows := admin.get("/admin/users/export").table(t)
	if len(rows) != 6 {
		t.Errorf("the export has %d rows: %q", len(rows), rows)
	}
	for _, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	}
	if rows := admin.get("/admin/users/export?q=carl").table(t); len(rows) != 2 {
		t.Errorf("the narrowed export is %q", rows)
	}
	if w.audited("users/", "export") != 2 {
		t.Error("the audit does not say who took the list along")
	}
	w.as("viewer").get("/admin/users/export").want(t, http.StatusOK)
}

// The panel's buttons mend what it names.
func TestFixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	box := w.Mail()
	admin, at := w.as("admin"), "/admin/users/"+string(w.User.ID)
	admin.get(at+"/signin").want(t, http.StatusOK, w.URL, "Last attempts")
	admin.get(at+"/web-restore").want(t, http.StatusOK, "1 user of the profile Default")
	admin.done(admin.post(at+"/web-restore"), "Restore from web browser is enabled.")
	admin.done(admin.post(at+"/unlock"), "user is unlocked.")
	admin.done(admin.post(at+"/reset"), "on its way to user")
	box.Wait("user@example.org", mail.Reset)
	wait(t, func() bool { return !strings.Contains(admin.get(at).body, "Copy reset link") }) // mail works as soon as the first has gone
	admin.get(at).want(t, http.StatusOK, "Send reset link")
	admin.post(at+"/reset-link").want(t, http.StatusConflict, "Mail works:").lacks(t, `id="link"`)
	admin.post("/admin/users", "username", "paul", "how", "password").want(t, http.StatusCreated)
	paul := "/admin/users/" + string(w.find("paul").ID) // who has no address
	admin.get(paul).want(t, http.StatusOK, "Copy reset link").lacks(t, "Send reset link")
	link := admin.post(paul+"/reset-link").want(t, http.StatusOK).copied(t, "link")
	w.stranger().get(path(link)).want(t, http.StatusOK, "paul")
	viewer := w.as("viewer")
	copied := admin.post("/admin/profiles/" + profileID(admin) + "/copy")
	viewer.post(at+"/profile", "profile", strings.TrimPrefix(copied.to, "/admin/profiles/")).want(t, http.StatusForbidden)
	viewer.get(at+"/signin").want(t, http.StatusOK).lacks(t, "<form method=\"post\" action=\"/admin/users/")
	for _, act := range []string{"/unlock", "/reset", "/reset-link", "/web-restore", "/activate", "/invite", "/link"} {
		viewer.post(at+act).want(t, http.StatusForbidden)
	}
}

// What is shown to be copied comes without compression, whose length would
// tell of it.
func TestSecretsAreNotCompressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	encoding := func(method, path, form string) string {
		t.Helper()
		r := admin.request(method, path, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept-Encoding", "gzip") // or Go unpacks it and says nothing
		p := admin.do(r)
		if p.status >= http.StatusMultipleChoices {
			t.Errorf("%s: status %d", path, p.status)
		}
		return p.header.Get("Content-Encoding")
	}
	if got := encoding(http.MethodGet, "/admin/users/new", ""); got != "gzip" {
		t.Fatalf("a page without secrets comes as %q", got)
	}
	for path, form := range map[string]string{
		"/admin/users": "username=zoe&how=password",
		"/admin/users/" + string(w.User.ID) + "/reset-link": "",
		"/admin/settings/administrators/new":                "username=eve&role=viewer",
	} {
		if got := encoding(http.MethodPost, path, form); got != "" {
			t.Errorf("%s comes as %q", path, got)
		}
	}
	admin.post("/admin/users", "username", "ines").want(t, http.StatusCreated)
	if got := encoding(http.MethodPost, "/admin/users/"+string(w.find("ines").ID)+"/link", ""); got != "" {
		t.Errorf("an activation link comes as %q", got)
	}
}

// A user's names, address and language are changed on a page of their own.
func TestUserIsEdited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.NewUser("anna")
	admin, at := w.as("admin"), "/admin/users/"+string(w.User.ID)
	link := admin.post(at+"/reset-link").want(t, http.StatusOK).copied(t, "link")
	admin.get(at).want(t, http.StatusOK, `href="`+at+`/edit"`)
	admin.get(at+"/edit").want(t, http.StatusOK, "Edit user", "The old address is told", `value="user@example.org"`)
	form := func(username, email, language string) []string {
		return []string{"username", username, "email", email, "first_name", "Ève", "last_name", "Curie", "language", language}
	}
	for _, bad := range []struct{ username, email, language, want string }{
		{"", "user@example.org", "", "Enter a username."},
		{"eve", "no address", "", "This is not an e-mail address."},
		{"eve", "user@example.org", "tlh", "This language is not available."},
	} {
		admin.post(at+"/edit", form(bad.username, bad.email, bad.language)...).want(t, http.StatusBadRequest, "field-error", bad.want, `value="Ève"`)
	}
	admin.post(at+"/edit", form("anna", "user@example.org", "")...).want(t, http.StatusConflict, "field-error", "already taken")
	w.stranger().get(path(link)).want(t, http.StatusOK)
	admin.done(admin.post(at+"/edit", form("eve", "eve@example.org", "fr")...), "eve is changed.", "eve@example.org", "Français")
	if u := w.find("eve"); u.ID != w.User.ID || u.Name() != "Ève Curie" || u.Language != "fr" {
		t.Errorf("the user is %+v", u)
	}
	told := false
	err := w.DB.Read(t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM outbox WHERE template = 'email_changed' AND recipient = 'user@example.org')").Scan(&told)
	})
	if err != nil || !told {
		t.Errorf("the address of before was told: %v, %v", told, err)
	}
	if w.audited("user/"+string(w.User.ID), "eve@example.org") != 1 {
		t.Error("the audit does not tell of the new address")
	}
	w.stranger().get(path(link)).want(t, http.StatusGone)
	admin.post("/admin/users", "username", "user").want(t, http.StatusConflict, "already taken")
	viewer := w.as("viewer")
	viewer.get(at).lacks(t, at+"/edit")
	viewer.get(at+"/edit").want(t, http.StatusForbidden)
	viewer.post(at+"/edit", form("mallory", "mallory@example.org", "")...).want(t, http.StatusForbidden)
	w.as("orgadmin").post("/admin/settings/administrators/"+string(w.Admin.ID)+"/edit", form("mallory", "mallory@example.org", "")...).want(t, http.StatusForbidden)
	w.later(6 * time.Minute)
	if p := admin.get(at + "/edit"); p.status != http.StatusSeeOther {
		t.Errorf("without a proof: status %d", p.status)
	}
	if p := admin.post(at+"/edit", form("mallory", "mallory@example.org", "")...); p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, "/admin/confirm") {
		t.Errorf("without a proof: %d %s", p.status, p.to)
	}
}

// What an administrator sees of, and may do with, who keeps them out of the
// backups; and the last attempts to sign in.
func TestPrivateUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, at := w.as("admin"), "/admin/users/"+string(w.User.ID)
	profile := "/admin/profiles/" + profileID(admin)
	form := []string{"revision", "1", "name", "Default", "interval", "240", "max_devices", "10", "web_restore", "on"}
	admin.get(profile).want(t, http.StatusOK, `name="user_can_edit_privacy" value="on" aria`, "Users may keep administrators out")
	admin.done(admin.post(profile, append(form, "user_can_edit_privacy", "on")...), `name="user_can_edit_privacy" value="on" checked`)
	admin.get(at).want(t, http.StatusOK, `data-private="false"`, "Copy reset link")

	user := w.stranger()
	user.get("/login")
	user.post("/login", "username", "user", "password", "Wrong-Password-1").want(t, http.StatusUnauthorized)
	user.post("/login", "username", "user", "password", servertest.UserPassword)
	user.post("/account/privacy", "private", "on")
	form[1] = "2"
	admin.done(admin.post(profile, form...)).lacks(t, `name="user_can_edit_privacy" value="on" checked`)
	admin.get(at).want(t, http.StatusOK, `data-private="true"`, "Private: administrators cannot open them").lacks(t, "Copy reset link")
	admin.post(at+"/reset-link").want(t, http.StatusForbidden, "keeps administrators out").lacks(t, `id="link"`)
	admin.get(at+"/edit").want(t, http.StatusOK, "readonly", "only they can change the address")
	admin.post(at+"/edit", "username", "user", "email", "eve@example.org").want(t, http.StatusForbidden, "keeps administrators out")
	admin.done(admin.post(at+"/edit", "username", "user", "email", "user@example.org", "first_name", "Ève"), "user is changed.")
	if u := w.find("user"); u.Email != "user@example.org" || !u.PrivacyOn || u.FirstName != "Ève" {
		t.Errorf("the user is %+v", u)
	}
	refused := 0
	err := w.DB.Read(t.Context(), func(tx *db.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT count(*) FROM audit WHERE action = 'users.manage' AND outcome = 'denied' AND object_id = $1", w.User.ID).Scan(&refused)
	})
	if err != nil || refused != 2 {
		t.Errorf("%d refusals are recorded, want 2: %v", refused, err)
	}

	p := admin.get(at).want(t, http.StatusOK, `id="attempts"`, "wrong password", "E1101", "127.0.0.1", "User portal", `href="`+at+`/signin"`)
	if rows := strings.Count(between(p.body, `id="attempts"`, "</table>"), "<tr>"); rows != 3 {
		t.Errorf("%d rows of attempts, want a head and 2", rows)
	}
	w.as("viewer").get(at).want(t, http.StatusOK, `data-private="true"`).lacks(t, `id="attempts"`)
	admin.get("/admin/settings/administrators/"+string(w.Admin.ID)).want(t, http.StatusOK, `id="attempts"`, "Management console")
}
