package console_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/profiles"
)

// form reads the fields of the form with this action as a browser sends them.
func (p page) form(t *testing.T, action string) url.Values {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		t.Fatal(err)
	}
	values, within := url.Values{}, false
	attr := func(n *html.Node, name string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == name {
				return a.Val, true
			}
		}
		return "", false
	}
	var name string // of the select that the walk is in
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		field, _ := attr(n, "name")
		value, _ := attr(n, "value")
		kind, _ := attr(n, "type")
		_, on := attr(n, "checked")
		switch n.Data {
		case "form":
			is, _ := attr(n, "action")
			within = is == action
		case "input":
			if within && (on || kind != "checkbox" && kind != "radio") {
				values.Add(field, value)
			}
		case "textarea":
			if within && n.FirstChild != nil {
				values.Add(field, n.FirstChild.Data)
			} else if within {
				values.Add(field, "")
			}
		case "select":
			name = field
		case "option":
			if _, chosen := attr(n, "selected"); within && chosen {
				values.Add(name, value)
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("no form goes to %s:\n%s", action, p.body)
	}
	return values
}

// settings of every kind, as no default has them.
func everySetting(t *testing.T) profile.Settings {
	t.Helper()
	s, err := profile.Decode([]byte(`{
		"folders": [{"path": "~/Documents", "mandatory": true}, {"path": "~/Pictures"}, {"path": "/srv/share"}], "exclude": ["*.iso", "node_modules"],
		"user_may": {"schedule": false, "bandwidth": true, "cpu": false, "pause": true, "networks": false, "folders": true, "pause_max_hours": 8},
		"interval_minutes": 60,
		"schedule": {"cron": "30 12 * * mon-fri", "windows": [{"days": ["mon", "fri"], "from": "20:00", "to": "06:00"}, {"days": ["sun"], "from": "00:00", "to": "24:00"}],
			"blackouts": [{"days": [], "from": "12:00", "to": "13:30"}], "on_window_end": "pause", "big_file_minutes": 60, "big_file_bytes": 1500000, "jitter_percent": 20},
		"bandwidth": {"up_kbps": 4000, "table": [{"days": ["mon"], "from": "08:00", "to": "18:00", "kbps": 1000}, {"days": [], "from": "22:00", "to": "24:00", "kbps": 0}],
			"lan_exempt": ["10.0.0.0/8"], "restore_kbps": 20000},
		"cpu": "adaptive", "networks": {"allow": [{"cidr": "10.0.0.0/8"}, {"ssid": "10.1.2.3"}], "deny": [{"gateway_mac": "00:11:22:aa:bb:cc"}], "metered": "allow", "battery_percent": 0},
		"quota_bytes": 50123456789,
		"hooks": [{"when": "before", "name": "dump-database", "sha256": "` + strings.Repeat("ab", 32) + `", "minutes": 30, "users": true}, {"when": "after", "name": "tell", "sha256": "` + strings.Repeat("01", 32) + `", "optional": true}],
		"notifications": "all", "web_restore": false, "sharing": true, "user_can_edit_privacy": true, "second_factor": "required", "allow_add_devices": false, "max_devices": 3,
		"same_name": "replace", "inactive_days": 90, "auto_delete_inactive_days": 180, "reactivate_keep_unlinked": "ask", "auto_delete_preserved_days": 400}`))
	if err == nil {
		err = s.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// firstProfile is the organisation's default one.
func (w *world) firstProfile() (p profiles.Profile) {
	w.t.Helper()
	err := w.DB.Read(w.t.Context(), func(tx *db.Tx) (err error) {
		p, err = profiles.Default(w.t.Context(), tx, w.Org.ID)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) saveProfile(s profile.Settings) profiles.Profile {
	w.t.Helper()
	p := w.firstProfile()
	err := w.DB.Write(w.t.Context(), func(tx *db.Tx) (err error) {
		p, err = profiles.Save(w.t.Context(), tx, access.System("test"), p.ID, p.Revision, profiles.Changes{Settings: &s})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// submit sends a form as it is but for some fields.
func (v *visitor) submit(action string, form url.Values, changes ...string) page {
	v.w.t.Helper()
	for i := 0; i+1 < len(changes); i += 2 {
		form.Del(changes[i])
	}
	for i := 0; i+1 < len(changes); i += 2 {
		if changes[i+1] != "-" { // a box that is not ticked
			form.Add(changes[i], changes[i+1])
		}
	}
	var list []string
	for name, values := range form {
		for _, value := range values {
			list = append(list, name, value)
		}
	}
	return v.post(action, list...)
}

// What the form shows and nobody changes stays to the letter, whatever it is.
func TestProfileFormKeepsWhatItShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	at := "/admin/profiles/" + string(w.firstProfile().ID)
	share := profile.Defaults()
	share.Bandwidth.Percent = 30
	for name, s := range map[string]profile.Settings{"defaults": profile.Defaults(), "everything": everySetting(t), "a share of the line": share} {
		before := w.saveProfile(s)
		admin.done(admin.submit(at, admin.get(at).form(t, at)), "Saved.")
		if after := w.firstProfile(); after.Revision != before.Revision || !reflect.DeepEqual(after.Settings, before.Settings) {
			t.Errorf("%s: revision %d became %d:\n%s\n%s", name, before.Revision, after.Revision, before.Settings.Encode(), after.Settings.Encode())
		}
	}
}

func TestProfileFormChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	at := "/admin/profiles/" + string(w.firstProfile().ID)
	for _, c := range []struct {
		name    string
		changes []string
		want    func(*profile.Settings)
	}{
		{"mandatory folders", []string{"mandatory", "~/Documents\n~/Desktop", "folders", "~/Music"}, func(s *profile.Settings) {
			s.Folders = []profile.Folder{{Path: "~/Documents", Mandatory: true}, {Path: "~/Desktop", Mandatory: true}, {Path: "~/Music"}}
		}},
		{"an interval instead of times", []string{"rhythm", "interval", "interval", "90"}, func(s *profile.Settings) { s.Schedule.Cron, s.IntervalMinutes = "", 90 }},
		{"other times", []string{"cron", " 0 9,17  * * * "}, func(s *profile.Settings) { s.Schedule.Cron = "0 9,17 * * *" }},
		{"a window less", []string{"windows_0_remove", "on"}, func(s *profile.Settings) { s.Schedule.Windows = s.Schedule.Windows[1:] }},
		{"no windows", []string{"windows_0_remove", "on", "windows_1_from", "", "windows_1_to", ""}, func(s *profile.Settings) { s.Schedule.Windows = []profile.Window{} }},
		{"a window more", []string{"windows_2_from", "10:00", "windows_2_to", "11:30", "windows_2_day", "wed"}, func(s *profile.Settings) {
			s.Schedule.Windows = append(s.Schedule.Windows, profile.Window{Days: profile.Day(3), From: 600, To: 690})
		}},
		{"a blackout on every day", []string{"blackouts_1_from", "18:00", "blackouts_1_to", "00:00"}, func(s *profile.Settings) {
			s.Schedule.Blackouts = append(s.Schedule.Blackouts, profile.Window{From: 18 * 60, To: 24 * 60})
		}},
		{"sizes", []string{"quota", "1.5", "quota_unit", "TB", "big_file", "250", "big_file_unit", "MB"}, func(s *profile.Settings) { s.QuotaBytes, s.Schedule.BigFileBytes = 1_500_000_000_000, 250_000_000 }},
		{"no quota", []string{"quota", "0"}, func(s *profile.Settings) { s.QuotaBytes = 0 }},
		{"no limit", []string{"limit", "none"}, func(s *profile.Settings) { s.Bandwidth.UpKbps = 0 }},
		{"a share of the line", []string{"limit", "percent", "percent", "25"}, func(s *profile.Settings) { s.Bandwidth.UpKbps, s.Bandwidth.Percent = 0, 25 }},
		{"a limit for some time", []string{"rates_0_kbps", "500", "rates_1_remove", "on"}, func(s *profile.Settings) {
			s.Bandwidth.Table = s.Bandwidth.Table[:1]
			s.Bandwidth.Table[0].Kbps = 500
		}},
		{"networks", []string{"networks_allow", "Office\n10.9.8.7/16", "networks_deny", "", "metered", "pause"}, func(s *profile.Settings) {
			s.Networks.Allow, s.Networks.Deny, s.Networks.Metered = []profile.Network{{SSID: "Office"}, {CIDR: "10.9.0.0/16"}}, nil, profile.MeteredPause
		}},
		{"what users may do", []string{"user_may", "cpu"}, func(s *profile.Settings) { s.UserMay = profile.UserMay{CPU: true, PauseMaxHours: 8} }},
		{"inactive devices stay", []string{"delete_inactive", "-"}, func(s *profile.Settings) { s.AutoDeleteInactiveDays = 0 }},
		{"a script less and one more", []string{"hooks_0_remove", "on", "hooks_2_name", "late.sh", "hooks_2_when", "after", "hooks_2_sha256", strings.Repeat("EF", 32), "hooks_2_required", "-", "hooks_1_required", "on"}, func(s *profile.Settings) {
			s.Hooks = []profile.Hook{{When: profile.After, Name: "tell", SHA256: strings.Repeat("01", 32)}, {When: profile.After, Name: "late.sh", SHA256: strings.Repeat("ef", 32), Optional: true}}
		}},
		{"words", []string{"cpu", "low", "same_name", "allow", "keep_unlinked", "yes", "notifications", "off", "on_window_end", "finish"}, func(s *profile.Settings) {
			s.CPU, s.SameName, s.ReactivateKeepUnlinked, s.Notifications, s.Schedule.OnWindowEnd = profile.CPULow, profile.SameAllow, profile.KeepYes, profile.NotifyOff, profile.Finish
		}},
	} {
		w.saveProfile(everySetting(t))
		want := everySetting(t)
		c.want(&want)
		admin.done(admin.submit(at, admin.get(at).form(t, at), c.changes...), "Saved.")
		if got := w.firstProfile().Settings; string(got.Encode()) != string(want.Encode()) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got.Encode(), want.Encode())
		}
	}
}

// What cannot be saved is said at the top, and beside its field, which keeps
// what was typed.
func TestProfileFormProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.as("admin")
	before := w.saveProfile(everySetting(t))
	at := "/admin/profiles/" + string(before.ID)
	for _, c := range []struct {
		field, problem string
		changes        []string
	}{
		{"name", "Give the profile a name.", []string{"name", " "}},
		{"folders", "not here is not a folder", []string{"folders", "not here"}},
		{"interval", "The interval is from 5 to 10,080 minutes.", []string{"rhythm", "interval", "interval", "4"}},
		{"cron", "“noon” names no times.", []string{"cron", "noon"}},
		{"cron", "Write the times", []string{"cron", ""}},
		{"windows", "A window needs a beginning and an end", []string{"windows_1_to", ""}},
		{"windows", "leave no time at all", []string{"blackouts_1_from", "00:00", "blackouts_1_to", "00:00"}},
		{"blackouts", "A time needs a beginning and an end", []string{"blackouts_1_from", "half past"}},
		{"big_file", "This size cannot be meant.", []string{"big_file", "much"}},
		{"jitter", "Devices are spread by 0 to 50 percent.", []string{"jitter", "51"}},
		{"quota", "This quota cannot be meant.", []string{"quota", "NaN"}},
		{"up_kbps", "The limit for backups is from 16", []string{"up_kbps", "3"}},
		{"percent", "A share of the line is from 1 to 100 percent", []string{"limit", "percent", "percent", "101"}},
		{"rates", "Each line needs", []string{"rates_0_kbps", ""}},
		{"lan_exempt", "office is no network.", []string{"lan_exempt", "office"}},
		{"networks_allow", "names no network", []string{"networks_allow", strings.Repeat("long", 9)}},
		{"networks_deny", "names no network", []string{"networks_deny", strings.Repeat("long", 9)}},
		{"hooks", "“../dump” is not the name of a script", []string{"hooks_0_name", "../dump"}},
		{"hooks", "needs the SHA-256 of its content", []string{"hooks_1_sha256", "abc"}},
		{"hooks", "may take up to 1,440 minutes", []string{"hooks_0_minutes", "2000"}},
		{"battery", "The battery", []string{"battery", "96"}},
		{"max_devices", "A user has at most 100 devices.", []string{"max_devices", "101"}},
		{"inactive_days", "A device counts as inactive after 1 to 365 days.", []string{"inactive_days", "0"}},
		{"delete_inactive_days", "Inactive devices are deleted after 30 to 1,000 days", []string{"delete_inactive_days", "29"}},
		{"preserved_days", "Preserved users are deleted after 30 to 3,650 days", []string{"preserved_days", "29"}},
		{"pause_hours", "A pause lasts from 1 to 24 hours.", []string{"pause_hours", "25"}},
	} {
		p := admin.submit(at, admin.get(at).form(t, at), c.changes...)
		p.want(t, http.StatusBadRequest, "Nothing was saved.", `href="#f-`+c.field+`"`, `id="f-`+c.field+`"`)
		if n := strings.Count(p.body, html.EscapeString(c.problem)) + strings.Count(p.body, c.problem); n < 2 {
			t.Errorf("%s: %q stands %d times on the page, want it at the top and at the field", c.field, c.problem, n)
		}
		shown := p.form(t, at)
		for i := 0; i < len(c.changes); i += 2 {
			if got := shown.Get(c.changes[i]); got != c.changes[i+1] && !same(got, c.changes[i+1]) {
				t.Errorf("%s: %s shows %q after %q was typed", c.field, c.changes[i], got, c.changes[i+1])
			}
		}
		if after := w.firstProfile(); after.Revision != before.Revision {
			t.Fatalf("%s: saved", c.field)
		}
	}
	// A viewer sees it all and changes nothing.
	viewer := w.as("viewer")
	p := viewer.get(at)
	p.want(t, http.StatusOK, "~/Documents", "fieldset class=\"profile-form\" disabled").lacks(t, ">Save<")
	viewer.submit(at, p.form(t, at), "name", "Mine").want(t, http.StatusForbidden)
}

// same reports whether two texts are the same number.
func same(a, b string) bool {
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && x == y
}
