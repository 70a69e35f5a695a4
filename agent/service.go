package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/backstay/backstay/agent/door"
	"github.com/backstay/backstay/agent/osservice"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Kept is what the service of this computer does about a state folder: nil when
// it keeps nothing of it. serves is false where there is no service.
func Kept(ctx context.Context, getenv func(string) string, st *state.State) (kept *osservice.Kept, serves bool) {
	all, err := osservice.Ask(ctx, getenv, osservice.Status)
	if err != nil {
		return nil, false
	}
	for _, k := range all {
		if string(k.State) == st.Dir() && k.ID == door.Self() {
			return &k, true
		}
	}
	return nil, true
}

// Deploying is how it stands with this computer where management has it enrol by
// itself: as the device of this state folder, or as that of the whole computer, of
// which the service tells. It is nil when that is not so.
func Deploying(ctx context.Context, getenv func(string) string, st *state.State) *state.Deployment {
	if d, err := st.Deployment(); err == nil && d != nil {
		return d
	}
	d, err := osservice.Deployment(ctx, getenv)
	if err != nil {
		return nil // there is no service, or one of before this was asked
	}
	return d
}

// SignedIn reports whether another user of this computer, whose agent the service
// keeps, says that they back up to the server.
func SignedIn(ctx context.Context, getenv func(string) string, server string) bool {
	all, err := osservice.Ask(ctx, getenv, osservice.Status)
	return err == nil && slices.ContainsFunc(all, func(k osservice.Kept) bool { return k.ID != door.Self() && k.Server == server })
}

// LockToActivate takes the state folder's lock, from the service's agent if that
// one holds it. GiveBack ends what it began.
func LockToActivate(ctx context.Context, getenv func(string) string, st *state.State) error {
	err := st.Lock()
	if !errs.Is(err, errs.AlreadyRunning) {
		return err
	}
	if kept, _ := Kept(ctx, getenv, st); kept == nil {
		return err
	}
	if _, err := osservice.Ask(ctx, getenv, osservice.Drop); err != nil {
		return err
	}
	return st.Lock()
}

// GiveBack leaves the state folder to the service, where there is one and there
// is a device, and reports whether it backs up from now on. What was taken from
// the service goes back to it whatever became of the caller's own context.
// Root's device is kept by a service that does not run now as soon as it starts;
// that is the error service.later.
func GiveBack(getenv func(string) string, st *state.State) (adopted bool, err error) {
	st.Unlock()
	device, err := st.Device()
	if err != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, err := osservice.HandOver(ctx, getenv, st.Dir(), device.Server)
		if !errors.Is(err, osservice.ErrNoService) {
			return err == nil, err
		}
		switch err := osservice.Enrol(getenv, st.Dir()); {
		case err == nil:
			return false, errs.New(errs.Local, "service.later")
		case errors.Is(err, osservice.ErrNoService), errs.KindOf(err) == errs.Forbidden:
			return false, nil // the user's own affair, or a folder of root's that no service keeps
		case errs.KindOf(err) != errs.Conflict:
			return false, err
		}
		if !wire.Pause(ctx, 200*time.Millisecond) { // it is just starting, or ending
			return false, osservice.ErrNoService
		}
	}
}

// MayActivate refuses to activate a computer again that backs up to the server:
// one that it does not know any more, or that was deactivated, may.
func MayActivate(ctx context.Context, st *state.State, server string) error {
	d, err := st.Device()
	if errs.Is(err, errs.NotActivated) {
		return nil
	}
	if err != nil {
		return err
	}
	already := errs.New(errs.Conflict, "activation.already", "name", d.Name, "server", d.Server)
	if d.Server != server {
		return already
	}
	client, err := Connect(st, d, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	_, _, err = client.Profile(ctx, 0)
	switch {
	case errs.Is(err, errs.DeviceDeactivated):
		return nil
	case err == nil:
		return already
	}
	return err
}
