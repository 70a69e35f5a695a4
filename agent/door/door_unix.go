//go:build unix

package door

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// Root is whoever has all rights.
const Root = "0"

// Self is the user of this process.
func Self() string { return strconv.Itoa(os.Geteuid()) }

// Listen opens a door at path. Nobody else listens there: what is there already
// was left behind.
func Listen(path string, who For) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l *net.UnixListener
	err := short(path, func(path string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	// The name it was made under may be gone by the time it is closed.
	l.SetUnlinkOnClose(false)
	mode := fs.FileMode(0o600)
	if who == Everybody {
		mode = 0o666
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return &listener{l, path}, nil
}

type listener struct {
	*net.UnixListener
	path string
}

func (l *listener) Close() error {
	os.Remove(l.path)
	return l.UnixListener.Close()
}

// Dial knocks at the door at path.
func Dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = short(path, func(path string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// short calls use with a path of the socket that fits into the about hundred
// bytes that the system allows: through the open folder when the real one is
// too long.
func short(path string, use func(path string) error) error {
	if len(path) < 100 || runtime.GOOS != "linux" {
		return use(path)
	}
	f, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer f.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), filepath.Base(path)))
}

// Peer asks the system which user is at the other end.
func Peer(conn net.Conn) (string, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return "", fmt.Errorf("a %T has no user at its other end", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return "", err
	}
	var uid uint32
	var credErr error
	err = raw.Control(func(fd uintptr) { uid, credErr = peerOf(int(fd)) })
	if err := errors.Join(err, credErr); err != nil {
		return "", fmt.Errorf("asking who asks: %w", err)
	}
	return strconv.FormatUint(uint64(uid), 10), nil
}
