package agent

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/schedule"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/wire"
)

// errPaused is why a backup ends that runs when its user pauses backups.
var errPaused = errs.New(errs.Conflict, "backup.paused")

// Choose remembers what the user of this device wants to be otherwise, as far as
// the profile lets them; what it does not is refused, and nothing is changed.
// The caller holds the state folder's lock.
func Choose(st *state.State, now time.Time, change control.Change) error {
	s, c, err := read(st)
	if err != nil {
		return err
	}
	if c, err = chosen(s, c, now, change); err != nil {
		return err
	}
	return st.SetChoices(c)
}

// Change is Choose in the state folder dir, in this process, or by the agent that
// runs there.
func Change(ctx context.Context, dir string, now time.Time, change control.Change) error {
	st, err := state.Open(dir) // for a lock of its own
	if err != nil {
		return err
	}
	if _, err := st.Device(); err != nil {
		return err
	}
	locked := st.Lock()
	if locked == nil {
		defer st.Unlock()
		return Choose(st, now, change)
	}
	if !errs.Is(locked, errs.AlreadyRunning) {
		return locked
	}
	_, err = control.Ask(ctx, dir, control.Request{Do: control.Choose, Change: &change}, nil)
	if errors.Is(err, control.ErrNobody) {
		return locked
	}
	return err
}

// chosen are the choices after a change.
func chosen(s profile.Settings, c profile.Choices, now time.Time, change control.Change) (profile.Choices, error) {
	var err error
	switch {
	case change.Pause != 0:
		c, err = c.Pause(s, now, change.Pause)
	case change.Resume:
		c = c.Resume()
	}
	if err != nil {
		return c, err
	}
	for _, folder := range change.Add {
		if c, err = link(s, c, string(folder)); err != nil {
			return c, err
		}
	}
	for _, folder := range change.Remove {
		if c, err = unlink(s, c, string(folder)); err != nil {
			return c, err
		}
	}
	return c.With(s, change.Set, change.Reset...)
}

// link puts a folder of this computer on the list: one of the profile's that was
// left out, or one of the user's own.
func link(s profile.Settings, c profile.Choices, path string) (profile.Choices, error) {
	for _, f := range placed(profile.Merge(s, c)) {
		switch {
		case f.Here != path:
		case f.Unlinked:
			c.Unlinked = without(c.Unlinked, f.Path)
			return c, nil
		case f.Backed():
			return c, nil
		}
	}
	if !s.UserMay.Folders {
		return c, errs.New(errs.Forbidden, "backup.folder.profile", "path", path)
	}
	if !slices.Contains(c.Folders, path) {
		c.Folders = append(slices.Clone(c.Folders), path)
		slices.Sort(c.Folders)
	}
	return c, nil
}

// unlink takes a folder off the list, unless it has to be backed up.
func unlink(s profile.Settings, c profile.Choices, path string) (profile.Choices, error) {
	var inside string
	for _, f := range placed(profile.Merge(s, c)) {
		switch {
		case f.Here != path && f.Path != path:
			if f.Backed() && within(path, f.Here) {
				inside = cmp.Or(inside, f.Here)
			}
		case f.Source == profile.FromUser:
			c.Folders = without(c.Folders, f.Path)
			return c, nil
		case f.Mandatory:
			return c, errs.New(errs.Forbidden, "folders.mandatory", "path", path)
		default:
			if !f.Unlinked {
				c.Unlinked = append(slices.Clone(c.Unlinked), f.Path)
			}
			return c, nil
		}
	}
	if inside != "" {
		return c, errs.New(errs.Invalid, "folders.inside", "path", path, "folder", inside)
	}
	return c, errs.New(errs.NotFound, "folders.unknown", "path", path)
}

func without(list []string, item string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == item })
}

// Change is Choose for a running agent: it holds at once.
func (a *Agent) Change(change control.Change) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := Choose(a.state, a.now(), change); err != nil {
		return err
	}
	a.facts.Settings = InForce(a.state)
	if change.Pause != 0 && a.interrupt != nil {
		a.interrupt(errPaused)
	}
	a.poke()
	return nil
}

// Start begins a backup of all folders for the user as soon as it can, and does
// not wait for it.
func (a *Agent) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.facts.Asked = schedule.User
	a.poke()
}

// untold are the choices that the server does not know, nil when it knows them.
func (a *Agent) untold() []byte {
	c, err := a.state.Choices()
	if err != nil {
		return nil
	}
	if now := c.Encode(); !slices.Equal(now, a.told) {
		return now
	}
	return nil
}

// heardOf notes that the server was told of the choices. One that cannot read
// them will not tomorrow either; every other refusal is about something else.
func (a *Agent) heardOf(s wire.Status, err error) {
	unread := errs.KindOf(err) == errs.Invalid
	if err != nil && !unread || s.Choices == nil {
		return
	}
	if unread {
		a.cfg.Log.Warn("the server does not accept what the user chose on this device", "err", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = s.Choices
}

// begins are the choices with which a device begins: what the server knows of
// it, or else what was chosen on this computer before. A device that comes back
// keeps the folders that this computer remembers: their names are exact.
func begins(st *state.State, out wire.Activated, maps []state.PathMap) (profile.Choices, error) {
	here, err := st.Choices()
	if err != nil {
		return here, err
	}
	if len(out.Choices) == 0 {
		return here.Reactivated(false), nil
	}
	c, err := profile.DecodeChoices(out.Choices)
	if err != nil {
		return c, err
	}
	if out.Choice == wire.Replace {
		c.Folders = carried(c.Folders, out, maps)
	}
	c.Folders = slices.DeleteFunc(c.Folders, func(f string) bool { return !filepath.IsAbs(f) })
	switch {
	case out.Choice == wire.Replace:
		c.Folders = append(c.Folders, here.Folders...)
		slices.Sort(c.Folders)
		c.Folders = slices.Compact(c.Folders)
	case len(here.Folders) > 0:
		c.Folders = here.Folders
	}
	return c, nil
}

// news reports whether a heartbeat is to come soon: a backup runs, files come
// back, the user chose something, or the server was told something else.
func (a *Agent) news(told wire.Status) bool {
	now := a.status()
	if now.State == wire.StateRunning || now.Choices != nil || now.Restore != nil {
		return true
	}
	told.Choices, told.Restore = nil, nil // which are over
	return !reflect.DeepEqual(now, told)
}
