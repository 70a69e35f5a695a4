// Package terminaltest gives a command a real terminal, with somebody at it.
package terminaltest

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a busy machine may take to come to a question.
const patience = time.Minute

// Terminal is what a command writes on, and a keyboard.
type Terminal struct {
	// TTY is the command's side.
	TTY *os.File

	t    testing.TB
	main *os.File // the side of whoever sits there

	mu   sync.Mutex
	text string
	seen int // as far as Expect has read
}

// Open makes a terminal that is there until the test ends.
func Open(t testing.TB) *Terminal {
	t.Helper()
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	t.Cleanup(func() { main.Close() })
	if err := unix.IoctlSetPointerInt(int(main.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	number, err := unix.IoctlGetInt(int(main.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	s := &Terminal{TTY: tty, t: t, main: main}
	go s.watch()
	return s
}

func (s *Terminal) watch() {
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

// Shown is everything that the screen has shown.
func (s *Terminal) Shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// Expect waits until the screen shows text after what was expected before.
func (s *Terminal) Expect(text string) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
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
	s.t.Fatalf("the screen never shows %q; it shows\n%s", text, s.Shown())
}

// Answer types a line after a question.
func (s *Terminal) Answer(question, line string) {
	s.t.Helper()
	s.Expect(question)
	s.Press(line + "\n")
}

// Secret types a line after a question once the terminal shows nothing of it.
func (s *Terminal) Secret(question, line string) {
	s.t.Helper()
	s.Expect(question)
	s.WaitEcho(false)
	s.Press(line + "\n")
}

// Press presses keys.
func (s *Terminal) Press(keys string) {
	s.t.Helper()
	if _, err := s.main.WriteString(keys); err != nil {
		s.t.Fatalf("typing: %v", err)
	}
}

// WaitEcho waits until the terminal shows what is typed, or does not.
func (s *Terminal) WaitEcho(want bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		state, err := unix.IoctlGetTermios(int(s.TTY.Fd()), unix.TCGETS)
		if err != nil {
			s.t.Fatalf("looking at the terminal: %v", err)
		}
		if (state.Lflag&unix.ECHO != 0) == want {
			return
		}
	}
	s.t.Fatalf("the terminal's echo never becomes %v; it shows\n%s", want, s.Shown())
}
