package state

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

// The kinds of what this computer does with its backups.
const (
	ActivityBackup  = "backup"
	ActivityRestore = "restore"
)

// Activity is a backup or a restore that ended, as its user reads of it later.
type Activity struct {
	// Run is how it went. Of a restore, Files and Bytes are what came back.
	Run
	Kind string `json:"kind"`
	// Tries is how many backups failed alike, one after the other, when that is
	// more than one: Started is when the first began.
	Tries int64 `json:"tries,omitempty"`

	Failed   int64   `json:"failed,omitempty"`   // of a restore: what did not come back
	Renamed  int64   `json:"renamed,omitempty"`  // and what was in its way
	Target   []byte  `json:"target,omitempty"`   // and the folder it went to, none when things went where they were
	Problems []Fault `json:"problems,omitempty"` // the first files that something was wrong with

	// ID names it in lists; it is not in the file.
	ID string `json:"-"`
}

// Fault is what was wrong with a file.
type Fault struct {
	Path []byte `json:"path"`
	errs.Note
	Reason string `json:"reason"` // what the system said
}

const (
	activityFolder = "activity"
	maxActivities  = 1000
	maxFaults      = 100
)

func activityFile(name string) string { return activityFolder + "/" + name + ".json" }

// AddActivity remembers what was done, and forgets what was done long ago. Each
// is a file of its own: any process may add one, without the lock.
func (s *State) AddActivity(a Activity) error {
	if err := durable.MkdirAll(s.path(activityFolder), 0o700); err != nil {
		return fmt.Errorf("writing the state: %w", local(err))
	}
	names, err := s.activities()
	if err != nil {
		return err
	}
	var old []string
	if len(names) > 0 {
		if last, err := s.activity(names[0]); err == nil && a.repeats(last) {
			a.Started, a.Tries = last.Started, max(last.Tries, 1)+1
			old = append(old, names[0])
		}
	}
	a.Format, a.Problems = format, a.Problems[:min(len(a.Problems), maxFaults)]
	name := a.Ended.UTC().Format("20060102T150405.000000000Z") + "-" + rand.Text()[:8]
	if err := s.write(activityFile(name), a); err != nil {
		return err
	}
	old = append(old, names[min(len(names), maxActivities-1):]...)
	for _, name := range old {
		if err := os.Remove(s.path(activityFile(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing the state: %w", err)
		}
	}
	return nil
}

// repeats reports whether a failed just as the one before it: a server that is
// away for a week is one line of the list, and not hundreds.
func (a Activity) repeats(last Activity) bool {
	return a.Kind == ActivityBackup && last.Kind == a.Kind && a.State == RunFailed && last.State == RunFailed &&
		a.Code == last.Code && a.Key == last.Key && a.Key != ""
}

// activities are the names of all, the newest first.
func (s *State) activities() ([]string, error) {
	entries, err := os.ReadDir(s.path(activityFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the state: %w", foreign(s.dir, err))
	}
	var names []string
	for _, e := range slices.Backward(entries) {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !durable.IsTemp(e.Name()) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (s *State) activity(name string) (a Activity, err error) {
	_, err = s.read(activityFile(name), &a)
	a.ID = name
	return a, err
}

// Activities returns up to n of what was done, the newest first, of what came
// before the one named, or of all when none is. What cannot be read is left out.
// more says that there is more.
func (s *State) Activities(before string, n int) (list []Activity, more bool, err error) {
	names, err := s.activities()
	if err != nil {
		return nil, false, err
	}
	for _, name := range names {
		if before != "" && name >= before {
			continue
		}
		if len(list) == n {
			return list, true, nil
		}
		if a, err := s.activity(name); err == nil && !a.Ended.IsZero() {
			list = append(list, a)
		}
	}
	return list, false, nil
}
