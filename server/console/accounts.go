package console

import (
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

const sessionCookie = "__Host-backstay-console"

func (c *console) loginPage(w http.ResponseWriter, r *http.Request) {
	if _, err := c.visit(r); err == nil {
		c.site.Redirect(w, r, "/admin/")
		return
	}
	c.showLogin(w, r, http.StatusOK, loginPage{Next: r.FormValue("next")}, nil)
}

// showLogin shows the form, with what was wrong about the attempt before. Who
// looks for their files is told where they are, whoever they are.
func (c *console) showLogin(w http.ResponseWriter, r *http.Request, status int, page loginPage, failure error) {
	page.Frame, page.Portal = c.site.Frame(w, r).Card(), c.portal(r)
	page.Title = page.Printer().T("login.console")
	if failure != nil && !page.Form.Add(page.Printer(), failure) {
		c.fail(w, r, access.CallerOf(r.Context()), failure)
		return
	}
	c.site.CheckCookies(w)
	c.site.Render(w, r, status, "login", page)
}

func (c *console) login(w http.ResponseWriter, r *http.Request) {
	if web.CookiesOff(r) {
		c.site.NoCookies(w, r)
		return
	}
	ctx, from := r.Context(), access.CallerOf(r.Context())
	page := loginPage{Username: r.PostFormValue("username"), Next: r.PostFormValue("next")}
	u, err := c.Gate.Login(ctx, from, signin.Attempt{Portal: accounts.ToConsole, Identifier: page.Username, Password: r.PostFormValue("password")})
	if err == nil && u.MustChangePassword {
		err = errs.Of(errs.PasswordChange)
	}
	if err != nil {
		c.showLogin(w, r, errs.Status(err), page, err)
		return
	}
	language := ""
	if l, ok := web.ChosenLang(r); ok {
		language = string(l)
	}
	started, err := c.Gate.Start(ctx, from, u, accounts.ToConsole, r.UserAgent(), web.Cookie(r, sessionCookie), "", language)
	if err != nil {
		c.fail(w, r, from, err)
		return
	}
	web.StartSession(w, sessionCookie, started.Token)
	web.SetZone(w, r.PostFormValue("zone"), c.DB.Now())
	if _, ok := web.ChosenLang(r); !ok {
		if l, ok := locale.Parse(u.Language); ok {
			web.SetLang(w, l, c.DB.Now())
		}
	}
	c.site.Redirect(w, r, web.LocalPath(page.Next, "/admin/"))
}

func (c *console) logout(w http.ResponseWriter, r *http.Request) {
	if v, err := c.visit(r); err == nil {
		err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
			return accounts.EndSession(r.Context(), tx, v.caller, v.caller.Session)
		})
		if err != nil {
			c.fail(w, r, v.caller, err)
			return
		}
	}
	web.EndSession(w, sessionCookie)
	c.site.Done(w, r, "/admin/login", web.Flash{Key: "login.out"})
}
