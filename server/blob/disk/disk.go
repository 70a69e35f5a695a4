// Package disk keeps blobs as files of a folder. A blob is a file of its own
// name, written through durable: under a temporary name, synced, renamed, the
// folder synced.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/backstay/backstay/durable"
	"github.com/backstay/backstay/server/blob"
)

// Store keeps blobs below a folder.
type Store struct {
	root    string
	lock    *os.File
	folders sync.Map // known to exist on the disk

	// space asks the file system: all bytes, and those that may be written.
	space func(folder string) (total, free uint64, err error)
}

var _ blob.Store = (*Store)(nil)

// lockName is held, shared, by every process that uses the folder. Its first
// dot keeps it apart from blobs.
const lockName = ".lock"

// Open uses folder as a store, and makes it when it is absent. When no other
// process uses it, what writers left unfinished in a crash is removed.
func Open(folder string) (*Store, error) {
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if err := durable.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s := &Store{root: root, lock: lock, space: space}
	if alone(lock) {
		err = s.clean()
	}
	if err == nil {
		err = share(lock)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("opening store %s: %w", root, err)
	}
	return s, nil
}

// Close gives the folder up.
func (s *Store) Close() error { return s.lock.Close() }

// clean removes temporary files, by their name only (R4).
func (s *Store) clean() error {
	return filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && p != s.root && blob.CheckName(d.Name()) != nil {
			return fs.SkipDir // not ours: lost+found
		}
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && durable.IsTemp(d.Name()) {
			return os.Remove(p)
		}
		return nil
	})
}

func (s *Store) file(name string) (string, error) {
	if err := blob.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.root, filepath.FromSlash(name)), nil
}

// Put stores a blob.
func (s *Store) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	file, err := s.file(name)
	if err != nil {
		return err
	}
	if err := s.put(ctx, file, write); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return blob.Full(err)
		}
		return fmt.Errorf("storing blob %s: %w", name, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, file string, write func(io.Writer) error) error {
	if err := s.room(0); err != nil {
		return err
	}
	if err := s.folder(filepath.Dir(file)); err != nil {
		return err
	}
	f, err := durable.Create(file, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(&roomy{ctx: ctx, s: s, f: f}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Commit()
}

func (s *Store) folder(dir string) error {
	if _, ok := s.folders.Load(dir); ok {
		return nil
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.folders.Store(dir, nil)
	return nil
}

// step is how many bytes are written between two looks at the free room.
const step = 4 << 20

// roomy writes while there is room.
type roomy struct {
	ctx   context.Context
	s     *Store
	f     *durable.File
	since int
}

func (w *roomy) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if w.since += len(p); w.since >= step || len(p) >= step {
		w.since = 0
		if err := w.s.room(uint64(len(p))); err != nil {
			return 0, err
		}
	}
	return w.f.Write(p)
}

// room refuses to write n bytes that the reserve would have to give.
func (s *Store) room(n uint64) error {
	total, free, err := s.space(s.root)
	if err != nil {
		return fmt.Errorf("asking for free room: %w", err)
	}
	if free < n || free-n < Reserve(total) {
		return blob.Full(fmt.Errorf("%d of %d bytes are free, %d of them kept in reserve", free, total, Reserve(total)))
	}
	return nil
}

// Reserve is how much of a file system of total bytes the store leaves free
// (R9): 1 % or 1 GiB, whichever is more, so that a database on the same file
// system can still delete; but of a small one no more than 5 %.
func Reserve(total uint64) uint64 {
	return min(max(total/100, 1<<30), total/20)
}

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// Open opens a blob.
func (s *Store) Open(_ context.Context, name string) (blob.Blob, error) {
	path, err := s.file(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening blob: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening blob: %w", err)
	}
	return file{f, info.Size()}, nil
}

// Stat describes a blob.
func (s *Store) Stat(_ context.Context, name string) (blob.Info, error) {
	path, err := s.file(name)
	if err != nil {
		return blob.Info{}, err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("looking at blob: %w", err)
	}
	return blob.Info{Name: name, Size: info.Size(), Modified: info.ModTime().UTC()}, nil
}

// List lists blobs.
func (s *Store) List(ctx context.Context, prefix string, each func(blob.Info) error) error {
	err := s.list(ctx, "", prefix, each)
	if err != nil {
		return fmt.Errorf("listing blobs %s*: %w", prefix, err)
	}
	return nil
}

// list goes down only where names can begin with prefix, so that listing one
// user's manifests does not read everybody's folders.
func (s *Store) list(ctx context.Context, folder, prefix string, each func(blob.Info) error) error {
	entries, err := os.ReadDir(filepath.Join(s.root, filepath.FromSlash(folder)))
	if folder != "" && errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(folder, e.Name())
		if e.IsDir() {
			if blob.CheckName(e.Name()) != nil {
				continue // not ours: lost+found
			}
			if sub := name + "/"; strings.HasPrefix(sub, prefix) || strings.HasPrefix(prefix, sub) {
				if err := s.list(ctx, name, prefix, each); err != nil {
					return err
				}
			}
			continue
		}
		if !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || blob.CheckName(name) != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := each(blob.Info{Name: name, Size: info.Size(), Modified: info.ModTime().UTC()}); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes a blob.
func (s *Store) Delete(_ context.Context, name string) error {
	path, err := s.file(name)
	if err != nil {
		return err
	}
	if err := durable.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting blob %s: %w", name, err)
	}
	return nil
}
