// Package restore turns a snapshot back into files, below one target folder,
// and reads content for downloads.
//
// It writes TARGET/full/path. Everything happens through os.Root and calls with
// one name below a folder that was opened through it: no link is ever followed,
// neither one of the snapshot nor one that somebody swaps in while the restore
// runs, and no path of the snapshot leads out of the target. A file is written
// under a temporary name and takes its own only when the SHA-256 of its content
// matches (R25). What is in the way is never overwritten: it gets another name,
// and is reported. A file that is there already, with the same size, time and
// content, is left as it is; so an interrupted restore can simply be repeated.
//
// Failures are of three kinds. An item that cannot be restored is listed in the
// result, and the restore goes on. When the snapshot itself cannot be read any
// further, Run ends with a *SourceError. When the target's disk is full it ends
// with E1505. Metadata that the system refuses is a warning and costs no
// content (R22).
//
// Content is fetched in windows of many chunks, in catalog order, while the
// window before is written; a bundle is opened once for all its files. Memory
// stays under 100 MiB, whatever the snapshot holds.
package restore

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/errs"
)

// Config says what to restore, and where to.
type Config struct {
	Catalog *catalog.Reader
	Fetch   backup.FetchFunc // for content; nil means Catalog.Fetch
	Target  string           // folder; it is made when it is not there
	Paths   []string         // absolute paths in the snapshot, of files or folders; none means everything

	// Base is the folder of the snapshot whose place Target takes: what is in it
	// is written into Target, what is not is left out, and so is its own metadata.
	// Empty is "/".
	Base string
	// Skip reports a path that is left out, as it must all paths below it; may be nil.
	Skip func(path string) bool

	// Name is this restore's own, when it may be killed and begun again: what it
	// left of files that it had not finished is taken away. There must be one at a
	// time of that name.
	Name string
	// After is where an earlier restore to this target ended: all up to this path,
	// in catalog order, is done, and does not come back if somebody removed it.
	After string
	// Checkpoint is told every few seconds, and at the end, up to which path all is
	// done or failed, and is on the disk (Linux). An error ends the restore. It may be nil.
	Checkpoint func(done string, r Result) error

	// Privileged is for a restore that an administrator asked for, with the
	// rights to do it: owners, devices, capabilities and other attributes
	// of the system are restored, and setuid bits with them (R22). Without,
	// files belong to whoever restores, a setuid bit is kept on files that
	// belonged to the same user, a setgid bit with the same group.
	Privileged bool

	Progress func(Progress)   // called often, never twice at once; may be nil
	Now      func() time.Time // nil means time.Now
}

// Progress is how far a restore has come.
type Progress struct {
	Folders, Files, Others int64 // done, those that were there already included
	Bytes                  int64 // of content, holes included
	Failed                 int64
}

// Problem is something that did not go as it should.
type Problem struct {
	Path string // in the snapshot
	Err  error
}

// MaxProblems is how many problems of each sort a Result lists; all are counted.
const MaxProblems = 1000

// Result says what a restore did.
type Result struct {
	Progress
	Kept int64 // of the files and others, those that were there already and left as they are

	Failed   []Problem // not restored
	Warnings []Problem // restored, but for some metadata
	Renamed  []Renamed // was in the way

	WarningCount, RenamedCount int64
}

// Renamed is something that was in the way.
type Renamed struct {
	Path string // of what was restored, in the snapshot
	Name string // that the old file or folder has now, beside it
}

// SourceError means that the snapshot could not be read any further: the
// server is gone, a page of the catalog is damaged. What Run restored before
// is sound, and doing it again goes on from there.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "reading the snapshot: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Run restores. The result is good even when there is an error. Paths that the
// snapshot does not have are E1504, before anything is written.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Fetch == nil {
		cfg.Fetch = cfg.Catalog.Fetch
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Base == "" {
		cfg.Base = "/"
	}
	r := &restorer{cfg: cfg, result: &Result{}, links: map[linkKey]*linkGroup{}, odd: map[string]oddFolder{}, reached: cfg.After}
	r.suffix = " (before restore " + cfg.Now().Format("2006-01-02 15.04.05") + ")"
	paths, err := selection(ctx, cfg.Catalog, cfg.Paths)
	if err != nil {
		return r.result, err
	}
	if err := os.MkdirAll(cfg.Target, 0o777); err != nil {
		return r.result, fmt.Errorf("making the folder to restore to: %w", localError(err))
	}
	root, err := os.OpenRoot(cfg.Target)
	if err != nil {
		return r.result, fmt.Errorf("opening the folder to restore to: %w", err)
	}
	if r.top, err = openTop(root); err != nil {
		return r.result, fmt.Errorf("opening the folder to restore to: %w", err)
	}
	defer r.top.close()
	r.top.path = cfg.Base
	return r.result, r.run(ctx, paths)
}

// restorer is one Run.
type restorer struct {
	cfg    Config
	suffix string // for the names of what was in the way
	top    *folder
	links  map[linkKey]*linkGroup // owned by the planner; groups by the writer
	odd    map[string]oddFolder   // by path; owned by the writer

	reached string    // all up to this path is done; owned by the writer
	checked time.Time // when Checkpoint was last called

	mu     sync.Mutex
	result *Result
	fatal  error // a local failure that ends the restore
}

// run plans, fetches and writes, each on a goroutine of its own and one window
// apart, until one of them ends.
func (r *restorer) run(ctx context.Context, paths []string) error {
	ctx, cancel := context.WithCancel(ctx)
	planned := make(chan *window)
	fetched := make(chan *window)
	arenas := make(chan []byte, 2)
	arenas <- nil
	arenas <- nil
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var planErr, fetchErr error
	wg.Go(func() {
		defer close(planned)
		planErr = r.plan(ctx, paths, planned)
	})
	wg.Go(func() {
		defer close(fetched)
		fetchErr = r.fetch(ctx, planned, fetched, arenas)
	})
	err := r.write(ctx, fetched, arenas)
	cancel()
	wg.Wait()
	for _, e := range []error{err, fetchErr, planErr} {
		if e != nil {
			return e
		}
	}
	return nil
}

func (r *restorer) failed(path string, err error) {
	err = localError(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if errs.Is(err, errs.LocalDiskFull) && r.fatal == nil {
		r.fatal = err
	}
	r.result.Progress.Failed++
	if len(r.result.Failed) < MaxProblems {
		r.result.Failed = append(r.result.Failed, Problem{path, err})
	}
	r.progress()
}

func (r *restorer) warn(path string, err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.WarningCount++
	if len(r.result.Warnings) < MaxProblems {
		r.result.Warnings = append(r.result.Warnings, Problem{path, err})
	}
}

func (r *restorer) renamed(path, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.RenamedCount++
	if len(r.result.Renamed) < MaxProblems {
		r.result.Renamed = append(r.result.Renamed, Renamed{path, name})
	}
}

func (r *restorer) done(e *catalog.Entry, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Type {
	case catalog.File:
		r.result.Files++
	case catalog.Folder:
		r.result.Folders++
	default:
		r.result.Others++
	}
	if kept {
		r.result.Kept++
	}
	r.progress()
}

func (r *restorer) wrote(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Bytes += n
	r.progress()
}

// progress is called with mu held.
func (r *restorer) progress() {
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.result.Progress)
	}
}

// stopped returns why the restore must end, or nil.
func (r *restorer) stopped(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fatal != nil {
		return r.fatal
	}
	return ctx.Err()
}
