package localui

import (
	"net/http"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/web"
	"github.com/backstay/backstay/wire"
)

const besideAt = "/restore/beside"

// besideLine says that the files of the computer which this one replaced come
// back, or can.
type besideLine struct {
	Sign    web.Sign
	Offered bool // the user has to begin it
}

// besideOf is the line of a device, nil when nothing comes back and nothing can.
func besideOf(p *locale.Printer, s agent.Standing) *besideLine {
	if s.Live != nil && s.Live.Locked {
		return nil
	}
	if name := s.Offered(); name != "" {
		return &besideLine{web.Sign{Sign: "idle", Icon: "arrow-back-up", Text: p.T("window.beside.offered", "name", web.Visible(name))}, true}
	}
	r := s.Restore
	if r == nil || r.State == wire.RestoreDone || r.State == wire.RestoreCancelled {
		return nil
	}
	now := agent.RestoreProgress(r)
	args := []any{"name", web.Visible(r.Device), "files", now.Files, "total", now.TotalFiles, "bytes", p.Bytes(now.Bytes), "total_bytes", p.Bytes(now.TotalBytes),
		"why", p.T("cli.restore.beside.unknown")}
	if e := r.Failure(); e != nil {
		args[len(args)-1] = p.Error(e)
	}
	line := &besideLine{Sign: web.Sign{Sign: "idle", Icon: "arrow-back-up", Text: p.T("cli.restore.beside."+r.State, args...)}}
	if r.State == wire.RestoreFailed {
		line.Sign.Sign = "warn"
	}
	return line
}

type besidePage struct {
	page
	Name string // of the other computer
}

// besidePage says what comes back, and where, before it is begun. It is for
// whoever has proved to be the user.
func (w *Window) besidePage(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	b := &besidePage{page: p, Name: s.Offered()}
	if b.Name == "" {
		w.to(rw, r, "/restore")
		return
	}
	_, user, err := w.who(s.Device)
	if err != nil || user == nil {
		w.showUnlock(rw, r, p, s, besideAt, err)
		return
	}
	b.Title = p.Printer().T("window.beside.title", "name", web.Visible(b.Name))
	w.site.Render(rw, r, http.StatusOK, "beside", b)
}

// bringBack begins it. The agent does it, in this window or outside.
func (w *Window) bringBack(rw http.ResponseWriter, r *http.Request, p page, s agent.Standing) {
	_, user, err := w.who(s.Device)
	if err != nil || user == nil {
		w.showUnlock(rw, r, p, s, besideAt, err)
		return
	}
	ctx, cancel := hurried(r)
	defer cancel()
	begun, err := agent.BeginRestore(ctx, w.cfg.State, user, nil)
	switch {
	case errs.KindOf(err) == errs.Unauthenticated: // the password was changed, say
		w.reading.mu.Lock()
		w.reading.shut()
		w.reading.mu.Unlock()
		w.showUnlock(rw, r, p, s, besideAt, err)
	case err != nil:
		w.refuse(rw, r, "/", err)
	default:
		w.site.Done(rw, r, w.base+"/", web.Flash{Key: "window.beside.begun", Args: []any{"name", web.Visible(begun.Device)}})
	}
}
