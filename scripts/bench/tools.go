package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tool is a program to measure.
type tool interface {
	name() string
	version(context.Context) string
	// start makes an empty repository in work and says how to use it on files.
	start(ctx context.Context, work, files string) (*session, error)
}

// session is one repository: commands to time, nil for what the tool cannot do.
type session struct {
	backup, again, restore []string
	dir                    string   // where they run
	env                    []string // besides ours
	store                  string   // the folder whose files are what is stored
	restored               string   // where restore puts what was files

	server *exec.Cmd // whose processor time counts too, or nil
}

// installed are the tools that this machine has. Without Backstay there is
// nothing to measure.
func installed() ([]tool, error) {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"backstay", "backstay-server"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return nil, fmt.Errorf("%w (make build)", err)
		}
	}
	tools := []tool{backstay{bin}}
	for _, t := range []tool{restic{}, borg{}, cp{}} {
		if _, err := exec.LookPath(t.name()); err != nil {
			fmt.Printf("%s is not installed: measured without it\n", t.name())
			continue
		}
		tools = append(tools, t)
	}
	return tools, nil
}

// says runs a command and returns its first line.
func says(ctx context.Context, argv ...string) string {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func prepare(ctx context.Context, s *session, stdin string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Dir = s.dir
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}

const password = "Bench-4-figures"

// backstay is the client against its server over loopback, with TLS, as in
// use; SQLite and a folder on disk.
type backstay struct{ bin string }

func (backstay) name() string { return "Backstay" }

func (b backstay) version(ctx context.Context) string { return says(ctx, b.bin+"/backstay", "version") }

func (b backstay) start(ctx context.Context, work, files string) (*session, error) {
	data, state, secret := filepath.Join(work, "data"), filepath.Join(work, "state"), filepath.Join(work, "password")
	target := filepath.Join(work, "restored")
	s := &session{
		dir: work, env: []string{"LC_ALL=C", "BACKSTAY_STATE=" + state},
		backup:   []string{b.bin + "/backstay", "backup", files},
		again:    []string{b.bin + "/backstay", "backup"},
		restore:  []string{b.bin + "/backstay", "restore", "--password-file", secret, "--target", target},
		store:    filepath.Join(data, "vault"),
		restored: filepath.Join(target, files),
	}
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return nil, err
	}
	server := b.bin + "/backstay-server"
	if err := prepare(ctx, s, password+"\n", server, "admin", "create", "--data", data, "--org", "Bench", "--password-file", "-", "admin"); err != nil {
		return nil, err
	}
	if err := prepare(ctx, s, password+"\n", server, "user", "create", "--data", data, "--password-file", "-", "bench"); err != nil {
		return nil, err
	}
	url, fingerprint, err := s.serve(ctx, server, "serve", "--data", data, "--listen", "127.0.0.1:0")
	if err != nil {
		s.stop()
		return nil, err
	}
	err = prepare(ctx, s, "", b.bin+"/backstay", "activate", "--server", url, "--ca-fingerprint", fingerprint, "--user", "bench", "--password-file", secret)
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

var (
	addressLine     = regexp.MustCompile(`https://[^\s]+`)
	fingerprintLine = regexp.MustCompile(`(?i)\b[0-9a-f]{64}\b`)
)

// serve starts the server and reads its address and its certificate's
// fingerprint from what it prints.
func (s *session) serve(ctx context.Context, argv ...string) (url, fingerprint string, err error) {
	s.server = exec.CommandContext(ctx, argv[0], argv[1:]...)
	s.server.Env = append(os.Environ(), s.env...)
	s.server.Cancel = func() error { return s.server.Process.Signal(syscall.SIGTERM) }
	s.server.WaitDelay = 15 * time.Second
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return "", "", err
	}
	defer log.Close()
	s.server.Stderr = log
	out, err := s.server.StdoutPipe()
	if err != nil {
		return "", "", err
	}
	if err := s.server.Start(); err != nil {
		s.server = nil
		return "", "", err
	}
	lines := bufio.NewScanner(out)
	for url == "" || fingerprint == "" {
		if !lines.Scan() {
			text, _ := os.ReadFile(log.Name())
			return "", "", fmt.Errorf("the server ended before it listened:\n%s", text)
		}
		if found := addressLine.FindString(lines.Text()); url == "" && found != "" {
			url = strings.TrimRight(found, "/.")
		}
		if found := fingerprintLine.FindString(lines.Text()); found != "" {
			fingerprint = found
		}
	}
	go io.Copy(io.Discard, out)
	return url, fingerprint, nil
}

func (s *session) stop() {
	if s.server == nil {
		return
	}
	s.server.Process.Signal(syscall.SIGTERM)
	s.server.Wait()
}

// serverCPU is the processor time that the server has used so far.
func (s *session) serverCPU() (time.Duration, error) {
	if s.server == nil {
		return 0, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.server.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name may hold spaces; utime and stime are the 12th and 13th after it.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("cannot read the server's processor time")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

type restic struct{}

func (restic) name() string { return "restic" }

func (restic) version(ctx context.Context) string { return says(ctx, "restic", "version") }

func (restic) start(ctx context.Context, work, files string) (*session, error) {
	repo, secret, target := filepath.Join(work, "repo"), filepath.Join(work, "password"), filepath.Join(work, "restored")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return nil, err
	}
	base := []string{"restic", "--repo", repo, "--password-file", secret, "--cache-dir", filepath.Join(work, "cache"), "--quiet"}
	backup := append(slices.Clone(base), "backup", files)
	s := &session{
		dir: work, backup: backup, again: backup, store: repo, restored: filepath.Join(target, files),
		restore: append(slices.Clone(base), "restore", "latest", "--target", target),
	}
	return s, prepare(ctx, s, "", append(slices.Clone(base), "init")...)
}

type borg struct{}

func (borg) name() string { return "borg" }

func (borg) version(ctx context.Context) string { return says(ctx, "borg", "--version") }

func (borg) start(ctx context.Context, work, files string) (*session, error) {
	repo, target := filepath.Join(work, "repo"), filepath.Join(work, "restored")
	if err := os.Mkdir(target, 0o700); err != nil {
		return nil, err
	}
	s := &session{
		dir: target, store: repo, restored: filepath.Join(target, files),
		env:     []string{"BORG_PASSPHRASE=" + password, "BORG_BASE_DIR=" + filepath.Join(work, "base")},
		backup:  []string{"borg", "create", repo + "::first", files},
		again:   []string{"borg", "create", repo + "::again", files},
		restore: []string{"borg", "extract", repo + "::again"},
	}
	return s, prepare(ctx, s, "", "borg", "init", "--encryption", "repokey", repo)
}

// cp is no backup: it shows what writing the files back costs at least.
type cp struct{}

func (cp) name() string { return "cp" }

func (cp) version(ctx context.Context) string { return says(ctx, "cp", "--version") }

func (cp) start(_ context.Context, work, files string) (*session, error) {
	target := filepath.Join(work, "restored")
	return &session{dir: work, restore: []string{"cp", "-a", files, target}, restored: target}, nil
}
