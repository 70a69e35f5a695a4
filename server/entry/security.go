package entry

import (
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

func (d *Door) security(w http.ResponseWriter, r *http.Request, v *Visit) {
	d.showSecurity(w, r, v, nil)
}

// showSecurity shows password and second factors, with what was wrong about a
// change of the password.
func (d *Door) showSecurity(w http.ResponseWriter, r *http.Request, v *Visit, failure error) {
	page := securityPage{section: d.section(w, r, v, "/account/security"), Username: v.User.Username, Changed: v.User.PasswordAt,
		CanPasskey: d.Gate.Factors.CanPasskey(v.User.Kind)}
	err := d.DB.Read(r.Context(), func(tx *db.Tx) error {
		policy, c, err := d.Gate.PolicyFor(r.Context(), tx, v.User)
		if err != nil {
			return err
		}
		page.Rules = rulesOf(page.Printer(), policy, r.PostFormValue("password"), c)
		if err := d.Gate.MayChangePassword(r.Context(), tx, v.Session); isStepUp(err) {
			page.Locked = true
		} else if err != nil {
			return err
		}
		page.Factors, err = factors.Of(r.Context(), tx, v.User.ID)
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if d.over(w, r, failure) {
			return
		}
		if errs.Is(failure, errs.AuthFailed) {
			page.Form.AddField("old", page.Printer().T("account.password.wrong"))
		} else {
			page.Form.Add(page.Printer(), failure)
		}
	}
	d.Site.Render(w, r, status, "security", page)
}

func (d *Door) changePassword(w http.ResponseWriter, r *http.Request, v *Visit) {
	password, err := web.NewPassword(r)
	if err == nil {
		err = d.Gate.ChangePassword(r.Context(), v.Caller, v.Session, r.PostFormValue("old"), password)
	}
	if isStepUp(err) {
		d.Site.Redirect(w, r, d.with("/confirm", "next", d.Base+"/account/security"))
		return
	}
	if err != nil {
		d.showSecurity(w, r, v, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account/security", web.Flash{Key: "account.password.changed"})
}

// isStepUp reports whether err asks who it is.
func isStepUp(err error) bool {
	e := errs.Find(err)
	return e != nil && e.Key == stepUp
}

// beginTOTP makes the secret of an app; totp shows it.
func (d *Door) beginTOTP(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.own(r, v, func(tx *db.Tx) error {
		_, err := d.Gate.Factors.BeginTOTP(r.Context(), tx, v.Caller)
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Redirect(w, r, d.Base+"/account/security/totp")
}

func (d *Door) totp(w http.ResponseWriter, r *http.Request, v *Visit) { d.showTOTP(w, r, v, nil) }

func (d *Door) showTOTP(w http.ResponseWriter, r *http.Request, v *Visit, failure error) {
	page := totpPage{section: d.section(w, r, v, "/account/security")}
	page.Frame = page.Frame.Secret()
	err := d.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		if err := d.Gate.Fresh(r.Context(), tx, v.Session); err != nil {
			return err
		}
		page.App, err = d.Gate.Factors.PendingTOTP(r.Context(), tx, v.Caller)
		return err
	})
	if errs.KindOf(err) == errs.Conflict {
		d.Site.Redirect(w, r, d.Base+"/account/security") // nothing is being set up
		return
	}
	status := http.StatusOK
	if err == nil && failure != nil {
		status = web.Status(w, failure)
		if d.over(w, r, failure) {
			return
		}
		page.Form.AddTo(page.Printer(), failure, codeField)
	}
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Render(w, r, status, "totp", page)
}

// codeField is where failures of a code belong.
var codeField = map[string]string{"factor.code.": "code"}

// confirmTOTP ends the set-up of an app by a code of it. Who has no recovery
// codes gets them with it.
func (d *Door) confirmTOTP(w http.ResponseWriter, r *http.Request, v *Visit) {
	codes, err := d.confirmApp(r, v)
	if err == nil {
		err = d.proved(w, r, v, factors.ByTOTP)
	}
	switch {
	case isStepUp(err):
		d.Fail(w, r, v.Caller, err)
	case err != nil:
		d.showTOTP(w, r, v, err)
	case codes == nil:
		d.Site.Done(w, r, d.Base+"/account/security", web.Flash{Key: "factor.totp.done"})
	default:
		d.showOwnCodes(w, r, v, codes)
	}
}

// confirmApp makes the app that is being set up count, and recovery codes when
// there are none. It wants a fresh proof, but of who has just begun a session
// and must have a factor first.
func (d *Door) confirmApp(r *http.Request, v *Visit) (codes []string, err error) {
	err = d.DB.Write(r.Context(), func(tx *db.Tx) error {
		codes = nil
		if v.Session.Stage != accounts.StageEnrol {
			if err := d.Gate.Fresh(r.Context(), tx, v.Session); err != nil {
				return err
			}
		}
		if err := d.Gate.Factors.ConfirmTOTP(r.Context(), tx, v.Caller, r.PostFormValue("code")); err != nil {
			return err
		}
		has, err := factors.Of(r.Context(), tx, v.User.ID)
		if err != nil || has.RecoveryLeft > 0 {
			return err
		}
		codes, err = d.Gate.Factors.NewRecoveryCodes(r.Context(), tx, v.Caller)
		return err
	})
	return codes, err
}

// proved notes that the session's owner has just given a second factor, by
// setting it up, so that nobody asks for it again at the next step.
func (d *Door) proved(w http.ResponseWriter, r *http.Request, v *Visit, factor string) error {
	var started signin.Started
	err := d.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		started.Token, started.Session, err = accounts.Advance(r.Context(), tx, v.Session, v.Session.Stage, factor)
		return err
	})
	if err == nil {
		d.keep(w, started)
	}
	return err
}

func (d *Door) removeTOTP(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.own(r, v, func(tx *db.Tx) error { return d.Gate.Factors.RemoveTOTP(r.Context(), tx, v.Caller) })
	d.changed(w, r, v, "factor.totp.removed", err)
}

// changed leads back to the section after a change of the second factors.
func (d *Door) changed(w http.ResponseWriter, r *http.Request, v *Visit, note string, err error) {
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/account/security", web.Flash{Key: note})
}

// newCodes makes recovery codes and shows them, this once.
func (d *Door) newCodes(w http.ResponseWriter, r *http.Request, v *Visit) {
	codes, err := d.makeCodes(r, v)
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.showOwnCodes(w, r, v, codes)
}

func (d *Door) makeCodes(r *http.Request, v *Visit) (codes []string, err error) {
	err = d.own(r, v, func(tx *db.Tx) (err error) {
		codes, err = d.Gate.Factors.NewRecoveryCodes(r.Context(), tx, v.Caller)
		return err
	})
	return codes, err
}

func (d *Door) showOwnCodes(w http.ResponseWriter, r *http.Request, v *Visit, codes []string) {
	page := codesPage{section: d.section(w, r, v, "/account/security"), Codes: codes}
	page.Frame = page.Frame.Secret()
	d.Site.Render(w, r, http.StatusOK, "codes", page)
}

func (d *Door) beginPasskeyOfOwn(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.DB.Read(r.Context(), func(tx *db.Tx) error { return d.Gate.Fresh(r.Context(), tx, v.Session) })
	if isStepUp(err) {
		d.answer(w, r, map[string]string{"next": d.with("/confirm", "next", d.Base+"/account/security")}, nil)
		return
	}
	if err != nil {
		d.answer(w, r, nil, err)
		return
	}
	d.beginEnrolPasskey(w, r, v)
}

func (d *Door) renamePasskey(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.DB.Write(r.Context(), func(tx *db.Tx) error {
		return d.Gate.Factors.RenamePasskey(r.Context(), tx, v.Caller, r.PathValue("passkey"), r.PostFormValue("name"))
	})
	d.changed(w, r, v, "form.saved", err)
}

func (d *Door) removePasskey(w http.ResponseWriter, r *http.Request, v *Visit) {
	err := d.own(r, v, func(tx *db.Tx) error {
		return d.Gate.Factors.RemovePasskey(r.Context(), tx, v.Caller, r.PathValue("passkey"))
	})
	d.changed(w, r, v, "factor.passkey.removed", err)
}
