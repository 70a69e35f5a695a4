package osservice

import (
	"fmt"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
)

// Where the service keeps and opens what it needs.
func usualState(func(string) string) string   { return "/var/lib/backstay" }
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
	for _, text := range groups {
		gid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return a, fmt.Errorf("reading the groups of %s: %w", a.name, err)
		}
		a.groups = append(a.groups, uint32(gid))
	}
	// The kernel takes sixteen; the others it asks the directory about by itself.
	a.groups = a.groups[:min(len(a.groups), 16)]
	return a, nil
}
