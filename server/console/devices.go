package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// protectionOf is what a device tells of its protection.
func protectionOf(d devices.Device) web.Protection {
	p := web.Protection{Active: d.State == devices.Active, LastBackup: d.LastBackupAt, Unfinished: d.LastStatus == "partial",
		Running: d.Status == wire.StateRunning, SeenAt: d.LastSeenAt}
	if d.Progress != nil {
		p.Done, p.Total = d.Progress.Files, d.Progress.TotalFiles
	}
	return p
}

func deviceOf(f web.Frame, d devices.Device, username string) device {
	return device{ID: string(d.ID), Name: d.Name, System: web.System(d.Hardware.OS, d.Hardware.OSVersion, d.Hardware.Arch), Icon: web.DeviceIcon(d.System),
		Client: d.ClientVersion, UserID: string(d.User), Username: username,
		Protection: f.Sign(protectionOf(d)), State: f.State("device.state.", string(d.State)),
		LastBackup: d.LastBackupAt, LastSeen: d.LastSeenAt, Activated: d.ActivatedAt,
		Bytes: d.StoredBytes, Files: d.StoredFiles, Active: d.State == devices.Active}
}

func (c *console) devices(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := devicesPage{Frame: c.frame(w, r, v, "console.devices"), Query: strings.TrimSpace(r.FormValue("q"))}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		filter := devices.Filter{Org: v.org(), Search: page.Query, After: web.After(r), Limit: listPart}
		total, err := devices.Count(ctx, tx, v.caller, filter)
		if err != nil {
			return err
		}
		list, after, err := devices.List(ctx, tx, v.caller, filter)
		page.Devices = nil
		for _, d := range list {
			page.Devices = append(page.Devices, deviceOf(page.Frame, d.Device, d.Username))
		}
		page.Pages = web.PagesOf(r, len(list), int64(total), after)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "devices", page)
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
