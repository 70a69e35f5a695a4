package localui

import (
	"html/template"
	"runtime"

	"github.com/backstay/backstay/agent"
)

// barred are the folders to back up that the system does not let Backstay look
// into, and how one changes that (C-12).
type barred struct {
	Folders []string
	Hint    string
	Open    template.URL // the system's own page for it, "" when it has none
}

// fullDiskAccess is where macOS keeps who may read everything.
const fullDiskAccess template.URL = "x-apple.systempreferences:com.apple.preference.security?Privacy_AllFiles"

func barredIn(listed []agent.Folder) barred {
	b := barred{Hint: "window.barred.hint"}
	if runtime.GOOS == "darwin" {
		b.Hint, b.Open = "window.barred.hint.macos", fullDiskAccess
	}
	for _, f := range listed {
		if f.Backed() && f.Denied {
			b.Folders = append(b.Folders, fromHome(f.Here))
		}
	}
	return b
}
