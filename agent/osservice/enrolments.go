package osservice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/durable"
)

const format = 1

// enrolment says whose agent is kept, and of which state folder. The name is
// kept beside the id: an id that is given to somebody else later must not start
// an agent for them.
type enrolment struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	User    string    `json:"user"`
	State   []byte    `json:"state"`
	Server  string    `json:"server,omitempty"` // what its user says that it backs up to
	Adopted time.Time `json:"adopted"`
}

// same reports whether two enrolments keep the same agent.
func (e enrolment) same(other enrolment) bool {
	return e.User == other.User && bytes.Equal(e.State, other.State) && e.Server == other.Server
}

// enrolments is the folder of them. It is root's and closed.
type enrolments struct {
	dir  string
	lock io.Closer
}

// openEnrolments opens the folder and keeps it locked: two services would start
// each agent twice.
func openEnrolments(dir string) (*enrolments, error) {
	if err := makeClosed(dir); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	return &enrolments{dir, lock}, nil
}

func (e *enrolments) close() { e.lock.Close() }

func (e *enrolments) path(id string) string { return filepath.Join(e.dir, id+".json") }

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
		if err == nil && (one.Format != format || one.ID != name) {
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
	if err := durable.WriteFile(e.path(one.ID), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("remembering an enrolment: %w", err)
	}
	return nil
}

func (e *enrolments) remove(id string) error {
	err := durable.Remove(e.path(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting an enrolment: %w", err)
	}
	return nil
}
