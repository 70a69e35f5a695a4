package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/resets"
	"github.com/backstay/backstay/web"
)

func (c *console) writeRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/devices/write", c.admin(c.writePage))
	mux.HandleFunc("POST /admin/devices/write", c.admin(c.previewMail))
	mux.HandleFunc("POST /admin/devices/write/send", c.admin(c.sendMails))
	mux.HandleFunc("GET /admin/devices/write/sent", c.admin(c.sentMails))
}

func (c *console) writePage(w http.ResponseWriter, r *http.Request, v *visit) {
	if !c.fresh(w, r, v) { // it brings a link to many
		return
	}
	page := writePage{Affected: true, Since: c.DB.Now().Format(day), Link: c.portal(r) + "/", Contact: v.user.Email, Reset: r.FormValue("reset")}
	if r.URL.Query().Has("window") { // back from the preview
		page, _, _ = readWrite(r)
	} else if page.Reset != "" {
		if err := c.fillWrite(w, r, v, &page); err != nil {
			c.fail(w, r, v.caller, err)
			return
		}
	}
	c.showWrite(w, r, v, http.StatusOK, page, nil)
}

// fillWrite puts into the form what a reset knows: when it was.
func (c *console) fillWrite(w http.ResponseWriter, r *http.Request, v *visit, page *writePage) error {
	f := c.site.Frame(w, r)
	return c.DB.Read(r.Context(), func(tx *db.Tx) error {
		x, err := resets.View(r.Context(), tx, v.caller, page.Reset)
		if at := x.StartedAt.In(f.Zone()); !x.StartedAt.IsZero() {
			page.Window, page.Since = f.Printer().Exact(at), at.Format(day)
		}
		return err
	})
}

func (c *console) showWrite(w http.ResponseWriter, r *http.Request, v *visit, status int, page writePage, failure error) {
	page.Frame = c.frame(w, r, v, "write.title")
	page.Back = "/admin/devices"
	if page.Reset != "" {
		page.Back = atResets + "/" + url.PathEscape(page.Reset)
	}
	err := audit.See(v.caller, access.ManageUsers, v.org(), "", "users")
	if err == nil && failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"write.window": "window", "write.since": "since", "write.link": "link", "write.contact": "contact", "write.note.": "note"}) {
		err = failure
	}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) error {
			list, err := profiles.List(r.Context(), tx, v.caller, v.org())
			page.Profiles = nil
			for _, p := range list {
				page.Profiles = append(page.Profiles, itemOf(p))
			}
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "write", page)
}

// readWrite reads the form, and refuses what makes no mail.
func readWrite(r *http.Request) (page writePage, l resets.Letter, err error) {
	text := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	page = writePage{Reset: r.FormValue("reset"), Affected: r.FormValue("affected") == "on", Profile: r.FormValue("profile"),
		Window: text("window"), Since: text("since"), Link: text("link"), Contact: text("contact"), Note: text("note")}
	l = resets.Letter{Window: page.Window, Link: page.Link, Contact: page.Contact, Note: page.Note}
	l.Since, _ = time.Parse(day, page.Since) // zero is refused
	return page, l, l.Check()
}

// recipients calls each with the active users who are written to, part by
// part, and returns how many have no address.
func (c *console) recipients(ctx context.Context, v *visit, page writePage, each func([]accounts.User) error) (without int64, err error) {
	filter := accounts.Filter{Org: v.org(), Kind: access.UserKind, State: accounts.Active, Limit: 500}
	var affected map[accounts.ID]bool
	err = c.DB.Read(ctx, func(tx *db.Tx) error {
		if page.Profile != "" {
			p, err := profiles.View(ctx, tx, v.caller, profiles.ID(page.Profile))
			if err != nil {
				return err
			}
			filter.Profile, filter.Default = p.ID, p.Default
		}
		affected, err = deactivated(ctx, tx, v)
		return err
	})
	for err == nil {
		var list []accounts.User
		err = c.DB.Read(ctx, func(tx *db.Tx) (err error) {
			list, filter.After, err = accounts.List(ctx, tx, v.caller, filter)
			return err
		})
		if err != nil {
			break
		}
		list = slices.DeleteFunc(list, func(u accounts.User) bool { return page.Affected && !affected[u.ID] })
		some := len(list)
		list = slices.DeleteFunc(list, func(u accounts.User) bool { return u.Email == "" })
		without += int64(some - len(list))
		if err = each(list); err != nil || filter.After == "" {
			break
		}
	}
	return without, err
}

// deactivated are the users with a device that no longer backs up.
func deactivated(ctx context.Context, tx *db.Tx, v *visit) (map[accounts.ID]bool, error) {
	users := map[accounts.ID]bool{}
	filter := devices.Filter{Org: v.org(), State: devices.Deactivated, Limit: 500}
	for {
		list, after, err := devices.List(ctx, tx, v.caller, filter)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			users[d.User] = true
		}
		if after == "" {
			return users, nil
		}
		filter.After = after
	}
}

// previewMail shows what would be sent, and to how many.
func (c *console) previewMail(w http.ResponseWriter, r *http.Request, v *visit) {
	page, l, err := readWrite(r)
	if err == nil {
		err = audit.See(v.caller, access.ManageUsers, v.org(), "", "users")
	}
	if err == nil && page.Reset != "" {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) error {
			users, without, err := resets.Affected(r.Context(), tx, v.caller, page.Reset)
			page.Count, page.Without = int64(users), int64(without)
			return err
		})
	} else if err == nil {
		page.Without, err = c.recipients(r.Context(), v, page, func(list []accounts.User) error {
			page.Count += int64(len(list))
			return nil
		})
	}
	for _, lang := range locale.Langs() {
		if err != nil {
			break
		}
		m := l.Mail(accounts.User{Username: "marie.curie", Language: string(lang)}, false)
		x := preview{Language: lang.Name(), Code: string(lang)}
		x.Subject, x.Text, err = mail.Preview(m, c.Gate.Factors.Name, c.portal(r))
		page.Previews = append(page.Previews, x)
	}
	if err != nil {
		page.Previews = nil
		c.showWrite(w, r, v, web.Status(w, err), page, err)
		return
	}
	page.Frame, page.ID = c.frame(w, r, v, "write.title"), accounts.NewOnce()
	c.site.Render(w, r, http.StatusOK, "write-preview", page)
}

// sendMails queues the mails, spaced, and leads to the page that shows how far
// they are. Whoever sends a preview twice, as a double click does, sees that page
// and writes to nobody again.
func (c *console) sendMails(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page, l, err := readWrite(r)
	if err == nil {
		err = audit.See(v.caller, access.ManageUsers, v.org(), "", "users")
	}
	if err != nil {
		c.showWrite(w, r, v, web.Status(w, err), page, err)
		return
	}
	if !c.fresh(w, r, v) {
		return
	}
	if page.Reset != "" {
		c.tellReset(w, r, v, page.Reset, l)
		return
	}
	var began time.Time
	var first bool
	err = c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		began, first, err = accounts.Once(ctx, tx, v.caller, r.PostFormValue("id"))
		return err
	})
	if err == nil && first {
		err = c.queueMails(ctx, v, page, l)
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Redirect(w, r, "/admin/devices/write/sent?at="+strconv.FormatInt(began.UnixMicro(), 10))
}

// tellReset has the mails of a reset sent, and shows its page, which says how
// far they are. Nobody gets two, however often it is sent.
func (c *console) tellReset(w http.ResponseWriter, r *http.Request, v *visit, id string, l resets.Letter) {
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error { return resets.Tell(r.Context(), tx, v.caller, id, l) })
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, atResets+"/"+url.PathEscape(id), web.Flash{Key: "resets.tell.done"})
}

// queueMails writes to all who are meant, part by part.
func (c *console) queueMails(ctx context.Context, v *visit, page writePage, l resets.Letter) error {
	_, err := c.recipients(ctx, v, page, func(list []accounts.User) error {
		var mails []mail.Mail
		for _, u := range list {
			mails = append(mails, l.Mail(u, false))
		}
		if len(mails) == 0 {
			return nil
		}
		return c.DB.Write(ctx, func(tx *db.Tx) error {
			details := []audit.Detail{audit.Note("mail", mail.SecurityReset), audit.Note("recipients", len(mails)), audit.Note("profile", page.Profile)}
			if err := audit.Check(ctx, tx, v.caller, access.ManageUsers, v.org(), "", "users", details...); err != nil {
				return err
			}
			return mail.QueueAll(ctx, tx, c.Keys, mails)
		})
	})
	return err
}

// sentMails shows how far the mails are that were queued last.
func (c *console) sentMails(w http.ResponseWriter, r *http.Request, v *visit) {
	page := sentPage{Frame: c.frame(w, r, v, "write.title")}
	at, _ := strconv.ParseInt(r.FormValue("at"), 10, 64)
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		counts, err := mail.Progress(r.Context(), tx, v.caller, v.org(), mail.SecurityReset, time.UnixMicro(at))
		page.Sent, page.Waiting = int64(counts[mail.Sent]), int64(counts[mail.Waiting]+counts[mail.Sending])
		page.Failed = int64(counts[mail.Failed] + counts[mail.Dropped])
		page.Total = page.Sent + page.Waiting + page.Failed
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.Bar = nil
	if page.Total > 0 {
		page.Bar = spread([]bar{{Class: "good", Width: page.Sent}, {Class: "bad", Width: page.Failed}, {Class: "rest", Width: page.Waiting}})
	}
	c.site.Render(w, r, http.StatusOK, "write-sent", page)
}
