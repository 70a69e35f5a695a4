package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
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
	before func(p *locale.Printer, d devices.Device, x deviceStakes) *notice // what is offered first; none when nil
	do     func(context.Context, *db.Tx, access.Caller, devices.ID, string) error
}

// deviceStakes are what an act is about.
type deviceStakes struct {
	snapshots int64
	owner     accounts.User
	last      bool                // the user has no other device
	seat      bool                // which takes a seat of a licence
	retired   bool                // there cannot be one like it again
	until     time.Time           // when a deletion becomes final
	undo      devices.Replacement // that can be taken back,
	undoable  bool                // if there is one
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
	{name: "delete", reason: true, fresh: true, means: deleteDeviceMeans, before: saveFirst, do: devices.Delete},
	{name: "undo", fresh: true, means: undoMeans, do: undoReplacement},
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
	data, seat, retired := p.T("users.delete.nothing"), "", ""
	if x.snapshots > 0 {
		data = p.N("users.delete.data", x.snapshots, "size", p.Bytes(d.StoredBytes))
	}
	if x.last && x.seat {
		seat = p.T("devices.delete.seat")
	}
	if x.retired && x.snapshots == 0 { // saveFirst says it otherwise
		retired = p.T("devices.delete.retired")
	}
	return some(p.T("devices.delete.stop"), data, retired, seat, p.T("devices.delete.until", "date", p.Date(x.until)), p.T("devices.delete.undo"))
}

// saveFirst offers to have the user save what there cannot be again.
func saveFirst(p *locale.Printer, d devices.Device, x deviceStakes) *notice {
	if !x.retired || x.snapshots == 0 {
		return nil
	}
	user := web.Visible(x.owner.Username)
	say := func(text string, b button) *notice {
		return &notice{What: web.Sign{Sign: "warn", Icon: "archive", Text: text}, Buttons: []button{b}}
	}
	if !devices.CanSave(x.owner) {
		return say(p.T("devices.save.impossible", "user", user), button{Text: p.T("devices.save.user"), Icon: "user", Href: home(x.owner)})
	}
	return say(p.N("devices.save", x.snapshots, "user", user),
		button{Text: p.T("devices.save.write"), Icon: "mail", Href: deviceHome(d.ID) + "/save", Post: true})
}

// askToSave writes to the user of a device.
func (c *console) askToSave(w http.ResponseWriter, r *http.Request, v *visit) {
	c.tryDevice(w, r, v, "devices.save.done", func(tx *db.Tx, d devices.Device) error {
		return devices.AskToSave(r.Context(), tx, v.caller, c.Keys, d.ID, c.portal(r)+"/devices/"+string(d.ID))
	}, func(status int, err error) { c.showDevice(w, r, v, status, err) })
}

func purgeDeviceMeans(p *locale.Printer, _ devices.Device, x deviceStakes) []string {
	return some(p.T("devices.purge.now"), counted(p, "users.purge.snapshots", x.snapshots), p.T("users.purge.final"), p.T("approvals.takes"))
}

func undoMeans(p *locale.Printer, d devices.Device, x deviceStakes) []string {
	return entry.UndoMeans(p, d, x.undo, x.undoable)
}

func undoReplacement(ctx context.Context, tx *db.Tx, by access.Caller, id devices.ID, _ string) error {
	_, err := devices.UndoReplace(ctx, tx, by, id)
	return err
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
	for name, do := range map[string]func(context.Context, *db.Tx, access.Caller, devices.ID) error{
		"enable": func(ctx context.Context, tx *db.Tx, by access.Caller, id devices.ID) error {
			return devices.SetState(ctx, tx, by, id, devices.Active, "")
		},
		"undelete": devices.Undelete, "settle": devices.Settle,
	} {
		mux.HandleFunc("POST "+at+"/"+name, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
			c.tryDevice(w, r, v, "devices."+name+".done", func(tx *db.Tx, d devices.Device) error {
				return do(r.Context(), tx, v.caller, d.ID)
			}, func(status int, err error) { c.showDevice(w, r, v, status, err) })
		}))
	}
	mux.HandleFunc("POST "+at+"/unlock", c.admin(c.unlockDevice))
	mux.HandleFunc("POST "+at+"/save", c.admin(c.askToSave))
	mux.HandleFunc("GET "+at+"/rename", c.admin(c.askRename))
	mux.HandleFunc("POST "+at+"/rename", c.admin(c.renameDevice))
}

// deviceStakes counts what belongs to a device.
func (c *console) deviceStakes(ctx context.Context, tx *db.Tx, v *visit, f web.Frame, d devices.Device) (x deviceStakes, err error) {
	if x.until, err = undoneUntil(ctx, tx, f); err != nil {
		return x, err
	}
	if x.snapshots, err = c.Vault.Count(ctx, tx, v.caller, vault.Filter{Org: d.Org, Device: d.ID}); err != nil {
		return x, err
	}
	u, err := accounts.Find(ctx, tx, d.User)
	if err != nil {
		return x, err
	}
	n, err := devices.Count(ctx, tx, v.caller, devices.Filter{Org: d.Org, User: d.User})
	if err != nil {
		return x, err
	}
	if x.retired, err = devices.Retired(ctx, tx, d); err != nil {
		return x, err
	}
	x.owner, x.last, x.seat = u, n == 1, u.Seat == accounts.ActiveSeat && u.Licence != ""
	x.undo, x.undoable, err = devices.Undoable(ctx, tx, v.caller, d.ID)
	return x, err
}

// managedDevice is the device that the address names, for whoever may manage it.
func managedDevice(r *http.Request, tx *db.Tx, v *visit) (devices.Device, error) {
	d, err := devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device")))
	if err != nil {
		return d, err
	}
	return d, audit.See(v.caller, access.ManageDevices, d.Org, d.User, "device/"+string(d.ID))
}

// showDeviceAct says what an act means before it is done.
func (c *console) showDeviceAct(w http.ResponseWriter, r *http.Request, v *visit, status int, a deviceAct, page confirmPage, failure error) {
	page.Frame = c.frame(w, r, v, "console.devices")
	var d devices.Device
	var x deviceStakes
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if d, err = managedDevice(r, tx, v); err != nil {
			return err
		}
		x, err = c.deviceStakes(r.Context(), tx, v, page.Frame, d)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.AskReason, page.Consequences = a.reason, a.means(page.Printer(), d, x)
	if a.before != nil {
		page.Before = a.before(page.Printer(), d, x)
	}
	c.confirm(w, r, v, status, page.about("devices."+a.name, d.Name, deviceHome(d.ID), a.name), failure)
}

func (c *console) doDeviceAct(w http.ResponseWriter, r *http.Request, v *visit, a deviceAct) {
	page := confirmPage{Reason: r.PostFormValue("reason")}
	c.tryDevice(w, r, v, "devices."+a.name+".done", func(tx *db.Tx, d devices.Device) error {
		if err := c.confirmedBy(r, tx, v, a.fresh, d.Name); err != nil {
			return err
		}
		return a.do(r.Context(), tx, v.caller, d.ID, page.Reason)
	}, func(status int, err error) { c.showDeviceAct(w, r, v, status, a, page, err) })
}

// tryDevice does something to the device that the address names, and shows the
// device with done; or the page again that asked for it.
func (c *console) tryDevice(w http.ResponseWriter, r *http.Request, v *visit, done string, do func(*db.Tx, devices.Device) error, again func(status int, err error)) {
	var d devices.Device
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if d, err = devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device"))); err != nil {
			return err
		}
		return do(tx, d)
	})
	if err != nil {
		again(web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, deviceHome(d.ID), web.Flash{Key: done, Args: []any{"name", web.Visible(d.Name)}})
}

// deviceHome is the page of a device.
func deviceHome(id devices.ID) string { return "/admin/devices/" + string(id) }

func (c *console) askRename(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showRename(w, r, v, http.StatusOK, "", nil)
}

// showRename asks for another name, beginning with the one that was typed.
func (c *console) showRename(w http.ResponseWriter, r *http.Request, v *visit, status int, typed string, failure error) {
	page := renamePage{Frame: c.frame(w, r, v, "devices.rename")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		d, err := managedDevice(r, tx, v)
		page.Home, page.Name, page.Host, page.New = deviceHome(d.ID), d.Name, devices.HostName(d.Hardware), cmp.Or(typed, d.Name)
		return err
	})
	if err == nil && failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"device.name.": "name", "error.E1201": "name"}) {
		err = failure
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "device-rename", page)
}

func (c *console) renameDevice(w http.ResponseWriter, r *http.Request, v *visit) {
	name := r.PostFormValue("name")
	c.tryDevice(w, r, v, "devices.renamed", func(tx *db.Tx, d devices.Device) error {
		return devices.Rename(r.Context(), tx, v.caller, d.ID, name)
	}, func(status int, err error) { c.showRename(w, r, v, status, name, err) })
}

// say adds a notice, with what can be done about it by who may.
func (page *devicePage) say(sign, icon, text string, buttons ...button) {
	if !page.CanManage {
		buttons = slices.DeleteFunc(buttons, func(b button) bool { return b.Post || strings.HasPrefix(b.Href, page.Home+"/") })
	}
	page.Notices = append(page.Notices, notice{What: web.Sign{Sign: sign, Icon: icon, Text: text}, Buttons: buttons})
}

// notice says what somebody should know about a device now.
func (page *devicePage) notice(d devices.Device) {
	p, say := page.Printer(), page.say
	page.Notices = nil
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
			button{Text: p.T("devices.unlock"), Icon: "lock-open", Href: page.Home + "/unlock", Post: true})
	}
	if !d.CloneAt.IsZero() {
		say("bad", "copy", p.T("devices.notice.clone", "date", d.CloneAt), button{Text: p.T("devices.settle"), Icon: "check", Href: page.Home + "/settle", Post: true})
	}
	if page.Retired && d.State != devices.Deleted {
		say("warn", "archive", p.T("devices.notice.retired"))
	}
	switch ends := page.Device.Ends; {
	case !ends.IsZero():
		text := p.T("devices.notice.inactive.ends", "date", d.InactiveAt, "ends", ends)
		if !d.NotedAt.IsZero() {
			text += " " + p.T("devices.notice.inactive.noted", "date", d.NotedAt)
		}
		say("warn", "hourglass", text)
	case !d.InactiveAt.IsZero():
		say("warn", "hourglass", p.T("devices.notice.inactive", "date", d.InactiveAt))
	}
}

// barred says of a computer that the device was that it is locked to this day.
func (page *devicePage) barred(i devices.Identity) {
	if i.LockedAt.IsZero() {
		return
	}
	p, host := page.Printer(), web.Visible(cmp.Or(i.Hardware.Hostname, i.Name))
	text := p.T("devices.notice.barred", "host", host, "date", i.LockedAt, "replaced", i.To)
	if !i.SeenAt.IsZero() {
		text += " " + p.T("devices.notice.barred.seen", "ip", i.SeenIP, "seen", p.Time(i.SeenAt, page.Now()))
	}
	page.say("warn", "lock", text, button{Text: p.T("devices.unlock.computer", "host", host), Icon: "lock-open", Post: true,
		Href: page.Home + "/unlock?computer=" + strconv.FormatUint(i.Serial, 10)})
}

// unlockDevice takes the lock from the device, or from a computer that it was.
func (c *console) unlockDevice(w http.ResponseWriter, r *http.Request, v *visit) {
	c.tryDevice(w, r, v, "devices.unlock.done", func(tx *db.Tx, d devices.Device) error {
		former := r.URL.Query().Get("computer")
		if former == "" {
			return devices.Unlock(r.Context(), tx, v.caller, d.ID)
		}
		computer, err := strconv.ParseUint(former, 10, 64)
		if err != nil {
			return errs.New(errs.NotFound, "device.unknown")
		}
		return devices.UnlockFormer(r.Context(), tx, v.caller, d.ID, computer)
	}, func(status int, err error) { c.showDevice(w, r, v, status, err) })
}

// act puts together what can be done with a device in its state, the most likely
// first. What its user's state rules out is not among it.
func (page *devicePage) act(d devices.Device, undoable bool) {
	page.First, page.More = nil, nil
	if !page.CanManage {
		return
	}
	at, p := page.Home, page.Printer()
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
	live := d.State != devices.Deleted && d.State != devices.Purged && !userGone
	if live && d.State != devices.Replaced {
		page.More = append(page.More, link("rename", "pencil", ""))
	}
	if d.Owner == accounts.Active && (d.State == devices.Active || d.State == devices.Deactivated) {
		page.More = append(page.More, button{Text: p.T("devices.replace"), Icon: "key", Href: newKeyFor(string(d.User), string(d.ID), devices.Succeed)})
	}
	if undoable {
		page.More = append(page.More, link("undo", "arrow-back-up", ""))
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
	if live {
		page.More = append(page.More, link("delete", "trash", "text-danger"))
	}
}
