package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

func (a *app) activateCommand() *cobra.Command {
	var in agent.Activation
	var passwordFile string
	var again bool
	cmd := a.command("activate --server URL --user NAME", "cli.activate.", func(cmd *cobra.Command, _ []string) error {
		for name, value := range map[string]string{"server": in.Server, "user": in.Username} {
			if value == "" {
				return usageError(cmd, errs.New(errs.Invalid, "cli.usage.flag.missing", "name", name))
			}
		}
		return a.activate(cmd, in, passwordFile, again)
	})
	cmd.Args = maxArgs(0)
	flags := cmd.Flags()
	flags.StringVar(&in.Server, "server", "", a.say.T("cli.activate.flag.server"))
	flags.StringVar(&in.Fingerprint, "ca-fingerprint", "", a.say.T("cli.activate.flag.ca_fingerprint"))
	flags.StringVar(&in.Username, "user", "", a.say.T("cli.activate.flag.user"))
	flags.StringVar(&in.Name, "name", "", a.say.T("cli.activate.flag.name"))
	flags.StringVar(&passwordFile, "password-file", "", a.say.T("cli.flag.password_file"))
	flags.BoolVar(&in.System, "system-device", false, a.say.T("cli.activate.flag.system_device"))
	flags.BoolVar(&again, "again", false, a.say.T("cli.activate.flag.again"))
	return a.withJSON(cmd)
}

func (a *app) activate(cmd *cobra.Command, in agent.Activation, passwordFile string, again bool) (err error) {
	if in.Server, err = wire.ParseServer(in.Server); err != nil {
		return usageError(cmd, err)
	}
	if in.Fingerprint != "" {
		if in.Fingerprint, err = wire.ParseFingerprint(in.Fingerprint); err != nil {
			return usageError(cmd, err)
		}
	}
	if in.Name == "" {
		if in.Name, err = deviceName(); err != nil {
			return err
		}
	}
	st, err := a.openState()
	if err != nil {
		return err
	}
	if err := st.Lock(); err != nil {
		return err
	}
	defer st.Unlock()
	if d, err := st.Device(); err == nil && !again {
		return errs.New(errs.Conflict, "cli.activate.already", "name", safe(d.Name), "server", d.Server)
	}
	if os.Geteuid() == 0 && !in.System {
		fmt.Fprintln(a.errOut, a.say.T("cli.activate.root"))
	}
	client, err := wire.New(wire.Config{Server: in.Server, Fingerprint: in.Fingerprint})
	if err != nil {
		return err
	}
	defer client.Close()
	// The server first: nobody should type a password for an address that is
	// wrong, or to a server that is not trusted.
	hello, err := client.Hello(cmd.Context())
	if err != nil {
		return err
	}
	if in.Password, err = a.password(cmd.Context(), passwordFile, in.Username); err != nil {
		return err
	}
	device, err := agent.Activate(cmd.Context(), st, client, in)
	if err != nil {
		return err
	}
	return a.showActivated(device, hello, in.Name)
}

func (a *app) showActivated(d *state.Device, hello wire.Hello, wanted string) error {
	if a.json {
		return a.writeJSON(struct {
			DeviceID   string `json:"device_id"`
			DeviceName string `json:"device_name"`
			Renamed    bool   `json:"renamed"`
			SetID      string `json:"set_id"`
			Username   string `json:"username"`
			UserID     string `json:"user_id"`
			Server     string `json:"server"`
		}{d.ID.String(), d.Name, d.Name != wanted, d.Set.String(), d.Username, d.User.String(), d.Server})
	}
	server := hello.Name
	if server == "" {
		server = d.Server
	}
	fmt.Fprintln(a.out, a.say.T("cli.activate.done", "name", safe(d.Name), "user", safe(d.Username), "server", safe(server)))
	if d.Name != wanted {
		fmt.Fprintln(a.out, a.say.T("cli.activate.renamed", "wanted", safe(wanted), "name", safe(d.Name)))
	}
	fmt.Fprintln(a.out, a.say.T("cli.activate.next"))
	return nil
}

// deviceName is the name that the computer has among others.
func deviceName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("finding this computer's name: %w", err)
	}
	name, _, _ = strings.Cut(name, ".")
	return name, nil
}
