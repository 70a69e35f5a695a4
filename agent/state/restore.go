package state

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/errs"
)

// Restore is what comes back to this computer from the one that it replaced,
// beside its backups. It goes on wherever it was, after a restart too.
type Restore struct {
	Format   int       `json:"format"`
	ID       string    `json:"id"`
	Token    string    `json:"token,omitempty"` // opens the one snapshot, wire.RestoreGrant
	Expires  time.Time `json:"expires,omitzero"`
	Snapshot string    `json:"snapshot"` // hash of its manifest
	Device   string    `json:"device"`   // what the other computer was called
	OS       string    `json:"os"`
	Home     string    `json:"home,omitempty"`
	Maps     []PathMap `json:"maps,omitempty"` // that somebody asked for
	Began    time.Time `json:"began"`

	// Parts are the folders of the snapshot and where they go, once it was opened.
	// They are done one after another; what lies in several belongs to the deepest.
	Parts []RestorePart `json:"parts,omitempty"`

	// Set and Scope are those of the snapshot, once it was opened.
	Set   string `json:"set,omitempty"`
	Scope string `json:"scope,omitempty"`

	State     string    `json:"state"` // as wire.Restoring has it
	errs.Note           // why it waits or failed
	Ended     time.Time `json:"ended,omitzero"`
	Told      bool      `json:"told,omitempty"` // the server knows how it ended
	// Settled says that no snapshot has to keep anything of the other computer
	// any more.
	Settled bool `json:"settled,omitempty"`
}

// Short is the snapshot as people know it, like backup.Hash.Short.
func (r *Restore) Short() string { return r.Snapshot[:min(16, len(r.Snapshot))] }

// PathMap says where a folder of another computer is on this one. Both are
// bytes: a name need not be UTF-8.
type PathMap struct {
	From []byte `json:"from"` // path in the snapshot
	To   []byte `json:"to"`   // path here
}

// RestorePart is a folder that comes back, and how far that is.
type RestorePart struct {
	PathMap
	// Name is the one child of From that is meant, and goes into To; empty: all
	// that is in From does.
	Name []byte `json:"name,omitempty"`
	// Aside says that To is not where the folder was, nor where it belongs: nothing
	// here says where that would be.
	Aside bool `json:"aside,omitempty"`

	Files int64 `json:"files"` // that it has
	Bytes int64 `json:"bytes"`

	Done   bool     `json:"done,omitempty"`
	At     []byte   `json:"at,omitempty"`     // all up to this path is done
	Failed [][]byte `json:"failed,omitempty"` // but these

	Back    int64 `json:"back"` // files that came back
	Got     int64 `json:"got"`  // bytes of them
	Renamed int64 `json:"renamed,omitempty"`
}

// Restore returns what comes back, or has come back last; nil when nothing does.
func (s *State) Restore() (*Restore, error) {
	var r Restore
	ok, err := s.read("restore.json", &r)
	if err != nil || !ok {
		return nil, err
	}
	return &r, nil
}

// SetRestore remembers what comes back, or with nil that nothing does.
func (s *State) SetRestore(r *Restore) error {
	if r != nil {
		r.Format = format
		return s.write("restore.json", r)
	}
	err := durable.Remove(s.path("restore.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Path is the path in the snapshot of what a part is.
func (p RestorePart) Path() string {
	if len(p.Name) == 0 {
		return string(p.From)
	}
	return catalog.Join(string(p.From), string(p.Name))
}

// Place is where that is on this computer.
func (p RestorePart) Place() string { return filepath.Join(string(p.To), string(p.Name)) }

// RestoreAsked returns what a command wants of the restore, nil when nothing
// does. It is another one, or the same with the state wire.RestoreCancelled.
func (s *State) RestoreAsked() (*Restore, error) {
	var r Restore
	ok, err := s.read("restore-asked.json", &r)
	if err != nil || !ok {
		return nil, err
	}
	return &r, nil
}

// AskRestore leaves word of what is wanted for whoever holds the lock, or with nil
// that it was heard. It needs no lock: the file is replaced as a whole.
func (s *State) AskRestore(r *Restore) error {
	if r != nil {
		r.Format = format
		return s.write("restore-asked.json", r)
	}
	err := durable.Remove(s.path("restore-asked.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RestoreReport is the file that lists what did not come back as it was.
func (s *State) RestoreReport() string { return s.path("restore-report.jsonl") }
