package profile

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at reads a time by a clock on a wall; the zone's abbreviation says which one,
// when the clock shows it twice.
func at(t testing.TB, loc *time.Location, text string) time.Time {
	t.Helper()
	const layout = "2006-01-02 15:04 MST"
	got, err := time.ParseInLocation(layout, text, loc)
	if err != nil || got.Format(layout) != text {
		t.Fatalf("%s is %v, %v", text, got, err)
	}
	return got
}

// window reads a window of all days, or of those named.
func window(t testing.TB, from, to string, days ...string) Window {
	t.Helper()
	f, err1 := ParseClock(from)
	u, err2 := ParseClock(to)
	d, err3 := ParseDays(days)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	return Window{Days: d, From: f, To: u}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Clock{"00:00": 0, "06:05": 365, "23:59": 1439, "24:00": 1440} {
		got, err := ParseClock(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseClock(%s) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "6:05", "24:01", "12:60", "-1:00", "12:3", "12:30 ", "aa:bb", "12:30:00", "+1:00"} {
		if got, err := ParseClock(text); err == nil {
			t.Errorf("ParseClock(%q) = %d, want an error", text, got)
		}
	}
}

func TestWindowJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		w    Window
		text string
	}{
		{window(t, "20:00", "06:00", "mon", "fri"), `{"days":["mon","fri"],"from":"20:00","to":"06:00"}`},
		{window(t, "00:00", "24:00", "sun"), `{"days":["sun"],"from":"00:00","to":"24:00"}`},
		{window(t, "12:00", "13:00"), `{"days":[],"from":"12:00","to":"13:00"}`},
	} {
		text, err := json.Marshal(c.w)
		if err != nil || string(text) != c.text {
			t.Errorf("the JSON of %+v is %s, %v; want %s", c.w, text, err, c.text)
		}
		var back Window
		if err := json.Unmarshal([]byte(c.text), &back); err != nil || back != c.w {
			t.Errorf("%s is %+v, %v", c.text, back, err)
		}
	}
	for _, text := range []string{`{"days":["someday"]}`, `{"days":"mon"}`, `{"from":"25:00"}`, `{"from":600}`} {
		var w Window
		if err := json.Unmarshal([]byte(text), &w); err == nil {
			t.Errorf("%s is %+v, want an error", text, w)
		}
	}
}

func TestHours(t *testing.T) {
	t.Parallel()
	nights := Hours{Windows: []Window{window(t, "20:00", "06:00", "mon", "tue", "wed", "thu", "fri")}}
	small := Hours{Windows: []Window{window(t, "02:00", "02:30")}}
	for _, c := range []struct {
		name, zone    string
		h             Hours
		at            string
		opens, closes string
	}{
		{"no windows", "UTC", Hours{}, "2026-11-22 12:00 UTC", "2026-11-22 12:00 UTC", "never"},
		{"by day", "UTC", nights, "2026-11-23 12:00 UTC", "2026-11-23 20:00 UTC", "2026-11-23 12:00 UTC"},
		{"as it opens", "UTC", nights, "2026-11-23 20:00 UTC", "2026-11-23 20:00 UTC", "2026-11-24 06:00 UTC"},
		{"in Friday's night, which is Saturday", "UTC", nights, "2026-11-28 05:59 UTC", "2026-11-28 05:59 UTC", "2026-11-28 06:00 UTC"},
		{"as it closes", "UTC", nights, "2026-11-28 06:00 UTC", "2026-11-30 20:00 UTC", "2026-11-28 06:00 UTC"},
		{"in Sunday's night, which is none", "UTC", nights, "2026-11-23 05:00 UTC", "2026-11-23 20:00 UTC", "2026-11-23 05:00 UTC"},
		{"two that touch are one", "UTC", Hours{Windows: []Window{window(t, "20:00", "24:00"), window(t, "00:00", "06:00")}},
			"2026-11-23 21:00 UTC", "2026-11-23 21:00 UTC", "2026-11-24 06:00 UTC"},
		{"a blackout in the window", "UTC", Hours{Windows: nights.Windows, Blackouts: []Window{window(t, "22:00", "23:00")}},
			"2026-11-23 22:10 UTC", "2026-11-23 23:00 UTC", "2026-11-23 22:10 UTC"},
		{"the window up to the blackout", "UTC", Hours{Windows: nights.Windows, Blackouts: []Window{window(t, "22:00", "23:00")}},
			"2026-11-23 21:00 UTC", "2026-11-23 21:00 UTC", "2026-11-23 22:00 UTC"},
		{"only blackouts", "UTC", Hours{Blackouts: []Window{window(t, "09:00", "17:00", "mon")}},
			"2026-11-23 09:00 UTC", "2026-11-23 17:00 UTC", "2026-11-23 09:00 UTC"},
		{"always, in pieces", "UTC", Hours{Windows: []Window{window(t, "00:00", "24:00")}}, "2026-11-22 12:00 UTC", "2026-11-22 12:00 UTC", "never"},
		{"from noon to noon is always", "UTC", Hours{Windows: []Window{window(t, "12:00", "12:00")}}, "2026-11-22 11:00 UTC", "2026-11-22 11:00 UTC", "never"},
		{"never", "UTC", Hours{Blackouts: []Window{window(t, "00:00", "24:00")}}, "2026-11-22 12:00 UTC", "never", "2026-11-22 12:00 UTC"},
		// The clock decides, and 02:00 to 02:30 is not on it on 28 March 2027.
		{"a window that spring leaves out", "Europe/Paris", small, "2027-03-27 02:30 CET", "2027-03-29 02:00 CEST", "2027-03-27 02:30 CET"},
		{"a night of one hour less", "Europe/Paris", nights, "2027-03-27 00:00 CET", "2027-03-27 00:00 CET", "2027-03-27 06:00 CET"},
		{"a Sunday's window over the change", "Europe/Paris", Hours{Windows: []Window{window(t, "01:30", "04:00")}},
			"2027-03-28 01:45 CET", "2027-03-28 01:45 CET", "2027-03-28 04:00 CEST"},
		{"a window that autumn brings twice", "Europe/Paris", small, "2026-10-25 02:30 CEST", "2026-10-25 02:00 CET", "2026-10-25 02:30 CEST"},
		{"its second time", "Europe/Paris", small, "2026-10-25 02:00 CET", "2026-10-25 02:00 CET", "2026-10-25 02:30 CET"},
		{"Los Angeles in autumn", "America/Los_Angeles", Hours{Windows: []Window{window(t, "00:30", "01:30")}},
			"2026-11-01 01:29 PDT", "2026-11-01 01:29 PDT", "2026-11-01 01:30 PDT"},
		{"a blackout over the change", "America/Los_Angeles", Hours{Blackouts: []Window{window(t, "01:00", "03:00")}},
			"2027-03-14 01:30 PST", "2027-03-14 03:00 PDT", "2027-03-14 01:30 PST"},
	} {
		loc := zone(t, c.zone)
		show := func(t time.Time) string {
			if t.IsZero() {
				return "never"
			}
			return t.Format("2006-01-02 15:04 MST")
		}
		now := at(t, loc, c.at)
		if got := show(c.h.Opens(now)); got != c.opens {
			t.Errorf("%s: at %s it opens %s, want %s", c.name, c.at, got, c.opens)
		}
		if got := show(c.h.Closes(now)); got != c.closes {
			t.Errorf("%s: at %s it closes %s, want %s", c.name, c.at, got, c.closes)
		}
	}
}

func someWindows(t *rapid.T, name string, n int) (list []Window) {
	quarter := rapid.Custom(func(t *rapid.T) Clock { return Clock(15 * rapid.IntRange(0, 96).Draw(t, "quarter")) })
	for range rapid.IntRange(0, n).Draw(t, name) {
		w := Window{Days: Days(rapid.IntRange(0, 127).Draw(t, "days")), From: min(quarter.Draw(t, "from"), dayEnd-15), To: quarter.Draw(t, "to")}
		list = append(list, w)
	}
	return list
}

// Opens and Closes find the first minute that a look at every minute finds.
func TestHoursFindTheFirstMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := Hours{Windows: someWindows(rt, "windows", 3), Blackouts: someWindows(rt, "blackouts", 2)}
		// Around the days on which clocks are changed, and on others.
		day := rapid.SampledFrom([]string{"2026-10-24", "2026-10-31", "2027-03-13", "2027-03-27", "2027-04-03", "2026-06-10"}).Draw(rt, "day")
		start, err := time.ParseInLocation(time.DateOnly, day, zone(t, rapid.SampledFrom(zones).Draw(rt, "zone")))
		if err != nil {
			rt.Fatal(err)
		}
		start = start.Add(time.Duration(rapid.IntRange(0, 48*60).Draw(rt, "minutes")) * time.Minute)
		for _, want := range []bool{true, false} {
			var first time.Time
			for m := range 9 * 24 * 60 {
				if x := start.Add(time.Duration(m) * time.Minute); h.Open(x) == want {
					first = x
					break
				}
			}
			if got := h.first(start, want); !got.Equal(first) {
				rt.Fatalf("from %s, open %v first at %s, want %s", start, want, got, first)
			}
		}
	})
}

func TestNamesOfDays(t *testing.T) {
	t.Parallel()
	for d := range Days(128) {
		back, err := ParseDays(d.Names())
		if err != nil || back != d && !(d == 127 && back == 0) {
			t.Errorf("days %07b are %v, and those %07b, %v", d, d.Names(), back, err)
		}
	}
	if got := (Day(time.Sunday) | Day(time.Monday)).Names(); !reflect.DeepEqual(got, []string{"mon", "sun"}) {
		t.Errorf("the week begins on Monday, not %v", got)
	}
}
