package osservice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

const format = 1

// enrolment says whose agent is kept, and of which state folder. The name is
// kept beside the id: an id that is given to somebody else later must not start
// an agent for them.
type enrolment struct {
	Format  int       `json:"format"`
	UID     uint32    `json:"uid"`
	User    string    `json:"user"`
	State   []byte    `json:"state"`
	Adopted time.Time `json:"adopted"`
}

// enrolments is the folder of them. It is root's and closed.
type enrolments struct {
	dir  string
	lock *os.File
}

// openEnrolments opens the folder and keeps it locked: two services would start
// each agent twice.
func openEnrolments(dir string) (*enrolments, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of enrolments: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("looking at %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return nil, errs.Of(errs.ForeignState, "dir", dir).
			Because(fmt.Errorf("%s belongs to user id %d with mode %04o, want this one's with 0700", dir, st.Uid, st.Mode&0o7777))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the enrolments: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errs.New(errs.Conflict, "service.already").Because(err)
	}
	return &enrolments{dir, f}, nil
}

func (e *enrolments) close() { e.lock.Close() }

func (e *enrolments) path(uid uint32) string {
	return filepath.Join(e.dir, strconv.FormatUint(uint64(uid), 10)+".json")
}

// list returns what can be read, and what is wrong with the rest: one damaged
// file must not stop everybody's backups.
func (e *enrolments) list() ([]enrolment, error) {
	files, err := os.ReadDir(e.dir)
	if err != nil {
		return nil, fmt.Errorf("listing enrolments: %w", err)
	}
	var all []enrolment
	var wrong []error
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		data, err := os.ReadFile(filepath.Join(e.dir, f.Name()))
		var one enrolment
		if err == nil {
			err = json.Unmarshal(data, &one)
		}
		if err == nil && (one.Format != format || strconv.FormatUint(uint64(one.UID), 10) != name) {
			err = errors.New("it is of another version or of another user")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("reading the enrolment %s: %w", f.Name(), err))
			continue
		}
		all = append(all, one)
	}
	return all, errors.Join(wrong...)
}

func (e *enrolments) put(one enrolment) error {
	one.Format = format
	data, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("encoding an enrolment: %w", err)
	}
	if err := durable.WriteFile(e.path(one.UID), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("remembering an enrolment: %w", err)
	}
	return nil
}

func (e *enrolments) remove(uid uint32) error {
	err := durable.Remove(e.path(uid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting an enrolment: %w", err)
	}
	return nil
}
