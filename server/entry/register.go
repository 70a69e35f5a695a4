package entry

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/server/signin"
	"github.com/backstay/backstay/web"
)

// registration is how people may register by themselves at this portal.
func (d *Door) registration(r *http.Request) (mode string, err error) {
	if d.To != accounts.ToPortal {
		return settings.RegistrationOff, nil
	}
	err = d.DB.Read(r.Context(), func(tx *db.Tx) error {
		s, err := settings.Load(r.Context(), tx)
		mode = s.Registration.Mode
		return err
	})
	return mode, err
}

func (d *Door) registerPage(w http.ResponseWriter, r *http.Request) {
	d.showRegister(w, r, signin.Registration{}, nil, nil, nil)
}

// showRegister shows the form, with what is wrong about the fields and what the
// gate said.
func (d *Door) showRegister(w http.ResponseWriter, r *http.Request, asked signin.Registration, serial []string, wrong map[string]error, failure error) {
	from := access.CallerOf(r.Context())
	mode, err := d.registration(r)
	if err == nil && mode == settings.RegistrationOff {
		err = errs.New(errs.NotFound, "page.not_found.text")
	}
	if err != nil {
		d.Fail(w, r, from, err)
		return
	}
	page := registerPage{Frame: d.Site.Frame(w, r).Card(), Email: asked.Email, Username: asked.Username,
		FirstName: asked.FirstName, LastName: asked.LastName, NeedsSerial: mode == settings.RegistrationSerial}
	page.Title = page.Printer().T("entry.register")
	status := http.StatusOK
	for name, err := range wrong {
		status = web.Status(w, err)
		page.Form.AddField(name, page.Printer().Error(err))
	}
	if failure != nil {
		status = web.Status(w, failure)
		if !page.Form.AddTo(page.Printer(), failure, registerFields) {
			d.Fail(w, r, from, failure)
			return
		}
	}
	page.Serial = web.Boxes(web.SerialBoxes, serial...)
	page.mark(cmp.Or(failure, wrong["serial"]))
	d.Site.Render(w, r, status, "register", page)
}

// registerFields are the fields that failures belong to.
var registerFields = map[string]string{
	"error.E1302": "serial", "error.E1301": "serial", "licence.": "serial",
	"user.email.": "email", "user.username.": "username", "user.name.": "last_name",
}

// mark shows which groups of the serial number cannot be right.
func (page *registerPage) mark(failure error) {
	if page.Form.Field("serial") == "" {
		return
	}
	e := errs.Find(failure)
	page.Code = string(e.Code)
	n, one := e.Int("group")
	for i := range page.Serial {
		page.Serial[i].Bad = !one || i+1 == n
	}
}

func (d *Door) register(w http.ResponseWriter, r *http.Request) {
	serial := web.Typed(r, "serial")
	asked := signin.Registration{Email: r.PostFormValue("email"), Username: r.PostFormValue("username"),
		FirstName: r.PostFormValue("first_name"), LastName: r.PostFormValue("last_name"),
		Serial: strings.Join(serial, ""), Language: string(web.LangOf(r))}
	mode, err := d.registration(r)
	wrong := faults(asked, mode)
	// A wrong serial number alone is for the gate, which counts it.
	if err == nil && mode != settings.RegistrationOff && (len(wrong) == 0 || len(wrong) == 1 && errs.Is(wrong["serial"], errs.BadSerial)) {
		wrong = nil
		_, err = d.Gate.Register(r.Context(), access.CallerOf(r.Context()), asked)
	}
	if err != nil || len(wrong) > 0 || mode == settings.RegistrationOff {
		d.showRegister(w, r, asked, serial, wrong, err)
		return
	}
	d.Site.Redirect(w, r, d.Base+"/sent")
}

// faults is what can be said of each field by itself: that it is empty, or cannot
// be right. All are told at once.
func faults(asked signin.Registration, mode string) map[string]error {
	wrong := map[string]error{}
	for _, f := range []struct {
		name, value, keys string
		alone             accounts.New
	}{
		{"email", asked.Email, "user.email.", accounts.New{Username: "x", Email: asked.Email}},
		{"username", asked.Username, "user.username.", accounts.New{Username: asked.Username}},
		{"first_name", asked.FirstName, "user.name.", accounts.New{Username: "x", FirstName: asked.FirstName}},
		{"last_name", asked.LastName, "user.name.", accounts.New{Username: "x", LastName: asked.LastName}},
	} {
		if strings.TrimSpace(f.value) == "" {
			wrong[f.name] = errs.New(errs.Invalid, "entry.register.empty")
			continue
		}
		f.alone.Kind = access.UserKind
		if strings.Contains(f.alone.Username, "@") {
			f.alone.Email = f.alone.Username // whether they are one is for the gate, when both are right
		}
		if e := errs.Find(f.alone.Tidy()); e != nil && strings.HasPrefix(e.Key, f.keys) {
			wrong[f.name] = e
		}
	}
	if mode != settings.RegistrationSerial {
		return wrong
	}
	if strings.TrimSpace(asked.Serial) == "" {
		wrong["serial"] = errs.New(errs.Invalid, "entry.register.empty")
	} else if _, err := orgs.ParseSerial(asked.Serial); err != nil {
		wrong["serial"] = err
	}
	return wrong
}

func (d *Door) codePage(w http.ResponseWriter, r *http.Request) {
	d.showCode(w, r, 0, nil)
}

// showCode asks for the code of a registration, whose signed id is in the
// address: it works on another computer, and without cookies.
func (d *Door) showCode(w http.ResponseWriter, r *http.Request, wait int, failure error) {
	query := "?" + url.Values{"id": {r.FormValue("id")}}.Encode()
	page := codePage{Frame: d.Site.Frame(w, r).Card(), Action: d.Base + "/register/code" + query,
		Resend: d.Base + "/register/resend" + query, Wait: wait, Digits: web.Boxes(web.CodeBoxes)}
	page.Title = page.Printer().T("entry.code")
	status := http.StatusOK
	if failure != nil {
		status = web.Status(w, failure)
		if !page.Form.Add(page.Printer(), failure) {
			d.Fail(w, r, access.CallerOf(r.Context()), failure)
			return
		}
	}
	d.Site.Render(w, r, status, "code", page)
}

func typedCode(r *http.Request) string { return strings.Join(web.Typed(r, "code"), "") }

func (d *Door) confirmCode(w http.ResponseWriter, r *http.Request) {
	_, err := d.Gate.ConfirmRegistration(r.Context(), access.CallerOf(r.Context()), r.FormValue("id"), typedCode(r))
	if err != nil {
		d.showCode(w, r, 0, err)
		return
	}
	d.Site.Done(w, r, d.Base+"/login", web.Flash{Key: "entry.code.done"})
}

func (d *Door) resendCode(w http.ResponseWriter, r *http.Request) {
	wait, err := d.Gate.ResendCode(r.Context(), access.CallerOf(r.Context()), r.FormValue("id"))
	if e := errs.Find(err); e != nil && e.Code == errs.TooManyAttempts {
		n, _ := e.Int("n")
		d.showCode(w, r, n, nil)
		return
	}
	if err != nil {
		d.showCode(w, r, 0, err)
		return
	}
	d.showCode(w, r, int(wait.Seconds()), nil)
}
