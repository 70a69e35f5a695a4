package agent

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Of ioprio_set(2), which x/sys has no names for.
const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13
	lowNice          = 10
)

// lower lets all else on this computer come first: the processor by nice, the
// disk by the idle class. Linux has both for each thread, and a new one has its
// maker's; so we go on until there is none that we have not seen.
//
// It stays for as long as the process lives: without privileges there is no
// way back, and on a computer that has nothing else to do it costs nothing.
func lower(tasks string) {
	for seen := map[int]bool{}; ; {
		entries, err := os.ReadDir(tasks)
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
			unix.Setpriority(unix.PRIO_PROCESS, id, lowNice)
			unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(id), ioprioIdle)
		}
		if !more {
			return
		}
	}
}
