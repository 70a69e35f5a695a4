//go:build !linux

package restore

import (
	"io/fs"
	"os"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// On this system the plain thing is done: contents, links, permissions and
// times, by what os.Root offers. Owners, attributes and special files come
// with the work on the platform.

const openFlags = 0

func isQuota(error) bool { return false }

func (f *folder) inherits() {}

func (f *folder) rename(from, to string) error {
	if _, err := f.root.Lstat(to); err == nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	return f.root.Rename(from, to)
}

func (f *folder) unlock(name string) error { return f.root.Chmod(name, 0o700) }

func (r *restorer) hardLink(from *folder, name string, to *folder, as string) error {
	return r.top.root.Link(below(from, name), below(to, as))
}

// below returns the path of name in f from the target.
func below(f *folder, name string) string { return catalog.Join(f.path, name)[1:] }

func (f *folder) mknod(*catalog.Entry) error { return errs.New(errs.Local, "restore.device.refused") }

func sameSpecial(os.FileInfo, *catalog.Entry) bool { return false }

func (f *folder) setTime(t catalog.Time) error {
	if f.parent == nil {
		return nil
	}
	return f.root.Chtimes(".", t.Time(), t.Time())
}

func (f *folder) setFileMeta(file *os.File, _ bool, e *catalog.Entry, _ []catalog.Attr) error {
	return file.Chmod(permissions(e))
}

// setTimesLater sets the times of a file that was closed.
func (f *folder) setTimesLater(name string, e *catalog.Entry) error {
	return f.root.Chtimes(name, e.Mtime.Time(), e.Mtime.Time())
}

func (f *folder) setMeta(_ bool, e *catalog.Entry, _ []catalog.Attr) (*oddFolder, error) {
	mode := permissions(e)
	if err := f.root.Chmod(".", mode|0o700); err != nil {
		return nil, err
	}
	if err := f.root.Chtimes(".", e.Mtime.Time(), e.Mtime.Time()); err != nil {
		return nil, err
	}
	if mode&0o700 != 0o700 {
		return &oddFolder{mode: uint32(mode)}, nil
	}
	return nil, nil
}

func (f *folder) setOdd(odd oddFolder) error { return f.root.Chmod(".", fs.FileMode(odd.mode)) }

func (f *folder) setOtherMeta(bool, *catalog.Entry, []catalog.Attr) error { return nil }

// permissions leaves out setuid and its like: the owner is not restored.
func permissions(e *catalog.Entry) fs.FileMode { return fs.FileMode(e.Mode & 0o777) }
