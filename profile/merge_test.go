package profile

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/errs"
	"pgregory.net/rapid"
)

// A user's choice beside what the profile says, and what is in force.
func TestMerge(t *testing.T) {
	t.Parallel()
	night, noon := []Window{window(t, "20:00", "06:00")}, []Window{window(t, "12:00", "13:00")}
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hours := func(n int) time.Time { return began.Add(time.Duration(n) * time.Hour) }
	forbid := func(what func(*UserMay)) func(*Settings) { return func(s *Settings) { what(&s.UserMay) } }
	none := func(*Settings) {}
	type shown struct {
		value   any
		source  Source
		ignored Ignored
	}
	rhythm := func(e Effective) shown { return shown{e.Rhythm.Value, e.Rhythm.Source, e.Rhythm.Ignored} }
	windows := func(e Effective) shown { return shown{e.Windows.Value, e.Windows.Source, e.Windows.Ignored} }
	up := func(e Effective) shown { return shown{e.Limit().Value, e.Limit().Source, e.Limit().Ignored} }
	cpu := func(e Effective) shown { return shown{e.CPU.Value, e.CPU.Source, e.CPU.Ignored} }
	out := func(e Effective) shown {
		return shown{e.NetworksOut.Value, e.NetworksOut.Source, e.NetworksOut.Ignored}
	}
	pause := func(e Effective) shown {
		return shown{e.PausedUntil.Value, e.PausedUntil.Source, e.PausedUntil.Ignored}
	}
	for _, c := range []struct {
		name   string
		change func(*Settings)
		c      Choices
		look   func(Effective) shown
		want   shown
	}{
		{"nobody chose", none, Choices{}, rhythm, shown{Rhythm{240, ""}, FromDefault, ""}},
		{"the profile's interval", func(s *Settings) { s.IntervalMinutes = 60 }, Choices{}, rhythm, shown{Rhythm{60, ""}, FromProfile, ""}},
		{"the user's interval", none, Choices{IntervalMinutes: 30}, rhythm, shown{Rhythm{30, ""}, FromUser, ""}},
		{"the profile's times", func(s *Settings) { s.Schedule.Cron = "0 12 * * *" }, Choices{}, rhythm, shown{Rhythm{240, "0 12 * * *"}, FromProfile, ""}},
		{"an interval instead of times", func(s *Settings) { s.Schedule.Cron = "0 12 * * *" }, Choices{IntervalMinutes: 30}, rhythm, shown{Rhythm{30, ""}, FromUser, ""}},
		{"times instead of an interval", none, Choices{Cron: "0 9 * * *"}, rhythm, shown{Rhythm{0, "0 9 * * *"}, FromUser, ""}},
		{"an interval that is none", none, Choices{IntervalMinutes: 3}, rhythm, shown{Rhythm{240, ""}, FromDefault, Invalid}},
		{"both", none, Choices{IntervalMinutes: 30, Cron: "0 9 * * *"}, rhythm, shown{Rhythm{240, ""}, FromDefault, Invalid}},
		{"times that are none", none, Choices{Cron: "0 9 * *"}, rhythm, shown{Rhythm{240, ""}, FromDefault, Invalid}},
		{"not allowed", forbid(func(m *UserMay) { m.Schedule = false }), Choices{IntervalMinutes: 30}, rhythm, shown{Rhythm{240, ""}, FromDefault, NotAllowed}},

		{"the user's window", func(s *Settings) { s.Schedule.Windows = night }, Choices{Windows: noon}, windows, shown{noon, FromUser, ""}},
		{"at any time", func(s *Settings) { s.Schedule.Windows = night }, Choices{Windows: []Window{}}, windows, shown{[]Window{}, FromUser, ""}},
		{"no choice", func(s *Settings) { s.Schedule.Windows = night }, Choices{}, windows, shown{night, FromProfile, ""}},
		{"in the profile's blackout", func(s *Settings) { s.Schedule.Blackouts = []Window{window(t, "09:00", "17:00")} }, Choices{Windows: noon}, windows, shown{[]Window{}, FromDefault, Invalid}},

		{"a limit where there is none", none, Choices{UpKbps: 500}, up, shown{Limit{Kbps: 500}, FromUser, ""}},
		{"a lower limit", func(s *Settings) { s.Bandwidth.UpKbps = 2000 }, Choices{UpKbps: 500}, up, shown{Limit{Kbps: 500}, FromUser, ""}},
		{"a higher limit", func(s *Settings) { s.Bandwidth.UpKbps = 200 }, Choices{UpKbps: 500}, up, shown{Limit{Kbps: 200}, FromProfile, Lower}},
		{"no limit of the user's", func(s *Settings) { s.Bandwidth.UpKbps = 200 }, Choices{}, up, shown{Limit{Kbps: 200}, FromProfile, ""}},
		{"a limit that would never end", none, Choices{UpKbps: 3}, up, shown{Limit{}, FromDefault, Invalid}},
		{"a share where there is none", none, Choices{UpPercent: 30}, up, shown{Limit{Percent: 30}, FromUser, ""}},
		{"a lower share", func(s *Settings) { s.Bandwidth.Percent = 50 }, Choices{UpPercent: 30}, up, shown{Limit{Percent: 30}, FromUser, ""}},
		{"a higher share", func(s *Settings) { s.Bandwidth.Percent = 20 }, Choices{UpPercent: 30}, up, shown{Limit{Percent: 20}, FromProfile, Lower}},
		{"a share beside a limit", func(s *Settings) { s.Bandwidth.UpKbps = 2000 }, Choices{UpPercent: 30}, up, shown{Limit{2000, 30}, FromUser, ""}},
		{"a limit beside a share", func(s *Settings) { s.Bandwidth.Percent = 30 }, Choices{UpKbps: 500}, up, shown{Limit{500, 30}, FromUser, ""}},
		{"a share of more than all", none, Choices{UpPercent: 101}, up, shown{Limit{}, FromDefault, Invalid}},
		{"a share that is not allowed", forbid(func(m *UserMay) { m.Bandwidth = false }), Choices{UpPercent: 30}, up, shown{Limit{}, FromDefault, NotAllowed}},
		{"a limit that is not allowed", forbid(func(m *UserMay) { m.Bandwidth = false }), Choices{UpKbps: 500}, up, shown{Limit{}, FromDefault, NotAllowed}},

		{"the user's processor", none, Choices{CPU: CPULow}, cpu, shown{CPULow, FromUser, ""}},
		{"one that there is not", none, Choices{CPU: "turbo"}, cpu, shown{CPUNormal, FromDefault, Invalid}},
		{"one that is not allowed", func(s *Settings) { s.CPU, s.UserMay.CPU = CPUAdaptive, false }, Choices{CPU: CPULow}, cpu, shown{CPUAdaptive, FromProfile, NotAllowed}},

		{"a network left out", none, Choices{NetworksOut: []string{"192.168.7.0/24"}}, out, shown{[]string{"192.168.7.0/24"}, FromUser, ""}},
		{"half the internet left out", none, Choices{NetworksOut: []string{"128.0.0.0/1"}}, out, shown{[]string(nil), FromDefault, Invalid}},
		{"a network that may not be left out", forbid(func(m *UserMay) { m.Networks = false }), Choices{NetworksOut: []string{"192.168.7.0/24"}}, out, shown{[]string(nil), FromDefault, NotAllowed}},

		{"a pause", none, Choices{PausedAt: began, PausedUntil: hours(3)}, pause, shown{hours(3), FromUser, ""}},
		{"a long pause", forbid(func(m *UserMay) { m.PauseMaxHours = 2 }), Choices{PausedAt: began, PausedUntil: hours(3)}, pause, shown{hours(2), FromUser, TooLong}},
		{"a pause that may not be", forbid(func(m *UserMay) { m.Pause = false }), Choices{PausedAt: began, PausedUntil: hours(3)}, pause, shown{time.Time{}, FromDefault, NotAllowed}},
		{"a pause without a beginning", none, Choices{PausedUntil: hours(3)}, pause, shown{time.Time{}, FromDefault, Invalid}},
		{"a pause that ends before", none, Choices{PausedAt: hours(3), PausedUntil: began}, pause, shown{time.Time{}, FromDefault, Invalid}},
	} {
		s := Defaults()
		c.change(&s)
		if got := c.look(Merge(s, c.c)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestMergeFolders(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Folders = []Folder{{"~/Documents", true}, {"~/Pictures", false}, {"/srv", false}}
	c := Choices{Unlinked: []string{"~/Documents", "/srv", "/gone"}, Folders: []string{"/data", "~/Pictures", "relative"}}
	want := []Linked{
		{Folder: Folder{"~/Documents", true}, Source: FromProfile, Ignored: Mandatory},
		{Folder: Folder{"~/Pictures", false}, Source: FromProfile},
		{Folder: Folder{"/srv", false}, Source: FromProfile, Unlinked: true},
		{Folder: Folder{"/data", false}, Source: FromUser},
		{Folder: Folder{"relative", false}, Source: FromUser, Ignored: Invalid},
	}
	if got := Merge(s, c).Folders; !reflect.DeepEqual(got, want) {
		t.Errorf("folders %+v, want %+v", got, want)
	}
	// They stay unlinked where users may add none: these are two things.
	s.UserMay.Folders = false
	want[3].Ignored, want[4].Ignored = NotAllowed, NotAllowed
	got := Merge(s, c).Folders
	if !reflect.DeepEqual(got, want) {
		t.Errorf("without folders of their own: %+v, want %+v", got, want)
	}
	var backed []string
	for _, l := range got {
		if l.Backed() {
			backed = append(backed, l.Path)
		}
	}
	if !slices.Equal(backed, []string{"~/Documents", "~/Pictures"}) {
		t.Errorf("backed up are %v", backed)
	}
}

func TestUpAt(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.Bandwidth = Bandwidth{UpKbps: 2000, Table: []Rate{{window(t, "22:00", "06:00"), 0}, {window(t, "12:00", "13:00"), 300}}}
	e := Merge(s, Choices{UpKbps: 5000})
	for text, want := range map[string]int{
		"2026-11-22 08:00 UTC": 2000,
		"2026-11-22 12:00 UTC": 300,
		"2026-11-22 23:00 UTC": 5000, // where the profile has no limit, the user's holds
	} {
		if got, _ := e.UpAt(at(t, time.UTC, text)); got != want {
			t.Errorf("at %s the limit is %d, want %d", text, got, want)
		}
	}
	s.Bandwidth = Bandwidth{Percent: 20}
	if _, percent := Merge(s, Choices{UpPercent: 5}).UpAt(time.Unix(0, 0)); percent != 5 {
		t.Errorf("with a lower share of the user's: %d percent", percent)
	}
	if kbps, percent := Merge(s, Choices{UpKbps: 5000}).UpAt(time.Unix(0, 0)); kbps != 5000 || percent != 20 {
		t.Errorf("of a line and for itself: %d, %d %%", kbps, percent)
	}
}

func TestPaused(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	e := Merge(Defaults(), Choices{PausedAt: began, PausedUntil: began.Add(2 * time.Hour)})
	for after, want := range map[time.Duration]bool{
		0: true, time.Hour: true, 2*time.Hour - 1: true, 2 * time.Hour: false, 1000 * time.Hour: false,
		-time.Minute: true,  // the clock was put right
		-time.Hour:   false, // it was put back, and the pause could last for long
	} {
		if got := e.Paused(began.Add(after)); got != want {
			t.Errorf("%v after its beginning the pause is %v", after, got)
		}
	}
	if Merge(Defaults(), Choices{}).Paused(began) {
		t.Error("a pause that nobody made")
	}
}

func TestPermitsWithoutTheUsers(t *testing.T) {
	t.Parallel()
	home := Connection{Known: true, Addrs: []netip.Addr{netip.MustParseAddr("192.168.7.3")}}
	e := Merge(Defaults(), Choices{NetworksOut: []string{"192.168.7.0/24"}})
	if rule, ok := e.Permits(home); ok || rule.CIDR != "192.168.7.0/24" {
		t.Errorf("Permits = %v, %v", rule, ok)
	}
	if _, ok := e.Permits(Connection{Known: true, Addrs: []netip.Addr{netip.MustParseAddr("192.168.8.3")}}); !ok {
		t.Error("another network is not permitted")
	}
}

// Twice the interval, a day at least, and no blame for the time in which the
// settings let no backup run.
func TestProtectedFor(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		change func(*Settings)
		want   time.Duration
	}{
		{"every four hours", func(*Settings) {}, 24 * time.Hour},
		{"every day", func(s *Settings) { s.IntervalMinutes = 24 * 60 }, 48 * time.Hour},
		{"each noon of a working day", func(s *Settings) { s.Schedule.Cron = "0 12 * * mon-fri" }, 6 * 24 * time.Hour},
		{"by night", func(s *Settings) { s.Schedule.Windows = []Window{window(t, "20:00", "06:00")} }, 24 * time.Hour},
		{"at the weekend", func(s *Settings) { s.Schedule.Windows = []Window{window(t, "00:00", "24:00", "sat", "sun")} }, 128 * time.Hour},
		{"not at work", func(s *Settings) {
			s.Schedule.Blackouts = []Window{window(t, "08:00", "18:00", "mon", "tue", "wed", "thu", "fri")}
		}, 24 * time.Hour},
	} {
		s := Defaults()
		c.change(&s)
		if got := Merge(s, Choices{}).ProtectedFor(now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		e := Merge(s, Choices{})
		if !e.Protects(now.Add(time.Second-c.want), now) || e.Protects(now.Add(-c.want), now) || e.Protects(time.Time{}, now) {
			t.Errorf("%s: it is not protected until then, or longer, or by no backup", c.name)
		}
	}
}

func TestReactivated(t *testing.T) {
	t.Parallel()
	c := Choices{IntervalMinutes: 30, UpKbps: 500, CPU: CPULow, NetworksOut: []string{"192.168.7.0/24"}, Unlinked: []string{"/srv"}, Folders: []string{"/data"}}
	if got, want := c.Reactivated(false), (Choices{NetworksOut: c.NetworksOut, Folders: c.Folders}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := c.Reactivated(true).Unlinked; !slices.Equal(got, c.Unlinked) {
		t.Errorf("kept unlinked are %v", got)
	}
}

func TestChoicesJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{}`,
		`{"windows":[]}`, // at any time, not: no choice
		`{"interval_minutes":30,"windows":[{"days":["sat"],"from":"10:00","to":"12:00"}],"up_kbps":500,"cpu":"low","networks_out":["192.168.7.0/24"],"unlinked":["~/Pictures"],"folders":["/data"],"paused_at":"2026-11-22T12:00:00Z","paused_until":"2026-11-22T14:00:00Z"}`,
	} {
		c, err := DecodeChoices([]byte(text))
		if err != nil || c.Validate() != nil || string(c.Encode()) != text {
			t.Errorf("%s is %s, %v, %v", text, c.Encode(), err, c.Validate())
		}
	}
	if _, err := DecodeChoices([]byte(`[]`)); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a list is %v", err)
	}
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]Choices{
		"interval":      {IntervalMinutes: 3},
		"cron":          {Cron: "x"},
		"both":          {IntervalMinutes: 30, Cron: "0 9 * * *"},
		"window":        {Windows: []Window{{From: 2000}}},
		"bandwidth":     {UpKbps: -1},
		"processor":     {CPU: "turbo"},
		"network":       {NetworksOut: []string{"10.0.0.0/8"}},
		"IPv6 network":  {NetworksOut: []string{"2001:db8::/48"}},
		"not a network": {NetworksOut: []string{"x"}},
		"folder":        {Folders: []string{"relative"}},
		"pause":         {PausedAt: began, PausedUntil: began.Add(-1)},
	} {
		if err := c.Validate(); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

// drawn are settings and choices of any kind, right and wrong.
func drawn(t *rapid.T) (Settings, Choices) {
	s := Defaults()
	s.IntervalMinutes = rapid.IntRange(MinInterval, MaxInterval).Draw(t, "interval")
	s.Schedule.Windows, s.Schedule.Blackouts = someWindows(t, "windows", 2), someWindows(t, "blackouts", 1)
	s.Bandwidth.UpKbps = rapid.SampledFrom([]int{0, 100, 1000}).Draw(t, "up")
	s.CPU = rapid.SampledFrom([]CPU{CPULow, CPUNormal, CPUAdaptive}).Draw(t, "cpu")
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	s.UserMay = UserMay{yes("schedule"), yes("bandwidth"), yes("cpu"), yes("pause"), yes("networks"), yes("folders"), rapid.IntRange(1, 24).Draw(t, "hours")}
	paths := []string{"~/a", "/b", "/c", "d"}
	for _, p := range paths[:rapid.IntRange(0, 3).Draw(t, "folders")] {
		s.Folders = append(s.Folders, Folder{p, yes("mandatory")})
	}
	some := func(name string, of ...string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(of), 0, 3).Draw(t, name)
	}
	c := Choices{
		IntervalMinutes: rapid.SampledFrom([]int{0, 1, 30, 90000}).Draw(t, "own interval"),
		Cron:            rapid.SampledFrom([]string{"", "0 12 * * *", "x"}).Draw(t, "own cron"),
		Windows:         someWindows(t, "own windows", 2),
		UpKbps:          rapid.SampledFrom([]int{0, 3, 100, 500, 5000}).Draw(t, "own up"),
		CPU:             rapid.SampledFrom([]CPU{"", CPULow, "turbo"}).Draw(t, "own cpu"),
		NetworksOut:     some("out", "10.0.0.0/8", "192.168.7.0/24", "x"),
		Unlinked:        some("unlinked", paths...),
		Folders:         some("own folders", paths...),
		PausedAt:        time.Unix(rapid.Int64Range(0, 9000).Draw(t, "paused at"), 0),
	}
	c.PausedUntil = c.PausedAt.Add(time.Duration(rapid.IntRange(-1, 100).Draw(t, "pause")) * time.Hour)
	return s, c
}

// Whatever users choose, the administrator's word stands.
func TestMergeKeepsTheAdministratorsWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, c := drawn(t)
		e := Merge(s, c)
		for _, v := range []struct {
			name    string
			allowed bool
			source  Source
		}{
			{"rhythm", s.UserMay.Schedule, e.Rhythm.Source}, {"windows", s.UserMay.Schedule, e.Windows.Source}, {"up", s.UserMay.Bandwidth, e.UpKbps.Source},
			{"cpu", s.UserMay.CPU, e.CPU.Source}, {"networks", s.UserMay.Networks, e.NetworksOut.Source}, {"pause", s.UserMay.Pause, e.PausedUntil.Source},
		} {
			if v.source == FromUser && !v.allowed {
				t.Fatalf("%s is the user's, who may not choose it", v.name)
			}
		}
		if cap := s.Bandwidth.UpKbps; cap != 0 && (e.UpKbps.Value == 0 || e.UpKbps.Value > cap) {
			t.Fatalf("the limit is %d, the profile's %d", e.UpKbps.Value, cap)
		}
		if e.PausedUntil.Value.Sub(e.PausedAt) > time.Duration(s.UserMay.PauseMaxHours)*time.Hour && !e.PausedUntil.Value.IsZero() {
			t.Fatalf("a pause from %s to %s", e.PausedAt, e.PausedUntil.Value)
		}
		for _, f := range s.Folders {
			i := slices.IndexFunc(e.Folders, func(l Linked) bool { return l.Path == f.Path && l.Source == FromProfile })
			if i < 0 || f.Mandatory && !e.Folders[i].Backed() {
				t.Fatalf("the mandatory folder %s is not backed up: %+v", f.Path, e.Folders)
			}
		}
		for _, l := range e.Folders {
			if l.Source == FromUser && l.Backed() && !s.UserMay.Folders {
				t.Fatalf("%s is backed up for a user who may not add it", l.Path)
			}
		}
		if !s.Schedule.Hours().never() && e.Hours().never() {
			t.Fatalf("the user's choice %v leaves no time", c.Windows)
		}
		if !reflect.DeepEqual(Merge(s, c), e) || !reflect.DeepEqual(Merge(s, Choices{}), Merge(s, Choices{Windows: nil})) {
			t.Fatal("Merge does not always say the same")
		}
	})
}

// Choices that nobody made change nothing, whatever the profile allows.
func TestMergeWithoutChoicesIsTheProfile(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, _ := drawn(t)
		e := Merge(s, Choices{})
		if e.Rhythm.Value.IntervalMinutes != s.IntervalMinutes || !reflect.DeepEqual(e.Windows.Value, e.Settings.Schedule.Windows) ||
			e.UpKbps.Value != s.Bandwidth.UpKbps || e.CPU.Value != s.CPU || e.NetworksOut.Value != nil || e.Paused(time.Unix(100, 0)) || len(e.Folders) != len(s.Folders) {
			t.Fatalf("%+v of %+v", e, s)
		}
	})
}
