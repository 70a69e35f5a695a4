package restore

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAll brings all that was written to the file system of dir onto the disk.
func syncAll(dir *os.File) error { return unix.Syncfs(int(dir.Fd())) }
