package console

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/web"
)

// section is a page of the settings.
type section struct {
	name, icon string
	action     access.Action // who may see it
}

// sections are the pages of the settings in their order. Those of the server
// are for server administrators only.
var sections = []section{
	{"organisation", "building-skyscraper", access.ViewUsers},
	{"licences", "certificate", access.ViewUsers},
	{"administrators", "user-shield", access.ManageUsers},
	{"tokens", "key", access.ManageTokens},
	{"users", "users-group", access.ManageSettings},
	{"devices", "device-laptop", access.ManageSettings},
	{"registration", "login", access.ManageSettings},
	{"signin", "shield-lock", access.ManageSettings},
	{"approvals", "circle-check", access.ManageSettings},
	{"mail", "mail", access.ManageSettings},
	{"portals", "world", access.ManageSettings},
	{"database", "database", access.ManageSettings},
}

func (c *console) settingsRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/settings", c.admin(c.settings))
	mux.HandleFunc("GET /admin/settings/organisation", c.admin(c.organisation))
	mux.HandleFunc("POST /admin/settings/organisation", c.admin(c.renameOrganisation))
	mux.HandleFunc("GET /admin/settings/portals", c.admin(c.portals))
	mux.HandleFunc("GET /admin/settings/database", c.admin(c.database))
	c.rulesRoutes(mux)
	c.mailRoutes(mux)
	c.licenceRoutes(mux)
	c.adminRoutes(mux)
	c.tokenRoutes(mux)
}

// settings lists what can be set. On a narrow screen it is the way from one
// section to another.
func (c *console) settings(w http.ResponseWriter, r *http.Request, v *visit) {
	c.site.Render(w, r, http.StatusOK, "settings", c.settingsFrame(w, r, v, "console.settings"))
}

// settingsFrame is the frame of a page of the settings, titled by key.
func (c *console) settingsFrame(w http.ResponseWriter, r *http.Request, v *visit, key string, args ...any) settingsFrame {
	page := settingsFrame{Frame: c.frame(w, r, v, key, args...)}
	for _, s := range sections {
		if !v.may(s.action) {
			continue
		}
		href := "/admin/settings/" + s.name
		page.Sections = append(page.Sections, web.Link{Key: "settings." + s.name, Href: href, Icon: s.icon,
			Active: r.URL.Path == href || strings.HasPrefix(r.URL.Path, href+"/")})
	}
	return page
}

func (c *console) organisation(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showOrganisation(w, r, v, http.StatusOK, nil)
}

func (c *console) showOrganisation(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := organisationPage{settingsFrame: c.settingsFrame(w, r, v, "settings.organisation"), CanRename: v.may(access.ManageOrgs)}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"org.name.": "name", "profile.quota.": "quota"}) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		page.Locked = c.checkFresh(r.Context(), tx, v) != nil
		x, err := c.count(r, tx, v, page.Frame)
		if err != nil {
			return err
		}
		q, err := devices.QuotaOfOrg(r.Context(), tx, v.org())
		if q.Limit == 0 {
			q.Used = x.bytes // which nobody has added up
		}
		page.Name, page.Created, page.Users, page.Devices = x.org.Name, x.org.CreatedAt, x.users, x.devices
		page.Quota, page.Size = quotaOf(page.Printer(), q), sizeOf(q.Limit)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if page.NewName = page.Name; failure != nil {
		page.NewName, page.Size = r.PostFormValue("name"), sizeIn(r.PostForm, "quota")
	}
	c.site.Render(w, r, status, "settings-organisation", page)
}

func (c *console) renameOrganisation(w http.ResponseWriter, r *http.Request, v *visit) {
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		if err := orgs.Rename(r.Context(), tx, v.caller, v.org(), r.PostFormValue("name")); err != nil || !r.PostForm.Has("quota") {
			return err
		}
		if err := orgs.SetQuota(r.Context(), tx, v.caller, v.org(), sizeIn(r.PostForm, "quota").bytes()); err != nil {
			return err
		}
		return devices.RoomMade(r.Context(), tx, v.caller, v.org(), "")
	})
	if err != nil {
		c.showOrganisation(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, r.URL.Path, web.Flash{Key: "form.saved"})
}

func (c *console) portals(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.ManageSettings, v.org(), "", "settings"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	at := c.portal(r)
	own := at
	if c.Gate.Console != nil {
		own = c.Gate.Console()
	}
	c.site.Render(w, r, http.StatusOK, "settings-portals", portalsPage{settingsFrame: c.settingsFrame(w, r, v, "settings.portals"),
		Portal: at + "/", Console: own + Base + "/", Fingerprint: c.Fingerprint, Set: c.PublicURL != "", HideBuild: c.HideBuild})
}

func (c *console) database(w http.ResponseWriter, r *http.Request, v *visit) {
	page := databasePage{settingsFrame: c.settingsFrame(w, r, v, "settings.database")}
	err := audit.See(v.caller, access.ManageSettings, v.org(), "", "settings")
	if err == nil {
		page.About, err = c.DB.About(r.Context())
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, http.StatusOK, "settings-database", page)
}
