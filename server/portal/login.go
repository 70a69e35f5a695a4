package portal

import (
	"errors"
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

const sessionCookie = "__Host-backstay-portal"

func (p *portal) loginPage(w http.ResponseWriter, r *http.Request) {
	if _, err := p.visit(r); err == nil {
		p.site.Redirect(w, r, "/")
		return
	}
	p.showLogin(w, r, http.StatusOK, loginPage{Username: r.FormValue("username"), Next: r.FormValue("next")}, nil)
}

// showLogin shows the form, with what was wrong about the attempt before.
func (p *portal) showLogin(w http.ResponseWriter, r *http.Request, status int, page loginPage, failure error) {
	page.Frame = p.site.Frame(w, r).Card()
	page.Title = page.Printer().T("login.portal")
	if failure != nil && !page.Form.Add(page.Printer(), failure) {
		p.fail(w, r, access.CallerOf(r.Context()), failure)
		return
	}
	p.site.CheckCookies(w)
	p.site.Render(w, r, status, "login", page)
}

func (p *portal) login(w http.ResponseWriter, r *http.Request) {
	if web.CookiesOff(r) {
		p.site.NoCookies(w, r)
		return
	}
	ctx, from := r.Context(), access.CallerOf(r.Context())
	page := loginPage{Username: r.PostFormValue("username"), Next: r.PostFormValue("next")}
	u, err := p.Gate.Login(ctx, from, signin.Attempt{Portal: accounts.ToPortal, Identifier: page.Username, Password: r.PostFormValue("password")})
	if choice := (*signin.Choice)(nil); errors.As(err, &choice) {
		for _, u := range choice.Users {
			page.Choice = append(page.Choice, u.Username)
		}
		p.showLogin(w, r, http.StatusOK, page, nil)
		return
	}
	if err == nil {
		err = p.mayEnter(r, u)
	}
	if err != nil {
		p.showLogin(w, r, errs.Status(err), page, err)
		return
	}
	started, err := p.Gate.Start(ctx, from, u, accounts.ToPortal, r.UserAgent(), web.Cookie(r, sessionCookie), "", "")
	if err != nil {
		p.fail(w, r, from, err)
		return
	}
	now := p.DB.Now()
	web.StartSession(w, sessionCookie, started.Token)
	web.SetZone(w, r.PostFormValue("zone"), now)
	if l, ok := web.ChosenLang(r); ok {
		p.keepLanguage(r, u, l)
	} else if l, ok := locale.Parse(u.Language); ok {
		web.SetLang(w, l, now)
	}
	p.site.Redirect(w, r, web.LocalPath(page.Next, "/"))
}

// mayEnter is what Login does not know: whether the profile lets its users
// into the portal at all.
func (p *portal) mayEnter(r *http.Request, u accounts.User) error {
	var err error
	if u.MustChangePassword {
		err = errs.Of(errs.PasswordChange)
	} else if on, e := p.webRestore(r, u); e != nil {
		return e
	} else if !on {
		err = errs.Of(errs.WebAccessOff)
	}
	if err != nil {
		p.denied(r, u.Caller(access.CallerOf(r.Context())), access.Login, "user/"+string(u.ID), err)
	}
	return err
}

func (p *portal) keepLanguage(r *http.Request, u accounts.User, l locale.Lang) {
	err := p.DB.Write(r.Context(), func(tx *db.Tx) error {
		return accounts.SetLanguage(r.Context(), tx, u.Caller(access.CallerOf(r.Context())), string(l))
	})
	if err != nil {
		p.Log.ErrorContext(r.Context(), "keeping a language", "error", err)
	}
}

func (p *portal) logout(w http.ResponseWriter, r *http.Request) {
	if v, err := p.visit(r); err == nil {
		err := p.DB.Write(r.Context(), func(tx *db.Tx) error {
			return accounts.EndSession(r.Context(), tx, v.caller, v.caller.Session)
		})
		if err != nil {
			p.fail(w, r, v.caller, err)
			return
		}
	}
	web.EndSession(w, sessionCookie)
	p.site.Done(w, r, "/login", web.Flash{Key: "login.out"})
}
