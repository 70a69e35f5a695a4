package console

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

const listPart = 50

// rowOf is a user for a page, without what the devices add.
func rowOf(f web.Frame, u accounts.User, p profiles.Profile) user {
	row := user{ID: string(u.ID), Username: u.Username, Email: u.Email, Profile: p.Name, ProfileID: string(p.ID),
		LastLogin: u.LastLoginAt, Created: u.CreatedAt, State: f.State("user.state.", string(u.State)),
		CanDisable:  u.State == accounts.Active,
		CanActivate: u.State == accounts.Disabled || u.State == accounts.Preserved}
	if name := u.Name(); name != u.Username {
		row.FullName = name
	}
	return row
}

func (c *console) users(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := usersPage{Frame: c.frame(w, r, v, "console.users"), Query: strings.TrimSpace(r.FormValue("q"))}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		filter := accounts.Filter{Org: v.org(), Kind: access.UserKind, Search: page.Query, After: web.After(r), Limit: listPart}
		list, after, err := accounts.List(ctx, tx, v.caller, filter)
		if err != nil {
			return err
		}
		total, err := accounts.Count(ctx, tx, v.caller, filter)
		if err != nil {
			return err
		}
		page.Pages = web.PagesOf(r, len(list), int64(total), after)
		page.Users, err = userRows(r, tx, page.Frame, list)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "users", page)
}

// userRows are users with their profiles and what their devices add up to.
func userRows(r *http.Request, tx *db.Tx, f web.Frame, list []accounts.User) ([]user, error) {
	var ids []accounts.ID
	for _, u := range list {
		ids = append(ids, u.ID)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	sums, err := devices.Summaries(r.Context(), tx, ids)
	if err != nil {
		return nil, err
	}
	var rows []user
	for _, u := range list {
		p, err := profiles.Of(r.Context(), tx, u)
		if err != nil {
			return nil, err
		}
		row := rowOf(f, u, p.Profile)
		row.Devices, row.LastBackup = int64(sums[u.ID].Devices), sums[u.ID].LastBackupAt
		rows = append(rows, row)
	}
	return rows, nil
}

func (c *console) newUser(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showNewUser(w, r, v, http.StatusOK, newUserPage{}, nil)
}

// fields of the form for a new user, by the keys of what may be wrong.
var userFields = map[string]string{
	"user.username.": "username", "user.password.": "password", "user.email.": "email", "user.name.": "last_name",
}

func (c *console) showNewUser(w http.ResponseWriter, r *http.Request, v *visit, status int, page newUserPage, failure error) {
	page.Frame = c.frame(w, r, v, "users.new")
	if failure != nil && !refused(&page.Form, page.Printer(), failure, userFields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := profiles.List(r.Context(), tx, v.caller, v.org())
		page.Profiles = nil
		for _, p := range list {
			page.Profiles = append(page.Profiles, itemOf(p))
			if p.Default && page.Profile == "" {
				page.Profile = string(p.ID)
			}
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "user-new", page)
}

// createUser makes a user, and shows the password this once.
func (c *console) createUser(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := newUserPage{Username: r.PostFormValue("username"), FirstName: r.PostFormValue("first_name"),
		LastName: r.PostFormValue("last_name"), Email: r.PostFormValue("email"), Profile: r.PostFormValue("profile")}
	password := r.PostFormValue("password")
	if password == "" {
		password = passwords.Readable()
	}
	hash, err := c.Gate.Hasher.Hash(ctx, password)
	if err != nil {
		c.showNewUser(w, r, v, errs.Status(err), page, err)
		return
	}
	var u accounts.User
	err = c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		u, err = accounts.Create(ctx, tx, v.caller, c.Keys, accounts.New{Org: v.org(), Kind: access.UserKind,
			Username: page.Username, FirstName: page.FirstName, LastName: page.LastName, Email: page.Email, PasswordHash: hash})
		if err != nil {
			return err
		}
		return assign(r, tx, v, u, profiles.ID(page.Profile))
	})
	if err != nil {
		c.showNewUser(w, r, v, errs.Status(err), page, err)
		return
	}
	c.site.Render(w, r, http.StatusCreated, "user-made", madeUserPage{Frame: c.frame(w, r, v, "users.made", "name", u.Username),
		ID: string(u.ID), Username: u.Username, Password: password, Portal: c.portal(r),
		Command: web.ActivateCommand(c.portal(r), c.Fingerprint, u.Username)})
}

// assign gives a new user the chosen profile. The default one is nobody's own:
// who has it follows when another becomes the default.
func assign(r *http.Request, tx *db.Tx, v *visit, u accounts.User, id profiles.ID) error {
	standard, err := profiles.Default(r.Context(), tx, u.Org)
	if err != nil {
		return err
	}
	if id == "" || id == standard.ID {
		return nil
	}
	return profiles.Assign(r.Context(), tx, v.caller, u.ID, id)
}

func (c *console) user(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showUser(w, r, v, http.StatusOK, nil)
}

func (c *console) showUser(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	ctx, id := r.Context(), accounts.ID(r.PathValue("user"))
	page := userPage{Frame: c.frame(w, r, v, "console.users")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(ctx, func(tx *db.Tx) error {
		u, err := findUser(r, tx, v, id)
		if err != nil {
			return err
		}
		rows, err := userRows(r, tx, page.Frame, []accounts.User{u})
		if err != nil {
			return err
		}
		page.User = rows[0]
		page.Title = u.Name()
		page.Command = web.ActivateCommand(c.portal(r), c.Fingerprint, u.Username)
		page.StateText = page.Printer().T("user.means." + string(u.State))
		list, _, err := devices.List(ctx, tx, v.caller, devices.Filter{Org: u.Org, User: u.ID})
		page.Devices = nil
		for _, d := range list {
			page.Devices = append(page.Devices, deviceOf(page.Frame, d.Device, u.Username))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "user", page)
}

// findUser is a user of the organisation. Administrators are not among them.
func findUser(r *http.Request, tx *db.Tx, v *visit, id accounts.ID) (accounts.User, error) {
	u, err := accounts.View(r.Context(), tx, v.caller, id)
	if err == nil && u.Kind != access.UserKind {
		err = errs.New(errs.NotFound, "user.unknown")
	}
	return u, err
}

func (c *console) askDisable(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showDisable(w, r, v, http.StatusOK, false)
}

// showDisable says what disabling means before it is done.
func (c *console) showDisable(w http.ResponseWriter, r *http.Request, v *visit, status int, wrong bool) {
	var u accounts.User
	var count int64
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if u, err = findUser(r, tx, v, accounts.ID(r.PathValue("user"))); err != nil {
			return err
		}
		n, err := devices.Count(r.Context(), tx, v.caller, devices.Filter{Org: u.Org, User: u.ID, State: devices.Active})
		count = int64(n)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page := confirmPage{Frame: c.frame(w, r, v, "users.disable.title", "name", u.Username), Name: u.Username}
	p, at := page.Printer(), "/admin/users/"+string(u.ID)
	page.Action, page.Back, page.Button = at+"/disable", at, p.T("users.disable")
	page.Consequences = []string{p.T("users.disable.login", "name", u.Username)}
	if count > 0 {
		page.Consequences = append(page.Consequences, p.N("users.disable.devices", count))
	}
	page.Consequences = append(page.Consequences, p.T("users.disable.data"), p.T("users.disable.undo"))
	if wrong {
		page.Form.AddField("confirm", p.T("confirm.differs"))
	}
	c.site.Render(w, r, status, "confirm", page)
}

func (c *console) disableUser(w http.ResponseWriter, r *http.Request, v *visit) {
	c.setState(w, r, v, accounts.Disabled, true, "users.disabled")
}

func (c *console) activateUser(w http.ResponseWriter, r *http.Request, v *visit) {
	c.setState(w, r, v, accounts.Active, false, "users.activated")
}

func (c *console) setState(w http.ResponseWriter, r *http.Request, v *visit, to accounts.State, confirm bool, done string) {
	ctx, id := r.Context(), accounts.ID(r.PathValue("user"))
	var u accounts.User
	wrong := false
	err := c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if u, err = findUser(r, tx, v, id); err != nil {
			return err
		}
		if wrong = confirm && !confirmed(r, u.Username); wrong {
			return nil
		}
		return accounts.SetState(ctx, tx, v.caller, id, to, "")
	})
	switch {
	case wrong:
		c.showDisable(w, r, v, http.StatusBadRequest, true)
	case err != nil:
		c.showUser(w, r, v, errs.Status(err), err)
	default:
		c.site.Done(w, r, "/admin/users/"+string(u.ID), web.Flash{Key: done, Args: []any{"name", u.Username}})
	}
}

// confirmed reports whether the name of what is to be changed was typed.
func confirmed(r *http.Request, name string) bool {
	return strings.EqualFold(strings.TrimSpace(r.PostFormValue("confirm")), strings.TrimSpace(name))
}
