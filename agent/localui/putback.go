package localui

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/web/listing"
	"github.com/backstay/backstay/wire"
)

const (
	maxChosen  = 10_000
	shownItems = 12 // of what was chosen
)

// picked is what somebody wants back, until it is decided where to.
type picked struct {
	from   *shown // nil for nothing
	back   string // the page where it was chosen, below the base
	items  []listing.Item
	paths  []string
	target string // a folder that was browsed for
}

// choose takes what was ticked in a snapshot. Each path must be one of it.
func (w *Window) choose(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	hash := r.PathValue("snapshot")
	back := "/restore/at/" + url.PathEscape(hash) + "?" + url.Values{"in": {r.PostFormValue("in")}}.Encode()
	ctx, cancel := hurried(r)
	defer cancel()
	o, ok, err := w.openSnapshot(ctx, s.Device, hash)
	if !ok {
		w.showUnlock(rw, r, p, s, back, err)
		return
	}
	var c picked
	if err == nil {
		c, err = pickedOf(ctx, p, o, r.PostForm["e"])
	}
	if err != nil {
		w.refuse(rw, r, back, err)
		return
	}
	c.back = back
	w.pick(func(p *picked) { *p = c })
	w.to(rw, r, "/restore/to")
}

// pick changes what somebody wants back.
func (w *Window) pick(change func(*picked)) {
	w.reading.mu.Lock()
	defer w.reading.mu.Unlock()
	change(&w.reading.picked)
}

// picked returns what somebody wants back, and otherwise sends them to where the
// choice begins.
func (w *Window) picked(rw http.ResponseWriter, r *http.Request) (c picked, ok bool) {
	w.pick(func(p *picked) { c = *p })
	if c.from == nil {
		w.to(rw, r, "/restore")
	}
	return c, c.from != nil
}

func pickedOf(ctx context.Context, p page, o *shown, tokens []string) (picked, error) {
	c := picked{from: o}
	if len(tokens) == 0 || len(tokens) > maxChosen {
		return c, errs.New(errs.Invalid, "window.restore.nothing")
	}
	for _, t := range tokens {
		e, err := o.Catalog.Lookup(ctx, untoken(t))
		if err != nil {
			return c, err
		}
		x := listing.Of(e, p.Printer())
		x.In = fromHome(e.Folder)
		c.items, c.paths = append(c.items, x), append(c.paths, e.Path())
	}
	return c, nil
}

type targetPage struct {
	page
	From  *shown
	Items []listing.Item
	More  int64 // items that are not listed
	Own   bool  // another folder than where things were is meant
	Typed string
}

// targetPage asks where what was chosen goes.
func (w *Window) targetPage(rw http.ResponseWriter, r *http.Request, p page, _ agent.Standing) {
	w.showTarget(rw, r, p, "", nil)
}

func (w *Window) showTarget(rw http.ResponseWriter, r *http.Request, p page, typed string, err error) {
	c, ok := w.picked(rw, r)
	if !ok {
		return
	}
	p.Title, p.Back = p.Printer().T("window.restore.to"), c.back
	t := &targetPage{page: p, From: c.from, Items: c.items[:min(len(c.items), shownItems)], More: int64(max(0, len(c.items)-shownItems))}
	t.Own = c.target != "" || typed != ""
	switch {
	case typed != "":
		t.Typed = typed
	case c.target != "":
		t.Typed = fromHome(c.target)
	default:
		t.Typed = fromHome(filepath.Join(homeFolder(), "Restored-"+p.Now().Format(time.DateOnly)))
	}
	w.shows(rw, r, "target", &t.page, t, err, map[string]string{"window.restore.target": "folder"})
}

// browseTarget shows folders to choose one of them as the place.
func (w *Window) browseTarget(rw http.ResponseWriter, r *http.Request, p page, _ agent.Standing) {
	p.Title, p.Back = p.Printer().T("window.restore.to.browse"), "/restore/to"
	w.browse(rw, r, &browsePage{page: p, Post: "/restore/folder", Choose: "window.restore.to.this"})
}

func (w *Window) takeTarget(rw http.ResponseWriter, r *http.Request, _ page, _ agent.Standing) {
	w.pick(func(p *picked) { p.target = untoken(r.PostFormValue("token")) })
	w.to(rw, r, "/restore/to")
}

// putBack begins to restore what was chosen.
func (w *Window) putBack(rw http.ResponseWriter, r *http.Request, p page, _ agent.Standing) {
	c, ok := w.picked(rw, r)
	if !ok {
		return
	}
	target, folder := "", r.PostFormValue("folder")
	if r.PostFormValue("where") == "folder" {
		switch target = typed(folder); folder {
		case "":
			w.showTarget(rw, r, p, folder, errs.New(errs.Invalid, "window.restore.target"))
			return
		case web.Visible(fromHome(c.target)):
			target = c.target // which may have a name that no field can show
		}
	}
	if err := w.begin(c.from, agent.Wanted{Paths: c.paths, Target: target}); err != nil {
		w.refuse(rw, r, "/restore", err)
		return
	}
	w.pick(func(p *picked) { *p = picked{} })
	w.to(rw, r, "/restore")
}

// job is a restore of this window's: one that runs, or the last one.
type job struct {
	of     wire.Snapshot
	wanted agent.Wanted
	began  time.Time
	stop   context.CancelFunc
	ended  chan struct{}

	mu           sync.Mutex
	now          restore.Progress
	files, bytes int64 // that are wanted, 0 until they are counted
	result       *restore.Result
	done         state.Activity // once ended is closed
}

func (j *job) runs() bool {
	select {
	case <-j.ended:
		return false
	default:
		return true
	}
}

// begin starts a restore, which goes on while pages come and go. There is one
// at a time.
func (w *Window) begin(from *shown, wanted agent.Wanted) error {
	m := &w.reading
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.job != nil && m.job.runs() {
		return errs.New(errs.Conflict, "window.restore.runs")
	}
	ctx, stop := context.WithCancel(m.ctx)
	j := &job{of: from.Snapshot, wanted: wanted, began: w.cfg.Now(), stop: stop, ended: make(chan struct{})}
	m.job = j
	go func() {
		defer close(j.ended)
		var counts sync.WaitGroup
		counts.Go(func() { j.count(ctx, from.Opened) })
		j.run(ctx, w, from.Opened)
		stop()
		counts.Wait()
	}()
	return nil
}

func (j *job) count(ctx context.Context, o *agent.Opened) {
	files, bytes, err := j.wanted.Size(ctx, o)
	if err != nil {
		return // what is there to do is not known; that it cannot be read, the restore says
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.files, j.bytes = files, bytes
}

func (j *job) run(ctx context.Context, w *Window, o *agent.Opened) {
	result, err := agent.PutBack(ctx, o, j.wanted, func(now restore.Progress) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.now = now
	})
	done := agent.RestoreDone(ctx, j.of.Snapshot, j.wanted.Target, j.began, w.cfg.Now(), result, err)
	if err := w.cfg.State.AddActivity(done); err != nil {
		w.cfg.Log.Error("the restore cannot be listed among what was done", "err", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.result, j.done = result, done
}

// last is the restore of this window, nil when there was none.
func (w *Window) last() *job {
	w.reading.mu.Lock()
	defer w.reading.mu.Unlock()
	return w.reading.job
}

// brings reports whether a restore runs that would end with the window.
func (w *Window) brings() bool {
	j := w.last()
	return j != nil && j.runs()
}

// jobCard is a restore as the page shows it.
type jobCard struct {
	Runs         bool
	From         time.Time
	Where        string
	Now          restore.Progress
	Files, Bytes int64
	Left         time.Duration
	Done         doneRow
	Renamed      []restore.Renamed
	Again        bool // it is worth it
}

// Share is how much is done, in thousandths.
func (c *jobCard) Share() int64 { return share(c.Now.Bytes, c.Bytes) }

func (w *Window) jobCard(p page) *jobCard {
	j := w.last()
	if j == nil {
		return nil
	}
	runs := j.runs()
	j.mu.Lock()
	defer j.mu.Unlock()
	c := &jobCard{Runs: runs, From: j.of.CommittedAt, Where: fromHome(j.wanted.Target), Now: j.now, Files: j.files, Bytes: j.bytes}
	if runs {
		c.Left = agent.TimeLeft(w.cfg.Now().Sub(j.began), c.Now.Bytes, c.Bytes)
		return c
	}
	c.Done = p.done(j.done)
	c.Renamed = j.result.Renamed[:min(len(j.result.Renamed), shownFaults)]
	c.Again = j.done.State != state.RunDone || j.done.Failed > 0
	return c
}

// endJob stops the restore that runs.
func (w *Window) endJob(rw http.ResponseWriter, r *http.Request, _ page, _ agent.Standing) {
	if j := w.last(); j != nil {
		j.stop()
		<-j.ended
	}
	w.to(rw, r, "/restore")
}

// againJob repeats a restore: what is back already is left as it is.
func (w *Window) againJob(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	j := w.last()
	if j == nil {
		w.to(rw, r, "/restore")
		return
	}
	ctx, cancel := hurried(r)
	defer cancel()
	o, ok, err := w.openSnapshot(ctx, s.Device, j.of.Hash)
	if !ok {
		w.showUnlock(rw, r, p, s, "/restore", err)
		return
	}
	if err == nil {
		err = w.begin(o, j.wanted)
	}
	if err != nil {
		w.refuse(rw, r, "/restore", err)
		return
	}
	w.to(rw, r, "/restore")
}

// dropJob takes the last restore off the page. It stays in the list of what was
// done.
func (w *Window) dropJob(rw http.ResponseWriter, r *http.Request, _ page, _ agent.Standing) {
	w.reading.mu.Lock()
	if j := w.reading.job; j != nil && !j.runs() {
		w.reading.job = nil
	}
	w.reading.mu.Unlock()
	w.to(rw, r, "/restore")
}
