package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
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
	p, err := a.state.Profile()
	if err != nil {
		return job{}, err
	}
	s, err := settings(p)
	if err != nil {
		return job{}, err
	}
	if !s.UserMay.Folders {
		given := profileFolders(s)
		for _, folder := range walk {
			if !slices.Contains(given, folder) {
				return job{}, errs.New(errs.Forbidden, "backup.folder.profile", "path", folder)
			}
		}
	} else if _, err := a.state.AddFolders(walk...); err != nil {
		return job{}, err
	}
	all, err := Folders(a.state)
	if err != nil {
		return job{}, err
	}
	if len(all) == 0 {
		return job{}, errs.New(errs.Invalid, "backup.folders.none")
	}
	return job{folders: all, walk: walk, settings: s, home: home()}, nil
}

// Folders lists what the device backs up: what its user chose, and what its
// profile says, without what lies inside another of them.
func Folders(st *state.State) ([]string, error) {
	p, err := st.Profile()
	if err != nil {
		return nil, err
	}
	s, err := settings(p)
	if err != nil {
		return nil, err
	}
	all := profileFolders(s)
	if s.UserMay.Folders {
		own, err := st.Folders()
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return outermost(all), nil
}

// outermost sorts folders and leaves out those that lie inside others.
func outermost(folders []string) []string {
	slices.Sort(folders)
	folders = slices.Compact(folders)
	all := slices.Clone(folders)
	return slices.DeleteFunc(folders, func(folder string) bool {
		return slices.ContainsFunc(all, func(other string) bool {
			// The root folder ends with the separator already.
			return other != folder && strings.HasPrefix(folder, strings.TrimSuffix(other, string(filepath.Separator))+string(filepath.Separator))
		})
	})
}

// profileFolders are the profile's folders on this computer, links on the way
// to them resolved as for those that users name. One that is not there is left
// out, unless it has to be: that it is missing then shows in the backup.
func profileFolders(s profile.Settings) []string {
	var found []string
	required := s
	required.Folders = nil
	for _, f := range s.Folders {
		if f.Mandatory {
			required.Folders = append(required.Folders, f)
		}
	}
	mandatory := required.Paths(home())
	for _, path := range s.Paths(home()) {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			path = real
		} else if errors.Is(err, fs.ErrNotExist) && !slices.Contains(mandatory, path) {
			continue
		}
		found = append(found, path)
	}
	return found
}

func home() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return dir
}
