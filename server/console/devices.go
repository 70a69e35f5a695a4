package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// stateOf is a device's state, or what else keeps it from working: while its
// user does not, neither does it.
func stateOf(d devices.Device) string {
	if by := d.DisabledBy(); by != "" && by != devices.ByAdministrator {
		return by
	}
	return string(d.State)
}

func deviceOf(f web.Frame, d devices.Device, x devices.Protection, username string) device {
	return device{ID: string(d.ID), Name: d.Name, System: web.System(d.Hardware.OS, d.Hardware.OSVersion, d.Hardware.Arch), Icon: web.DeviceIcon(d.System),
		Client: d.ClientVersion, UserID: string(d.User), Username: username,
		Protection: entry.Sign(f, x), State: f.State("device.state.", stateOf(d)),
		LastBackup: d.LastBackupAt, LastSeen: d.LastSeenAt, Activated: d.ActivatedAt,
		Bytes: d.StoredBytes, Files: d.StoredFiles, Final: d.PurgeAt, Inactive: !d.InactiveAt.IsZero(), Locked: !d.LockedAt.IsZero(), IP: d.LastIP, Names: d.OldNames(),
		Account: d.Hardware.OSUser, Cloned: !d.CloneAt.IsZero()}
}

// deviceRows are devices for a page.
func deviceRows(ctx context.Context, tx *db.Tx, f web.Frame, list []devices.Listed) ([]device, error) {
	var judge devices.Judge
	var rows []device
	for _, d := range list {
		x, err := judge.Protection(ctx, tx, d.Device, f.Now())
		if err != nil {
			return nil, err
		}
		row := deviceOf(f, d.Device, x, d.Username)
		e, err := judge.Profile(ctx, tx, d.Device)
		if err != nil {
			return nil, err
		}
		row.Ends, row.Barred = d.EndsAt(e), d.Barred
		rows = append(rows, row)
	}
	return rows, nil
}

func (c *console) devices(w http.ResponseWriter, r *http.Request, v *visit) {
	page := devicesPage{Frame: c.frame(w, r, v, "console.devices"), Query: strings.TrimSpace(r.FormValue("q")), Show: r.FormValue("show"), CanWrite: v.may(access.ManageUsers)}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, pages, err := listed(r, tx, v, &page)
		page.Pages = pages
		if err == nil {
			page.Devices, err = deviceRows(r.Context(), tx, page.Frame, list)
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "devices", page)
}

// narrowed are what the list can be narrowed to, by the devices' states and
// marks, in their order.
var narrowed = []struct {
	name  string
	state devices.State
	mark  devices.Mark
}{
	{"inactive", "", devices.MarkedInactive}, {"locked", "", devices.MarkedLocked}, {"clone", "", devices.MarkedClone},
	{"disabled", devices.Disabled, ""}, {"deactivated", devices.Deactivated, ""}, {"deleted", devices.Deleted, ""},
}

// setStates makes the links that narrow the list. A state that no device is in
// needs none.
func (page *devicesPage) setStates(r *http.Request, tx *db.Tx, v *visit, filter *devices.Filter) error {
	p, chosen := page.Printer(), *filter
	add := func(name string, f devices.Filter) error {
		n, err := devices.Count(r.Context(), tx, v.caller, f)
		active := name == page.State
		if active {
			chosen = f
		}
		if n > 0 || active || name == "" {
			text := p.T("devices.all")
			if name != "" {
				text = p.T("device.state." + name)
			}
			page.States = append(page.States, choice{Text: text, Href: with(r, "state", name), Count: int64(n), Active: active})
		}
		return err
	}
	page.States, page.State = nil, ""
	for _, n := range narrowed {
		if n.name == r.FormValue("state") {
			page.State = n.name
		}
	}
	if err := add("", *filter); err != nil {
		return err
	}
	for _, n := range narrowed {
		f := *filter
		f.State, f.Marked = n.state, n.mark
		if err := add(n.name, f); err != nil {
			return err
		}
	}
	*filter = chosen
	return nil
}

// listed is the part of the devices that a page shows.
func listed(r *http.Request, tx *db.Tx, v *visit, page *devicesPage) ([]devices.Listed, web.Pages, error) {
	filter := devices.Filter{Org: v.org(), Search: page.Query, After: web.After(r), Limit: listPart}
	switch level := devices.Level(page.Show); level {
	case devices.Protected, devices.AtRisk, devices.Never:
		list, err := ofLevel(r, tx, v, filter, level, page.Now())
		return list, web.Pages{}, err
	}
	page.Show = ""
	if err := page.setStates(r, tx, v, &filter); err != nil {
		return nil, web.Pages{}, err
	}
	total := 0
	for _, s := range page.States {
		if s.Active {
			total = int(s.Count)
		}
	}
	list, after, err := devices.List(r.Context(), tx, v.caller, filter)
	return list, web.PagesOf(r, len(list), int64(total), after), err
}

// maxOfLevel is how many devices a list by their protection has. Who has more
// at risk has no use for a second page.
const maxOfLevel = 500

// ofLevel are the devices that are so well protected.
func ofLevel(r *http.Request, tx *db.Tx, v *visit, filter devices.Filter, level devices.Level, now time.Time) ([]devices.Listed, error) {
	var found []devices.Listed
	var judge devices.Judge
	filter.Limit = 500
	for {
		list, after, err := devices.List(r.Context(), tx, v.caller, filter)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			x, err := judge.Protection(r.Context(), tx, d.Device, now)
			if err != nil {
				return nil, err
			}
			if x.Level == level && len(found) < maxOfLevel {
				found = append(found, d)
			}
		}
		if after == "" || len(found) == maxOfLevel {
			return found, nil
		}
		filter.After = after
	}
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
