package entry

import (
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/web"
)

// Event is something that happened to a device, as people read it.
type Event struct {
	At       time.Time
	Icon     string
	Text     string
	Who, IP  string
	Bad      bool // it was refused, or is no good
	Snapshot int  // how many backups of one day it stands for; 0: it is none
}

// DeviceEvent says what a record about a device is of, and false for one that
// says nothing to people.
func DeviceEvent(f web.Frame, row audit.Row) (Event, bool) {
	p := f.Printer()
	x := Event{At: row.At, Who: row.ActorName, IP: row.IP, Bad: row.Outcome != audit.Done}
	switch row.ActorKind {
	case access.SystemKind:
		x.Who = p.T("portal.activity.server")
	case access.DeviceKind:
		x.Who = ""
	}
	x.Icon, x.Text = told(p, row)
	if x.Text == "" {
		return Event{}, false
	}
	if x.Bad && row.Code != "" {
		x.Text += " (" + string(row.Code) + ")"
	}
	return x, true
}

// told is the icon and the sentence of a record, "" when there is none.
func told(p *locale.Printer, row audit.Row) (icon, text string) {
	before, after := map[string]string{}, map[string]string{}
	flag := map[string]bool{}
	for _, d := range row.Details {
		before[d.Name], _ = d.Before.(string)
		after[d.Name], _ = d.After.(string)
		flag[d.Name], _ = d.After.(bool)
	}
	say := func(icon, key string, args ...any) (string, string) { return icon, p.T("device.event."+key, args...) }
	seen := func(s string) string { return web.Visible(s) }
	switch {
	case after["reason"] == "clone":
		return say("copy", "clone", "host", seen(after["hostname"]))
	case row.Outcome != audit.Done && row.Action == access.Login:
		return say("lock", "refused")
	case row.Outcome != audit.Done:
		return "ban", p.T("audit.action." + string(row.Action))
	case after["restore_cancelled"] != "":
		return say("x", "restore."+after["restore_cancelled"], "from", seen(after["from"]), "host", seen(after["hostname"]))
	case row.Action == access.Activate && after["choice"] == "replace":
		return say("refresh", "replaced", "before", seen(before["hostname"]), "after", seen(after["hostname"]))
	case row.Action == access.Activate && after["left_off"] != "":
		return say("plug", "left_off", "host", seen(after["hostname"]), "n", after["left_off"])
	case row.Action == access.Activate && after["choice"] == "reactivate":
		return say("plug", "reactivated", "host", seen(after["hostname"]))
	case row.Action == access.Activate:
		return say("plus", "activated", "host", seen(after["hostname"]))
	case after["undo"] != "":
		return say("arrow-back-up", "undone", "host", seen(after["hostname"]))
	case after["settled"] != "":
		return say("check", "settled")
	case after["request"] != "":
		return say("refresh", "asked")
	case before["locked_seen_at"]+after["locked_seen_at"] != "":
		if host := after["hostname"]; host != "" {
			return say("lock", "sighted.computer", "ip", after["locked_seen_at"], "host", seen(host))
		}
		return say("lock", "sighted", "ip", after["locked_seen_at"])
	case has(row, "locked") && flag["locked"]:
		return say("lock", "locked")
	case has(row, "locked") && after["hostname"] != "":
		return say("lock-open", "unlocked.computer", "host", seen(after["hostname"]))
	case has(row, "locked"):
		return say("lock-open", "unlocked")
	case after["name"] != "":
		return say("pencil", "renamed", "before", seen(before["name"]), "after", seen(after["name"]))
	case after["state"] != "":
		text := p.T("device.state." + after["state"])
		if why := strings.TrimSpace(after["reason"]); why != "" {
			text += ": " + seen(why)
		}
		return stateIcon(devices.State(after["state"])), text
	}
	return "", ""
}

func has(row audit.Row, name string) bool {
	for _, d := range row.Details {
		if d.Name == name {
			return true
		}
	}
	return false
}

func stateIcon(s devices.State) string {
	switch s {
	case devices.Active:
		return "check"
	case devices.Deleted, devices.Purged:
		return "trash"
	case devices.Replaced:
		return "refresh"
	}
	return "ban"
}

// UndoMeans says in numbers what becomes of the two computers when a replacement
// is taken back, or that there is none.
func UndoMeans(p *locale.Printer, d devices.Device, x devices.Replacement, possible bool) []string {
	if !possible {
		return []string{p.T("device.undo.impossible", "name", web.Visible(d.Name))}
	}
	if x.Succession {
		return undoSuccessionMeans(p, d, x)
	}
	list := []string{p.T("devices.undo.back", "host", web.Visible(x.Hostname))}
	if x.Kept > 0 {
		list = append(list, p.N("devices.undo.kept", x.Kept))
	}
	list = append(list, p.T("devices.undo.second", "host", web.Visible(d.Hardware.Hostname)))
	if x.Moved > 0 {
		list = append(list, p.N("devices.undo.moved", x.Moved))
	}
	return append(list, p.T("devices.undo.until", "date", x.Until))
}

// undoSuccessionMeans is of a device that is one of its own again.
func undoSuccessionMeans(p *locale.Printer, d devices.Device, x devices.Replacement) []string {
	list := []string{p.T("devices.undo.own", "name", web.Visible(x.Name))}
	if x.Kept > 0 {
		list = append(list, p.N("devices.undo.returned", x.Kept))
	}
	return append(list, p.T("devices.undo.both", "name", web.Visible(d.Name)), p.T("devices.undo.until", "date", x.Until))
}
