package localui

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// other is the choice of a server that is on no list.
const other = "other"

type activatePage struct {
	page
	Editions    []connection.Edition
	Chosen      string // number of an edition, or other
	Server      string // typed
	Fingerprint string
	User        string
}

// Lists reports whether there is a choice of servers.
func (p *activatePage) Lists() bool { return len(p.Editions) > 1 }

// Types reports whether an address may be typed.
func (p *activatePage) Types() bool { return len(p.Editions) != 1 }

// activatePage asks for the server and for who somebody is, with what is known
// of both.
func (w *Window) activatePage(rw http.ResponseWriter, r *http.Request) {
	f := w.now()
	if f.server == "" {
		f = w.known(r.Context())
	}
	p := &activatePage{page: w.step(rw, r, "window.activate", 1, ""), User: f.user}
	var err error
	if p.Editions, err = connection.Editions(w.cfg.Getenv); err != nil {
		w.shows(rw, r, "activate", &p.page, p, err, nil)
		return
	}
	p.Chosen, p.Server, p.Fingerprint = other, f.server, f.fingerprint
	for i, e := range p.Editions {
		if e.URL == f.server && e.Fingerprint == f.fingerprint || i == 0 && f.server == "" {
			p.Chosen, p.Server, p.Fingerprint = strconv.Itoa(i), "", ""
		}
	}
	if _, err := w.cfg.State.Device(); err == nil {
		p.Back = "/"
	}
	w.shows(rw, r, "activate", &p.page, p, nil, nil)
}

// known is what this computer remembers: the device that it is or was, an
// account that waits, an activation that was begun, a deployment whose user has to
// sign in.
func (w *Window) known(ctx context.Context) (f flow) {
	if d, err := w.cfg.State.Device(); err == nil {
		return flow{server: d.Server, fingerprint: d.Fingerprint, user: d.Username}
	}
	if p, err := w.cfg.State.Pending(); err == nil && p != nil {
		return flow{server: p.Server, fingerprint: p.Fingerprint, user: p.Username}
	}
	if d := agent.Deploying(ctx, w.cfg.Getenv, w.cfg.State); d != nil {
		return flow{server: d.Server, fingerprint: d.Fingerprint, user: d.Email()}
	}
	return flow{}
}

// activate goes to the server that was chosen.
func (w *Window) activate(rw http.ResponseWriter, r *http.Request) {
	p := &activatePage{page: w.step(rw, r, "window.activate", 1, ""), Chosen: r.PostFormValue("edition"),
		Server: strings.TrimSpace(r.PostFormValue("server")), Fingerprint: strings.TrimSpace(r.PostFormValue("fingerprint")),
		User: strings.TrimSpace(r.PostFormValue("user"))}
	then := r.PostFormValue("then")
	if !slices.Contains([]string{"/register", "/forgot", "/key"}, then) {
		then = "/password"
	}
	f, err := p.read(w, then)
	if err != nil {
		w.shows(rw, r, "activate", &p.page, p, err, map[string]string{"server.url": "server", "server.fingerprint": "fingerprint"})
		return
	}
	w.change(func(now *flow) { *now = f })
	if err := w.try(r.Context()); err != nil {
		w.shows(rw, r, "activate", &p.page, p, err, nil)
		return
	}
	w.to(rw, r, "/connect")
}

// read is what the form says. Who wants an account, or a new password, says who
// they are on the next page, and an activation key knows it.
func (p *activatePage) read(w *Window, then string) (f flow, err error) {
	f.then = then
	if p.Editions, err = connection.Editions(w.cfg.Getenv); err != nil {
		return f, err
	}
	f.user = p.User
	n, err := strconv.Atoi(p.Chosen)
	switch {
	case len(p.Editions) == 1:
		f.server, f.fingerprint = p.Editions[0].URL, p.Editions[0].Fingerprint
	case err == nil && n >= 0 && n < len(p.Editions):
		f.server, f.fingerprint = p.Editions[n].URL, p.Editions[n].Fingerprint
	case p.Server == "":
		return f, errs.New(errs.Invalid, "window.server.missing", "field", "server")
	default:
		if f.server, err = wire.ParseServer(p.Server); err != nil {
			return f, err
		}
		if p.Fingerprint != "" {
			if f.fingerprint, err = wire.ParseFingerprint(p.Fingerprint); err != nil {
				return f, err
			}
		}
	}
	if f.user == "" && then == "/password" {
		return f, errs.New(errs.Invalid, "window.user.missing", "field", "user")
	}
	return f, nil
}

// line is a step of the way to the server.
type line struct {
	Title string
	State string // passed, failed, skipped, "running", or "" while it has not come
}

type connectPage struct {
	page
	Lines    []line
	Running  bool
	Why, Do  string // of what failed
	FailCode string
	Details  []string
	Report   string
	Proxy    bool // the proxy settings are what to look at
}

func (w *Window) connectPage(rw http.ResponseWriter, r *http.Request) {
	f := w.now()
	if f.trial == nil {
		w.to(rw, r, "/activate")
		return
	}
	t := f.trial.now()
	if t.passed() {
		w.to(rw, r, f.then)
		return
	}
	p := &connectPage{page: w.step(rw, r, "window.connect", 1, "/activate"), Running: !t.Done}
	say := p.Printer()
	for i, step := range wire.Steps {
		l := line{Title: step.Title(say)}
		switch {
		case i < len(t.Checks):
			l.State = t.Checks[i].Outcome
		case i == len(t.Checks):
			l.State = "running"
		}
		p.Lines = append(p.Lines, l)
	}
	if c := t.Report.Failed(); c != nil {
		p.Why, p.Do, p.FailCode = c.Sentence(say), c.Advice(say), string(c.Code())
		p.Proxy = c.Code() == errs.ProxyAuth || c.Code() == errs.CannotConnect
		for _, d := range wire.CertDetails(c.Err) {
			p.Details = append(p.Details, d.Text(say))
		}
		p.Report = t.Report.Text(say)
		p.Title = say.Error(c.Err)
		if p.Why == p.Title {
			p.Why = "" // it is said once
		}
	} else if t.Err != nil {
		w.shows(rw, r, "connect", &p.page, p, t.Err, nil)
		return
	}
	w.site.Render(rw, r, http.StatusOK, "connect", p)
}

// connect tries again.
func (w *Window) connect(rw http.ResponseWriter, r *http.Request) {
	if w.now().server == "" {
		w.to(rw, r, "/activate")
		return
	}
	if err := w.try(r.Context()); err != nil {
		w.fail(rw, r, err)
		return
	}
	w.to(rw, r, "/connect")
}

type passwordPage struct {
	page
	User, Server string
	Method       wire.Discovered // how people of the realm sign in
}

// Passwords reports whether a password is a way in.
func (p *passwordPage) Passwords() bool {
	return p.Method.Method == wire.MethodPassword || slices.ContainsFunc(p.Method.Alternatives, func(m wire.SignInMethod) bool { return m.Method == wire.MethodPassword })
}

// reached returns the flow when its server was reached, and otherwise sends the
// browser to where that is done.
func (w *Window) reached(rw http.ResponseWriter, r *http.Request) (flow, trialed, bool) {
	f := w.now()
	t := f.trial.now()
	if !t.passed() {
		w.to(rw, r, "/activate")
	}
	return f, t, t.passed()
}

// reachedBy is reached, for what concerns somebody who said who they are.
func (w *Window) reachedBy(rw http.ResponseWriter, r *http.Request) (flow, trialed, bool) {
	f, t, ok := w.reached(rw, r)
	if ok && f.user == "" {
		w.to(rw, r, "/activate")
		return f, t, false
	}
	return f, t, ok
}

func (w *Window) passwordPage(rw http.ResponseWriter, r *http.Request) { w.showPassword(rw, r, nil) }

func (w *Window) showPassword(rw http.ResponseWriter, r *http.Request, err error) {
	f, t, ok := w.reachedBy(rw, r)
	if !ok {
		return
	}
	p := &passwordPage{page: w.step(rw, r, "window.password", 2, "/activate"), User: f.user,
		Server: cmp.Or(t.Report.Hello.Name, f.server), Method: t.Report.Method}
	w.shows(rw, r, "password", &p.page, p, err, map[string]string{"error.E110": "password"})
}

func (w *Window) password(rw http.ResponseWriter, r *http.Request) {
	w.change(func(f *flow) { f.password, f.fresh, f.methods, f.choice = r.PostFormValue("password"), "", nil, nil })
	w.proves(rw, r, "", w.showPassword)
}

// proves begins the activation with what was typed, and goes on to what the
// server asks for. show shows a failure where it was typed.
func (w *Window) proves(rw http.ResponseWriter, r *http.Request, code string, show func(http.ResponseWriter, *http.Request, error)) {
	f, _, ok := w.reachedBy(rw, r)
	if !ok {
		return
	}
	err := w.begins(r.Context(), f, agent.Activation{Username: f.user, Password: f.password, Code: code})
	switch {
	case err == nil:
		w.change(func(f *flow) { f.password, f.methods, f.choice = "", nil, nil })
		w.goesOn(rw, r, w.showPassword)
	case errs.Is(err, errs.PasswordChange):
		w.to(rw, r, "/new-password")
	case len(wire.Choice(err)) > 0:
		w.change(func(f *flow) { f.choice = wire.Choice(err) })
		w.to(rw, r, "/account")
	case wire.NeedsCode(err) && code == "":
		w.change(func(f *flow) { f.methods = wire.FactorMethods(err) })
		w.to(rw, r, "/code")
	default:
		show(rw, r, err)
	}
}

// begins begins the activation at the server of the flow.
func (w *Window) begins(ctx context.Context, f flow, proof agent.Activation) error {
	proof.Server, proof.Fingerprint, proof.System = f.server, f.fingerprint, w.cfg.System
	return w.holding(ctx, func(st *state.State) error {
		return w.with(f, func(c *wire.Client) error {
			_, err := agent.Begin(ctx, st, c, proof)
			return err
		})
	})
}

func (w *Window) keyPage(rw http.ResponseWriter, r *http.Request) { w.showKey(rw, r, nil) }

// showKey asks for an administrator's activation key, which is as good as a name
// and a password.
func (w *Window) showKey(rw http.ResponseWriter, r *http.Request, err error) {
	if _, _, ok := w.reached(rw, r); !ok {
		return
	}
	p := w.step(rw, r, "window.key", 2, "/activate")
	w.shows(rw, r, "key", &p, &p, err, map[string]string{"activation_key.": "key"})
}

func (w *Window) byKey(rw http.ResponseWriter, r *http.Request) {
	f, _, ok := w.reached(rw, r)
	if !ok {
		return
	}
	key := strings.TrimSpace(r.PostFormValue("key"))
	err := error(errs.New(errs.Invalid, "window.key.missing", "field", "key"))
	if key != "" {
		err = w.begins(r.Context(), f, agent.Activation{Key: key})
	}
	if err != nil {
		w.showKey(rw, r, err)
		return
	}
	w.goesOn(rw, r, w.showKey)
}

type codePage struct {
	page
	Hint string
}

func (w *Window) codePage(rw http.ResponseWriter, r *http.Request) { w.showCode(rw, r, nil) }

// showCode asks for the code of a second factor, for as long as a code is what is
// missing: who is not let in at all begins again with the password.
func (w *Window) showCode(rw http.ResponseWriter, r *http.Request, err error) {
	if e := errs.Find(err); e != nil && slices.Contains(shutOut, e.Code) {
		w.change(func(f *flow) { f.password, f.fresh, f.methods = "", "", nil })
		w.showPassword(rw, r, err)
		return
	}
	f, _, ok := w.reachedBy(rw, r)
	if !ok {
		return
	}
	if f.methods == nil {
		w.to(rw, r, "/password")
		return
	}
	p := &codePage{page: w.step(rw, r, "entry.factor", 2, "/password")}
	p.Hint = p.Printer().T("entry.factor.hint")
	w.shows(rw, r, "code", &p.page, p, err, map[string]string{"factor.code": "code"})
}

// shutOut are the refusals that no code helps against.
var shutOut = []errs.Code{errs.AuthFailed, errs.AccountDisabled, errs.AccountPreserved, errs.TooManyAttempts}

func (w *Window) code(rw http.ResponseWriter, r *http.Request) {
	code := agent.PlainCode(r.PostFormValue("code"))
	if f := w.now(); f.fresh != "" {
		w.replaces(rw, r, f.fresh, code, w.showCode)
		return
	}
	w.proves(rw, r, code, w.showCode)
}

type accountPage struct {
	page
	Choice []string
}

// accountPage lets somebody choose among the accounts that the password is right
// for.
func (w *Window) accountPage(rw http.ResponseWriter, r *http.Request) {
	f, _, ok := w.reachedBy(rw, r)
	if !ok {
		return
	}
	if len(f.choice) == 0 {
		w.to(rw, r, "/password")
		return
	}
	p := &accountPage{page: w.step(rw, r, "login.choose.title", 2, "/password"), Choice: f.choice}
	w.site.Render(rw, r, http.StatusOK, "account", p)
}

func (w *Window) account(rw http.ResponseWriter, r *http.Request) {
	w.change(func(f *flow) { f.user = r.PostFormValue("user") })
	w.proves(rw, r, "", w.showPassword)
}
