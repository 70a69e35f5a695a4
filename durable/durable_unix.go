//go:build !windows

package durable

import (
	"fmt"
	"os"
)

func rename(from, to string) error { return os.Rename(from, to) }

// syncDir syncs through os.File.Sync, which on darwin asks for F_FULLFSYNC: a
// plain fsync there leaves the data in the drive's cache.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing folder: %w: %w", ErrSync, err)
	}
	return nil
}
