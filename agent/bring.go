package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/restore"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

const (
	askedEvery = 5 * time.Second // a command may want something of the restore
	roomPause  = 5 * time.Minute // until the disk may have room again
)

// comingBack is the restore beside the backups, as it is in the state folder.
type comingBack struct {
	mu sync.Mutex
	r  *state.Restore // nil when there is none; replaced, never changed
}

func (c *comingBack) get() *state.Restore {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r
}

// begin remembers another restore, on the disk first.
func (c *comingBack) begin(st *state.State, r *state.Restore) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := st.SetRestore(r); err != nil {
		return err
	}
	c.r = r
	return nil
}

// change changes what is remembered of the restore id, on the disk first.
func (c *comingBack) change(st *state.State, id string, change func(*state.Restore)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.r == nil || c.r.ID != id {
		return errAsked
	}
	next := *c.r
	next.Parts = append([]state.RestorePart(nil), c.r.Parts...)
	change(&next)
	if err := st.SetRestore(&next); err != nil {
		return err
	}
	c.r = &next
	return nil
}

var (
	errCancelled = errors.New("the restore was cancelled")
	errAsked     = errors.New("something else is wanted of the restore") // which is heard next
)

// keepRestoring brings back what the computer had that this one replaced, beside
// the backups, until ctx ends.
func (a *Agent) keepRestoring(ctx context.Context) {
	wait := firstPause
	var next time.Time
	for ctx.Err() == nil {
		heard, err := a.hearAsked()
		if err != nil {
			a.cfg.Log.Error("what is wanted of the restore cannot be read", "err", err)
		}
		if heard {
			wait, next = firstPause, time.Time{}
		}
		r := a.back.get()
		if r != nil && !over(r) && r.State != wire.RestoreFailed && !a.now().Before(next) {
			err := a.bringBack(ctx, r)
			switch {
			case ctx.Err() != nil:
				return
			case errs.Is(err, errs.LocalDiskFull):
				next = a.now().Add(roomPause / time.Duration(a.cfg.pace))
			case err != nil:
				next = a.now().Add(wait / time.Duration(a.cfg.pace))
				wait = min(2*wait, lastPause)
			}
			a.settle(r.ID, err)
		}
		if !a.pause(ctx, askedEvery) {
			return
		}
	}
}

// hearAsked takes over what a command wants of the restore.
func (a *Agent) hearAsked() (heard bool, err error) {
	asked, err := a.state.RestoreAsked()
	if err != nil || asked == nil {
		return false, err
	}
	r := a.back.get()
	switch {
	case asked.State == wire.RestoreCancelled:
		if r != nil && r.ID == asked.ID && !over(r) {
			a.settle(r.ID, errCancelled)
		}
	case r != nil && r.ID == asked.ID && len(r.Parts) > 0 && !over(r):
		err = a.back.change(a.state, r.ID, func(r *state.Restore) {
			r.Token, r.Expires, r.State, r.Note = asked.Token, asked.Expires, wire.RestoreRunning, errs.Note{}
		})
	default:
		if r != nil && r.ID != asked.ID {
			a.drop(r)
		}
		err = a.back.begin(a.state, asked)
	}
	if err != nil {
		return false, err
	}
	return true, a.state.AskRestore(nil)
}

// bringBack goes on with the restore until it is done or something ends it.
func (a *Agent) bringBack(ctx context.Context, r *state.Restore) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for a.pause(ctx, askedEvery) {
			if asked, err := a.state.RestoreAsked(); err == nil && asked != nil {
				cancel(errAsked)
			}
		}
	}()
	err := a.back.change(a.state, r.ID, func(r *state.Restore) { r.State, r.Note = wire.RestoreRunning, errs.Note{} })
	if err != nil {
		return err
	}
	a.mindOthers(ctx)
	if err := a.bringParts(ctx, r); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	a.cfg.Log.Info("all that could come back is back")
	err = a.back.change(a.state, r.ID, func(r *state.Restore) { r.State, r.Ended, r.Token = wire.RestoreDone, a.now(), "" })
	if err == nil {
		a.noteBack(a.back.get())
	}
	return err
}

func (a *Agent) bringParts(ctx context.Context, r *state.Restore) error {
	local, err := a.adopt(ctx, r)
	if err != nil {
		return err
	}
	defer local.Close()
	r = a.back.get()
	a.cfg.Log.Info("files come back", "from", r.Device, "snapshot", r.Snapshot, "parts", len(r.Parts))
	for i := range r.Parts {
		if r.Parts[i].Done {
			continue
		}
		if err := a.bringPart(ctx, r, i, local); err != nil {
			return err
		}
	}
	return nil
}

// bringPart brings one part back, from where it was.
func (a *Agent) bringPart(ctx context.Context, r *state.Restore, i int, local *state.Previous) error {
	part := r.Parts[i]
	scope, err := backup.ParseUUID(r.Scope)
	if err != nil {
		return err
	}
	cfg := restore.Config{
		Catalog: catalog.NewReader(local.Root, local.Fetch), Fetch: a.client.Granted(r.Token).Fetch(a.device.Load().User, scope),
		Base: string(part.From), Target: string(part.To), Name: r.ID + "-", After: string(part.At), Privileged: os.Geteuid() == 0, Now: a.cfg.Now,
		Skip: func(path string) bool { return partOf(r.Parts, path) != i },
	}
	if len(part.Name) > 0 {
		cfg.Paths = []string{part.Path()}
	}
	said := reporter{path: a.state.RestoreReport()}
	cfg.Checkpoint = func(done string, now restore.Result) error {
		failed, err := said.tell(done, now)
		if err != nil {
			return err
		}
		return a.checkpoint(r.ID, i, part, done, failed, now)
	}
	if _, err = restore.Run(ctx, cfg); err != nil {
		return err
	}
	if err := a.aside(part); err != nil {
		return err
	}
	return a.back.change(a.state, r.ID, func(r *state.Restore) { r.Parts[i].Done = true })
}

// checkpoint remembers how far a part is. before is as it was when this run
// began, failed are those that it found since.
func (a *Agent) checkpoint(id string, i int, before state.RestorePart, done string, failed [][]byte, now restore.Result) error {
	err := a.back.change(a.state, id, func(r *state.Restore) {
		p := &r.Parts[i]
		p.At, p.Failed, p.Renamed = []byte(done), slices.Concat(before.Failed, failed), before.Renamed+now.RenamedCount
		p.Back, p.Got = before.Back+now.Files, before.Got+now.Bytes
	})
	if err == nil && now.Progress.Failed > int64(len(now.Failed)) {
		// More than can be listed, and what is not listed would be lost from the backups.
		err = errs.New(errs.Local, "restore.beside.many", "n", now.Progress.Failed)
	}
	return err
}

// aside notes where a part is that has no place of its own here, and has that
// backed up as far as users may say what is.
func (a *Agent) aside(p state.RestorePart) error {
	if !p.Aside {
		return nil
	}
	if InForce(a.state).Settings.UserMay.Folders {
		if err := a.Change(control.Change{Add: [][]byte{[]byte(p.Place())}}); err != nil {
			return err
		}
	}
	return appendReport(a.state.RestoreReport(), []Reported{{Kind: ReportAside, Path: []byte(p.Path()), To: []byte(p.Place())}})
}

// settle remembers what ended a try that did not bring all back, nil for nothing.
func (a *Agent) settle(id string, err error) {
	if err == nil || errors.Is(err, errAsked) {
		return
	}
	to, why := afterFailure(err), errs.NoteOf(err)
	a.cfg.Log.Warn("files do not come back for now", "state", to, "err", err)
	err = a.back.change(a.state, id, func(r *state.Restore) {
		if r.State, r.Note = to, why; over(r) {
			r.Ended, r.Token = a.now(), ""
		}
	})
	if err != nil {
		a.cfg.Log.Error("the restore cannot be remembered", "err", err)
	} else if to != wire.RestoreWaiting {
		a.noteBack(a.back.get())
	}
}

// afterFailure is the state of a restore that a failure stopped: most pass.
func afterFailure(err error) string {
	e := errs.Find(err)
	switch {
	case errors.Is(err, errCancelled):
		return wire.RestoreCancelled
	case e == nil || e.Code == errs.LocalDiskFull:
		return wire.RestoreWaiting
	case e.Code == errs.DeviceDeactivated && (e.Args["state"] == "replaced" || e.Args["state"] == "undone"), e.Key == "device.restore.undone":
		return wire.RestoreCancelled // another computer is in the place of this one
	case e.Kind == errs.Unauthenticated, e.Code == errs.NoSuchSnapshot, e.Code == errs.Mismatch, strings.HasPrefix(e.Key, "restore."):
		return wire.RestoreFailed
	}
	return wire.RestoreWaiting
}

// drop drops the catalog of what came back: nothing of it is needed any more.
func (a *Agent) drop(r *state.Restore) {
	set, err := localSet(r)
	if err == nil {
		err = a.state.Forget(set)
	}
	if err != nil {
		a.cfg.Log.Error("the catalog of what came back cannot be dropped", "err", err)
	}
}

// restoring is what the server is told of the restore, nil when it knows all.
func (a *Agent) restoring() *wire.Restoring {
	r := a.back.get()
	if r == nil || r.Told {
		return nil
	}
	return &wire.Restoring{ID: r.ID, State: r.State, Code: string(r.Code), Progress: RestoreProgress(r)}
}

// toldRestore notes that the server knows how the restore ended.
func (a *Agent) toldRestore(s *wire.Restoring) {
	r := a.back.get()
	if s == nil || r == nil || r.ID != s.ID || r.State != s.State || !over(r) {
		return
	}
	if err := a.back.change(a.state, r.ID, func(r *state.Restore) { r.Told = true }); err != nil {
		a.cfg.Log.Error("the restore cannot be remembered", "err", err)
	}
}

// RestoreProgress is how much of a restore is back.
func RestoreProgress(r *state.Restore) (p wire.Progress) {
	for _, part := range r.Parts {
		p.Files += part.Back
		p.Bytes += part.Got
		p.TotalFiles += part.Files
		p.TotalBytes += part.Bytes
		p.Errors += int64(len(part.Failed))
	}
	return p
}

// parent is the folder that a path of this system is in.
func parent(path string) string { return filepath.Dir(path) }

// The kinds of lines in the report.
const (
	ReportFailed  = "failed"
	ReportRenamed = "renamed"
	ReportAside   = "aside"
)

// Reported is a line of the report on a restore: something that is not as it was.
type Reported struct {
	Kind    string           `json:"kind"`
	Path    []byte           `json:"path"`              // on the other computer
	To      []byte           `json:"to,omitempty"`      // where it is, or what was in its way is called now
	Failure *control.Failure `json:"failure,omitempty"` // why it did not come back
}

// reporter writes down what of a restore is not as it was, each thing once.
type reporter struct {
	path            string
	failed, renamed int
}

// tell writes what is new, and returns all that failed up to done. What failed
// behind that is tried again.
func (r *reporter) tell(done string, now restore.Result) (failed [][]byte, err error) {
	var lines []Reported
	for i, p := range now.Failed {
		if catalog.ComparePaths(p.Path, done) > 0 {
			break
		}
		failed = append(failed, []byte(p.Path))
		if i >= r.failed {
			lines = append(lines, Reported{Kind: ReportFailed, Path: []byte(p.Path), Failure: control.Fail(p.Err)})
		}
	}
	for _, x := range now.Renamed[min(r.renamed, len(now.Renamed)):] {
		lines = append(lines, Reported{Kind: ReportRenamed, Path: []byte(x.Path), To: []byte(x.Name)})
	}
	r.failed, r.renamed = len(failed), len(now.Renamed)
	return failed, appendReport(r.path, lines)
}

func appendReport(path string, lines []Reported) error {
	if len(lines) == 0 {
		return nil
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("writing the report of what came back: %w", err)
	}
	_, err = f.Write(text.Bytes())
	return errors.Join(err, f.Close())
}
