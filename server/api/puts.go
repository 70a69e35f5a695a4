package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/backstay/backstay/server/access"
)

// puts are the puts that are being received, on this server. A connection that
// was cut far away looks like a slow one here, for up to a minute. The device is
// back before that, and asks what it need not send again: so it says which puts
// it has given up, and what of them has arrived is decided before it is answered.
type puts struct {
	mu   sync.Mutex
	open map[access.DeviceID]map[*arriving]bool
}

// arriving is a put that is being received.
type arriving struct {
	id      string
	control *http.ResponseController // of its body, while it is open
	over    chan struct{}            // closed when it is decided what of it counts
}

// maxPuts is how many puts a device has open at once. Its client has two, and some
// that it gave up.
const maxPuts = 8

// begin notes a put of a device; nil when that has too many.
func (p *puts) begin(device access.DeviceID, id string, control *http.ResponseController) *arriving {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open[device]) >= maxPuts {
		return nil
	}
	if p.open == nil {
		p.open = map[access.DeviceID]map[*arriving]bool{}
	}
	if p.open[device] == nil {
		p.open[device] = map[*arriving]bool{}
	}
	a := &arriving{id: id, control: control, over: make(chan struct{})}
	p.open[device][a] = true
	return a
}

func (p *puts) end(device access.DeviceID, a *arriving) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open[device], a)
	if len(p.open[device]) == 0 {
		delete(p.open, device)
	}
	close(a.over)
}

// giveUp ends a device's puts of a name, or all when id is empty, and returns when
// it is decided what of them counts.
func (p *puts) giveUp(ctx context.Context, device access.DeviceID, id string) error {
	// Whatever still arrives moves the deadline, so once may not be enough.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for _, a := range p.of(device, id) {
		for p.cut(device, a) {
			select {
			case <-a.over:
			case <-again.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (p *puts) of(device access.DeviceID, id string) (list []*arriving) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.open[device] {
		if id == "" || a.id == id {
			list = append(list, a)
		}
	}
	return list
}

// cut ends the body of a put; false when the put is over. Its connection may be
// another request's then.
func (p *puts) cut(device access.DeviceID, a *arriving) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open[device][a] {
		return false
	}
	a.control.SetReadDeadline(time.Unix(1, 0))
	return true
}
