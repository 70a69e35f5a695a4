package main

import (
	"context"
	"errors"
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
		if _, err := st.Device(); err != nil {
			return err
		}
		if err := st.Lock(); err != nil {
			return err
		}
		defer st.Unlock()
		ag, err := agent.New(agent.Config{State: st, Log: a.logger(slog.LevelInfo)})
		if err != nil {
			return err
		}
		defer ag.Client().Close()
		err = ag.Run(cmd.Context())
		// To be told to stop is how an agent ends well.
		if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	cmd.Args = maxArgs(0)
	return cmd
}
