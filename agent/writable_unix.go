//go:build unix

package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writable reports whether something can be made at a path, or written into the
// folder that is there.
func writable(path string) bool {
	for ; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		switch {
		case err == nil:
			return info.IsDir() && unix.Access(path, unix.W_OK) == nil
		case !errors.Is(err, fs.ErrNotExist) || path == "/":
			return false
		}
	}
}
