package console

import (
	"net/http"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

// figures are what the overview counts.
type figures struct {
	org            orgs.Org
	users, devices int64
	first          string // a username, for the command that activates
	levels         map[devices.Level]int64
	bytes, files   int64
	attention      []attention // what needs somebody, besides devices
}

func (c *console) count(r *http.Request, tx *db.Tx, v *visit, f web.Frame) (x figures, err error) {
	ctx := r.Context()
	x.levels = map[devices.Level]int64{}
	if x.org, err = orgs.Find(ctx, tx, v.org()); err != nil {
		return x, err
	}
	filter := accounts.Filter{Org: v.org(), Kind: access.UserKind}
	users, err := accounts.Count(ctx, tx, v.caller, filter)
	if err != nil {
		return x, err
	}
	x.users = int64(users)
	filter.Limit = 1
	some, _, err := accounts.List(ctx, tx, v.caller, filter)
	if err != nil {
		return x, err
	}
	if len(some) > 0 {
		x.first = some[0].Username
	}
	var judge devices.Judge
	for after := ""; ; {
		var list []devices.Listed
		list, after, err = devices.List(ctx, tx, v.caller, devices.Filter{Org: v.org(), After: after, Limit: 500})
		if err != nil {
			return x, err
		}
		for _, d := range list {
			x.devices++
			x.bytes += d.StoredBytes
			x.files += d.StoredFiles
			protection, err := judge.Protection(ctx, tx, d.Device, f.Now())
			if err != nil {
				return x, err
			}
			x.levels[protection.Level]++
		}
		if after == "" {
			break
		}
	}
	return x, nil
}

func (c *console) overview(w http.ResponseWriter, r *http.Request, v *visit) {
	page := overviewPage{Frame: c.frame(w, r, v, "console.overview")}
	var x figures
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if x, err = c.count(r, tx, v, page.Frame); err != nil {
			return err
		}
		x.attention, err = c.attention(r, tx, v, page.Frame)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Org, page.Users, page.Devices = x.org.Name, x.users, x.devices
	if x.first == "" {
		x.first = "NAME"
	}
	page.Command = web.ActivateCommand(c.portal(r), c.Fingerprint, x.first)
	page.Attention = x.attention
	page.FirstSteps = x.users == 0 || x.devices == 0 || x.levels[devices.Never] == x.devices
	page.fill(x)
	c.site.Render(w, r, http.StatusOK, "overview", page)
}

// fill says the figures in words and draws the bar.
func (page *overviewPage) fill(x figures) {
	p := page.Printer()
	for _, l := range []struct {
		level           devices.Level
		sign, icon, key string
		attention       string
	}{
		{devices.Protected, "good", "shield-check", "console.protected", ""},
		{devices.AtRisk, "warn", "alert-triangle", "console.risk", "console.attention.late"},
		{devices.Never, "bad", "shield-x", "console.never", "console.attention.never"},
	} {
		n := x.levels[l.level]
		page.Legend = append(page.Legend, web.Sign{Sign: l.sign, Icon: l.icon, Text: p.N(l.key, n)})
		if n == 0 {
			continue
		}
		if l.attention != "" {
			page.Attention = append(page.Attention, attention{Href: "/admin/devices?show=" + string(l.level),
				What: web.Sign{Sign: l.sign, Icon: l.icon, Text: p.N(l.attention, n)}})
		}
		page.Bar = append(page.Bar, bar{Class: l.sign, Width: n})
	}
	page.Bar = spread(page.Bar)
	page.Counts = []count{
		{"users", p.T("console.users"), p.Number(x.users), "/admin/users"},
		{"device-laptop", p.T("console.devices"), p.Number(x.devices), "/admin/devices"},
		{"files", p.T("console.files"), p.Number(x.files), ""},
		{"database", p.T("console.protected_data"), p.Bytes(x.bytes), ""},
	}
}

// spread lays the parts of a bar side by side over its width of 1000.
func spread(parts []bar) []bar {
	var total, at int64
	for _, b := range parts {
		total += b.Width
	}
	var sum int64
	for i := range parts {
		sum += parts[i].Width
		end := sum * 1000 / total
		parts[i].X, parts[i].Width = at, end-at
		at = end
	}
	return parts
}

// soon is how far ahead the overview looks at what ends by itself.
const soon = 30 * 24 * time.Hour

// attention is what needs somebody about accounts and licences.
func (c *console) attention(r *http.Request, tx *db.Tx, v *visit, f web.Frame) ([]attention, error) {
	ctx, p := r.Context(), f.Printer()
	var list []attention
	standings, _, err := c.standings(ctx, tx, v)
	if err != nil {
		return nil, err
	}
	for _, s := range standings {
		if s.Bad && s.State != orgs.LicenceRevoked {
			list = append(list, attention{Href: "/admin/settings/licences/" + string(s.ID), What: web.Sign{Sign: "warn", Icon: "certificate",
				Text: p.T("console.attention.licence", "name", web.Visible(s.Name), "stands", p.T(s.Key, s.Args...))}})
		}
	}
	waiting, err := c.waits(ctx, tx, v)
	if err != nil {
		return nil, err
	}
	if waiting > 0 {
		list = append(list, attention{Href: atApprovals, What: web.Sign{Sign: "warn", Icon: "circle-check", Text: p.N("console.attention.approvals", waiting)}})
	}
	requests, err := accounts.Requests(ctx, tx, v.caller, v.org())
	if err != nil {
		return nil, err
	}
	for i, q := range requests {
		if i == maxRequests {
			break
		}
		list = append(list, attention{Href: "/admin/users/" + string(q.User), What: web.Sign{Sign: "warn", Icon: "user-x",
			Text: p.T("console.attention.request", "name", web.Visible(q.Username))}})
	}
	ending, err := profiles.Ending(ctx, tx, v.caller, v.org(), soon)
	if err != nil {
		return nil, err
	}
	if ending > 0 {
		list = append(list, attention{Href: "/admin/users?state=preserved", What: web.Sign{Sign: "warn", Icon: "hourglass", Text: p.N("console.attention.preserved", int64(ending))}})
	}
	return list, nil
}

// maxRequests is how many deletion requests the overview names.
const maxRequests = 20
