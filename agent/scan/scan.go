// Package scan walks the file system for a backup: it finds what is there, in
// catalog order, and opens what is to be read. It is the archiver's Source.
//
// A walk covers roots, the folders to back up, and their ancestors, of which
// only the names on the way are listed. Several folders are listed side by
// side, a bounded number of entries ahead of the consumer; the result does not
// depend on it.
//
// What is left out, apart from what the profile excludes:
//
//   - the paths in Skip, such as the program's own state folder;
//   - the content of pseudo file systems (proc, sysfs, cgroup, debugfs and
//     their kind, and a file system mounted at /dev): the folder itself is kept,
//     empty. Other mounted file systems are walked like folders.
//
// A folder that cannot be listed, an item that cannot be looked at, and a root
// that does not exist are reported, never passed over: what the last backup
// knew there is kept (R23). An item that vanishes during the walk is simply not
// there.
//
// Nothing is followed. A folder is listed, and a file read, only when device,
// inode and type of what was opened are those seen before (R16), or when no
// link was on the way to it; so nobody who can rename things in a folder of his
// can lead a walk with higher rights elsewhere. Only regular files are opened,
// without waiting (R17).
package scan

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// Config is what to walk.
type Config struct {
	Roots []string // absolute paths of folders or files
	Skip  []string // absolute paths that are left out with all they contain
	// Excluded reports whether the item at a path of the catalog is left out,
	// with all it contains. It is asked for what is below the roots, on the way
	// down, by several goroutines. Nil leaves out nothing.
	Excluded func(path string) bool

	// View is what is read in place of the disk; Linux has none.
	View *View

	// Watch, if there is one, tells which folders have not changed since they were
	// walked for the snapshot Base. They are not listed; see Walk.Unlisted. Without
	// a Base all are. Scope says what else decides about what is found, such as what
	// is excluded: with another one all are listed too.
	Watch       *Watch
	Base, Scope string

	// Tests make them small.
	maxAhead, batch int
}

var errReplaced = errors.New("it was replaced by something else while it was read")

// Walk is one walk.
type Walk struct {
	cfg    Config
	roots  []string // as they are in the catalog: no links on the way, none inside another
	skip   map[string]bool
	owners *owners
	walker *walker
	ahead  []archive.Item // taken from the walker

	ways   map[string][]string // from folders that have not changed to those that may have; nil when all are listed
	mu     sync.Mutex
	listed map[string]bool // when not all are
}

var (
	_ archive.Source = (*Walk)(nil)
	_ archive.Hints  = (*Walk)(nil)
)

// New begins a walk; it must be closed.
func New(cfg Config) *Walk {
	if cfg.maxAhead == 0 {
		cfg.maxAhead, cfg.batch = maxAhead, batch
	}
	w := &Walk{cfg: cfg, roots: Roots(cfg.Roots), skip: map[string]bool{}, owners: newOwners()}
	for _, path := range cfg.Skip {
		w.skip[catalogPath(real(path))] = true
	}
	if cfg.Watch != nil {
		scope := strings.Join(append(append([]string{cfg.Scope}, w.roots...), cfg.Skip...), "\x00")
		w.ways = cfg.Watch.begin(scope, cfg.Base, w.roots)
	}
	w.listed = map[string]bool{}
	w.walker = startWalker(w)
	return w
}

// Close ends the walk. It need not have come to its end.
func (w *Walk) Close() { w.walker.stop() }

// Next returns the next item, io.EOF after the last.
func (w *Walk) Next(ctx context.Context) (archive.Item, error) {
	if len(w.ahead) == 0 {
		var err error
		if w.ahead, err = w.walker.take(ctx); err != nil {
			return archive.Item{}, err
		}
	}
	item := w.ahead[0]
	w.ahead = w.ahead[1:]
	return item, nil
}

// Whole reports whether the walk lists all folders.
func (w *Walk) Whole() bool { return w.ways == nil }

// Unlisted reports whether a folder that the walk has passed was not listed,
// because nothing in it has changed since Config.Base.
func (w *Walk) Unlisted(folder string) bool {
	if w.ways == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.listed[folder]
}

// unchanged reports whether a folder need not be listed.
func (w *Walk) unchanged(path string, seen identity) bool {
	if w.ways != nil && w.cfg.Watch.isClean(path, seen) {
		return true
	}
	if w.ways != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.listed[path] = true
	}
	return false
}

// arm has a folder watched that is about to be listed.
func (w *Walk) arm(path string, d *dir) {
	if w.cfg.Watch != nil {
		w.cfg.Watch.arm(path, d)
	}
}

// Unsettled makes a folder one that is listed the next time, whether it has
// changed or not.
func (w *Walk) Unsettled(folder string) {
	if w.cfg.Watch != nil {
		w.cfg.Watch.doubt(folder)
	}
}

// Gone says that a folder is no more.
func (w *Walk) Gone(folder string) {
	if w.cfg.Watch != nil {
		w.cfg.Watch.gone(folder)
	}
}

// Roots returns paths as a walk has them: as they are in the catalog, without
// links on the way, without those that are inside another, in catalog order. A
// path that cannot be resolved stays as it is.
func Roots(paths []string) []string {
	var roots []string
	for _, path := range paths {
		roots = append(roots, catalogPath(real(path)))
	}
	roots = catalog.Outermost(roots)
	slices.SortFunc(roots, catalog.ComparePaths)
	return roots
}

// Resolve checks a folder that somebody asks to back up, and returns its
// absolute path without links.
func Resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", errs.New(errs.Invalid, "scan.folder.missing", "path", path).Because(err)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrPermission) {
		return "", errs.New(errs.Local, "scan.folder.denied", "path", path).Because(err)
	}
	if err != nil {
		return "", errs.New(errs.Invalid, "scan.folder.missing", "path", path).Because(err)
	}
	return resolved, nil
}

func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return filepath.Clean(path)
}
