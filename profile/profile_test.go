package profile

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
	if s := Defaults(); !s.WebRestore || s.IntervalMinutes != 240 {
		t.Errorf("defaults %+v", s)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       func(*Settings) // on the defaults
	}{
		{"nothing", `{}`, func(*Settings) {}},
		{"from a newer program", `{"web_restore": false, "colour": "blue"}`, func(s *Settings) { s.WebRestore = false }},
		{"no lists", `{"folders": null, "exclude": null}`, func(*Settings) {}},
		{"repeats and spaces", `{"folders": [{"path": " /a "}, {"path": "/a", "mandatory": true}, {"path": ""}], "exclude": ["x", " x", ""]}`,
			func(s *Settings) { s.Folders = []Folder{{"/a", true}}; s.Exclude = []string{"x"} }},
		{"a part of a group", `{"schedule": {"cron": " 0  12 * * * "}, "networks": {"deny": [{"ssid": "x"}, {"ssid": "x"}]}}`,
			func(s *Settings) { s.Schedule.Cron = "0 12 * * *"; s.Networks.Deny = []Network{{SSID: "x"}} }},
		{"empty words", `{"cpu": "", "same_name": "", "notifications": null}`, func(*Settings) {}},
		// Until users could choose more, whether they may add folders stood alone.
		{"from an older program", `{"user_can_add": false}`, func(s *Settings) { s.UserMay.Folders = false }},
		{"from two programs", `{"user_can_add": true, "user_may": {"folders": false}}`, func(s *Settings) { s.UserMay.Folders = false }},
	} {
		want := Defaults()
		c.want(&want)
		got, err := Decode([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, want)
		}
		again, err := Decode(got.Encode())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: encoded and decoded %+v, %v", c.name, again, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{"interval_minutes": "4"}`, `{"folders": ["/a"]}`} {
		if _, err := Decode([]byte(bad)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("Decode(%s) = %v, want Invalid", bad, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	folder := func(p string) func(*Settings) {
		return func(s *Settings) { s.Folders = []Folder{{Path: p}} }
	}
	exclude := func(e string) func(*Settings) {
		return func(s *Settings) { s.Exclude = []string{e} }
	}
	for _, c := range []struct {
		name   string
		change func(*Settings)
		ok     bool
	}{
		{"a folder", folder("/srv/share"), true},
		{"with a slash at its end", folder("/srv/share/"), true},
		{"the whole computer", folder("/"), true},
		{"below home", folder("~/Documents"), true},
		{"home", folder("~"), true},
		{"on Windows", folder(`C:\Users\una`), true},
		{"on Windows with slashes", folder("d:/Data"), true},
		{"another user's home", folder("~root/x"), false},
		{"relative", folder("Documents"), false},
		{"upwards", folder("/a/../etc"), false},
		{"upwards from home", folder("~/../x"), false},
		{"two slashes", folder("/a//b"), false},
		{"a drive alone", folder("C:"), false},
		{"a line break", folder("/a\nb"), false},
		{"not UTF-8", folder("/a\xff"), false},
		{"too long", folder("/" + strings.Repeat("a", maxPath)), false},
		{"a name", exclude("*.iso"), true},
		{"a path", exclude("~/Downloads/*"), true},
		{"an open bracket", exclude("[a"), false},
		{"a slash", exclude("/"), false},
		{"times", func(s *Settings) { s.Schedule.Cron = "0 12 * * mon-fri" }, true},
		{"no times", func(s *Settings) { s.Schedule.Cron = "noon" }, false},
		{"windows", func(s *Settings) { s.Schedule.Windows = []Window{window(t, "20:00", "06:00")} }, true},
		{"a window beyond the day", func(s *Settings) { s.Schedule.Windows = []Window{{To: 1441}} }, false},
		{"a window that begins at its end", func(s *Settings) { s.Schedule.Windows = []Window{{From: 1440, To: 60}} }, false},
		{"too many windows", func(s *Settings) { s.Schedule.Windows = manyWindows(MaxWindows + 1) }, false},
		{"too many blackouts", func(s *Settings) { s.Schedule.Blackouts = manyWindows(MaxWindows + 1) }, false},
		{"windows within blackouts", func(s *Settings) {
			s.Schedule.Windows, s.Schedule.Blackouts = []Window{window(t, "10:00", "11:00")}, []Window{window(t, "08:00", "18:00")}
		}, false},
		{"a window that pauses", func(s *Settings) { s.Schedule.OnWindowEnd = Pause }, true},
		{"a window that explodes", func(s *Settings) { s.Schedule.OnWindowEnd = "explode" }, false},
		{"no difference for large files", func(s *Settings) { s.Schedule.BigFileMinutes = 0 }, true},
		{"large files in the past", func(s *Settings) { s.Schedule.BigFileMinutes = -1 }, false},
		{"files of negative size", func(s *Settings) { s.Schedule.BigFileBytes = -1 }, false},
		{"all at once", func(s *Settings) { s.Schedule.JitterPercent = 0 }, true},
		{"anywhere", func(s *Settings) { s.Schedule.JitterPercent = 51 }, false},
		{"a limit", func(s *Settings) { s.Bandwidth.UpKbps = 16 }, true},
		{"a limit that would never end", func(s *Settings) { s.Bandwidth.UpKbps = 15 }, false},
		{"a share", func(s *Settings) { s.Bandwidth.Percent = 100 }, true},
		{"more than all", func(s *Settings) { s.Bandwidth.Percent = 101 }, false},
		{"a share and a limit", func(s *Settings) { s.Bandwidth.Percent, s.Bandwidth.UpKbps = 50, 500 }, false},
		{"a limit for restores", func(s *Settings) { s.Bandwidth.RestoreKbps = -1 }, false},
		{"limits for times", func(s *Settings) { s.Bandwidth.Table = []Rate{{window(t, "08:00", "18:00"), 500}} }, true},
		{"limits for no times", func(s *Settings) { s.Bandwidth.Table = []Rate{{Window{From: -1}, 500}} }, false},
		{"no limits for times", func(s *Settings) { s.Bandwidth.Table = []Rate{{window(t, "08:00", "18:00"), 5}} }, false},
		{"an exempt network", func(s *Settings) { s.Bandwidth.LANExempt = []string{"10.0.0.0/8"} }, true},
		{"an exempt name", func(s *Settings) { s.Bandwidth.LANExempt = []string{"office"} }, false},
		{"an allowed network", func(s *Settings) { s.Networks.Allow = []Network{{SSID: "Office"}} }, true},
		{"an allowed nothing", func(s *Settings) { s.Networks.Allow = []Network{{}} }, false},
		{"a network in two ways", func(s *Settings) { s.Networks.Deny = []Network{{SSID: "Office", CIDR: "10.0.0.0/8"}} }, false},
		{"metered", func(s *Settings) { s.Networks.Metered = MeteredAllow }, true},
		{"half metered", func(s *Settings) { s.Networks.Metered = "half" }, false},
		{"an empty battery", func(s *Settings) { s.Networks.BatteryPercent = 0 }, true},
		{"a full battery", func(s *Settings) { s.Networks.BatteryPercent = 96 }, false},
		{"a processor", func(s *Settings) { s.CPU = CPUAdaptive }, true},
		{"a turbo", func(s *Settings) { s.CPU = "turbo" }, false},
		{"a quota", func(s *Settings) { s.QuotaBytes = 50_000_000_000 }, true},
		{"a debt", func(s *Settings) { s.QuotaBytes = -1 }, false},
		{"a pause of an hour", func(s *Settings) { s.UserMay.PauseMaxHours = 1 }, true},
		{"a pause of no hour", func(s *Settings) { s.UserMay.PauseMaxHours = 0 }, false},
		{"a pause of two days", func(s *Settings) { s.UserMay.PauseMaxHours = 48 }, false},
		{"notified", func(s *Settings) { s.Notifications = NotifyAll }, true},
		{"sung to", func(s *Settings) { s.Notifications = "song" }, false},
		{"the same name", func(s *Settings) { s.SameName = SameAllow }, true},
		{"a similar name", func(s *Settings) { s.SameName = "similar" }, false},
		{"inactive soon", func(s *Settings) { s.InactiveDays = 1 }, true},
		{"never inactive", func(s *Settings) { s.InactiveDays = 0 }, false},
		{"inactive late", func(s *Settings) { s.InactiveDays = 366 }, false},
		{"deleted", func(s *Settings) { s.AutoDeleteInactiveDays = 30 }, true},
		{"deleted soon", func(s *Settings) { s.AutoDeleteInactiveDays = 29 }, false},
		{"deleted late", func(s *Settings) { s.AutoDeleteInactiveDays = 1001 }, false},
		{"unlinked, ask", func(s *Settings) { s.ReactivateKeepUnlinked = KeepAsk }, true},
		{"unlinked, maybe", func(s *Settings) { s.ReactivateKeepUnlinked = "maybe" }, false},
		{"too often", func(s *Settings) { s.IntervalMinutes = 4 }, false},
		{"every five minutes", func(s *Settings) { s.IntervalMinutes = 5 }, true},
		{"too seldom", func(s *Settings) { s.IntervalMinutes = 10081 }, false},
		{"no devices", func(s *Settings) { s.MaxDevices = 0 }, true},
		{"fewer", func(s *Settings) { s.MaxDevices = -1 }, false},
		{"too many devices", func(s *Settings) { s.MaxDevices = 101 }, false},
	} {
		s := Defaults()
		c.change(&s)
		if err := s.Validate(); (err == nil) != c.ok || err != nil && errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want valid %v", c.name, err, c.ok)
		}
	}
}

// The chapter for administrators shows settings that are valid, and all of
// them.
func TestDocumentedSettings(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/admin/profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```json\n")
	text, _, ok := strings.Cut(text, "```")
	s, err := Decode([]byte(text))
	if err == nil {
		err = s.Validate()
	}
	if !ok || err != nil {
		t.Fatalf("the settings of the page: %v\n%s", err, text)
	}
	names := func(text []byte) []string {
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name, value := range all {
			names = append(names, name)
			group, _ := value.(map[string]any)
			for inner := range group {
				names = append(names, name+"."+inner)
			}
		}
		slices.Sort(names)
		return names
	}
	if got, want := names([]byte(text)), names(Defaults().Encode()); !slices.Equal(got, want) {
		t.Errorf("the page shows %v,\nthe settings are %v", got, want)
	}
}

func manyWindows(n int) (list []Window) {
	for i := range n {
		list = append(list, Window{From: Clock(i), To: 1000})
	}
	return list
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Folders = []Folder{{Path: "~/Documents/"}, {Path: "/srv"}, {Path: `C:\Users`}, {Path: "/home/una/Documents"}, {Path: "/"}, {Path: "~"}}
	if got, want := s.Paths("/home/una"), []string{"/home/una/Documents", "/srv", "/", "/home/una"}; !slices.Equal(got, want) {
		t.Errorf("Paths = %q, want %q", got, want)
	}
	if got, want := s.Paths(""), []string{"/srv", "/home/una/Documents", "/"}; !slices.Equal(got, want) {
		t.Errorf("Paths without a home = %q, want %q", got, want)
	}
}

func TestExcluded(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Exclude = []string{"*.iso", "node_modules", "~/Downloads", "/var/cache/*/", "a[bc]"}
	excluded := s.Excluded("/home/u*a")
	for p, want := range map[string]bool{
		"/x/big.iso":                true,
		"/x/big.iso.txt":            false,
		"/x/node_modules":           true,
		"/x/node_modules2":          false,
		"/home/u*a/Downloads":       true,
		"/home/una/Downloads":       false, // the star of the home is none
		"/home/u*a/x/Downloads":     false,
		"/var/cache/apt":            true,
		"/var/cache":                false,
		"/var/cache/apt/archives":   false, // the walk does not get there
		"/x/ab":                     true,
		"/x/ad":                     false,
		"/x/node_modules/left/pad":  false,
		"/home/u*a/Downloads/x.iso": true,
	} {
		if got := excluded(p); got != want {
			t.Errorf("excluded(%s) = %v, want %v", p, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"folders":[{"path":"/a","mandatory":true}],"exclude":["*.iso"],"interval_minutes":5}`))
	f.Add([]byte(`{"schedule":{"cron":"0 12 * * *","windows":[{"days":["mon"],"from":"20:00","to":"06:00"}]},"networks":{"deny":[{"ssid":"x"}]},"bandwidth":{"table":[{"days":[],"from":"08:00","to":"18:00","kbps":500}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Decode(s.Encode())
		if err != nil || string(again.Encode()) != string(s.Encode()) {
			t.Errorf("%s does not stay the same: %v", s.Encode(), err)
		}
		_ = s.Validate()
		s.Excluded("/home")("/a/b")
		s.Paths("/home")
		Merge(s, Choices{}).ProtectedFor(time.Unix(0, 0))
	})
}

func TestHookValidate(t *testing.T) {
	t.Parallel()
	sound := Hook{When: Before, Name: "dump-database", SHA256: strings.Repeat("AB", 32)}
	for name, c := range map[string]struct {
		change func(h *Hook)
		key    string
	}{
		"sound":           {func(*Hook) {}, ""},
		"no time":         {func(h *Hook) { h.When = "during" }, "profile.value.invalid"},
		"no name":         {func(h *Hook) { h.Name = "" }, "profile.hooks.name"},
		"a folder":        {func(h *Hook) { h.Name = "a/b" }, "profile.hooks.name"},
		"the one above":   {func(h *Hook) { h.Name = ".." }, "profile.hooks.name"},
		"two lines":       {func(h *Hook) { h.Name = "a\nb" }, "profile.hooks.name"},
		"a hidden one":    {func(h *Hook) { h.Name = ".bashrc" }, "profile.hooks.name"},
		"no hash":         {func(h *Hook) { h.SHA256 = "" }, "profile.hooks.sha256"},
		"a shorter hash":  {func(h *Hook) { h.SHA256 = h.SHA256[1:] }, "profile.hooks.sha256"},
		"less than none":  {func(h *Hook) { h.Minutes = -1 }, "profile.hooks.minutes"},
		"more than a day": {func(h *Hook) { h.Minutes = 1441 }, "profile.hooks.minutes"},
	} {
		h, s := sound, Defaults()
		c.change(&h)
		s.Hooks = []Hook{sound, h}
		key := ""
		if e := errs.Find(s.Validate()); e != nil {
			key = e.Key
		}
		if key != c.key {
			t.Errorf("%s: refused as %q, want %q", name, key, c.key)
		}
	}
	s := Defaults()
	s.Hooks = []Hook{sound, {When: Before, Name: "all", Users: true}, {When: After, Name: "late"}}
	if got := s.HooksAt(Before, false); len(got) != 1 || got[0].Name != "all" {
		t.Errorf("before a user's backup: %v", got)
	}
	if got := s.HooksAt(Before, true); len(got) != 2 || got[0].SHA256 != strings.Repeat("ab", 32) {
		t.Errorf("before a whole computer's: %v", got)
	}
}
