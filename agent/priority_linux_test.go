package agent

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What lowers itself is a process of its own: all its threads then let others
// come first, and no longer afterwards, as far as the system lets them.
func TestPriority(t *testing.T) {
	mode := os.Getenv("BACKSTAY_TEST_PRIORITY")
	if mode == "" {
		modes := []string{"without rights"}
		if os.Getuid() == 0 {
			modes = append(modes, "as root")
		}
		for _, mode := range modes {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPriority$", "-test.v")
			cmd.Env = append(os.Environ(), "BACKSTAY_TEST_PRIORITY="+mode)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "lowered") {
				t.Errorf("%s: %v: %s", mode, err, out)
			}
		}
		return
	}
	back := "0"
	if mode != "as root" {
		back = "10"
		if err := unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{}); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := syscall.Setuid(65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	var p priority
	p.set(false)
	threads(t, "0", ioprioNone)
	p.set(true)
	p.set(true)
	threads(t, "10", ioprioIdle)
	p.set(false)
	threads(t, back, ioprioNone)
	t.Log("lowered")
}

// threads checks what every thread of this process has.
func threads(t *testing.T, nice string, class uintptr) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tasks {
		stat, err := os.ReadFile("/proc/self/task/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if got := strings.Fields(rest)[16]; got != nice {
			t.Errorf("thread %s has nice %s, want %s", e.Name(), got, nice)
		}
	}
	got, _, e := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
	if got&^7 != class&^7 || e != 0 { // the lowest bits are a level within a class
		t.Errorf("ioprio = %x, %v, want %x", got, e, class)
	}
}
