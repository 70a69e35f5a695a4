package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent/localui"
	"github.com/backstay/backstay/errs"
)

// uiCommand shows the window of Backstay on this computer.
func (a *app) uiCommand() *cobra.Command {
	var system bool
	cmd := a.command("ui", "cli.ui.", func(cmd *cobra.Command, _ []string) error {
		if a.root && !system {
			return errs.New(errs.Forbidden, "cli.ui.root")
		}
		st, err := a.openState()
		if err != nil {
			return err
		}
		w, err := localui.New(localui.Config{State: st, Getenv: a.getenv, System: system, Now: a.now, Log: a.logger(slog.LevelWarn)})
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s\n%s\n", a.say.T("cli.ui.link"), w.Link())
		if err := a.browse(w.Link()); err != nil {
			fmt.Fprintln(a.errOut, a.say.T("cli.ui.open"))
		}
		err = w.Serve(cmd.Context())
		if errors.Is(err, errInterrupted) {
			return nil
		}
		return err
	})
	cmd.Args = maxArgs(0)
	cmd.Flags().BoolVar(&system, "system-device", false, a.say.T("cli.activate.flag.system_device"))
	return cmd
}

// browse has the user's browser open an address, where there is a desktop.
func (a *app) browse(url string) error {
	var cmd *exec.Cmd
	switch runtime.GOOS {
	case "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	case "darwin":
		cmd = exec.Command("open", url)
	default:
		if a.getenv("DISPLAY") == "" && a.getenv("WAYLAND_DISPLAY") == "" {
			return nil // the link is for another way: a tunnel, a terminal's click
		}
		cmd = exec.Command("xdg-open", url)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}
