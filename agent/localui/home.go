package localui

import (
	"net/http"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
)

// home is where the window opens: at what is to be done to activate this
// computer, and afterwards at how its backups are doing.
func (w *Window) home(rw http.ResponseWriter, r *http.Request) {
	pending, err := agent.Begun(w.cfg.State, w.cfg.Now())
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	device, err := w.cfg.State.Device()
	switch {
	case pending != nil && pending.Choice != nil:
		w.to(rw, r, "/waiting")
	case pending != nil:
		w.to(rw, r, "/devices")
	case errs.Is(err, errs.NotActivated):
		w.to(rw, r, w.first())
	case err != nil:
		w.fail(rw, r, err)
	default:
		w.showHome(rw, r, device)
	}
}

type homePage struct {
	page
	Device  *state.Device
	Sign    web.Sign
	Run     state.Run
	Stopped bool // the server lets this device do nothing
	Alone   bool
}

func (w *Window) showHome(rw http.ResponseWriter, r *http.Request, d *state.Device) {
	p := &homePage{page: w.page(rw, r, "window.start"), Device: d, Alone: w.alone(r.Context())}
	p.Title = d.Name
	say, st := p.Printer(), w.cfg.State
	var err error
	if p.Run, _, err = st.LastRun(); err != nil {
		w.fail(rw, r, err)
		return
	}
	var live control.Live
	if answer, err := control.Ask(r.Context(), st.Dir(), control.Request{Do: control.Status}, nil); err == nil && answer.Live != nil {
		live = *answer.Live
	}
	var stopped *errs.Error
	if live.Failure != nil {
		stopped = errs.Find(live.Failure.Err())
	}
	protected := agent.InForce(st).Protects(p.Run.LastDone, p.Now())
	ago := func() string { return say.Time(p.Run.LastDone, p.Now()) }
	switch {
	case agent.Stops(stopped):
		p.Stopped = true
		p.Sign = web.Sign{Sign: "bad", Icon: "shield-x", Text: say.T("cli.status.stopped", "why", say.Error(stopped))}
	case live.Running && live.Progress != nil && live.Progress.TotalFiles > 0:
		p.Sign = web.Sign{Sign: "good", Icon: "refresh", Text: say.T("cli.status.running_of", "files", live.Progress.Files, "total", live.Progress.TotalFiles)}
	case live.Running:
		p.Sign = web.Sign{Sign: "good", Icon: "refresh", Text: say.T("cli.status.running")}
	case protected:
		p.Sign = web.Sign{Sign: "good", Icon: "shield-check", Text: say.T("cli.status.protected", "ago", ago())}
	case p.Run.LastDone.IsZero() && p.Run.State == state.RunFailed:
		p.Sign = web.Sign{Sign: "bad", Icon: "shield-x", Text: say.T("cli.status.never_failed")}
	case p.Run.LastDone.IsZero():
		p.Sign = web.Sign{Sign: "warn", Icon: "clock", Text: say.T("cli.status.never")}
	default:
		p.Sign = web.Sign{Sign: "bad", Icon: "shield-x", Text: say.T("cli.status.unprotected", "ago", ago())}
	}
	w.site.Render(rw, r, http.StatusOK, "home", p)
}
