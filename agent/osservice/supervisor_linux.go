package osservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/errs"
)

// Config is what a service works with.
type Config struct {
	Program string // backstay itself
	Log     *slog.Logger
	Getenv  func(string) string

	// pace shortens every pause by this factor in tests.
	pace int
}

// supervisor keeps one agent for each enrolment.
type supervisor struct {
	cfg        Config
	dir        string // root's state folder, in which the enrolments lie
	enrolments *enrolments

	turns sync.Map // of user ids: a *sync.Mutex for those who change what is kept of one

	mu   sync.Mutex
	kept map[uint32]*keeper
	ctx  context.Context
	wg   sync.WaitGroup
}

// Run is the service: it keeps the agents and answers on its socket until ctx
// ends, and returns when all agents have ended, within ten seconds.
func Run(ctx context.Context, cfg Config) error {
	if os.Geteuid() != 0 {
		return errs.New(errs.Forbidden, "service.root")
	}
	if err := keepFiles(); err != nil {
		return err
	}
	cfg.pace = max(cfg.pace, 1)
	dir := folder(cfg.Getenv, "STATE_DIRECTORY", stateDir)
	enrolments, err := openEnrolments(filepath.Join(dir, "enrolments"))
	if err != nil {
		return err
	}
	defer enrolments.close()
	all, err := enrolments.list()
	if err != nil {
		cfg.Log.Error("not every enrolment can be read", "err", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &supervisor{cfg: cfg, dir: dir, enrolments: enrolments, kept: map[uint32]*keeper{}, ctx: ctx}
	defer s.wg.Wait()
	door, err := listen(filepath.Join(folder(cfg.Getenv, "RUNTIME_DIRECTORY", runtimeDir), socket))
	if err != nil {
		return fmt.Errorf("opening the service's socket: %w", err)
	}
	for _, e := range all {
		s.keep(e)
	}
	cfg.Log.Info("the service runs", "enrolments", len(all))
	if err := tellReady(cfg.Getenv("NOTIFY_SOCKET")); err != nil {
		cfg.Log.Error("systemd was not told that the service runs", "err", err)
	}
	return s.serve(ctx, door)
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

// keepFiles sees to it that no agent gets the files that whoever started the
// service left open.
func keepFiles() error {
	open, err := os.ReadDir("/proc/self/fd")
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

// folder is the one that systemd made for the service, or the usual one.
func folder(getenv func(string) string, variable, usual string) string {
	if dir := getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	return usual
}

// turn waits until nobody else changes what is kept of a user: an agent that
// takes its time to end holds up its own user alone.
func (s *supervisor) turn(uid uint32) (done func()) {
	mu, _ := s.turns.LoadOrStore(uid, &sync.Mutex{})
	mu.(*sync.Mutex).Lock()
	return mu.(*sync.Mutex).Unlock
}

func (s *supervisor) find(uid uint32) *keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[uid]
}

// keep begins to keep an agent. The caller has the user's turn.
func (s *supervisor) keep(e enrolment) *keeper {
	ctx, stop := context.WithCancel(s.ctx)
	k := &keeper{
		s: s, enrolment: e, stop: stop, done: make(chan struct{}), poke: make(chan struct{}, 1),
		log: s.cfg.Log.With("uid", e.UID, "user", e.User),
	}
	s.mu.Lock()
	s.kept[e.UID] = k
	s.mu.Unlock()
	s.wg.Go(func() { k.run(ctx) })
	return k
}

// keepable looks up a user, and checks a state folder that the service is to keep
// the agent of for them; own is the service's.
func keepable(uid uint32, state []byte, own string) (account, error) {
	dir := string(state)
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || bytes.ContainsRune(state, 0) {
		return account{}, errs.New(errs.Invalid, "service.folder.path", "path", dir)
	}
	a, err := lookUp(uid)
	if err != nil {
		return account{}, err
	}
	return a, checkFolder(a, dir, own)
}

// Enrol is Adopt for root while no service runs: it notes that the service keeps
// the agent of root's state folder as soon as it starts. One that is starting or
// ending now is service.already; it can be asked, or will be gone, in a moment.
func Enrol(getenv func(string) string, state string) error {
	if os.Geteuid() != 0 {
		return ErrNoService
	}
	dir := folder(getenv, "STATE_DIRECTORY", stateDir)
	a, err := keepable(0, []byte(state), dir)
	if err != nil {
		return err
	}
	enrolments, err := openEnrolments(filepath.Join(dir, "enrolments"))
	if err != nil {
		return err
	}
	defer enrolments.close()
	return enrolments.put(enrolment{User: a.name, State: []byte(state), Adopted: time.Now()})
}

// adopt keeps the agent of a state folder for a user, in place of another folder
// of theirs: one enrolment for each.
func (s *supervisor) adopt(uid uint32, state []byte) (Kept, error) {
	a, err := keepable(uid, state, s.dir)
	if err != nil {
		return Kept{}, err
	}
	defer s.turn(uid)()
	if k := s.find(uid); k != nil {
		if bytes.Equal(k.enrolment.State, state) && k.enrolment.User == a.name {
			k.again()
			return k.show(), nil
		}
		k.end()
	}
	e := enrolment{UID: uid, User: a.name, State: slices.Clone(state), Adopted: time.Now()}
	if err := s.enrolments.put(e); err != nil {
		return Kept{}, err
	}
	s.cfg.Log.Info("adopted", "uid", uid, "user", a.name, "state", string(state))
	return s.keep(e).show(), nil
}

// drop ends a user's agent and forgets the enrolment.
func (s *supervisor) drop(uid uint32) error {
	defer s.turn(uid)()
	k := s.find(uid)
	if k == nil {
		return errs.New(errs.NotFound, "service.enrolment.none")
	}
	if err := s.enrolments.remove(uid); err != nil {
		return err
	}
	k.end()
	s.mu.Lock()
	delete(s.kept, uid)
	s.mu.Unlock()
	s.cfg.Log.Info("dropped", "uid", uid)
	return nil
}

// show lists what a user may see: their own, and root everybody's.
func (s *supervisor) show(uid uint32) []Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Kept
	for id, k := range s.kept {
		if id == uid || uid == 0 {
			all = append(all, k.show())
		}
	}
	slices.SortFunc(all, func(a, b Kept) int { return int(int64(a.UID) - int64(b.UID)) })
	return all
}

var errOtherAccount = errors.New("the user id now belongs to another account; activate again")
