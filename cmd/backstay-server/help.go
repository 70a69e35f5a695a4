package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/cli"
	"github.com/backstay/backstay/errs"
)

// command makes a command whose texts are the messages that begin with key.
func (p *program) command(use, key, example string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	short := p.say.T(key + "short")
	long := p.say.T(key + "long")
	if long == key+"long" {
		long = short + "."
	}
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, RunE: run, Args: p.arguments(0), DisableFlagsInUseLine: true}
	cmd.Flags().SortFlags = false
	return cmd
}

// arguments says how many arguments a command takes, exactly.
func (p *program) arguments(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > n && cmd.HasSubCommands():
			return errs.New(errs.Invalid, "cli.usage.command", "name", cli.Safe(args[n]))
		case len(args) > n:
			return errs.New(errs.Invalid, "cli.usage.argument", "name", cli.Safe(args[n]))
		case len(args) < n:
			return errs.New(errs.Invalid, "server.usage.missing", "usage", cmd.UseLine())
		}
		return nil
	}
}

// group is a command that only holds others.
func (p *program) group(name string, commands ...*cobra.Command) *cobra.Command {
	cmd := p.command(name, "server.cli."+name+".", "", nil)
	cmd.AddCommand(commands...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p.help(cmd)
		return silentError(exitUsage)
	}
	return cmd
}

// help says what a command is for: examples first, since most people look for
// the line to copy.
func (p *program) help(cmd *cobra.Command) {
	var b strings.Builder
	width := cli.Width(p.out)
	if cmd.Example != "" {
		fmt.Fprintf(&b, "%s\n  %s\n\n", p.say.T("cli.help.examples"), strings.ReplaceAll(cmd.Example, "\n", "\n  "))
	}
	fmt.Fprintf(&b, "%s\n\n%s\n", cli.Wrap(cmd.Long, width, 0), p.say.T("cli.help.usage"))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s %s\n\n%s\n", cmd.CommandPath(), p.say.T("server.cli.placeholder"), p.say.T("cli.help.commands"))
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-11s %s\n", c.Name(), cli.Wrap(c.Short, width, 14))
			}
		}
		fmt.Fprintf(&b, "\n%s\n", cli.Wrap(p.say.T("server.cli.more", "command", cmd.CommandPath()), width, 0))
	} else {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
		if flags := cmd.LocalFlags(); flags.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n%s\n%s", p.say.T("cli.help.flags"), flags.FlagUsagesWrapped(width))
		}
	}
	io.WriteString(p.out, b.String())
}
