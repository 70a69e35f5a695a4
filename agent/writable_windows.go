package agent

import (
	"os"
	"path/filepath"
)

// writable reports whether there is a drive for a path. What may be written on
// it shows when it is written.
func writable(path string) bool {
	_, err := os.Stat(filepath.VolumeName(path) + `\`)
	return err == nil
}
