package profile

import (
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
)

// Words are the value in force as people say it, and what holds without the
// user's choice.
func (v InForce) Words(say *locale.Printer) (value, profile string) {
	return words(say, v.Value), words(say, v.Profile)
}

func words(say *locale.Printer, value any) string {
	switch v := value.(type) {
	case Rhythm:
		return v.words(say)
	case []Window:
		return windowWords(say, v)
	case Limit:
		return v.Words(say, "choices.bandwidth")
	case CPU:
		return v.Words(say)
	case []string:
		return networkWords(say, v)
	}
	return ""
}

// Words is a way to run beside the rest as people say it, and what is none as it
// is.
func (c CPU) Words(say *locale.Printer) string {
	if !c.valid() {
		return string(c)
	}
	return say.T("profile.cpu." + string(c))
}

func (r Rhythm) words(say *locale.Printer) string {
	if r.Cron != "" {
		return say.T("choices.interval.cron", "cron", r.Cron)
	}
	return say.T("choices.interval.every", "time", time.Duration(r.IntervalMinutes)*time.Minute)
}

func windowWords(say *locale.Printer, windows []Window) string {
	if len(windows) == 0 {
		return say.T("choices.hours.any")
	}
	list := make([]string, len(windows))
	for i, w := range windows {
		list[i] = w.Words(say)
	}
	return strings.Join(list, "; ")
}

// Words is the window as people say it: "Mon, Tue 20:00–06:00".
func (w Window) Words(say *locale.Printer) string {
	names := w.Days.Names()
	for i, name := range names {
		names[i] = say.T("day." + name)
	}
	return strings.TrimSpace(strings.Join(names, ", ") + " " + w.From.String() + "–" + w.To.String())
}

// Words is a limit as people say it, by the messages below key: both, percent, kbps
// and none.
func (l Limit) Words(say *locale.Printer, key string) string {
	switch {
	case l.Kbps > 0 && l.Percent > 0:
		return say.T(key+".both", "n", l.Kbps, "percent", l.Percent)
	case l.Percent > 0:
		return say.T(key+".percent", "percent", l.Percent)
	case l.Kbps > 0:
		return say.T(key+".kbps", "n", l.Kbps)
	}
	return say.T(key + ".none")
}

func networkWords(say *locale.Printer, networks []string) string {
	if len(networks) == 0 {
		return say.T("choices.networks.none")
	}
	return strings.Join(networks, ", ")
}
