package entry

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

func (d *Door) loginPage(w http.ResponseWriter, r *http.Request) {
	if v, err := d.visit(r); err == nil {
		d.onward(w, r, v.Session, r.FormValue("next"))
		return
	}
	d.showLogin(w, r, http.StatusOK, loginPage{Username: r.FormValue("username"), Next: r.FormValue("next")}, nil)
}

// showLogin shows the form, with what was wrong about the attempt before. Who
// looks for their files at the console is told where they are, whoever they
// are.
func (d *Door) showLogin(w http.ResponseWriter, r *http.Request, status int, page loginPage, failure error) {
	page.Frame = d.Site.Frame(w, r).Card()
	page.Title = page.Printer().T("login.portal")
	if d.To == accounts.ToConsole {
		page.Title, page.Portal = page.Printer().T("login.console"), d.Address(r)
	}
	if failure != nil && !page.Form.Add(page.Printer(), failure) {
		d.Fail(w, r, access.CallerOf(r.Context()), failure)
		return
	}
	mode, err := d.registration(r)
	if err != nil {
		d.Fail(w, r, access.CallerOf(r.Context()), err)
		return
	}
	page.Register = mode != settings.RegistrationOff
	d.Site.CheckCookies(w)
	d.Site.Render(w, r, status, "login", page)
}

func (d *Door) login(w http.ResponseWriter, r *http.Request) {
	if web.CookiesOff(r) {
		d.Site.NoCookies(w, r)
		return
	}
	from, page := access.CallerOf(r.Context()), loginPage{Username: r.PostFormValue("username"), Next: r.PostFormValue("next")}
	u, err := d.Gate.Login(r.Context(), from, signin.Attempt{Portal: d.To, Identifier: page.Username,
		Password: r.PostFormValue("password"), Known: web.Cookie(r, d.known),
		Admit: d.Portal.Admit})
	if choice := (*signin.Choice)(nil); errors.As(err, &choice) {
		d.offer(w, r, choice.Users, page.Next)
		return
	}
	web.SetZone(w, r.PostFormValue("zone"), d.DB.Now())
	if err == nil {
		err = d.enter(w, r, u, page.Next)
	}
	if err != nil {
		d.showLogin(w, r, web.Status(w, err), page, err)
	}
}

// enter begins the session of an account that the gate let in, and leads on.
func (d *Door) enter(w http.ResponseWriter, r *http.Request, u accounts.User, next string) error {
	ctx, from := r.Context(), access.CallerOf(r.Context())
	language := ""
	if l, ok := web.ChosenLang(r); ok {
		language = string(l)
	} else if l, ok := locale.Parse(u.Language); ok {
		web.SetLang(w, l, d.DB.Now())
	}
	started, err := d.Gate.Start(ctx, from, u, d.To, r.UserAgent(), web.Cookie(r, d.session), web.Cookie(r, d.known), language)
	if err != nil {
		return err
	}
	d.begin(w, r, started, next)
	return nil
}

// begin gives the browser the token of a session, which has a new one after
// each proof, and leads on. Once somebody is in, the language that they chose
// at the door is theirs.
func (d *Door) begin(w http.ResponseWriter, r *http.Request, s signin.Started, next string) {
	d.keep(w, s)
	by := access.CallerOf(r.Context())
	if l, ok := web.ChosenLang(r); ok && by.User != "" && s.Session.Stage == accounts.StageDone {
		d.keepLanguage(r, by, l)
	}
	d.onward(w, r, s.Session, next)
}

func (d *Door) keep(w http.ResponseWriter, s signin.Started) {
	web.StartSession(w, d.session, s.Token)
	if s.Known != "" {
		web.SetCookie(w, d.known, s.Known, d.DB.Now().Add(signin.KnownLife))
	}
}

func (d *Door) logout(w http.ResponseWriter, r *http.Request) {
	if v, err := d.visit(r); err == nil {
		err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
			return accounts.EndSession(r.Context(), tx, v.Caller, v.Session.ID)
		})
		if err != nil {
			d.Fail(w, r, v.Caller, err)
			return
		}
	}
	web.EndSession(w, d.session)
	d.Site.Done(w, r, d.Base+"/login", web.Flash{Key: "login.out"})
}

// forChoice is the secret by which a browser that proved the password of
// several accounts chooses one of them. It is in a cookie: no other browser
// can.
const (
	forChoice  accounts.Purpose = "choice"
	choiceLife                  = 5 * time.Minute
)

func (d *Door) choiceCookie() string { return d.session + "-choice" }

// offer lets the person choose among accounts whose password they know.
func (d *Door) offer(w http.ResponseWriter, r *http.Request, users []accounts.User, next string) {
	page := choosePage{Frame: d.Site.Frame(w, r).Card(), Next: next}
	page.Title = page.Printer().T("login.choose.title")
	offered := map[accounts.ID]int64{} // with when the password was set that is known
	for _, u := range users {
		page.Choice, offered[u.ID] = append(page.Choice, u.Username), u.PasswordAt.UnixMicro()
	}
	var token string
	err := d.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		token, err = accounts.NewLink(r.Context(), tx, forChoice, users[0].ID, choiceLife, offered)
		return err
	})
	if err != nil {
		d.Fail(w, r, access.CallerOf(r.Context()), err)
		return
	}
	web.SetCookie(w, d.choiceCookie(), token, d.DB.Now().Add(choiceLife))
	web.SetZone(w, r.PostFormValue("zone"), d.DB.Now())
	d.Site.Render(w, r, http.StatusOK, "choose", page)
}

func (d *Door) choose(w http.ResponseWriter, r *http.Request) {
	ctx, from := r.Context(), access.CallerOf(r.Context())
	token := web.Cookie(r, d.choiceCookie())
	web.DropCookie(w, d.choiceCookie())
	var u accounts.User
	err := d.DB.Write(ctx, func(tx *db.Tx) error {
		_, data, err := accounts.UseLink(ctx, tx, forChoice, token)
		if err != nil {
			return err
		}
		var offered map[accounts.ID]int64
		if err := json.Unmarshal(data, &offered); err != nil {
			return err
		}
		u, err = accounts.FindByUsername(ctx, tx, r.PostFormValue("username"))
		if at, ok := offered[u.ID]; err != nil || !ok || at != u.PasswordAt.UnixMicro() {
			return errs.Of(errs.AuthFailed)
		}
		return nil
	})
	if err == nil {
		u, err = d.Gate.Chosen(ctx, from, d.To, u.ID, d.Portal.Admit)
	}
	if err == nil {
		err = d.enter(w, r, u, r.PostFormValue("next"))
	}
	if err != nil {
		d.showLogin(w, r, web.Status(w, err), loginPage{Next: r.PostFormValue("next")}, err)
	}
}
