// Package durable writes files that survive a crash. A file that matters is
// written under a temporary name and takes its real one only when every byte
// of it is on the disk; after a power cut a reader finds the whole old file or
// the whole new one, never a part and never nothing.
//
// The order is fixed, and each step is there for a reason:
//
//  1. A temporary name in the same folder, unique to the attempt: a rename is
//     atomic only inside one file system, and an attempt that is slow to
//     notice its own failure must not clean up the file of its successor (R4).
//  2. Write.
//  3. Sync the file: the rename may reach the disk before the bytes do, and
//     would then name an empty file.
//  4. Close, before the rename, since a network file system may report a
//     failed write only here, and Windows renames no open file.
//  5. Rename: readers see the new file from now on.
//  6. Sync the folder: until then the name itself may be lost. Only after this
//     may anyone be told that the file is stored.
//
// An error from a sync is final and never tried again (R12): the kernel drops
// the pages it could not write and marks them clean, so a second sync succeeds
// over lost data. Such errors match ErrSync. Whoever gets one gives up the work
// that it belongs to; a server stops, and what was not acknowledged is sent
// again. A file system that cannot sync at all gives the same error: it is no
// place for a file that matters.
//
// All paths that this package is given are trusted: nothing here defends
// against links that somebody else plants. Restoring into a user's folder is
// the restore package's work.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrSync is in the chain of every error of a sync, of a file or a folder.
// What was written since the last good sync may be lost, whatever later calls
// answer.
var ErrSync = errors.New("not safely on the disk")

const tempPrefix = ".tmp-"

// IsTemp reports whether name, the last element of a path, is a temporary name
// of this package. One that is found while no writer runs was left by a crash
// and may be removed.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && len(name) == len(tempPrefix)+32
}

// WriteFile stores data as the file path, replacing what was there, with the
// permissions perm (before umask). When it returns nil the file survives a
// crash. When it fails, path is as it was before, unless the error matches
// ErrSync: then path may hold either. A symbolic link at path is replaced, not
// followed.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	f, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// File is a file on its way to its name. It is not safe for concurrent use,
// but for WriteAt calls on separate ranges.
type File struct {
	f    *os.File
	path string
	err  error // the first failed write; Commit then refuses
	done bool
}

// Create begins a file that Commit will store as path. The folder must exist.
// The usual form is
//
//	f, err := durable.Create(path, 0o600)
//	if err != nil {
//		return err
//	}
//	defer f.Abort()
//	... write ...
//	return f.Commit()
func Create(path string, perm fs.FileMode) (*File, error) {
	var random [16]byte
	rand.Read(random[:])
	temp := filepath.Join(filepath.Dir(path), tempPrefix+hex.EncodeToString(random[:]))
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	return &File{f: f, path: path}, nil
}

// Write appends p. After a failed write the file can only be aborted.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	return n, f.failed(err)
}

// WriteAt writes p at offset off.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, f.failed(err)
}

// ReadAt reads back what was written so far.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Sync puts what was written so far on the disk, under the temporary name. It
// is for writers that acknowledge parts; Commit syncs by itself.
func (f *File) Sync() error {
	if err := f.f.Sync(); err != nil {
		return f.failed(fmt.Errorf("%w: %w", ErrSync, err))
	}
	return nil
}

func (f *File) failed(err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("writing %s: %w", f.path, err)
	if f.err == nil {
		f.err = err
	}
	return err
}

// Commit gives the file its name, with WriteFile's promises. It fails when an
// earlier write failed, also when nobody looked at that error. After Commit,
// failed or not, the File is finished and its temporary name is gone.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("committing %s: %w", f.path, fs.ErrClosed)
	}
	if f.err == nil {
		f.Sync() // keeps its error in f.err
	}
	if f.err != nil {
		f.Abort()
		return f.err
	}
	f.done = true
	if err := f.f.Close(); err != nil {
		os.Remove(f.f.Name())
		return fmt.Errorf("closing %s: %w", f.path, err)
	}
	if err := rename(f.f.Name(), f.path); err != nil {
		os.Remove(f.f.Name())
		return fmt.Errorf("naming %s: %w", f.path, err)
	}
	return SyncDir(filepath.Dir(f.path))
}

// Abort removes the unfinished file; after Commit or Abort it does nothing, so
// that it can be deferred. It removes by the temporary name only, never what
// another attempt has committed (R4).
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.f.Close()
	os.Remove(f.f.Name())
}

// MkdirAll makes the folder path and its missing ancestors with permissions
// perm (before umask), each on the disk before the next is made. A folder that
// is there already is no error; its own name is synced all the same, since an
// earlier attempt may have died between making and syncing it.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("not a folder")}
	case err == nil:
		err := SyncDir(parent)
		if errors.Is(err, fs.ErrPermission) {
			return nil // we may not list the parent, so path was not made by us
		}
		return err
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("making folder %s: %w", path, err)
	case parent == path:
		return fmt.Errorf("making folder %s: %w", path, err)
	}
	if err := MkdirAll(parent, perm); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making folder %s: %w", path, err)
	}
	return SyncDir(parent)
}

// Rename moves a file or folder inside its file system, replacing a file at
// to. The new folder is synced before the old one, so that a crash between
// leaves two names rather than none. The content is not synced: it must have
// been written by this package.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return fmt.Errorf("renaming: %w", err)
	}
	old, new := filepath.Dir(from), filepath.Dir(to)
	if err := SyncDir(new); err != nil || old == new {
		return err
	}
	return SyncDir(old)
}

// Remove deletes a file or an empty folder; when it returns nil it does not
// come back after a crash. What is not there is an error, fs.ErrNotExist.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing: %w", err)
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir puts a folder's list of names on the disk: files created, renamed
// and removed in it. It says nothing of their contents.
func SyncDir(path string) error { return syncDir(path) }
