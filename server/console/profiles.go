package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
	"github.com/backstay/backstay/web"
)

func itemOf(p profiles.Listed) profileItem {
	return profileItem{ID: string(p.ID), Name: p.Name, Description: p.Description, Users: p.Users, Revision: p.Revision,
		Default: p.Default, WebRestore: p.Settings.WebRestore, Changed: p.UpdatedAt}
}

func (c *console) profiles(w http.ResponseWriter, r *http.Request, v *visit) {
	page := profilesPage{Frame: c.frame(w, r, v, "console.profiles")}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := profiles.List(r.Context(), tx, v.caller, v.org())
		page.Profiles = nil
		for _, p := range list {
			page.Profiles = append(page.Profiles, itemOf(p))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "profiles", page)
}

// findProfile is a profile with how many users have it.
func (c *console) findProfile(r *http.Request, tx *db.Tx, v *visit) (profiles.Listed, error) {
	p, err := profiles.View(r.Context(), tx, v.caller, profiles.ID(r.PathValue("profile")))
	if err != nil {
		return profiles.Listed{}, err
	}
	list, err := profiles.List(r.Context(), tx, v.caller, p.Org)
	if err != nil {
		return profiles.Listed{}, err
	}
	if i := slices.IndexFunc(list, func(l profiles.Listed) bool { return l.ID == p.ID }); i >= 0 {
		return list[i], nil
	}
	return profiles.Listed{Profile: p}, nil
}

func (c *console) profile(w http.ResponseWriter, r *http.Request, v *visit) {
	var p profiles.Listed
	err := c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		p, err = c.findProfile(r, tx, v)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	page := profilePage{Frame: c.frame(w, r, v, "console.profiles"), Profile: itemOf(p), Set: p.Settings, CanManage: v.may(access.ManageProfiles),
		Name: p.Name, Description: p.Description, Text: textOf(p.Settings)}
	page.Title = web.Visible(p.Name)
	page.Text.ready(page.Printer())
	c.site.Render(w, r, http.StatusOK, "profile", page)
}

// saveProfile saves what the form shows and leaves all other settings as they
// are. Who changed the profile meanwhile is not overwritten.
func (c *console) saveProfile(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := profilePage{Name: r.PostFormValue("name"), Description: r.PostFormValue("description"), Reason: r.PostFormValue("reason"), CanManage: true}
	var p profiles.Listed
	err := c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if p, err = c.findProfile(r, tx, v); err != nil {
			return err
		}
		if err := readProfile(r, &page, p.Settings); err != nil {
			return err
		}
		_, err = profiles.Save(ctx, tx, v.caller, p.ID, revision(r),
			profiles.Changes{Name: &page.Name, Description: &page.Description, Settings: &page.Set, Reason: page.Reason})
		return err
	})
	if err == nil {
		c.site.Done(w, r, "/admin/profiles/"+string(p.ID), web.Flash{Key: "form.saved"})
		return
	}
	page.Frame, page.Profile = c.frame(w, r, v, "console.profiles"), itemOf(p)
	page.Profile.Revision = revision(r)
	page.Title = web.Visible(p.Name)
	page.Text.ready(page.Printer())
	if !refused(&page.Form, page.Printer(), err, profileFields) {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, web.Status(w, err), "profile", page)
}

// copyProfile makes a profile like this one, under a name that is free.
func (c *console) copyProfile(w http.ResponseWriter, r *http.Request, v *visit) {
	var made profiles.Profile
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		p, err := c.findProfile(r, tx, v)
		if err != nil {
			return err
		}
		list, err := profiles.List(r.Context(), tx, v.caller, p.Org)
		if err != nil {
			return err
		}
		name := locale.For(web.LangOf(r)).T("profile.copy.name", "name", p.Name)
		for n := 2; slices.ContainsFunc(list, func(l profiles.Listed) bool { return orgs.Fold(l.Name) == orgs.Fold(name) }); n++ {
			name = locale.For(web.LangOf(r)).T("profile.copy.name", "name", p.Name) + " " + strconv.Itoa(n)
		}
		made, err = profiles.Create(r.Context(), tx, v.caller, p.Org, name, p.Description, p.Settings)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Done(w, r, "/admin/profiles/"+string(made.ID), web.Flash{Key: "profile.copied"})
}

// profileOptions are the profiles to choose from, or none, which none names.
func profileOptions(ctx context.Context, tx *db.Tx, v *visit, none string) ([]option, error) {
	list, err := profiles.List(ctx, tx, v.caller, v.org())
	options := []option{{"", none}}
	for _, p := range list {
		options = append(options, option{string(p.ID), web.Visible(p.Name)})
	}
	return options, err
}

func lines(text string) []string {
	list := []string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// revision is the number of the profile's revision that the form was made from.
func revision(r *http.Request) int64 {
	n, err := strconv.ParseInt(r.PostFormValue("revision"), 10, 64)
	if err != nil {
		return 0 // no revision has this number, so nothing is overwritten
	}
	return n
}
