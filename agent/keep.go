package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/wire"
)

// keeping decides which entries of the last snapshot stay in the next one
// although they are not on this computer: those of the other computer that have
// not come back, or came back to where no backup looks. It is made before the
// backup looks at anything, and does not change: what comes back meanwhile is on
// the disk, and in the snapshot as it was.
type keeping struct {
	restore string // its id, empty when nothing is kept
	parts   []state.RestorePart
	folders []string        // that the backup looks at
	failed  map[string]bool // paths that could not come back, and the folders above them

	local  *state.Previous // the other computer's catalog
	theirs *catalog.Cursor
	next   *catalog.Entry // of theirs, nil after the last
	kept   int64          // files
}

// keep is for one backup of folders. It makes this device's backups build on
// those of the other computer.
func (a *Agent) keep(ctx context.Context, folders []string) (*keeping, error) {
	r := a.back.get()
	if r == nil || r.Settled || r.State == wire.RestoreCancelled {
		return &keeping{}, nil
	}
	local, err := a.adopt(ctx, r)
	if afterFailure(err) == wire.RestoreFailed {
		a.settle(r.ID, err)
		return &keeping{}, nil // what is here has to be protected all the same
	}
	if err != nil {
		return nil, err
	}
	k := newKeeping(a.back.get(), folders)
	k.local = local
	return k, nil
}

// kept ends what is over: nothing of the other computer is kept any more.
func (a *Agent) kept(k *keeping) {
	r := a.back.get()
	if r == nil || r.Settled || !over(r) || r.State == wire.RestoreDone && (k.restore != r.ID || k.kept > 0) {
		return
	}
	a.drop(r)
	if err := a.back.change(a.state, r.ID, func(r *state.Restore) { r.Settled = true }); err != nil {
		a.cfg.Log.Error("the restore cannot be remembered", "err", err)
	}
}

func newKeeping(r *state.Restore, folders []string) *keeping {
	k := &keeping{restore: r.ID, folders: folders, failed: map[string]bool{}}
	for _, p := range r.Parts {
		k.parts = append(k.parts, p)
		for _, f := range p.Failed {
			for path := string(f); path != "/" && !k.failed[path]; path, _ = catalog.Split(path) {
				k.failed[path] = true
			}
		}
	}
	return k
}

// there are the folders of a backup without those that are still to come back:
// that they are missing is no failure.
func (k *keeping) there(folders []string) []string {
	return slices.DeleteFunc(slices.Clone(folders), func(folder string) bool {
		if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		return slices.ContainsFunc(k.parts, func(p state.RestorePart) bool {
			return !p.Done && (covered([]string{p.Place()}, folder) || within(p.Place(), folder))
		})
	})
}

func (k *keeping) close() {
	if k.local != nil {
		k.local.Close()
	}
}

// covered reports whether a path is one of folders or lies inside one.
func covered(folders []string, path string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || within(path, f) })
}

// begin returns the function that archive.Config.Keep is, nil when nothing is
// kept. It reads the other computer's catalog beside the last snapshot's, for both
// have the same order.
func (k *keeping) begin(ctx context.Context) (func(*catalog.Entry) (bool, error), error) {
	if k.local == nil {
		return nil, nil
	}
	k.theirs, k.kept = catalog.NewReader(k.local.Root, k.local.Fetch).Cursor(ctx, ""), 0
	return k.keep, k.advance()
}

func (k *keeping) advance() (err error) {
	if k.next, err = k.theirs.Next(); err == io.EOF {
		k.next, err = nil, nil
	}
	return err
}

// keep is asked in catalog order. What this computer has backed up itself is no
// business of it.
func (k *keeping) keep(old *catalog.Entry) (bool, error) {
	for k.next != nil && k.next.Compare(old) < 0 {
		if err := k.advance(); err != nil {
			return false, err
		}
	}
	if k.next == nil || k.next.Compare(old) != 0 || !same(k.next, old) || !k.missing(old) {
		return false, nil
	}
	if old.Type == catalog.File {
		k.kept++
	}
	return true, nil
}

// same reports whether an entry is still the other computer's.
func same(theirs, old *catalog.Entry) bool {
	e := *old
	e.Flags = theirs.Flags
	return e.Equal(theirs)
}

// missing reports whether something of the other computer is not back, where
// backups would find it. A folder is missing as long as anything in it is.
func (k *keeping) missing(e *catalog.Entry) bool {
	path := e.Path()
	if i := partOf(k.parts, path); i >= 0 && k.missingIn(i, path, e.Type == catalog.Folder) {
		return true
	}
	if e.Type != catalog.Folder {
		return false
	}
	for _, p := range k.parts {
		if catalog.Inside(path, p.Path()) && (!covered(k.folders, p.Place()) || !p.Done || len(p.Failed) > 0) {
			return true
		}
	}
	return false
}

func (k *keeping) missingIn(i int, path string, folder bool) bool {
	switch p := k.parts[i]; {
	case k.failed[path] || !covered(k.folders, placeOf(p, path)):
		return true
	case p.Done:
		return false
	case len(p.At) == 0 || catalog.ComparePaths(path, string(p.At)) > 0:
		return true
	default:
		return folder && catalog.Follows(path, string(p.At))
	}
}

// placeOf is where a path of a part is on this computer.
func placeOf(p state.RestorePart, path string) string {
	return filepath.Join(p.Place(), filepath.FromSlash(strings.TrimPrefix(path, p.Path())))
}

// roots are the folders of the other computer that stay in the snapshots.
func (k *keeping) roots() (list []string) {
	for _, p := range k.parts {
		if !covered(k.folders, p.Place()) || !p.Done || len(p.Failed) > 0 {
			list = append(list, p.Path())
		}
	}
	return list
}

// over reports whether a restore has ended, however.
func over(r *state.Restore) bool {
	return r.State == wire.RestoreDone || r.State == wire.RestoreCancelled
}
