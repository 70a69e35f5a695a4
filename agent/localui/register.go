package localui

import (
	"net/http"
	"strings"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// first is where somebody begins whose computer is not activated: at the code of
// an account that waits for it, if there is one.
func (w *Window) first() string {
	if waiting, err := w.cfg.State.Registration(); err == nil && waiting != nil {
		return "/register/code"
	}
	return "/activate"
}

type registerPage struct {
	page
	Email, Username, FirstName, LastName string
	Rules                                []web.Rule
	NeedsSerial                          bool
	Serial                               []web.Box
}

func (w *Window) registerPage(rw http.ResponseWriter, r *http.Request) {
	p := &registerPage{}
	if user := w.now().user; strings.Contains(user, "@") {
		p.Email = user
	} else {
		p.Username = user
	}
	w.showRegister(rw, r, p, nil)
}

// showRegister asks for what a new online account needs.
func (w *Window) showRegister(rw http.ResponseWriter, r *http.Request, p *registerPage, err error) {
	_, t, ok := w.reached(rw, r)
	if !ok {
		return
	}
	p.page = w.step(rw, r, "window.register", 2, "/activate")
	say := p.Printer()
	if t.Offer.Registration == wire.RegistrationOff {
		w.fail(rw, r, errs.New(errs.Forbidden, "registration.off"))
		return
	}
	p.NeedsSerial = t.Offer.SerialRequired
	p.Rules = rulesOf(say, t.Offer.PasswordPolicy, err)
	if p.Serial == nil {
		p.Serial = web.Boxes(web.SerialBoxes)
	}
	if e := errs.Find(err); e != nil && (e.Code == errs.BadSerial || e.Code == errs.NoFreeSeat) {
		n, one := e.Int("group")
		for i := range p.Serial {
			p.Serial[i].Bad = !one || i+1 == n
		}
	}
	w.shows(rw, r, "register", &p.page, p, policyError(say, err), map[string]string{
		"error.E1302": "serial", "error.E1301": "serial", "licence.": "serial",
		"user.email.": "email", "user.username.": "username", "user.name.": "last_name"})
}

func (w *Window) register(rw http.ResponseWriter, r *http.Request) {
	f, _, ok := w.reached(rw, r)
	if !ok {
		return
	}
	typed := web.Typed(r, "serial")
	p := &registerPage{Email: strings.TrimSpace(r.PostFormValue("email")), Username: strings.TrimSpace(r.PostFormValue("username")),
		FirstName: strings.TrimSpace(r.PostFormValue("first_name")), LastName: strings.TrimSpace(r.PostFormValue("last_name")), Serial: web.Boxes(web.SerialBoxes, typed...)}
	password, err := web.NewPassword(r)
	if err == nil && p.Email == "" {
		err = errs.New(errs.Invalid, "entry.register.empty", "field", "email")
	}
	var out wire.Registering
	if err == nil {
		err = w.with(f, func(c *wire.Client) (err error) {
			_, out, err = agent.Register(r.Context(), w.cfg.State, c, f.fingerprint, wire.Register{
				Email: p.Email, Username: p.Username, FirstName: p.FirstName, LastName: p.LastName,
				Serial: strings.Join(typed, ""), Password: password, Language: string(w.site.Frame(rw, r).Lang())})
			return err
		})
	}
	if err != nil {
		w.showRegister(rw, r, p, err)
		return
	}
	w.change(func(f *flow) { f.password, f.resend = password, w.again(out) })
	w.to(rw, r, "/register/code")
}

// again is when another code may be asked for.
func (w *Window) again(out wire.Registering) time.Time {
	return w.cfg.Now().Add(time.Duration(out.ResendAfter) * time.Second)
}

type registerCodePage struct {
	page
	Email  string
	Digits []web.Box
	Resend int // seconds until another code may be asked for
}

func (w *Window) registerCodePage(rw http.ResponseWriter, r *http.Request) {
	w.showRegisterCode(rw, r, nil)
}

// showRegisterCode asks for the code that was mailed.
func (w *Window) showRegisterCode(rw http.ResponseWriter, r *http.Request, err error) {
	waiting, failed := w.cfg.State.Registration()
	if failed != nil {
		w.fail(rw, r, failed)
		return
	}
	if waiting == nil && err == nil {
		w.to(rw, r, "/activate")
		return
	}
	p := &registerCodePage{page: w.step(rw, r, "entry.code", 3, "/activate"), Digits: web.Boxes(web.CodeBoxes)}
	if waiting != nil {
		p.Email = waiting.Email
	}
	p.Resend = max(0, int(w.now().resend.Sub(w.cfg.Now()).Round(time.Second)/time.Second))
	for i := range p.Digits {
		p.Digits[i].Bad = err != nil
	}
	w.shows(rw, r, "register-code", &p.page, p, err, nil)
}

// registering is the account that waits for its code, and a client of its server.
func (w *Window) registering(do func(waiting *state.Registration, c *wire.Client) error) error {
	waiting, err := w.cfg.State.Registration()
	if err != nil {
		return err
	}
	if waiting == nil {
		return errs.Of(errs.LinkExpired)
	}
	c, err := w.client(waiting.Server, waiting.Fingerprint)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(waiting, c)
}

// registerCode makes the account and goes on to activate this computer for it:
// at once with the password that was just chosen, or else by the way to the
// server and its password.
func (w *Window) registerCode(rw http.ResponseWriter, r *http.Request) {
	code := strings.Join(web.Typed(r, "code"), "")
	var username string
	var of state.Registration
	err := w.registering(func(waiting *state.Registration, c *wire.Client) (err error) {
		of = *waiting
		username, err = agent.ConfirmRegistration(r.Context(), w.cfg.State, c, waiting, code)
		return err
	})
	if err != nil {
		w.showRegisterCode(rw, r, err)
		return
	}
	f := w.now()
	w.change(func(f *flow) {
		f.server, f.fingerprint, f.user, f.then = of.Server, of.Fingerprint, username, "/password"
	})
	if f.password != "" && f.server == of.Server && f.trial.now().passed() {
		w.proves(rw, r, "", w.showPassword)
		return
	}
	if err := w.try(r.Context()); err != nil {
		w.fail(rw, r, err)
		return
	}
	w.to(rw, r, "/connect")
}

func (w *Window) resendCode(rw http.ResponseWriter, r *http.Request) {
	err := w.registering(func(waiting *state.Registration, c *wire.Client) error {
		out, err := agent.ResendCode(r.Context(), w.cfg.State, c, waiting)
		if err == nil {
			w.change(func(f *flow) { f.resend = w.again(out) })
		}
		return err
	})
	if e := errs.Find(err); e != nil && e.Code == errs.TooManyAttempts {
		if n, ok := e.Int("n"); ok {
			w.change(func(f *flow) { f.resend = w.cfg.Now().Add(time.Duration(n) * time.Second) })
		}
	}
	if err != nil {
		w.showRegisterCode(rw, r, err)
		return
	}
	w.site.Done(rw, r, w.base+"/register/code", web.Flash{Key: "window.code.sent"})
}

type forgotPage struct {
	page
	Usernames bool // it is the username that was forgotten
	Value     string
}

func (w *Window) forgotPage(rw http.ResponseWriter, r *http.Request) {
	w.showForgot(rw, r, w.now().user, r.FormValue("of") == "username", nil)
}

// showForgot asks whose password, or username, is lost.
func (w *Window) showForgot(rw http.ResponseWriter, r *http.Request, value string, usernames bool, err error) {
	if _, _, ok := w.reached(rw, r); !ok {
		return
	}
	title := "window.forgot"
	if usernames {
		title = "entry.usernames"
	}
	p := &forgotPage{page: w.step(rw, r, title, 2, "/activate"), Usernames: usernames, Value: value}
	w.shows(rw, r, "forgot", &p.page, p, err, nil)
}

// forgot has a mail sent. What it answers is the same whether there is such an
// account or not.
func (w *Window) forgot(rw http.ResponseWriter, r *http.Request) {
	f, _, ok := w.reached(rw, r)
	if !ok {
		return
	}
	usernames, value := r.FormValue("of") == "username", strings.TrimSpace(r.PostFormValue("value"))
	err := w.with(f, func(c *wire.Client) error {
		switch {
		case value == "":
			return errs.New(errs.Invalid, "entry.register.empty", "field", "value")
		case usernames:
			return c.ForgotUsername(r.Context(), value)
		}
		return c.ForgotPassword(r.Context(), value)
	})
	if err != nil {
		w.showForgot(rw, r, value, usernames, err)
		return
	}
	w.change(func(f *flow) { f.then = "/password" })
	w.to(rw, r, "/forgot/sent")
}

func (w *Window) forgotSent(rw http.ResponseWriter, r *http.Request) {
	p := w.step(rw, r, "entry.sent", 2, "/activate")
	w.shows(rw, r, "forgot-sent", &p, &p, nil, nil)
}
