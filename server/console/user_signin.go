package console

import (
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

func sessionOf(f web.Frame, s accounts.Session) session {
	return session{ID: s.ID, Where: f.Printer().T("session.in." + string(s.Portal)), Browser: web.Browser(f.Printer(), s.UserAgent), IP: s.IP,
		Began: s.CreatedAt, Seen: s.LastSeenAt}
}

// localeName is a language in its own tongue.
func localeName(language string) (string, bool) {
	l, ok := locale.Parse(language)
	if !ok {
		return "", false
	}
	return l.Name(), true
}

func (c *console) endSession(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.session.ended", func(tx *db.Tx, u accounts.User) error {
		list, err := accounts.Sessions(r.Context(), tx, v.caller, u.ID)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.ID == r.PathValue("session") {
				return accounts.EndSession(r.Context(), tx, v.caller, s.ID)
			}
		}
		return nil // it is over, which is what was asked for
	})
}

// inviteAgain mails a new activation link with a new temporary secret. What
// was mailed before is void.
func (c *console) inviteAgain(w http.ResponseWriter, r *http.Request, v *visit) {
	secret, hash := c.temporary()
	c.changeUser(w, r, v, "users.invite.done", func(tx *db.Tx, u accounts.User) error {
		if u.Email == "" {
			return errs.New(errs.Conflict, "users.invite.no_email")
		}
		_, err := accounts.Invite(r.Context(), tx, v.caller, c.Keys, c.Gate.Address(u.Kind), u.ID, accounts.InviteOptions{Secret: secret, Hash: hash, Command: c.command(r, u)})
		return err
	})
}

// command is what a user types to activate a computer, "" for administrators,
// who have none.
func (c *console) command(r *http.Request, u accounts.User) string {
	if u.Kind != access.UserKind {
		return ""
	}
	return web.ActivateCommand(c.portal(r), c.Fingerprint, u.Username)
}

// temporary makes a secret for the client's first log-in.
func (c *console) temporary() (secret, hash string) {
	secret = passwords.Readable()
	return secret, c.Gate.Hasher.HashRandom(secret)
}

// copyLink makes a new activation link for the administrator to hand over, and
// shows it this once.
func (c *console) copyLink(w http.ResponseWriter, r *http.Request, v *visit) {
	page := madeUserPage{Portal: c.portal(r), Invited: true, Again: true}
	secret, hash := c.temporary()
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err // whoever has the link has the account
		}
		page.Home, page.Username, page.Email, page.Secret, page.Command = home(u), u.Username, u.Email, secret, c.command(r, u)
		if u.Kind == access.AdminKind {
			page.Secret = "" // no client asks an administrator for one
		}
		page.Link, err = accounts.Invite(r.Context(), tx, v.caller, c.Keys, c.Gate.Address(u.Kind), u.ID,
			accounts.InviteOptions{Secret: secret, Hash: hash, NoMail: true})
		return err
	})
	if err != nil {
		c.showPerson(w, r, v, web.Status(w, err), err)
		return
	}
	page.Frame = c.frame(w, r, v, "users.link.title", "name", web.Visible(page.Username)).Secret()
	c.site.Render(w, r, http.StatusOK, "user-made", page)
}

// unlock ends the lock that too many failed attempts have put on an account.
func (c *console) unlock(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.unlock.done", func(tx *db.Tx, u accounts.User) error {
		return c.Gate.Unlock(r.Context(), tx, v.caller, u.ID)
	})
}

// sendReset mails a link for a new password.
func (c *console) sendReset(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.reset.done", func(tx *db.Tx, u accounts.User) error {
		_, err := c.Gate.SendReset(r.Context(), tx, v.caller, u.ID, false)
		return err
	})
}

// copyReset makes such a link for the administrator to hand over where no mail
// can bring it, and shows it this once.
func (c *console) copyReset(w http.ResponseWriter, r *http.Request, v *visit) {
	page := madeUserPage{Portal: c.portal(r), Invited: true, Again: true}
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err // whoever has the link has the account
		}
		page.Home, page.Username = home(u), u.Username
		page.Link, err = c.Gate.SendReset(r.Context(), tx, v.caller, u.ID, true)
		return err
	})
	if err != nil {
		c.showPerson(w, r, v, web.Status(w, err), err)
		return
	}
	page.Frame = c.frame(w, r, v, "users.reset.title", "name", web.Visible(page.Username)).Secret()
	c.site.Render(w, r, http.StatusOK, "user-made", page)
}

func (c *console) askProfile(w http.ResponseWriter, r *http.Request, v *visit) {
	page := chooseProfilePage{Frame: c.frame(w, r, v, "users.profile")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		now, err := profiles.Of(r.Context(), tx, u)
		if err != nil {
			return err
		}
		page.Home, page.Username, page.Profile, page.Profiles = home(u), u.Username, string(now.ID), nil
		list, err := profiles.List(r.Context(), tx, v.caller, u.Org)
		for _, p := range list {
			page.Profiles = append(page.Profiles, itemOf(p))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "user-profile", page)
}

func (c *console) changeProfile(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.profile.done", func(tx *db.Tx, u accounts.User) error {
		standard, err := profiles.Default(r.Context(), tx, u.Org)
		if err != nil {
			return err
		}
		id := profiles.ID(r.PostFormValue("profile"))
		if id == standard.ID {
			id = "" // who has the default one follows when it changes
		}
		return profiles.Assign(r.Context(), tx, v.caller, u.ID, id)
	})
}

func (c *console) askLicence(w http.ResponseWriter, r *http.Request, v *visit) {
	if c.fresh(w, r, v) {
		c.showUserLicence(w, r, v, http.StatusOK, nil)
	}
}

// showUserLicence offers the licences of the organisation, each with how it
// stands.
func (c *console) showUserLicence(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := chooseLicencePage{Frame: c.frame(w, r, v, "users.licence")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		u, err := findUser(r, tx, v)
		if err != nil {
			return err
		}
		page.Home, page.Username, page.Licence = home(u), u.Username, u.Licence
		page.Licences = []role{{Text: page.Printer().T("users.licence.none"), Means: page.Printer().T("users.licence.none.means")}}
		list, _, err := c.standings(r.Context(), tx, v)
		for _, s := range list {
			page.Licences = append(page.Licences, role{Name: string(s.ID), Text: web.Visible(s.Name), Means: page.Printer().T(s.Key, s.Args...)})
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "user-licence", page)
}

// changeUserLicence moves a user to another licence.
func (c *console) changeUserLicence(w http.ResponseWriter, r *http.Request, v *visit) {
	c.tryUser(w, r, v, "users.licence.done", func(tx *db.Tx, u accounts.User) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		return accounts.SetLicence(r.Context(), tx, v.caller, c.Keys, u.ID, r.PostFormValue("licence"))
	}, func(status int, err error) { c.showUserLicence(w, r, v, status, err) })
}

// refuseRequest closes a user's wish to be deleted.
func (c *console) refuseRequest(w http.ResponseWriter, r *http.Request, v *visit) {
	c.changeUser(w, r, v, "users.request.refused", func(tx *db.Tx, u accounts.User) error {
		q, err := requestOf(r, tx, v, u)
		if err != nil || q == nil {
			return err
		}
		return accounts.RefuseRequest(r.Context(), tx, v.caller, q.ID)
	})
}

// requestOf is a user's open request, nil when there is none.
func requestOf(r *http.Request, tx *db.Tx, v *visit, u accounts.User) (*accounts.Request, error) {
	list, err := accounts.Requests(r.Context(), tx, v.caller, u.Org)
	for _, q := range list {
		if q.User == u.ID {
			return &q, err
		}
	}
	return nil, err
}
