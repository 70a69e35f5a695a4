package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
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
		Name: p.Name, Description: p.Description, Excludes: strings.Join(p.Settings.Exclude, "\n")}
	page.Title = web.Visible(p.Name)
	var folders []string
	for _, f := range p.Settings.Folders {
		folders = append(folders, f.Path)
	}
	page.Folders = strings.Join(folders, "\n")
	c.site.Render(w, r, http.StatusOK, "profile", page)
}

// fields of a profile's form, by the keys of what may be wrong.
var profileFields = map[string]string{
	"profile.folder": "folders", "profile.exclude": "excludes", "profile.interval.": "interval", "profile.text.": "reason",
	"profile.name.": "name", "profile.devices.": "max_devices", "profile.preserved.": "preserved_days",
}

// readProfile reads the form of a profile over the settings that it was made
// from.
func readProfile(r *http.Request, page *profilePage, before profile.Settings) {
	page.Set = before
	page.Set.Folders, page.Set.Exclude = foldersOf(page.Folders, before.Folders), lines(page.Excludes)
	page.Set.IntervalMinutes, page.Set.MaxDevices = number(r, "interval"), number(r, "max_devices")
	page.Set.UserMay.Folders, page.Set.AllowAddDevices = checked(r, "user_can_add"), checked(r, "allow_add_devices")
	page.Set.WebRestore, page.Set.Sharing = checked(r, "web_restore"), checked(r, "sharing")
	page.Set.UserCanEditPrivacy = checked(r, "user_can_edit_privacy")
	page.Set.SecondFactor = profile.Optional
	if checked(r, "second_factor") {
		page.Set.SecondFactor = profile.Required
	}
	page.Set.AutoDeletePreservedDays = 0
	if checked(r, "auto_delete") {
		page.Set.AutoDeletePreservedDays = number(r, "preserved_days")
	}
}

// saveProfile saves what the form shows and leaves all other settings as they
// are. Who changed the profile meanwhile is not overwritten.
func (c *console) saveProfile(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	page := profilePage{Name: r.PostFormValue("name"), Description: r.PostFormValue("description"),
		Folders: r.PostFormValue("folders"), Excludes: r.PostFormValue("excludes"), Reason: r.PostFormValue("reason"), CanManage: true}
	var p profiles.Listed
	err := c.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if p, err = c.findProfile(r, tx, v); err != nil {
			return err
		}
		readProfile(r, &page, p.Settings)
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

// foldersOf reads one folder a line. One that was mandatory stays so.
func foldersOf(text string, before []profile.Folder) []profile.Folder {
	folders := []profile.Folder{}
	for _, path := range lines(text) {
		f := profile.Folder{Path: path}
		if i := slices.IndexFunc(before, func(b profile.Folder) bool { return b.Path == path }); i >= 0 {
			f = before[i]
		}
		folders = append(folders, f)
	}
	return folders
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
