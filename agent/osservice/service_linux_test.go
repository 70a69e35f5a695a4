package osservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
)

// These tests are of root's doing with real users of this computer, which they
// add and remove. One of them runs at a time.

// someone is a user of this computer, added for a test.
type someone struct {
	account
	state string
}

func addUser(t *testing.T) someone {
	t.Helper()
	name := "bs-" + strconv.FormatInt(time.Now().UnixNano()%1e12, 36)
	base, err := os.MkdirTemp("/tmp", "backstay-home-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(base, name)
	if out, err := exec.Command("useradd", "--no-log-init", "--create-home", "--home-dir", home, "--shell", "/bin/sh", "--groups", "audio", name).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", "--force", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v\n%s", err, out)
		}
		os.RemoveAll(base)
	})
	out, err := exec.Command("id", "-u", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := lookUp(strconv.Itoa(uid))
	if err != nil {
		t.Fatal(err)
	}
	u := someone{a, filepath.Join(home, ".local", "state", "backstay")}
	u.sh(t, "umask 077; mkdir -p "+u.state)
	return u
}

// sh runs a script as the user.
func (u someone) sh(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: u.groups}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// place is where a service of a test keeps its things.
type place struct {
	dir, run, program string
	deploy            string // Config.Deploy
	log               *logged
}

// newPlace has a program in place of backstay: it writes into its state folder
// how it was started, and goes on until it is told to end.
func newPlace(t *testing.T, script string) place {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "backstay-service-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := place{dir: filepath.Join(dir, "lib"), run: filepath.Join(dir, "run"), program: filepath.Join(dir, "backstay"), log: &logged{}}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

const stays = `#!/bin/sh
{ id -u; id -G; pwd; echo "$@"; } >"$3/who"
env >"$3/env"
ls -l /proc/self/fd >"$3/fds"
echo "hello from $(id -un)" >&2
exec sleep 1000
`

func (p place) getenv(name string) string {
	switch name {
	case "STATE_DIRECTORY":
		return p.dir
	case "RUNTIME_DIRECTORY", "BACKSTAY_SERVICE":
		return p.run
	case "LANG":
		return "fr_FR.UTF-8"
	case "SECRET_OF_ROOT":
		return "secret"
	}
	return ""
}

// serve runs the service until the test ends or stop is called, which returns
// how long it took.
func (p place) serve(t *testing.T) (stop func() time.Duration) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the service is root's: run this test as root")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{Program: p.program, Deploy: p.deploy, Getenv: p.getenv, Log: slog.New(slog.NewTextHandler(p.log, nil)), pace: 20})
	}()
	stop = sync.OnceValue(func() time.Duration {
		began := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		return time.Since(began)
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	within(t, "the service answers", func() bool {
		_, err := Ask(context.Background(), p.getenv, Status)
		return err == nil
	})
	return stop
}

// ask asks as a user of this computer.
func (p place) ask(u uint32, what string) (kept []Kept, err error) {
	asUser(u, func() { kept, err = Ask(context.Background(), p.getenv, what) })
	return kept, err
}

// handOver hands an agent over as a user of this computer.
func (p place) handOver(u uint32, state string) (kept []Kept, err error) {
	asUser(u, func() { kept, err = HandOver(context.Background(), p.getenv, state, "https://backup.test") })
	return kept, err
}

// asUser does something as a user of this computer.
func asUser(u uint32, do func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		// The system keeps the user of each thread apart; this one ends with
		// the goroutine, since it is never unlocked.
		runtime.LockOSThread()
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(u), ^uintptr(0)); e != 0 {
			panic(e)
		}
		do()
	})
	wg.Wait()
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// logged is what a service says.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running waits for a user's agent and returns its process.
func (p place) running(t *testing.T, u someone) Kept {
	t.Helper()
	var k Kept
	within(t, "the agent of "+u.name, func() bool {
		kept, err := p.ask(u.uid, Status)
		if err != nil || len(kept) != 1 {
			return false
		}
		k = kept[0]
		return k.Doing == Running && exists(filepath.Join(u.state, "fds"))
	})
	return k
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// Two users' agents run at once, each with its user's rights and nothing of the
// service's; each user sees and ends their own alone.
func TestTwoUsers(t *testing.T) {
	ann, bob := addUser(t), addUser(t)
	p := newPlace(t, stays)
	t.Setenv("SECRET_OF_ROOT", "secret")
	// Open, and meant to be handed on, as by a careless shell.
	secret := filepath.Join(t.TempDir(), "secret")
	fd, err := syscall.Open(secret, syscall.O_CREAT|syscall.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	stop := p.serve(t)
	for _, u := range []someone{ann, bob} {
		if kept, err := p.handOver(u.uid, u.state); err != nil || len(kept) != 1 || kept[0].ID != u.id {
			t.Fatalf("adopt = %+v, %v", kept, err)
		}
	}
	for _, u := range []someone{ann, bob} {
		k := p.running(t, u)
		who := strings.Split(read(t, filepath.Join(u.state, "who")), "\n")
		groups := strings.Fields(who[1])
		if who[0] != fmt.Sprint(u.uid) || len(groups) != len(u.groups) || len(groups) < 2 || who[2] != "/" || who[3] != "agent --state "+u.state {
			t.Errorf("the agent of %s was started as %q, want user %d with groups %v", u.name, who, u.uid, u.groups)
		}
		var status struct{ uids string }
		for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", k.PID))) {
			if strings.HasPrefix(line, "Uid:") {
				status.uids = line
			}
			if strings.HasPrefix(line, "CapEff:") && strings.Trim(line[7:], "\t0\n") != "" {
				t.Errorf("the agent of %s has the right %s", u.name, line)
			}
		}
		if want := strings.Repeat(fmt.Sprintf("\t%d", u.uid), 4); !strings.Contains(status.uids, want) {
			t.Errorf("its user ids are %q", status.uids)
		}
		env := strings.Split(strings.TrimSpace(read(t, filepath.Join(u.state, "env"))), "\n")
		slices.Sort(env)
		env = slices.DeleteFunc(env, func(v string) bool { // the shell's own
			return strings.HasPrefix(v, "PWD=") || strings.HasPrefix(v, "OLDPWD=") || strings.HasPrefix(v, "_=") || strings.HasPrefix(v, "SHLVL=")
		})
		want := []string{"HOME=" + u.home, "LANG=fr_FR.UTF-8", "LOGNAME=" + u.name, "PATH=/usr/local/bin:/usr/bin:/bin", "SHELL=/bin/sh", "USER=" + u.name}
		if !slices.Equal(env, want) {
			t.Errorf("the environment of %s is %q, want %q", u.name, env, want)
		}
		if fds := read(t, filepath.Join(u.state, "fds")); strings.Contains(fds, secret) {
			t.Errorf("open in the agent of %s:\n%s", u.name, fds)
		}
	}
	within(t, "what an agent says, in the log", func() bool { return strings.Contains(p.log.String(), "hello from "+ann.name) })
	if kept, _ := p.ask(0, Status); len(kept) != 2 || kept[0].Server != "https://backup.test" {
		t.Errorf("root sees %+v, want both and where they back up to", kept)
	}
	annPID, bobPID := p.running(t, ann).PID, p.running(t, bob).PID
	if _, err := p.ask(ann.uid, Drop); err != nil {
		t.Errorf("drop = %v", err)
	}
	if alive(annPID) || !alive(bobPID) {
		t.Errorf("after ann's drop ann's agent lives is %v, bob's %v", alive(annPID), alive(bobPID))
	}
	if _, err := p.ask(ann.uid, Drop); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a second drop = %v", err)
	}
	if took := stop(); took > 5*time.Second || alive(bobPID) {
		t.Errorf("the service ended in %v and bob's agent lives is %v", took, alive(bobPID))
	}
}

// A service that is started again keeps what the one before kept. One that is
// killed takes its agents with it, so that the next can start them.
func TestRemembers(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	stop := p.serve(t)
	if _, err := p.handOver(ann.uid, ann.state); err != nil {
		t.Fatal(err)
	}
	first := p.running(t, ann).PID
	if err := Run(context.Background(), Config{Program: p.program, Deploy: p.deploy, Getenv: p.getenv, Log: slog.New(slog.DiscardHandler)}); errs.Find(err) == nil || errs.Find(err).Key != "service.already" {
		t.Errorf("a second service = %v", err)
	}
	stop()
	// A damaged file stops nobody else.
	if err := os.WriteFile(filepath.Join(p.dir, "enrolments", "77777.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.serve(t)
	if again := p.running(t, ann).PID; again == first {
		t.Error("the same process after the service ended")
	}
	if !strings.Contains(p.log.String(), "77777.json") {
		t.Error("nothing is said of a damaged enrolment")
	}
}

// How it stands with a computer that enrols by itself is told to everybody at it,
// who cannot look into the service's folder.
func TestDeploymentIsTold(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	p.serve(t)
	st, err := state.Open(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*state.Deployment{nil, {Server: "https://backup.test", Note: errs.NoteOf(errs.New(errs.Forbidden, "deploy.prompt", "email", "ann@example.org"))}} {
		if err := st.SetDeployment(want); err != nil {
			t.Fatal(err)
		}
		var got *state.Deployment
		asUser(ann.uid, func() { got, err = Deployment(context.Background(), p.getenv) })
		if err != nil || (got == nil) != (want == nil) || got != nil && (got.Server != want.Server || got.Email() != "ann@example.org") {
			t.Errorf("Deployment = %+v, %v; want %+v", got, err, want)
		}
	}
}

// A device that is made while no service runs is kept as soon as one does. That is
// root's affair alone.
func TestEnrol(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Enrol(p.getenv, ann.state); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("Enrol(a user's folder) = %v", err)
	}
	root, err := lookUp("0")
	if err != nil {
		t.Fatal(err)
	}
	trial, err := os.MkdirTemp(root.home, ".backstay-trial-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(trial) })
	if err := Enrol(p.getenv, trial); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("Enrol(a folder of root's that is not the service's) = %v", err)
	}
	if err := Enrol(p.getenv, p.dir); err != nil {
		t.Fatal(err)
	}
	p.serve(t)
	p.running(t, someone{account{name: "root"}, p.dir})
	if err := Enrol(p.getenv, p.dir); errs.Find(err) == nil || errs.Find(err).Key != "service.already" {
		t.Errorf("Enrol beside a service = %v", err)
	}
}

func TestKilledServiceTakesItsAgentsAlong(t *testing.T) {
	if dir := os.Getenv("BACKSTAY_TEST_SERVICE"); dir != "" {
		p := place{dir: dir + "/lib", run: dir + "/run", program: dir + "/backstay"}
		Run(context.Background(), Config{Program: p.program, Deploy: p.deploy, Getenv: p.getenv, Log: slog.New(slog.DiscardHandler)})
		return
	}
	ann := addUser(t)
	p := newPlace(t, stays)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledServiceTakesItsAgentsAlong$")
	cmd.Env = append(os.Environ(), "BACKSTAY_TEST_SERVICE="+filepath.Dir(p.dir))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, "adoption", func() bool { _, err := p.handOver(ann.uid, ann.state); return err == nil })
	pid := p.running(t, ann).PID
	cmd.Process.Kill()
	cmd.Wait()
	within(t, "the end of the agent", func() bool { return !alive(pid) })
}

// An agent that crashes is started again, and later each time.
func TestRestarts(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, "#!/bin/sh\ndate +%s%N >>\"$3/starts\"\necho 'backstay: this computer is not activated (E1501)' >&2\nexit 1\n")
	p.serve(t)
	if _, err := p.handOver(ann.uid, ann.state); err != nil {
		t.Fatal(err)
	}
	starts := filepath.Join(ann.state, "starts")
	within(t, "four starts", func() bool { data, _ := os.ReadFile(starts); return bytes.Count(data, []byte("\n")) >= 4 })
	var at []int64
	for _, line := range strings.Fields(read(t, starts)) {
		n, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, n)
	}
	// Pauses of 50, 100 and 200 ms at the test's pace.
	if time.Duration(at[1]-at[0]) < 50*time.Millisecond || time.Duration(at[3]-at[2]) < 200*time.Millisecond {
		t.Errorf("started at %v", at)
	}
	kept, err := p.ask(ann.uid, Status)
	if err != nil || len(kept) != 1 || kept[0].Ended < 3 || !strings.Contains(kept[0].Failure, "E1501") {
		t.Errorf("status = %+v, %v", kept, err)
	}
}

// An agent that does not end when told is ended.
func TestStubbornAgent(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, "#!/bin/sh\ntrap '' TERM\necho on >\"$3/fds\"\nwhile :; do sleep 1; done\n")
	stop := p.serve(t)
	if _, err := p.handOver(ann.uid, ann.state); err != nil {
		t.Fatal(err)
	}
	pid := p.running(t, ann).PID
	if took := stop(); took > 10*time.Second || took < time.Second || alive(pid) {
		t.Errorf("the service ended in %v, its agent lives is %v", took, alive(pid))
	}
}

// What is no state folder of the asker's own is not taken.
func TestForeignFolders(t *testing.T) {
	ann, bob := addUser(t), addUser(t)
	p := newPlace(t, stays)
	p.serve(t)
	bob.sh(t, "chmod 755 ~bob 2>/dev/null; chmod 755 "+bob.home)
	ann.sh(t, fmt.Sprintf("cd %s; ln -s %s link; ln -s %s into; mkdir -m 755 open; mkdir -m 700 fine; touch file", ann.home, bob.state, filepath.Dir(bob.home)))
	for name, dir := range map[string]string{
		"another's":                    bob.state,
		"a link to another's":          ann.home + "/link",
		"another's by a link":          ann.home + "/into/" + bob.name + "/.local/state/backstay",
		"open to others":               ann.home + "/open",
		"the home itself":              ann.home,
		"a file":                       ann.home + "/file",
		"nothing":                      ann.home + "/missing",
		"by way of the folder above":   ann.home + "/../" + bob.name + "/.local/state/backstay",
		"outside of the home":          "/tmp",
		"root's":                       p.dir,
		"no full path":                 "fine",
		"a byte that ends C's strings": ann.home + "/fine\x00",
	} {
		if kept, err := p.handOver(ann.uid, dir); err == nil {
			t.Errorf("%s: adopt(%q) = %+v", name, dir, kept)
		}
	}
	if kept, _ := p.ask(ann.uid, Status); len(kept) != 0 {
		t.Errorf("kept = %+v", kept)
	}
	if kept, err := p.handOver(ann.uid, ann.home+"/fine"); err != nil || len(kept) != 1 {
		t.Errorf("adopt = %+v, %v", kept, err)
	}
	if _, err := p.ask(ann.uid, "shell"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("an unknown request = %v", err)
	}
	// What became of a folder later counts as well.
	if _, err := p.ask(ann.uid, Drop); err != nil {
		t.Fatal(err)
	}
	if err := (&enrolments{dir: filepath.Join(p.dir, "enrolments")}).put(enrolment{ID: ann.id, User: ann.name, State: []byte(bob.state)}); err != nil {
		t.Fatal(err)
	}
	if err := checkFolder(ann.account, bob.state, p.dir); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("checkFolder = %v", err)
	}
}

// Where another folder cannot be remembered, as on a full disk, the agent of the
// one before goes on: nobody is without backups for that.
func TestAdoptThatFails(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	p.serve(t)
	if _, err := p.handOver(ann.uid, ann.state); err != nil {
		t.Fatal(err)
	}
	pid := p.running(t, ann).PID
	file := filepath.Join(p.dir, "enrolments", ann.id+".json")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	ann.sh(t, "mkdir -m 700 "+ann.home+"/other")
	if kept, err := p.handOver(ann.uid, ann.home+"/other"); err == nil {
		t.Fatalf("it is remembered: %+v", kept)
	}
	if !alive(pid) {
		t.Error("the agent of the folder before has ended")
	}
}

// A user id that now names somebody else starts nothing.
func TestOtherAccount(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	list, err := openEnrolments(filepath.Join(p.dir, "enrolments"))
	if err != nil {
		t.Fatal(err)
	}
	if err := list.put(enrolment{ID: ann.id, User: "who-left", State: []byte(ann.state)}); err != nil {
		t.Fatal(err)
	}
	list.close()
	p.serve(t)
	within(t, "the refusal", func() bool { return strings.Contains(p.log.String(), errOtherAccount.Error()) })
	if exists(filepath.Join(ann.state, "who")) {
		t.Error("an agent was started for somebody who has another's user id")
	}
}

// The folder of enrolments is root's alone, or the service does not start.
func TestForeignEnrolments(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	dir := filepath.Join(p.dir, "enrolments")
	for _, spoil := range []func() error{
		func() error { return os.Chmod(dir, 0o777) },
		func() error { return os.Chown(dir, int(ann.uid), int(ann.gid)) },
		func() error { return errors.Join(os.Remove(dir), os.Symlink(ann.state, dir)) },
	} {
		os.RemoveAll(dir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		err := Run(context.Background(), Config{Program: p.program, Deploy: p.deploy, Getenv: p.getenv, Log: slog.New(slog.DiscardHandler)})
		if !errs.Is(err, errs.ForeignState) {
			t.Errorf("Run = %v, want E1503", err)
		}
	}
}

// Whoever floods the socket keeps nobody else out, and long requests end.
func TestFlood(t *testing.T) {
	ann := addUser(t)
	p := newPlace(t, stays)
	p.serve(t)
	path := filepath.Join(p.run, socket)
	answered := ann.sh(t, fmt.Sprintf(`python3 -c '
import socket
def dial():
    s = socket.socket(socket.AF_UNIX); s.connect("%s"); return s
idle = [dial() for _ in range(20)]
closed = 0
for s in idle:
    s.settimeout(2)
    try:
        if s.recv(1) == b"": closed += 1
    except TimeoutError: pass
    except OSError: closed += 1
print(closed)
for s in idle: s.close()
s = dial()
try:
    s.sendall(b"{\"do\":\"" + b"x" * 100000); print(s.recv(1))
except OSError: print(b"")
'`, path))
	if !strings.HasPrefix(answered, "16\n") || !strings.HasSuffix(answered, "b''\n") {
		t.Errorf("of 20 connections and a long request: %q, want 16 closed and no answer", answered)
	}
	if _, err := Ask(context.Background(), p.getenv, Status); err != nil {
		t.Errorf("root is answered %v", err)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var out logged
	l := &lines{log: slog.New(slog.NewTextHandler(&out, nil))}
	fmt.Fprintf(l, "one\ntwo\nlevel=ERROR msg=\"\x1b[31mforged\"\n%s\nend", strings.Repeat("x", 3*longestLine))
	fmt.Fprint(l, "ing\n")
	if got := out.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, "line=ending") || len(got) > 2*longestLine {
		t.Errorf("logged %q", got)
	}
	for range 10 * linesAMinute {
		fmt.Fprintln(l, "again")
	}
	if n := strings.Count(out.String(), "line=again"); n >= linesAMinute {
		t.Errorf("logged %d lines of a flood", n)
	}
	fmt.Fprintln(l, "backstay: broken (E1501)\n  details")
	if l.last() != "broken (E1501)" {
		t.Errorf("last = %q", l.last())
	}
}
