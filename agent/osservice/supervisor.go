package osservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/errs"
)

// Config is what a service works with.
type Config struct {
	Program string // backstay itself
	Log     *slog.Logger
	Getenv  func(string) string
	// Deploy is the file by which the service enrols the computer, "" where another
	// service does.
	Deploy string

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
	kept map[string]*keeper
	ctx  context.Context
	wg   sync.WaitGroup
}

// Run is the service: it keeps the agents and answers on its socket until ctx
// ends, and returns when all agents have ended, within ten seconds.
func Run(ctx context.Context, cfg Config) error {
	if door.Self() != door.Root {
		return errs.New(errs.Forbidden, "service.root")
	}
	return underSystem(ctx, cfg, supervise)
}

func supervise(ctx context.Context, cfg Config) error {
	if err := keepFiles(); err != nil {
		return err
	}
	cfg.pace = max(cfg.pace, 1)
	dir := stateDir(cfg.Getenv)
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
	s := &supervisor{cfg: cfg, dir: dir, enrolments: enrolments, kept: map[string]*keeper{}, ctx: ctx}
	defer s.wg.Wait()
	l, err := listen(socketPath(cfg.Getenv, "RUNTIME_DIRECTORY"))
	if err != nil {
		return fmt.Errorf("opening the service's socket: %w", err)
	}
	for _, e := range all {
		s.keep(e)
	}
	if cfg.Deploy != "" {
		s.wg.Go(func() { s.deploy(ctx, cfg.Deploy) })
	}
	cfg.Log.Info("the service runs", "enrolments", len(all))
	if err := tellReady(cfg.Getenv("NOTIFY_SOCKET")); err != nil {
		cfg.Log.Error("the system was not told that the service runs", "err", err)
	}
	return s.serve(ctx, l)
}

// folder is the one that systemd made for the service, or the usual one.
func folder(getenv func(string) string, variable, usual string) string {
	if dir := getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	return usual
}

// stateDir is where the service keeps what it knows, and root's agent its state.
func stateDir(getenv func(string) string) string {
	return folder(getenv, "STATE_DIRECTORY", usualState(getenv))
}

// socketPath is where the service is asked: in the folder that the variable
// names, for tests too, or where it usually is.
func socketPath(getenv func(string) string, variable string) string {
	return filepath.Join(folder(getenv, variable, usualRuntime(getenv)), socket)
}

// turn waits until nobody else changes what is kept of a user: an agent that
// takes its time to end holds up its own user alone.
func (s *supervisor) turn(id string) (done func()) {
	mu, _ := s.turns.LoadOrStore(id, &sync.Mutex{})
	mu.(*sync.Mutex).Lock()
	return mu.(*sync.Mutex).Unlock
}

func (s *supervisor) find(id string) *keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id]
}

// keep begins to keep an agent. The caller has the user's turn.
func (s *supervisor) keep(e enrolment) *keeper {
	ctx, stop := context.WithCancel(s.ctx)
	k := &keeper{
		s: s, enrolment: e, stop: stop, done: make(chan struct{}), poke: make(chan struct{}, 1),
		log: s.cfg.Log.With("user_id", e.ID, "user", e.User),
	}
	s.mu.Lock()
	s.kept[e.ID] = k
	s.mu.Unlock()
	s.wg.Go(func() { k.run(ctx) })
	return k
}

// keepable looks up a user, and checks a state folder that the service is to keep
// the agent of for them; own is the service's.
func keepable(id string, state []byte, own string) (account, error) {
	dir := string(state)
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || bytes.ContainsRune(state, 0) {
		return account{}, errs.New(errs.Invalid, "service.folder.path", "path", dir)
	}
	a, err := lookUp(id)
	if err != nil {
		return account{}, err
	}
	return a, checkFolder(a, dir, own)
}

// Enrol is HandOver for root while no service runs: it notes that the service keeps
// the agent of root's state folder as soon as it starts. It does so for a folder
// below the service's own alone, and any other is service.folder.outside: root
// tries things out elsewhere, and there may never be a service. One that is
// starting or ending now is service.already; it can be asked, or will be gone, in
// a moment.
func Enrol(getenv func(string) string, state string) error {
	if door.Self() != door.Root {
		return ErrNoService
	}
	dir := stateDir(getenv)
	a, err := keepable(door.Root, []byte(state), dir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, state); err != nil || !filepath.IsLocal(rel) {
		return errs.New(errs.Forbidden, "service.folder.outside", "path", state, "home", dir)
	}
	enrolments, err := openEnrolments(filepath.Join(dir, "enrolments"))
	if err != nil {
		return err
	}
	defer enrolments.close()
	return enrolments.put(enrolment{ID: door.Root, User: a.name, State: []byte(state), Adopted: time.Now()})
}

// adopt keeps the agent of a state folder for a user, in place of another folder
// of theirs: one enrolment for each.
func (s *supervisor) adopt(id string, state []byte, server string) (Kept, error) {
	a, err := keepable(id, state, s.dir)
	if err != nil {
		return Kept{}, err
	}
	defer s.turn(id)()
	before := s.find(id)
	e := enrolment{ID: id, User: a.name, State: slices.Clone(state), Server: server, Adopted: time.Now()}
	if before != nil && before.enrolment.same(e) {
		before.again()
		return before.show(), nil
	}
	// Remembered first: where that fails, the one before goes on.
	if err := s.enrolments.put(e); err != nil {
		return Kept{}, err
	}
	if before != nil {
		before.end()
	}
	s.cfg.Log.Info("adopted", "user_id", id, "user", a.name, "state", string(state))
	return s.keep(e).show(), nil
}

// drop ends a user's agent and forgets the enrolment.
func (s *supervisor) drop(id string) error {
	defer s.turn(id)()
	k := s.find(id)
	if k == nil {
		return errs.New(errs.NotFound, "service.enrolment.none")
	}
	if err := s.enrolments.remove(id); err != nil {
		return err
	}
	k.end()
	s.mu.Lock()
	delete(s.kept, id)
	s.mu.Unlock()
	s.cfg.Log.Info("dropped", "user_id", id)
	return nil
}

// show lists what a user may see: their own, and root everybody's.
func (s *supervisor) show(id string) []Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Kept
	for whose, k := range s.kept {
		if whose == id || id == door.Root {
			all = append(all, k.show())
		}
	}
	slices.SortFunc(all, func(a, b Kept) int { return strings.Compare(a.ID, b.ID) })
	return all
}

var errOtherAccount = errors.New("the user id now belongs to another account; activate again")
