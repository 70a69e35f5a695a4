package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/locale"
)

// screen is a real terminal with somebody at it: what a command writes there,
// and a keyboard.
type screen struct {
	t     *testing.T
	main  *os.File // the side of whoever sits there
	tty   *os.File // the command's
	ended chan int

	mu   sync.Mutex
	text string
	seen int // as far as expect has read
}

// sit runs a command line on a terminal, with a state folder of its own in dir.
func sit(t *testing.T, dir string, args ...string) *screen {
	t.Helper()
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { main.Close() })
	if err := unix.IoctlSetPointerInt(int(main.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(main.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	s := &screen{t: t, main: main, tty: tty, ended: make(chan int, 1)}
	go s.watch()
	values := map[string]string{"BACKSTAY_STATE": filepath.Join(dir, "state"), "NO_COLOR": "1"}
	getenv := func(name string) string { return values[name] }
	a := &app{in: tty, out: tty, errOut: tty, getenv: getenv, say: locale.For(locale.English), now: time.Now}
	go func() { s.ended <- a.run(args) }()
	return s
}

func (s *screen) watch() {
	for buf := make([]byte, 4096); ; {
		n, err := s.main.Read(buf)
		s.mu.Lock()
		s.text += string(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// expect waits until the screen shows text after what was expected before.
func (s *screen) expect(text string) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		at := strings.Index(s.text[s.seen:], text)
		if at >= 0 {
			s.seen += at + len(text)
		}
		s.mu.Unlock()
		if at >= 0 {
			return
		}
	}
	s.t.Fatalf("the screen never shows %q; it shows\n%s", text, s.shown())
}

// answer types a line after a question.
func (s *screen) answer(question, line string) {
	s.t.Helper()
	s.expect(question)
	if _, err := s.main.WriteString(line + "\n"); err != nil {
		s.t.Fatal(err)
	}
}

// secret types a line after a question once the terminal shows nothing of it.
func (s *screen) secret(question, line string) {
	s.t.Helper()
	s.expect(question)
	s.waitEcho(false)
	if _, err := s.main.WriteString(line + "\n"); err != nil {
		s.t.Fatal(err)
	}
}

// waitEcho waits until the terminal shows what is typed, or does not.
func (s *screen) waitEcho(want bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		state, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
		if err != nil {
			s.t.Fatal(err)
		}
		if (state.Lflag&unix.ECHO != 0) == want {
			return
		}
	}
	s.t.Fatalf("the terminal's echo never becomes %v; it shows\n%s", want, s.shown())
}

// end waits until the command has ended, and returns its status.
func (s *screen) end() int {
	s.t.Helper()
	select {
	case status := <-s.ended:
		return status
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the command does not end; the screen shows\n%s", s.shown())
		return -1
	}
}
