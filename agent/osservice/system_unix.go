//go:build unix

package osservice

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

// usualState is where the service keeps what it needs, unless systemd names
// another folder.
func usualState(func(string) string) string { return "/var/lib/backstay" }

// underSystem runs the service: systemd and launchd start it and send SIGTERM,
// like anybody else.
func underSystem(ctx context.Context, cfg Config, run func(context.Context, Config) error) error {
	return run(ctx, cfg)
}

func newAccount(id, gid, name, home string) (account, error) {
	u, err := strconv.ParseUint(id, 10, 32)
	g, gidErr := strconv.ParseUint(gid, 10, 32)
	if err != nil || gidErr != nil || !filepath.IsAbs(home) {
		return account{}, fmt.Errorf("the account of user id %s has group %q and home %q", id, gid, home)
	}
	return account{id: id, uid: uint32(u), gid: uint32(g), name: name, home: filepath.Clean(home)}, nil
}

// enter puts an account into groups.
func (a *account) enter(groups []string) error {
	for _, id := range groups {
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return fmt.Errorf("reading the groups of %s: %w", a.name, err)
		}
		a.groups = append(a.groups, uint32(gid))
	}
	return nil
}

// makeClosed makes a folder that is root's alone, or refuses one that is not.
func makeClosed(dir string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of enrolments: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("looking at %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return errs.Of(errs.ForeignState, "dir", dir).
			Because(fmt.Errorf("%s belongs to user id %d with mode %04o, want this one's with 0700", dir, st.Uid, st.Mode&0o7777))
	}
	return nil
}

// lockFile locks a file until it is closed. It goes with the process.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the enrolments: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errs.New(errs.Conflict, "service.already").Because(err)
	}
	return f, nil
}

// startAs starts an agent with the rights of an account; leave is called when it
// has ended.
func startAs(cmd *exec.Cmd, a account, getenv func(string) string) (leave func(), err error) {
	attr := separately
	attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(a, getenv), &attr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return func() {}, cmd.Start()
}

// environment is all that an agent is told: who it is, and what the
// administrator says of proxies, certificates, language and time.
func environment(a account, getenv func(string) string) []string {
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name, "SHELL=/bin/sh",
	}
	for _, name := range []string{
		"LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	} {
		if value := getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// keepFiles sees to it that no agent gets the files that whoever started the
// service left open.
func keepFiles() error {
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		return fmt.Errorf("looking for open files: %w", err)
	}
	for _, f := range open {
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
