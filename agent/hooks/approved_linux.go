package hooks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

// approved returns a hook's script, ready to be run by its descriptor, if it is
// root's alone and has the SHA-256 that the administrator approved. It is a copy
// in memory that nobody can change any more: what is run is what was looked at,
// whatever becomes of the file meanwhile.
func approved(folder string, h profile.Hook) (*os.File, *errs.Error) {
	path := filepath.Join(folder, h.Name)
	content, err := readRoots(folder, h.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errs.New(errs.Local, "hooks.missing", "path", path).Because(err)
	case err != nil:
		return nil, errs.New(errs.Local, "hooks.foreign", "path", path).Because(err)
	}
	if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != h.SHA256 {
		return nil, errs.New(errs.Local, "hooks.changed", "path", path).Because(fmt.Errorf("its SHA-256 is %x", got))
	}
	script, err := sealed(h.Name, content)
	if err != nil {
		return nil, errs.New(errs.Local, "hooks.failed", "path", path).Because(err)
	}
	return script, nil
}

// readRoots reads a file in a folder. It refuses one that anybody but root could
// change: the folder, one on the way to it, or a link there; and the file itself,
// which is no link at all.
func readRoots(folder, name string) ([]byte, error) {
	if err := rootsWay(folder); err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return nil, err
	}
	if err := rootsWay(real); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(real, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxScript {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", f.Name(), maxScript)
	}
	if err := rootsAlone(f.Name(), info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxScript))
}

func rootsWay(path string) error {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if err := rootsAlone(path, info); err != nil {
			return err
		}
		if path == "/" {
			return nil
		}
	}
}

func rootsAlone(path string, info fs.FileInfo) error {
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		return fmt.Errorf("%s belongs to user id %d, not to root", path, uid)
	}
	if info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than root (mode %04o)", path, info.Mode().Perm())
	}
	return nil
}

// sealed is content as a program in memory that can be read and run, and never
// written. Linux runs nothing that is open for writing anywhere: no other program
// may be started, and inherit that, until it is closed.
func sealed(name string, content []byte) (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // a system before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
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
