package osservice

import (
	"os"

	"github.com/kardianos/service"
)

// packaged reports whether the service came with a package. There is none yet.
func packaged() bool { return false }

func definition(program string) (*service.Config, error) {
	// launchctl is found by PATH, which whoever called us may have set.
	return launchdDefinition(program), os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}
