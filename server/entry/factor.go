package entry

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/factors"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

// summary is what second factors an account has.
func (d *Door) summary(r *http.Request, id accounts.ID) (s factors.Summary, err error) {
	err = d.DB.Read(r.Context(), func(tx *db.Tx) (err error) {
		s, err = factors.Of(r.Context(), tx, id)
		return err
	})
	return s, err
}

func (d *Door) factorPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	d.showProof(w, r, v, "factor", "entry.factor", nil)
}

func (d *Door) factor(w http.ResponseWriter, r *http.Request, v *Visit) {
	started, err := d.Gate.Prove(r.Context(), v.Caller, v.Session, r.PostFormValue("code"), web.Cookie(r, d.known))
	if signin.Over(err) {
		web.EndSession(w, d.session)
		d.Site.Done(w, r, d.with("/login", "next", web.LocalPath(r.PostFormValue("next"), d.Base+"/")), web.Flash{Key: "factor.code.over", Bad: true})
		return
	}
	if err != nil {
		d.showProof(w, r, v, "factor", "entry.factor", err)
		return
	}
	d.begin(w, r, started, r.PostFormValue("next"))
}

func (d *Door) stepUpPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	d.showProof(w, r, v, "confirm-self", "entry.stepup", nil)
}

func (d *Door) stepUp(w http.ResponseWriter, r *http.Request, v *Visit) {
	started, err := d.Gate.StepUp(r.Context(), v.Caller, v.Session, r.PostFormValue("password"), r.PostFormValue("code"))
	if err != nil {
		d.showProof(w, r, v, "confirm-self", "entry.stepup", err)
		return
	}
	d.begin(w, r, started, r.PostFormValue("next"))
}

// showProof asks who holds a session to prove who they are, by what the account
// has.
func (d *Door) showProof(w http.ResponseWriter, r *http.Request, v *Visit, name, title string, failure error) {
	has, err := d.summary(r, v.User.ID)
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	page := proofPage{Frame: d.Site.Frame(w, r).Card(), Username: v.User.Username,
		Next: web.LocalPath(r.FormValue("next"), d.Base+"/"), Codes: has.TOTP || has.RecoveryLeft > 0, Passkeys: len(has.Passkeys) > 0}
	page.Title = page.Printer().T(title)
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if d.over(w, r, failure) || !page.Form.AddTo(page.Printer(), failure, codeField) {
			return
		}
	}
	d.Site.Render(w, r, status, name, page)
}

// over answers a failure that ended the session or that nobody expected, and
// reports whether it was one.
func (d *Door) over(w http.ResponseWriter, r *http.Request, err error) bool {
	e := errs.Find(err)
	if e == nil || e.Kind == errs.Internal || e.Key == "login.session.ended" {
		d.Fail(w, r, access.Caller{}, err)
		return true
	}
	return false
}

// enrolPage is the set-up of a second factor where the account must have one.
func (d *Door) enrolPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	d.showEnrol(w, r, v, nil)
}

func (d *Door) showEnrol(w http.ResponseWriter, r *http.Request, v *Visit, failure error) {
	page := enrolPage{Frame: d.Site.Frame(w, r).Card().Secret(), CanPasskey: d.Gate.Factors.CanPasskey(v.User.Kind),
		Next: web.LocalPath(r.FormValue("next"), d.Base+"/")}
	page.Title = page.Printer().T("entry.enrol")
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if d.over(w, r, failure) || !page.Form.AddTo(page.Printer(), failure, codeField) {
			return
		}
	}
	err := d.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		page.App, err = d.Gate.Factors.PendingTOTP(r.Context(), tx, v.Caller)
		if errs.KindOf(err) == errs.Conflict {
			page.App, err = d.Gate.Factors.BeginTOTP(r.Context(), tx, v.Caller)
		}
		return err
	})
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.Site.Render(w, r, status, "enrol", page)
}

func (d *Door) enrol(w http.ResponseWriter, r *http.Request, v *Visit) {
	codes, err := d.confirmApp(r, v)
	if err != nil {
		d.showEnrol(w, r, v, err)
		return
	}
	started, err := d.Gate.Enrolled(r.Context(), v.Caller, v.Session)
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.keep(w, started)
	next := web.LocalPath(r.PostFormValue("next"), d.Base+"/")
	if codes == nil {
		d.Site.Redirect(w, r, next)
		return
	}
	d.showCodes(w, r, codes, next)
}

// showCodes shows recovery codes, this once, before leading on.
func (d *Door) showCodes(w http.ResponseWriter, r *http.Request, codes []string, next string) {
	page := recoveryPage{Frame: d.Site.Frame(w, r).Card().Secret(), Codes: codes, Next: next}
	page.Title = page.Printer().T("factor.recovery")
	d.Site.Render(w, r, http.StatusOK, "recovery", page)
}

// The passkey's calls are made by the script of the page: JSON both ways.

// maxPasskey is more than any answer of a browser about a passkey.
const maxPasskey = 64 << 10

func (d *Door) beginPasskey(w http.ResponseWriter, r *http.Request, v *Visit) {
	options, err := d.Gate.BeginPasskey(r.Context(), v.Caller, v.Session)
	d.answer(w, r, options, err)
}

func (d *Door) provePasskey(w http.ResponseWriter, r *http.Request, v *Visit) {
	response, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPasskey))
	if err != nil {
		d.answer(w, r, nil, errs.New(errs.Invalid, "factor.passkey.refused").Because(err))
		return
	}
	started, err := d.Gate.ProvePasskey(r.Context(), v.Caller, v.Session, response)
	if err != nil {
		d.answer(w, r, nil, err)
		return
	}
	d.keep(w, started)
	d.answer(w, r, map[string]string{}, nil)
}

func (d *Door) beginEnrolPasskey(w http.ResponseWriter, r *http.Request, v *Visit) {
	options, err := d.Gate.Factors.BeginEnrol(r.Context(), v.Caller)
	d.answer(w, r, options, err)
}

// enrolPasskey keeps a passkey that the browser made, under the name that the
// address says.
func (d *Door) enrolPasskey(w http.ResponseWriter, r *http.Request, v *Visit) {
	response, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPasskey))
	if err != nil {
		d.answer(w, r, nil, errs.New(errs.Invalid, "factor.passkey.refused").Because(err))
		return
	}
	if _, err := d.Gate.Factors.FinishEnrol(r.Context(), v.Caller, r.URL.Query().Get("name"), response); err != nil {
		d.answer(w, r, nil, err)
		return
	}
	if err := d.enrolled(w, r, v); err != nil {
		d.answer(w, r, nil, err)
		return
	}
	has, err := d.summary(r, v.User.ID)
	next := web.LocalPath(r.URL.Query().Get("next"), "")
	if err == nil && has.RecoveryLeft == 0 {
		next = d.with("/recovery", "next", next)
	}
	d.answer(w, r, map[string]string{"next": next}, err)
}

// enrolled notes that the session's owner made a passkey and so has just proved
// who they are.
func (d *Door) enrolled(w http.ResponseWriter, r *http.Request, v *Visit) error {
	if v.Session.Stage != accounts.StageEnrol {
		return d.proved(w, r, v, factors.ByPasskey)
	}
	started, err := d.Gate.Enrolled(r.Context(), v.Caller, v.Session)
	if err == nil {
		d.keep(w, started)
	}
	return err
}

// recoveryPage offers codes to who has a second factor and none of them.
func (d *Door) recoveryPage(w http.ResponseWriter, r *http.Request, v *Visit) {
	page := noticePage{Frame: d.Site.Frame(w, r).Card(), Icon: "list",
		Action: &web.Link{Key: "factor.recovery.later", Href: web.LocalPath(r.FormValue("next"), d.Base+"/")}}
	page.Post = &post{Action: d.Base + "/recovery", Name: "next", Value: page.Action.Href, Key: "factor.recovery.make"}
	p := page.Printer()
	page.Title, page.Text = p.T("factor.recovery"), p.T("factor.recovery.offer")
	d.Site.Render(w, r, http.StatusOK, "notice", page)
}

func (d *Door) recovery(w http.ResponseWriter, r *http.Request, v *Visit) {
	codes, err := d.makeCodes(r, v)
	if err != nil {
		d.Fail(w, r, v.Caller, err)
		return
	}
	d.showCodes(w, r, codes, web.LocalPath(r.PostFormValue("next"), d.Base+"/"))
}

// answer writes JSON for the script of a page, or what went wrong in the
// reader's language.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		if e := errs.Find(err); e == nil || e.Kind == errs.Internal {
			d.Log.ErrorContext(r.Context(), "passkey failed", "error", err, "request", access.CallerOf(r.Context()).RequestID)
		}
		w.WriteHeader(web.Status(w, err))
		value = map[string]string{"error": locale.For(web.LangOf(r)).Error(err)}
	}
	if err := json.NewEncoder(w).Encode(value); err != nil {
		d.Log.DebugContext(r.Context(), "answering a page", "error", err)
	}
}
