package entry

import (
	"net/http"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/web"
)

// maxDevices is how many devices of one user the page shows; a profile allows a
// hundred.
const maxDevices = 200

func (d *Door) sessions(w http.ResponseWriter, r *http.Request, v *Visit) {
	page := sessionsPage{section: d.section(w, r, v, "/account/sessions"), Computers: d.To == accounts.ToPortal}
	err := d.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := accounts.Sessions(r.Context(), tx, v.Caller, v.User.ID)
		if err != nil {
			return err
		}
		page.Sessions, page.Devices = nil, nil
		for _, s := range list {
			page.Sessions = append(page.Sessions, login{ID: s.ID, Browser: web.Browser(page.Printer(), s.UserAgent), Agent: s.UserAgent, IP: s.IP,
				Phone: web.Phone(s.UserAgent), Here: s.ID == v.Session.ID, Began: s.CreatedAt, Seen: s.LastSeenAt})
		}
		if !page.Computers {
			return nil
		}
		own, _, err := devices.List(r.Context(), tx, v.Caller, devices.Filter{User: v.User.ID, Limit: maxDevices})
		for _, c := range own {
			page.Devices = append(page.Devices, deviceOf(page.Frame, c.Device))
		}
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Render(w, r, http.StatusOK, "sessions", page)
}

func deviceOf(f web.Frame, c devices.Device) device {
	return device{ID: string(c.ID), Name: c.Name, System: web.System(c.Hardware.OS, c.Hardware.OSVersion, c.Hardware.Arch),
		Icon: web.DeviceIcon(c.System), IP: c.LastIP, Seen: c.LastSeenAt, State: f.State("device.state.", string(c.State)),
		Active: c.State == devices.Active || c.State == devices.Disabled}
}

func (d *Door) endSession(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		own, err := d.others(r, tx, v)
		if err != nil {
			return err
		}
		for _, s := range own {
			if s.ID == r.PathValue("session") {
				return accounts.EndSession(r.Context(), tx, v.Caller, s.ID)
			}
		}
		return nil // it is over, which is what was asked for
	})
	d.ended(w, r, v, "account.session.ended", err)
}

func (d *Door) endOthers(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		own, err := d.others(r, tx, v)
		for _, s := range own {
			if err == nil {
				err = accounts.EndSession(r.Context(), tx, v.Caller, s.ID)
			}
		}
		return err
	})
	d.ended(w, r, v, "account.sessions.ended", err)
}

// others are the account's sessions but the one that asks.
func (d *Door) others(r *http.Request, tx *db.Tx, v *Visit) ([]accounts.Session, error) {
	all, err := accounts.Sessions(r.Context(), tx, v.Caller, v.User.ID)
	var others []accounts.Session
	for _, s := range all {
		if s.ID != v.Session.ID {
			others = append(others, s)
		}
	}
	return others, err
}

func (d *Door) ended(w http.ResponseWriter, r *http.Request, v *Visit, note string, err error) {
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account/sessions", web.Flash{Key: note})
}

func (d *Door) askDevice(w http.ResponseWriter, r *http.Request, v *Visit) {
	page := askDevicePage{section: d.section(w, r, v, "/account/sessions")}
	err := d.DB.Read(r.Context(), func(tx *db.Tx) error {
		c, err := devices.View(r.Context(), tx, v.Caller, access.DeviceID(r.PathValue("device")))
		page.Device = deviceOf(page.Frame, c)
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Render(w, r, http.StatusOK, "device-end", page)
}

// endDevice stops a computer from backing up. What is safe of it stays.
func (d *Door) endDevice(w http.ResponseWriter, r *http.Request, v *Visit) {
	var c devices.Device
	err := d.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if c, err = devices.View(r.Context(), tx, v.Caller, access.DeviceID(r.PathValue("device"))); err != nil {
			return err
		}
		return devices.SetState(r.Context(), tx, v.Caller, c.ID, devices.Deactivated, "")
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account/sessions", web.Flash{Key: "devices.deactivate.done", Args: []any{"name", c.Name}})
}
