//go:build !linux

package scan

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
)

// The plain way, with what every system has. It compares what it opened with
// what it saw, but opens by the whole path.

// dir is a folder.
type dir struct {
	w    *Walk
	path string // the system's form
	dev  uint64
}

func (w *Walk) openDir(path string, seen identity, _ bool) (*dir, error) {
	d := &dir{w: w, path: w.where(path)}
	if path == "/" {
		return d, nil
	}
	info, err := os.Lstat(d.path)
	if err != nil {
		return nil, err
	}
	var e catalog.Entry
	w.fill(path, &e, info)
	if e.Type != catalog.Folder || !seen.is(&e) {
		return nil, errReplaced
	}
	d.dev = e.Dev
	return d, nil
}

func (d *dir) Close() {}

func (d *dir) Names() ([]string, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d *dir) Pseudo(string, uint64) bool { return false }

func (d *dir) Look(name string, e *catalog.Entry) error {
	info, err := os.Lstat(d.w.where(e.Path()))
	if err != nil {
		return err
	}
	d.w.fill(e.Path(), e, info)
	return nil
}

// where is the path at which something is read, in the system's form.
func (w *Walk) where(path string) string {
	if p, ok := w.cfg.View.path(path, separator); ok {
		return p
	}
	return systemPath(path)
}

// fill is for what was read at a path, in the catalog's form.
func (w *Walk) fill(path string, e *catalog.Entry, info fs.FileInfo) {
	fill(e, info)
	w.cfg.View.disk(path, e)
}

// fill takes what every system tells; stat adds what this one does.
func fill(e *catalog.Entry, info fs.FileInfo) {
	e.Mode = uint32(info.Mode().Perm())
	for bit, mode := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if info.Mode()&mode != 0 {
			e.Mode |= bit
		}
	}
	e.Type, e.Size, e.Nlink = 0, 0, 1
	switch info.Mode().Type() {
	case 0:
		e.Type, e.Size = catalog.File, uint64(max(info.Size(), 0))
	case fs.ModeDir:
		e.Type = catalog.Folder
	case fs.ModeSymlink:
		e.Type = catalog.Symlink
	case fs.ModeNamedPipe:
		e.Type = catalog.Fifo
	case fs.ModeSocket:
		e.Type = catalog.Socket
	case fs.ModeDevice | fs.ModeCharDevice:
		e.Type = catalog.Char
	case fs.ModeDevice:
		e.Type = catalog.Block
	}
	e.Mtime = catalog.TimeOf(info.ModTime())
	stat(e, info)
}

// Complete fills in owner and group and a link's target.
func (w *Walk) Complete(e *catalog.Entry) (err error) {
	w.name(e)
	if e.Type == catalog.Symlink {
		e.Target, err = os.Readlink(w.where(e.Path()))
	}
	return err
}

type file struct {
	*os.File
	w    *Walk
	path string // in the catalog's form
}

var _ archive.File = file{}

// Open opens a regular file that the walk found.
func (w *Walk) Open(e *catalog.Entry) (archive.File, error) {
	f, err := os.OpenFile(w.where(e.Path()), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	opened := file{f, w, e.Path()}
	var now catalog.Entry
	if err := opened.Stat(&now); err != nil || !identify(e).is(&now) {
		f.Close()
		return nil, errors.Join(errReplaced, err)
	}
	return opened, nil
}

func (f file) Stat(e *catalog.Entry) error {
	info, err := f.File.Stat()
	if err == nil {
		f.w.fill(f.path, e, info)
	}
	return err
}

func (f file) Complete(e *catalog.Entry) error {
	f.w.name(e)
	return nil
}

func (f file) Holes(uint64) ([]catalog.Hole, error) { return nil, nil }
