package upload

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// longestBusy is how long a server is left alone at most, whatever it says.
const longestBusy = time.Hour

// inTurn makes a call, and makes it again as long as the server is busy: that is
// no failure, and what was sent and read is kept. It comes when the server says,
// or up to a tenth later, so that not all devices come in the same moment.
func (r *run) inTurn(ctx context.Context, call func() error) error {
	err := call()
	if !errs.Is(err, errs.ServerBusy) {
		return err
	}
	r.waiting.Add(1)
	defer r.waiting.Add(-1)
	for ; errs.Is(err, errs.ServerBusy); err = call() {
		wait := busyFor(err)
		r.Log.Info("the server is busy", "again_in", wait)
		r.goesOn.Store(r.Now().Add(wait).UnixMicro())
		if !r.Pause(ctx, wait+rand.N(wait/10+1)) {
			return context.Cause(ctx)
		}
	}
	return err
}

// InTurn makes a call that comes before a backup, and makes it again as long as
// the server is busy.
func InTurn(ctx context.Context, cfg Config, call func() error) error {
	cfg.setDefaults()
	return (&run{Config: cfg}).first(ctx, call)
}

// first is inTurn before there is any progress to tell but the wait.
func (r *run) first(ctx context.Context, call func() error) error {
	defer r.report(ctx, func() wire.Progress { return wire.Progress{Waits: r.waits()} })()
	return r.inTurn(ctx, call)
}

// Await returns when the server lets a backup begin, or fails. Whoever has
// something to do before a backup and after it calls it first, so that the
// backup does not wait in between.
func Await(ctx context.Context, cfg Config) error {
	cfg.setDefaults()
	r := &run{Config: cfg}
	return r.begin(ctx)
}

// busyFor is how long a busy server asked to wait.
func busyFor(err error) time.Duration {
	wait := time.Minute
	var said *wire.Refusal
	if errors.As(err, &said) && said.After > 0 {
		wait = said.After
	}
	return min(wait, longestBusy)
}

// waits is in how many minutes the backup goes on that the server lets wait, 0
// when it does not.
func (r *run) waits() int64 {
	if r.waiting.Load() == 0 {
		return 0
	}
	left := time.UnixMicro(r.goesOn.Load()).Sub(r.Now())
	return max(int64((left+time.Minute-1)/time.Minute), 1)
}
