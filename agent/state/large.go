package state

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/durable"
)

// largeFile is when large files were read last, of those that have to wait
// before they are read again.
type largeFile struct {
	Format int `json:"format"`
	Files  []struct {
		Path []byte    `json:"path"` // bytes: a name need not be UTF-8
		Read time.Time `json:"read"`
	} `json:"files"`
}

func largePath(set backup.UUID) string { return filepath.Join("sets", set.String(), "large.json") }

// LargeRead returns when large files of a set were read, by their paths in the
// catalog. What cannot be read is not known, and costs no more than that they
// are read once more.
func (s *State) LargeRead(set backup.UUID) map[string]time.Time {
	var f largeFile
	read := map[string]time.Time{}
	if _, err := s.read(largePath(set), &f); err != nil {
		return read
	}
	for _, file := range f.Files {
		read[string(file.Path)] = file.Read
	}
	return read
}

// SetLargeRead remembers it.
func (s *State) SetLargeRead(set backup.UUID, read map[string]time.Time) error {
	if len(read) == 0 {
		if err := durable.Remove(s.path(largePath(set))); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	f := largeFile{Format: format}
	for path, at := range read {
		f.Files = append(f.Files, struct {
			Path []byte    `json:"path"`
			Read time.Time `json:"read"`
		}{[]byte(path), at})
	}
	return s.write(largePath(set), f)
}
