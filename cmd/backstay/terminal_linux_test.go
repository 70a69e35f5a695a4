package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/cli/terminaltest"
	"github.com/backstay/backstay/locale"
)

// screen is a terminal at which a command runs.
type screen struct {
	*terminaltest.Terminal
	t     *testing.T
	ended chan int
}

// sit runs a command line on a terminal, with a state folder of its own in dir.
func sit(t *testing.T, dir string, args ...string) *screen {
	t.Helper()
	s := &screen{Terminal: terminaltest.Open(t), t: t, ended: make(chan int, 1)}
	values := map[string]string{"BACKSTAY_STATE": filepath.Join(dir, "state"), "NO_COLOR": "1"}
	getenv := func(name string) string { return values[name] }
	a := &app{in: s.TTY, out: s.TTY, errOut: s.TTY, getenv: getenv, say: locale.For(locale.English), now: time.Now}
	go func() { s.ended <- a.run(args) }()
	return s
}

// end waits until the command has ended, and returns its status.
func (s *screen) end() int {
	s.t.Helper()
	select {
	case status := <-s.ended:
		return status
	case <-time.After(time.Minute):
		s.t.Fatalf("the command does not end; the screen shows\n%s", s.Shown())
		return -1
	}
}
