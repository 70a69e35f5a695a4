package console

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/web"
)

const atResets = "/admin/resets"

func (c *console) resetRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET "+atResets, c.admin(c.resets))
	mux.HandleFunc("GET "+atResets+"/new", c.admin(c.newReset))
	mux.HandleFunc("POST "+atResets+"/new", c.admin(c.previewReset))
	mux.HandleFunc("POST "+atResets+"/new/ask", c.admin(c.askReset))
	mux.HandleFunc("GET "+atResets+"/{reset}", c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
		c.showReset(w, r, v, http.StatusOK, nil)
	}))
	mux.HandleFunc("GET "+atResets+"/{reset}/laggards", c.admin(c.resetLaggards))
	for name, do := range map[string]func(context.Context, *db.Tx, access.Caller, string) error{
		"pause": resets.Pause, "continue": resets.Continue, "cancel": resets.Cancel, "remind": resets.Remind,
	} {
		mux.HandleFunc("POST "+atResets+"/{reset}/"+name, c.admin(c.changeReset(name, do)))
	}
}

func (c *console) resets(w http.ResponseWriter, r *http.Request, v *visit) {
	page := resetsPage{Frame: c.frame(w, r, v, "resets.title"), CanManage: v.may(access.ManageDevices)}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := resets.List(r.Context(), tx, v.caller, v.org())
		page.Resets = nil
		for _, x := range list {
			_, p, err := resets.Follow(r.Context(), tx, v.caller, x.ID)
			if err != nil {
				return err
			}
			page.Resets = append(page.Resets, resetOf(page.Frame, x, p))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "resets", page)
}

func resetOf(f web.Frame, x resets.Reset, p resets.Progress) resetItem {
	item := resetItem{Reset: x, Progress: p, Href: atResets + "/" + x.ID, Shown: f.State("reset.state.", string(x.State))}
	if p.Devices > 0 {
		item.Bar = spread([]bar{{Class: "good", Width: int64(p.Back)}, {Class: "warn", Width: int64(p.Missing)}, {Class: "rest", Width: int64(p.Left + p.Gone)}})
	}
	return item
}

func (c *console) newReset(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.ManageDevices, v.org(), "", "resets"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if !c.fresh(w, r, v) {
		return
	}
	page := newResetPage{Frame: c.frame(w, r, v, "resets.new")}
	if page.Name = page.Printer().T("resets.name.default", "date", page.Now()); r.URL.Query().Has("name") { // back from the preview
		page, _ = readReset(r, page.Frame)
	}
	c.showNewReset(w, r, v, http.StatusOK, page, nil)
}

// resetFields are the fields that the keys of what is wrong with a reset name.
var resetFields = map[string]string{"reset.name.": "name", "reset.batch": "batch", "reset.users.": "users", "reset.date.activated": "activated_before",
	"reset.date.seen": "seen_since", "user.reason.": "reason"}

func (c *console) showNewReset(w http.ResponseWriter, r *http.Request, v *visit, status int, page newResetPage, failure error) {
	page.Frame = c.frame(w, r, v, "resets.new")
	err := audit.See(v.caller, access.ManageDevices, v.org(), "", "resets")
	if err == nil && failure != nil && !refused(&page.Form, page.Printer(), failure, resetFields) {
		err = failure
	}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			page.Tokens = nil
			if v.may(access.Deploy) {
				if page.Tokens, err = tokenOptions(r.Context(), tx, v, page.Printer()); err != nil {
					return err
				}
			}
			page.Profiles, err = profileOptions(r.Context(), tx, v, page.Printer().T("resets.profiles"))
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Systems = systemOptions(page.Printer())
	c.site.Render(w, r, status, "reset-new", page)
}

// readReset reads the form, and refuses what is no date.
func readReset(r *http.Request, f web.Frame) (page newResetPage, err error) {
	text := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	page = newResetPage{Frame: f, Name: text("name"), Reason: text("reason"), Users: text("users"), Profile: text("profile"), OS: text("os"), Token: text("token"),
		ActivatedBefore: text("activated_before"), SeenSince: text("seen_since"), Batch: text("batch"), Distrust: r.FormValue("distrust") == "on"}
	n := &page.New
	n.Name, n.Reason, n.Distrust = page.Name, page.Reason, page.Distrust
	n.Filter = resets.Filter{Profile: profiles.ID(page.Profile), OS: page.OS, Token: page.Token, Users: lines(page.Users)}
	if page.Batch != "" {
		n.Batch = int64(number(r, "batch"))
	}
	if n.Filter.ActivatedBefore, err = dateOf(page.ActivatedBefore, f, "reset.date.activated"); err != nil {
		return page, err
	}
	n.Filter.SeenSince, err = dateOf(page.SeenSince, f, "reset.date.seen")
	return page, err
}

// dateOf is the day that a field of a form holds, zero when it is empty.
func dateOf(text string, f web.Frame, key string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.ParseInLocation(day, text, f.Zone())
	if err != nil {
		return time.Time{}, errs.New(errs.Invalid, key)
	}
	return at, nil
}

// previewReset shows which devices would be reset. Nothing is kept of it: the
// form comes back with what is asked for.
func (c *console) previewReset(w http.ResponseWriter, r *http.Request, v *visit) {
	c.reviewReset(w, r, v, http.StatusOK, nil)
}

func (c *console) reviewReset(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page, err := readReset(r, c.frame(w, r, v, "resets.new"))
	if err == nil {
		err = audit.See(v.caller, access.ManageDevices, v.org(), "", "resets")
	}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			if page.Choice, err = resets.Preview(r.Context(), tx, v.caller, v.org(), page.New.Filter); err != nil {
				return err
			}
			page.Devices, err = deviceRows(r.Context(), tx, page.Frame, page.Choice.First)
			return err
		})
	}
	if err == nil && page.Choice.Devices == 0 {
		err = errs.New(errs.Invalid, "reset.none")
	}
	if err != nil {
		c.showNewReset(w, r, v, web.Status(w, err), page, err)
		return
	}
	if failure != nil {
		page.Form.Add(page.Printer(), failure)
	}
	page.Parts = nil
	for os, n := range page.Choice.Systems {
		page.Parts = append(page.Parts, count{Icon: "device-laptop", Text: web.System(os, "", ""), Value: page.Printer().Number(int64(n))})
	}
	slices.SortFunc(page.Parts, func(a, b count) int { return strings.Compare(a.Text, b.Text) })
	page.Title = page.Printer().N("resets.preview", int64(page.Choice.Devices), "users", page.Choice.Users)
	c.site.Render(w, r, status, "reset-preview", page)
}

func (c *console) askReset(w http.ResponseWriter, r *http.Request, v *visit) {
	page, err := readReset(r, c.site.Frame(w, r))
	var asked resets.Reset
	if err == nil {
		page.New.Org, page.New.Expect = v.org(), number(r, "expect")
		err = c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
			if err := c.checkFresh(r.Context(), tx, v); err != nil {
				return err
			}
			asked, err = resets.Ask(r.Context(), tx, v.caller, c.Desk, page.New)
			return err
		})
	}
	switch {
	case err == nil:
		c.site.Done(w, r, atResets+"/"+asked.ID, web.Flash{Key: "approvals.asked"})
	case errs.KindOf(err) == errs.Conflict:
		c.reviewReset(w, r, v, web.Status(w, err), err)
	default:
		c.showNewReset(w, r, v, web.Status(w, err), page, err)
	}
}

func (c *console) showReset(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := resetPage{Frame: c.frame(w, r, v, "resets.title"), CanManage: v.may(access.ManageDevices)}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		x, p, err := resets.Follow(r.Context(), tx, v.caller, r.PathValue("reset"))
		if err != nil {
			return err
		}
		page.Reset = resetOf(page.Frame, x, p)
		page.Missing, err = resets.Missing(r.Context(), tx, v.caller, x.ID, importShown)
		return err
	})
	if err == nil && failure != nil && !page.Form.Add(page.Printer(), failure) {
		err = failure
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Title = web.Visible(page.Reset.Name)
	page.Moving = page.Reset.State == resets.Running || page.Reset.Progress.Untold > 0
	page.act()
	c.site.Render(w, r, status, "reset", page)
}

// act puts together what can be done with a reset in its state.
func (page *resetPage) act() {
	page.First, page.More = nil, nil
	if !page.CanManage {
		return
	}
	p, x := page.Printer(), page.Reset
	post := func(name, icon, class string) button {
		return button{Text: p.T("resets." + name), Icon: icon, Href: x.Href + "/" + name, Class: class, Post: true}
	}
	switch x.State {
	case resets.Running:
		page.First = append(page.First, post("pause", "hourglass", ""))
	case resets.Paused:
		page.First = append(page.First, post("continue", "arrow-right", "btn-primary"))
	}
	if x.State == resets.Running || x.State == resets.Paused {
		page.More = append(page.More, post("cancel", "ban", "text-danger"))
	}
	if x.StartedAt.IsZero() || x.Progress.Missing+x.Progress.Left == 0 {
		return
	}
	if x.Letter == nil {
		page.First = append(page.First, button{Text: p.T("write.title"), Icon: "mail-forward", Class: "btn-primary", Href: "/admin/devices/write?reset=" + url.QueryEscape(x.ID)})
	} else {
		page.First = append(page.First, post("remind", "mail-forward", ""))
	}
}

func (c *console) changeReset(name string, do func(context.Context, *db.Tx, access.Caller, string) error) page {
	return func(w http.ResponseWriter, r *http.Request, v *visit) {
		id := r.PathValue("reset")
		err := c.DB.Write(r.Context(), func(tx *db.Tx) error { return do(r.Context(), tx, v.caller, id) })
		if errs.KindOf(err) == errs.Conflict {
			c.showReset(w, r, v, web.Status(w, err), err)
			return
		}
		if err != nil {
			c.fail(w, r, v.caller, err)
			return
		}
		c.site.Done(w, r, atResets+"/"+id, web.Flash{Key: "resets." + name + ".done"})
	}
}

// resetLaggards sends those that are not back as a file.
func (c *console) resetLaggards(w http.ResponseWriter, r *http.Request, v *visit) {
	var b bytes.Buffer
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		b.Reset()
		return resets.Laggards(r.Context(), tx, v.caller, r.PathValue("reset"), &b)
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	sendCSV(w, "laggards.csv", b.Bytes())
}
