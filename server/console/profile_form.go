package console

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
)

// profileText is what a profile's form holds in other words than the settings:
// lists with one item on each line, sizes with their unit, rows of times. It is
// shown again as it was typed.
type profileText struct {
	Mandatory, Folders, Excludes, LANExempt, Allow, Deny string

	Rhythm string // interval or cron
	Limit  string // none, kbps or percent

	Windows, Blackouts, Rates []windowRow
	Hooks                     []hookRow
	Quota, BigFile            size
}

// size is a number of bytes as people write it.
type size struct{ Amount, Unit string }

// windowRow is a row of a table of times. New ones stand ready to be filled in.
type windowRow struct {
	Name           string // before its fields' names
	Number         int
	New            bool
	Days           []dayBox
	From, To, Kbps string
}

// hookRow is a row of the table of scripts.
type hookRow struct {
	Name    string // before its fields' names
	Number  int
	New     bool
	Hook    profile.Hook
	Minutes string
}

type dayBox struct {
	Value, Text string
	On          bool
}

// fields of a profile's form, by the keys of what may be wrong.
var profileFields = map[string]string{
	"profile.name.": "name", "profile.text.": "reason",
	"profile.folder": "folders", "profile.exclude": "excludes",
	"profile.interval.": "interval", "profile.cron.": "cron", "profile.windows.": "windows", "profile.blackouts.": "blackouts",
	"profile.big_file_minutes.": "big_file_minutes", "profile.big_file_bytes.": "big_file", "profile.jitter.": "jitter",
	"profile.preserved.": "preserved_days", "profile.quota.": "quota",
	"profile.up_kbps.": "up_kbps", "profile.percent.": "percent", "profile.rates.": "rates", "profile.restore_kbps.": "restore_kbps", "profile.lan_exempt.": "lan_exempt",
	"profile.networks_allow.": "networks_allow", "profile.networks_deny.": "networks_deny", "profile.battery.": "battery",
	"profile.hooks.":   "hooks",
	"profile.devices.": "max_devices", "profile.inactive.": "inactive_days", "profile.inactive_delete.": "delete_inactive_days",
	"profile.pause.": "pause_hours",
}

const (
	newRows  = 3 // that stand ready in a table of times
	midnight = profile.Clock(24 * 60)
)

// textOf shows settings as the form does.
func textOf(s profile.Settings) profileText {
	t := profileText{Excludes: strings.Join(s.Exclude, "\n"), LANExempt: strings.Join(s.Bandwidth.LANExempt, "\n"),
		Allow: networkLines(s.Networks.Allow), Deny: networkLines(s.Networks.Deny),
		Rhythm: "interval", Limit: "none", Quota: sizeOf(s.QuotaBytes), BigFile: sizeOf(s.Schedule.BigFileBytes)}
	var must, may []string
	for _, f := range s.Folders {
		if f.Mandatory {
			must = append(must, f.Path)
		} else {
			may = append(may, f.Path)
		}
	}
	t.Mandatory, t.Folders = strings.Join(must, "\n"), strings.Join(may, "\n")
	if s.Schedule.Cron != "" {
		t.Rhythm = "cron"
	}
	switch {
	case s.Bandwidth.UpKbps > 0:
		t.Limit = "kbps"
	case s.Bandwidth.Percent > 0:
		t.Limit = "percent"
	}
	for _, w := range s.Schedule.Windows {
		t.Windows = append(t.Windows, windowRowOf(w))
	}
	for _, w := range s.Schedule.Blackouts {
		t.Blackouts = append(t.Blackouts, windowRowOf(w))
	}
	for _, r := range s.Bandwidth.Table {
		row := windowRowOf(r.Window)
		row.Kbps = strconv.Itoa(r.Kbps)
		t.Rates = append(t.Rates, row)
	}
	for _, h := range s.Hooks {
		t.Hooks = append(t.Hooks, hookRow{Hook: h, Minutes: strconv.Itoa(cmp.Or(h.Minutes, profile.UsualHookMinutes))})
	}
	return t
}

func windowRowOf(w profile.Window) windowRow {
	if w.To == midnight {
		w.To = 0 // the field for a time knows no 24:00
	}
	return windowRow{Days: dayBoxes(w.Days), From: w.From.String(), To: w.To.String()}
}

// dayBoxes are the days from Monday on.
func dayBoxes(days profile.Days) (boxes []dayBox) {
	for i := 1; i <= 7; i++ {
		d := profile.Day(time.Weekday(i % 7))
		boxes = append(boxes, dayBox{Value: d.Names()[0], On: days&d != 0})
	}
	return boxes
}

// ready names the rows and their days, and puts empty rows below them.
func (t *profileText) ready(p *locale.Printer) {
	t.readyHooks()
	for name, rows := range map[string]*[]windowRow{"windows": &t.Windows, "blackouts": &t.Blackouts, "rates": &t.Rates} {
		for range newRows {
			*rows = append(*rows, windowRow{New: true, Days: dayBoxes(0)})
		}
		for i := range *rows {
			row := &(*rows)[i]
			row.Name, row.Number = name+"_"+strconv.Itoa(i), i+1
			for d := range row.Days {
				row.Days[d].Text = p.T("day." + row.Days[d].Value)
			}
		}
	}
}

// readyHooks names the rows of scripts, and puts an empty one below them.
func (t *profileText) readyHooks() {
	t.Hooks = append(t.Hooks, hookRow{New: true, Hook: profile.Hook{When: profile.Before}, Minutes: strconv.Itoa(profile.UsualHookMinutes)})
	for i := range t.Hooks {
		t.Hooks[i].Name, t.Hooks[i].Number = "hooks_"+strconv.Itoa(i), i+1
	}
}

func networkLines(networks []profile.Network) string {
	var out []string
	for _, n := range networks {
		out = append(out, n.String())
	}
	return strings.Join(out, "\n")
}

var units = []struct {
	name  string
	bytes int64
}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}}

// sizeOf writes bytes in the largest unit of which there is one, with as many
// digits as it takes.
func sizeOf(bytes int64) size {
	for _, u := range units {
		if bytes >= u.bytes {
			return size{strconv.FormatFloat(float64(bytes)/float64(u.bytes), 'f', -1, 64), u.name}
		}
	}
	if bytes > 0 {
		return size{strconv.FormatFloat(float64(bytes)/1e6, 'f', -1, 64), "MB"}
	}
	return size{"0", "GB"}
}

// sizeIn is the size that a form has in a field and its unit.
func sizeIn(f url.Values, field string) size { return size{f.Get(field), f.Get(field + "_unit")} }

// bytes reads a size, -1 when it is none.
func (s size) bytes() int64 {
	amount, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(s.Amount), ",", "."), 64)
	i := slices.IndexFunc(units, func(u struct {
		name  string
		bytes int64
	}) bool {
		return u.name == s.Unit
	})
	if err != nil || i < 0 || !(amount >= 0 && amount*float64(units[i].bytes) <= profile.MaxQuotaBytes) {
		return -1
	}
	return int64(math.Round(amount * float64(units[i].bytes)))
}

// profileForm reads the form of a profile over the settings that it was made
// from. What the form does not have stays as it is.
type profileForm struct {
	url.Values
	set  *profile.Settings
	text *profileText
}

func (f profileForm) number(field string, to *int) {
	if f.Has(field) {
		n, err := strconv.Atoi(strings.TrimSpace(f.Get(field)))
		if err != nil {
			n = -1
		}
		*to = n
	}
}

func (f profileForm) size(field string, shown *size, to *int64) {
	if f.Has(field) {
		*shown = sizeIn(f.Values, field)
		*to = shown.bytes()
	}
}

func (f profileForm) lines(field string, shown *string) []string {
	*shown = f.Get(field)
	return lines(*shown)
}

// word reads one of several. With a hidden field before it, a box that is not
// ticked has a value too.
func word[T ~string](f profileForm, field string, to *T) {
	if values := f.Values[field]; len(values) > 0 {
		*to = T(values[len(values)-1])
	}
}

// readProfile reads the form.
func readProfile(r *http.Request, page *profilePage, before profile.Settings) error {
	page.Set, page.Text = before, textOf(before)
	if err := r.ParseForm(); err != nil {
		return errs.New(errs.Invalid, "profile.invalid").Because(err)
	}
	f := profileForm{r.PostForm, &page.Set, &page.Text}
	f.content()
	f.schedule()
	f.resources()
	f.hooks()
	f.devices()
	f.access()
	if f.text.Rhythm == "cron" && strings.TrimSpace(f.set.Schedule.Cron) == "" {
		return errs.New(errs.Invalid, "profile.cron.empty")
	}
	return nil
}

func (f profileForm) content() {
	if f.Has("folders") || f.Has("mandatory") {
		f.set.Folders = nil
		for _, path := range f.lines("mandatory", &f.text.Mandatory) {
			f.set.Folders = append(f.set.Folders, profile.Folder{Path: path, Mandatory: true})
		}
		for _, path := range f.lines("folders", &f.text.Folders) {
			f.set.Folders = append(f.set.Folders, profile.Folder{Path: path})
		}
	}
	if f.Has("excludes") {
		f.set.Exclude = f.lines("excludes", &f.text.Excludes)
	}
	f.size("quota", &f.text.Quota, &f.set.QuotaBytes)
}

func (f profileForm) schedule() {
	s := &f.set.Schedule
	if word(f, "rhythm", &f.text.Rhythm); f.text.Rhythm == "cron" {
		word(f, "cron", &s.Cron)
	} else {
		s.Cron = ""
		f.number("interval", &f.set.IntervalMinutes)
	}
	if rows, ok := f.rows("windows", &f.text.Windows); ok {
		s.Windows = windowsOf(rows)
	}
	if rows, ok := f.rows("blackouts", &f.text.Blackouts); ok {
		s.Blackouts = windowsOf(rows)
	}
	word(f, "on_window_end", &s.OnWindowEnd)
	f.number("big_file_minutes", &s.BigFileMinutes)
	f.size("big_file", &f.text.BigFile, &s.BigFileBytes)
	f.number("jitter", &s.JitterPercent)
}

func windowsOf(rows []profile.Rate) (windows []profile.Window) {
	for _, r := range rows {
		windows = append(windows, r.Window)
	}
	return windows
}

func (f profileForm) resources() {
	b, n := &f.set.Bandwidth, &f.set.Networks
	if f.Has("limit") {
		word(f, "limit", &f.text.Limit)
		b.UpKbps, b.Percent = 0, 0
		switch f.text.Limit {
		case "kbps":
			f.number("up_kbps", &b.UpKbps)
		case "percent":
			f.number("percent", &b.Percent)
		}
	}
	if rows, ok := f.rows("rates", &f.text.Rates); ok {
		b.Table = rows
	}
	f.number("restore_kbps", &b.RestoreKbps)
	if f.Has("lan_exempt") {
		b.LANExempt = f.lines("lan_exempt", &f.text.LANExempt)
	}
	word(f, "cpu", &f.set.CPU)
	if f.Has("networks_allow") {
		n.Allow = networksOf(f.lines("networks_allow", &f.text.Allow))
	}
	if f.Has("networks_deny") {
		n.Deny = networksOf(f.lines("networks_deny", &f.text.Deny))
	}
	word(f, "metered", &n.Metered)
	f.number("battery", &n.BatteryPercent)
}

// hooks reads the table of scripts: the rows with a name or a hash that are not
// to be removed.
func (f profileForm) hooks() {
	if !f.Has("hooks_0_name") {
		return
	}
	f.set.Hooks, f.text.Hooks = nil, nil
	for i := range profile.MaxHooks + 2 {
		at := "hooks_" + strconv.Itoa(i)
		h := profile.Hook{When: profile.HookTime(f.Get(at + "_when")), Name: f.Get(at + "_name"), SHA256: f.Get(at + "_sha256"),
			Optional: !f.on(at + "_required"), Users: f.on(at + "_users")}
		if h.Name+h.SHA256 == "" || f.on(at+"_remove") {
			continue
		}
		f.number(at+"_minutes", &h.Minutes)
		f.text.Hooks = append(f.text.Hooks, hookRow{Hook: h, Minutes: f.Get(at + "_minutes")})
		f.set.Hooks = append(f.set.Hooks, h)
	}
}

func networksOf(list []string) (out []profile.Network) {
	for _, text := range list {
		out = append(out, profile.ParseNetwork(text))
	}
	return out
}

func (f profileForm) on(field string) bool { return f.Get(field) == "on" }

func (f profileForm) devices() {
	s := f.set
	s.AllowAddDevices = f.on("allow_add_devices")
	f.number("max_devices", &s.MaxDevices)
	word(f, "same_name", &s.SameName)
	word(f, "keep_unlinked", &s.ReactivateKeepUnlinked)
	f.number("inactive_days", &s.InactiveDays)
	s.AutoDeleteInactiveDays = 0
	if f.on("delete_inactive") {
		f.number("delete_inactive_days", &s.AutoDeleteInactiveDays)
	}
	s.AutoDeletePreservedDays = 0
	if f.on("auto_delete") {
		f.number("preserved_days", &s.AutoDeletePreservedDays)
	}
}

func (f profileForm) access() {
	s := f.set
	s.WebRestore, s.Sharing, s.UserCanEditPrivacy = f.on("web_restore"), f.on("sharing"), f.on("user_can_edit_privacy")
	s.SecondFactor = profile.Optional
	if f.on("second_factor") {
		s.SecondFactor = profile.Required
	}
	if may := f.Values["user_may"]; len(may) > 0 {
		hours := s.UserMay.PauseMaxHours
		s.UserMay = profile.UserMay{Schedule: slices.Contains(may, "schedule"), Bandwidth: slices.Contains(may, "bandwidth"), CPU: slices.Contains(may, "cpu"),
			Pause: slices.Contains(may, "pause"), Networks: slices.Contains(may, "networks"), Folders: slices.Contains(may, "folders"), PauseMaxHours: hours}
	}
	f.number("pause_hours", &s.UserMay.PauseMaxHours)
	word(f, "notifications", &s.Notifications)
}

// rows reads a table of times, if the form has it: the rows with a time that
// are not to be removed. What cannot be read is kept as what will be refused.
func (f profileForm) rows(name string, shown *[]windowRow) (rows []profile.Rate, ok bool) {
	if !f.Has(name + "_0_from") {
		return nil, false
	}
	*shown = nil
	for i := range profile.MaxWindows + 2*newRows {
		at := name + "_" + strconv.Itoa(i)
		row := windowRow{From: f.Get(at + "_from"), To: f.Get(at + "_to"), Kbps: f.Get(at + "_kbps")}
		if row.From+row.To+row.Kbps == "" || f.on(at+"_remove") {
			continue
		}
		days, err := profile.ParseDays(f.Values[at+"_day"])
		from, err1 := profile.ParseClock(row.From)
		to, err2 := profile.ParseClock(row.To)
		if to == 0 {
			to = midnight
		}
		if errors.Join(err, err1, err2) != nil {
			from = -1
		}
		r := profile.Rate{Window: profile.Window{Days: days, From: from, To: to}, Kbps: -1}
		if kbps, err := strconv.Atoi(row.Kbps); err == nil {
			r.Kbps = kbps
		}
		row.Days = dayBoxes(days)
		rows, *shown = append(rows, r), append(*shown, row)
	}
	return rows, true
}
