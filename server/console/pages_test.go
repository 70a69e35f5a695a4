package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/tokens"
	"github.com/backstay/backstay/web"
)

var sampleNow = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)

const hostile = `<img src=x onerror=alert(1)>"'` + "\u202egpj\xff"

func aSign(sign, icon, text string) web.Sign { return web.Sign{Sign: sign, Icon: icon, Text: text} }

func aState(colour, text string) web.State { return web.State{Colour: colour, Text: text} }

func sampleDevices() []device {
	return []device{
		{ID: "1", Name: "ATELIER-07", System: "Windows 11 · x86-64", Icon: "device-laptop", Client: "0.1", UserID: "1", Username: "marie", State: aState("green", "Active"), Protection: aSign("good", "shield-check", "Protected"), LastBackup: sampleNow.Add(-12 * time.Minute), LastSeen: sampleNow, Activated: sampleNow.AddDate(0, -2, 0), Bytes: 61_659_000_000, Files: 214_880},
		{ID: "2", Name: hostile, System: "Debian GNU/Linux 12 · x86-64", Icon: "server-2", UserID: "2", Username: "pierre.curie@example.org", State: aState("green", "Active"), Protection: aSign("warn", "alert-triangle", "No backup for 5 days"), LastBackup: sampleNow.Add(-5 * 24 * time.Hour), Bytes: 1_240_000, Files: 318},
		{ID: "3", Name: "old-macbook", System: "macOS 15 · ARM64", Icon: "device-laptop", UserID: "1", Username: "marie", State: aState("secondary", "Deactivated"), Protection: aSign("idle", "ban", "No longer backed up. Its snapshots are kept."), LastBackup: sampleNow.AddDate(0, -4, 0), Bytes: 88_400_000_000, Files: 91_002},
	}
}

func sampleUsers() []user {
	return []user{
		{ID: "1", Username: "marie", FullName: "Marie Curie", Email: "marie@example.org", Profile: "Default", ProfileID: "1", Devices: 2, LastBackup: sampleNow.Add(-12 * time.Minute), Created: sampleNow.AddDate(0, -3, 0), LastLogin: sampleNow.Add(-time.Hour), State: aState("green", "Active"), CanDisable: true},
		{ID: "2", Username: "pierre.curie@example.org", Email: "pierre.curie@example.org", Profile: "Laboratory", ProfileID: "2", Devices: 1, LastBackup: sampleNow.AddDate(0, 0, -5), State: aState("orange", "Disabled"), CanActivate: true},
		{ID: "3", Username: `<script>alert("x")</script>`, Profile: "Default", State: aState("green", "Active")},
	}
}

// samples are all pages with made-up content.
var samples = map[string]func(out, in web.Frame, r *http.Request) (string, web.Page){
	"overview": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "overview", overviewPage{Frame: in, Org: "Institut Curie",
			Attention: []attention{{aSign("warn", "alert-triangle", "7 devices have had no backup for 5 days."), "#"}, {aSign("bad", "shield-x", "2 devices have never been backed up."), "#"}},
			Bar:       []bar{{"good", 0, 800}, {"warn", 800, 150}, {"bad", 950, 50}},
			Legend:    []web.Sign{aSign("good", "shield-check", "32 protected"), aSign("warn", "alert-triangle", "6 at risk"), aSign("bad", "shield-x", "2 never backed up")},
			Counts:    []count{{"users", "Users", "31", "/admin/users"}, {"device-laptop", "Devices", "40", "/admin/devices"}, {"history", "Snapshots", "12,408", ""}, {"database", "Protected data", "4.1 TB", ""}}}
	},
	"overview-first": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "overview", overviewPage{Frame: in, Org: "Institut Curie", FirstSteps: true, Command: "backstay activate --server https://backup.example --user marie", Users: 1}
	},
	"users": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		p := web.PagesOf(r, 3, 31, "zebra")
		users := sampleUsers()
		users[1].MailFailed, users[0].Seat = "550 no such user", "Active"
		in.Banners = []web.Banner{{Icon: "mail-exclamation", Text: "Mail does not work.", Href: "#", Link: "Settings"}}
		return "users", usersPage{Frame: in, Users: users, Pages: p, CanManage: true, Export: "#", Profile: "2",
			Profiles: []profileItem{{ID: "1", Name: "Default"}, {ID: "2", Name: hostile}},
			States:   []choice{{Text: "All", Href: "#", Count: 31, Active: true}, {Text: "Active", Href: "#", Count: 28}}}
	},
	"users-none": func(out, in web.Frame, r *http.Request) (string, web.Page) { return "users", usersPage{Frame: in} },
	"users-nothing": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "users", usersPage{Frame: in, Query: hostile}
	},
	"user-new": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		page := newUserPage{Frame: in, Username: "x", Profiles: []profileItem{{ID: "1", Name: "Default"}, {ID: "2", Name: "Laboratory"}}, Profile: "2"}
		page.Form.AddField("username", "This name is taken.")
		return "user-new", page
	},
	"user-made": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-made", madeUserPage{Frame: in, Home: "/admin/users/1", Username: "marie", Secret: "kelp-Sonar-41-rig", Portal: "https://backup.example"}
	},
	"user-mailed": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-made", madeUserPage{Frame: in, Home: "/admin/users/1", Username: hostile, Email: "marie@example.org", Invited: true, Portal: "https://backup.example"}
	},
	"user-link": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-made", madeUserPage{Frame: in, Home: "/admin/users/1", Username: hostile, Invited: true, Again: true, Secret: "kelp-Sonar-41-rig",
			Link: "https://backup.example/link/0123456789abcdefghijklmnopqrstuvwxyz0123456", Portal: "https://backup.example"}
	},
	"user": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user", userPage{Frame: in, User: sampleUsers()[0], StateText: "Can log in, back up and restore.", Devices: sampleDevices(), CanManage: true,
			First: []button{{Text: "Activate", Icon: "check", Href: "#", Class: "btn-primary", Post: true}}, More: []button{{Text: "Delete", Icon: "trash", Href: "#", Class: "text-danger"}},
			Notices:  []notice{{What: aSign("warn", "trash", "Will be removed."), Buttons: []button{{Text: "Undo deletion", Icon: "arrow-back-up", Href: "#", Post: true}}}},
			Sessions: []session{{ID: "1", Browser: hostile, Where: "User portal", IP: "2001:db8::1", Seen: sampleNow}},
			Factors:  factors.Summary{TOTP: true, Passkeys: []factors.Passkey{{Name: hostile}}, RecoveryLeft: 7}}
	},
	"user-bare": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user", userPage{Frame: in, User: sampleUsers()[1], Reason: hostile, StateText: "Cannot log in or back up.", Command: "backstay activate --server https://backup.example --user marie"}
	},
	"user-profile": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-profile", chooseProfilePage{Frame: in, Home: "#", Username: hostile, Profile: "1", Profiles: []profileItem{{ID: "1", Name: "Default", WebRestore: true}, {ID: "2", Name: hostile}}}
	},
	"user-quota": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-quota", quotaPage{Frame: in, Home: "#", Username: hostile, Now: sampleQuota, Profile: "50 GB", Own: true, Size: size{"60", "GB"}}
	},
	"user-edit": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-edit", editUserPage{Frame: in, Home: "#", Whose: hostile, Username: "marie", Email: "marie@example.org", FirstName: `"><b>`, Language: "fr", EmailHint: "Links that were mailed there no longer work."}
	},
	"user-licence": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "user-licence", chooseLicencePage{Frame: in, Home: "#", Username: hostile, Licence: "1", Licences: []role{{Text: "No licence", Means: "Nothing is counted."}, {"1", "Head office", "7 seats are free."}}}
	},
	"write": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "write", writePage{Frame: in, Affected: true, Profiles: []profileItem{{ID: "1", Name: "Default"}, {ID: "2", Name: hostile}}, Contact: "it@example.org"}
	},
	"write-preview": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "write-preview", writePage{Frame: in, Count: 31, Without: 2, Previews: []preview{{"English", "en", "Your backup needs you", "Hello,\n\nfor security…"}}}
	},
	"write-sent": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "write-sent", sentPage{Frame: in, Total: 31, Sent: 12, Waiting: 18, Failed: 1, Bar: spread([]bar{{Class: "good", Width: 12}, {Class: "bad", Width: 1}, {Class: "rest", Width: 18}})}
	},
	"explain": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "explain", explainPage{Frame: in, ID: "1", Username: hostile, URL: "https://backup.example/",
			Lines:    []explainLine{{Name: "state", Text: "The account is active.", OK: true}, {Name: "lock", Text: "Locked.", Fix: &button{Text: "Unlock", Icon: "lock-open", Href: "#", Post: true}}},
			Attempts: []attempt{{At: sampleNow, IP: "192.0.2.7", Reason: "wrong password", Code: "E1101", Outcome: aState("red", "Denied")}}}
	},
	"ask": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "ask", askPage{Frame: in, Text: "This affects 31 users.", Action: "#", Back: "#", Button: "Enable"}
	},
	"import": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "import", importPage{Frame: in, Last: []lastImport{{"1", sampleNow, web.Sign{Sign: "good", Icon: "circle-check", Text: "Imported"}}}}
	},
	"import-running": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "import-checked", importPage{Frame: in, ID: "1", Running: true, Total: 10000, Made: 3214, Bar: spread([]bar{{Class: "good", Width: 3214}, {Class: "rest", Width: 6786}})}
	},
	"import-checked": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "import-checked", importPage{Frame: in, ID: "1", Good: 12, Exists: 1, Bad: 2, Rows: []importRow{{Line: 3, Username: hostile, Email: hostile, Reason: "This is not an e-mail address."}}}
	},
	"settings": func(out, in web.Frame, r *http.Request) (string, web.Page) { return "settings", sampleSettings(in) },
	"settings-organisation": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-organisation", organisationPage{settingsFrame: sampleSettings(in), Name: hostile, Created: sampleNow, Users: 31, Devices: 40, Quota: sampleQuota, Size: size{"5", "TB"}}
	},
	"settings-portals": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-portals", portalsPage{settingsFrame: sampleSettings(in), Portal: "https://backup.example/", Console: "https://backup.example/admin/", Fingerprint: strings.Repeat("ab", 32)}
	},
	"settings-database": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-database", databasePage{settingsFrame: sampleSettings(in),
			About: db.About{Kind: "SQLite", Place: "/var/lib/backstay/backstay.db", Version: "3.50.1", Schema: 3, Bytes: 41_000_000}}
	},
	"settings-users": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-users", rulesPage{settingsFrame: sampleSettings(in), Set: settings.Settings{Users: settings.Users{RollbackDays: 30, ShorterDays: 7, ShorterFrom: sampleNow.AddDate(0, 0, 30)}}}
	},
	"settings-registration": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		page := rulesPage{settingsFrame: sampleSettings(in), Set: settings.Settings{Registration: settings.Registration{Mode: "open"}}, Domains: hostile}
		page.Domains = "example.org"
		page.Form.AddField("registration_domain", "This is no domain.")
		return "settings-registration", page
	},
	"settings-signin": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		page := rulesPage{settingsFrame: sampleSettings(in)}
		page.Locked = true
		showSignIn(&page, nil)
		page.Form.AddField("lock_after", "From 3 to 100.")
		return "settings-signin", page
	},
	"settings-mail": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-mail", mailPage{settingsFrame: sampleSettings(in), Set: settings.Mail{Host: "smtp.example.org", Port: 587, Security: "starttls", From: "backup@example.org", HasPassword: true},
			Works: true, To: "admin@example.org", Counts: []choice{{Text: "Waiting", Href: "#", Count: 3}}}
	},
	"settings-queue": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-queue", queuePage{settingsFrame: sampleSettings(in), Counts: []choice{{Text: "Waiting", Href: "#", Count: 3, Active: true}},
			Mails: []queued{{Number: 1, What: "Activation", To: hostile, UserID: "1", State: aState("orange", "Waiting"), Tries: 2, Problem: "The mail server cannot be reached.", Created: sampleNow, Next: sampleNow, CanChange: true}}}
	},
	"settings-licences": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-licences", licencesPage{settingsFrame: sampleSettings(in), CanSet: true, Licences: []licence{sampleLicence(hostile, 18, 25), sampleLicence("Workshop", 12, 8)}}
	},
	"licence": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "licence", licencePage{settingsFrame: sampleSettings(in), Licence: sampleLicence(hostile, 18, 25), CanIssue: true, Name: "Head office", Seats: 25}
	},
	"licence-new": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "licence-new", licencePage{settingsFrame: sampleSettings(in), Seats: 25}
	},
	"settings-tokens": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-tokens", apiTokensPage{settingsFrame: sampleSettings(in), Tokens: []apiTokenItem{
			{Token: tokens.Token{ID: "0123456789ab", Name: "Inventory", MakerName: "admin", LastUsedAt: sampleNow, LastIP: "192.0.2.7", ExpiresAt: sampleNow.AddDate(0, 2, 0)},
				State: aState("green", "Active"), Scopes: []string{"See the device map", "Change the device map"}, Works: true},
			{Token: tokens.Token{ID: "ba9876543210", Name: hostile, MakerName: hostile, ExpiresAt: sampleNow.AddDate(0, 1, 0)}, State: aState("orange", "Stopped"),
				Why: "The account does not work.", Scopes: []string{"See the device map"}, Works: true}}}
	},
	"settings-tokens-none": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-tokens", apiTokensPage{settingsFrame: sampleSettings(in)}
	},
	"token-new": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		page := newAPITokenPage{settingsFrame: sampleSettings(in), Name: `"><b>`, Days: 90, Scopes: []scopeItem{{"device-map:read", "See the device map", true}, {"device-map:write", "Change the device map", false}}}
		page.Form.AddField("days", "A token lives for one hour to 365 days.")
		return "token-new", page
	},
	"token-made": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "token-made", madeAPITokenPage{settingsFrame: sampleSettings(in), Secret: "bsa1.0123456789ab.0123456789012345678901234567890123456789012",
			Command: "curl -H 'Authorization: Bearer bsa1.0123456789ab.0123456789012345678901234567890123456789012' https://backup.example.org/api/v1/device-map"}
	},
	"settings-administrators": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "settings-administrators", administratorsPage{settingsFrame: sampleSettings(in), Administrators: []administrator{
			{Href: "#", Username: "admin", FullName: hostile, Role: "Server administrator", State: aState("green", "Active"), You: true, Factor: true}, {Href: "#", Username: hostile, State: aState("blue", "Invited")}}}
	},
	"administrator-new": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "administrator-new", newAdministratorPage{settingsFrame: sampleSettings(in), Role: "viewer", Roles: []role{{"viewer", "Viewer", "Looks."}}}
	},
	"administrator": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "administrator", administratorPage{userPage: userPage{Frame: in, User: sampleUsers()[0], CanManage: true, Home: "#"}, Role: "viewer", Roles: []role{{"viewer", "Viewer", "Looks."}}, Locked: true}
	},
	"devices": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "devices", devicesPage{Frame: in, Devices: sampleDevices(), States: []choice{{Text: "All", Href: "/admin/devices", Count: 3, Active: true}, {Text: "Deleted", Href: "/admin/devices?state=deleted", Count: 1}}}
	},
	"devices-risk": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "devices", devicesPage{Frame: in, Devices: sampleDevices()[1:2], Show: "risk"}
	},
	"devices-none": func(out, in web.Frame, r *http.Request) (string, web.Page) { return "devices", devicesPage{Frame: in} },
	"device": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "device", devicePage{Frame: in, Device: sampleDevices()[0], CanManage: true,
			First:   []button{{Text: "Back up now", Icon: "refresh", Href: "/admin/devices/1/backup", Class: "btn-primary", Post: true}},
			More:    []button{{Text: "Delete", Icon: "trash", Href: "/admin/devices/1/delete", Class: "text-danger"}},
			Notices: []notice{{What: aSign("warn", "ban", web.Visible(hostile))}}, Snapshots: []snapshot{
				{ID: "9f2c41d07ab3e865", Time: sampleNow.Add(-12 * time.Minute), Files: 214_880, Bytes: 61_659_000_000, State: aState("green", "Complete")},
				{ID: "1b7d0c55e94fa210", Time: sampleNow.Add(-26 * time.Hour), Files: 214_102, Bytes: 61_600_000_000, Unreadable: 3, State: aState("orange", "Not finished")},
			}}
	},
	"confirm": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		in.Title = "Deactivate ATELIER-07?"
		return "confirm", confirmPage{Frame: in, Before: &notice{What: aSign("warn", "archive", "Save first."), Buttons: []button{{Text: "Write", Icon: "mail", Href: "#", Post: true}}}, Name: "ATELIER-07", Action: "#", Back: "#", Button: "Deactivate", Consequences: []string{"It is refused within 5 seconds and backs up nothing more.", "Its 42 snapshots are kept and stay restorable.", "Its user can activate it again with their password."}}
	},
	"profiles": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "profiles", profilesPage{Frame: in, Profiles: []profileItem{{ID: "1", Name: "Default", Default: true, Users: 29, WebRestore: true, Changed: sampleNow.AddDate(0, -1, 0)}, {ID: "2", Name: "Laboratory", Description: "Instruments and their computers", Users: 2, Changed: sampleNow}}}
	},
	"profile": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "profile", sampleProfile(in, sampleProfileSettings())
	},
	"profile-defaults": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "profile", sampleProfile(in, profile.Defaults())
	},
	"profile-wrong": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		page := sampleProfile(in, sampleProfileSettings())
		page.Form.AddField("cron", "“noon” names no times. Write five fields, as in 30 12 * * mon-fri, that come at least 5 minutes apart.")
		page.Form.AddField("windows", "A window needs a beginning and an end, as 20:00 and 06:00.")
		page.Text.Windows[1].To = ""
		page.Form.AddField("jitter", "Devices are spread by 0 to 50 percent.")
		return "profile", page
	},
	"profile-viewed": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		page := sampleProfile(in, sampleProfileSettings())
		page.CanManage = false
		return "profile", page
	},
	"audit": func(out, in web.Frame, r *http.Request) (string, web.Page) {
		return "audit", auditPage{Frame: in, Rows: []auditRow{
			{At: sampleNow, Who: "admin", What: "Log in", Object: "console", Outcome: aState("green", "Done"), IP: "192.0.2.7", Request: "K7J2MQ4XNB3ZT"},
			{At: sampleNow.Add(-time.Minute), Who: hostile, What: "Read own data", Object: "Snapshot", ID: "0190b3f2-aaaa-7bbb-8ccc-123456789abc", Outcome: aState("red", "Denied"), Code: "E1106", IP: "2001:db8::1"},
		}}
	},
}

func sampleProfile(in web.Frame, s profile.Settings) profilePage {
	page := profilePage{Frame: in, Profile: profileItem{ID: "1", Name: hostile, Users: 29, Revision: 4}, Name: "Default", Set: s, Text: textOf(s), CanManage: true}
	page.Text.ready(in.Printer())
	return page
}

// sampleProfileSettings have something of everything.
func sampleProfileSettings() profile.Settings {
	s := profile.Defaults()
	s.Folders = []profile.Folder{{Path: "~/Documents", Mandatory: true}, {Path: "~/Pictures"}, {Path: "/srv/share"}}
	s.Exclude = []string{"*.iso", "node_modules"}
	s.Schedule.Cron = "30 12 * * mon-fri"
	s.Schedule.Windows = []profile.Window{{Days: 0b0111110, From: 20 * 60, To: 6 * 60}, {Days: 0b1000001, From: 0, To: 24 * 60}}
	s.Schedule.Blackouts = []profile.Window{{From: 12 * 60, To: 13 * 60}}
	s.QuotaBytes = 50_000_000_000
	s.Bandwidth = profile.Bandwidth{UpKbps: 4000, Table: []profile.Rate{{Window: profile.Window{Days: 0b0111110, From: 8 * 60, To: 18 * 60}, Kbps: 1000}}, LANExempt: []string{"10.0.0.0/8"}, RestoreKbps: 20000}
	s.CPU = profile.CPUAdaptive
	s.Networks.Allow = []profile.Network{{CIDR: "10.0.0.0/8"}, {SSID: "Office"}}
	s.Networks.Deny = []profile.Network{{GatewayMAC: "00:11:22:aa:bb:cc"}}
	s.AutoDeleteInactiveDays = 180
	return s
}

func sampleLicence(name string, taken, seats int64) licence {
	return licence{ID: "1", Name: name, Serial: "X2R9C-GGT03-5XA9C-DTXP8-1919A", Taken: taken, Seats: seats, SeatsPreserved: 2,
		Stands: aSign("good", "circle-check", "7 seats are free."), Bar: seatsBar(taken, seats)}
}

func sampleSettings(in web.Frame) settingsFrame {
	f := settingsFrame{Frame: in}
	for i, x := range sections {
		f.Sections = append(f.Sections, web.Link{Key: "settings." + x.name, Href: "#", Icon: x.icon, Active: i == 1})
	}
	return f
}

func sampleSite(t *testing.T) http.Handler {
	t.Helper()
	pages, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	site, err := web.New(web.Config{Name: "console", Base: "/admin", Templates: pages, Now: func() time.Time { return sampleNow }})
	if err != nil {
		t.Fatal(err)
	}
	var nav []web.Link
	for i, s := range [][2]string{{"overview", "layout-dashboard"}, {"users", "users"}, {"devices", "device-laptop"}, {"profiles", "adjustments"}, {"audit", "list"}} {
		nav = append(nav, web.Link{Key: "console." + s[0], Href: "/admin/" + s[0], Icon: s[1], Active: i == 1})
	}
	mux := http.NewServeMux()
	for name, make := range samples {
		mux.HandleFunc("GET /admin/"+name, func(w http.ResponseWriter, r *http.Request) {
			in := site.Frame(w, r)
			in.Title, in.Nav, in.Who = "Title", nav, "admin"
			out := site.Frame(w, r).Card()
			out.Title = "Title"
			template, page := make(out, in, r)
			site.Render(w, r, http.StatusOK, template, page)
		})
	}
	return site.Handler(mux)
}

// Every page renders in both languages, whatever the names are, without
// anything inline.
func TestPagesRender(t *testing.T) {
	t.Parallel()
	h := sampleSite(t)
	for _, lang := range locale.Langs() {
		for name := range samples {
			r := httptest.NewRequest(http.MethodGet, "/admin/"+name, nil)
			r.Header.Set("Accept-Language", string(lang))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			page := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(page, "</html>") {
				t.Errorf("%s in %s: status %d: %s", name, lang, w.Code, page)
			}
			for _, bad := range []string{" style=", "<style", " onclick=", "<img src=x", "<script>alert", "\u202e", "no value", "ZgotmplZ", "%!"} {
				if strings.Contains(page, bad) {
					t.Errorf("%s in %s holds %q", name, lang, bad)
				}
			}
		}
	}
}

var sampleQuota = quota{Text: "49 GB of 50 GB", Bar: spread([]bar{{Class: "bad", Width: 49}, {Class: "rest", Width: 1}})}
