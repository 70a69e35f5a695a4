package locale

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Spaces that no line breaks at, as French typography wants them.
const (
	noBreak = "\u00a0"
	narrow  = "\u202f"
)

// Number writes a whole number with its thousands apart.
func (p *Printer) Number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	apart := ","
	if p.lang == French {
		apart = narrow
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(apart)
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// Bytes writes a size in decimal units, three figures at most before the
// point: 999 B, 1.2 kB, 61.7 MB, 512 GB.
func (p *Printer) Bytes(n int64) string {
	unit, space := "B", " "
	if p.lang == French {
		unit, space = "o", noBreak
	}
	if n < 1000 {
		return strconv.FormatInt(n, 10) + space + unit
	}
	v, prefix := float64(n), ""
	for _, prefix = range []string{"k", "M", "G", "T", "P", "E"} {
		// 999.95 is where one decimal would be written as 1000.0.
		if v /= 1000; v < 999.5 {
			break
		}
	}
	decimals := 1
	if v >= 99.95 {
		decimals = 0
	}
	text := strings.TrimSuffix(strconv.FormatFloat(v, 'f', decimals, 64), ".0")
	if p.lang == French {
		text = strings.Replace(text, ".", ",", 1)
	}
	return text + space + prefix + unit
}

// Duration writes how long something takes in its two largest units:
// 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h.
func (p *Printer) Duration(d time.Duration) string {
	space, day := " ", "d"
	if p.lang == French {
		space, day = noBreak, "j"
	}
	if d < 10*time.Second {
		text := strconv.FormatFloat(max(d, 0).Seconds(), 'f', 1, 64)
		if p.lang == French {
			text = strings.Replace(text, ".", ",", 1)
		}
		return text + space + "s"
	}
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, day}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	d = d.Round(time.Second)
	var parts []string
	for _, u := range units {
		n := d / u.size
		d -= n * u.size
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s%s", n, space, u.name))
		}
		// The second unit must be the next smaller one: 1 h 5 s tells less than it seems.
		if len(parts) == 2 || len(parts) == 1 && n == 0 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// Time writes when t was, as seen from now: "12 minutes ago", "in 3 hours",
// and the date when it is more than 30 days away. Exact gives the rest.
func (p *Printer) Time(t, now time.Time) string {
	d := now.Sub(t)
	ahead := d < 0
	if ahead {
		d = -d
	}
	switch {
	case d < time.Minute:
		return p.T("time.now")
	case d < time.Hour:
		return p.span(ahead, "minutes", d/time.Minute)
	case d < 24*time.Hour:
		return p.span(ahead, "hours", d/time.Hour)
	case d < 30*24*time.Hour:
		return p.span(ahead, "days", d/(24*time.Hour))
	}
	return p.Date(t)
}

func (p *Printer) span(ahead bool, unit string, n time.Duration) string {
	if ahead {
		return p.N("time.in."+unit, int64(n))
	}
	return p.N("time.ago."+unit, int64(n))
}

var months = map[Lang][12]string{
	English: {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"},
	French:  {"janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."},
}

var monthsFull = map[Lang][12]string{
	English: {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
	French:  {"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"},
}

var weekdays = map[Lang][7]string{
	English: {"Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"},
	French:  {"lu", "ma", "me", "je", "ve", "sa", "di"},
}

// Date writes t's day: 22 Nov 2026.
func (p *Printer) Date(t time.Time) string {
	return fmt.Sprintf("%s %s %d", p.day(t), months[p.lang][t.Month()-1], t.Year())
}

// day is the day of the month; French counts the first one as an ordinal.
func (p *Printer) day(t time.Time) string {
	if p.lang == French && t.Day() == 1 {
		return "1er"
	}
	return strconv.Itoa(t.Day())
}

// Month writes t's month in full: November 2026.
func (p *Printer) Month(t time.Time) string {
	return fmt.Sprintf("%s %d", monthsFull[p.lang][t.Month()-1], t.Year())
}

// Weekdays are the short names of the days, Monday first.
func (p *Printer) Weekdays() [7]string { return weekdays[p.lang] }

// Clock writes t's time of day: 04:48.
func (p *Printer) Clock(t time.Time) string { return t.Format("15:04") }

// Moment is when something is that is near, by the clock of now's zone: the time
// of the day, and the day when it is another.
func (p *Printer) Moment(t, now time.Time) string {
	t = t.In(now.Location())
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return p.Clock(t)
	}
	return p.Date(t) + ", " + p.Clock(t)
}

// Exact writes t to the second with its zone: 22 Nov 2026, 04:48:07 UTC.
func (p *Printer) Exact(t time.Time) string {
	if p.lang == French {
		return p.Date(t) + " à " + t.Format("15:04:05 MST")
	}
	return p.Date(t) + ", " + t.Format("15:04:05 MST")
}
