package profile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Clock is a time of the day in minutes, as a device's clock shows it: from 0
// to 1440, which is midnight at the end of the day. Its JSON is "22:30".
type Clock int

const dayEnd Clock = 24 * 60

// ParseClock reads a time of the day.
func ParseClock(text string) (Clock, error) {
	var h, m int
	if n, err := fmt.Sscanf(text, "%d:%d", &h, &m); n != 2 || err != nil || fmt.Sprintf("%02d:%02d", h, m) != text {
		return 0, fmt.Errorf("%q is no time of the day", text)
	}
	c := Clock(h*60 + m)
	if h < 0 || m < 0 || m > 59 || c > dayEnd {
		return 0, fmt.Errorf("%q is no time of the day", text)
	}
	return c, nil
}

func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

// MarshalText writes the time as a clock shows it.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Clock) UnmarshalText(text []byte) (err error) {
	*c, err = ParseClock(string(text))
	return err
}

// Days are days of the week, a bit for each. None means all. Their JSON is a
// list of "mon", "tue" and so on.
type Days uint8

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Day is the set of one day.
func Day(d time.Weekday) Days { return 1 << d }

// ParseDays reads names of days. All seven are the same as none.
func ParseDays(names []string) (Days, error) {
	var days Days
	for _, name := range names {
		i := slices.Index(dayNames[:], strings.ToLower(name))
		if i < 0 {
			return 0, fmt.Errorf("%q is no day of the week", name)
		}
		days |= Day(time.Weekday(i))
	}
	if days == 127 {
		return 0, nil
	}
	return days, nil
}

// Has reports whether d is one of the days.
func (d Days) Has(day time.Weekday) bool { return d == 0 || d&Day(day) != 0 }

// Names are the days from Monday on, none when it is all of them.
func (d Days) Names() []string {
	names := []string{}
	for i := 1; i <= 7 && d != 0 && d != 127; i++ {
		if d.Has(time.Weekday(i % 7)) {
			names = append(names, dayNames[i%7])
		}
	}
	return names
}

// MarshalJSON writes the names.
func (d Days) MarshalJSON() ([]byte, error) { return json.Marshal(d.Names()) }

// UnmarshalJSON reads names.
func (d *Days) UnmarshalJSON(text []byte) error {
	var names []string
	err := json.Unmarshal(text, &names)
	if err == nil {
		*d, err = ParseDays(names)
	}
	return err
}

// Window is a time of the day on some days of the week, by the device's clock.
// One that ends when it begins or before goes on until the next day; its days
// are those on which it begins. A whole day is from 00:00 to 24:00.
type Window struct {
	Days Days  `json:"days"`
	From Clock `json:"from"`
	To   Clock `json:"to"`
}

// Open reports whether the window is open at t, by the clock of t's time zone:
// it is open whenever that clock shows a time within it. So in the night in
// which an hour is left out a window may be missing, and in the one in which an
// hour comes twice it may be open twice.
func (w Window) Open(t time.Time) bool {
	day, at := wall(t)
	if w.To > w.From {
		return w.Days.Has(day) && at >= w.From && at < w.To
	}
	return w.Days.Has(day) && at >= w.From || w.Days.Has((day+6)%7) && at < w.To
}

// wall is what the clock on the wall shows.
func wall(t time.Time) (time.Weekday, Clock) {
	return t.Weekday(), Clock(t.Hour()*60 + t.Minute())
}

func (w Window) valid() bool {
	return w.Days < 128 && w.From >= 0 && w.From < dayEnd && w.To >= 0 && w.To <= dayEnd
}

// open reports whether any of the windows is.
func open(windows []Window, t time.Time) bool {
	return slices.ContainsFunc(windows, func(w Window) bool { return w.Open(t) })
}

// Hours say when backups may run: within one of the windows, when there are
// any, and in none of the blackouts.
type Hours struct {
	Windows, Blackouts []Window
}

// Open reports whether backups may run at t.
func (h Hours) Open(t time.Time) bool {
	return (len(h.Windows) == 0 || open(h.Windows, t)) && !open(h.Blackouts, t)
}

// Opens is the first time from t on at which backups may run, zero when there
// is none.
func (h Hours) Opens(t time.Time) time.Time { return h.first(t, true) }

// Closes is the first time from t on at which backups may not run, zero when
// there is none.
func (h Hours) Closes(t time.Time) time.Time { return h.first(t, false) }

// first looks from change to change for at most nine days: after a week all
// has been seen, and a change of the clock moves it by hours.
func (h Hours) first(t time.Time, want bool) time.Time {
	for end := t.AddDate(0, 0, 9); t.Before(end); t = h.change(t) {
		if h.Open(t) == want {
			return t
		}
	}
	return time.Time{}
}

// longestClosed is the longest time without a break in which no backup may run.
func (h Hours) longestClosed(t time.Time) (longest time.Duration) {
	for end := t.AddDate(0, 0, 9); t.Before(end); {
		closed := h.Closes(t)
		if closed.IsZero() {
			break
		}
		if t = h.Opens(closed); t.IsZero() {
			break
		}
		longest = max(longest, t.Sub(closed))
	}
	return longest
}

// change is the next time after t at which something may begin or end: as the
// clock shows it as long as it is not put on or back, and then at that moment.
func (h Hours) change(t time.Time) time.Time {
	_, now := wall(t)
	left := dayEnd - now
	for _, w := range slices.Concat(h.Windows, h.Blackouts) {
		for _, c := range []Clock{w.From, w.To} {
			if c > now {
				left = min(left, c-now)
			}
		}
	}
	next := t.Truncate(time.Minute).Add(time.Duration(left) * time.Minute)
	if _, put := t.ZoneBounds(); !put.IsZero() && put.Before(next) {
		return put
	}
	return next
}

// never reports whether these hours leave no time at all, by the clock of a
// place where it is never changed.
func (h Hours) never() bool {
	return h.Opens(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero()
}
