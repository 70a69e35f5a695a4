package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/osservice"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

// serviceCommand holds what concerns Backstay as a service of the system.
func (a *app) serviceCommand() *cobra.Command {
	cmd := a.command("service COMMAND", "cli.service.", nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.command", "name", safe(args[0])))
		}
		return cmd.Help()
	}
	cmd.AddCommand(
		a.serviceRunCommand(), a.serviceStatusCommand(), a.serviceAdoptCommand(), a.serviceDropCommand(),
		a.serviceControl("install", osservice.Install), a.serviceControl("uninstall", osservice.Uninstall),
		a.serviceControl("start", osservice.Start), a.serviceControl("stop", osservice.Stop), a.serviceControl("restart", osservice.Restart),
	)
	return cmd
}

// serviceControl is a command by which root changes what the system does with
// the service.
func (a *app) serviceControl(name string, do func() error) *cobra.Command {
	cmd := a.command(name, "cli.service."+name+".", func(*cobra.Command, []string) error {
		if err := do(); err != nil {
			return err
		}
		fmt.Fprintln(a.out, a.say.T("cli.service."+name+".done"))
		return nil
	})
	cmd.Args = maxArgs(0)
	return cmd
}

func (a *app) serviceRunCommand() *cobra.Command {
	cmd := a.command("run", "cli.service.run.", func(cmd *cobra.Command, _ []string) error {
		program, err := osservice.Program()
		if err != nil {
			return err
		}
		cfg := osservice.Config{Program: program, Log: a.logger(slog.LevelInfo), Getenv: a.getenv}
		if runtime.GOOS != "linux" { // there backstay-deploy.service does it, which may less
			cfg.Deploy = agent.DeployPath(a.getenv)
		}
		return osservice.Run(cmd.Context(), cfg)
	})
	cmd.Args = maxArgs(0)
	return cmd
}

func (a *app) serviceAdoptCommand() *cobra.Command {
	cmd := a.command("adopt", "cli.service.adopt.", func(cmd *cobra.Command, _ []string) error {
		st, err := a.openState()
		if err != nil {
			return err
		}
		device, err := st.Device()
		if err != nil {
			return err
		}
		if _, err := osservice.HandOver(cmd.Context(), a.getenv, st.Dir(), device.Server); err != nil {
			return err
		}
		fmt.Fprintln(a.out, a.say.T("cli.service.adopt.done"))
		return nil
	})
	cmd.Args = maxArgs(0)
	return cmd
}

func (a *app) serviceDropCommand() *cobra.Command {
	cmd := a.command("drop", "cli.service.drop.", func(cmd *cobra.Command, _ []string) error {
		if _, err := osservice.Ask(cmd.Context(), a.getenv, osservice.Drop); err != nil {
			return err
		}
		fmt.Fprintln(a.out, a.say.T("cli.service.drop.done"))
		return nil
	})
	cmd.Args = maxArgs(0)
	return cmd
}

func (a *app) serviceStatusCommand() *cobra.Command {
	cmd := a.command("status", "cli.service.status.", func(cmd *cobra.Command, _ []string) error {
		kept, err := osservice.Ask(cmd.Context(), a.getenv, osservice.Status)
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(struct {
				Kept []keptJSON `json:"enrolments"`
			}{keptList(kept)})
		}
		if len(kept) == 0 {
			fmt.Fprintln(a.out, a.say.T("cli.service.status.none"))
			return nil
		}
		heads := []string{a.say.T("cli.service.status.user"), a.say.T("cli.service.status.folder"), a.say.T("cli.service.status.agent")}
		rows := make([][]string, len(kept))
		for i, k := range kept {
			rows[i] = []string{safe(k.User), safe(string(k.State)), a.keptText(k)}
		}
		return a.table(heads, rows)
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}

// keptText tells how an agent that the service keeps is doing.
func (a *app) keptText(k osservice.Kept) string {
	if k.Doing == osservice.Running {
		return a.say.T("cli.service.status.running", "since", a.say.Time(k.Since, a.now()))
	}
	if k.Failure == "" {
		return a.say.T("cli.service.status.starting")
	}
	return a.say.T("cli.service.status.waiting", "when", a.say.Time(k.Next, a.now()), "why", safe(k.Failure))
}

type keptJSON struct {
	ID      string    `json:"user_id"`
	User    string    `json:"user"`
	State   pathJSON  `json:"state_folder"`
	Doing   string    `json:"state"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Next    time.Time `json:"next_start,omitzero"`
	Ended   int       `json:"restarts"`
	Failure string    `json:"failure,omitempty"`
}

func keptList(kept []osservice.Kept) []keptJSON {
	list := make([]keptJSON, len(kept))
	for i, k := range kept {
		list[i] = keptJSON{k.ID, k.User, toJSON(string(k.State)), k.Doing, k.PID, k.Since, k.Next, k.Ended, k.Failure}
	}
	return list
}

// giveBack leaves the state folder to the service, where there is one. That it
// will not take it is told, and no reason for an activation to fail.
func (a *app) giveBack(st *state.State) {
	adopted, err := agent.GiveBack(a.getenv, st)
	switch {
	case err != nil:
		a.complain(err)
	case adopted && !a.json:
		fmt.Fprintln(a.out, a.say.T("cli.service.adopt.done"))
	}
}
