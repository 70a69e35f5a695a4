package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// proxyCommand holds what may be done about proxies.
func (a *app) proxyCommand() *cobra.Command {
	cmd := a.command("proxy COMMAND", "cli.proxy.", nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.command", "name", safe(args[0])))
		}
		return cmd.Help()
	}
	cmd.AddCommand(a.proxyShowCommand(), a.proxySetCommand(), a.proxyTestCommand())
	return cmd
}

func (a *app) proxyShowCommand() *cobra.Command {
	cmd := a.command("show", "cli.proxy.show.", func(*cobra.Command, []string) error {
		st, err := a.openState()
		if err != nil {
			return err
		}
		c, err := st.Connection()
		if err != nil {
			return err
		}
		return a.showProxy(c.Proxy)
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}

// showProxy shows settings, but for the password.
func (a *app) showProxy(p wire.Proxy) error {
	if a.json {
		return a.writeJSON(struct {
			Mode        wire.ProxyMode `json:"mode"`
			URL         string         `json:"url,omitempty"`
			Username    string         `json:"username,omitempty"`
			HasPassword bool           `json:"has_password"`
			Bypass      []string       `json:"bypass,omitempty"`
		}{p.Mode, p.URL, p.Username, p.Password != "", p.Bypass})
	}
	rows := [][2]string{{a.say.T("cli.proxy.row.mode"), a.say.T("cli.proxy.mode." + string(p.Mode))}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, [2]string{a.say.T("cli.proxy.row." + name), safe(value)})
		}
	}
	add("url", p.URL)
	add("user", p.Username)
	if p.Password != "" {
		add("password", a.say.T("cli.proxy.password.kept"))
	}
	add("bypass", strings.Join(p.Bypass, ", "))
	return a.rows(rows)
}

func (a *app) proxySetCommand() *cobra.Command {
	var flags proxyFlags
	cmd := a.command("set ADDRESS|system|none|pac:ADDRESS", "cli.proxy.set.", func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.argument.missing", "name", "ADDRESS"))
		}
		flags.address = args[0]
		st, err := a.openState()
		if err != nil {
			return err
		}
		p, err := flags.change(a, cmd, wire.Proxy{})
		if err != nil {
			return err
		}
		if p.Username != "" && p.Password == "" && a.asks() {
			if p.Password, err = a.askSecret(cmd.Context(), a.say.T("cli.proxy.ask.password")); err != nil {
				return err
			}
		}
		if err := st.SetConnection(state.Connection{Proxy: p}); err != nil {
			return err
		}
		if !a.json {
			fmt.Fprintln(a.errOut, a.say.T("cli.proxy.set.done"))
		}
		return a.showProxy(p)
	})
	cmd.Args = maxArgs(1)
	flags.addUser(a, cmd, "")
	cmd.Flags().StringSliceVar(&flags.bypass, "bypass", nil, a.say.T("cli.proxy.flag.bypass"))
	return a.withJSON(cmd)
}

// proxyTestCommand tries settings before they are kept, or those that are.
func (a *app) proxyTestCommand() *cobra.Command {
	var server serverFlags
	cmd := a.command("test", "cli.proxy.test.", func(cmd *cobra.Command, _ []string) error {
		return a.diagnose(cmd, &server, "")
	})
	cmd.Args = maxArgs(0)
	server.add(a, cmd)
	return a.withJSON(cmd)
}
