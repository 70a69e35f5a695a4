package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
)

// rules is a page of the settings whose form edits a part of them.
type rules struct {
	name string // in the address, and of its title
	show func(page *rulesPage, v *visit)
	edit func(r *http.Request, v *visit, s *settings.Settings)
}

var rulesPages = []rules{
	{name: "users", edit: editUsers},
	{name: "devices", edit: editDevices},
	{name: "registration", edit: editRegistration},
	{name: "signin", show: showSignIn, edit: editSignIn},
}

func (c *console) rulesRoutes(mux *entry.Mux) {
	for _, x := range rulesPages {
		mux.HandleFunc("GET /admin/settings/"+x.name, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
			c.showRules(w, r, v, http.StatusOK, x, nil, nil)
		}))
		mux.HandleFunc("POST /admin/settings/"+x.name, c.admin(func(w http.ResponseWriter, r *http.Request, v *visit) {
			c.saveRules(w, r, v, x)
		}))
	}
}

// showRules shows a part of the settings: as they are, or as somebody wants
// them and what is wrong about it.
func (c *console) showRules(w http.ResponseWriter, r *http.Request, v *visit, status int, x rules, wanted *settings.Settings, failure error) {
	page := rulesPage{settingsFrame: c.settingsFrame(w, r, v, "settings."+x.name)}
	err := audit.See(v.caller, access.ManageSettings, "", "", "settings")
	if err == nil && failure != nil && !wrongSetting(&page.Form, page, failure) {
		err = failure
	}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
			page.Locked = c.checkFresh(r.Context(), tx, v) != nil
			if page.Set, err = settings.Load(r.Context(), tx); err != nil {
				return err
			}
			page.Kinds, err = devices.Kinds(r.Context(), tx, v.caller)
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if wanted != nil {
		page.Set = *wanted
	}
	page.Domains = strings.Join(page.Set.Registration.Domains, "\n")
	if x.show != nil {
		x.show(&page, v)
	}
	c.site.Render(w, r, status, "settings-"+x.name, page)
}

// wrongSetting puts what is wrong with a setting under its field, which the
// key of the failure names.
func wrongSetting(form *web.Form, f interface{ Printer() *locale.Printer }, err error) bool {
	expected := errs.Find(err)
	switch {
	case expected == nil:
		return false
	case strings.HasPrefix(expected.Key, "mail."): // what a mail server said
		return form.Add(f.Printer(), err)
	case expected.Kind != errs.Invalid && expected.Kind != errs.Conflict:
		return false
	}
	if name, ok := strings.CutPrefix(expected.Key, "settings."); ok {
		name = strings.ReplaceAll(strings.TrimPrefix(name, "mail."), ".", "_")
		form.AddField(name, f.Printer().Error(err))
		return true
	}
	return form.Add(f.Printer(), err)
}

func (c *console) saveRules(w http.ResponseWriter, r *http.Request, v *visit, x rules) {
	var wanted settings.Settings
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		return settings.Change(r.Context(), tx, v.caller, func(s *settings.Settings) error {
			x.edit(r, v, s)
			wanted = *s
			return nil
		})
	})
	if err != nil {
		c.showRules(w, r, v, web.Status(w, err), x, &wanted, err)
		return
	}
	c.site.Done(w, r, r.URL.Path, web.Flash{Key: "form.saved"})
}

// number is a field of a form, -1 when it holds none.
func number(r *http.Request, field string) int {
	n, err := strconv.Atoi(strings.TrimSpace(r.PostFormValue(field)))
	if err != nil {
		return -1
	}
	return n
}

func checked(r *http.Request, field string) bool { return r.PostFormValue(field) == "on" }

func editUsers(r *http.Request, _ *visit, s *settings.Settings) {
	s.Users.RollbackDays, s.Users.PreservedCapPercent = number(r, "rollback_days"), number(r, "preserved_cap_percent")
	if checked(r, "withdraw") {
		s.Users.ShorterDays = 0
	}
}

func editDevices(r *http.Request, _ *visit, s *settings.Settings) {
	s.Devices.Retired = slices.DeleteFunc(settings.DeviceKinds(), func(kind string) bool { return !checked(r, "retired_"+kind) })
}

func editRegistration(r *http.Request, v *visit, s *settings.Settings) {
	s.Registration.Mode, s.Registration.Domains = r.PostFormValue("mode"), lines(r.PostFormValue("domains"))
	s.Registration.SharedEmails = checked(r, "shared_emails")
	if s.Registration.Org == "" {
		s.Registration.Org = v.org()
	}
}
