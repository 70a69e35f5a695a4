//go:build !windows

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// alone reports whether no other process uses the folder, and keeps them out.
func alone(lock *os.File) bool {
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// share lets others in.
func share(lock *os.File) error {
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_SH)
		if err != unix.EINTR {
			return err
		}
	}
}

func space(folder string) (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, 0, err
	}
	size := uint64(st.Bsize)
	return uint64(st.Blocks) * size, uint64(st.Bavail) * size, nil
}
