package localui

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

// rulesOf are the lines of a policy. Which of them a password breaks the server
// says, as err.
func rulesOf(say *locale.Printer, policy wire.PasswordPolicy, err error) []web.Rule {
	broken := map[string]bool{}
	for _, r := range wire.BrokenRules(err) {
		broken[ruleName(r.Key)] = true
	}
	var list []web.Rule
	for _, r := range policy.Rules {
		line := web.Rule{Name: ruleName(r.Key), Text: r.Text(say), N: r.Data["n"], Max: r.Data["max"]}
		line.Failed = broken[line.Name]
		list = append(list, line)
	}
	return list
}

// ruleName is the last word of a rule's key, which the script knows it by, and
// which it shares with what is said of a password that breaks it.
func ruleName(key string) string {
	name := key[strings.LastIndexByte(key, '.')+1:]
	switch name {
	case "lengths", "short", "long":
		return "length"
	case "named":
		return "common"
	}
	return name
}

type newPasswordPage struct {
	page
	Rules []web.Rule
	User  string
}

func (w *Window) newPasswordPage(rw http.ResponseWriter, r *http.Request) {
	w.showNewPassword(rw, r, nil)
}

// showNewPassword asks for a password in place of one that must be changed.
func (w *Window) showNewPassword(rw http.ResponseWriter, r *http.Request, err error) {
	f, t, ok := w.reachedBy(rw, r)
	if !ok {
		return
	}
	if f.password == "" {
		w.to(rw, r, "/password")
		return
	}
	p := &newPasswordPage{page: w.step(rw, r, "entry.first", 3, "/password"), User: f.user}
	p.Rules = rulesOf(p.Printer(), t.Offer.PasswordPolicy, err)
	w.shows(rw, r, "new-password", &p.page, p, policyError(p.Printer(), err), nil)
}

// policyError is a password that breaks rules, with all of them named.
func policyError(say *locale.Printer, err error) error {
	broken := wire.BrokenRules(err)
	if len(broken) == 0 {
		return err
	}
	var lines []string
	for _, r := range broken {
		lines = append(lines, r.Text(say))
	}
	return errs.New(errs.Invalid, "user.password.policy", "rules", strings.Join(lines, " "), "field", "password")
}

func (w *Window) newPassword(rw http.ResponseWriter, r *http.Request) {
	password, err := web.NewPassword(r)
	if err != nil {
		w.showNewPassword(rw, r, err)
		return
	}
	w.replaces(rw, r, password, "", w.showNewPassword)
}

// replaces sets a password of the user's own in place of the one that must be
// changed, and goes on with it. show shows a failure where it was typed.
func (w *Window) replaces(rw http.ResponseWriter, r *http.Request, password, code string, show func(http.ResponseWriter, *http.Request, error)) {
	f, _, ok := w.reachedBy(rw, r)
	if !ok {
		return
	}
	err := w.with(f, func(c *wire.Client) error {
		return c.ReplacePassword(r.Context(), wire.ReplacePassword{Username: f.user, Password: f.password, NewPassword: password, SecondFactor: code})
	})
	switch {
	case err == nil:
		w.change(func(f *flow) { f.password, f.fresh = password, "" })
		w.proves(rw, r, "", w.showPassword)
	case wire.NeedsCode(err) && code == "":
		w.change(func(f *flow) { f.fresh, f.methods = password, wire.FactorMethods(err) })
		w.to(rw, r, "/code")
	case len(wire.BrokenRules(err)) > 0:
		w.showNewPassword(rw, r, err)
	default:
		show(rw, r, err)
	}
}
