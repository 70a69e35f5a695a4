package agent

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/wire"
)

// errOtherWay ends a poll that goes by proxies which are not the ones to use any
// more.
var errOtherWay = errors.New("the proxy settings were changed")

// next is one long poll of so long. It ends when the proxy settings change. After a
// failure it does not wait, so that it is soon known that the server is there again.
func (a *Agent) next(ctx context.Context, after int64, wait time.Duration) (wire.Next, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-a.retry:
			cancel(errOtherWay)
		case <-ctx.Done():
		}
	}()
	if a.isStopped() {
		// When an administrator changes their mind, it shall not take long.
		if err := a.client.Readmitted(ctx, wait); err != nil {
			return wire.Next{}, err
		}
	}
	live := a.Live()
	if !live.Online {
		wait = 0
	}
	return a.client.Next(ctx, wait, wire.Known{After: after, Locked: live.Locked, Offer: a.device.Load().Offer})
}

// keepConnection goes over to the proxy settings that somebody changes while the
// agent runs. What waits for the server is told, and does not wait any longer.
func (a *Agent) keepConnection(ctx context.Context) {
	used, err := a.state.Connection()
	for a.pause(ctx, runningHeartbeat) {
		now, failed := a.state.Connection()
		if failed != nil {
			if err == nil {
				a.cfg.Log.Error("the proxy settings cannot be read; those before stay in use", "err", failed)
			}
			err = failed
			continue
		}
		if err = nil; now.Proxy.Equal(used.Proxy) {
			continue
		}
		used = now
		if err := a.client.SetProxy(now.Proxy); err != nil {
			a.cfg.Log.Error("the proxy settings cannot be used", "err", err)
			continue
		}
		a.cfg.Log.Info("other proxy settings", "proxy", now.Proxy)
		select {
		case a.retry <- struct{}{}:
		default:
		}
	}
}
