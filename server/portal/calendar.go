package portal

import (
	"time"

	"github.com/backstay/backstay/locale"
)

// calendar is one month, with a link on each day that has snapshots.
type calendar struct {
	Month    string
	Weekdays [7]string
	Weeks    [][7]day
	Previous string // the nearest earlier month with snapshots, or ""
	Next     string
}

type day struct {
	Day     int // 0 outside the month
	Href    string
	Title   string
	Partial bool // no complete snapshot on this day
	Chosen  bool
}

// moment is what the calendar needs of a snapshot.
type moment struct {
	time    time.Time // in the reader's zone
	partial bool
	href    string
}

// makeCalendar draws the month of the chosen moment. moments are in order of
// time, oldest first; a day leads to its last snapshot.
func makeCalendar(p *locale.Printer, moments []moment, chosen time.Time) calendar {
	first := time.Date(chosen.Year(), chosen.Month(), 1, 0, 0, 0, 0, chosen.Location())
	after := first.AddDate(0, 1, 0)
	c := calendar{Month: p.Month(first), Weekdays: p.Weekdays()}
	days := make([]day, after.AddDate(0, 0, -1).Day()+1)
	counts := make([]int64, len(days))
	for i := range days {
		days[i] = day{Day: i, Partial: true}
	}
	for _, m := range moments {
		switch {
		case m.time.Before(first):
			c.Previous = m.href
		case !m.time.Before(after):
			if c.Next == "" {
				c.Next = m.href
			}
		default:
			d := &days[m.time.Day()]
			d.Href = m.href
			d.Partial = d.Partial && m.partial
			d.Chosen = d.Day == chosen.Day()
			counts[d.Day]++
		}
	}
	var week [7]day
	column := (int(first.Weekday()) + 6) % 7 // Monday first
	for i := 1; i < len(days); i++ {
		if counts[i] > 0 {
			days[i].Title = p.N("calendar.day", counts[i])
		}
		week[column] = days[i]
		column++
		if column == 7 || i == len(days)-1 {
			c.Weeks = append(c.Weeks, week)
			week, column = [7]day{}, 0
		}
	}
	return c
}
