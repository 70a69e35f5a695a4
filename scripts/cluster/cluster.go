// Package cluster starts a PostgreSQL server that belongs to one run of a script,
// and removes it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cluster is a server that runs.
type Cluster struct {
	DSN     string
	Version string // for people
	dir     string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// Careless is for Start where nothing needs to survive a crash.
var Careless = []string{"fsync=off", "synchronous_commit=off", "full_page_writes=off"}

// Start makes a cluster in a temporary folder and starts its server,
// reachable only by a socket in that folder. PostgreSQL refuses to run as root,
// so for root it runs as the user that Debian's package made.
//
// It sorts text by language, as installations do: a query that relies on the
// order of bytes, which SQLite has, must say so. settings are PostgreSQL's own, as
// NAME=VALUE.
//
// The server dies with the thread that started it: callers lock theirs.
func Start(ctx context.Context, settings ...string) (*Cluster, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	// Not below TMPDIR: a socket's path has at most 107 bytes.
	dir, err := os.MkdirTemp("/tmp", "backstay-postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, ended: make(chan struct{})}
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		if attr.Credential, err = owner(dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	if err := c.start(ctx, bin, attr, settings); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, bin string, attr *syscall.SysProcAttr, settings []string) error {
	data := filepath.Join(c.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", data, "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = c.dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", data}
	for _, s := range append([]string{"listen_addresses=", "unix_socket_directories=" + c.dir, "max_connections=300"}, settings...) {
		args = append(args, "-c", s)
	}
	c.cmd = exec.Command(filepath.Join(bin, "postgres"), args...)
	c.cmd.Dir, c.cmd.SysProcAttr = c.dir, attr
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		c.cmd = nil
		return err
	}
	go func() {
		c.cmd.Wait()
		close(c.ended)
	}()
	c.DSN = "postgres://postgres@/postgres?host=" + url.QueryEscape(c.dir)
	return c.ready(ctx, bin)
}

func (c *Cluster) ready(ctx context.Context, bin string) error {
	for range 300 {
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-h", c.dir, "-U", "postgres", "-Atc", "SHOW server_version").Output()
		if err == nil {
			c.Version = "PostgreSQL " + strings.TrimSpace(string(out))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ended:
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("the server ended at once:\n%s", log)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("the server did not answer within 30 seconds")
}

// Stop ends the server without ceremony and removes all it wrote.
func (c *Cluster) Stop() {
	if c.cmd != nil {
		c.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-c.ended:
		case <-time.After(10 * time.Second):
			c.cmd.Process.Kill()
			<-c.ended
		}
	}
	os.RemoveAll(c.dir)
}

// owner gives dir to the user postgres and returns its credential.
func owner(dir string) (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// postgresBin finds the newest server. Debian keeps its programs out of PATH.
func postgresBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		release := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4])
			return n
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return release(a) - release(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL server is installed")
	}
	return filepath.Dir(path), nil
}

// PID is the process whose children serve the connections.
func (c *Cluster) PID() int { return c.cmd.Process.Pid }
