package state

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/backstay/backstay/agent/acl"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

func systemDir(getenv func(string) string) string {
	return filepath.Join(getenv("ProgramData"), "Backstay")
}

func userDir(getenv func(string) string) (string, error) {
	dir := getenv("LOCALAPPDATA")
	if !filepath.IsAbs(dir) {
		return "", errs.New(errs.Local, "state.dir.unknown")
	}
	return filepath.Join(dir, "Backstay"), nil
}

// makeDir makes the folder closed to others, whatever the one above it says.
func makeDir(dir string) error {
	if err := durable.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	return acl.Make(dir)
}

// checkOwner refuses a folder that is not ours alone. An empty one that is ours is
// closed to others instead.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return foreign(dir, err)
	}
	if !info.IsDir() {
		return errs.New(errs.Local, "state.dir.notfolder", "path", dir)
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) == 0 {
		return acl.Make(dir)
	}
	return acl.Check(dir)
}

var errLocked = errors.New("locked by another process")

func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}

// full reports whether err says that there is no room left.
func full(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
