package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// What the page of a device shows at most.
const (
	snapshotsShown = 20
	maxSnapshots   = 1000
	eventsShown    = 100
	momentsShown   = 12
)

func (c *console) device(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showDevice(w, r, v, http.StatusOK, nil)
}

func (c *console) showDevice(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := devicePage{Frame: c.frame(w, r, v, "console.devices"), CanManage: v.may(access.ManageDevices)}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		d, err := devices.View(r.Context(), tx, v.caller, devices.ID(r.PathValue("device")))
		if err != nil {
			return err
		}
		for _, fill := range []func(*http.Request, *db.Tx, *visit, devices.Device) error{page.fill, page.settings, page.history, page.keys} {
			if err := fill(r, tx, v, d); err != nil {
				return err
			}
		}
		return c.timeline(r, tx, v, &page, d)
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "device", page)
}

// fill puts together what a device is, and what can be done with it.
func (page *devicePage) fill(r *http.Request, tx *db.Tx, v *visit, d devices.Device) error {
	ctx := r.Context()
	u, err := accounts.View(ctx, tx, v.caller, d.User)
	if err != nil {
		return err
	}
	rows, err := deviceRows(ctx, tx, page.Frame, []devices.Listed{{Device: d, Username: u.Username}})
	if err != nil {
		return err
	}
	page.Title, page.Device, page.Home, page.Private = web.Visible(d.Name), rows[0], deviceHome(d.ID), u.PrivacyOn
	page.Serial, page.Machine, page.Host, page.OSUser, page.Whole = d.Hardware.Serial, d.Hardware.MachineID, d.Hardware.Hostname, d.Hardware.OSUser, d.System
	beside, err := devices.Beside(ctx, tx, v.caller, d)
	if err != nil {
		return err
	}
	if page.Beside, err = deviceRows(ctx, tx, page.Frame, beside); err != nil {
		return err
	}
	undo, undoable, err := devices.Undoable(ctx, tx, v.caller, d.ID)
	if err != nil {
		return err
	}
	if page.Retired, err = devices.Retired(ctx, tx, d); err != nil {
		return err
	}
	page.notice(d)
	page.act(d, undoable)
	if undoable {
		p := page.Printer()
		page.say("idle", "arrow-back-up", p.T("devices.notice.replaced", "host", web.Visible(undo.Hostname), "date", undo.At, "until", undo.Until),
			button{Text: p.T("devices.undo"), Icon: "arrow-back-up", Href: page.Home + "/undo"})
	}
	restores, err := devices.Restores(ctx, tx, v.caller, d.ID)
	if err != nil {
		return err
	}
	for _, x := range entry.RestoreSigns(page.Frame, restores) {
		page.say(x.Sign, x.Icon, x.Text)
	}
	return page.succession(ctx, tx, v, d)
}

// succession says which device takes this one's place, or whose place it takes.
func (page *devicePage) succession(ctx context.Context, tx *db.Tx, v *visit, d devices.Device) error {
	before, after, err := devices.Succession(ctx, tx, v.caller, d)
	if err != nil {
		return err
	}
	p := page.Printer()
	show := func(o *devices.Device) button {
		return button{Text: web.Visible(o.Name), Icon: web.DeviceIcon(o.System), Href: deviceHome(o.ID)}
	}
	switch {
	case before != nil:
		page.say("idle", "refresh", p.T("devices.notice.succeeds", "name", web.Visible(before.Name)), show(before))
	case after != nil && d.State == devices.Replaced:
		page.say("idle", "refresh", p.T("devices.notice.succeeded", "name", web.Visible(after.Name), "date", d.StateAt), show(after))
	case after != nil:
		page.say("idle", "refresh", p.T("devices.notice.successor", "name", web.Visible(after.Name)), show(after))
	}
	return nil
}

// settings are what is in force on the device, and why it is not protected.
func (page *devicePage) settings(r *http.Request, tx *db.Tx, v *visit, d devices.Device) error {
	var judge devices.Judge
	e, err := judge.Effective(r.Context(), tx, d)
	if err != nil {
		return err
	}
	p, err := profiles.Of(r.Context(), tx, accounts.User{ID: d.User, Org: d.Org, Profile: d.OwnerProfile})
	if err != nil {
		return err
	}
	page.Profile, page.ProfileID, page.Told = p.Name, string(p.ID), d.Choices != nil
	page.Settings, page.Folders = entry.DeviceSettings(page.Frame, e, p.Name), entry.DeviceFolders(page.Frame, e, p.Name, page.Private)
	page.Tested = entry.TestedPath{}
	if !page.Private { // the answer could name a folder of the user's
		page.Tested = entry.TestPath(page.Frame, r, e, d.Hardware.OSHome)
	}
	page.Why = nil
	lines := devices.Explain(d, e, page.Now())
	if devices.Well(lines) {
		return nil
	}
	for _, l := range lines {
		line := explainLine{Name: l.Name, OK: l.OK, Text: page.Printer().T(l.Key, moments(page.Frame, l.Args)...)}
		if page.CanManage {
			line.Fix = page.fix(l.Fix)
		}
		page.Why = append(page.Why, line)
	}
	return nil
}

// moments are the values of a sentence, instants as people say when they were.
func moments(f web.Frame, args []any) []any {
	args = slices.Clone(args)
	for n, a := range args {
		if at, ok := a.(time.Time); ok {
			args[n] = f.Printer().Time(at.In(f.Zone()), f.Now())
		}
	}
	return args
}

// fix is the button for what mends a line, nil when nothing here does.
func (page *devicePage) fix(fix devices.Fix) *button {
	b := map[devices.Fix]button{
		devices.FixEnable:   {Icon: "check", Href: page.Home + "/enable", Post: true},
		devices.FixUndelete: {Icon: "arrow-back-up", Href: page.Home + "/undelete", Post: true},
		devices.FixBackup:   {Icon: "refresh", Href: page.Home + "/backup", Post: true},
		devices.FixApprove:  {Icon: "circle-check", Href: deployment + "/approvals"},
		devices.FixKey:      {Icon: "key", Href: newKeyFor(page.Device.UserID, page.Device.ID, "reactivate")},
		devices.FixUser:     {Icon: "user", Href: "/admin/users/" + page.Device.UserID},
		devices.FixProfile:  {Icon: "adjustments", Href: "/admin/profiles/" + page.ProfileID},
	}[fix]
	if b.Href == "" {
		return nil
	}
	b.Text = page.Printer().T("why.fix." + string(fix))
	return &b
}

// history are the computers that the device is and was.
func (page *devicePage) history(r *http.Request, tx *db.Tx, v *visit, d devices.Device) error {
	list, err := devices.Identities(r.Context(), tx, v.caller, d.ID)
	p := page.Printer()
	page.Computers = nil
	for _, i := range list {
		x := computer{Identity: i, System: web.System(i.Hardware.OS, i.Hardware.OSVersion, i.Hardware.Arch)}
		if i.Why != "" {
			x.Ended = p.T("device.ended."+i.Why, "by", web.Visible(cmp.Or(i.By, p.T("portal.activity.server"))))
		}
		page.Computers = append(page.Computers, x)
		page.barred(i)
	}
	return err
}

// timeline is what happened to the device, backups by their days; and its newest
// snapshots. Who may not read the audit sees the backups alone.
func (c *console) timeline(r *http.Request, tx *db.Tx, v *visit, page *devicePage, d devices.Device) error {
	ctx := r.Context()
	of := vault.Filter{Org: d.Org, Device: d.ID, Limit: maxSnapshots}
	list, err := c.Vault.Snapshots(ctx, tx, v.caller, of)
	if err != nil {
		return err
	}
	if page.CountedSnapshots, err = c.Vault.Count(ctx, tx, v.caller, of); err != nil {
		return err
	}
	page.Events = backupDays(page.Frame, list)
	if v.may(access.ViewAudit) {
		rows, err := audit.About(ctx, tx, v.caller, access.ViewAudit, d.Org, d.User, "device/"+string(d.ID), eventsShown)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if x, ok := entry.DeviceEvent(page.Frame, row); ok {
				page.Events = append(page.Events, x)
			}
		}
	}
	slices.SortStableFunc(page.Events, func(a, b entry.Event) int { return b.At.Compare(a.At) })
	page.AllSnapshots = ""
	if r.FormValue("all") == "" {
		if len(list) > snapshotsShown || len(page.Events) > momentsShown {
			page.AllSnapshots = page.Home + "?all=1"
		}
		list, page.Events = list[:min(len(list), snapshotsShown)], page.Events[:min(len(page.Events), momentsShown)]
	}
	page.Snapshots = nil
	for _, s := range list {
		page.Snapshots = append(page.Snapshots, snapshot{ID: s.Hash.Short(), Time: s.CommittedAt, Files: s.Files, Bytes: s.Bytes,
			Unreadable: s.Unreadable, State: page.State("snapshot.state.", s.Status)})
	}
	return nil
}

// backupDays sums snapshots up by the reader's days, the newest first.
func backupDays(f web.Frame, list []vault.Snapshot) []entry.Event {
	p := f.Printer()
	var days []entry.Event
	var partial int
	end := func() {
		if len(days) == 0 {
			return
		}
		last := &days[len(days)-1]
		last.Text = backupsText(p, last.Snapshot, partial)
	}
	for _, s := range list {
		at := s.CommittedAt.In(f.Zone())
		if n := len(days); n == 0 || !sameDay(days[n-1].At, at) {
			end()
			days, partial = append(days, entry.Event{At: at, Icon: "database"}), 0
		}
		days[len(days)-1].Snapshot++
		if s.Status == "partial" {
			partial++
		}
	}
	end()
	return days
}

func backupsText(p *locale.Printer, n, partial int) string {
	text := p.N("device.event.backups", int64(n))
	if partial > 0 {
		text += ", " + p.N("device.event.partial", int64(partial))
	}
	return text
}

func sameDay(a, b time.Time) bool { return a.YearDay() == b.YearDay() && a.Year() == b.Year() }
