package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/cli"
	"github.com/backstay/backstay/errs"
)

// completionCommand writes what makes a shell complete the command line. The
// library has such a command, which speaks English alone.
func (a *app) completionCommand() *cobra.Command {
	shells := map[string]func(root *cobra.Command, out io.Writer) error{
		"bash":       func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) },
		"zsh":        (*cobra.Command).GenZshCompletion,
		"fish":       func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) },
		"powershell": (*cobra.Command).GenPowerShellCompletionWithDesc,
	}
	cmd := a.command("completion SHELL", "cli.completion.", func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		write, ok := shells[args[0]]
		if !ok {
			return usageError(cmd, errs.New(errs.Invalid, "cli.completion.unknown", "name", cli.Safe(args[0])))
		}
		return write(cmd.Root(), a.out)
	})
	cmd.Args = maxArgs(1)
	cmd.Hidden = true
	return cmd
}
