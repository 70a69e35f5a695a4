package entry

import (
	"net/http"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/web"
)

func (d *Door) accountRoutes() {
	d.Handle("GET /account", d.you)
	d.Handle("POST /account/name", d.changeName)
	d.Handle("POST /account/email", d.changeEmail)
	d.Handle("GET /account/email", d.emailPage)
	d.Handle("POST /account/email/code", d.confirmEmail)
	d.open("GET /email/undo", d.undoEmailPage)
	d.open("POST /email/undo", d.undoEmail)

	d.Handle("GET /account/security", d.security)
	d.Handle("POST /account/password", d.changePassword)
	d.Handle("POST /account/security/totp", d.beginTOTP)
	d.Handle("GET /account/security/totp", d.totp)
	d.Handle("POST /account/security/totp/confirm", d.confirmTOTP)
	d.Handle("POST /account/security/totp/remove", d.removeTOTP)
	d.Handle("POST /account/security/codes", d.newCodes)
	d.Handle("POST /account/security/passkey/begin", d.beginPasskeyOfOwn)
	d.Handle("POST /account/security/passkey", d.enrolPasskey)
	d.Handle("POST /account/security/passkeys/{passkey}/name", d.renamePasskey)
	d.Handle("POST /account/security/passkeys/{passkey}/remove", d.removePasskey)

	d.Handle("GET /account/sessions", d.sessions)
	d.Handle("POST /account/sessions/end", d.endOthers)
	d.Handle("POST /account/sessions/{session}/end", d.endSession)
	d.Handle("GET /account/privacy", d.privacy)
	d.Handle("POST /account/export", d.export)
	if d.To == accounts.ToPortal {
		d.Handle("GET /account/devices/{device}", d.askDevice)
		d.Handle("POST /account/devices/{device}", d.endDevice)
		d.Handle("POST /account/privacy", d.switchPrivacy)
		d.Handle("POST /account/delete", d.askDeletion)
	}
}

// section is the frame of a page of Account.
func (d *Door) section(w http.ResponseWriter, r *http.Request, v *Visit, here string) section {
	s := section{Frame: d.Portal.Frame(w, r, v)}
	s.Title = s.Printer().T("nav.account")
	for _, l := range []web.Link{
		{Key: "account.you", Href: d.Base + "/account", Icon: "user-circle"},
		{Key: "account.security", Href: d.Base + "/account/security", Icon: "lock"},
		{Key: "account.sessions", Href: d.Base + "/account/sessions", Icon: "device-laptop"},
		{Key: "account.privacy", Href: d.Base + "/account/privacy", Icon: "shield-check"},
	} {
		l.Active = l.Href == d.Base+here
		s.Sections = append(s.Sections, l)
	}
	return s
}

// own does something to the caller's account that wants a fresh proof of who
// they are.
func (d *Door) own(r *http.Request, v *Visit, do func(tx *db.Tx) error) error {
	return d.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := d.Gate.Fresh(r.Context(), tx, v.Session); err != nil {
			return err
		}
		return do(tx)
	})
}

func (d *Door) you(w http.ResponseWriter, r *http.Request, v *Visit) {
	d.showYou(w, r, v, youPage{FirstName: v.User.FirstName, LastName: v.User.LastName}, nil)
}

// youFields are where the page says what is wrong: in the form of the name, or
// in that of the address.
var youFields = map[string]string{"user.name.": "last_name", "user.email.": "email"}

// showYou shows what an account is called, with what somebody typed and what is
// wrong about it.
func (d *Door) showYou(w http.ResponseWriter, r *http.Request, v *Visit, page youPage, failure error) {
	page.section = d.section(w, r, v, "/account")
	page.Username, page.Email = v.User.Username, v.User.Email
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if !page.Form.AddTo(page.Printer(), failure, youFields) {
			d.Fail(w, r, v.Caller, failure)
			return
		}
	}
	d.Site.Render(w, r, status, "account", page)
}

// changeName sets the first and last name, which nobody signs in by.
func (d *Door) changeName(w http.ResponseWriter, r *http.Request, v *Visit) {
	page := youPage{FirstName: r.PostFormValue("first_name"), LastName: r.PostFormValue("last_name")}
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		return accounts.SetNames(r.Context(), tx, v.Caller, page.FirstName, page.LastName)
	})
	if err != nil {
		d.showYou(w, r, v, page, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account", web.Flash{Key: "account.name.changed"})
}

// changeEmail sends a code to the address that the account is to have.
func (d *Door) changeEmail(w http.ResponseWriter, r *http.Request, v *Visit) {
	email := r.PostFormValue("email")
	err := d.own(r, v, func(tx *db.Tx) error { return accounts.BeginEmail(r.Context(), tx, v.Caller, d.Keys, email) })
	if isStepUp(err) {
		d.Fail(w, r, v.Caller, err)
		return
	}
	if err != nil {
		d.showYou(w, r, v, youPage{FirstName: v.User.FirstName, LastName: v.User.LastName, NewEmail: email}, err)
		return
	}
	d.Site.Redirect(w, r, d.Base+"/account/email")
}

// emailPage asks for the code that was mailed to a new address. Without one there
// is nothing to ask for.
func (d *Door) emailPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	var waits bool
	err := d.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		waits, err = accounts.Waits(r.Context(), tx, accounts.ForEmail, v.User.ID)
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	if !waits {
		d.Site.Redirect(w, r, d.Base+"/account")
		return
	}
	d.showEmail(w, r, v, nil)
}

func (d *Door) showEmail(w http.ResponseWriter, r *http.Request, v *Visit, failure error) {
	page := emailPage{section: d.section(w, r, v, "/account"), Digits: web.Boxes(web.CodeBoxes)}
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if !page.Form.Add(page.Printer(), failure) {
			d.Fail(w, r, v.Caller, failure)
			return
		}
	}
	d.Site.Render(w, r, status, "email", page)
}

func (d *Door) confirmEmail(w http.ResponseWriter, r *http.Request, v *Visit) {
	if err := accounts.ConfirmEmail(r.Context(), d.DB, v.Caller, d.Keys, d.Gate.Address(v.User.Kind), typedCode(r)); err != nil {
		d.showEmail(w, r, v, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account", web.Flash{Key: "account.email.changed"})
}

// undoEmailPage is behind the link in the mail to an old address. It only asks:
// mail scanners follow links.
func (d *Door) undoEmailPage(w http.ResponseWriter, r *http.Request) {
	token := r.FormValue("token")
	var u accounts.User
	err := d.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		u, _, err = accounts.PeekLink(r.Context(), tx, accounts.ForEmailUndo, token)
		return err
	})
	if err != nil {
		d.overLink(w, r, err, nil)
		return
	}
	page := noticePage{Frame: d.Site.Frame(w, r).Card().Secret(), Icon: "mail",
		Post: &post{Action: d.Base + "/email/undo", Name: "token", Value: token, Key: "account.email.undo"}}
	p := page.Printer()
	page.Title, page.Text, page.Hint = p.T("account.email.undo.title"), p.T("account.email.undo.text", "username", u.Username), p.T("account.email.undo.hint")
	d.Site.Render(w, r, http.StatusOK, "notice", page)
}

func (d *Door) undoEmail(w http.ResponseWriter, r *http.Request) {
	from := access.CallerOf(r.Context())
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		_, err := accounts.UndoEmail(r.Context(), tx, from, r.PostFormValue("token"))
		return err
	})
	if err != nil {
		d.overLink(w, r, err, nil)
		return
	}
	web.EndSession(w, d.session) // all of the account's are over
	d.Site.Done(w, r, d.Base+"/login", web.Flash{Key: "account.email.undone"})
}
