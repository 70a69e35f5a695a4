package osservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
)

// usualRuntime is where the service is asked, unless systemd names another folder.
func usualRuntime(func(string) string) string { return "/run/backstay" }

// onTheWay opens a folder to go through it, readable or not.
const onTheWay = unix.O_PATH

// separately makes an agent a process of its own: a key pressed at a terminal is
// meant for the service, and the kernel ends the agent with the service.
var separately = syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}

// lookUp asks the system's own commands: accounts may come from a directory,
// which a program without libc cannot ask by itself. Where they are missing the
// files are read.
func lookUp(id string) (account, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := passwd(ctx, id)
	if err != nil {
		return a, err
	}
	out, err := exec.CommandContext(ctx, "/usr/bin/id", "-G", "--", a.name).Output()
	if err != nil {
		return a, fmt.Errorf("asking for the groups of %s: %w", a.name, err)
	}
	err = a.enter(strings.Fields(string(out)))
	return a, err
}

func passwd(ctx context.Context, id string) (account, error) {
	name, gid, home := "", "", ""
	if out, err := exec.CommandContext(ctx, "/usr/bin/getent", "passwd", id).Output(); err == nil {
		fields := bytes.Split(bytes.TrimRight(out, "\n"), []byte(":"))
		if len(fields) != 7 || string(fields[2]) != id {
			return account{}, fmt.Errorf("the system answers oddly about user id %s", id)
		}
		name, gid, home = string(fields[0]), string(fields[3]), string(fields[5])
	} else {
		u, err := user.LookupId(id)
		if err != nil {
			return account{}, errs.New(errs.Local, "service.account.unknown", "id", id).Because(err)
		}
		name, gid, home = u.Username, u.Gid, u.HomeDir
	}
	return newAccount(id, gid, name, home)
}

// tellReady tells systemd that the socket is open; "" is nobody to tell.
func tellReady(address string) error {
	if address == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", address)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("READY=1"))
	return errors.Join(err, conn.Close())
}
