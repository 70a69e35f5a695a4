package entry

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/web"
)

// Setting is a value in force on a device, and whose it is.
type Setting struct {
	Name, Value string
	Source      string // in words
	User        bool   // the user chose it
	May         bool   // the user may change it
	Note        string // why what the user chose does not hold
}

// Folder is a folder of a device, and who said that it is backed up or not.
type Folder struct {
	Path, Source, Note string
	Backed             bool
}

// DeviceSettings are the values in force on a device of somebody with the
// profile of that name.
func DeviceSettings(f web.Frame, e profile.Effective, name string) []Setting {
	p, may := f.Printer(), e.Settings.UserMay
	up := setting(p, name, e.Limit(), may.Bandwidth, "bandwidth", e.Limit().Value.Words(p, "device.setting.bandwidth"))
	pause := p.T("device.setting.pause.none")
	if e.Paused(f.Now()) {
		pause = p.T("device.setting.pause.until", "at", p.Exact(e.PausedUntil.Value.In(f.Zone())))
	}
	networks := p.T("device.setting.networks.none")
	if len(e.NetworksOut.Value) > 0 {
		networks = strings.Join(e.NetworksOut.Value, ", ")
	}
	return []Setting{
		setting(p, name, e.Rhythm, may.Schedule, "rhythm", rhythmText(p, e.Rhythm.Value)),
		setting(p, name, e.Windows, may.Schedule, "windows", windowsText(p, e.Windows.Value)),
		up,
		setting(p, name, e.CPU, may.CPU, "cpu", p.T("profile.cpu."+string(e.CPU.Value))),
		setting(p, name, e.NetworksOut, may.Networks, "networks", networks),
		setting(p, name, e.PausedUntil, may.Pause, "pause", pause),
	}
}

// TestedPath is a path about which somebody asks, and whether it would be backed
// up.
type TestedPath struct {
	Path   string
	Answer *web.Sign // nil while nothing was asked
}

// maxTested bounds the path that somebody asks about.
const maxTested = 4096

// TestPath says whether the path that a request asks about would be backed up on
// a device whose user has this home, and which rule decides.
func TestPath(f web.Frame, r *http.Request, e profile.Effective, home string) TestedPath {
	x := TestedPath{Path: r.FormValue("path")}
	if x.Path == "" || len(x.Path) > maxTested {
		return TestedPath{}
	}
	v := e.Decide(x.Path, home)
	text := f.Printer().T("device.path."+string(v.Rule), "of", web.Visible(v.Of), "at", web.Visible(v.At))
	x.Answer = &web.Sign{Sign: "idle", Icon: "ban", Text: text}
	if v.Backed {
		x.Answer.Sign, x.Answer.Icon = "good", "circle-check"
	}
	return x
}

func setting[T any](p *locale.Printer, profileName string, v profile.Value[T], may bool, key, text string) Setting {
	s := Setting{Name: p.T("device.setting." + key), Value: text, May: may, User: v.Source == profile.FromUser,
		Source: p.T("device.source."+string(v.Source), "profile", web.Visible(profileName))}
	if v.Ignored != "" {
		s.Note = p.T("device.ignored." + string(v.Ignored))
	}
	return s
}

func rhythmText(p *locale.Printer, r profile.Rhythm) string {
	if r.Cron != "" {
		return p.T("device.setting.cron", "cron", r.Cron)
	}
	return p.T("device.setting.every", "time", time.Duration(r.IntervalMinutes)*time.Minute)
}

// windowsText writes windows as "Mo–Fr 22:00–06:00".
func windowsText(p *locale.Printer, list []profile.Window) string {
	if len(list) == 0 {
		return p.T("device.setting.windows.none")
	}
	var all []string
	for _, w := range list {
		text := w.From.String() + "–" + w.To.String()
		if days := daysText(p, w.Days); days != "" {
			text = days + " " + text
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// daysText names days, a row of three or more by its ends; "" for all.
func daysText(p *locale.Printer, d profile.Days) string {
	var on []int // from Monday
	for n := range 7 {
		if d.Has(time.Weekday((n + 1) % 7)) {
			on = append(on, n)
		}
	}
	if len(on) == 7 {
		return ""
	}
	names := p.Weekdays()
	var parts []string
	for len(on) > 0 {
		n := 1
		for n < len(on) && on[n] == on[0]+n {
			n++
		}
		if n < 3 {
			n = 1
			parts = append(parts, names[on[0]])
		} else {
			parts = append(parts, names[on[0]]+"–"+names[on[n-1]])
		}
		on = on[n:]
	}
	return strings.Join(parts, ", ")
}

// DeviceFolders are the folders in force on a device, those that are backed up
// first. Of a user who keeps the reader out their own are only counted.
func DeviceFolders(f web.Frame, e profile.Effective, name string, private bool) []Folder {
	p := f.Printer()
	var list []Folder
	own := int64(0)
	for _, l := range e.Folders {
		if private && l.Source == profile.FromUser {
			own++
			continue
		}
		x := Folder{Path: l.Path, Backed: l.Backed(), Source: p.T("device.source."+string(l.Source), "profile", web.Visible(name))}
		switch {
		case l.Mandatory:
			x.Note = p.T("device.folder.mandatory")
		case l.Unlinked:
			x.Note = p.T("device.folder.unlinked")
		case l.Ignored != "":
			x.Note = p.T("device.ignored." + string(l.Ignored))
		}
		list = append(list, x)
	}
	if own > 0 {
		list = append(list, Folder{Path: p.N("device.folder.own", own), Backed: true, Source: p.T("device.source.user")})
	}
	slices.SortStableFunc(list, func(a, b Folder) int {
		switch {
		case a.Backed == b.Backed:
			return 0
		case a.Backed:
			return -1
		}
		return 1
	})
	return list
}
