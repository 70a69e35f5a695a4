package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
)

func (a *app) agentCommand() *cobra.Command {
	cmd := a.command("agent", "cli.agent.", func(cmd *cobra.Command, _ []string) error {
		st, err := a.openState()
		if err != nil {
			return err
		}
		return agent.Serve(cmd.Context(), st, a.logger(slog.LevelInfo))
	})
	cmd.Args = maxArgs(0)
	return cmd
}
