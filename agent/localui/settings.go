package localui

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// settingRow is a setting as its form shows it.
type settingRow struct {
	profile.InForce
	Words, Profile string // in force, and without the user's choice
	Why            string // the user's choice is not in force
}

type settingsPage struct {
	page
	Rows    map[profile.Setting]settingRow
	Chosen  profile.Choices // what the form begins with
	Hours   string          // of the choice: "", any or own
	From    string          // of a window of the user's own
	To      string
	Days    profile.Days
	Every   []time.Duration
	Proxy   wire.Proxy
	Device  *state.Device
	Changes bool // there is something to save
}

// Order is in which order the settings are shown.
func (settingsPage) Order() []profile.Setting { return profile.AllSettings }

// CPUs are the ways to run beside the rest.
func (settingsPage) CPUs() []profile.CPU {
	return []profile.CPU{profile.CPULow, profile.CPUNormal, profile.CPUAdaptive}
}

// Week are the days, as checkboxes name them.
func (settingsPage) Week() []string { return []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }

// On reports whether the user's own window is on a day.
func (p settingsPage) On(day string) bool { return p.Days == 0 || slices.Contains(p.Days.Names(), day) }

// Networks are those left out, one a line.
func (p settingsPage) Networks() string { return strings.Join(p.Chosen.NetworksOut, "\n") }

// Own reports whether an interval is the user's choice.
func (p settingsPage) Own(d time.Duration) bool {
	return time.Duration(p.Chosen.IntervalMinutes)*time.Minute == d
}

func (w *Window) settingsPage(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	w.showSettings(rw, r, p, s, nil)
}

func (w *Window) showSettings(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing, wrong error) {
	say := p.Printer()
	f := &settingsPage{page: p, Rows: map[profile.Setting]settingRow{}, Device: s.Device, From: "20:00", To: "06:00"}
	var err error
	if f.Chosen, err = w.cfg.State.Choices(); err != nil {
		w.fail(rw, r, err)
		return
	}
	c, err := w.cfg.State.Connection()
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	f.Proxy = c.Proxy
	for _, v := range s.Settings.Settable() {
		row := settingRow{InForce: v}
		row.Words, row.Profile = v.Words(say)
		if v.Ignored != "" {
			row.Why = say.T("choices.ignored." + string(v.Ignored))
		}
		f.Rows[v.Name] = row
		f.Changes = f.Changes || v.May
	}
	for _, minutes := range []int{5, 15, 30, 60, 120, 240, 480, 720, 1440} {
		f.Every = append(f.Every, time.Duration(minutes)*time.Minute)
	}
	if n := f.Chosen.IntervalMinutes; n > 0 && !slices.Contains(f.Every, time.Duration(n)*time.Minute) {
		f.Every = append(f.Every, time.Duration(n)*time.Minute)
		slices.Sort(f.Every)
	}
	switch {
	case f.Chosen.Windows == nil:
	case len(f.Chosen.Windows) == 0:
		f.Hours = "any"
	case len(f.Chosen.Windows) == 1:
		own := f.Chosen.Windows[0]
		f.Hours, f.From, f.To, f.Days = "own", own.From.String(), own.To.String(), own.Days
	default:
		f.Hours = "keep" // made by the command line
	}
	w.shows(rw, r, "settings", &f.page, f, wrong, nil)
}

// saveSettings takes all that the form says at once.
func (w *Window) saveSettings(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	change, err := chosen(r, s.Settings)
	if err == nil {
		err = agent.Change(r.Context(), w.cfg.State.Dir(), w.cfg.Now(), change)
	}
	if err != nil {
		w.showSettings(rw, r, p, s, err)
		return
	}
	w.site.Done(rw, r, w.base+"/settings", web.Flash{Key: "window.settings.saved"})
}

// chosen reads the form: what is left as the organisation has it is taken back.
// What users may not choose is not in the form.
func chosen(r *http.Request, e profile.Effective) (change control.Change, err error) {
	set := &change.Set
	for _, v := range e.Settable() {
		value := strings.TrimSpace(r.PostFormValue(string(v.Name)))
		switch {
		case !v.May || value == "keep":
			continue
		case value == "":
			change.Reset = append(change.Reset, v.Name)
			continue
		}
		switch v.Name {
		case profile.SettingInterval:
			d, wrong := time.ParseDuration(value)
			if set.IntervalMinutes = int(d / time.Minute); wrong != nil || set.IntervalMinutes == 0 {
				err = errs.New(errs.Invalid, "choices.interval.invalid")
			}
		case profile.SettingHours:
			set.Windows = []profile.Window{}
			if value == "own" {
				set.Windows, err = ownHours(r)
			}
		case profile.SettingBandwidth:
			var wrong error
			if r.PostFormValue("bandwidth_unit") == "percent" {
				if set.UpPercent, wrong = strconv.Atoi(value); wrong != nil || set.UpPercent == 0 {
					err = errs.New(errs.Invalid, "profile.percent.invalid")
				}
				break
			}
			if set.UpKbps, wrong = strconv.Atoi(value); wrong != nil {
				err = errs.New(errs.Invalid, "profile.up_kbps.invalid", "min", profile.MinKbps, "max", profile.MaxKbps)
			}
		case profile.SettingCPU:
			set.CPU = profile.CPU(value)
		case profile.SettingNetworks:
			set.NetworksOut = strings.Fields(strings.ReplaceAll(value, ",", " "))
		}
		if err != nil {
			return change, err
		}
	}
	return change, nil
}

// ownHours is the window that the form says.
func ownHours(r *http.Request) ([]profile.Window, error) {
	from, err := profile.ParseClock(r.PostFormValue("from"))
	if err != nil {
		return nil, errs.New(errs.Invalid, "profile.windows.invalid").Because(err)
	}
	to, err := profile.ParseClock(r.PostFormValue("to"))
	if err != nil {
		return nil, errs.New(errs.Invalid, "profile.windows.invalid").Because(err)
	}
	days, err := profile.ParseDays(r.PostForm["day"])
	if err != nil || len(r.PostForm["day"]) == 0 {
		return nil, errs.New(errs.Invalid, "window.settings.days").Because(err)
	}
	return []profile.Window{{Days: days, From: from, To: to}}, nil
}

// mailLink has a link mailed by which the user sets a new password.
func (w *Window) mailLink(rw http.ResponseWriter, r *http.Request, _ page, s agent.Standing) {
	f := flow{server: s.Device.Server, fingerprint: s.Device.Fingerprint}
	if err := w.with(f, func(c *wire.Client) error { return c.ForgotPassword(r.Context(), s.Device.Username) }); err != nil {
		w.refuse(rw, r, "/settings", err)
		return
	}
	w.site.Done(rw, r, w.base+"/settings", web.Flash{Key: "window.settings.mailed"})
}
