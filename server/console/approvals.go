package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/approvals"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
)

const atApprovals = "/admin/approvals"

func (c *console) approvalRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET "+atApprovals, c.admin(c.approvals))
	mux.HandleFunc("GET "+atApprovals+"/{approval}", c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
		c.showApproval(w, r, v, http.StatusOK, nil)
	}))
	mux.HandleFunc("POST "+atApprovals+"/{approval}/approve", c.admin(c.approve))
	mux.HandleFunc("POST "+atApprovals+"/{approval}/refuse", c.admin(c.decision("refuse", c.Desk.Refuse)))
	mux.HandleFunc("POST "+atApprovals+"/{approval}/withdraw", c.admin(c.decision("withdraw", c.Desk.Withdraw)))
	mux.HandleFunc("GET /admin/settings/approvals", c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
		c.showTwoRules(w, r, v, http.StatusOK, nil)
	}))
	mux.HandleFunc("POST /admin/settings/approvals", c.admin(c.saveTwoRules))
}

func (c *console) approvals(w http.ResponseWriter, r *http.Request, v *visit) {
	page := askedPage{Frame: c.frame(w, r, v, "approvals.title")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := c.Desk.List(r.Context(), tx, v.caller, v.org(), false)
		page.Open, page.Over = nil, nil
		for _, a := range list {
			if item := askedOf(page.Frame, v, a); item.State.Open() {
				page.Open = append(page.Open, item)
			} else {
				page.Over = append(page.Over, item)
			}
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "approvals", page)
}

func askedOf(f web.Frame, v *visit, a approvals.Approval) askedItem {
	item := askedItem{Approval: a, Href: atApprovals + "/" + a.ID, Words: a.Words(f.Printer()), Shown: f.State("approval.state.", string(a.State)),
		Mine: a.AskedBy == v.user.ID, About: about(a)}
	if a.Failure != nil {
		item.Why = f.Printer().Error(a.Failure)
	}
	return item
}

// about is the page of what an act would do something to.
func about(a approvals.Approval) string {
	var what struct {
		ID string `json:"id"`
	}
	pages := map[string]string{devices.PurgeUser: "/admin/users/", devices.PurgeDevice: "/admin/devices/", resets.Act: atResets + "/"}
	if a.Read(&what) != nil || what.ID == "" || pages[a.Kind] == "" {
		return ""
	}
	return pages[a.Kind] + url.PathEscape(what.ID)
}

func (c *console) showApproval(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := approvalPage{Frame: c.frame(w, r, v, "approvals.title")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		a, err := c.Desk.View(r.Context(), tx, v.caller, r.PathValue("approval"))
		if err != nil {
			return err
		}
		page.Asked = askedOf(page.Frame, v, a)
		page.Locked = c.checkFresh(r.Context(), tx, v) != nil
		return nil
	})
	if err == nil && failure != nil && !page.Form.Add(page.Printer(), failure) {
		err = failure
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "approval", page)
}

// undecided answers to a decision that was refused: on the page, unless it is
// one about who is asking.
func (c *console) undecided(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	if expected := errs.Find(err); expected == nil || expected.Key == "login.stepup" || expected.Kind != errs.Forbidden && expected.Kind != errs.Conflict {
		c.fail(w, r, v.caller, err)
		return
	}
	c.door.Denied(r, v.caller, "", "", err)
	c.showApproval(w, r, v, web.Status(w, err), err)
}

// approve approves an act, and does it when nothing is to be waited for.
func (c *console) approve(w http.ResponseWriter, r *http.Request, v *visit) {
	var a approvals.Approval
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		a, err = c.Desk.Approve(r.Context(), tx, v.caller, r.PathValue("approval"))
		return err
	})
	if err != nil {
		c.undecided(w, r, v, err)
		return
	}
	if a, err = c.Desk.CarryOut(r.Context(), c.DB, a.ID); err != nil {
		// It is approved, and will be tried again.
		c.Log.ErrorContext(r.Context(), "carrying out what was approved", "error", err, "request", v.caller.RequestID)
	}
	note := web.Flash{Key: "approvals.approve.done"}
	switch a.State {
	case approvals.Done:
		note.Key = "approvals.approve.carried"
	case approvals.Failed:
		note.Key = "approvals.approve.failed"
	}
	c.site.Done(w, r, atApprovals+"/"+a.ID, note)
}

// decision is a page that ends an act.
func (c *console) decision(name string, decide func(context.Context, *db.Tx, access.Caller, string) (approvals.Approval, error)) page {
	return func(w http.ResponseWriter, r *http.Request, v *visit) {
		id := r.PathValue("approval")
		err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
			_, err := decide(r.Context(), tx, v.caller, id)
			return err
		})
		if err != nil {
			c.undecided(w, r, v, err)
			return
		}
		c.site.Done(w, r, atApprovals+"/"+id, web.Flash{Key: "approvals." + name + ".done"})
	}
}

// waits is how many acts wait for this visitor to decide.
func (c *console) waits(ctx context.Context, tx *db.Tx, v *visit) (n int64, err error) {
	list, err := c.Desk.List(ctx, tx, v.caller, v.org(), true)
	for _, a := range list {
		if a.State == approvals.Waiting && a.AskedBy != v.user.ID {
			n++
		}
	}
	return n, err
}

func (c *console) showTwoRules(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := twoRulesPage{settingsFrame: c.settingsFrame(w, r, v, "settings.approvals")}
	err := audit.See(v.caller, access.ManageSettings, "", "", "settings")
	if err == nil && failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"user.reason.": "reason", "settings.delay_minutes": "delay"}) {
		err = failure
	}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) error {
			page.Locked = c.checkFresh(r.Context(), tx, v) != nil
			set, err := settings.Load(r.Context(), tx)
			page.Set = set.Approvals
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if failure != nil {
		page.Set, page.Reason = c.twoRules(r), r.PostFormValue("reason")
	}
	for _, kind := range c.Desk.Kinds() {
		page.Kinds = append(page.Kinds, kindItem{Name: kind, Text: page.Printer().T("approval.kind." + kind), Two: !slices.Contains(page.Set.Alone, kind)})
	}
	c.site.Render(w, r, status, "settings-approvals", page)
}

// twoRules reads the form: what is not ticked is left to one.
func (c *console) twoRules(r *http.Request) settings.Approvals {
	rules := settings.Approvals{DelayMinutes: number(r, "delay")}
	for _, kind := range c.Desk.Kinds() {
		if !checked(r, "two_"+kind) {
			rules.Alone = append(rules.Alone, kind)
		}
	}
	return rules
}

func (c *console) saveTwoRules(w http.ResponseWriter, r *http.Request, v *visit) {
	to, note := r.URL.Path, web.Flash{Key: "form.saved"}
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		a, asked, err := c.Desk.SetRules(r.Context(), tx, v.caller, c.twoRules(r), r.PostFormValue("reason"))
		if asked {
			to, note = atApprovals+"/"+a.ID, web.Flash{Key: "approvals.asked"}
		}
		return err
	})
	if err != nil {
		c.showTwoRules(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, to, note)
}

// purgeAct ends a deleted user at once, when a second administrator agrees.
func (c *console) purgeAct() act {
	return act{name: "purge", reason: true, fresh: true, means: purgeMeans, do: func(ctx context.Context, tx *db.Tx, by access.Caller, id accounts.ID, reason string) error {
		_, err := devices.AskPurgeUser(ctx, tx, by, c.Desk, id, reason)
		return err
	}}
}

// purgeDeviceAct is that of a device.
func (c *console) purgeDeviceAct() deviceAct {
	return deviceAct{name: "purge", reason: true, fresh: true, means: purgeDeviceMeans, do: func(ctx context.Context, tx *db.Tx, by access.Caller, id devices.ID, reason string) error {
		_, err := devices.AskPurgeDevice(ctx, tx, by, c.Desk, id, reason)
		return err
	}}
}

// Ends is when an open act is over by itself.
func (i askedItem) Ends() time.Time {
	if i.State == approvals.Approved {
		return i.NotBefore
	}
	return i.ExpiresAt
}
