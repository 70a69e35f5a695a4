package localui

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// goesOn leads from a proof of who somebody is to the next step: a choice, where
// there is one, or why there is none, else the end. show shows what fails there.
func (w *Window) goesOn(rw http.ResponseWriter, r *http.Request, show func(http.ResponseWriter, *http.Request, error)) {
	p, err := w.begun()
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if o := agent.OptionsOf(p.Begun, ""); o.Asks() || o.Refusal != nil {
		w.to(rw, r, "/devices")
		return
	}
	w.ends(rw, r, agent.Choice{Choice: wire.Add, Name: p.Begun.Name}, show)
}

// begun is the activation that goes on.
func (w *Window) begun() (*state.Pending, error) {
	p, err := agent.Begun(w.cfg.State, w.cfg.Now())
	if err == nil && p == nil {
		err = errs.New(errs.Conflict, "activation.none")
	}
	return p, err
}

// ends makes this computer the device that was chosen.
func (w *Window) ends(rw http.ResponseWriter, r *http.Request, choice agent.Choice, show func(http.ResponseWriter, *http.Request, error)) {
	p, err := w.begun()
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	made := &ready{Choice: choice.Choice, Server: p.Server, Wanted: choice.Name, Brings: choice.Restore == wire.RestoreFiles}
	err = w.holding(r.Context(), func(st *state.State) error {
		c, err := w.client(p.Server, p.Fingerprint)
		if err != nil {
			return err
		}
		defer c.Close()
		made.readQuota(r.Context(), c, p.Begun.Activation)
		made.Device, err = agent.Finish(r.Context(), st, c, choice)
		return err
	})
	switch e := errs.Find(err); {
	case err == nil:
		w.change(func(f *flow) { *f = flow{ready: made} })
		made.measure(w.cfg.State)
		w.to(rw, r, "/ready")
	case e != nil && e.Key == "device.waiting":
		w.to(rw, r, "/waiting")
	default:
		show(rw, r, err)
	}
}

type devicesPage struct {
	page
	agent.Options
	Said   string // what is known about this computer
	Chosen string // the option that is preselected
	Clone  bool
}

func (w *Window) devicesPage(rw http.ResponseWriter, r *http.Request) { w.showDevices(rw, r, nil) }

// showDevices lets somebody say what this computer becomes.
func (w *Window) showDevices(rw http.ResponseWriter, r *http.Request, err error) {
	pending, lost := w.begun()
	if lost != nil {
		w.to(rw, r, "/activate")
		return
	}
	p := &devicesPage{Options: agent.OptionsOf(pending.Begun, "")}
	title := "window.devices"
	switch {
	case p.By == wire.ByName:
		title = "window.same_name"
	case len(p.List) == 0 && len(p.Others()) == 0:
		title = "window.devices.refused"
	}
	p.page = w.step(rw, r, title, 4, "/password")
	if w.now().trial == nil {
		p.Back = "/activate" // begun before the window was opened
	}
	say := p.Printer()
	switch p.By {
	case wire.ByKey, wire.ByAdministrator, wire.ByMachine, wire.BySerial:
		p.Said = say.T("window.devices.was", "name", p.Card.Name)
	case wire.ByClone:
		p.Said = say.T("cli.activate.clone", "name", p.Card.Name)
	}
	if p.Refusal != nil {
		p.Said = strings.TrimSpace(p.Said + " " + say.Error(p.Refusal))
		p.Code = string(errs.Find(p.Refusal).Code)
	}
	w.shows(rw, r, "devices", &p.page, p, err, nil)
}

// Others are the devices that may be replaced and that nothing was said of yet.
func (p *devicesPage) Others() (list []wire.DeviceCard) {
	for _, d := range p.Devices {
		if p.By == "" || p.By == wire.ByClone || d.DeviceID != p.Card.DeviceID {
			list = append(list, d)
		}
	}
	return list
}

// devices goes on with what was chosen: to a preview, where there is something
// to see before.
func (w *Window) devices(rw http.ResponseWriter, r *http.Request) {
	pending, err := w.begun()
	if err != nil {
		w.to(rw, r, "/activate")
		return
	}
	choice, device := r.PostFormValue("choice"), r.PostFormValue("device")
	if choice == wire.Replace || choice == wire.Reactivate {
		w.to(rw, r, "/preview?"+url.Values{"choice": {choice}, "device": {device}}.Encode())
		return
	}
	for _, o := range agent.OptionsOf(pending.Begun, "").List {
		if o.Choice == wire.Add {
			w.ends(rw, r, agent.Choice{Choice: wire.Add, Name: o.Name, Rename: true}, w.showDevices)
			return
		}
	}
	w.showDevices(rw, r, errs.New(errs.Invalid, "window.devices.choose"))
}

// cancel ends the activation that was begun. Nothing has changed by it.
func (w *Window) cancel(rw http.ResponseWriter, r *http.Request) {
	err := w.holding(r.Context(), func(st *state.State) error { return st.SetPending(nil) })
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.change(func(f *flow) { f.password, f.fresh, f.methods, f.choice = "", "", nil, nil })
	w.to(rw, r, "/activate")
}
