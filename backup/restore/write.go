package restore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// writers is how many files are written at once: making small files is system
// calls, which two cores do nearly twice as fast as one.
const writers = 2

// writer makes everything of a window, one window after another. Folders and
// links are made in order on one goroutine, files by a few others; before a
// window ends, all its files are done.
type writer struct {
	r      *restorer
	in     *folder // where the writer is
	broken string  // the last folder that could not be entered, and why
	why    error

	jobs    chan func()
	pending sync.WaitGroup
	linked  []linkOp    // hard links to make when the window's files are there
	long    *fileWriter // a file that goes on in the next window
}

type linkOp struct {
	in *folder
	op *op
}

func (r *restorer) write(ctx context.Context, in <-chan *window, arenas chan<- []byte) error {
	w := &writer{r: r, in: r.top, jobs: make(chan func(), 64)}
	var workers sync.WaitGroup
	for range writers {
		workers.Go(func() {
			for job := range w.jobs {
				job()
			}
		})
	}
	defer workers.Wait()
	defer close(w.jobs)
	defer w.finish()
	defer w.abort()
	defer w.pending.Wait()
	for win := range in {
		if err := w.window(ctx, win); err != nil {
			return errors.Join(err, r.checkpoint())
		}
		if now := r.cfg.Now(); now.Sub(r.checked) >= checkpointEvery {
			if err := r.checkpoint(); err != nil {
				return err
			}
		}
		arenas <- win.arena
	}
	return errors.Join(r.stopped(ctx), r.checkpoint())
}

// checkpointEvery bounds what checkpoints cost: each brings all that was written
// onto the disk.
const checkpointEvery = 2 * time.Second

// checkpoint tells how far the restore is, once that is sure.
func (r *restorer) checkpoint() error {
	if r.cfg.Checkpoint == nil || r.reached == r.cfg.After && r.checked.IsZero() {
		return nil
	}
	if err := syncAll(r.top.dir); err != nil {
		return fmt.Errorf("bringing what was restored onto the disk: %w", localError(err))
	}
	r.checked = r.cfg.Now()
	r.mu.Lock()
	now := *r.result
	r.mu.Unlock()
	return r.cfg.Checkpoint(r.reached, now)
}

// abort gives up what was begun and not ended.
func (w *writer) abort() {
	if w.long != nil {
		w.long.abort()
	}
	for _, l := range w.linked {
		w.r.release(l.in)
	}
}

func (w *writer) window(ctx context.Context, win *window) error {
	for i := range win.ops {
		if err := w.r.stopped(ctx); err != nil {
			return err
		}
		w.do(ctx, win, &win.ops[i])
	}
	w.pending.Wait()
	for _, l := range w.linked {
		w.link(l.in, l.op)
		w.r.release(l.in)
	}
	w.linked = w.linked[:0]
	if err := w.r.stopped(ctx); err != nil {
		return err // what failed may have failed for that
	}
	for i := len(win.ops) - 1; i >= 0; i-- {
		if o := &win.ops[i]; o.last && !o.before {
			w.r.reached = o.e.Path()
			break
		}
	}
	return nil
}

func (w *writer) do(ctx context.Context, win *window, o *op) {
	e := o.e
	if !o.first {
		w.goOn(ctx, win, o)
		return
	}
	f, err := w.folder(e.Folder)
	if err == nil && !plainName(e.Name) {
		err = errName
	}
	if err == nil {
		err = o.err
	}
	if err != nil {
		if !o.last {
			w.long = nil
		}
		w.r.failed(e.Path(), err)
		return
	}
	if o.group != nil && !o.leader {
		f.users.Add(1)
		w.linked = append(w.linked, linkOp{f, o})
		return
	}
	if e.Type == catalog.File {
		w.file(ctx, win, f, o)
		return
	}
	kept := false
	switch e.Type {
	case catalog.Folder:
		err = w.make(f, o)
	case catalog.Symlink:
		kept, err = w.r.symlink(f, o)
	default:
		kept, err = w.r.special(f, o)
	}
	if err != nil {
		w.r.failed(e.Path(), err)
		return
	}
	if o.group != nil {
		o.group.restored(f, e)
	}
	w.r.done(e, kept)
}

// folder enters a folder. One that could not be entered is not tried again for
// each thing in it.
func (w *writer) folder(path string) (*folder, error) {
	if w.why != nil && catalog.Inside(w.broken, path) {
		return nil, w.why
	}
	f, err := w.enter(path)
	if err != nil {
		w.broken, w.why = path, errs.New(errs.Local, "restore.folder.missing").Because(err)
		return nil, w.why
	}
	return f, nil
}

// file gives a file, or its beginning, to the workers.
func (w *writer) file(ctx context.Context, win *window, f *folder, o *op) {
	if o.before {
		o.group.restored(f, o.e)
		return
	}
	if o.kept {
		w.r.keep(f, o)
		return
	}
	fw := &fileWriter{r: w.r, in: f, e: o.e, attrs: o.attrs, group: o.group}
	f.users.Add(1)
	if !o.last {
		w.long = fw
	}
	w.give(func() { fw.part(ctx, win, o) })
}

// goOn gives the next part of the file that was begun last to the workers.
func (w *writer) goOn(ctx context.Context, win *window, o *op) {
	fw := w.long
	if o.last {
		w.long = nil
	}
	if fw == nil {
		return // it failed with its first part
	}
	w.give(func() { fw.part(ctx, win, o) })
}

func (w *writer) give(job func()) {
	w.pending.Add(1)
	w.jobs <- func() {
		defer w.pending.Done()
		job()
	}
}

// keep counts a file that was there already.
func (r *restorer) keep(f *folder, o *op) {
	if o.group != nil {
		o.group.restored(f, o.e)
	}
	r.done(o.e, true)
	r.wrote(int64(o.e.Size))
}

// place gives a finished temporary file its name. Something that has that name
// is moved aside, however late it came; but if it is the same file, it stays,
// and the temporary one goes.
func (r *restorer) place(ctx context.Context, f *folder, temp string, e *catalog.Entry) (kept bool, err error) {
	for range 3 {
		err := f.rename(temp, e.Name)
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		if f.holds(ctx, e) {
			return true, f.root.Remove(temp)
		}
		if err := r.moveAside(f, e.Name, e.Path()); err != nil {
			return false, err
		}
	}
	return false, errs.New(errs.Local, "restore.busy")
}

// moveAside renames what is in the way of something to be restored.
func (r *restorer) moveAside(f *folder, name, path string) error {
	for n := 1; n < 100; n++ {
		suffix := r.suffix
		if n > 1 {
			suffix = fmt.Sprintf("%s %d", r.suffix, n)
		}
		aside := name[:min(len(name), maxNameBytes-len(suffix))] + suffix
		err := f.rename(name, aside)
		switch {
		case err == nil:
			r.renamed(path, aside)
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went away by itself
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	return errs.New(errs.Local, "restore.busy")
}

// maxNameBytes is how long names can be on the file systems we know.
const maxNameBytes = 255

// tempPrefix begins the name of every file that is not finished.
const tempPrefix = ".backstay-restore-"

func (r *restorer) tempName() string {
	var b [16]byte
	rand.Read(b[:])
	return tempPrefix + r.cfg.Name + hex.EncodeToString(b[:])
}

// Unfinished reports whether a path is that of a file which a restore has not
// finished.
func Unfinished(path string) bool {
	_, name := catalog.Split(path)
	return strings.HasPrefix(name, tempPrefix)
}

var errName = errs.New(errs.Local, "restore.name.bad")

// plainName reports whether name is one name and nothing else. Catalogs hold no
// others; this is the second lock on the door out of the target.
func plainName(name string) bool {
	if name == "" || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c == 0 || c == '/' || os.IsPathSeparator(c) {
			return false
		}
	}
	return true
}
