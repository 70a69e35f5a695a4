package localui

import (
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

type previewPage struct {
	page
	*agent.Preview
	Choice string
	Card   wire.DeviceCard
	Ask    bool  // whether the folders come back is the user's to say
	After  int64 // bytes that the user would have, with what comes back

	Places []target // where the files of a replaced computer would go
	Bring  bool     // they are to come back
	Keep   bool     // folders that the user took off stay off
}

// target is where a folder goes, and where somebody wants it.
type target struct {
	agent.Place
	Wanted string
}

// typed puts into the form what it was sent with.
func (p *previewPage) typed(sent url.Values) {
	p.Bring, p.Keep = sent.Get("restore") == wire.RestoreFiles, sent.Get("keep") != ""
	for i := range p.Places {
		if n := slices.Index(sent["from"], p.Places[i].From); n >= 0 && n < len(sent["to"]) {
			p.Places[i].Wanted = sent["to"][n]
		}
	}
}

// Setting is a setting's value, as people say it.
func (p *previewPage) Setting(name, value string) string {
	return agent.SettingText(p.Printer(), name, value)
}

// Left is how much room there is afterwards.
func (p *previewPage) Left() int64 { return max(0, p.QuotaBytes-p.After) }

func (w *Window) previewPage(rw http.ResponseWriter, r *http.Request) { w.showPreview(rw, r, nil) }

// showPreview shows what a choice changes, before it is done.
func (w *Window) showPreview(rw http.ResponseWriter, r *http.Request, err error) {
	pending, lost := w.begun()
	if lost != nil {
		w.to(rw, r, "/activate")
		return
	}
	p := &previewPage{page: w.step(rw, r, "window.preview", 4, "/devices"), Choice: r.FormValue("choice"), Preview: &agent.Preview{}}
	device := r.FormValue("device")
	for _, d := range pending.Begun.Devices {
		if d.DeviceID == device {
			p.Card = d
		}
	}
	c, failed := w.client(pending.Server, pending.Fingerprint)
	if failed == nil {
		defer c.Close()
		var seen *agent.Preview
		if seen, failed = agent.PreviewChoice(r.Context(), w.cfg.State, c, p.Choice, device); failed == nil {
			p.Preview = seen
		}
	}
	if failed != nil {
		w.showDevices(rw, r, failed)
		return
	}
	p.Title = p.Printer().T("window.preview."+p.Choice, "name", p.Card.Name)
	p.Ask = len(p.Folders) > 0 && p.KeepUnlinked == "ask" && !p.Overflows
	if p.Restore != nil {
		for _, at := range agent.Places(*p.Restore, p.Card.Name, nil, w.cfg.Now()) {
			p.Places = append(p.Places, target{at, at.To})
		}
		p.Bring = !p.SameComputer
	}
	if r.Method == http.MethodPost {
		p.typed(r.PostForm)
	}
	p.After = p.UsedBytes
	if !p.Overflows {
		for _, f := range p.Folders {
			p.After += f.Bytes
		}
	}
	w.shows(rw, r, "preview", &p.page, p, err, nil)
}

// preview does what was shown.
func (w *Window) preview(rw http.ResponseWriter, r *http.Request) {
	choice := agent.Choice{Choice: r.FormValue("choice"), DeviceID: r.FormValue("device"), KeepUnlinked: r.PostFormValue("keep") != "",
		Overflows: r.PostFormValue("overflows") != ""}
	if choice.Choice == wire.Replace && r.PostFormValue("restore") == wire.RestoreFiles {
		var err error
		if choice.Maps, err = places(r); err != nil {
			w.showPreview(rw, r, err)
			return
		}
		choice.Restore = wire.RestoreFiles
	}
	w.ends(rw, r, choice, w.showPreview)
}

// places are those that somebody wants for folders that have none here.
func places(r *http.Request) (maps []state.PathMap, err error) {
	from, usual, to := r.PostForm["from"], r.PostForm["usual"], r.PostForm["to"]
	if len(from) != len(usual) || len(from) != len(to) {
		return nil, errs.New(errs.Invalid, "request.body")
	}
	for i, place := range to {
		if place = strings.TrimSpace(place); place == "" || place == usual[i] {
			continue
		}
		if !filepath.IsAbs(place) {
			return nil, errs.New(errs.Invalid, "window.place.relative", "path", place)
		}
		maps = append(maps, state.PathMap{From: []byte(from[i]), To: []byte(filepath.Clean(place))})
	}
	return maps, nil
}

// waitingPage says that an administrator has to approve the device.
func (w *Window) waitingPage(rw http.ResponseWriter, r *http.Request) { w.showWaiting(rw, r, nil) }

func (w *Window) showWaiting(rw http.ResponseWriter, r *http.Request, err error) {
	p := w.step(rw, r, "window.waiting", 4, "")
	w.shows(rw, r, "waiting", &p, &p, err, nil)
}

// waiting asks whether that has happened.
func (w *Window) waiting(rw http.ResponseWriter, r *http.Request) {
	pending, err := w.begun()
	if err != nil || pending.Choice == nil {
		w.to(rw, r, "/")
		return
	}
	was := pending.Choice
	w.ends(rw, r, agent.Choice{Choice: was.Choice, DeviceID: was.DeviceID, Name: was.Name, Rename: was.RenameIfTaken, KeepUnlinked: was.KeepUnlinked, Overflows: was.Overflows, Restore: was.Restore, Maps: pending.Maps}, w.showWaiting)
}
