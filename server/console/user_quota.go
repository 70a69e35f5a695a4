package console

import (
	"net/http"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

// quotaOf is a quota for a page.
func quotaOf(p *locale.Printer, q devices.Quota) quota {
	if q.Limit == 0 {
		return quota{Text: p.Bytes(q.Used)}
	}
	x := quota{Text: p.T("quota.used", "used", p.Bytes(q.Used), "limit", p.Bytes(q.Limit)), Full: q.Used >= q.Limit}
	class := "good"
	switch percent := q.Percent(); {
	case percent >= 95:
		class = "bad"
	case percent >= 80:
		class = "warn"
	}
	x.Bar = spread([]bar{{Class: class, Width: min(q.Used, q.Limit)}, {Class: "rest", Width: max(q.Limit-q.Used, 0)}})
	return x
}

func (c *console) askQuota(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showQuota(w, r, v, http.StatusOK, nil)
}

// showQuota shows how much a user may have backed up: as it is, or as somebody
// wants it and what is wrong about it.
func (c *console) showQuota(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := quotaPage{Frame: c.frame(w, r, v, "users.quota")}
	p := page.Printer()
	if failure != nil && !refused(&page.Form, p, failure, map[string]string{"profile.quota.": "quota"}) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		e, err := profiles.Of(r.Context(), tx, u)
		if err != nil {
			return err
		}
		q, err := devices.QuotaOf(r.Context(), tx, u)
		page.Title, page.Home, page.Username = p.T("users.quota.title", "name", web.Visible(u.Username)), home(u), u.Username
		page.Now, page.Own, page.Size = quotaOf(p, q), q.Own, sizeOf(q.Limit)
		if page.Profile = p.Bytes(e.Settings.QuotaBytes); e.Settings.QuotaBytes == 0 {
			page.Profile = p.T("users.quota.none")
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if failure != nil {
		page.Own, page.Size = true, sizeIn(r.PostForm, "quota")
	}
	c.site.Render(w, r, status, "user-quota", page)
}

// changeQuota gives a user a quota of their own, or the profile's again. Devices
// whose files wait are asked to go on.
func (c *console) changeQuota(w http.ResponseWriter, r *http.Request, v *visit) {
	c.tryUser(w, r, v, "users.quota.done", func(tx *db.Tx, u accounts.User) error {
		var own *int64
		if r.PostFormValue("own") != "" {
			bytes := sizeIn(r.PostForm, "quota").bytes()
			own = &bytes
		}
		if err := accounts.SetQuota(r.Context(), tx, v.caller, u.ID, own); err != nil {
			return err
		}
		return devices.RoomMade(r.Context(), tx, v.caller, u.Org, u.ID)
	}, func(status int, err error) { c.showQuota(w, r, v, status, err) })
}
