package osservice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/backstay/backstay/agent/acl"
	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/errs"
)

// Where the service keeps what it needs; its pipe is named after the same folder.
func usualState(getenv func(string) string) string {
	return filepath.Join(getenv("ProgramData"), "Backstay")
}

func usualRuntime(getenv func(string) string) string { return usualState(getenv) }

// packaged reports whether the service came with a package, which says so here.
func packaged() bool {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Backstay`, registry.QUERY_VALUE)
	if err != nil {
		return false
	}
	defer key.Close()
	_, _, err = key.GetStringValue("Package")
	return err == nil
}

func definition(program string) (*service.Config, error) { return windowsDefinition(program), nil }

// underSystem runs the service under the control manager, which tells it to stop
// and wants to know that it has; started by a person it just runs.
func underSystem(ctx context.Context, cfg Config, run func(context.Context, Config) error) error {
	if service.Interactive() {
		return run(ctx, cfg)
	}
	p := &managed{}
	s, err := service.New(p, windowsDefinition(cfg.Program))
	if err != nil {
		return err
	}
	events, err := s.SystemLogger(nil)
	if err != nil {
		return fmt.Errorf("opening the event log: %w", err)
	}
	cfg.Log = slog.New(slog.NewTextHandler(eventLog{events}, nil))
	p.run = func(ctx context.Context) error { return run(ctx, cfg) }
	p.ctx, p.stop = context.WithCancel(ctx)
	return s.Run()
}

// managed is the service as the control manager handles it.
type managed struct {
	run  func(context.Context) error
	ctx  context.Context
	stop context.CancelFunc
	done chan error
}

func (m *managed) Start(service.Service) error {
	m.done = make(chan error, 1)
	go func() {
		err := m.run(m.ctx)
		m.done <- err
		if m.ctx.Err() == nil {
			os.Exit(1) // nobody asked for it: that is what the manager starts it again for
		}
	}()
	return nil
}

func (m *managed) Stop(service.Service) error {
	m.stop()
	return <-m.done
}

// eventLog takes lines of a log.
type eventLog struct{ service.Logger }

func (l eventLog) Write(line []byte) (int, error) {
	write := l.Info
	if strings.Contains(string(line), " level=ERROR ") {
		write = l.Error
	}
	return len(line), write(string(line))
}

// tellReady has nobody to tell.
func tellReady(string) error { return nil }

// keepFiles has nothing to do: an agent is given no handles but its own.
func keepFiles() error { return nil }

// account is a user as the system knows them now.
type account struct{ id, name, home string }

// lookUp asks the system for the name of a user and for the folder of their
// profile. The system itself has none.
func lookUp(id string) (account, error) {
	sid, err := windows.StringToSid(id)
	if err != nil {
		return account{}, errs.New(errs.Local, "service.account.unknown", "id", id).Because(err)
	}
	name, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return account{}, errs.New(errs.Local, "service.account.unknown", "id", id).Because(err)
	}
	a := account{id: id, name: domain + `\` + name}
	if id == door.Root {
		return a, nil
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\`+id, registry.QUERY_VALUE)
	if err != nil {
		return a, fmt.Errorf("looking for the profile of %s: %w", a.name, err)
	}
	defer key.Close()
	home, _, err := key.GetStringValue("ProfileImagePath")
	if err == nil {
		a.home, err = registry.ExpandString(home)
	}
	if err != nil || !filepath.IsAbs(a.home) {
		return a, fmt.Errorf("the profile of %s is in %q: %w", a.name, a.home, err)
	}
	return a, nil
}

// checkFolder refuses a state folder that is not the account's own, or that does
// not lie in their profile, without links on the way; the system's lies in own,
// the service's folder. The agent runs with its user's rights, so that a name
// which changes its meaning later leads it nowhere that they could not go.
func checkFolder(a account, dir, own string) error {
	root := a.home
	if a.id == door.Root {
		root = own
	}
	if !inside(root, dir) || a.id != door.Root && strings.EqualFold(root, dir) {
		return errs.New(errs.Forbidden, "service.folder.outside", "path", dir, "home", root)
	}
	for way := dir; len(way) >= len(root); way = filepath.Dir(way) {
		info, err := os.Lstat(way)
		if err != nil || info.Mode().Type() != os.ModeDir {
			return errs.New(errs.Forbidden, "service.folder.foreign", "path", dir).Because(err)
		}
	}
	if err := ownedBy(dir, a.id); err != nil {
		return errs.New(errs.Forbidden, "service.folder.foreign", "path", dir).Because(err)
	}
	return nil
}

// ownedBy refuses what is not a user's. What is the administrators' is the
// system's.
func ownedBy(path, id string) error {
	owner, err := acl.Owner(path)
	if err == nil && owner != id && (id != door.Root || owner != door.Administrators) {
		err = fmt.Errorf("%s belongs to %s", path, owner)
	}
	return err
}

// makeClosed makes a folder that is the system's and the administrators' alone,
// and so the service's folder above it.
func makeClosed(dir string) error {
	if err := acl.Make(filepath.Dir(dir)); err != nil {
		return err
	}
	return acl.Make(dir)
}

// lockFile opens a file that nobody else opens until it is closed.
func lockFile(path string) (io.Closer, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_ALWAYS, windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil, errs.New(errs.Conflict, "service.already").Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the enrolments: %w", err)
	}
	return os.NewFile(uintptr(h), path), nil
}

var errLoggedOut = errors.New("the user is not logged in; the agent starts when they are")

// startAs starts an agent with the rights of an account: of the system with its
// own, of anybody else with those of their session. leave is called when it has
// ended.
func startAs(cmd *exec.Cmd, a account, getenv func(string) string) (leave func(), err error) {
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_NO_WINDOW}
	if a.id != door.Root {
		token, err := sessionOf(a.id)
		if err != nil {
			return nil, err
		}
		defer token.Close()
		if cmd.Env, err = token.Environ(false); err != nil {
			return nil, fmt.Errorf("asking for the environment of %s: %w", a.name, err)
		}
		cmd.SysProcAttr.Token, cmd.Dir = syscall.Token(token), a.home
	}
	// It ends with the service: the system closes what is left open of one that was
	// killed, and ends the processes of a job that nobody holds.
	job, err := newJob()
	if err != nil {
		return nil, err
	}
	leave = func() { windows.CloseHandle(job) }
	if err := cmd.Start(); err != nil {
		leave()
		return nil, err
	}
	if err := join(job, uint32(cmd.Process.Pid)); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		leave()
		return nil, err
	}
	return leave, nil
}

// newJob makes a job whose processes end when it is closed.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("making a job: %w", err)
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		windows.CloseHandle(job)
		return 0, fmt.Errorf("making a job: %w", err)
	}
	return job, nil
}

func join(job windows.Handle, pid uint32) error {
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, pid)
	if err != nil {
		return fmt.Errorf("putting the agent into a job: %w", err)
	}
	defer windows.CloseHandle(process)
	if err := windows.AssignProcessToJobObject(job, process); err != nil {
		return fmt.Errorf("putting the agent into a job: %w", err)
	}
	return nil
}

// sessionOf is the token of somebody who is logged in, without the rights of an
// administrator where they have to be asked for.
func sessionOf(id string) (windows.Token, error) {
	var first *windows.WTS_SESSION_INFO
	var n uint32
	if err := windows.WTSEnumerateSessions(0, 0, 1, &first, &n); err != nil {
		return 0, fmt.Errorf("asking who is logged in: %w", err)
	}
	defer windows.WTSFreeMemory(uintptr(unsafe.Pointer(first)))
	for _, s := range unsafe.Slice(first, n) {
		var token windows.Token
		if err := windows.WTSQueryUserToken(s.SessionID, &token); err != nil {
			continue // nobody's session
		}
		if user, err := token.GetTokenUser(); err == nil && user.User.Sid.String() == id {
			return token, nil
		}
		token.Close()
	}
	return 0, errLoggedOut
}
