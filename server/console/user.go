package console

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

// people are where the pages of one account are.
var people = []string{"/admin/users/{user}", administrators + "/{user}"}

func (c *console) userRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/users/{user}", c.admin(c.user))
	for _, at := range people {
		mux.HandleFunc("POST "+at+"/sessions/{session}/end", c.admin(c.endSession))
		mux.HandleFunc("POST "+at+"/invite", c.admin(c.inviteAgain))
		mux.HandleFunc("POST "+at+"/link", c.admin(c.copyLink))
		mux.HandleFunc("POST "+at+"/unlock", c.admin(c.unlock))
		mux.HandleFunc("POST "+at+"/reset", c.admin(c.sendReset))
		mux.HandleFunc("POST "+at+"/reset-link", c.admin(c.copyReset))
		mux.HandleFunc("GET "+at+"/edit", c.admin(c.managing(c.askEdit)))
		mux.HandleFunc("POST "+at+"/edit", c.admin(c.editUser))
		mux.HandleFunc("GET "+at+"/factors", c.admin(c.managing(c.askFactors)))
		mux.HandleFunc("POST "+at+"/factors", c.admin(c.resetFactors))
	}
	mux.HandleFunc("GET /admin/users/{user}/profile", c.admin(c.managing(c.askProfile)))
	mux.HandleFunc("POST /admin/users/{user}/profile", c.admin(c.changeProfile))
	mux.HandleFunc("GET /admin/users/{user}/quota", c.admin(c.managing(c.askQuota)))
	mux.HandleFunc("POST /admin/users/{user}/quota", c.admin(c.changeQuota))
	mux.HandleFunc("GET /admin/users/{user}/licence", c.admin(c.managing(c.askLicence)))
	mux.HandleFunc("POST /admin/users/{user}/licence", c.admin(c.changeUserLicence))
	mux.HandleFunc("POST /admin/users/{user}/request", c.admin(c.refuseRequest))
}

// managing shows a page that asks what to do to an account only to those who may
// do it.
func (c *console) managing(next page) page {
	return func(w http.ResponseWriter, r *http.Request, v *visit) {
		err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
			u, err := findUser(r, tx, v)
			if err != nil {
				return err
			}
			return accounts.MayManage(v.caller, u)
		})
		if err != nil {
			c.fail(w, r, v.caller, err)
			return
		}
		next(w, r, v)
	}
}

func (c *console) user(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showUser(w, r, v, http.StatusOK, nil)
}

func (c *console) showUser(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	ctx := r.Context()
	page := userPage{Frame: c.frame(w, r, v, "console.users"), CanManage: v.may(access.ManageUsers)}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		page.Title = u.Name()
		page.Command = web.ActivateCommand(c.portal(r), c.Fingerprint, u.Username)
		if err := page.fill(r, tx, v, u); err != nil {
			return err
		}
		if page.Licence, err = c.licenceName(r, tx, v, u); err != nil {
			return err
		}
		if err := page.act(r, tx, u); err != nil {
			return err
		}
		if err := page.keys(r, tx, v, u); err != nil {
			return err
		}
		return page.notice(r, tx, v, u)
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "user", page)
}

// licenceName is what people call the licence of a user, "" without one.
func (c *console) licenceName(r *http.Request, tx *db.Tx, v *visit, u accounts.User) (string, error) {
	list, _, err := c.standings(r.Context(), tx, v)
	for _, s := range list {
		if string(s.ID) == u.Licence {
			return s.Name, err
		}
	}
	return "", err
}

// notice says what somebody should know about a user now.
func (page *userPage) notice(r *http.Request, tx *db.Tx, v *visit, u accounts.User) error {
	p := page.Printer()
	say := func(sign, icon, text string, buttons ...button) {
		if !page.CanManage {
			buttons = nil
		}
		page.Notices = append(page.Notices, notice{What: web.Sign{Sign: sign, Icon: icon, Text: text}, Buttons: buttons})
	}
	page.Notices = nil
	if u.State == accounts.Deleted {
		say("bad", "trash", p.T("users.notice.deleted", "date", u.PurgeAt, "reason", web.Visible(u.StateReason)))
	}
	if page.User.MailFailed != "" {
		say("bad", "mail-exclamation", p.T("users.mail.failed", "reason", page.User.MailFailed))
	}
	q, err := requestOf(r, tx, v, u)
	if err != nil {
		return err
	}
	if q != nil {
		say("warn", "user-x", p.T("users.notice.request", "at", q.CreatedAt),
			button{Text: p.T("users.delete"), Icon: "trash", Href: page.Home + "/delete"},
			button{Text: p.T("users.request.refuse"), Icon: "x", Href: page.Home + "/request", Post: true})
	}
	if u.LockedUntil.After(page.Now()) {
		say("warn", "lock", p.T("users.notice.locked", "time", p.Time(u.LockedUntil, page.Now())),
			button{Text: p.T("users.fix.unlock"), Icon: "lock-open", Href: page.Home + "/unlock", Post: true})
	}
	eff, err := profiles.Of(r.Context(), tx, u)
	if days := eff.Settings.AutoDeletePreservedDays; err == nil && u.State == accounts.Preserved && days > 0 {
		say("warn", "hourglass", p.T("users.notice.preserved", "date", u.StateAt.AddDate(0, 0, days), "profile", web.Visible(eff.Name)))
	}
	return err
}

// fill puts together what is known of a user.
func (page *userPage) fill(r *http.Request, tx *db.Tx, v *visit, u accounts.User) error {
	ctx := r.Context()
	eff, err := profiles.Of(ctx, tx, u)
	if err != nil {
		return err
	}
	rows, err := userRows(r, tx, page.Frame, []accounts.User{u}, []profileItem{{ID: string(eff.ID), Name: eff.Name, Default: true}})
	if err != nil {
		return err
	}
	page.User = rows[0]
	page.Explain = home(u) + "/signin"
	page.User.Profile, page.User.ProfileID = eff.Name, string(eff.ID)
	list, _, err := devices.List(ctx, tx, v.caller, devices.Filter{Org: u.Org, User: u.ID})
	if err != nil {
		return err
	}
	if page.Devices, err = deviceRows(ctx, tx, page.Frame, list); err != nil {
		return err
	}
	return page.person(r, tx, v, u)
}

// shownAttempts is how many attempts to sign in the page of an account has. Why
// somebody cannot shows more.
const shownAttempts = 5

// person is what is known of an account, whoever's it is.
func (page *userPage) person(r *http.Request, tx *db.Tx, v *visit, u accounts.User) error {
	p := page.Printer()
	page.Home = home(u)
	page.StateText = p.T("user.means." + string(u.State))
	if u.State != accounts.Deleted { // a notice says it
		page.Reason = u.StateReason
	}
	page.Language = p.T("user.language.browser")
	if l, ok := localeName(u.Language); ok {
		page.Language = l
	}
	page.Private, page.Attempts = u.PrivacyOn, nil
	if access.Allow(v.caller, access.ViewAudit, u.Org, u.ID) {
		rows, err := signin.Attempts(r.Context(), tx, v.caller, u, shownAttempts)
		if err != nil {
			return err
		}
		page.ShowAttempts = true
		for _, row := range rows {
			page.Attempts = append(page.Attempts, attemptOf(page.Frame, row))
		}
	}
	sessions, err := accounts.Sessions(r.Context(), tx, v.caller, u.ID)
	if err != nil {
		return err
	}
	page.Sessions = nil
	for _, s := range sessions {
		page.Sessions = append(page.Sessions, sessionOf(page.Frame, s))
	}
	page.Factors, err = factors.Of(r.Context(), tx, u.ID)
	return err
}

// act puts together what can be done with a user in their state, the most
// likely first.
func (page *userPage) act(r *http.Request, tx *db.Tx, u accounts.User) error {
	if !page.CanManage {
		return nil
	}
	mailed, err := signin.MailOnly(r.Context(), tx, u)
	if err != nil {
		return err
	}
	at, p := home(u), page.Printer()
	link := func(name, icon, class string) button {
		return button{Text: p.T("users." + name), Icon: icon, Href: at + "/" + name, Class: class}
	}
	post := func(name, icon, class string) button {
		b := link(name, icon, class)
		b.Post = true
		return b
	}
	var first, more []button
	switch u.State {
	case accounts.Active:
		if u.Email != "" {
			more = append(more, post("reset", "key", ""))
		}
		if !mailed && !u.PrivacyOn {
			more = append(more, post("reset-link", "link", ""))
		}
		more = append(more, link("disable", "user-off", ""))
	case accounts.Disabled:
		first = []button{post("activate", "check", "btn-primary")}
	case accounts.Preserved:
		first = []button{post("activate", "check", "btn-primary")}
	case accounts.Invited:
		first = []button{post("invite", "mail-forward", "btn-primary"), post("link", "link", "")}
	case accounts.Deleted:
		first = []button{post("undelete", "arrow-back-up", "btn-primary")}
		if u.Kind == access.UserKind {
			more = append(more, link("purge", "trash", "text-danger"))
		}
	}
	if u.Kind == access.UserKind && (u.State == accounts.Active || u.State == accounts.Disabled) {
		more = append(more, link("preserve", "archive", ""))
	}
	if u.State != accounts.Deleted && u.State != accounts.Purged {
		more = append(more, link("edit", "pencil", ""))
		if u.Kind == access.UserKind && u.State == accounts.Active {
			more = append(more, button{Text: p.T("keys.new"), Icon: "key", Href: at + "/keys/new"})
		}
		if u.Kind == access.UserKind {
			more = append(more, link("profile", "adjustments", ""), link("quota", "database", ""), link("licence", "certificate", ""))
		}
		more = append(more, link("delete", "trash", "text-danger"))
	}
	page.First, page.More = first, more
	return nil
}

// findUser is the account that the address names: a user, or an administrator
// below the settings. Either is unknown at the other's address.
func findUser(r *http.Request, tx *db.Tx, v *visit) (accounts.User, error) {
	u, err := accounts.View(r.Context(), tx, v.caller, accounts.ID(r.PathValue("user")))
	if err == nil && !strings.HasPrefix(r.URL.Path, home(u)) {
		err = errs.New(errs.NotFound, "user.unknown")
	}
	return u, err
}

const administrators = "/admin/settings/administrators"

// home is the page of an account.
func home(u accounts.User) string {
	if u.Kind == access.AdminKind {
		return administrators + "/" + string(u.ID)
	}
	return "/admin/users/" + string(u.ID)
}
