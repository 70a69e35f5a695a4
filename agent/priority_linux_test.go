package agent

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process of its own lowers itself, since there is no way back: all its
// threads then let others come first.
func TestLower(t *testing.T) {
	if os.Getenv("BACKSTAY_TEST_LOWER") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLower$", "-test.v")
		cmd.Env = append(os.Environ(), "BACKSTAY_TEST_LOWER=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "lowered") {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	lower("/proc/self/task")
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range threads {
		stat, err := os.ReadFile("/proc/self/task/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if nice := strings.Fields(rest)[16]; nice != "10" {
			t.Errorf("thread %s has nice %s, want 10", e.Name(), nice)
		}
	}
	if class, _, e := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0); e != 0 || class != ioprioIdle {
		t.Errorf("ioprio = %x, %v, want the idle class", class, e)
	}
	t.Log("lowered")
}
