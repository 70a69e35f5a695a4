//go:build unix

package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

func systemDir(func(string) string) string { return "/var/lib/backstay" }

func userDir(getenv func(string) string) (string, error) {
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errs.New(errs.Local, "state.dir.unknown")
	}
	return filepath.Join(home, ".local", "state", "backstay"), nil
}

func makeDir(dir string) error { return durable.MkdirAll(dir, 0o700) }

// checkOwner refuses a folder that is not ours alone. An empty one that is
// ours is closed to others instead: nobody can have put anything into it.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return foreign(dir, err)
	}
	if !info.IsDir() {
		return errs.New(errs.Local, "state.dir.notfolder", "path", dir)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if int(owner) != os.Geteuid() {
		return errs.Of(errs.ForeignState, "dir", dir).
			Because(fmt.Errorf("%s belongs to user id %d, this is %d", dir, owner, os.Geteuid()))
	}
	mode := info.Mode().Perm()
	if mode&0o077 == 0 {
		return nil
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) == 0 && mode&0o022 == 0 {
		return os.Chmod(dir, 0o700)
	}
	return errs.Of(errs.ForeignState, "dir", dir).
		Because(fmt.Errorf("%s is open to other users (mode %04o, want 0700)", dir, mode))
}

var errLocked = errors.New("locked by another process")

// lockFile takes an flock: it goes with the process, so a crash leaves none.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

// full reports whether err says that there is no room left.
func full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
