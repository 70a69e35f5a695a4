package console

import (
	"net/http"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

func (c *console) explainRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/users/{user}/signin", c.admin(c.explain))
	mux.HandleFunc("GET /admin/users/{user}/web-restore", c.admin(c.managing(c.askWebRestore)))
	mux.HandleFunc("POST /admin/users/{user}/web-restore", c.admin(c.allowWebRestore))
}

// explain says why a user can or cannot sign in: what holds and what does not,
// the last attempts with their true reasons, and what mends each.
func (c *console) explain(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := explainPage{Frame: c.frame(w, r, v, "users.signin")}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		x, err := c.Gate.Explain(ctx, tx, v.caller, u.ID)
		if err != nil {
			return err
		}
		page.ID, page.Username, page.OK, page.URL = string(u.ID), u.Username, x.OK(), x.URL
		p := page.Printer()
		page.Lines, page.Attempts = nil, nil
		for _, l := range x.Lines {
			line := explainLine{Name: l.Name, OK: l.OK, Text: p.T(l.Key, l.Args...)}
			if v.may(access.ManageUsers) {
				line.Fix = fixOf(page.Frame, u, l.Fix)
			}
			page.Lines = append(page.Lines, line)
		}
		for _, a := range x.Attempts {
			page.Attempts = append(page.Attempts, attemptOf(page.Frame, a))
		}
		return nil
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "explain", page)
}

// fixOf is the button for what mends a line, nil when nothing here does.
func fixOf(f web.Frame, u accounts.User, fix signin.Fix) *button {
	at := "/admin/users/" + string(u.ID)
	b := map[signin.Fix]button{
		signin.FixActivate:     {Icon: "check", Href: at + "/activate", Post: true},
		signin.FixUnlock:       {Icon: "lock-open", Href: at + "/unlock", Post: true},
		signin.FixInvite:       {Icon: "mail-forward", Href: at + "/invite", Post: true},
		signin.FixReset:        {Icon: "key", Href: at + "/reset", Post: true},
		signin.FixWebRestore:   {Icon: "world", Href: at + "/web-restore"},
		signin.FixSecondFactor: {Icon: "shield-lock", Href: at + "/factors"},
		signin.FixLicence:      {Icon: "certificate", Href: "/admin/settings/licences"},
	}[fix]
	if b.Href == "" {
		return nil
	}
	b.Text = f.Printer().T("users.fix." + string(fix))
	return &b
}

// attemptOf is an attempt to sign in as administrators see it: with the reason
// that nobody else is told.
func attemptOf(f web.Frame, row audit.Row) attempt {
	a := attempt{At: row.At, IP: row.IP, Code: row.Code, Outcome: f.State("audit.outcome.", string(row.Outcome))}
	p := f.Printer()
	for _, d := range row.Details {
		text, ok := d.After.(string)
		switch {
		case !ok:
		case d.Name == "reason":
			a.Reason = text
			if key := "signin.reason." + text; p.T(key) != key {
				a.Reason = p.T(key)
			}
		case d.Name == "awaits":
			a.Reason = p.T("signin.reason.second_factor_asked")
		case d.Name == "portal":
			a.Where = p.T("session.in." + text)
		}
	}
	return a
}

// askWebRestore says whom it affects when a profile lets its users restore by
// the browser.
func (c *console) askWebRestore(w http.ResponseWriter, r *http.Request, v *visit) {
	page := askPage{Frame: c.frame(w, r, v, "users.fix.web_restore")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, p, err := c.profileOfUser(r, tx, v)
		if err != nil {
			return err
		}
		list, err := profiles.List(r.Context(), tx, v.caller, u.Org)
		if err != nil {
			return err
		}
		var n int64
		for _, l := range list {
			if l.ID == p.ID {
				n = l.Users
			}
		}
		page.Text = page.Printer().N("users.web_restore.affects", n, "profile", web.Visible(p.Name))
		page.Action, page.Back = r.URL.Path, "/admin/users/"+string(u.ID)+"/signin"
		page.Button = page.Printer().T("users.web_restore.do")
		return nil
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "ask", page)
}

func (c *console) profileOfUser(r *http.Request, tx *db.Tx, v *visit) (accounts.User, profiles.Effective, error) {
	u, err := findUser(r, tx, v)
	if err != nil {
		return u, profiles.Effective{}, err
	}
	p, err := profiles.Of(r.Context(), tx, u)
	return u, p, err
}

func (c *console) allowWebRestore(w http.ResponseWriter, r *http.Request, v *visit) {
	var u accounts.User
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		var p profiles.Effective
		if u, p, err = c.profileOfUser(r, tx, v); err != nil {
			return err
		}
		p.Settings.WebRestore = true
		_, err = profiles.Save(r.Context(), tx, v.caller, p.ID, p.Revision, profiles.Changes{Settings: &p.Settings})
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, "/admin/users/"+string(u.ID)+"/signin", web.Flash{Key: "users.web_restore.done"})
}

// askFactors says what becomes of somebody whose second factors are reset.
func (c *console) askFactors(w http.ResponseWriter, r *http.Request, v *visit) {
	if c.fresh(w, r, v) {
		c.showFactors(w, r, v, http.StatusOK, nil)
	}
}

func (c *console) showFactors(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := confirmPage{Frame: c.frame(w, r, v, "users.factors")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"confirm.": "confirm"}) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		has, err := factors.Of(r.Context(), tx, u.ID)
		p := page.Printer()
		page.Name, page.Action, page.Back, page.Button = u.Username, r.URL.Path, home(u), p.T("users.factors")
		page.Consequences = some(counted(p, "users.factors.passkeys", int64(len(has.Passkeys))), counted(p, "users.factors.codes", int64(has.RecoveryLeft)),
			p.T("users.factors.login", "name", u.Username), p.T("users.factors.sure"))
		if has.TOTP {
			page.Consequences = append([]string{p.T("users.factors.totp")}, page.Consequences...)
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "confirm", page)
}

func (c *console) resetFactors(w http.ResponseWriter, r *http.Request, v *visit) {
	c.tryUser(w, r, v, "users.factors.done", func(tx *db.Tx, u accounts.User) error {
		if err := c.confirmedBy(r, tx, v, true, u.Username); err != nil {
			return err
		}
		return c.Gate.Factors.Reset(r.Context(), tx, v.caller, u.ID)
	}, func(status int, err error) { c.showFactors(w, r, v, status, err) })
}
