package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// protectionOf is what a device tells of its protection.
func protectionOf(d devices.Device) web.Protection {
	p := web.Protection{Active: d.State == devices.Active && d.DisabledBy() == "", LastBackup: d.LastBackupAt, Unfinished: d.LastStatus == "partial",
		Running: d.Status == wire.StateRunning, SeenAt: d.LastSeenAt}
	if d.Progress != nil {
		p.Done, p.Total = d.Progress.Files, d.Progress.TotalFiles
	}
	return p
}

// stateOf is a device's state; while its user does not work, neither does it.
func stateOf(d devices.Device) string {
	if d.DisabledBy() == "user" {
		return "disabled_with_user"
	}
	return string(d.State)
}

func deviceOf(f web.Frame, d devices.Device, username string) device {
	return device{ID: string(d.ID), Name: d.Name, System: web.System(d.Hardware.OS, d.Hardware.OSVersion, d.Hardware.Arch), Icon: web.DeviceIcon(d.System),
		Client: d.ClientVersion, UserID: string(d.User), Username: username,
		Protection: f.Sign(protectionOf(d)), State: f.State("device.state.", stateOf(d)),
		LastBackup: d.LastBackupAt, LastSeen: d.LastSeenAt, Activated: d.ActivatedAt,
		Bytes: d.StoredBytes, Files: d.StoredFiles, Active: d.State == devices.Active}
}

func (c *console) devices(w http.ResponseWriter, r *http.Request, v *visit) {
	page := devicesPage{Frame: c.frame(w, r, v, "console.devices"), Query: strings.TrimSpace(r.FormValue("q")), Show: r.FormValue("show"), CanWrite: v.may(access.ManageUsers)}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, pages, err := listed(r, tx, v, &page)
		page.Devices, page.Pages = nil, pages
		for _, d := range list {
			page.Devices = append(page.Devices, deviceOf(page.Frame, d.Device, d.Username))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "devices", page)
}

// listed is the part of the devices that a page shows.
func listed(r *http.Request, tx *db.Tx, v *visit, page *devicesPage) ([]devices.Listed, web.Pages, error) {
	filter := devices.Filter{Org: v.org(), Search: page.Query, After: web.After(r), Limit: listPart}
	switch level := web.Level(page.Show); level {
	case web.Protected, web.AtRisk, web.Never:
		list, err := ofLevel(r, tx, v, filter, level, page.Now())
		return list, web.Pages{}, err
	}
	page.Show = ""
	total, err := devices.Count(r.Context(), tx, v.caller, filter)
	if err != nil {
		return nil, web.Pages{}, err
	}
	list, after, err := devices.List(r.Context(), tx, v.caller, filter)
	return list, web.PagesOf(r, len(list), int64(total), after), err
}

// maxOfLevel is how many devices a list by their protection has. Who has more
// at risk has no use for a second page.
const maxOfLevel = 500

// ofLevel are the devices that are so well protected.
func ofLevel(r *http.Request, tx *db.Tx, v *visit, filter devices.Filter, level web.Level, now time.Time) ([]devices.Listed, error) {
	var found []devices.Listed
	filter.Limit = 500
	for {
		list, after, err := devices.List(r.Context(), tx, v.caller, filter)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			if protectionOf(d.Device).Level(now) == level && len(found) < maxOfLevel {
				found = append(found, d)
			}
		}
		if after == "" || len(found) == maxOfLevel {
			return found, nil
		}
		filter.After = after
	}
}

// maxSnapshots is how many snapshots a device's page lists.
const maxSnapshots = 200

func (c *console) device(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx, id := r.Context(), devices.ID(r.PathValue("device"))
	page := devicePage{Frame: c.frame(w, r, v, "console.devices")}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		d, err := devices.View(ctx, tx, v.caller, id)
		if err != nil {
			return err
		}
		page.Title = web.Visible(d.Name)
		u, err := accounts.View(ctx, tx, v.caller, d.User)
		if err != nil {
			return err
		}
		page.Device = deviceOf(page.Frame, d, u.Username)
		list, err := c.Vault.Snapshots(ctx, tx, v.caller, vault.Filter{Org: d.Org, Device: id, Limit: maxSnapshots})
		page.Snapshots = nil
		for _, s := range list {
			page.Snapshots = append(page.Snapshots, snapshot{ID: s.Hash.Short(), Time: s.CommittedAt, Files: s.Files, Bytes: s.Bytes,
				Unreadable: s.Unreadable, State: page.State("snapshot.state.", s.Status)})
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "device", page)
}

// backupDevice asks a device to back up now.
func (c *console) backupDevice(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx, id := r.Context(), devices.ID(r.PathValue("device"))
	err := c.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := devices.Ask(ctx, tx, v.caller, id, wire.RequestBackup, nil)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, "/admin/devices/"+string(id), web.Flash{Key: "devices.backup.asked"})
}

func (c *console) askDeactivate(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showDeactivate(w, r, v, http.StatusOK, false)
}

// showDeactivate says what deactivating means before it is done.
func (c *console) showDeactivate(w http.ResponseWriter, r *http.Request, v *visit, status int, wrong bool) {
	ctx, id := r.Context(), devices.ID(r.PathValue("device"))
	var d devices.Device
	var count int64
	err := c.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if d, err = devices.View(ctx, tx, v.caller, id); err != nil {
			return err
		}
		list, err := c.Vault.Snapshots(ctx, tx, v.caller, vault.Filter{Org: d.Org, Device: id, Limit: 100_000})
		count = int64(len(list))
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page := confirmPage{Frame: c.frame(w, r, v, "devices.deactivate.title", "name", web.Visible(d.Name)), Name: d.Name}
	p, at := page.Printer(), "/admin/devices/"+string(d.ID)
	page.Action, page.Back, page.Button = at+"/deactivate", at, p.T("devices.deactivate")
	page.Consequences = []string{p.T("devices.deactivate.stop"), p.T("devices.deactivate.undo")}
	if count > 0 {
		page.Consequences = slices.Insert(page.Consequences, 1, p.N("devices.deactivate.data", count))
	}
	if wrong {
		page.Form.AddField("confirm", p.T("confirm.differs"))
	}
	c.site.Render(w, r, status, "confirm", page)
}

func (c *console) deactivateDevice(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx, id := r.Context(), devices.ID(r.PathValue("device"))
	var d devices.Device
	wrong := false
	err := c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if d, err = devices.View(ctx, tx, v.caller, id); err != nil {
			return err
		}
		if wrong = !confirmed(r, d.Name); wrong {
			return nil
		}
		return devices.SetState(ctx, tx, v.caller, id, devices.Deactivated, "")
	})
	switch {
	case wrong:
		c.showDeactivate(w, r, v, http.StatusBadRequest, true)
	case err != nil:
		c.fail(w, r, v.caller, err)
	default:
		c.site.Done(w, r, "/admin/devices/"+string(id), web.Flash{Key: "devices.deactivated", Args: []any{"name", web.Visible(d.Name)}})
	}
}
