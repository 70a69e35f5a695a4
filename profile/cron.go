package profile

import (
	"errors"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// Cron is a list of times of the day, week or year, written in the five fields
// of a crontab: minute, hour, day of the month, month, day of the week. As
// there, a day matches when either of the two day fields does, unless one of
// them is a star.
type Cron struct {
	spec    cron.Schedule
	by      string
	anyHour bool
}

// crontab reads five fields and nothing else: a time zone is the device's, and
// @every is an interval.
var crontab = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)

// ParseCron reads five fields. Times that never come are refused, and those
// that come oftener than MinInterval.
func ParseCron(text string) (Cron, error) {
	text = strings.ToLower(text) // the parser takes the H of THU for something else
	fields := strings.Fields(text)
	if len(fields) != 5 || strings.ContainsAny(text, "=@") {
		return Cron{}, errors.New("not five fields")
	}
	spec, err := crontab.Parse(text)
	if err != nil {
		return Cron{}, err
	}
	c := Cron{spec: spec, by: strings.Join(fields, " "), anyHour: strings.HasPrefix(fields[1], "*")}
	at := spec.Next(time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Minute))
	for range 200 {
		next := spec.Next(at)
		switch {
		case at.IsZero() || next.IsZero():
			return Cron{}, errors.New("no such time comes")
		case next.Sub(at) < MinInterval*time.Minute:
			return Cron{}, errors.New("too often")
		}
		at = next
	}
	return c, nil
}

// Next is the first time after t, in t's time zone. A time that the change to
// summer time leaves out comes as soon as the clock has passed it. One that the
// change back brings twice comes the first time only, unless the hour begins
// with a star: who says every hour means every hour.
func (c Cron) Next(t time.Time) time.Time {
	next := c.spec.Next(t)
	for !c.anyHour && !next.IsZero() && repeated(next) {
		next = c.spec.Next(next)
	}
	return next
}

// repeated reports whether the clock has shown this time once before, since it
// was put back.
func repeated(t time.Time) bool {
	began, _ := t.ZoneBounds()
	if began.IsZero() {
		return false
	}
	_, before := began.Add(-time.Second).Zone()
	_, now := t.Zone()
	return t.Before(began.Add(time.Duration(before-now) * time.Second))
}

// LongestGap is the longest time between two of the next times after t.
func (c Cron) LongestGap(t time.Time) (longest time.Duration) {
	last := c.Next(t)
	for end := t.AddDate(0, 2, 0); last.Before(end); {
		next := c.Next(last)
		if next.IsZero() {
			break
		}
		longest, last = max(longest, next.Sub(last)), next
	}
	return longest
}
