// Package state is what this computer remembers of its backups, in one folder
// that belongs to the user the agent runs as and is closed to everybody else:
//
//	device.json              who this device is: the server, ids, keys, certificates
//	choices.json             what the user chose: folders, interval, pause and so on
//	profile.json             the settings that the server gave last
//	run.json                 how the last backup went
//	registration.json        an account that waits for its code
//	connection.json          the proxies on the way to the server
//	notices.json             what the user was told of the backups
//	restore.json             what comes back from the computer that this one replaced
//	restore-asked.json       what a command wants of that
//	restore-report.jsonl     what of it is not as it was
//	sets/ID/head             the newest snapshot of a set, and the root of its catalog
//	sets/ID/catalog-ROOT     its catalog pages, sealed, and its references
//	sets/ID/large.json       when large files were read, as long as that matters
//	lock                     held by whoever backs up
//	control.sock             where a running agent listens
//
// All of it but device.json can be lost at the cost of time: the catalog is the
// change index of the next backup and no more. Every file is replaced as a
// whole, and in an order in which a crash at any point leaves the old state or
// the new one.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

// format is the version of everything in the folder. A newer one is refused.
const format = 1

// State is an open state folder. Its files may be read by several processes;
// whoever writes holds the lock.
type State struct {
	dir  string
	lock *os.File
}

// DefaultDir is the folder to use when none is named: /var/lib/backstay for
// root, else the user's state folder.
func DefaultDir(getenv func(string) string, root bool) (string, error) {
	if dir := getenv("BACKSTAY_STATE"); dir != "" {
		return filepath.Abs(dir)
	}
	if root {
		return systemDir(getenv), nil
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "backstay"), nil
	}
	return userDir(getenv)
}

// Open opens the folder, making it when it is missing. One that belongs to
// somebody else, or that others can look into, is E1503: what is in it could
// be read or planted by them.
func Open(dir string) (*State, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the state folder: %w", err)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(dir); err != nil {
			return nil, foreign(dir, err)
		}
	}
	if err := checkOwner(dir); err != nil {
		return nil, err
	}
	return &State{dir: dir}, nil
}

// foreign is E1503 for a permission that is lacking, and err itself otherwise.
func foreign(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return errs.Of(errs.ForeignState, "dir", dir).Because(err)
	}
	return local(err)
}

// local names the failures of this computer that people can mend.
func local(err error) error {
	if full(err) {
		return errs.Of(errs.LocalDiskFull).Because(err)
	}
	return err
}

// Dir is the folder's absolute path.
func (s *State) Dir() string { return s.dir }

func (s *State) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// Lock makes this process the one that backs up, until Unlock or its end. When
// another holds the lock it fails at once with E1502.
func (s *State) Lock() error {
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("locking the state folder: %w", foreign(s.dir, err))
	}
	if err := lockFile(f); err != nil {
		f.Close()
		if errors.Is(err, errLocked) {
			return errs.Of(errs.AlreadyRunning).Because(fmt.Errorf("%s is locked", f.Name()))
		}
		return fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	s.lock = f
	return nil
}

// Unlock gives the lock back.
func (s *State) Unlock() {
	if s.lock != nil {
		s.lock.Close()
		s.lock = nil
	}
}

// read fills v from a JSON file; ok is false when there is none.
func (s *State) read(name string, v any) (ok bool, err error) {
	data, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the state: %w", foreign(s.dir, err))
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return false, errs.New(errs.Local, "state.file.damaged", "path", s.path(name)).Because(err)
	}
	if head.Format != format {
		return false, errs.New(errs.Local, "state.file.version", "path", s.path(name), "a", head.Format, "b", format)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, errs.New(errs.Local, "state.file.damaged", "path", s.path(name)).Because(err)
	}
	return true, nil
}

func (s *State) write(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	if err := durable.WriteFile(s.path(name), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the state: %w", local(err))
	}
	return nil
}

// Profile is the settings that were in force when the server was last heard.
type Profile struct {
	Format   int             `json:"format"`
	Version  int64           `json:"version"`
	Name     string          `json:"name"`
	Settings json.RawMessage `json:"settings"`
}

// Profile returns the remembered settings; their version is 0 when there are
// none.
func (s *State) Profile() (Profile, error) {
	var p Profile
	_, err := s.read("profile.json", &p)
	return p, err
}

// SetProfile remembers settings.
func (s *State) SetProfile(p Profile) error {
	p.Format = format
	return s.write("profile.json", p)
}

// How a run ended.
const (
	RunDone      = "done"
	RunFailed    = "failed"
	RunCancelled = "cancelled"
)

// Run is how a backup went.
type Run struct {
	Format     int       `json:"format"`
	State      string    `json:"state"`
	errs.Note            // why it failed, when that was expected
	Error      string    `json:"error,omitempty"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	Snapshot   string    `json:"snapshot,omitempty"` // its id, when one was made
	Entries    int64     `json:"entries"`
	Files      int64     `json:"files"`
	Bytes      int64     `json:"bytes"`
	Read       int64     `json:"read"` // bytes of files read
	Sent       int64     `json:"sent"` // bytes of sealed objects sent
	Unreadable int64     `json:"unreadable"`
	Deferred   int64     `json:"deferred,omitempty"` // large files that a later backup reads
	Waiting    int64     `json:"waiting,omitempty"`  // files that wait for room on the quota
	// LastDone is when a backup was last complete, this one included.
	LastDone time.Time `json:"last_done"`
}

// LastRun returns the last run; ok is false when there was none.
func (s *State) LastRun() (r Run, ok bool, err error) {
	ok, err = s.read("run.json", &r)
	return r, ok, err
}

// SetLastRun remembers a run. LastDone is carried over when this one has none.
func (s *State) SetLastRun(r Run) error {
	if old, ok, err := s.LastRun(); err == nil && ok && r.LastDone.IsZero() {
		r.LastDone = old.LastDone
	}
	r.Format = format
	return s.write("run.json", r)
}
