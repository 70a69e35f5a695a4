package agent

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// lowering runs do in a process of its own, which it may lower: without rights and,
// when this one is root's, as root. back is to which nice it can come back.
func lowering(t *testing.T, do func(back string)) {
	t.Helper()
	const name = "BACKSTAY_TEST_PRIORITY"
	switch mode := os.Getenv(name); mode {
	case "as root":
		do("0")
	case "without rights":
		if err := unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{}); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := syscall.Setuid(65534); err != nil {
				t.Fatal(err)
			}
		}
		do("10")
	default:
		modes := []string{"without rights"}
		if os.Getuid() == 0 {
			modes = append(modes, "as root")
		}
		for _, mode := range modes {
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
			cmd.Env = append(os.Environ(), name+"="+mode)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
				t.Errorf("%s: %v: %s", mode, err, out)
			}
		}
	}
}

// All threads let others come first, and no longer afterwards, as far as the
// system lets them.
func TestPriority(t *testing.T) {
	lowering(t, func(back string) {
		var p priority
		p.begin(false)
		threads(t, "0", ioprioNone)
		p.begin(true)
		p.set(true)
		threads(t, "10", ioprioIdle)
		p.set(false)
		threads(t, back, ioprioNone)
		p.set(true)
		p.end()
		threads(t, "10", ioprioIdle) // the other one goes on
		p.end()
		threads(t, back, ioprioNone)
	})
}

// Backups, and what comes back beside them, let others come first as long as they
// last.
func TestJobsMindOthers(t *testing.T) {
	lowering(t, func(back string) {
		f := newFake(t)
		s := profile.Defaults()
		s.CPU = profile.CPULow
		f.profile.Settings = s.Encode()
		lowered := func() { threads(t, "10", ioprioIdle) }
		a := newAgent(t, device(t, f), &runs{do: func(context.Context, int, func(wire.Progress)) error {
			lowered()
			return nil
		}})
		settled := func() {
			t.Helper()
			eventually(t, "nothing is held back any more", func() bool {
				a.priority.mu.Lock()
				defer a.priority.mu.Unlock()
				return a.priority.jobs == 0
			})
			threads(t, back, ioprioNone)
		}
		if _, err := a.Backup(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		settled()

		asked := false
		server := f.Config.Handler
		f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/snapshots") {
				asked = true
				lowered()
			}
			server.ServeHTTP(w, r)
		})
		r := &state.Restore{ID: backup.UUID{7}.String(), Token: "t", Snapshot: strings.Repeat("5", 64), Home: home()}
		if err := a.back.begin(a.state, r); err != nil {
			t.Fatal(err)
		}
		if err := a.bringBack(t.Context(), r); err == nil || !asked {
			t.Errorf("this server has no snapshots: %v", err)
		}
		settled()
	})
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
