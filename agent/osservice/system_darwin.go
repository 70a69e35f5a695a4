package osservice

import (
	"fmt"
	"os/user"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
)

// usualRuntime is where the service is asked.
func usualRuntime(func(string) string) string { return "/var/run/backstay" }

// onTheWay opens a folder to go through it.
const onTheWay = unix.O_RDONLY

// separately leaves an agent in the service's group of processes: launchd ends
// whoever is left of it with the service.
var separately = syscall.SysProcAttr{}

// tellReady has nobody to tell: launchd does not ask.
func tellReady(string) error { return nil }

// lookUp asks the system, which knows the users of directories too.
func lookUp(id string) (account, error) {
	u, err := user.LookupId(id)
	if err != nil {
		return account{}, errs.New(errs.Local, "service.account.unknown", "id", id).Because(err)
	}
	a, err := newAccount(id, u.Gid, u.Username, u.HomeDir)
	if err != nil {
		return a, err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return a, fmt.Errorf("asking for the groups of %s: %w", a.name, err)
	}
	// The kernel takes sixteen; the others it asks the directory about by itself.
	err = a.enter(groups[:min(len(groups), 16)])
	return a, err
}
