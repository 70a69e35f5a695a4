package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// registering is what "backstay register" is told by flags and by answers.
type registering struct {
	server       serverFlags
	in           wire.Register
	passwordFile string
	code         string
	resend       bool
}

func (a *app) registerCommand() *cobra.Command {
	var r registering
	cmd := a.command("register --server URL", "cli.register.", func(cmd *cobra.Command, _ []string) error {
		return a.register(cmd, &r)
	})
	cmd.Args = maxArgs(0)
	r.server.add(a, cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.in.Email, "email", "", a.say.T("cli.register.flag.email"))
	flags.StringVar(&r.in.Username, "username", "", a.say.T("cli.register.flag.username"))
	flags.StringVar(&r.in.FirstName, "first-name", "", a.say.T("cli.register.flag.first_name"))
	flags.StringVar(&r.in.LastName, "last-name", "", a.say.T("cli.register.flag.last_name"))
	flags.StringVar(&r.in.Serial, "serial", "", a.say.T("cli.register.flag.serial"))
	flags.StringVar(&r.passwordFile, "password-file", "", a.say.T("cli.register.flag.password_file"))
	flags.StringVar(&r.code, "code", "", a.say.T("cli.register.flag.code"))
	flags.BoolVar(&r.resend, "resend", false, a.say.T("cli.register.flag.resend"))
	return a.withJSON(cmd)
}

// register asks for an account, or goes on with the one that waits for its code.
func (a *app) register(cmd *cobra.Command, r *registering) error {
	st, err := a.openState()
	if err != nil {
		return err
	}
	waiting, err := st.Registration()
	if err != nil {
		return err
	}
	password := ""
	goesOn := r.code != "" || r.resend
	if goesOn && waiting == nil {
		return errs.New(errs.Local, "cli.register.none")
	}
	began := !goesOn && (waiting == nil || r.server.url != "")
	if began {
		if waiting, password, err = a.beginRegistration(cmd, st, r); err != nil {
			return err
		}
	} else if !goesOn && !a.json {
		fmt.Fprintln(a.errOut, a.say.T("cli.register.resumed", "user", safe(waiting.Username), "server", safe(waiting.Server)))
	}
	r.server.url, r.server.fingerprint = waiting.Server, waiting.Fingerprint
	if began {
		r.server.proxy = proxyFlags{} // kept, and a password is read once
	}
	cfg, err := r.server.config(cmd, st)
	if err != nil {
		return err
	}
	client, err := wire.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if r.resend {
		if err := a.resend(cmd.Context(), st, client, waiting); err != nil {
			return err
		}
	}
	if r.code == "" && (!a.asks() || a.json) {
		return a.showWaiting(waiting)
	}
	name, err := a.confirmRegistration(cmd.Context(), st, client, waiting, r.code)
	if err != nil {
		return err
	}
	return a.registered(cmd.Context(), st, cfg, waiting, name, password)
}

// beginRegistration asks for what the flags do not say and sends it.
func (a *app) beginRegistration(cmd *cobra.Command, st *state.State, r *registering) (*state.Registration, string, error) {
	if err := r.server.check(cmd); err != nil {
		return nil, "", err
	}
	cfg, err := r.server.config(cmd, st)
	if err != nil {
		return nil, "", err
	}
	if _, err := a.reach(cmd.Context(), st, &cfg, ""); err != nil {
		return nil, "", err
	}
	client, err := wire.New(cfg)
	if err != nil {
		return nil, "", err
	}
	defer client.Close()
	offer, err := client.SignIn(cmd.Context())
	if err != nil {
		return nil, "", err
	}
	if offer.Registration == wire.RegistrationOff {
		return nil, "", errs.New(errs.Forbidden, "registration.off").Because(&wire.Refusal{Status: http.StatusForbidden})
	}
	if err := a.askFields(cmd, r, offer); err != nil {
		return nil, "", err
	}
	r.in.Language = string(a.say.Lang())
	var waiting *state.Registration
	var out wire.Registering
	err = a.newPassword(cmd.Context(), r.passwordFile, offer.PasswordPolicy.Rules, func(password string) (err error) {
		r.in.Password = password
		for {
			waiting, out, err = agent.Register(cmd.Context(), st, client, r.server.fingerprint, r.in)
			if !errs.Is(err, errs.BadSerial) || !a.asks() {
				return err
			}
			a.complain(err)
			if r.in.Serial, err = a.ask(cmd.Context(), a.say.T("cli.register.ask.serial"), ""); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return nil, "", err
	}
	if !a.json {
		fmt.Fprintln(a.errOut, a.say.T("cli.register.mailed", "email", safe(waiting.Email), "n", int64(out.CodeMinutes)))
	}
	return waiting, r.in.Password, nil
}

// askFields asks for each field that no flag gave. The names may be left out.
func (a *app) askFields(cmd *cobra.Command, r *registering, offer wire.SignIn) error {
	for _, field := range []struct {
		name   string
		value  *string
		needed bool
	}{
		{"email", &r.in.Email, true},
		{"username", &r.in.Username, true},
		{"first_name", &r.in.FirstName, false},
		{"last_name", &r.in.LastName, false},
		{"serial", &r.in.Serial, offer.SerialRequired},
	} {
		usual := ""
		if field.name == "username" {
			usual = r.in.Email
		}
		switch {
		case *field.value != "" || field.name == "serial" && !field.needed:
			continue
		case !a.asks():
			if *field.value = usual; usual == "" && field.needed {
				return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", field.name))
			}
			continue
		}
		for asked := false; !asked || *field.value == "" && field.needed; asked = true {
			var err error
			if *field.value, err = a.ask(cmd.Context(), a.say.T("cli.register.ask."+field.name), usual); err != nil {
				return err
			}
		}
	}
	return nil
}

// resend has another code mailed.
func (a *app) resend(ctx context.Context, st *state.State, client *wire.Client, waiting *state.Registration) error {
	out, err := agent.ResendCode(ctx, st, client, waiting)
	if err == nil && !a.json {
		fmt.Fprintln(a.errOut, a.say.T("cli.register.mailed", "email", safe(waiting.Email), "n", int64(out.CodeMinutes)))
	}
	return err
}

// confirmRegistration gives the code, or asks for it until it is right. Another
// one is mailed to whoever types an r, also when the first has ended: the
// registration has not.
func (a *app) confirmRegistration(ctx context.Context, st *state.State, client *wire.Client, waiting *state.Registration, code string) (string, error) {
	given := code != ""
	for {
		if !given {
			var err error
			if code, err = a.ask(ctx, a.say.T("cli.register.ask.code"), ""); err != nil {
				return "", err
			}
		}
		switch strings.ToLower(code) {
		case "":
			continue
		case "r":
			if err := a.resend(ctx, st, client, waiting); err != nil && !errs.Is(err, errs.TooManyAttempts) {
				return "", err
			} else if err != nil {
				a.complain(err)
			}
			continue
		}
		username, err := agent.ConfirmRegistration(ctx, st, client, waiting, code)
		switch {
		case err == nil:
			return username, nil
		case given || !errs.Is(err, errs.WrongConfirmation) && !errs.Is(err, errs.LinkExpired):
			return "", err
		}
		a.complain(err)
	}
}

// registrationJSON is a registration in JSON output.
type registrationJSON struct {
	State    string `json:"state"` // waiting or registered
	Server   string `json:"server"`
	Username string `json:"username"`
	Email    string `json:"email"`
}

func (a *app) showWaiting(w *state.Registration) error {
	if a.json {
		return a.writeJSON(registrationJSON{"waiting", w.Server, w.Username, w.Email})
	}
	fmt.Fprintln(a.out, a.say.T("cli.register.waiting"))
	return nil
}

// registered tells that the account is there, and makes this computer its
// device when whoever sits there agrees. password is empty when the
// registration was begun by another run.
func (a *app) registered(ctx context.Context, st *state.State, cfg wire.Config, w *state.Registration, username, password string) error {
	if a.json {
		return a.writeJSON(registrationJSON{"registered", w.Server, username, w.Email})
	}
	fmt.Fprintln(a.out, a.say.T("cli.register.done", "user", safe(username)))
	next := a.say.T("cli.register.next", "command", commandLine("activate", w.Server, w.Fingerprint, "--user "+safe(username)))
	if _, err := st.Device(); err == nil || !a.asks() {
		fmt.Fprintln(a.out, next)
		return nil
	}
	yes, err := a.agrees(ctx, a.say.T("cli.register.ask.activate"))
	if err != nil || !yes {
		fmt.Fprintln(a.out, next)
		return err
	}
	in := activating{Activation: agent.Activation{
		Server: w.Server, Fingerprint: w.Fingerprint, Username: username, Password: password,
	}}
	return a.activate(ctx, st, cfg, in)
}
