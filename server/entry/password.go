package entry

import (
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/web"
)

// rulesOf are the lines of a policy's checklist, for a password that was
// submitted, or for none yet.
func rulesOf(p *locale.Printer, policy passwords.Policy, password string, c passwords.Context) []web.Rule {
	var list []web.Rule
	for _, r := range policy.Check(password, c) {
		line := web.Rule{Name: r.Name, Text: p.T(r.Key, r.Args...), OK: r.OK && password != "", Failed: !r.OK && password != ""}
		for i := 0; i+1 < len(r.Args); i += 2 {
			switch r.Args[i] {
			case "n":
				line.N = r.Args[i+1]
			case "max":
				line.Max = r.Args[i+1]
			}
		}
		list = append(list, line)
	}
	return list
}

func (d *Door) rules(r *http.Request, p *locale.Printer, u accounts.User, password string) (list []web.Rule, err error) {
	err = d.DB.Read(r.Context(), func(tx *db.Tx) error {
		policy, c, err := d.Gate.PolicyFor(r.Context(), tx, u)
		list = rulesOf(p, policy, password, c)
		return err
	})
	return list, err
}

func (d *Door) firstPasswordPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	d.showFirstPassword(w, r, v, nil)
}

func (d *Door) showFirstPassword(w http.ResponseWriter, r *http.Request, v *Visit, failure error) {
	page := passwordPage{Frame: d.Site.Frame(w, r).Card(), Username: v.User.Username, Next: r.FormValue("next")}
	page.Title = page.Printer().T("entry.first")
	page.Temporary = !v.User.TemporaryUntil.IsZero()
	rules, err := d.rules(r, page.Printer(), v.User, r.PostFormValue("password"))
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	page.Rules = rules
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if !page.Form.Add(page.Printer(), failure) {
			d.Fail(w, r, v.Caller, failure)
			return
		}
	}
	d.Site.Render(w, r, status, "first-password", page)
}

func (d *Door) firstPassword(w http.ResponseWriter, r *http.Request, v *Visit) {
	password, err := web.NewPassword(r)
	if err != nil {
		d.showFirstPassword(w, r, v, err)
		return
	}
	started, err := d.Gate.SetFirstPassword(r.Context(), v.Caller, v.Session, password)
	if err != nil {
		d.showFirstPassword(w, r, v, err)
		return
	}
	d.begin(w, r, started, r.PostFormValue("next"))
}

func (d *Door) forgotPage(w http.ResponseWriter, r *http.Request) {
	page := forgotPage{Frame: d.Site.Frame(w, r).Card(), Value: r.FormValue("username")}
	page.Title = page.Printer().T("entry.forgot")
	d.Site.Render(w, r, http.StatusOK, "forgot", page)
}

func (d *Door) forgot(w http.ResponseWriter, r *http.Request) {
	from := access.CallerOf(r.Context())
	if err := d.Gate.ForgotPassword(r.Context(), from, r.PostFormValue("username")); err != nil {
		d.Fail(w, r, from, err)
		return
	}
	d.Site.Redirect(w, r, d.Base+"/sent")
}

func (d *Door) forgotUsernamePage(w http.ResponseWriter, r *http.Request) {
	page := forgotPage{Frame: d.Site.Frame(w, r).Card(), Usernames: true}
	page.Title = page.Printer().T("entry.usernames")
	d.Site.Render(w, r, http.StatusOK, "forgot", page)
}

func (d *Door) forgotUsername(w http.ResponseWriter, r *http.Request) {
	from := access.CallerOf(r.Context())
	if err := d.Gate.ForgotUsername(r.Context(), from, r.PostFormValue("email")); err != nil {
		d.Fail(w, r, from, err)
		return
	}
	d.Site.Redirect(w, r, d.Base+"/sent")
}

// sent is the page after everything that a mail answers. It says the same
// whatever was typed.
func (d *Door) sent(w http.ResponseWriter, r *http.Request) {
	page := noticePage{Frame: d.Site.Frame(w, r).Card(), Icon: "mail", Back: true}
	p := page.Printer()
	page.Title, page.Text, page.Hint = p.T("entry.sent"), p.T("entry.sent.text"), p.T("entry.sent.hint")
	d.Site.Render(w, r, http.StatusOK, "notice", page)
}

func (d *Door) linkPage(w http.ResponseWriter, r *http.Request) {
	d.showLink(w, r, r.FormValue("token"), nil)
}

// showLink is the page behind a mailed link: two fields for a password. Looking
// at it does not use the link up.
func (d *Door) showLink(w http.ResponseWriter, r *http.Request, token string, failure error) {
	link, err := d.Gate.Link(r.Context(), token)
	if err != nil {
		d.overLink(w, r, err, &web.Link{Key: "entry.expired.again", Href: d.Base + "/forgot"})
		return
	}
	page := passwordPage{Frame: d.Site.Frame(w, r).Card().Secret(), Username: link.Username, Token: token, Action: d.Base + "/password"}
	page.Title = page.Printer().T("entry.password.title")
	page.Rules = rulesOf(page.Printer(), link.Policy, r.PostFormValue("password"), link.Context)
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if !page.Form.Add(page.Printer(), failure) {
			d.Fail(w, r, access.CallerOf(r.Context()), failure)
			return
		}
	}
	d.Site.Render(w, r, status, "new-password", page)
}

func (d *Door) setPasswordByLink(w http.ResponseWriter, r *http.Request) {
	token := r.PostFormValue("token")
	password, err := web.NewPassword(r)
	if err == nil {
		err = d.Gate.SetPasswordByLink(r.Context(), access.CallerOf(r.Context()), token, password)
	}
	if err != nil {
		d.showLink(w, r, token, err)
		return
	}
	web.EndSession(w, d.session) // it ended with the old password
	d.Site.Done(w, r, d.Base+"/login", web.Flash{Key: "entry.password.done"})
}

// overLink is the page of a link that is over, with the way to another one. Any
// other failure is what it is.
func (d *Door) overLink(w http.ResponseWriter, r *http.Request, err error, again *web.Link) {
	if !errs.Is(err, errs.LinkExpired) {
		d.Fail(w, r, access.CallerOf(r.Context()), err)
		return
	}
	page := noticePage{Frame: d.Site.Frame(w, r).Card(), Icon: "clock", Action: again, Back: true}
	p := page.Printer()
	page.Title, page.Text, page.Code = p.T("entry.expired"), p.Error(err), string(errs.LinkExpired)
	if again != nil {
		page.Hint = p.T("entry.expired.hint")
	}
	d.Site.Render(w, r, web.Status(w, err), "notice", page)
}
