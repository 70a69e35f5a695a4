package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/web"
)

// act is a change to a user that stops something. A page of its own says what
// it means and asks for the username before it is done.
type act struct {
	name   string // in the address, and of the messages
	reason bool   // one has to be given
	fresh  bool   // whoever does it has just proved who they are
	means  func(p *locale.Printer, u accounts.User, x stakes) []string
	before func(p *locale.Printer, u accounts.User, x stakes) *notice // what is offered first; none when nil
	do     func(context.Context, *db.Tx, access.Caller, accounts.ID, string) error
}

// stakes are what an act is about, in numbers.
type stakes struct {
	devices, snapshots, bytes int64
	until                     time.Time // when a deletion becomes final
	kept                      int       // days after which the profile deletes a preserved user, 0 for never
	retired                   []string  // the devices that there cannot be again
}

var acts = []act{
	{name: "disable", means: disableMeans, do: accounts.Disable},
	{name: "preserve", means: preserveMeans, do: accounts.Preserve},
	{name: "delete", reason: true, fresh: true, means: deleteMeans, before: saveAllFirst, do: accounts.Delete},
}

func (c *console) actRoutes(mux *entry.Mux) {
	for _, at := range people {
		for _, a := range append(slices.Clone(acts), c.purgeAct()) {
			mux.HandleFunc("GET "+at+"/"+a.name, c.admin(c.managing(func(w http.ResponseWriter, r *http.Request, v *visit) {
				if a.fresh && !c.fresh(w, r, v) {
					return
				}
				c.showAct(w, r, v, http.StatusOK, a, confirmPage{}, nil)
			})))
			mux.HandleFunc("POST "+at+"/"+a.name, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
				c.doAct(w, r, v, a)
			}))
		}
		mux.HandleFunc("POST "+at+"/activate", c.admin(c.activateUser))
		mux.HandleFunc("POST "+at+"/undelete", c.admin(c.undeleteUser))
	}
	mux.HandleFunc("POST /admin/users/{user}/save", c.admin(c.askUserToSave))
}

func disableMeans(p *locale.Printer, u accounts.User, x stakes) []string {
	if u.Kind == access.AdminKind {
		return []string{p.T("users.disable.login", "name", u.Username), p.T("users.disable.undo")}
	}
	return some(p.T("users.disable.login", "name", u.Username), counted(p, "users.disable.devices", x.devices),
		p.T("users.disable.data"), seatMeans(p, u, "users.disable.seat"), p.T("users.disable.undo"))
}

func preserveMeans(p *locale.Printer, u accounts.User, x stakes) []string {
	end := p.T("users.preserve.kept")
	if x.kept > 0 {
		end = p.N("users.preserve.until", int64(x.kept))
	}
	return some(p.T("users.disable.login", "name", u.Username), counted(p, "users.disable.devices", x.devices),
		p.T("users.preserve.data"), seatMeans(p, u, "users.preserve.seat"), end, p.T("users.preserve.undo"))
}

func deleteMeans(p *locale.Printer, u accounts.User, x stakes) []string {
	data := p.T("users.delete.nothing")
	switch {
	case u.Kind == access.AdminKind:
		data = "" // who has none
	case x.snapshots > 0:
		data = p.N("users.delete.data", x.snapshots, "size", p.Bytes(x.bytes))
	}
	return some(p.T("users.disable.login", "name", u.Username), counted(p, "users.delete.devices", x.devices), data,
		seatMeans(p, u, "users.delete.seat"), p.T("users.delete.until", "date", p.Date(x.until)), p.T("users.delete.undo"))
}

func purgeMeans(p *locale.Printer, _ accounts.User, x stakes) []string {
	return some(p.T("users.purge.now"), counted(p, "users.purge.snapshots", x.snapshots), p.T("users.purge.final"), p.T("approvals.takes"))
}

// counted is the sentence about n things, "" when there are none.
func counted(p *locale.Printer, key string, n int64) string {
	if n == 0 {
		return ""
	}
	return p.N(key, n)
}

// seatMeans is what becomes of the seat of who has one.
func seatMeans(p *locale.Printer, u accounts.User, key string) string {
	if u.Licence == "" || u.Seat == accounts.NoSeat {
		return ""
	}
	return p.T(key)
}

// some leaves out the sentences that are empty.
func some(all ...string) []string {
	var list []string
	for _, s := range all {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

// stakes counts what belongs to a user.
func (c *console) stakes(ctx context.Context, tx *db.Tx, v *visit, f web.Frame, u accounts.User) (x stakes, err error) {
	n, err := devices.Count(ctx, tx, v.caller, devices.Filter{Org: u.Org, User: u.ID, State: devices.Active})
	if err != nil {
		return x, err
	}
	sums, err := devices.Summaries(ctx, tx, []accounts.ID{u.ID})
	if err != nil {
		return x, err
	}
	x.snapshots, err = c.Vault.Count(ctx, tx, v.caller, vault.Filter{Org: u.Org, User: u.ID})
	if err != nil {
		return x, err
	}
	x.devices, x.bytes = int64(n), sums[u.ID].StoredBytes
	if x.until, err = undoneUntil(ctx, tx, f); err != nil {
		return x, err
	}
	if u.Kind == access.UserKind {
		retired, err := devices.RetiredOf(ctx, tx, u.ID)
		if err != nil {
			return x, err
		}
		for _, d := range retired {
			x.retired = append(x.retired, web.Visible(d.Name))
		}
		eff, err := profiles.Of(ctx, tx, u)
		x.kept = eff.Settings.AutoDeletePreservedDays
		return x, err
	}
	return x, nil
}

// undoneUntil is until when a deletion of now can be undone.
func undoneUntil(ctx context.Context, tx *db.Tx, f web.Frame) (time.Time, error) {
	window, err := accounts.Window(ctx, tx)
	return f.Now().Add(window), err
}

// showAct says what an act means before it is done.
func (c *console) showAct(w http.ResponseWriter, r *http.Request, v *visit, status int, a act, page confirmPage, failure error) {
	ctx := r.Context()
	page.Frame = c.frame(w, r, v, "console.users")
	var u accounts.User
	var x stakes
	err := c.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if u, err = findUser(r, tx, v); err != nil {
			return err
		}
		x, err = c.stakes(ctx, tx, v, page.Frame, u)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page.AskReason, page.Consequences = a.reason, a.means(page.Printer(), u, x)
	if a.before != nil {
		page.Before = a.before(page.Printer(), u, x)
	}
	c.confirm(w, r, v, status, page.about("users."+a.name, u.Username, home(u), a.name), failure)
}

// about completes a page that asks before something is done to what is called
// name and has its page at home.
func (page confirmPage) about(key, name, home, act string) confirmPage {
	p := page.Printer()
	page.Title, page.Button = p.T(key+".title", "name", web.Visible(name)), p.T(key)
	page.Name, page.Action, page.Back = name, home+"/"+act, home
	return page
}

// confirm shows a page that asks before something is done, with what was wrong
// about doing it.
func (c *console) confirm(w http.ResponseWriter, r *http.Request, v *visit, status int, page confirmPage, failure error) {
	if failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"user.reason.": "reason", "confirm.": "confirm"}) {
		c.fail(w, r, v.caller, failure)
		return
	}
	c.site.Render(w, r, status, "confirm", page)
}

// errDiffers says that another name was typed than the one asked for.
var errDiffers = errs.New(errs.Invalid, "confirm.differs")

func (c *console) doAct(w http.ResponseWriter, r *http.Request, v *visit, a act) {
	ctx := r.Context()
	page := confirmPage{Reason: r.PostFormValue("reason")}
	c.tryUser(w, r, v, "users."+a.name+".done", func(tx *db.Tx, u accounts.User) error {
		if err := c.confirmedBy(r, tx, v, a.fresh, u.Username); err != nil {
			return err
		}
		return a.do(ctx, tx, v.caller, u.ID, page.Reason)
	}, func(status int, err error) { c.showAct(w, r, v, status, a, page, err) })
}

func (c *console) activateUser(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.activate.done", func(tx *db.Tx, u accounts.User) error {
		return accounts.Activate(r.Context(), tx, v.caller, u.ID, "")
	})
}

func (c *console) undeleteUser(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.undelete.done", func(tx *db.Tx, u accounts.User) error {
		return accounts.Undelete(r.Context(), tx, v.caller, u.ID, "")
	})
}

// saveAllFirst offers to have a user save what there cannot be again.
func saveAllFirst(p *locale.Printer, u accounts.User, x stakes) *notice {
	if len(x.retired) == 0 {
		return nil
	}
	args := []any{"user", web.Visible(u.Username), "devices", strings.Join(x.retired, ", ")}
	n := &notice{What: web.Sign{Sign: "warn", Icon: "archive", Text: p.T("users.save", args...)},
		Buttons: []button{{Text: p.T("devices.save.write"), Icon: "mail", Href: home(u) + "/save", Post: true}}}
	if !devices.CanSave(u) {
		n.What.Text, n.Buttons = p.T("users.save.impossible", args...), nil
	}
	return n
}

// askUserToSave writes to a user, for each device that there cannot be again.
func (c *console) askUserToSave(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.save.done", func(tx *db.Tx, u accounts.User) error {
		return devices.AskToSaveAll(r.Context(), tx, v.caller, c.Keys, u.ID, c.portal(r)+"/devices/")
	})
}

// changeUser does something to a user that needs no asking, and shows the
// user again, with done or with what was wrong.
func (c *console) changeUser(w http.ResponseWriter, r *http.Request, v *visit, done string, do func(*db.Tx, accounts.User) error) {
	c.tryUser(w, r, v, done, do, func(status int, err error) { c.showPerson(w, r, v, status, err) })
}

// tryUser does something to the user that the address names, and shows the user
// with done; or the page again that asked for it.
func (c *console) tryUser(w http.ResponseWriter, r *http.Request, v *visit, done string, do func(*db.Tx, accounts.User) error, again func(status int, err error)) {
	var u accounts.User
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if u, err = findUser(r, tx, v); err != nil {
			return err
		}
		return do(tx, u)
	})
	if err != nil {
		again(web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, web.LocalPath(r.PostFormValue("back"), home(u)), web.Flash{Key: done, Args: []any{"name", u.Username}})
}

// confirmedBy refuses an act to what is called name when the name was not typed,
// or the visitor has not just proved who they are although that is asked for.
func (c *console) confirmedBy(r *http.Request, tx *db.Tx, v *visit, fresh bool, name string) error {
	if fresh {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
	}
	if !confirmed(r, name) {
		return errDiffers
	}
	return nil
}

// confirmed reports whether the name of what is to be changed was typed.
func confirmed(r *http.Request, name string) bool {
	return strings.EqualFold(strings.TrimSpace(r.PostFormValue("confirm")), strings.TrimSpace(name))
}
