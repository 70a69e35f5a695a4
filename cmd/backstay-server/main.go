// Command backstay-server keeps the backups of an organisation's computers.
// It serves the agent's protocol, the users' portal and the administrators'
// console; backstay is the program on the computers themselves.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/cli"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/server/passwords"
)

// The exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	// The heap is mostly buffers of a few megabytes, cheap to look through: a
	// download of 1 GB as a zip grew the server by 30 MB with this and, once the
	// memory of the log-in was given back, by 60 MB and more without.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is one run of the command line, with what it may touch.
type program struct {
	in      *os.File
	out     io.Writer
	err     io.Writer
	environ []string
	client  string            // the backstay binary; the one beside this one when empty
	hasher  *passwords.Hasher // of passwords; nil for one of the usual cost

	say     *locale.Printer
	started bool // a command began: what fails from here on is no matter of usage
}

func (p *program) run(ctx context.Context, args []string) int {
	p.say = locale.For(locale.FromEnv(p.getenv))
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	err := root.ExecuteContext(ctx)
	var quiet silentError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return int(quiet)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(p.err, p.say.T("cli.interrupted"))
		return exitInterrupted
	}
	fmt.Fprintln(p.err, "backstay-server: "+p.explain(err))
	if !p.started {
		fmt.Fprintln(p.err, p.say.T("cli.usage.help", "command", "backstay-server"))
		return exitUsage
	}
	return exitFailed
}

// silentError is an exit status whose reason has been told.
type silentError int

func (e silentError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// explain says what failed to the administrator at the terminal: an expected
// failure in their language with its code, any other as it is.
func (p *program) explain(err error) string {
	var bad *badValue
	if errors.As(err, &bad) {
		return p.say.T("config.value.invalid", "name", bad.name, "source", bad.source, "reason", p.explain(bad.cause))
	}
	expected := errs.Find(err)
	if expected == nil {
		return err.Error()
	}
	text := p.say.Error(err)
	if expected.Code != "" {
		text += " (" + string(expected.Code) + ")"
	}
	if expected.Err != nil {
		text += "\n  " + expected.Err.Error()
	}
	return text
}

func (p *program) getenv(name string) string {
	for _, v := range p.environ {
		if len(v) > len(name) && v[len(name)] == '=' && v[:len(name)] == name {
			return v[len(name)+1:]
		}
	}
	return ""
}

func (p *program) root() *cobra.Command {
	root := p.group("root", p.quickstartCommand(), p.serveCommand(), p.configCommand(), p.migrateCommand(),
		p.group("org", p.orgCreate(), p.orgList(), p.orgRename()), p.group("admin", p.adminCreate()), p.group("user", p.userCreate()),
		p.licenceCommands(), p.versionCommand())
	root.Use = "backstay-server"
	root.Example = `backstay-server quickstart ~/Documents
backstay-server serve --config /etc/backstay/server.yaml
backstay-server admin create --org Example alice`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { p.started = cmd.Name() != "help" }
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { p.help(cmd) })
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.FlagError(err) })
	root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(_ *cobra.Command, args []string) error {
		found, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return errs.New(errs.Invalid, "cli.usage.command", "name", cli.Safe(strings.Join(args, " ")))
		}
		p.help(found)
		return nil
	}})
	root.SetOut(p.out)
	root.SetErr(p.err)
	for _, cmd := range append(root.Commands(), root) {
		for _, c := range append(cmd.Commands(), cmd) {
			c.InitDefaultHelpFlag()
			c.Flags().Lookup("help").Usage = p.say.T("cli.flag.help")
		}
	}
	return root
}
