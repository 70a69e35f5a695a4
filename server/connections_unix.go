//go:build unix

package server

import "syscall"

// openFiles is how many files this process may have open, sockets among them. Go
// has raised that to what the system allows.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return manyFiles
	}
	return int(min(limit.Cur, manyFiles))
}
