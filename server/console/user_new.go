package console

import (
	"net/http"
	"time"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
)

func (c *console) newUserRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/users/new", c.admin(c.newUser))
	mux.HandleFunc("POST /admin/users", c.admin(c.createUser))
}

func (c *console) newUser(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.ManageUsers, v.org(), "", "users"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.showNewUser(w, r, v, http.StatusOK, newUserPage{How: byInvitation}, nil)
}

// The ways by which somebody gets their first password.
const (
	byInvitation = "invite"   // from the activation mail, or a link that is handed over
	byPassword   = "password" // the administrator passes on one that is made, and picks none
)

// fields of the form for a new user, by the keys of what may be wrong.
var userFields = map[string]string{
	"user.username.": "username", "user.email.": "email", "user.name.": "last_name",
	"user.language.": "language", "licence.": "licence",
}

func (c *console) showNewUser(w http.ResponseWriter, r *http.Request, v *visit, status int, page newUserPage, failure error) {
	page.Frame = c.frame(w, r, v, "users.new")
	if failure != nil && !refused(&page.Form, page.Printer(), failure, userFields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		works, err := mail.Works(r.Context(), tx)
		if err != nil {
			return err
		}
		page.MailOff = !works
		if page.Licences, err = c.licenceOptions(r, tx, v, page.Printer()); err != nil {
			return err
		}
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

// createUser makes a user, who is invited or gets a password that is shown
// this once.
func (c *console) createUser(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := newUserPage{How: r.PostFormValue("how"), Username: r.PostFormValue("username"), FirstName: r.PostFormValue("first_name"),
		LastName: r.PostFormValue("last_name"), Email: r.PostFormValue("email"), Profile: r.PostFormValue("profile"),
		Licence: r.PostFormValue("licence"), Language: r.PostFormValue("language"), NoMail: r.PostFormValue("no_mail") == "on"}
	n := accounts.New{Org: v.org(), Kind: access.UserKind, Username: page.Username, FirstName: page.FirstName, LastName: page.LastName,
		Email: page.Email, Licence: page.Licence, Language: page.Language}
	if page.How != byPassword {
		page.How = byInvitation
	}
	n.MustChangePassword = page.How == byPassword // two people know it
	secret := passwords.Readable()
	var err error
	if n.PasswordHash, err = c.Gate.Hasher.Hash(ctx, secret); err != nil {
		c.showNewUser(w, r, v, web.Status(w, err), page, err)
		return
	}
	made := madeUserPage{Portal: c.portal(r), Another: "/admin/users/new", Secret: secret, Invited: page.How == byInvitation}
	err = c.DB.Write(ctx, func(tx *db.Tx) error {
		set, err := settings.Load(ctx, tx)
		if err != nil {
			return err
		}
		if page.How == byInvitation {
			n.Temporary = time.Duration(set.SignIn.ActivationDays) * 24 * time.Hour
		}
		u, err := accounts.Create(ctx, tx, v.caller, c.Keys, n)
		if err != nil {
			return err
		}
		if err := assign(r, tx, v, u, profiles.ID(page.Profile)); err != nil {
			return err
		}
		made.Home, made.Username, made.Email = home(u), u.Username, u.Email
		made.Command = web.ActivateCommand(made.Portal, c.Fingerprint, u.Username)
		if !made.Invited {
			return nil
		}
		made.Link, err = accounts.Invite(ctx, tx, v.caller, c.Keys, c.Gate.Address(u.Kind), u.ID,
			accounts.InviteOptions{Secret: secret, Command: made.Command, NoMail: page.NoMail || u.Email == ""})
		return err
	})
	if err != nil {
		c.showNewUser(w, r, v, web.Status(w, err), page, err)
		return
	}
	made.Frame = c.frame(w, r, v, "users.made", "name", made.Username).Secret()
	c.site.Render(w, r, http.StatusCreated, "user-made", made)
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

// licenceOptions are the licences that a new user can be bound to, none when
// there is nothing to choose.
func (c *console) licenceOptions(r *http.Request, tx *db.Tx, v *visit, p *locale.Printer) ([]option, error) {
	list, _, err := c.standings(r.Context(), tx, v)
	var options []option
	for _, s := range list {
		if s.State == orgs.LicenceActive {
			options = append(options, option{Value: string(s.ID), Text: web.Visible(s.Name) + " – " + p.T(s.Key, s.Args...)})
		}
	}
	if len(options) == 0 {
		return nil, err
	}
	return append([]option{{Text: p.T("users.licence.auto")}}, options...), err
}
