package localui

import (
	"net/http"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/web"
)

const (
	activityPart = 30 // of what was done, on a page
	shownFaults  = 50 // of one backup or restore
)

// doneRow is a backup or a restore that ended, as the list tells it.
type doneRow struct {
	state.Activity
	Sign   web.Sign
	Advice string
	Took   time.Duration
	Where  string // what was restored is there, "" for where it was
	Faults []faultRow
	More   int64 // faults that are not listed
}

// Backup reports whether it was one.
func (d doneRow) Backup() bool { return d.Kind == state.ActivityBackup }

// Did reports whether there are figures to tell.
func (d doneRow) Did() bool { return d.Files > 0 || d.State == state.RunDone }

type faultRow struct {
	Path, Why string
}

type activityPage struct {
	page
	Rows  []doneRow
	Pages web.Pages
}

// activityPage lists what this computer did with its backups, the newest first.
func (w *Window) activityPage(rw http.ResponseWriter, r *http.Request, p page, _ agent.Standing) {
	list, more, err := w.cfg.State.Activities(web.After(r), activityPart)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	a := &activityPage{page: p}
	after := ""
	if more {
		after = list[len(list)-1].ID
	}
	a.Pages = web.PagesOf(r, len(list), 0, after)
	for _, x := range list {
		a.Rows = append(a.Rows, p.done(x))
	}
	w.site.Render(rw, r, http.StatusOK, "activity", a)
}

// done is something that was done, in words.
func (p page) done(x state.Activity) doneRow {
	say := p.Printer()
	text, advice, tone := agent.ActivitySentence(say, x)
	d := doneRow{Activity: x, Sign: signs[tone], Advice: advice, Took: x.Ended.Sub(x.Started), Where: fromHome(string(x.Target))}
	d.Sign.Text = text
	if tone == agent.Warn {
		d.Sign.Icon = "alert-triangle"
	}
	files := x.Unreadable + x.Failed
	for _, f := range x.Problems[:min(len(x.Problems), shownFaults)] {
		d.Faults = append(d.Faults, faultRow{string(f.Path), agent.FaultSentence(say, f)})
		if !agent.OfHook(f) {
			files--
		}
	}
	if len(d.Faults) > 0 {
		d.More = max(0, files)
	}
	return d
}
