package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/durable"
)

// View is the disk as it was at one moment, so that a backup reads files that
// belong together, and those that programs keep open. A nil one is the disk as it
// is. It must be released.
type View struct {
	parts []part
	note  string
	made  []string // as undo takes them
}

// part says where a folder is read that lies elsewhere in the view. Of several the
// deepest counts.
type part struct {
	from string // in the catalog's form
	to   string // in the system's, without a separator at the end
	// What was on a device of the disk is on another in the view. Catalogs tell the
	// disk's: a view has a new one each time.
	device, real uint64
}

// path is where what is at a path of the catalog is read, in the system's form.
func (v *View) path(path, separator string) (string, bool) {
	p := v.part(path)
	if p == nil {
		return "", false
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(path, p.from), "/")
	if rest == "" {
		return p.to + separator, true
	}
	return p.to + separator + strings.ReplaceAll(rest, "/", separator), true
}

func (v *View) part(path string) *part {
	if v == nil {
		return nil
	}
	var best *part
	for i := range v.parts {
		if p := &v.parts[i]; catalog.Inside(p.from, path) && (best == nil || len(p.from) > len(best.from)) {
			best = p
		}
	}
	return best
}

// disk gives what was read at a path of the view the device that it has on the disk.
func (v *View) disk(path string, e *catalog.Entry) {
	if p := v.part(path); p != nil && e.Dev == p.device {
		e.Dev = p.real
	}
}

// Release gives up the view. A nil one has nothing to give up.
func (v *View) Release() error {
	if v == nil {
		return nil
	}
	return cleanUp(v.note, v.made, undo)
}

// Freeze makes a view of the roots, where the system has such a thing and this
// process may use it: shadow copies on Windows, snapshots of APFS on macOS, both
// with all rights only. Otherwise it is nil. What it makes it notes in a file,
// so that what a crash leaves is removed the next time.
func Freeze(ctx context.Context, roots []string, note string) (*View, error) {
	left, err := os.ReadFile(note)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for views that were left: %w", err)
	}
	if err := cleanUp(note, strings.FieldsFunc(string(left), func(r rune) bool { return r == '\n' }), undo); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	v := &View{note: note}
	if err := v.freeze(ctx, Roots(roots)); err != nil || len(v.parts) == 0 {
		return nil, errors.Join(err, v.Release())
	}
	return v, nil
}

// noteDown remembers something that has to be undone.
func (v *View) noteDown(made string) error {
	v.made = append(v.made, made)
	return writeNote(v.note, v.made)
}

func writeNote(note string, made []string) error {
	return durable.WriteFile(note, []byte(strings.Join(made, "\n")+"\n"), 0o600)
}

// cleanUp undoes what was made, the last first, and keeps a note of what could not
// be.
func cleanUp(note string, made []string, undo func(string) error) error {
	if len(made) == 0 {
		return nil
	}
	var left []string
	var failed []error
	for _, one := range slices.Backward(made) {
		if err := undo(one); err != nil {
			left, failed = slices.Insert(left, 0, one), append(failed, err)
		}
	}
	if len(left) > 0 {
		failed = append(failed, writeNote(note, left))
	} else if err := durable.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
