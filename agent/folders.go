package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
)

// job is what one backup is of.
type job struct {
	folders  []string // all that the device backs up, sorted
	walk     []string // those to read now, all when empty; the rest is carried over
	settings profile.Settings
	asked    bool   // somebody wants it now
	home     string // of the device's user, for the settings
}

// plan puts the folders that somebody named on the list, as far as the profile
// lets users do that, and says what to back up.
func (a *Agent) plan(walk []string) (job, error) {
	if len(walk) > 0 {
		change := control.Change{}
		for _, folder := range walk {
			change.Add = append(change.Add, []byte(folder))
		}
		if err := a.Change(change); err != nil {
			return job{}, fmt.Errorf("%w: %w", errNotBegun, err)
		}
	}
	s, c, err := read(a.state)
	if err != nil {
		return job{}, err
	}
	all := backed(profile.Merge(s, c))
	if len(all) == 0 {
		return job{}, errs.New(errs.Invalid, "backup.folders.none")
	}
	return job{folders: all, walk: walk, settings: s, home: home()}, nil
}

// Folders lists what the device backs up: what its user chose, and what its
// profile says, without what lies inside another of them.
func Folders(st *state.State) ([]string, error) {
	s, c, err := read(st)
	if err != nil {
		return nil, err
	}
	return backed(profile.Merge(s, c)), nil
}

// FindFolder is the folder behind a path that somebody names: with the links on
// the way to it resolved. A snapshot keeps links as links, so a path that leads
// through one would name nothing in it.
func FindFolder(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(real)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errs.New(errs.Local, "backup.folder.missing", "path", path)
	case err != nil:
		return "", errs.New(errs.Local, "backup.folder.unreadable", "path", path).Because(err)
	case !info.IsDir():
		return "", errs.New(errs.Local, "backup.folder.notfolder", "path", path)
	}
	return real, nil
}

// Folder is a folder of the profile's or the user's own on this computer.
type Folder struct {
	profile.Linked
	Here    string // its absolute path, links on the way to it resolved
	Missing bool   // there is none
	Denied  bool   // the system does not let this process look into it
}

// Listed are the folders of a device that this computer can have, also those
// that are left out. Folders of other systems are not among them. It looks into
// each of them.
func Listed(e profile.Effective) []Folder {
	list := placed(e)
	for i := range list {
		list[i].Denied = denied(list[i].Here)
	}
	return list
}

// placed is Listed without a look into the folders.
func placed(e profile.Effective) (list []Folder) {
	for _, l := range e.Folders {
		f := Folder{Linked: l, Here: l.Path}
		if l.Source == profile.FromProfile {
			paths := (profile.Settings{Folders: []profile.Folder{l.Folder}}).Paths(home())
			if len(paths) == 0 {
				continue
			}
			f.Here = paths[0]
			if real, err := filepath.EvalSymlinks(f.Here); err == nil {
				f.Here = real
			}
		}
		_, err := os.Lstat(f.Here)
		f.Missing = errors.Is(err, fs.ErrNotExist)
		list = append(list, f)
	}
	return list
}

// Remark is what there is to say of a folder beyond that it is backed up, "" for
// nothing.
func (f Folder) Remark(say *locale.Printer) string {
	switch {
	case !f.Backed() && f.Ignored != "":
		return say.T("folders.state.ignored", "why", say.T("choices.ignored."+string(f.Ignored)))
	case !f.Backed():
		return say.T("folders.state.unlinked")
	case f.Denied:
		return say.T("folders.state.denied")
	case f.Missing:
		return say.T("folders.state.missing")
	case f.Mandatory:
		return say.T("folders.state.mandatory")
	}
	return ""
}

// denied reports whether this process may not list a folder. macOS refuses that
// for Documents and the like, whatever their mode, until somebody allows it; so
// it is tried.
func denied(folder string) bool {
	info, err := os.Lstat(folder)
	if err == nil && info.IsDir() { // to open anything else may wait, or do something
		var d *os.File
		if d, err = os.Open(folder); err == nil {
			_, err = d.Readdirnames(1)
			d.Close()
		}
	}
	return errors.Is(err, fs.ErrPermission)
}

// backed are the folders to back up. One of the profile's that is not there is
// left out, unless it has to be: that it is missing then shows in the backup.
func backed(e profile.Effective) []string {
	folders := []string{}
	for _, f := range placed(e) {
		optional := f.Source == profile.FromProfile && !f.Mandatory
		if f.Backed() && !(f.Missing && optional) {
			folders = append(folders, f.Here)
		}
	}
	return outermost(folders)
}

// outermost sorts folders and leaves out those that lie inside others.
func outermost(folders []string) []string {
	slices.Sort(folders)
	folders = slices.Compact(folders)
	all := slices.Clone(folders)
	return slices.DeleteFunc(folders, func(folder string) bool {
		return slices.ContainsFunc(all, func(other string) bool {
			return within(folder, other)
		})
	})
}

// within reports whether a path lies inside a folder.
func within(path, folder string) bool {
	separator := string(filepath.Separator)
	// The root folder ends with the separator already.
	return path != folder && strings.HasPrefix(path, strings.TrimSuffix(folder, separator)+separator)
}

func home() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return dir
}
