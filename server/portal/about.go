package portal

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

// eventsShown is how much of what happened to a device its page has.
const eventsShown = 50

func (p *portal) aboutRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /devices/{device}/about", p.user(func(w http.ResponseWriter, r *http.Request, v *visit) {
		p.showAbout(w, r, v, http.StatusOK, "", nil)
	}))
	mux.HandleFunc("POST /devices/{device}/rename", p.user(p.rename))
	mux.HandleFunc("GET /devices/{device}/undo", p.user(p.askUndo))
	mux.HandleFunc("POST /devices/{device}/undo", p.user(p.undo))
	mux.HandleFunc("GET /keys/{key}", p.user(p.askedKey))
	mux.HandleFunc("POST /keys/{key}", p.user(p.answerKey))
}

func aboutHref(id devices.ID) string { return "/devices/" + string(id) + "/about" }

// showAbout says what a device is, what holds on it and what happened to it, with
// the name that was typed and what was wrong about it.
func (p *portal) showAbout(w http.ResponseWriter, r *http.Request, v *visit, status int, typed string, failure error) {
	page := aboutPage{Frame: p.frame(w, r, v, "")}
	err := p.DB.Read(r.Context(), func(tx *db.Tx) error {
		d, err := devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device")))
		if err != nil {
			return err
		}
		page.Title, page.Name = web.Visible(d.Name), cmp.Or(typed, d.Name)
		return page.fill(r, tx, v, d)
	})
	if err == nil && failure != nil && (errs.KindOf(failure) != errs.Invalid && errs.KindOf(failure) != errs.Conflict ||
		!page.Form.AddTo(page.Printer(), failure, map[string]string{"device.name.": "name", "error.E1201": "name"})) {
		err = failure
	}
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Render(w, r, status, "about", page)
}

func (page *aboutPage) fill(r *http.Request, tx *db.Tx, v *visit, d devices.Device) error {
	ctx, say := r.Context(), page.Printer()
	var judge devices.Judge
	x, err := judge.Protection(ctx, tx, d, page.Now())
	if err != nil {
		return err
	}
	e, err := judge.Effective(ctx, tx, d)
	if err != nil {
		return err
	}
	profile, err := profiles.Of(ctx, tx, v.user)
	if err != nil {
		return err
	}
	page.Device, page.Host, page.IP, page.Seen, page.Activated = cardOf(page.Frame, d, x), d.Hardware.Hostname, d.LastIP, d.LastSeenAt, d.ActivatedAt
	page.Names, page.Client, page.Told = d.OldNames(), d.ClientVersion, d.Choices != nil
	page.Ends = d.State == devices.Active || d.State == devices.Disabled
	page.Settings, page.Folders = entry.DeviceSettings(page.Frame, e, profile.Name), entry.DeviceFolders(page.Frame, e, profile.Name, false)
	page.Tested = entry.TestPath(page.Frame, r, e, d.Hardware.OSHome)
	restores, err := devices.Restores(ctx, tx, v.caller, d.ID)
	if err != nil {
		return err
	}
	page.Restores = entry.RestoreSigns(page.Frame, restores)
	undo, ok, err := devices.Undoable(ctx, tx, v.caller, d.ID)
	if err != nil {
		return err
	}
	page.Undo = ""
	if ok {
		page.Undo = say.T("devices.notice.replaced", "host", web.Visible(undo.Hostname), "date", undo.At, "until", undo.Until)
	}
	rows, err := audit.About(ctx, tx, v.caller, access.ReadOwnData, d.Org, d.User, "device/"+string(d.ID), eventsShown)
	page.Events = nil
	for _, row := range rows {
		if event, ok := entry.DeviceEvent(page.Frame, row); ok {
			page.Events = append(page.Events, event)
		}
	}
	return err
}

func (p *portal) rename(w http.ResponseWriter, r *http.Request, v *visit) {
	name := r.PostFormValue("name")
	p.try(w, r, v, "devices.renamed", func(tx *db.Tx, d devices.Device) error {
		return devices.Rename(r.Context(), tx, v.caller, d.ID, name)
	}, func(err error) { p.showAbout(w, r, v, web.Status(w, err), name, err) })
}

// try does something to the device that the address names, and shows it with
// done; or again what asked for it.
func (p *portal) try(w http.ResponseWriter, r *http.Request, v *visit, done string, do func(*db.Tx, devices.Device) error, again func(error)) {
	var d devices.Device
	err := p.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if d, err = devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device"))); err != nil {
			return err
		}
		return do(tx, d)
	})
	if err != nil {
		again(err)
		return
	}
	p.site.Done(w, r, aboutHref(d.ID), web.Flash{Key: done, Args: []any{"name", web.Visible(d.Name)}})
}

// askUndo says in numbers what becomes of the two computers.
func (p *portal) askUndo(w http.ResponseWriter, r *http.Request, v *visit) {
	page := askPage{Frame: p.frame(w, r, v, "")}
	err := p.DB.Read(r.Context(), func(tx *db.Tx) error {
		d, err := devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device")))
		if err != nil {
			return err
		}
		say := page.Printer()
		page.Title, page.Back = say.T("devices.undo.title", "name", web.Visible(d.Name)), aboutHref(d.ID)
		undo, ok, err := devices.Undoable(r.Context(), tx, v.caller, d.ID)
		if ok {
			page.Button = say.T("devices.undo")
		}
		page.Consequences = entry.UndoMeans(say, d, undo, ok)
		return err
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Render(w, r, http.StatusOK, "ask", page)
}

func (p *portal) undo(w http.ResponseWriter, r *http.Request, v *visit) {
	p.try(w, r, v, "devices.undo.done", func(tx *db.Tx, d devices.Device) error {
		_, err := devices.UndoReplace(r.Context(), tx, v.caller, d.ID)
		return err
	}, func(err error) { p.fail(w, r, v.caller, err) })
}

// askedKey asks a user who keeps administrators out whether one may make an
// activation key.
func (p *portal) askedKey(w http.ResponseWriter, r *http.Request, v *visit) {
	page := keyPage{Frame: p.frame(w, r, v, "")}
	err := p.DB.Read(r.Context(), func(tx *db.Tx) error {
		k, _, err := devices.FindKey(r.Context(), tx, v.caller, r.PathValue("key"))
		if err != nil {
			return err
		}
		page.Key, page.Admin, page.Open = k.ID, k.CreatedBy, k.State(tx.Now()) == devices.KeyAsked
		page.Title = page.Printer().T("portal.key.title", "name", web.Visible(k.CreatedBy))
		if k.Device == "" {
			return nil
		}
		d, err := devices.Find(r.Context(), tx, k.Device)
		page.Device = d.Name
		return err
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Render(w, r, http.StatusOK, "key", page)
}

// answerKey is the user's yes, for which they prove who they are, or no.
func (p *portal) answerKey(w http.ResponseWriter, r *http.Request, v *visit) {
	id, done := r.PathValue("key"), "portal.key.refused"
	err := p.DB.Write(r.Context(), func(tx *db.Tx) error {
		if r.PostFormValue("answer") != "allow" {
			return devices.RefuseKey(r.Context(), tx, v.caller, id)
		}
		if err := p.Gate.Fresh(r.Context(), tx, v.session); err != nil {
			return err
		}
		done = "portal.key.allowed"
		return devices.AllowKey(r.Context(), tx, v.caller, p.Keys, id)
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Done(w, r, "/activity", web.Flash{Key: done})
}

// askedKeys are the activation keys about which the user is asked.
func askedKeys(r *http.Request, tx *db.Tx, v *visit) ([]devices.Key, error) {
	list, err := devices.KeysOf(r.Context(), tx, v.caller, v.user.ID)
	return slices.DeleteFunc(list, func(k devices.Key) bool { return k.State(tx.Now()) != devices.KeyAsked }), err
}
