package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/cli"
	"github.com/backstay/backstay/errs"
)

// rootCommand is the tree of commands.
func (a *app) rootCommand() *cobra.Command {
	root := a.command("backstay", "cli.root.", nil)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.command", "name", safe(args[0])))
		}
		return cmd.Help()
	}
	root.PersistentFlags().StringVar(&a.stateDir, "state", "", a.say.T("cli.flag.state"))
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(cmd *cobra.Command, args []string) error {
		found, _, err := root.Find(args)
		if err != nil || found == root && len(args) > 0 {
			return usageError(root, errs.New(errs.Invalid, "cli.usage.command", "name", safe(strings.Join(args, " "))))
		}
		return found.Help()
	}})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, cli.FlagError(err)) })
	root.AddCommand(
		a.registerCommand(), a.activateCommand(), a.deployCommand(), a.passwordCommand(), a.backupCommand(), a.snapshotsCommand(), a.lsCommand(), a.restoreCommand(),
		a.uiCommand(), a.statusCommand(), a.foldersCommand(), a.settingsCommand(), a.pauseCommand(), a.resumeCommand(),
		a.agentCommand(), a.serviceCommand(), a.diagnoseCommand(), a.proxyCommand(), a.versionCommand(), a.completionCommand(),
	)
	return root
}

// command makes a command whose texts are the messages that begin with key.
func (a *app) command(use, key string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, RunE: run, DisableFlagsInUseLine: true,
		Short: a.say.T(key + "short"), Long: a.say.T(key + "long"), Example: a.say.T(key + "example"),
		Args: cobra.ArbitraryArgs,
	}
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Usage = a.say.T("cli.flag.help")
	return cmd
}

// withJSON gives a command its --json.
func (a *app) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, a.say.T("cli.flag.json"))
	return cmd
}

// maxArgs is how many arguments a command takes.
func maxArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError(cmd, errs.New(errs.Invalid, "cli.usage.argument", "name", safe(args[n])))
		}
		return nil
	}
}

// help writes what a command is for: examples first.
func (a *app) help(cmd *cobra.Command) {
	var b strings.Builder
	width := cli.Width(cmd.OutOrStdout())
	fmt.Fprintf(&b, "%s\n%s\n\n%s\n\n", a.say.T("cli.help.examples"), indent(cmd.Example), cli.Wrap(cmd.Long, width, 0))
	use := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		use = a.say.T("cli.help.use", "command", cmd.CommandPath())
	}
	fmt.Fprintf(&b, "%s\n  %s\n", a.say.T("cli.help.usage"), use)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s\n", a.say.T("cli.help.commands"))
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-11s %s\n", c.Name(), cli.Wrap(c.Short, width, 14))
			}
		}
	}
	cmd.InheritedFlags() // puts them among the command's own
	fmt.Fprintf(&b, "\n%s\n%s", a.say.T("cli.help.flags"), cmd.Flags().FlagUsagesWrapped(width))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s\n", cli.Wrap(a.say.T("cli.help.more"), width, 0))
	}
	io.WriteString(cmd.OutOrStdout(), b.String())
}

func indent(s string) string { return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") }

// usage is a command line that cannot be understood.
type usage struct {
	command string
	err     error
}

func (u *usage) Error() string { return u.err.Error() }
func (u *usage) Unwrap() error { return u.err }

func usageError(cmd *cobra.Command, err error) error { return &usage{cmd.CommandPath(), err} }
