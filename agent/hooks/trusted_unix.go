//go:build unix

package hooks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// trusted returns the file behind a path without its links. It refuses one that
// anybody but root could change: the file, a folder on the way, or a link.
func trusted(path string) (string, error) {
	path = filepath.Clean(path)
	if err := rootsAlone(path); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if err := rootsAlone(real); err != nil {
		return "", err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", real)
	}
	return real, nil
}

func rootsAlone(path string) error {
	for ; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
			return fmt.Errorf("%s belongs to user id %d, not to root", path, uid)
		}
		if info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("%s can be written by others than root (mode %04o)", path, info.Mode().Perm())
		}
		if path == "/" {
			return nil
		}
	}
}

// asGroup makes a command the head of a group of processes, which end tells to
// end with it.
func asGroup(cmd *exec.Cmd) (end func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return func() {
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
}
