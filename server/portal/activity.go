package portal

import (
	"net/http"
	"strconv"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/web"
)

const activityPart = 50

// activity is who opened the user's backups, and when.
func (p *portal) activity(w http.ResponseWriter, r *http.Request, v *visit) {
	page := activityPage{Frame: p.frame(w, r, v, "")}
	page.Title = page.Printer().T("portal.activity")
	before, _ := strconv.ParseInt(web.After(r), 10, 64)
	err := p.DB.Read(r.Context(), func(tx *db.Tx) error {
		rows, err := audit.OfOwnData(r.Context(), tx, v.caller, before, activityPart)
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
			page.Rows = append(page.Rows, openingOf(page.Frame, v, row, names))
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

func openingOf(f web.Frame, v *visit, row audit.Row, names map[string]string) opening {
	x := opening{At: row.At, Who: row.ActorName, IP: row.IP, Own: row.ActorID == string(v.user.ID),
		What: f.Printer().T("audit.action." + string(row.Action)), Outcome: f.State("audit.outcome.", string(row.Outcome))}
	if row.ActorKind == access.SystemKind || x.Who == "" {
		x.Who = f.Printer().T("portal.activity.server")
	}
	for _, d := range row.Details {
		if id, ok := d.After.(string); ok && d.Name == "device" {
			x.Device = names[id]
		}
	}
	return x
}
