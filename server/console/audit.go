package console

import (
	"net/http"
	"strconv"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/web"
)

const auditPart = 100

func (c *console) audit(w http.ResponseWriter, r *http.Request, v *visit) {
	page := auditPage{Frame: c.frame(w, r, v, "console.audit"), Denied: r.FormValue("outcome") == "denied"}
	filter := audit.Filter{Org: v.org(), Limit: auditPart}
	if v.caller.Role == access.ServerAdmin {
		filter.Org = "" // also what has none, such as a log-in on no account
	}
	if page.Denied {
		filter.Outcome = audit.Refuse
	}
	filter.Before, _ = strconv.ParseInt(web.After(r), 10, 64)
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := audit.List(r.Context(), tx, v.caller, filter)
		if err != nil {
			return err
		}
		after := ""
		if len(list) == auditPart {
			after = strconv.FormatInt(list[len(list)-1].Seq, 10)
		}
		page.Pages = web.PagesOf(r, len(list), 0, after)
		page.Rows = nil
		for _, row := range list {
			page.Rows = append(page.Rows, auditRowOf(page.Frame, row))
		}
		return nil
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "audit", page)
}

func auditRowOf(f web.Frame, row audit.Row) auditRow {
	p := f.Printer()
	x := auditRow{At: row.At, Who: row.ActorName, Code: row.Code, IP: row.IP, Request: row.RequestID,
		What: p.T("audit.action." + string(row.Action)), Outcome: f.State("audit.outcome.", string(row.Outcome))}
	if x.Who == "" {
		x.Who = p.T("audit.nobody")
	}
	if row.ObjectKind != "" {
		x.Object = p.T("audit.object." + row.ObjectKind)
		x.ID = row.ObjectID
	}
	return x
}
