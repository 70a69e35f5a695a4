package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// activating is an activation, and where its secrets come from.
type activating struct {
	agent.Activation
	name            string
	keyFile         string // with an administrator's activation key
	passwordFile    string
	newPasswordFile string
	code            string // of the second factor
	again           bool

	add          bool
	replace      string // the id or name of a device
	reactivate   bool
	keepUnlinked bool
	restore      string   // nothing or files, empty: not said
	maps         []string // OLD=NEW
	places       []state.PathMap
}

func (a *app) activateCommand() *cobra.Command {
	var in activating
	var server serverFlags
	cmd := a.command("activate --server URL --user NAME", "cli.activate.", func(cmd *cobra.Command, _ []string) error {
		st, err := a.openState()
		if err != nil {
			return err
		}
		if d, err := st.Device(); err == nil && server.url == "" {
			// Again, with what this computer remembers.
			server.url, server.fingerprint, in.Username = d.Server, cmp.Or(server.fingerprint, d.Fingerprint), cmp.Or(in.Username, d.Username)
			in.System = in.System || d.System
		} else if d := agent.Deploying(cmd.Context(), a.getenv, st); d != nil && server.url == "" {
			// Management knows the server, and perhaps who has to sign in.
			server.url, server.fingerprint, in.Username = d.Server, cmp.Or(server.fingerprint, d.Fingerprint), cmp.Or(in.Username, d.Email())
		}
		if in.add && in.reactivate || in.replace != "" && (in.add || in.reactivate) {
			return usageError(cmd, errs.New(errs.Invalid, "cli.activate.flags"))
		}
		if in.places, err = pathMaps(in.maps); err == nil && !slices.Contains([]string{"", sayNothing, sayFiles}, in.restore) {
			err = errs.New(errs.Invalid, "cli.activate.restore.invalid", "value", safe(in.restore))
		}
		if err != nil {
			return usageError(cmd, err)
		}
		if err := a.askWho(cmd, &server, &in); err != nil {
			return err
		}
		if in.Username == "" && in.keyFile == "" {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", "user"))
		}
		in.Server, in.Fingerprint = server.url, server.fingerprint
		cfg, err := server.config(cmd, st)
		if err != nil {
			return err
		}
		return a.activate(cmd.Context(), st, cfg, in)
	})
	cmd.Args = maxArgs(0)
	server.add(a, cmd)
	flags := cmd.Flags()
	flags.StringVar(&in.Username, "user", "", a.say.T("cli.activate.flag.user"))
	flags.StringVar(&in.keyFile, "key-file", "", a.say.T("cli.activate.flag.key_file"))
	flags.StringVar(&in.name, "name", "", a.say.T("cli.activate.flag.name"))
	flags.StringVar(&in.passwordFile, "password-file", "", a.say.T("cli.flag.password_file"))
	flags.StringVar(&in.newPasswordFile, "new-password-file", "", a.say.T("cli.activate.flag.new_password_file"))
	flags.StringVar(&in.code, "code", "", a.say.T("cli.flag.code"))
	flags.BoolVar(&in.System, "system-device", false, a.say.T("cli.activate.flag.system_device"))
	flags.BoolVar(&in.again, "again", false, a.say.T("cli.activate.flag.again"))
	flags.BoolVar(&in.add, "add", false, a.say.T("cli.activate.flag.add"))
	flags.StringVar(&in.replace, "replace", "", a.say.T("cli.activate.flag.replace"))
	flags.BoolVar(&in.reactivate, "reactivate", false, a.say.T("cli.activate.flag.reactivate"))
	flags.StringVar(&in.restore, "restore", "", a.say.T("cli.activate.flag.restore"))
	flags.StringArrayVar(&in.maps, "map", nil, a.say.T("cli.flag.map"))
	flags.BoolVar(&in.keepUnlinked, "keep-unlinked", false, a.say.T("cli.activate.flag.keep_unlinked"))
	return a.withJSON(cmd)
}

// askWho asks somebody at the terminal for the server and the user that nothing
// named.
func (a *app) askWho(cmd *cobra.Command, server *serverFlags, in *activating) (err error) {
	asks := in.Username == "" && in.keyFile == "" && a.asks()
	if asks || server.url == "" && a.asks() {
		fmt.Fprintln(a.errOut, a.say.T("window.activate"))
	}
	err = server.check(cmd)
	for asks && err == nil && in.Username == "" {
		in.Username, err = a.ask(cmd.Context(), a.say.T("cli.activate.ask.user"), "")
	}
	return err
}

// activate makes this computer a device.
func (a *app) activate(ctx context.Context, st *state.State, cfg wire.Config, in activating) (err error) {
	a.forgot = commandLine("password forgot", in.Server, in.Fingerprint, "--username "+safe(in.Username))
	if a.root && !in.System {
		return errs.New(errs.Forbidden, "cli.activate.root")
	}
	if !in.again {
		if err := agent.MayActivate(ctx, st, in.Server); err != nil {
			return err
		}
	}
	if err := agent.LockToActivate(ctx, a.getenv, st); err != nil {
		return err
	}
	defer a.giveBack(st)
	hello, err := a.reach(ctx, st, &cfg, in.Username)
	if err != nil {
		return err
	}
	client, err := wire.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	offer, err := a.goOn(ctx, st, client, in)
	if err != nil {
		return err
	}
	if offer == nil {
		if offer, err = a.proveUser(ctx, st, client, &in); err != nil {
			return err
		}
	}
	choice, err := a.chooseDevice(ctx, offer, in)
	if err != nil {
		return err
	}
	if choice.Choice != wire.Add {
		if err := a.previewChoice(ctx, st, client, offer, in, &choice); err != nil {
			return err
		}
	}
	device, err := agent.Finish(ctx, st, client, choice)
	if err != nil {
		return err
	}
	return a.showActivated(st, device, hello, choice)
}

// goOn is the activation that was begun here and not ended, within its day: who
// it is for was proved then. It is nil when there is none, when the server knows
// it no longer, and where another proof is given.
func (a *app) goOn(ctx context.Context, st *state.State, client *wire.Client, in activating) (*wire.Activation, error) {
	p, err := agent.Begun(st, a.now())
	if err != nil || p == nil || p.Server != in.Server || p.Username != in.Username || p.System != in.System ||
		in.keyFile != "" || in.passwordFile != "" || in.Password != "" {
		return nil, err
	}
	_, err = agent.PreviewChoice(ctx, st, client, wire.Add, "")
	if e := errs.Find(err); e != nil && e.Key == "device.activation.over" {
		return nil, nil
	}
	if err == nil {
		fmt.Fprintln(a.errOut, a.say.T("cli.activate.goes_on", "user", safe(p.Begun.Username)))
	}
	return p.Begun, err
}

// proveUser asks who the computer is for.
func (a *app) proveUser(ctx context.Context, st *state.State, client *wire.Client, in *activating) (*wire.Activation, error) {
	var err error
	if in.keyFile != "" {
		in.Key, err = a.secretFrom(in.keyFile)
	} else if in.Password == "" {
		in.Password, err = a.password(ctx, in.passwordFile, in.Username)
	}
	if err != nil {
		return nil, err
	}
	return a.beginActivation(ctx, st, client, in)
}

// beginActivation proves who the computer is for, and does on the way what the
// server asks for first: the code of a second factor, a new password in place
// of a temporary one, the choice among several accounts of an address.
func (a *app) beginActivation(ctx context.Context, st *state.State, client *wire.Client, in *activating) (offer *wire.Activation, err error) {
	ask := a.askCode(in.code)
	for replaced := false; ; {
		err := wire.WithCode(ctx, ask, func(code string) (err error) {
			in.Code = agent.PlainCode(code)
			offer, err = agent.Begin(ctx, st, client, in.Activation)
			return err
		})
		switch {
		case errs.Is(err, errs.PasswordChange) && !replaced && (in.newPasswordFile != "" || a.asks()):
			if err := a.replacePassword(ctx, client, in, ask); err != nil {
				return nil, err
			}
			replaced = true
		case len(wire.Choice(err)) > 0 && a.asks():
			fmt.Fprintln(a.errOut, a.message(err))
			if in.Username, err = a.choose(ctx, a.say.T("cli.activate.choose"), wire.Choice(err)); err != nil {
				return nil, err
			}
		default:
			return offer, err
		}
	}
}

// replacePassword sets a password of the user's own in place of the one that
// must be changed.
func (a *app) replacePassword(ctx context.Context, client *wire.Client, in *activating, ask wire.AskCode) error {
	offer, err := client.SignIn(ctx)
	if err != nil {
		return err
	}
	if in.newPasswordFile == "" {
		fmt.Fprintln(a.errOut, a.say.T("error.E1105"))
	}
	return a.newPassword(ctx, in.newPasswordFile, offer.PasswordPolicy.Rules, func(password string) error {
		err := wire.WithCode(ctx, ask, func(code string) error {
			return client.ReplacePassword(ctx, wire.ReplacePassword{
				Username: in.Username, Password: in.Password, NewPassword: password, SecondFactor: agent.PlainCode(code)})
		})
		if err == nil {
			in.Password = password
		}
		return err
	})
}

func (a *app) showActivated(st *state.State, d *state.Device, hello wire.Hello, choice agent.Choice) error {
	wanted := choice.Name
	if choice.Choice != wire.Add {
		wanted = d.Name
	}
	if a.json {
		return a.writeJSON(struct {
			DeviceID   string `json:"device_id"`
			DeviceName string `json:"device_name"`
			Choice     string `json:"choice"`
			Renamed    bool   `json:"renamed"`
			SetID      string `json:"set_id"`
			Username   string `json:"username"`
			UserID     string `json:"user_id"`
			Server     string `json:"server"`
		}{d.ID.String(), d.Name, choice.Choice, d.Name != wanted, d.Set.String(), d.Username, d.User.String(), d.Server})
	}
	server := hello.Name
	if server == "" {
		server = d.Server
	}
	fmt.Fprintln(a.out, a.say.T("cli.activate.done."+choice.Choice, "name", safe(d.Name), "user", safe(d.Username), "server", safe(server)))
	if d.Name != wanted {
		fmt.Fprintln(a.out, a.say.T("cli.activate.renamed", "wanted", safe(wanted), "name", safe(d.Name)))
	}
	switch {
	case choice.Choice == wire.Replace && choice.Restore == wire.RestoreFiles:
		fmt.Fprintln(a.out, a.say.T("cli.activate.restore.begins"))
	case choice.Choice == wire.Replace:
		fmt.Fprintln(a.out, a.say.T("cli.activate.restore"))
	}
	next := "cli.activate.next"
	if slices.ContainsFunc(agent.InForce(st).Folders, profile.Linked.Backed) {
		next = "cli.activate.next.folders"
	}
	fmt.Fprintln(a.out, a.say.T(next))
	return nil
}
