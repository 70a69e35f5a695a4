package localui

import (
	"context"
	"net/http"
	"sync"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/wire"
)

// ready is an activation that ended well, as its last page tells it.
type ready struct {
	Choice string
	Server string
	Wanted string // the name that was asked for, with wire.Add
	Brings bool   // files of a computer that was replaced come back
	Device *state.Device

	left  *int64 // nil: without limit
	known bool   // it was said

	mu      sync.Mutex
	folders []agent.FolderSize
	counted bool
	err     error
}

// readQuota asks how much room there is. That it is not known is no reason to
// stop.
func (m *ready) readQuota(ctx context.Context, c *wire.Client, activation string) {
	p, err := c.PreviewActivation(ctx, wire.PreviewActivation{Activation: activation, Choice: wire.Add})
	m.left, m.known = p.LeftBytes, err == nil
}

// measure counts, on the side, what there is to back up.
func (m *ready) measure(st *state.State) {
	go func() {
		err := agent.FolderSizes(context.Background(), st, func(list []agent.FolderSize) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.folders = list
		})
		m.mu.Lock()
		defer m.mu.Unlock()
		m.counted, m.err = true, err
	}()
}

type readyPage struct {
	page
	Choice, Server string
	Device         *state.Device
	Renamed        string // the name that was taken, "" when none was
	Brings         bool
	Folders        []agent.FolderSize
	Counted        bool
	Known          bool   // the quota
	Left           *int64 // nil: without limit
	Barred         barred
	After          string // what becomes of the backups when the window is closed
}

// Files and Bytes are what all folders have together.
func (p *readyPage) Files() (n int64) {
	for _, f := range p.Folders {
		n += f.Files
	}
	return n
}

// Bytes is as Files.
func (p *readyPage) Bytes() (n int64) {
	for _, f := range p.Folders {
		n += f.Bytes
	}
	return n
}

func (w *Window) readyPage(rw http.ResponseWriter, r *http.Request) {
	made := w.now().ready
	if made == nil {
		w.to(rw, r, "/")
		return
	}
	p := &readyPage{page: w.step(rw, r, "window.ready", 5, ""), Choice: made.Choice, Server: made.Server, Device: made.Device,
		Known: made.known, Left: made.left, After: w.after(r.Context()), Brings: made.Brings,
		Barred: barredIn(agent.Listed(agent.InForce(w.cfg.State)))}
	if made.Choice == wire.Add && made.Wanted != made.Device.Name {
		p.Renamed = made.Wanted
	}
	made.mu.Lock()
	p.Folders, p.Counted = append(p.Folders, made.folders...), made.counted
	err := made.err
	made.mu.Unlock()
	w.shows(rw, r, "ready", &p.page, p, err, nil)
}
