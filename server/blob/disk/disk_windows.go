package disk

import (
	"os"

	"golang.org/x/sys/windows"
)

// alone reports whether no other process uses the folder, and keeps them out.
func alone(lock *os.File) bool {
	flags := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY)
	return windows.LockFileEx(windows.Handle(lock.Fd()), flags, 0, 1, 0, new(windows.Overlapped)) == nil
}

// share lets others in. Windows keeps an exclusive lock beside a shared one of
// the same process, so it is given up; when it was not held, that fails.
func share(lock *os.File) error {
	windows.UnlockFileEx(windows.Handle(lock.Fd()), 0, 1, 0, new(windows.Overlapped))
	return windows.LockFileEx(windows.Handle(lock.Fd()), 0, 0, 1, 0, new(windows.Overlapped))
}

func space(folder string) (total, free uint64, err error) {
	name, err := windows.UTF16PtrFromString(folder)
	if err != nil {
		return 0, 0, err
	}
	err = windows.GetDiskFreeSpaceEx(name, &free, &total, nil)
	return total, free, err
}
