package connection

import "path/filepath"

func settingsDir(getenv func(string) string) string {
	return filepath.Join(getenv("ProgramData"), "Backstay")
}
