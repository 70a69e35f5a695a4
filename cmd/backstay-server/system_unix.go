//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

var errLocked = errors.New("somebody else has the lock")

// lockFolder takes a folder for this process, until unlock or its end.
func lockFolder(folder string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(folder, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}

// alive fails when the process has ended.
func alive(p *os.Process) error { return p.Signal(syscall.Signal(0)) }
