package portal

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

const activityPart = 50

// shortSnapshot is how much of a snapshot's name its addresses have.
const shortSnapshot = 16

// activity is what happened to the user's account: who opened their backups,
// took something out of them or changed who may, and who signed in.
func (p *portal) activity(w http.ResponseWriter, r *http.Request, v *visit) {
	page := activityPage{Frame: p.frame(w, r, v, ""), Parts: []web.Link{{Key: "portal.activity.all", Href: "/activity"}}}
	page.Title = page.Printer().T("portal.activity")
	show := audit.Everything
	for _, part := range []audit.Part{audit.Data, audit.Logins} {
		page.Parts = append(page.Parts, web.Link{Key: "portal.activity." + string(part), Href: "/activity?show=" + string(part), Active: r.FormValue("show") == string(part)})
		if r.FormValue("show") == string(part) {
			show = part
		}
	}
	page.Parts[0].Active = show == audit.Everything
	before, _ := strconv.ParseInt(web.After(r), 10, 64)
	err := p.DB.Read(r.Context(), func(tx *db.Tx) error {
		rows, err := audit.OfOwn(r.Context(), tx, v.caller, show, before, activityPart)
		if err != nil {
			return err
		}
		names, err := deviceNames(r, tx, v)
		if err != nil {
			return err
		}
		after := ""
		if len(rows) == activityPart {
			after = strconv.FormatInt(rows[len(rows)-1].Seq, 10)
		}
		page.Pages, page.Rows = web.PagesOf(r, len(rows), 0, after), nil
		for _, row := range rows {
			page.Rows = append(page.Rows, p.eventOf(page.Frame, v, row, names))
		}
		return nil
	})
	if err != nil {
		p.fail(w, r, v.caller, err)
		return
	}
	p.site.Render(w, r, http.StatusOK, "activity", page)
}

// deviceNames are the names of the user's devices.
func deviceNames(r *http.Request, tx *db.Tx, v *visit) (map[string]string, error) {
	list, _, err := devices.List(r.Context(), tx, v.caller, devices.Filter{User: v.user.ID, Limit: maxDevices})
	names := map[string]string{}
	for _, d := range list {
		names[string(d.ID)] = d.Name
	}
	return names, err
}

// eventOf is a record as the owner of the account reads it.
func (p *portal) eventOf(f web.Frame, v *visit, row audit.Row, names map[string]string) event {
	say := f.Printer()
	x := event{At: row.At, Who: row.ActorName, IP: row.IP, Own: row.ActorID == string(v.user.ID), Admin: row.ActorKind == access.AdminKind,
		What: what(say, row), Outcome: f.State("audit.outcome.", string(row.Outcome))}
	switch {
	case row.ActorKind == access.SystemKind:
		x.Who = say.T("portal.activity.server")
	case row.ActorKind == access.Anonymous || x.Who == "":
		x.Who = say.T("portal.activity.unknown")
	}
	x.Device = names[detail(row, "device")]
	switch row.ObjectKind {
	case "device":
		x.Device = names[row.ObjectID]
	case "snapshot":
		x.Snapshot = row.ObjectID[:min(len(row.ObjectID), shortSnapshot)]
		if v.web && x.Device != "" {
			x.Href = "/devices/" + detail(row, "device") + "/" + x.Snapshot
		}
	}
	if t, ok := p.Vault.TakenIn(v.caller, row); ok {
		x.What, x.Files = taken(say, t)
	}
	return x
}

// what says in words what a record is of.
func what(say *locale.Printer, row audit.Row) string {
	key := "portal.activity.what."
	switch row.Action {
	case access.ReadOwnData:
		if why := detail(row, "restore_cancelled"); why != "" {
			return say.T("device.event.restore."+why, "from", web.Visible(detail(row, "from")), "host", web.Visible(detail(row, "hostname")))
		}
		if detail(row, "at") != "" {
			return say.T(key + "restore")
		}
		return say.T(key + "read")
	case access.RestoreOthers:
		return say.T(key + "others")
	case access.SetPrivacy:
		switch {
		case detail(row, "activation_key_allowed") != "":
			return say.T(key+"key_allowed", "name", web.Visible(detail(row, "administrator")))
		case detail(row, "activation_key_refused") != "":
			return say.T(key+"key_refused", "name", web.Visible(detail(row, "administrator")))
		}
		for _, d := range row.Details {
			if d.After == true {
				return say.T(key + "private")
			}
		}
		return say.T(key + "open")
	case access.Activate:
		return say.T(key + "activate")
	case access.Login:
		return say.T(key + login(row))
	}
	return say.T("audit.action." + string(row.Action))
}

// login tells the records of an attempt to sign in apart.
func login(row audit.Row) string {
	switch {
	case row.Outcome != audit.Done:
		return "tried"
	case detail(row, "awaits") != "":
		return "awaits"
	case detail(row, "portal") == "client":
		return "client"
	case row.Session != "" && detail(row, "factor") == "":
		return "again"
	}
	return "login"
}

// taken says what a download was, and of which files.
func taken(say *locale.Printer, t vault.Taken) (what string, files []string) {
	for _, name := range t.Names {
		files = append(files, web.Visible(catalog.Join(t.Folder, name)))
	}
	if !t.Archive {
		return say.T("portal.activity.what.file"), files
	}
	if more := t.Count - len(t.Names); more > 0 {
		files = append(files, say.N("portal.activity.more", int64(more)))
	}
	return say.T("portal.activity.what.zip"), files
}

// detail is the text that a record notes under a name, "" for none.
func detail(row audit.Row, name string) string {
	for _, d := range row.Details {
		if text, ok := d.After.(string); ok && d.Name == name {
			return strings.TrimSpace(text)
		}
	}
	return ""
}
