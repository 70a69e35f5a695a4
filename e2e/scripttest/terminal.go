//go:build linux

package scripttest

import (
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/cli/terminaltest"
)

// seat is where somebody sits at a terminal.
type seat struct {
	*terminaltest.Terminal
	cmd   *exec.Cmd
	ended chan error
}

type seatKey struct{}

type testKey struct{}

// scriptTB is a test whose failures tell the line of the script.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Fatalf(format string, args ...any) { s.ts.Fatalf(format, args...) }

// sit begins a program on a terminal. What follows is a talk with it:
//
//	sit PROGRAM [ARG...]
//	shown TEXT              waits until the screen shows it, after what was there before
//	answer QUESTION TEXT    waits for the question, and types
//	secret QUESTION TEXT    the same, once the terminal does not show what is typed
//	rise STATUS             waits for the end of the program
func sit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: sit PROGRAM [ARG...]")
	}
	s := &seat{Terminal: terminaltest.Open(scriptTB{ts.Value(testKey{}).(testing.TB), ts}), ended: make(chan error, 1)}
	// By way of env: the program is looked for where the script's PATH says.
	s.cmd = exec.Command("env", append([]string{"PATH=" + ts.Getenv("PATH")}, args...)...)
	s.cmd.Dir, s.cmd.Env = ts.MkAbs("."), append(environ(ts), "NO_COLOR=1")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.TTY, s.TTY, s.TTY
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(s.cmd.Start())
	go func() { s.ended <- s.cmd.Wait() }()
	ts.Defer(func() { s.cmd.Process.Kill() })
	*ts.Value(seatKey{}).(**seat) = s
}

// seated is the terminal at which the script's user sits.
func seated(ts *testscript.TestScript, args []string, want int) *seat {
	s := *ts.Value(seatKey{}).(**seat)
	if s == nil || len(args) != want {
		ts.Fatalf("usage: sit PROGRAM, and then shown TEXT, answer QUESTION TEXT, secret QUESTION TEXT, rise STATUS")
	}
	return s
}

func shown(ts *testscript.TestScript, _ bool, args []string) { seated(ts, args, 1).Expect(args[0]) }

func answer(ts *testscript.TestScript, _ bool, args []string) {
	seated(ts, args, 2).Answer(args[0], args[1])
}

func secret(ts *testscript.TestScript, _ bool, args []string) {
	seated(ts, args, 2).Secret(args[0], args[1])
}

func rise(ts *testscript.TestScript, _ bool, args []string) {
	s := seated(ts, args, 1)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		ts.Fatalf("the program does not end; the screen shows\n%s", s.Shown())
	}
	ts.Logf("%s", s.Shown())
	if got := s.cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
	*ts.Value(seatKey{}).(**seat) = nil
}
