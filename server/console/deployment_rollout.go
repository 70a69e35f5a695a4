package console

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/web"
)

const rolloutDays = 90

func (c *console) rollout(w http.ResponseWriter, r *http.Request, v *visit) {
	page := rolloutPage{deployFrame: c.deployFrame(w, r, v, "deploy.page.rollout"), Token: r.FormValue("token"), By: r.FormValue("by")}
	var list []deploy.Enrolment
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if page.Tokens, err = tokenOptions(r.Context(), tx, v, page.Printer()); err != nil {
			return err
		}
		list, err = deploy.Rollout(r.Context(), tx, v.caller, v.org(), page.Token, tx.Now().AddDate(0, 0, -rolloutDays))
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.fill(list)
	c.site.Render(w, r, http.StatusOK, "deploy-rollout", page)
}

// laggards sends those that are not protected yet as a file: all, or of one
// group of the page.
func (c *console) laggards(w http.ResponseWriter, r *http.Request, v *visit) {
	var list []deploy.Enrolment
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		return audit.Check(r.Context(), tx, v.caller, access.Deploy, v.org(), "", "deploy-rollout", audit.Note("export", "csv"))
	})
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			list, err = deploy.Rollout(r.Context(), tx, v.caller, v.org(), r.FormValue("token"), tx.Now().AddDate(0, 0, -rolloutDays))
			return err
		})
	}
	if group := r.FormValue("group"); group != "" {
		list = slices.DeleteFunc(list, func(e deploy.Enrolment) bool { return groupOf(e, r.FormValue("by")) != group })
	}
	var b strings.Builder
	if err == nil {
		err = deploy.Laggards(&b, list)
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	sendCSV(w, "laggards.csv", []byte(b.String()))
}

// groupOf is the group in which a computer is counted.
func groupOf(e deploy.Enrolment, by string) string {
	name := e.TokenName
	switch by {
	case "os":
		name = web.System(e.OS, "", "")
	case "version":
		name = e.Version
	}
	return cmp.Or(name, "–")
}

// fill counts how far computers are, all of them and in groups.
func (page *rolloutPage) fill(list []deploy.Enrolment) {
	p := page.Printer()
	groups := map[string]*funnel{}
	page.Stages, page.Laggards = stagesOf(p, list)
	export := func(group string) string {
		return deployment + "/rollout/laggards?" + url.Values{"token": {page.Token}, "by": {page.By}, "group": {group}}.Encode()
	}
	for _, e := range list {
		name := groupOf(e, page.By)
		g := groups[name]
		if g == nil {
			g = newFunnel(name, export(name))
			groups[name] = g
		}
		g.add(e)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		page.Groups = append(page.Groups, *groups[name])
	}
	for _, by := range []string{"token", "os", "version"} {
		q := url.Values{"by": {by}}
		if page.Token != "" {
			q.Set("token", page.Token)
		}
		page.Bys = append(page.Bys, choice{Text: p.T("deploy.rollout.by." + by), Href: deployment + "/rollout?" + q.Encode(), Active: page.By == by || page.By == "" && by == "token"})
	}
	page.Export = export("")
}

// stagesOf counts how far computers are, and those that are not protected yet.
func stagesOf(p *locale.Printer, list []deploy.Enrolment) (stages []stageItem, laggards int64) {
	all := newFunnel("", "")
	for _, e := range list {
		all.add(e)
	}
	for n, s := range deploy.Stages() {
		x := stageItem{Text: p.T("deploy.stage." + string(s)), Count: all.Counts[n]}
		if all.Counts[0] > 0 {
			x.Bar = spread([]bar{{Class: "good", Width: x.Count}, {Class: "rest", Width: all.Counts[0] - x.Count}})
		}
		stages = append(stages, x)
	}
	return stages, all.Laggards
}

func newFunnel(name, export string) *funnel {
	return &funnel{Name: name, Export: export, Counts: make([]int64, len(deploy.Stages()))}
}

// add counts a computer at its stage and at those before.
func (f *funnel) add(e deploy.Enrolment) {
	for n := 0; n <= slices.Index(deploy.Stages(), e.Stage); n++ {
		f.Counts[n]++
	}
	if e.Stage != deploy.StageProtected {
		f.Laggards++
	}
}
