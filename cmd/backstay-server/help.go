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

// textWidth is where help breaks its lines.
const textWidth = 100

// help says what a command is for: examples first, since most people look for
// the line to copy.
func (p *program) help(cmd *cobra.Command) {
	var b strings.Builder
	if cmd.Example != "" {
		fmt.Fprintf(&b, "%s\n  %s\n\n", p.say.T("cli.help.examples"), strings.ReplaceAll(cmd.Example, "\n", "\n  "))
	}
	fmt.Fprintf(&b, "%s\n\n%s\n", wrap(cmd.Long, textWidth), p.say.T("cli.help.usage"))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s %s\n\n%s\n", cmd.CommandPath(), p.say.T("server.cli.placeholder"), p.say.T("cli.help.commands"))
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-11s %s\n", c.Name(), c.Short)
			}
		}
		fmt.Fprintf(&b, "\n%s\n", wrap(p.say.T("server.cli.more", "command", cmd.CommandPath()), textWidth))
	} else {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
		if flags := cmd.LocalFlags(); flags.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n%s\n%s", p.say.T("cli.help.flags"), flags.FlagUsages())
		}
	}
	io.WriteString(p.out, b.String())
}

// wrap breaks text into lines of at most width characters.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Split(text, " ") {
		n := len([]rune(word))
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
