package console

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
)

func (c *console) licenceRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/settings/licences", c.admin(c.licences))
	mux.HandleFunc("POST /admin/settings/licences", c.admin(c.saveTerms))
	mux.HandleFunc("GET /admin/settings/licences/new", c.admin(c.newLicence))
	mux.HandleFunc("POST /admin/settings/licences/new", c.admin(c.createLicence))
	mux.HandleFunc("GET /admin/settings/licences/{licence}", c.admin(c.licence))
	mux.HandleFunc("POST /admin/settings/licences/{licence}", c.admin(c.changeLicence))
	mux.HandleFunc("GET /admin/settings/licences/{licence}/revoke", c.admin(c.askRevoke))
	mux.HandleFunc("POST /admin/settings/licences/{licence}/revoke", c.admin(c.revokeLicence))
	mux.HandleFunc("GET /admin/settings/licences/{licence}/users.csv", c.admin(c.licenceReport))
}

// standings are the licences of the visitor's organisation and how they stand.
func (c *console) standings(ctx context.Context, tx *db.Tx, v *visit) ([]orgs.Standing, settings.Settings, error) {
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return nil, set, err
	}
	list, err := orgs.Overview(ctx, tx, v.caller, c.Keys, v.org(), set.Licences)
	return list, set, err
}

// licenceOf is a licence for a page.
func licenceOf(f web.Frame, s orgs.Standing) licence {
	p := f.Printer()
	l := licence{ID: string(s.ID), Name: s.Name, Serial: orgs.FormatSerial(s.Serial), Taken: int64(s.Taken), Seats: int64(s.SeatsActive),
		Preserved: int64(s.Preserved), SeatsPreserved: int64(s.SeatsPreserved), ValidTo: s.ValidTo, Revoked: s.State == orgs.LicenceRevoked,
		Stands: web.Sign{Sign: "good", Icon: "circle-check", Text: p.T(s.Key, s.Args...)}}
	if s.Bad {
		l.Stands.Sign, l.Stands.Icon = "warn", "alert-triangle"
	}
	l.Bar = seatsBar(l.Taken, l.Seats)
	return l
}

// seatsBar draws how many of the seats are taken; what is over them is bad.
func seatsBar(taken, seats int64) []bar {
	whole := max(taken, seats, 1)
	within := min(taken, seats) * 1000 / whole
	parts := []bar{{Class: "good", Width: within}}
	if over := taken - seats; over > 0 {
		parts = append(parts, bar{Class: "bad", X: within, Width: 1000 - within})
	}
	return parts
}

func (c *console) licences(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showLicences(w, r, v, http.StatusOK, nil, nil)
}

func (c *console) showLicences(w http.ResponseWriter, r *http.Request, v *visit, status int, wanted *settings.Licences, failure error) {
	page := licencesPage{settingsFrame: c.settingsFrame(w, r, v, "settings.licences"), CanSet: v.may(access.ManageSettings)}
	if v.may(access.ManageLicences) {
		page.Buttons = []button{{Text: page.Printer().T("licence.new"), Icon: "certificate", Href: "/admin/settings/licences/new", Class: "btn-primary"}}
	}
	if failure != nil && !wrongSetting(&page.Form, page, failure) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, set, err := c.standings(r.Context(), tx, v)
		page.Set, page.Licences = set.Licences, nil
		for _, s := range list {
			page.Licences = append(page.Licences, licenceOf(page.Frame, s))
		}
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if wanted != nil {
		page.Set = *wanted
	}
	c.site.Render(w, r, status, "settings-licences", page)
}

// saveTerms saves how strictly all licences are kept.
func (c *console) saveTerms(w http.ResponseWriter, r *http.Request, v *visit) {
	wanted := settings.Licences{GraceDays: number(r, "grace_days"), ExpiryDays: number(r, "licence_expiry_days"), ReserveOnInvite: checked(r, "reserve_on_invite")}
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		return settings.Change(r.Context(), tx, v.caller, func(s *settings.Settings) error {
			s.Licences = wanted
			return nil
		})
	})
	if err != nil {
		c.showLicences(w, r, v, web.Status(w, err), &wanted, err)
		return
	}
	c.site.Done(w, r, "/admin/settings/licences", web.Flash{Key: "form.saved"})
}

// licenceFields are the fields of a licence's form, by the keys of what may be wrong.
var licenceFields = map[string]string{
	"licence.name.": "name", "licence.seats": "seats", "licence.preserved": "preserved", "licence.past": "valid_to", "licence.date": "valid_to",
}

// day is how a form writes a date.
const day = "2006-01-02"

// readLicence reads the form of a licence. Its last day is a whole one, and its
// seats for preserved users are the share that the settings say when none are
// given.
func (c *console) readLicence(r *http.Request, l *orgs.Licence) error {
	l.Name, l.SeatsActive, l.SeatsPreserved, l.ValidTo = r.PostFormValue("name"), number(r, "seats"), number(r, "preserved"), time.Time{}
	if strings.TrimSpace(r.PostFormValue("preserved")) == "" {
		err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
			set, err := settings.Load(r.Context(), tx)
			l.SeatsPreserved = orgs.PreservedShare(l.SeatsActive, set.Users.PreservedCapPercent)
			return err
		})
		if err != nil {
			return err
		}
	}
	text := strings.TrimSpace(r.PostFormValue("valid_to"))
	if text == "" {
		return nil
	}
	last, err := time.Parse(day, text)
	if err != nil {
		return errs.New(errs.Invalid, "licence.date.invalid")
	}
	l.ValidTo = last.AddDate(0, 0, 1).Add(-time.Second)
	return nil
}

// form is a licence as its form shows it.
func (page *licencePage) form(l orgs.Licence) {
	page.Name, page.Seats, page.Preserved, page.ValidTo = l.Name, l.SeatsActive, l.SeatsPreserved, ""
	if !l.ValidTo.IsZero() {
		page.ValidTo = l.ValidTo.Format(day)
	}
}

func (c *console) newLicence(w http.ResponseWriter, r *http.Request, v *visit) {
	if err := audit.See(v.caller, access.ManageLicences, v.org(), "", "licences"); err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if !c.fresh(w, r, v) {
		return
	}
	page := licencePage{settingsFrame: c.settingsFrame(w, r, v, "licence.new")}
	page.form(orgs.Licence{SeatsActive: 25, SeatsPreserved: 2})
	c.site.Render(w, r, http.StatusOK, "licence-new", page)
}

// createLicence issues a licence and leads to its page, which shows the serial
// number.
func (c *console) createLicence(w http.ResponseWriter, r *http.Request, v *visit) {
	var l orgs.Licence
	err := c.readLicence(r, &l)
	wanted := l
	if err == nil {
		err = c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
			if err := c.checkFresh(r.Context(), tx, v); err != nil {
				return err
			}
			l, err = orgs.CreateLicence(r.Context(), tx, v.caller, c.Keys, orgs.NewLicence{Org: v.org(), Name: wanted.Name,
				SeatsActive: wanted.SeatsActive, SeatsPreserved: wanted.SeatsPreserved, ValidTo: wanted.ValidTo})
			return err
		})
	}
	if err == nil {
		c.site.Done(w, r, "/admin/settings/licences/"+string(l.ID), web.Flash{Key: "licence.issued", Args: []any{"name", l.Name}})
		return
	}
	page := licencePage{settingsFrame: c.settingsFrame(w, r, v, "licence.new")}
	page.form(wanted)
	if !refused(&page.Form, page.Printer(), err, licenceFields) {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, web.Status(w, err), "licence-new", page)
}

// findLicence is a licence of the organisation and how it stands.
func (c *console) findLicence(r *http.Request, tx *db.Tx, v *visit) (orgs.Standing, error) {
	list, _, err := c.standings(r.Context(), tx, v)
	if err != nil {
		return orgs.Standing{}, err
	}
	for _, s := range list {
		if string(s.ID) == r.PathValue("licence") {
			return s, nil
		}
	}
	return orgs.Standing{}, errs.New(errs.NotFound, "licence.unknown")
}

func (c *console) licence(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showLicence(w, r, v, http.StatusOK, nil, nil)
}

func (c *console) showLicence(w http.ResponseWriter, r *http.Request, v *visit, status int, wanted *orgs.Licence, failure error) {
	page := licencePage{settingsFrame: c.settingsFrame(w, r, v, "settings.licences"), CanIssue: v.may(access.ManageLicences)}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, licenceFields) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		s, err := c.findLicence(r, tx, v)
		if err != nil {
			return err
		}
		page.Locked = page.CanIssue && c.checkFresh(r.Context(), tx, v) != nil
		page.Title, page.Licence = web.Visible(s.Name), licenceOf(page.Frame, s)
		page.form(s.Licence)
		return nil
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if wanted != nil {
		page.form(*wanted)
	}
	c.site.Render(w, r, status, "licence", page)
}

func (c *console) changeLicence(w http.ResponseWriter, r *http.Request, v *visit) {
	var wanted orgs.Licence
	err := c.readLicence(r, &wanted)
	if err == nil {
		err = c.DB.Write(r.Context(), func(tx *db.Tx) error {
			s, err := c.findLicence(r, tx, v)
			if err != nil {
				return err
			}
			if err := c.checkFresh(r.Context(), tx, v); err != nil {
				return err
			}
			wanted.ID = s.ID
			_, err = orgs.ChangeLicence(r.Context(), tx, v.caller, c.Keys, wanted)
			return err
		})
	}
	if err != nil {
		c.showLicence(w, r, v, web.Status(w, err), &wanted, err)
		return
	}
	c.site.Done(w, r, r.URL.Path, web.Flash{Key: "form.saved"})
}

func (c *console) askRevoke(w http.ResponseWriter, r *http.Request, v *visit) {
	if c.fresh(w, r, v) {
		c.showRevoke(w, r, v, http.StatusOK, nil)
	}
}

// showRevoke says what becomes of those who have a seat before a licence is
// revoked.
func (c *console) showRevoke(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := confirmPage{Frame: c.frame(w, r, v, "licence.revoke")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, map[string]string{"confirm.": "confirm"}) {
		c.fail(w, r, v.caller, failure)
		return
	}
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		s, err := c.findLicence(r, tx, v)
		p := page.Printer()
		page.Title = p.T("licence.revoke.title", "name", web.Visible(s.Name))
		page.Name, page.Action, page.Back, page.Button = s.Name, r.URL.Path, "/admin/settings/licences/"+string(s.ID), p.T("licence.revoke")
		page.Consequences = some(counted(p, "licence.revoke.users", int64(s.Taken)), p.T("licence.revoke.new"), p.T("licence.revoke.final"))
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "confirm", page)
}

func (c *console) revokeLicence(w http.ResponseWriter, r *http.Request, v *visit) {
	var s orgs.Standing
	err := c.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if s, err = c.findLicence(r, tx, v); err != nil {
			return err
		}
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		if !confirmed(r, s.Name) {
			return errDiffers
		}
		_, err = orgs.RevokeLicence(r.Context(), tx, v.caller, c.Keys, s.ID)
		return err
	})
	if err != nil {
		c.showRevoke(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, "/admin/settings/licences", web.Flash{Key: "licence.revoked.now", Args: []any{"name", s.Name}})
}

// licenceReport sends the users of a licence as a table.
func (c *console) licenceReport(w http.ResponseWriter, r *http.Request, v *visit) {
	var b bytes.Buffer
	var s orgs.Standing
	err := export(r.Context(), c.DB, v, &b, func(tx *db.Tx) (f accounts.Filter, err error) {
		s, err = c.findLicence(r, tx, v)
		return accounts.Filter{Org: v.org(), Kind: access.UserKind, Licence: string(s.ID)}, err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	sendCSV(w, s.Name+".csv", b.Bytes())
}
