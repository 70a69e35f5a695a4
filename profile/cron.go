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
	anyHour bool
}

// crontab reads five fields and nothing else: a time zone is the device's, and
// @every is an interval.
var crontab = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)

// ParseCron reads five fields. Times that never come are refused, and those
// that come oftener than MinInterval.
func ParseCron(text string) (Cron, error) {
	c, err := readCron(text)
	if err != nil {
		return Cron{}, err
	}
	last := c.spec.Next(time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Second))
	if last.IsZero() {
		return Cron{}, errors.New("no such time comes")
	}
	for range 200 {
		next := c.spec.Next(last)
		if next.IsZero() {
			break // not for years
		}
		if next.Sub(last) < MinInterval*time.Minute {
			return Cron{}, errors.New("too often")
		}
		last = next
	}
	return c, nil
}

func readCron(text string) (Cron, error) {
	text = strings.ToLower(text) // the parser takes the H of THU for something else
	fields := strings.Fields(text)
	if len(fields) != 5 || strings.ContainsAny(text, "=@") {
		return Cron{}, errors.New("not five fields")
	}
	spec, err := crontab.Parse(text)
	if err != nil {
		return Cron{}, err
	}
	return Cron{spec: spec, anyHour: strings.HasPrefix(fields[1], "*")}, nil
}

// Next is the first time after t, in t's time zone, zero when none comes for
// years. A time that the change to summer time leaves out comes at the change.
// One that the change back brings twice comes the first time only, unless the
// hour begins with a star: who says every hour means every hour.
//
// The library is asked in UTC alone, about what a clock on the wall shows: by
// itself it misses a day where clocks are changed by half an hour, and runs
// twice what comes twice.
func (c Cron) Next(t time.Time) time.Time {
	if c.anyHour {
		return c.nextOfAll(t)
	}
	for wall := onWall(t); ; {
		if wall = c.spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if at := firstShown(wall, t.Location()); at.After(t) {
			return at
		}
	}
}

// nextOfAll looks at one stretch of time after the other in which the clock is
// not changed.
func (c Cron) nextOfAll(t time.Time) time.Time {
	for wall := onWall(t); ; wall = onWall(t).Add(-time.Second) {
		next := c.spec.Next(wall)
		if next.IsZero() {
			return time.Time{}
		}
		at := t.Add(next.Sub(onWall(t)))
		_, put := t.ZoneBounds()
		if put.IsZero() || at.Before(put) {
			return at
		}
		t = put.In(t.Location())
	}
}

// onWall is what a clock on the wall shows at t, as a time in UTC.
func onWall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// firstShown is when a clock on a wall there first shows a time or a later one.
func firstShown(wall time.Time, there *time.Location) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, there)
	began, put := at.ZoneBounds()
	switch shown := onWall(at); {
	case shown.Before(wall): // it is left out, and at is before the change
		return put.In(there)
	case shown.After(wall): // and after it
		return began.In(there)
	case began.IsZero():
		return at
	}
	_, before := began.Add(-time.Second).Zone()
	if earlier := wall.Add(-time.Duration(before) * time.Second); earlier.Before(began) {
		return earlier.In(there) // it comes twice
	}
	return at
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
