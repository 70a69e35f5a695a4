// Command backstay is Backstay on a computer: it backs up folders to the
// organisation's server, lists what is there, and restores it.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/backstay/backstay/agent/connection"
	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/locale"
)

func main() {
	connection.Main()
	// People's computers are for people: a backup lives on 100 MB of buffers, and
	// Go would let garbage double that. A fifth costs 5 to 10 % more processor time
	// and keeps the peak under 140 MB in place of 288 (45,000 files, 600 MB, 2 cores).
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(20)
	}
	a := &app{
		in: os.Stdin, out: os.Stdout, errOut: os.Stderr,
		getenv: os.Getenv, say: locale.For(locale.FromEnv(os.Getenv)), now: time.Now,
		root: door.Self() == door.Root,
	}
	os.Exit(a.run(os.Args[1:]))
}

// The exit statuses, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreadable  = 3 // done, but some files could not be read
	exitRefused     = 4 // the server said no
	exitInterrupted = 130
)

// app is what all commands share.
type app struct {
	in          *os.File
	out, errOut io.Writer
	getenv      func(string) string
	say         *locale.Printer
	now         func() time.Time
	root        bool // the system's rights, which nobody's own files are backed up with

	stateDir string // --state
	json     bool   // --json
	status   int    // what a command that succeeded ends with
	resumes  bool   // the command goes on where it was interrupted
	forgot   string // the command by which a lost password is recovered here
}

// run executes one command line and returns the exit status.
func (a *app) run(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	a.handleSignals(cancel)
	root := a.rootCommand()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			err = cause // who was cut off may know no more than that
		}
		return a.fail(err)
	}
	return a.status
}

var errInterrupted = errors.New("interrupted")

// handleSignals ends the command's context at the first Ctrl-C. The second one
// finds the system's own handling and kills.
func (a *app) handleSignals(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel(errInterrupted)
	}()
}

// openState opens the state folder that the flag, the environment or the
// system's custom names.
func (a *app) openState() (*state.State, error) {
	dir := a.stateDir
	if dir == "" {
		var err error
		if dir, err = state.DefaultDir(a.getenv, a.root); err != nil {
			return nil, err
		}
	}
	return state.Open(dir)
}

// terminal returns the file behind w when it is a terminal.
func terminal(w any) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether w may be given colours.
func (a *app) colours(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}
