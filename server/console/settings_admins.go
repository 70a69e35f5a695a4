package console

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/web"
)

func (c *console) adminRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET "+administrators, c.admin(c.administrators))
	mux.HandleFunc("GET "+administrators+"/new", c.admin(c.newAdministrator))
	mux.HandleFunc("POST "+administrators+"/new", c.admin(c.createAdministrator))
	mux.HandleFunc("GET "+administrators+"/{user}", c.admin(c.administrator))
	mux.HandleFunc("POST "+administrators+"/{user}/role", c.admin(c.changeRole))
}

// maxAdministrators is how many the page lists; no organisation has as many.
const maxAdministrators = 500

func (c *console) administrators(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := administratorsPage{settingsFrame: c.settingsFrame(w, r, v, "settings.administrators")}
	page.Buttons = []button{{Text: page.Printer().T("administrators.new"), Icon: "user-plus", Href: administrators + "/new", Class: "btn-primary"}}
	err := audit.See(v.caller, access.ManageUsers, v.org(), "", "users")
	if err == nil {
		err = c.DB.Read(ctx, func(tx *db.Tx) error {
			list, _, err := accounts.List(ctx, tx, v.caller, accounts.Filter{Org: v.org(), Kind: access.AdminKind, Limit: maxAdministrators})
			page.Administrators = nil
			for _, u := range list {
				has, err := factors.Of(ctx, tx, u.ID)
				if err != nil {
					return err
				}
				page.Administrators = append(page.Administrators, administratorOf(page.Frame, v, u, has.Any()))
			}
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "settings-administrators", page)
}

func administratorOf(f web.Frame, v *visit, u accounts.User, factor bool) administrator {
	a := administrator{Href: home(u), Username: u.Username, Email: u.Email, Role: f.Printer().T("role." + string(u.Role)),
		State: f.State("user.state.", string(u.State)), LastLogin: u.LastLoginAt, Factor: factor, You: u.ID == v.user.ID}
	if name := u.Name(); name != u.Username {
		a.FullName = name
	}
	return a
}

// roles are what an administrator may be made for by the visitor: nothing
// above themselves.
func (v *visit) roles(f web.Frame) []role {
	var list []role
	for _, x := range access.Roles() {
		if x == access.ServerAdmin && v.caller.Role != access.ServerAdmin {
			continue
		}
		list = append(list, role{Name: string(x), Text: f.Printer().T("role." + string(x)), Means: f.Printer().T("role.means." + string(x))})
	}
	return list
}

func (c *console) newAdministrator(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.ManageUsers, v.org(), "", "users"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if c.fresh(w, r, v) {
		c.showNewAdministrator(w, r, v, http.StatusOK, newAdministratorPage{Role: string(access.Viewer)}, nil)
	}
}

func (c *console) showNewAdministrator(w http.ResponseWriter, r *http.Request, v *visit, status int, page newAdministratorPage, failure error) {
	page.settingsFrame = c.settingsFrame(w, r, v, "administrators.new")
	page.Roles = v.roles(page.Frame)
	if failure != nil && !refused(&page.Form, page.Printer(), failure, userFields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		works, err := mail.Works(r.Context(), tx)
		page.MailOff = !works
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "administrator-new", page)
}

// createAdministrator invites an administrator, who sets the password by the
// link.
func (c *console) createAdministrator(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := newAdministratorPage{Username: r.PostFormValue("username"), FirstName: r.PostFormValue("first_name"), LastName: r.PostFormValue("last_name"),
		Email: r.PostFormValue("email"), Role: r.PostFormValue("role"), NoMail: checked(r, "no_mail")}
	made := madeUserPage{Portal: c.portal(r) + Base, Invited: true, Another: administrators + "/new"}
	err := c.DB.Write(ctx, func(tx *db.Tx) error {
		if err := c.checkFresh(ctx, tx, v); err != nil {
			return err
		}
		u, err := accounts.Create(ctx, tx, v.caller, c.Keys, accounts.New{Org: v.org(), Kind: access.AdminKind, Role: access.Role(page.Role),
			Username: page.Username, FirstName: page.FirstName, LastName: page.LastName, Email: page.Email})
		if err != nil {
			return err
		}
		made.Home, made.Username, made.Email = home(u), u.Username, u.Email
		made.Link, err = accounts.Invite(ctx, tx, v.caller, c.Keys, c.Gate.Address(u.Kind), u.ID, accounts.InviteOptions{NoMail: page.NoMail || u.Email == ""})
		return err
	})
	if err != nil {
		c.showNewAdministrator(w, r, v, web.Status(w, err), page, err)
		return
	}
	made.Frame = c.frame(w, r, v, "users.made", "name", web.Visible(made.Username)).Secret()
	c.site.Render(w, r, http.StatusCreated, "user-made", made)
}

func (c *console) administrator(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showAdministrator(w, r, v, http.StatusOK, nil)
}

// showPerson shows the page of whoever the address names, with what went wrong.
func (c *console) showPerson(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	if strings.HasPrefix(r.URL.Path, administrators) {
		c.showAdministrator(w, r, v, status, failure)
		return
	}
	c.showUser(w, r, v, status, failure)
}

func (c *console) showAdministrator(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	ctx := r.Context()
	page := administratorPage{userPage: userPage{Frame: c.frame(w, r, v, "settings.administrators"), CanManage: v.may(access.ManageUsers)}}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := audit.See(v.caller, access.ManageUsers, v.org(), "", "users")
	if err == nil {
		err = c.DB.Read(ctx, func(tx *db.Tx) error {
			u, err := findUser(r, tx, v)
			if err != nil {
				return err
			}
			if err := page.person(r, tx, v, u); err != nil {
				return err
			}
			page.User = rowOf(page.Frame, u, profileItem{})
			page.Title, page.You, page.Role = u.Name(), u.ID == v.user.ID, string(u.Role)
			page.StateText = page.Printer().T("role.means." + page.Role)
			page.Roles, page.Locked = v.roles(page.Frame), c.checkFresh(ctx, tx, v) != nil
			if u.Role == access.ServerAdmin && v.caller.Role != access.ServerAdmin {
				page.CanManage = false // they are above the visitor
			}
			return page.act(r, tx, u)
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "administrator", page)
}

func (c *console) changeRole(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "administrators.role.done", func(tx *db.Tx, u accounts.User) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		to := access.Role(r.PostFormValue("role"))
		_, err := accounts.Update(r.Context(), tx, v.caller, u.ID, accounts.Changes{Role: &to})
		return err
	})
}
