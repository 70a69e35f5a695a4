package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/backstay/backstay/backup/catalog"
)

// folder is an open folder below the target.
type folder struct {
	path   string // in the snapshot; Config.Base for the target itself
	parent *folder
	root   *os.Root // what is done by name is done through this
	dir    *os.File // the same folder, for what os.Root lacks
	fresh  bool     // it was empty: nothing can be in the way
	strips bool     // it has a default ACL, which what is made in it inherits

	// Users are the writer, as long as it is inside, each file being
	// written, and each folder open below. The last one out puts the folder's
	// time right, and its odd permissions.
	users atomic.Int32
	mtime catalog.Time
	odd   *oddFolder
}

// oddFolder is what a folder can have only when everything is in it.
type oddFolder struct {
	mode       uint32
	defaultACL string
}

const defaultACL = "system.posix_acl_default"

func openTop(root *os.Root) (*folder, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &folder{path: "/", root: root, dir: dir}, nil
}

func (f *folder) close() {
	f.dir.Close()
	f.root.Close()
}

// open opens the folder name in f, which must be a folder and not a link to
// one. It is looked at before and after: if somebody swaps it between for a
// link (which os.Root would follow inside f), the two are not the same.
func (f *folder) open(name string) (*folder, error) {
	if !plainName(name) {
		return nil, errName
	}
	before, err := f.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("is not a folder")}
	}
	root, err := f.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	child, err := openTop(root)
	if err != nil {
		return nil, err
	}
	after, err := child.dir.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("was replaced while it was opened")}
	}
	if err != nil {
		child.close()
		return nil, err
	}
	child.path = catalog.Join(f.path, name)
	child.mtime = catalog.TimeOf(after.ModTime())
	return child, nil
}

// empty reports whether nothing is in f.
func (f *folder) empty() (bool, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// walk opens the folder at path of the snapshot, from the top.
func (r *restorer) walk(path string) (*folder, error) {
	at := r.top
	for name := range strings.SplitSeq(strings.Trim(strings.TrimPrefix(path, r.top.path), "/"), "/") {
		if name == "" {
			continue
		}
		next, err := at.open(name)
		if at != r.top {
			at.close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// enter makes path the folder that the writer is in: it leaves those that path
// is not below, and opens the others.
func (w *writer) enter(path string) (*folder, error) {
	for !catalog.Inside(w.in.path, path) {
		w.leave()
	}
	for w.in.path != path {
		rest := strings.TrimPrefix(path[len(w.in.path):], "/")
		name, _, _ := strings.Cut(rest, "/")
		child, err := w.in.open(name)
		if err != nil {
			return nil, fmt.Errorf("opening folder %q: %w", catalog.Join(w.in.path, name), err)
		}
		if child.fresh, err = child.empty(); err != nil {
			child.close()
			return nil, fmt.Errorf("listing folder %q: %w", child.path, err)
		}
		if w.r.cfg.Name != "" && w.r.cfg.After != "" && !child.fresh {
			child.sweep(tempPrefix + w.r.cfg.Name)
		}
		child.inherits()
		if odd, ok := w.r.odd[child.path]; ok {
			child.odd = &odd
			delete(w.r.odd, child.path)
		}
		child.parent = w.in
		w.in.users.Add(1)
		child.users.Add(1)
		w.in = child
	}
	return w.in, nil
}

// sweep takes away files that an earlier run did not finish. One that cannot be
// taken away is no reason to stop.
func (f *folder) sweep(prefix string) {
	d, err := f.root.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				f.root.Remove(name)
			}
		}
		if err != nil {
			return
		}
	}
}

// leave goes up to the parent.
func (w *writer) leave() {
	f := w.in
	w.in = f.parent
	w.r.release(f)
}

// release counts one user less, and finishes the folder after the last.
func (r *restorer) release(f *folder) {
	for f != nil && f.parent != nil && f.users.Add(-1) == 0 {
		if f.odd != nil {
			r.warn(f.path, f.setOdd(*f.odd))
		}
		if err := f.setTime(f.mtime); err != nil {
			r.warn(f.path, fmt.Errorf("setting its time: %w", err))
		}
		f.close()
		f = f.parent
	}
}

// make makes the folder of an entry, or takes the one that is there, and gives
// it its metadata; what cannot be given yet is kept for later.
func (w *writer) make(f *folder, o *op) error {
	e := o.e
	err := f.root.Mkdir(e.Name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := f.root.Lstat(e.Name); statErr == nil && info.IsDir() {
			err = nil
		} else if err = w.r.moveAside(f, e.Name, e.Path()); err == nil {
			err = f.root.Mkdir(e.Name, 0o700)
		}
	}
	if err != nil {
		return err
	}
	child, err := f.open(e.Name)
	if errors.Is(err, fs.ErrPermission) && f.unlock(e.Name) == nil {
		child, err = f.open(e.Name) // an earlier restore had finished it
	}
	if err != nil {
		return err
	}
	defer child.close()
	later, warning := child.setMeta(w.r.cfg.Privileged, e, o.attrs)
	w.r.warn(e.Path(), warning)
	if later != nil {
		w.r.odd[child.path] = *later
	}
	return nil
}

// finish sets what is left of folders that were made, and never entered.
func (w *writer) finish() {
	for w.in != w.r.top {
		w.leave()
	}
	for path, odd := range w.r.odd {
		f, err := w.r.walk(path)
		if err != nil {
			w.r.warn(path, fmt.Errorf("setting its permissions: %w", err))
			continue
		}
		w.r.warn(path, f.setOdd(odd))
		f.close()
	}
}
