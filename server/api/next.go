package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

// next is the long poll: it answers as soon as there is something to tell, at
// the latest after as long as the device wants to wait. A device that waits
// costs nothing but its connection; Run wakes it. It looks at the token itself,
// with the look for news: for idle devices that is most of what a server does.
func (a *API) next(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	wait, err := number(r, "wait")
	if err != nil {
		return err
	}
	p := &poll{r: r, by: by} // not on the stack, which should be small while it waits
	if p.known.After, err = number(r, "after"); err != nil {
		return err
	}
	query := r.URL.Query()
	p.known.Locked, p.known.Offer = query.Get("locked") == "true", query.Get("offer")
	if err := a.ask(p); err != nil {
		return err
	}
	if wait > 0 && !p.news {
		err := a.waiting.wait(r.Context(), p.by.Device, wait, func() (bool, error) {
			err := a.ask(p)
			return p.news, err
		})
		if err != nil {
			return err
		}
	}
	return answer(w, http.StatusOK, p.next)
}

// poll is a long poll.
type poll struct {
	r     *http.Request
	by    access.Caller
	known wire.Known
	next  wire.Next
	news  bool // next is worth an answer
}

// ask looks whose token a poll shows, and whether there is news for that device.
func (a *API) ask(p *poll) error {
	ctx := p.r.Context()
	err := a.DB.Peek(ctx, func(tx *db.Tx) (err error) {
		if p.by, err = devices.Verify(ctx, tx, bearer(p.r), p.by); err == nil {
			p.next, p.news, err = devices.Next(ctx, tx, p.by, p.known)
		}
		return err
	})
	access.WithCaller(ctx, p.by) // the log of requests takes notice
	return refusalOf(err, p.by, access.Backup)
}

// held keeps a device waiting that is stopped and knows it, for as long as it
// wants to wait and that is so; then it is why. Nothing of that is recorded: it
// was when the device was told first.
func (a *API) held(r *http.Request, in wire.TokenRequest) error {
	wait, err := number(r, "wait")
	if err != nil || wait == 0 {
		return err
	}
	var refused error
	look := func() (done bool, err error) {
		refused, err = devices.Held(r.Context(), a.DB, a.Keys, a.Vault.StoreID(), devices.ID(in.DeviceID), in.Challenge, in.Signature)
		return refused == nil, err
	}
	done, err := look()
	if err == nil && !done {
		err = a.waiting.wait(r.Context(), devices.ID(in.DeviceID), wait, look)
	}
	if err != nil {
		return err
	}
	return refused
}

// number is a number in the query, 0 when it is not there.
func number(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errs.New(errs.Invalid, "request.body")
	}
	return n, nil
}

// Waiting is how many devices wait in a long poll.
func (a *API) Waiting() int { return a.waiting.count() }

const (
	// lookEvery is how often the database is asked for news, once for all that
	// wait.
	lookEvery = 2 * time.Second

	// lookBack is how much older than the last look news may be: transactions
	// become visible in the order of their ends, and the clocks of several
	// servers differ.
	lookBack = 15 * time.Second
)

// Run wakes waiting devices when something is to be told them, whichever server
// it was done on. When ctx ends, all who wait are answered, and Run returns.
func (a *API) Run(ctx context.Context) {
	defer close(a.waiting.stop)
	go a.waiting.endOver()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	told := map[devices.ID]time.Time{}
	since := a.DB.Now()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now := a.DB.Now()
		if a.waiting.count() == 0 {
			// Whoever comes asks first.
			since = now
			clear(told)
			continue
		}
		if err := a.look(ctx, since.Add(-lookBack), told); err != nil {
			if !failed && ctx.Err() == nil {
				a.Log.ErrorContext(ctx, "looking for news for waiting devices", "error", err)
			}
			failed = true
			continue
		}
		failed, since = false, now
	}
}

// look wakes the devices that something changed for after since, but for what
// they were told already.
func (a *API) look(ctx context.Context, since time.Time, told map[devices.ID]time.Time) error {
	var changes []devices.Change
	err := a.DB.Peek(ctx, func(tx *db.Tx) (err error) {
		changes, err = devices.Changed(ctx, tx, since)
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range changes {
		if at, ok := told[c.Device]; ok && !c.At.After(at) {
			continue
		}
		// Whoever begins to wait in this moment may have asked just before the
		// change, and is woken by the next look.
		if a.waiting.wake(c.Device) {
			told[c.Device] = c.At
		}
	}
	for device, at := range told {
		if at.Before(since) {
			delete(told, device)
		}
	}
	return nil
}
