package signin

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/backstay/backstay/errs"
)

const (
	maxLater = 128                   // that wait
	spread   = 50 * time.Millisecond // before each is done
	doWithin = 30 * time.Second
)

// queue is what is done after an answer, so that its time tells nothing: one
// after the other, in the order of the questions.
type queue struct {
	mu      sync.Mutex
	waiting []func(context.Context) error
	busy    bool
	work    sync.WaitGroup
}

// later has f done after the answer. When too much waits, everybody is told
// that the server is busy.
func (g *Gate) later(f func(context.Context) error) error {
	q := &g.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxLater {
		return errs.Of(errs.ServerBusy, "n", 1)
	}
	q.waiting = append(q.waiting, f)
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
		f := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		if g.padTo() > 0 {
			// Nor does the next answer tell, which the database may keep waiting.
			time.Sleep(rand.N(spread))
		}
		ctx, cancel := context.WithTimeout(context.Background(), doWithin)
		if err := f(ctx); err != nil {
			g.log().Error("doing what was asked for", "error", err)
		}
		cancel()
	}
}

// Wait returns when all that was asked for is done. Nobody asks any more when a
// server stops.
func (g *Gate) Wait() { g.queue.work.Wait() }
