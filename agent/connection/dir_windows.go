package connection

import "path/filepath"

// settingsDir is the program's own, which everybody reads and administrators write:
// the service's folder is closed to users.
func settingsDir(getenv func(string) string) string {
	return filepath.Join(getenv("ProgramFiles"), "Backstay")
}
