package localui

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// home is where the window opens: at what is to be done to activate this
// computer, and afterwards at how its backups are doing.
func (w *Window) home(rw http.ResponseWriter, r *http.Request) {
	pending, err := agent.Begun(w.cfg.State, w.cfg.Now())
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	_, err = w.cfg.State.Device()
	switch {
	case pending != nil && pending.Waits:
		w.to(rw, r, "/waiting")
	case pending != nil:
		w.to(rw, r, "/devices")
	case errs.Is(err, errs.NotActivated):
		w.to(rw, r, w.first())
	case err != nil:
		w.fail(rw, r, err)
	default:
		w.looks("home", w.showHome)(rw, r)
	}
}

type homePage struct {
	page
	agent.Standing
	Sign    web.Sign
	Share   int64 // of the running backup, in thousandths
	Folders int
	Pauses  []time.Duration // that the user may choose
	Barred  barred
	Beside  *besideLine
	After   string // what becomes of the backups when the window is closed
}

// Quota is what the user may store, nil when there is no limit or the server has
// not said yet.
func (p *homePage) Quota() *wire.Quota {
	if p.Live == nil {
		return nil
	}
	return p.Live.Quota
}

// Room is how much of it is left.
func (p *homePage) Room() int64 { return max(0, p.Quota().LimitBytes-p.Quota().UsedBytes) }

// State is what the page is drawn anew for when it changes.
func (p *homePage) State() string {
	return fmt.Sprint(p.Running(), p.Paused(), p.Stopped() != nil, p.Folders > 0, p.Quota() != nil, p.Live != nil && p.Live.Locked, p.Beside != nil && p.Beside.Offered)
}

// Every is how many milliseconds the page shows what it does.
func (p *homePage) Every() int {
	if p.Running() {
		return 1000
	}
	return 5000
}

// Soon reports whether a backup begins in a moment.
func (p *homePage) Soon() bool {
	return p.Folders > 0 && len(p.Live.Blocked) == 0 && !p.Live.Next.IsZero() && p.Live.Next.Before(p.Now.Add(time.Minute))
}

// signs are how sentences look.
var signs = map[agent.Tone]web.Sign{
	agent.Good: {Sign: "good", Icon: "shield-check"},
	agent.Warn: {Sign: "warn", Icon: "clock"},
	agent.Bad:  {Sign: "bad", Icon: "shield-x"},
}

func (w *Window) showHome(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	h := &homePage{page: p, Standing: s, After: w.after(r.Context())}
	h.Title = s.Device.Name
	text, tone := s.Sentence(p.Printer())
	h.Sign = signs[tone]
	h.Sign.Text = text
	if s.Running() {
		h.Sign.Icon = "refresh"
		if s.Waits() > 0 {
			h.Sign.Icon = "clock"
		}
		h.Share = share(s.Done())
	}
	h.Beside = besideOf(p.Printer(), s)
	folders, err := agent.Folders(w.cfg.State)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	h.Folders, h.Barred = len(folders), barredIn(agent.Listed(s.Settings))
	if may := s.Settings.Settings.UserMay; may.Pause {
		for _, d := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour} {
			if d <= time.Duration(may.PauseMaxHours)*time.Hour {
				h.Pauses = append(h.Pauses, d)
			}
		}
	}
	w.site.Render(rw, r, http.StatusOK, "home", h)
}

// share is how much is done, in thousandths; 0 while nobody knows of how much.
func share(done, total int64) int64 {
	if total <= 0 {
		return 0
	}
	return min(1000, 1000*done/total)
}

// backUp has the agent back up now.
func (w *Window) backUp(rw http.ResponseWriter, r *http.Request) {
	_, err := control.Ask(r.Context(), w.cfg.State.Dir(), control.Request{Do: control.Start}, nil)
	if errors.Is(err, control.ErrNobody) {
		err = errs.New(errs.Local, "standing.nobody").Because(err)
	}
	if err != nil {
		w.refuse(rw, r, "/", err)
		return
	}
	w.site.Done(rw, r, w.base+"/", web.Flash{Key: "window.home.asked"})
}

func (w *Window) pause(rw http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.PostFormValue("for"))
	if err != nil || d <= 0 {
		d = time.Hour
	}
	w.wants(rw, r, control.Change{Pause: d}, "/", "window.home.paused")
}

func (w *Window) resume(rw http.ResponseWriter, r *http.Request) {
	w.wants(rw, r, control.Change{Resume: true}, "/", "window.home.resumed")
}
