package localui

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

const (
	snapshotPart = 50               // of the snapshots, on a page
	patience     = 20 * time.Second // of a page, with the server
	openFor      = 15 * time.Minute // without a look at the files, they are closed again
)

// reading is what the user of this window looks at of their backups, and what
// comes back of it. The files are open to whoever has proved, by the password,
// to be that user, and for as long as they look at them.
type reading struct {
	ctx context.Context // ends with the window

	mu     sync.Mutex
	device *state.Device
	client *wire.Client
	user   *wire.User // nil while nobody has proved anything
	secret string     // the password, while the code of a second factor is asked for
	opened map[string]*shown
	picked picked
	used   time.Time

	job *job
}

// begin has restores end with the window.
func (m *reading) begin(ctx context.Context) { m.ctx = ctx }

// end waits for the restore that runs, which stops when the window does.
func (m *reading) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.job != nil {
		<-m.job.ended
	}
	if m.shut(); m.client != nil {
		m.client.Close()
	}
}

// who returns the client of the device, and its user if that one has proved to
// be here.
func (w *Window) who(d *state.Device) (*wire.Client, *wire.User, error) {
	m := &w.reading
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.device == nil || m.device.ID != d.ID || m.device.Server != d.Server {
		m.shut()
		c, err := agent.Connect(w.cfg.State, d, w.cfg.Log)
		if err != nil {
			return nil, nil, err
		}
		if m.client != nil {
			m.client.Close()
		}
		m.device, m.client = d, c
	}
	m.used = w.cfg.Now()
	return m.client, m.user, nil
}

// shut closes the files. The caller holds the lock.
func (m *reading) shut() {
	m.user, m.secret, m.opened, m.picked = nil, "", map[string]*shown{}, picked{}
}

// forget closes the files when nobody has looked at them for a while. A restore
// that runs keeps its own way to them.
func (w *Window) forget() {
	w.reading.mu.Lock()
	defer w.reading.mu.Unlock()
	if w.cfg.Now().Sub(w.reading.used) > openFor {
		w.reading.shut()
	}
}

// hurried is a context for what a page waits for.
func hurried(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(r.Context(), patience, errs.Of(errs.CannotConnect))
}

// snapshots are those of the device, the newest first.
func (w *Window) snapshots(r *http.Request, d *state.Device) ([]wire.Snapshot, error) {
	c, _, err := w.who(d)
	if err != nil {
		return nil, err
	}
	ctx, cancel := hurried(r)
	defer cancel()
	return c.Snapshots(ctx)
}

type restorePage struct {
	page
	Days  []day
	Pages web.Pages
	Job   *jobCard
	None  bool // there is no snapshot
}

// Clock is the time of a day.
func (p *restorePage) Clock(t time.Time) string { return p.Printer().Clock(t.In(p.Zone())) }

// day are the snapshots of one day.
type day struct {
	Date      string
	Snapshots []wire.Snapshot
}

// restorePage lists the snapshots by time, below what comes back or has come
// back last.
func (w *Window) restorePage(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	f := &restorePage{page: p, Job: w.jobCard(p)}
	list, err := w.snapshots(r, s.Device)
	f.None = err == nil && len(list) == 0
	if after := web.After(r); after != "" {
		list = list[slices.IndexFunc(list, func(x wire.Snapshot) bool { return x.Hash == after })+1:]
	}
	next := ""
	if len(list) > snapshotPart {
		list = list[:snapshotPart]
		next = list[snapshotPart-1].Hash
	}
	f.Pages = web.PagesOf(r, len(list), 0, next)
	for _, x := range list {
		date := p.Printer().Date(x.CommittedAt.In(p.Zone()))
		if n := len(f.Days); n == 0 || f.Days[n-1].Date != date {
			f.Days = append(f.Days, day{Date: date})
		}
		last := &f.Days[len(f.Days)-1]
		last.Snapshots = append(last.Snapshots, x)
	}
	w.shows(rw, r, "restore", &f.page, f, err, nil)
}

type unlockPage struct {
	page
	To    string // the page that is meant
	User  string
	Asked bool // for the code of a second factor; the password was right
}

// showUnlock asks for the password before files are shown.
func (w *Window) showUnlock(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing, to string, err error) {
	u := &unlockPage{page: p, To: to, User: s.Device.Username}
	w.reading.mu.Lock()
	u.Asked = w.reading.secret != ""
	w.reading.mu.Unlock()
	w.shows(rw, r, "unlock", &u.page, u, err, map[string]string{"factor.code": "code", "error.E110": "password"})
}

// unlock opens the backups to the user of this device.
func (w *Window) unlock(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	to := restorePath(r.PostFormValue("to"))
	c, _, err := w.who(s.Device)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	m := &w.reading
	m.mu.Lock()
	password, code := r.PostFormValue("password"), agent.PlainCode(r.PostFormValue("code"))
	if password == "" {
		password = m.secret
	}
	m.secret = ""
	m.mu.Unlock()
	ctx, cancel := hurried(r)
	defer cancel()
	user, err := c.Login(ctx, password, once(code))
	m.mu.Lock()
	switch {
	case m.client != c: // this computer has become another device meanwhile
	case err == nil:
		m.user = user
	case wire.NeedsCode(err):
		m.secret = password
	}
	m.mu.Unlock()
	switch {
	case err == nil:
		w.to(rw, r, to)
	case wire.NeedsCode(err) && code == "":
		w.showUnlock(rw, r, p, s, to, nil)
	default:
		w.showUnlock(rw, r, p, s, to, err)
	}
}

// once gives a code that was typed to who asks first.
func once(code string) wire.AskCode {
	return func(_ context.Context, why error) (string, error) {
		given := code
		if code = ""; given == "" {
			return "", why
		}
		return given, nil
	}
}
