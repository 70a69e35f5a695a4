package agent

import (
	"cmp"
	"context"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// How long a device that the server lets do nothing waits before it asks again
// whether that is still so. One that is only stopped asks by a call which the
// server answers when it changes.
const (
	stoppedPause     = 2 * time.Second
	deactivatedPause = 15 * time.Minute
	removedPause     = 24 * time.Hour
)

// Stops reports whether a failure means that the server knows this device and
// lets it do nothing: it, or its user, was stopped.
func Stops(e *errs.Error) bool {
	if e == nil {
		return false
	}
	switch e.Code {
	case errs.DeviceDeactivated, errs.AccountDisabled, errs.AccountPreserved:
		return true
	}
	return e.Key == "device.disabled" || e.Key == "device.waiting"
}

// why is what the log says of a device that was stopped.
func why(err error) string {
	switch e := errs.Find(err); {
	case removed(e):
		return "an administrator removed this device"
	case e.Code == errs.DeviceDeactivated:
		return "the server deactivated this device"
	}
	return "the server stopped this device"
}

// removed reports whether an administrator deleted this device, or its user.
func removed(e *errs.Error) bool {
	return e.Code == errs.DeviceDeactivated && (e.Args["state"] == "deleted" || e.Args["state"] == "purged")
}

func (a *Agent) isStopped() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopped != nil
}

// rest waits while there is no use in asking the server, and returns false when
// ctx ends. A deactivated device comes back when it is activated again. One that
// was removed asks once a day, since a deletion can be undone for some days, and
// never again when it is final. Any other that is stopped rests for stopped.
func (a *Agent) rest(ctx context.Context, stopped time.Duration) bool {
	a.mu.Lock()
	e := errs.Find(a.stopped)
	a.mu.Unlock()
	switch {
	case e == nil:
		return ctx.Err() == nil
	case e.Code != errs.DeviceDeactivated:
		return a.whileStopped(ctx, wire.About(stopped))
	case e.Args["state"] == "purged":
		<-ctx.Done()
		return false
	case removed(e):
		return a.whileStopped(ctx, wire.About(removedPause))
	}
	return a.whileStopped(ctx, wire.About(deactivatedPause))
}

// whileStopped waits, but no longer than until another call was answered.
func (a *Agent) whileStopped(ctx context.Context, d time.Duration) bool {
	for ; d > 0 && a.isStopped(); d -= runningHeartbeat {
		if !a.pause(ctx, min(d, runningHeartbeat)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// setLocked notes that an administrator locked this device, or no longer.
func (a *Agent) setLocked(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if on && !a.live.Locked {
		a.cfg.Log.Warn("an administrator locked this device: backups go on, nothing is shown or restored here")
	}
	a.live.Locked = on
}

// learn takes over what others call this device now, "" for as before, and whose
// files its user may have brought back.
func (a *Agent) learn(name, offer string) {
	a.learning.Lock()
	defer a.learning.Unlock()
	old := a.device.Load()
	name = cmp.Or(name, old.Name)
	if name == old.Name && offer == old.Offer {
		return
	}
	d := *old
	d.Name, d.Offer = name, offer
	if err := a.state.SetDevice(&d); err != nil {
		a.cfg.Log.Error("what the server says of this device cannot be remembered", "err", err)
		return
	}
	a.device.Store(&d)
	if d.Name != old.Name {
		a.cfg.Log.Info("this device has another name now", "was", old.Name, "name", d.Name)
	}
}

// setRetired notes whether devices of this kind are no longer offered.
func (a *Agent) setRetired(is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live.Retired = is
}
