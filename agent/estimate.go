package agent

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// estimate is about how much a backup has before it, so that somebody who
// watches sees an end. Nothing of the backup waits for it.
type estimate struct{ files, bytes atomic.Int64 }

// begin counts, on the side, the files below the folders until ctx ends.
func (e *estimate) begin(ctx context.Context, folders []string, excluded func(string) bool) {
	go func() {
		files, bytes := measure(ctx, folders, excluded)
		if ctx.Err() == nil {
			e.files.Store(files)
			e.bytes.Store(bytes)
		}
	}()
}

// measure counts the files below the folders until ctx ends.
func measure(ctx context.Context, folders []string, excluded func(string) bool) (files, bytes int64) {
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				return nil // the backup itself will tell
			case path != folder && excluded(path):
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case d.Type().IsRegular():
				if info, err := d.Info(); err == nil {
					files++
					bytes += info.Size()
				}
			}
			return nil
		})
		if err != nil {
			break
		}
	}
	return files, bytes
}

// add gives p the totals that it lacks, once they are known.
func (e *estimate) add(p wire.Progress) wire.Progress {
	if files := e.files.Load(); p.TotalFiles == 0 && files >= p.Files {
		p.TotalFiles, p.TotalBytes = files, e.bytes.Load()
	}
	return p
}

// FolderSize is about how much a folder holds that would be backed up.
type FolderSize struct {
	Path  string
	Files int64
	Bytes int64
	Done  bool // it was counted to its end
}

// FolderSizes counts what the device backs up, and tells all of it, one folder
// more counted each time, until ctx ends.
func FolderSizes(ctx context.Context, st *state.State, tell func([]FolderSize)) error {
	s, c, err := read(st)
	if err != nil {
		return err
	}
	folders := backed(profile.Merge(s, c))
	excluded := s.Excluded(home())
	list := make([]FolderSize, len(folders))
	for i, path := range folders {
		list[i].Path = path
	}
	tell(slices.Clone(list))
	for i, path := range folders {
		list[i].Files, list[i].Bytes = measure(ctx, []string{path}, excluded)
		if err := ctx.Err(); err != nil {
			return err
		}
		list[i].Done = true
		tell(slices.Clone(list))
	}
	return nil
}
