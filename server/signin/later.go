package signin

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

const (
	maxLater = 128                   // that wait
	maxOfOne = 32                    // of them from one connection: who floods us shuts out nobody else
	spread   = 50 * time.Millisecond // before each is done
	doWithin = 30 * time.Second

	settleEvery = 5 * time.Millisecond
	settleLooks = 1000
)

// queue is what is done after an answer, so that its time tells nothing: one
// after the other, in the order of the questions.
type queue struct {
	mu      sync.Mutex
	waiting []task
	busy    bool
	work    sync.WaitGroup
}

// task is something to do that somebody asked for from a host.
type task struct {
	host string
	do   func(context.Context) error
}

// full reports whether no more can wait that a host asks for.
func (q *queue) full(host string) bool {
	same := 0
	for _, t := range q.waiting {
		if t.host == host {
			same++
		}
	}
	return len(q.waiting) >= maxLater || same >= maxOfOne
}

// later has f done after the answer. When too much waits, whoever asks is told
// that the server is busy.
func (g *Gate) later(ctx context.Context, from access.Caller, f func(context.Context) error) error {
	// What could not be done now would be lost, and its mail awaited in vain.
	if err := g.DB.Read(ctx, func(*db.Tx) error { return nil }); err != nil {
		return err
	}
	q := &g.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	host := host(from.IP)
	if q.full(host) {
		return errs.Of(errs.ServerBusy, "n", 1)
	}
	q.waiting = append(q.waiting, task{host, f})
	if !q.busy {
		q.busy = true
		q.work.Go(g.work)
	}
	return nil
}

func (g *Gate) work() {
	q := &g.queue
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		if g.padTo() > 0 {
			// Nor does the next answer tell, which the database may keep waiting.
			time.Sleep(rand.N(spread))
		}
		ctx, cancel := context.WithTimeout(context.Background(), doWithin)
		if err := next.do(ctx); err != nil {
			g.log().Error("doing what was asked for", "error", err)
		}
		cancel()
	}
}

// settle waits until what was asked for before has been done, or for a while
// when there is always more.
func (g *Gate) settle(ctx context.Context) error {
	for range settleLooks {
		g.queue.mu.Lock()
		busy := g.queue.busy
		g.queue.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleEvery):
		}
	}
	return nil
}

// Wait returns when all that was asked for is done. Nobody asks any more when a
// server stops.
func (g *Gate) Wait() { g.queue.work.Wait() }
