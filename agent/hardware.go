package agent

import (
	"os"
	"os/user"
	"runtime"
	"strings"
	"sync"

	"github.com/backstay/backstay/wire"
)

// Hardware tells what identifies this computer.
var Hardware = sync.OnceValue(func() wire.Hardware {
	h := wire.Hardware{OS: runtime.GOOS, Arch: runtime.GOARCH}
	h.Hostname, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		h.OSUser, h.OSHome = u.Username, u.HomeDir
	}
	if dir := home(); dir != "" {
		h.OSHome = dir // where the profile's folders are looked for
	}
	identify(&h)
	return h
})

// firstLine is a small file's first line, "" when it cannot be read.
func firstLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}
