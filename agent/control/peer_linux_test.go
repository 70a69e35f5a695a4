package control_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// askAs asks for the status as another user. The folder and the socket are
// opened to everybody first, so that it is the agent that decides.
func askAs(t *testing.T, uid int, dir string) string {
	t.Helper()
	for _, path := range []string{dir, filepath.Join(dir, "control.sock")} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	answer := make(chan string)
	go func() {
		// The system keeps the user of each thread apart. This one is never
		// unlocked, so it ends with the goroutine.
		runtime.LockOSThread()
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			answer <- e.Error()
			return
		}
		conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/control.sock", f.Fd()))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintln(conn, `{"do":"status"}`)
		line, _ := bufio.NewReader(conn).ReadString('\n')
		answer <- line
	}()
	return <-answer
}

// Another user is refused even when the modes let them in.
func TestForeignPeer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can be somebody else: run this test as root")
	}
	t.Parallel()
	dir := serve(t, handler{})
	got := askAs(t, 12345, dir)
	if got != "" {
		t.Errorf("another user was answered %q", got)
	}
	if got := askAs(t, 0, dir); !strings.Contains(got, "pid") {
		t.Errorf("the same user was answered %q", got)
	}
}
