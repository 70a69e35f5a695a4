//go:build unix

package control

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

const socket = "control.sock"

// listen makes the socket. The folder is closed to others already; the
// socket's own mode says it once more.
func listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socket)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var l *net.UnixListener
	err := short(dir, func(path string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	// The name it was made under may be gone by the time it is closed.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return &unixListener{l, path}, nil
}

type unixListener struct {
	*net.UnixListener
	path string
}

func (l *unixListener) Close() error {
	os.Remove(l.path)
	return l.UnixListener.Close()
}

func dial(dir string) (conn net.Conn, err error) {
	err = short(dir, func(path string) (err error) {
		conn, err = net.Dial("unix", path)
		return err
	})
	return conn, err
}

// short calls use with a path of the socket that fits into the about hundred
// bytes that the system allows: through the open folder when the real one is
// too long.
func short(dir string, use func(path string) error) error {
	path := filepath.Join(dir, socket)
	if len(path) < 100 || runtime.GOOS != "linux" {
		return use(path)
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), socket))
}
