package agent

import (
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Of ioprio_set(2), which x/sys has no names for.
const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13
	ioprioNone       = 0 // what nice says, which is how a process begins
	lowNice          = 10
)

// priority is this process's among all others.
type priority struct {
	mu      sync.Mutex
	jobs    int // that run and want it as it is
	lowered bool
	nice    int // before it was lowered
}

// begin is set for a job, which calls end when it is done.
func (p *priority) begin(low bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs++
	p.change(low)
}

// end puts the priority back when no job is left.
func (p *priority) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs--; p.jobs == 0 {
		p.change(false)
	}
}

// set changes it while a job runs.
func (p *priority) set(low bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(low)
}

// change lets all else on this computer come first or, when not low, no longer: the
// processor by nice, the disk by the idle class.
//
// Who has no privileges gets back to nice 0 only where RLIMIT_NICE allows that, as
// the service's unit does. Elsewhere nice stays for as long as the process lives;
// on a computer that has nothing else to do it costs nothing.
func (p *priority) change(low bool) {
	if low == p.lowered && !low {
		return // as whoever started us wanted it
	}
	if !p.lowered {
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			return
		}
		p.nice = 20 - raw
	}
	if p.lowered = low; low {
		ofThreads(max(lowNice, p.nice), ioprioIdle)
	} else {
		ofThreads(p.nice, ioprioNone)
	}
}

// ofThreads sets nice and the class of the disk. Linux has both for each thread,
// and a new one has its maker's; so we go on until there is none that we have not
// seen.
func ofThreads(nice, class int) {
	for seen := map[int]bool{}; ; {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		more := false
		for _, e := range entries {
			id, err := strconv.Atoi(e.Name())
			if err != nil || seen[id] {
				continue
			}
			seen[id], more = true, true
			unix.Setpriority(unix.PRIO_PROCESS, id, nice)
			unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(id), uintptr(class))
		}
		if !more {
			return
		}
	}
}
