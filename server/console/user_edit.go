package console

import (
	"net/http"

	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/web"
)

func (c *console) askEdit(w http.ResponseWriter, r *http.Request, v *visit) {
	if c.fresh(w, r, v) { // whoever sets the address can have the account by it
		c.showEdit(w, r, v, http.StatusOK, nil, nil)
	}
}

// showEdit shows what can be changed of an account: as it is, or as somebody
// wants it and what is wrong about it.
func (c *console) showEdit(w http.ResponseWriter, r *http.Request, v *visit, status int, wanted *accounts.Changes, failure error) {
	page := editUserPage{Frame: c.frame(w, r, v, "users.edit")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, userFields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		page.Title, page.Home, page.Whose = page.Printer().T("users.edit.title", "name", web.Visible(u.Username)), home(u), u.Username
		page.Private = u.PrivacyOn
		page.Username, page.Email, page.FirstName, page.LastName, page.Language = u.Username, u.Email, u.FirstName, u.LastName, u.Language
		switch {
		case u.Email == "":
		case u.State == accounts.Active:
			page.EmailHint = page.Printer().T("users.edit.email.told")
		case u.State == accounts.Invited:
			page.EmailHint = page.Printer().T("users.edit.email.invited")
		default:
			page.EmailHint = page.Printer().T("users.edit.email.hint")
		}
		return nil
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if wanted != nil {
		page.Username, page.Email, page.FirstName, page.LastName, page.Language = *wanted.Username, *wanted.Email, *wanted.FirstName, *wanted.LastName, *wanted.Language
	}
	c.site.Render(w, r, status, "user-edit", page)
}

func (c *console) editUser(w http.ResponseWriter, r *http.Request, v *visit) {
	field := func(name string) *string {
		s := r.PostFormValue(name)
		return &s
	}
	wanted := accounts.Changes{Username: field("username"), Email: field("email"), FirstName: field("first_name"),
		LastName: field("last_name"), Language: field("language")}
	var u accounts.User
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if u, err = findUser(r, tx, v); err != nil {
			return err
		}
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		old := u
		if u, err = accounts.Update(r.Context(), tx, v.caller, u.ID, wanted); err != nil || u.Email == old.Email || u.State != accounts.Active {
			return err // an address that nobody has answered from may be a stranger's
		}
		return accounts.TellOld(r.Context(), tx, c.Keys, c.Gate.Address(u.Kind), u, old.Email)
	})
	if err != nil {
		c.showEdit(w, r, v, web.Status(w, err), &wanted, err)
		return
	}
	c.site.Done(w, r, home(u), web.Flash{Key: "users.edit.done", Args: []any{"name", u.Username}})
}
