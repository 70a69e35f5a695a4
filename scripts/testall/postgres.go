package main

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

// postgres is a server that belongs to this run.
type postgres struct {
	dsn     string
	version string
	dir     string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startPostgres makes a cluster in a temporary folder and starts its server,
// reachable only by a socket in that folder. PostgreSQL refuses to run as root,
// so for root it runs as the user that Debian's package made.
//
// It sorts text by language, as installations do: a query that relies on the
// order of bytes, which SQLite has, must say so.
func startPostgres(ctx context.Context) (*postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	// Not below TMPDIR: a socket's path has at most 107 bytes.
	dir, err := os.MkdirTemp("/tmp", "backstay-postgres-")
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir, ended: make(chan struct{})}
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		if attr.Credential, err = owner(dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	if err := p.start(ctx, bin, attr); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *postgres) start(ctx context.Context, bin string, attr *syscall.SysProcAttr) error {
	data := filepath.Join(p.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", data, "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = p.dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// Nothing here needs to survive a crash.
	p.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+p.dir,
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=300")
	p.cmd.Dir, p.cmd.SysProcAttr = p.dir, attr
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	p.dsn = "postgres://postgres@/postgres?host=" + url.QueryEscape(p.dir)
	return p.ready(ctx, bin)
}

func (p *postgres) ready(ctx context.Context, bin string) error {
	for range 300 {
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-h", p.dir, "-U", "postgres", "-Atc", "SHOW server_version").Output()
		if err == nil {
			p.version = "PostgreSQL " + strings.TrimSpace(string(out))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
			return fmt.Errorf("the server ended at once:\n%s", log)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("the server did not answer within 30 seconds")
}

// stop ends the server without ceremony and removes all it wrote.
func (p *postgres) stop() {
	if p.cmd != nil {
		p.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
			p.cmd.Process.Kill()
			<-p.ended
		}
	}
	os.RemoveAll(p.dir)
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
