package console

import (
	"context"
	"net/http"
	"slices"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// deviceAct is a change to a device that stops something. A page of its own says
// what it means and asks for the device's name before it is done.
type deviceAct struct {
	name   string // in the address, and of the messages
	reason bool   // one has to be given
	fresh  bool   // whoever does it has just proved who they are
	means  func(p *locale.Printer, d devices.Device, x deviceStakes) []string
	do     func(context.Context, *db.Tx, access.Caller, devices.ID, string) error
}

// deviceStakes are what an act is about.
type deviceStakes struct {
	snapshots int64
	last      bool // the user has no other device
	seat      bool // which takes a seat of a licence
	stakes
}

func toState(s devices.State) func(context.Context, *db.Tx, access.Caller, devices.ID, string) error {
	return func(ctx context.Context, tx *db.Tx, by access.Caller, id devices.ID, reason string) error {
		return devices.SetState(ctx, tx, by, id, s, reason)
	}
}

var deviceActs = []deviceAct{
	{name: "disable", reason: true, means: disableDeviceMeans, do: disableDevice},
	{name: "lock", reason: true, means: lockMeans, do: devices.Lock},
	{name: "deactivate", means: deactivateMeans, do: toState(devices.Deactivated)},
	{name: "delete", reason: true, fresh: true, means: deleteDeviceMeans, do: devices.Delete},
}

// disableDevice asks for a reason, which the device's page shows.
func disableDevice(ctx context.Context, tx *db.Tx, by access.Caller, id devices.ID, reason string) error {
	if err := accounts.CheckReason(reason); err != nil {
		return err
	}
	return devices.SetState(ctx, tx, by, id, devices.Disabled, reason)
}

func disableDeviceMeans(p *locale.Printer, _ devices.Device, x deviceStakes) []string {
	return some(p.T("devices.disable.stop"), counted(p, "devices.deactivate.data", x.snapshots), p.T("devices.disable.counts"), p.T("devices.disable.undo"))
}

func lockMeans(p *locale.Printer, d devices.Device, _ deviceStakes) []string {
	seen := ""
	if d.LastIP != "" {
		seen = p.T("devices.lock.seen", "ip", d.LastIP, "at", d.LastSeenAt)
	}
	return some(p.T("devices.lock.shut"), p.T("devices.lock.backs_up"), seen, p.T("devices.lock.undo"))
}

func deactivateMeans(p *locale.Printer, _ devices.Device, x deviceStakes) []string {
	return some(p.T("devices.deactivate.stop"), counted(p, "devices.deactivate.data", x.snapshots), p.T("devices.deactivate.undo"))
}

func deleteDeviceMeans(p *locale.Printer, d devices.Device, x deviceStakes) []string {
	data, seat := p.T("users.delete.nothing"), ""
	if x.snapshots > 0 {
		data = p.N("users.delete.data", x.snapshots, "size", p.Bytes(d.StoredBytes))
	}
	if x.last && x.seat {
		seat = p.T("devices.delete.seat")
	}
	return some(p.T("devices.delete.stop"), data, seat, p.T("devices.delete.until", "date", p.Date(x.until)), p.T("devices.delete.undo"))
}

func purgeDeviceMeans(p *locale.Printer, _ devices.Device, x deviceStakes) []string {
	return some(p.T("devices.purge.now"), counted(p, "users.purge.snapshots", x.snapshots), p.T("users.purge.final"), p.T("approvals.takes"))
}

func (c *console) deviceActRoutes(mux *entry.Mux) {
	const at = "/admin/devices/{device}"
	for _, a := range append(slices.Clone(deviceActs), c.purgeDeviceAct()) {
		mux.HandleFunc("GET "+at+"/"+a.name, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
			if a.fresh && !c.fresh(w, r, v) {
				return
			}
			c.showDeviceAct(w, r, v, http.StatusOK, a, confirmPage{}, nil)
		}))
		mux.HandleFunc("POST "+at+"/"+a.name, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
			c.doDeviceAct(w, r, v, a)
		}))
	}
	mux.HandleFunc("POST "+at+"/enable", c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
		c.changeDevice(w, r, v, "devices.enable.done", func(tx *db.Tx, d devices.Device) error {
			return devices.SetState(r.Context(), tx, v.caller, d.ID, devices.Active, "")
		})
	}))
	mux.HandleFunc("POST "+at+"/unlock", c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
		c.changeDevice(w, r, v, "devices.unlock.done", func(tx *db.Tx, d devices.Device) error {
			return devices.Unlock(r.Context(), tx, v.caller, d.ID)
		})
	}))
	mux.HandleFunc("POST "+at+"/undelete", c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
		c.changeDevice(w, r, v, "devices.undelete.done", func(tx *db.Tx, d devices.Device) error {
			return devices.Undelete(r.Context(), tx, v.caller, d.ID)
		})
	}))
}

// deviceStakes counts what belongs to a device.
func (c *console) deviceStakes(ctx context.Context, tx *db.Tx, v *visit, f web.Frame, d devices.Device) (x deviceStakes, err error) {
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return x, err
	}
	if x.stakes, err = c.stakes(ctx, tx, v, f, u); err != nil {
		return x, err
	}
	x.snapshots, err = c.Vault.Count(ctx, tx, v.caller, vault.Filter{Org: d.Org, Device: d.ID})
	if err != nil {
		return x, err
	}
	n, err := devices.Count(ctx, tx, v.caller, devices.Filter{Org: d.Org, User: d.User})
	x.last, x.seat = n == 1, u.Seat == accounts.ActiveSeat && u.Licence != ""
	return x, err
}

// showDeviceAct says what an act means before it is done.
func (c *console) showDeviceAct(w http.ResponseWriter, r *http.Request, v *visit, status int, a deviceAct, page confirmPage, failure error) {
	ctx := r.Context()
	page.Frame = c.frame(w, r, v, "console.devices")
	var d devices.Device
	var x deviceStakes
	err := c.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if d, err = devices.View(ctx, tx, v.caller, devices.ID(r.PathValue("device"))); err != nil {
			return err
		}
		if err := audit.See(v.caller, access.ManageDevices, d.Org, d.User, "device/"+string(d.ID)); err != nil {
			return err
		}
		x, err = c.deviceStakes(ctx, tx, v, page.Frame, d)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	p, at := page.Printer(), "/admin/devices/"+string(d.ID)
	page.Title, page.Button = p.T("devices."+a.name+".title", "name", web.Visible(d.Name)), p.T("devices."+a.name)
	page.Name, page.Action, page.Back, page.AskReason = d.Name, at+"/"+a.name, at, a.reason
	page.Consequences = a.means(p, d, x)
	if failure != nil && !refused(&page.Form, p, failure, map[string]string{"user.reason.": "reason", "confirm.": "confirm"}) {
		c.fail(w, r, v.caller, failure)
		return
	}
	c.site.Render(w, r, status, "confirm", page)
}

func (c *console) doDeviceAct(w http.ResponseWriter, r *http.Request, v *visit, a deviceAct) {
	ctx := r.Context()
	page := confirmPage{Reason: r.PostFormValue("reason")}
	var d devices.Device
	err := c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if d, err = devices.View(ctx, tx, v.caller, devices.ID(r.PathValue("device"))); err != nil {
			return err
		}
		if a.fresh {
			if err := c.checkFresh(ctx, tx, v); err != nil {
				return err
			}
		}
		if !confirmed(r, d.Name) {
			return errDiffers
		}
		return a.do(ctx, tx, v.caller, d.ID, page.Reason)
	})
	if err != nil {
		c.showDeviceAct(w, r, v, web.Status(w, err), a, page, err)
		return
	}
	c.site.Done(w, r, "/admin/devices/"+string(d.ID), web.Flash{Key: "devices." + a.name + ".done", Args: []any{"name", web.Visible(d.Name)}})
}

// changeDevice does something to a device that needs no asking, and shows it
// again, with done or with what was wrong.
func (c *console) changeDevice(w http.ResponseWriter, r *http.Request, v *visit, done string, do func(*db.Tx, devices.Device) error) {
	var d devices.Device
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if d, err = devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device"))); err != nil {
			return err
		}
		return do(tx, d)
	})
	if err != nil {
		c.showDevice(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, "/admin/devices/"+string(d.ID), web.Flash{Key: done, Args: []any{"name", web.Visible(d.Name)}})
}

// notice says what somebody should know about a device now.
func (page *devicePage) notice(d devices.Device) {
	p := page.Printer()
	page.Notices = nil
	say := func(sign, icon, text string, buttons ...button) {
		if !page.CanManage {
			buttons = nil
		}
		page.Notices = append(page.Notices, notice{What: web.Sign{Sign: sign, Icon: icon, Text: text}, Buttons: buttons})
	}
	user := web.Visible(page.Device.Username)
	switch by := d.DisabledBy(); {
	case d.State == devices.Deleted:
		say("bad", "trash", p.T("devices.notice.deleted", "date", d.PurgeAt, "reason", web.Visible(d.StateReason)))
	case by == devices.ByAdministrator && d.StateReason != "":
		say("warn", "ban", p.T("devices.notice.disabled.why", "date", d.StateAt, "reason", web.Visible(d.StateReason)))
	case by == devices.ByAdministrator:
		say("warn", "ban", p.T("devices.notice.disabled", "date", d.StateAt))
	case by != "":
		say("warn", "user-off", p.T("devices.notice."+by, "user", user))
	}
	if !d.LockedAt.IsZero() {
		say("warn", "lock", p.T("devices.notice.locked", "date", d.LockedAt, "ip", d.LastIP, "seen", p.Time(d.LastSeenAt, page.Now())),
			button{Text: p.T("devices.unlock"), Icon: "lock-open", Href: "/admin/devices/" + string(d.ID) + "/unlock", Post: true})
	}
	switch ends := page.Device.Ends; {
	case !ends.IsZero():
		say("warn", "hourglass", p.T("devices.notice.inactive.ends", "date", d.InactiveAt, "ends", ends))
	case !d.InactiveAt.IsZero():
		say("warn", "hourglass", p.T("devices.notice.inactive", "date", d.InactiveAt))
	}
}

// act puts together what can be done with a device in its state, the most likely
// first. What its user's state rules out is not among it.
func (page *devicePage) act(d devices.Device) {
	page.First, page.More = nil, nil
	if !page.CanManage {
		return
	}
	at, p := "/admin/devices/"+string(d.ID), page.Printer()
	link := func(name, icon, class string) button {
		return button{Text: p.T("devices." + name), Icon: icon, Href: at + "/" + name, Class: class}
	}
	post := func(name, icon, class string) button {
		b := link(name, icon, class)
		b.Post = true
		return b
	}
	userGone := d.Owner == accounts.Deleted || d.Owner == accounts.Purged
	switch {
	case d.Works():
		page.First = []button{post("backup", "refresh", "btn-primary")}
	case d.State == devices.Disabled:
		page.First = []button{post("enable", "check", "btn-primary")}
	case d.State == devices.Deleted && !userGone:
		page.First = []button{post("undelete", "arrow-back-up", "btn-primary")}
	}
	if d.State == devices.Active {
		page.More = append(page.More, link("disable", "ban", ""))
	}
	if d.State == devices.Active || d.State == devices.Disabled {
		if d.LockedAt.IsZero() {
			page.More = append(page.More, link("lock", "lock", ""))
		}
		page.More = append(page.More, link("deactivate", "plug", ""))
	}
	if d.State == devices.Deleted {
		page.More = append(page.More, link("purge", "trash", "text-danger"))
	}
	if d.State != devices.Deleted && d.State != devices.Purged && !userGone {
		page.More = append(page.More, link("delete", "trash", "text-danger"))
	}
}
