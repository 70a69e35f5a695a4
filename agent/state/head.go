package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/durable"
)

// ErrDamaged says that what is remembered of a set is not what was written. It
// is to be treated as lost.
var ErrDamaged = errors.New("the remembered catalog is damaged")

// Head is the newest snapshot of a set that this device knows: its own last
// one. The server must show it, or a later one (security.md 5.9).
type Head struct {
	Hash      backup.Hash `json:"hash"` // of the manifest
	Seq       uint64      `json:"seq"`
	Store     backup.UUID `json:"store"`
	GCEpoch   uint64      `json:"gc_epoch"`
	RefsID    backup.Hash `json:"refs_id"`
	RefsDepth uint8       `json:"refs_depth"`
	Profile   uint8       `json:"profile"`           // the zstd profile that the set is sealed with
	Session   string      `json:"session,omitempty"` // the unfinished session, when the snapshot is a partial
	Time      time.Time   `json:"time"`
	Receipt   []byte      `json:"receipt,omitempty"`
}

// headFile is the first line of the file; the second is its SHA-256.
type headFile struct {
	Format  int       `json:"format"`
	Head    Head      `json:"head"`
	RootID  backup.ID `json:"root_id"`
	RootKey []byte    `json:"root_key"`
	RootLen uint32    `json:"root_len"`
}

func (s *State) setDir(set backup.UUID) string { return s.path("sets", set.String()) }

func catalogName(root backup.ID) string { return "catalog-" + hex.EncodeToString(root[:16]) }

// readHead returns what is remembered of the set; Seq is 0 when nothing is.
func (s *State) readHead(set backup.UUID) (Head, backup.Ref, error) {
	data, err := os.ReadFile(filepath.Join(s.setDir(set), "head"))
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, backup.Ref{}, nil
	}
	if err != nil {
		return Head{}, backup.Ref{}, fmt.Errorf("reading the newest snapshot's record: %w", foreign(s.dir, err))
	}
	damaged := func(why string) (Head, backup.Ref, error) {
		return Head{}, backup.Ref{}, fmt.Errorf("%w: head: %s", ErrDamaged, why)
	}
	line, sum, ok := bytes.Cut(data, []byte("\n"))
	want := sha256.Sum256(line)
	if !ok || strings.TrimSuffix(string(sum), "\n") != hex.EncodeToString(want[:]) {
		return damaged("its hash is not its content's")
	}
	var f headFile
	if err := json.Unmarshal(line, &f); err != nil {
		return damaged(err.Error())
	}
	if f.Format != format || len(f.RootKey) != 32 || f.Head.Seq == 0 {
		return damaged("not of this format")
	}
	return f.Head, backup.Ref{ID: f.RootID, Key: backup.Key(f.RootKey), Len: f.RootLen}, nil
}

func (s *State) writeHead(set backup.UUID, h Head, root backup.Ref) error {
	line, err := json.Marshal(headFile{Format: format, Head: h, RootID: root.ID, RootKey: root.Key[:], RootLen: root.Len})
	if err != nil {
		return fmt.Errorf("encoding the newest snapshot's record: %w", err)
	}
	sum := sha256.Sum256(line)
	data := fmt.Appendf(line, "\n%x\n", sum)
	if err := durable.WriteFile(filepath.Join(s.setDir(set), "head"), data, 0o600); err != nil {
		return fmt.Errorf("remembering the newest snapshot: %w", local(err))
	}
	return nil
}

// Head returns the newest snapshot that is remembered; Seq is 0 when none is.
func (s *State) Head(set backup.UUID) (Head, error) {
	h, _, err := s.readHead(set)
	return h, err
}

// Forget drops what is remembered of a set: the next backup reads every file,
// and sends only what the server lacks.
func (s *State) Forget(set backup.UUID) error {
	// The head first: a catalog without one is not looked at.
	for _, name := range append([]string{"head"}, s.catalogs(set)...) {
		err := durable.Remove(filepath.Join(s.setDir(set), name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forgetting a set: %w", err)
		}
	}
	return nil
}

// catalogs lists the set's catalog files, and temporary ones a crash left.
func (s *State) catalogs(set backup.UUID) []string {
	var names []string
	list, _ := os.ReadDir(s.setDir(set))
	for _, item := range list {
		if strings.HasPrefix(item.Name(), "catalog-") || durable.IsTemp(item.Name()) {
			names = append(names, item.Name())
		}
	}
	return names
}
