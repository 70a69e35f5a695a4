// Package upload makes one backup: it walks the device's folders, has the
// archiver turn them into objects, sends the server what it lacks, and commits
// the snapshot. It may be cut off at any point; the next one goes on from there.
//
// What was sent counts for the server's session, which lasts until a complete
// snapshot is committed, whatever becomes of this process. So a run that was
// cut off is repeated: it reads files again where no partial snapshot had come,
// finds by the ids that their objects are there, and sends only the others. Of
// packs on the way the server keeps the objects that came whole: at most one is
// sent twice for each, the one that was cut.
//
// The order of writes is what makes a crash harmless. The server commits first,
// then the device replaces its catalog and then its head. Cut off between, the
// device remembers the snapshot before; the server's head is one further on, and
// the next run builds on that head while it compares with the older catalog.
package upload

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay/agent/scan"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/archive"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// Config is what a backup needs.
type Config struct {
	Client *wire.Client
	State  *state.State // locked by the caller
	Device *state.Device

	Folders  []string               // all that the device backs up
	Walk     []string               // those to read now; all when empty, the others are carried over
	Excluded func(path string) bool // what the profile leaves out, may be nil
	View     *scan.View             // what is read in place of the disk, may be nil
	Large    Large                  // which files are read more rarely than the others
	Watch    *scan.Watch            // knows what has not changed since the last backup, may be nil
	// Keep makes, for each walk, what archive.Config.Keep is; KeptRoots are the
	// folders that it keeps something of. Both may be nil.
	Keep      func(ctx context.Context) (func(*catalog.Entry) (bool, error), error)
	KeptRoots []string
	Policy    backup.Hash // SHA-256 of the profile's settings
	Host      string      // what this computer calls itself; asked of the system when empty

	Interval time.Duration // between partial snapshots at most, ten minutes when 0
	PutBytes int           // of one put, 16 MiB when 0

	Progress func(wire.Progress) // called a few times a second, may be nil
	// Pause waits while the server is busy, or returns false when ctx ends.
	Pause func(ctx context.Context, d time.Duration) bool
	Now   func() time.Time
	Log   *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Host == "" {
		c.Host, _ = os.Hostname()
	}
	if c.Interval == 0 {
		c.Interval = 10 * time.Minute
	}
	if c.PutBytes == 0 {
		c.PutBytes = 16 << 20
	}
	if c.Pause == nil {
		c.Pause = wire.Pause
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Result is what a backup came to.
type Result struct {
	Snapshot, Hash string
	Seq            uint64
	Status         snapshot.Status
	Totals         catalog.Totals
	New, Changed   uint64 // files
	Read           uint64 // bytes of files
	Sent           int64  // bytes of sealed objects
	Unreadable     uint64 // what the manifest says, without those that wait
	Waiting        uint64 // files that wait for room on the quota
	Quota          error  // E1401 when there are such
	Deferred       uint64 // large files that a later backup reads
	Carried        int    // folders that it did not walk: they are as the snapshot before has them
	Problems       []archive.Problem
	// Rediscovered says why what was remembered of the last backup could not
	// be used, so that every file was read; nil when it could.
	Rediscovered error
}

// run is one backup under way.
type run struct {
	Config
	started  time.Time
	prev     *state.Previous
	session  wire.Session
	sealer   *crypt.Sealer
	catalog  *state.Catalog
	sender   *sender
	progress *archive.Progress
	head     head
	renew    map[backup.ID]bool // objects that are to be made again
	last     *snapshot.Manifest // the last one committed
	large    *large
	carried  int          // folders that the walk leaves as they were
	watched  bool         // the walk took hints, and says what the next one may take
	base     string       // the snapshot that hints are believed for, empty for none
	room     *int64       // bytes that the snapshot may have, nil for any number
	before   int64        // bytes that the catalog has which is compared with
	sent     atomic.Int64 // bytes of sealed objects that were acknowledged
	full     error        // what is to be said when files wait
	refused  bool         // the server had no room for what was sent
	waiting  atomic.Int64 // calls that wait for a busy server
	goesOn   atomic.Int64 // until when, in microseconds
}

// head is the set's newest snapshot: the one that the next manifest follows,
// and, when their objects are known, the one its refs are a difference to.
type head struct {
	hash  backup.Hash
	seq   uint64
	refs  backup.Hash
	depth uint8
	ids   []backup.ID // nil when they are not known
}

// attempts at a snapshot of which the server misses something: after each but the
// last that is made again.
const attempts = 3

// Run makes one backup. An error means that there is no new complete snapshot,
// but what was sent is not lost. Files that cannot be read are no error.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	cfg.setDefaults()
	r := &run{Config: cfg, started: cfg.Now(), progress: &archive.Progress{}, renew: map[backup.ID]bool{}}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	defer r.close()
	defer limitMemory(len(r.prev.Refs))()
	stop := r.report(ctx, r.progressNow)
	defer stop()

	result, err := r.backup(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return r.result(result), nil
}

// open gets everything ready: what is remembered, the session, the sender.
func (r *run) open(ctx context.Context) (err error) {
	for _, folder := range r.Walk {
		if _, err := scan.Resolve(folder); err != nil {
			return err
		}
	}
	d := r.Device
	if r.prev, err = r.State.Previous(d.Set, d.User); err != nil {
		return err
	}
	if err = r.begin(ctx); err != nil {
		r.prev.Close()
		return fmt.Errorf("opening a backup session: %w", err)
	}
	if room := r.session.Room; room != nil {
		r.room, r.full = &room.Bytes, errs.Of(errs.QuotaUsedUp, "q", room.Quota, "of", room.Of)
	}
	r.Log.Info("session open", "session", r.session.SessionID, "resumed", r.session.Resumed, "catalog", r.prev.Known())
	if err := r.follow(); err != nil {
		r.prev.Close()
		return err
	}
	for _, text := range r.session.Damaged {
		if id, err := backup.ParseID(text); err == nil {
			r.renew[id] = true
		}
	}
	r.large = newLarge(r.Large, r.State.LargeRead(d.Set), r.Now)
	if r.catalog, err = r.State.NewCatalog(d.Set, r.prev); err != nil {
		r.prev.Close()
		return err
	}
	r.sealer = crypt.NewSealer(d.ScopeSecret, d.Scope, crypt.Profile1)
	r.sender = newSender(ctx, r)
	return nil
}

// begin opens the session when the server lets this backup begin.
func (r *run) begin(ctx context.Context) error {
	return r.first(ctx, func() (err error) {
		r.session, err = r.Client.OpenSession(ctx, r.Device.Set.String())
		return err
	})
}

func (r *run) close() {
	r.sender.close()
	r.catalog.Close()
	r.prev.Close()
}

// follow finds out which snapshot the next one follows. A server that shows
// less than this device remembers, or another store, has lost history, or
// somebody wants it to look so (security.md 5.9).
func (r *run) follow() error {
	mine, theirs := r.prev.Head, r.session.Head
	store, err := state.ParseStore(r.session.StoreID)
	if err != nil || len(r.session.Nonce) != 32 {
		return fmt.Errorf("the server's session is not one (a nonce of %d bytes): %w", len(r.session.Nonce), err)
	}
	if store != r.Device.Store || mine.Seq > 0 && (theirs == nil || theirs.Seq < mine.Seq) {
		return errs.Of(errs.OlderHistory)
	}
	if theirs == nil {
		return nil
	}
	r.head.seq = theirs.Seq
	if r.head.hash, err = backup.ParseHash(theirs.Hash); err != nil {
		return fmt.Errorf("reading the server's session: %w", err)
	}
	if theirs.Seq == mine.Seq && r.head.hash != mine.Hash {
		return errs.Of(errs.OlderHistory)
	}
	if r.prev.Known() {
		r.before = theirs.Bytes
		r.head.refs, r.head.depth, r.head.ids = mine.RefsID, mine.RefsDepth, r.prev.Refs
	}
	return nil
}

// backup makes snapshots until the server has all that one needs.
func (r *run) backup(ctx context.Context) (*archive.Result, error) {
	previous, since := r.previous()
	walk := r.Walk
	if r.prev.Known() && len(r.renew) == 0 {
		r.base = r.prev.Head.Hash.String()
	}
	for missed, retried := 0, false; ; {
		result, err := r.archive(previous, since, walk)
		if r.lessRoom(ctx, err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !result.Whole {
			r.Log.Info("a file has got another name: all is walked after all")
			r.base = ""
			if result, err = r.archive(catalog.NewReader(result.Root, r.fetch), r.started, nil); err != nil {
				return nil, err
			}
		}
		if !retried && r.roomAfterAll(result) {
			retried = true
			previous, since, walk = catalog.NewReader(result.Root, r.fetch), r.started, nil
			r.base = ""
			r.before = int64(result.Totals.Bytes)
			continue
		}
		status := snapshot.Complete
		if result.Waiting > 0 {
			status = snapshot.Partial
		}
		missing, err := r.commit(ctx, result, status)
		if err == nil {
			if r.watched && result.Waiting == 0 { // what waits is looked for where nothing changed
				r.Watch.Keep(r.last.Hash().String())
			}
			return result, nil
		}
		if r.lessRoom(ctx, err) {
			continue
		}
		if missed++; len(missing) == 0 || missed == attempts {
			return nil, err
		}
		r.Log.Warn("the server misses objects that it had: making them again", "objects", len(missing))
		for _, id := range missing {
			r.renew[id] = true
		}
		r.sender.forget(missing)
		// What was just made is known better than the last snapshot; only what
		// needs the missing objects is read again, wherever it lies.
		previous, since, walk, r.base = catalog.NewReader(result.Root, r.fetch), r.started, nil, ""
	}
}

// lessRoom takes note that the server had no room for what was sent, since other
// devices took it, or what it stores of the snapshot before needs it: the next
// attempt keeps to what is left, or, when that is the second time, sends nothing
// new. After that there is none. What was sent counts for the session.
func (r *run) lessRoom(ctx context.Context, err error) bool {
	e := errs.Find(err)
	if e == nil || e.Code != errs.QuotaUsedUp {
		return false
	}
	room, ok := e.Args["room"].(int64)
	if !ok || r.refused && *r.room == 0 {
		return false
	}
	if r.refused {
		room = 0
	}
	r.Log.Info("the quota is used up: what does not fit waits", "room", room)
	r.sender.close() // it asks the session whether anything is known
	r.room, r.full, r.refused, r.session.Known, r.base = &room, e, true, true, ""
	r.sender = newSender(ctx, r)
	return true
}

// roomAfterAll reports whether a file waits that there is room for now: what was
// deleted stood behind it.
func (r *run) roomAfterAll(result *archive.Result) bool {
	return r.room != nil && result.Waiting > 0 && int64(result.Totals.Bytes+result.Least) <= *r.room
}

// held asks whether the server has an object that it may not be sent.
func (r *run) held(ctx context.Context, id backup.ID) (bool, error) {
	if r.remembered(id) {
		return true, nil
	}
	has, err := r.have(ctx, []backup.ID{id})
	return err == nil && has[0], err
}

// have asks which objects the server has.
func (r *run) have(ctx context.Context, ids []backup.ID) (has []bool, err error) {
	err = r.inTurn(ctx, func() (err error) {
		has, err = r.Client.Have(ctx, r.session.SessionID, ids)
		return err
	})
	return has, err
}

// previous is the catalog to compare with, and when its making began.
func (r *run) previous() (*catalog.Reader, time.Time) {
	if !r.prev.Known() {
		return nil, time.Time{}
	}
	return catalog.NewReader(r.prev.Root, r.prev.Fetch), r.prev.Head.Time
}

// archive walks the folders and makes the catalog of what is there. Without a
// catalog to carry folders over from, all are walked.
func (r *run) archive(previous *catalog.Reader, since time.Time, walk []string) (*archive.Result, error) {
	if len(walk) == 0 || previous == nil {
		walk = r.Folders
	}
	var keep func(*catalog.Entry) (bool, error)
	if r.Keep != nil && previous != nil {
		var err error
		if keep, err = r.Keep(r.sender.ctx); err != nil {
			return nil, err
		}
	}
	look := scan.Config{Roots: walk, Skip: []string{r.State.Dir()}, Excluded: r.Excluded, View: r.View}
	// What is kept although it is not here, hints know nothing of.
	if r.watched = r.Watch != nil && len(r.Walk) == 0 && keep == nil; r.watched {
		look.Watch, look.Base, look.Scope = r.Watch, r.base, r.Policy.String()
	}
	w := scan.New(look)
	defer w.Close()
	r.Log.Info("walking", "whole", w.Whole())
	walked, carried := scan.Roots(walk), []string(nil)
	for _, root := range scan.Roots(r.Folders) {
		if !slices.ContainsFunc(walked, func(w string) bool { return catalog.Inside(w, root) }) {
			carried = append(carried, root)
		}
	}
	r.carried = len(carried)
	r.resetProgress()
	result, err := archive.Run(r.sender.ctx, archive.Config{
		Source: w, Hints: w, Sink: r.sender, Sealer: r.sealer, Secret: r.Device.ChunkerSecret,
		Room: r.room, Before: r.before, Held: r.held,
		Previous: previous, Since: since, Walked: walked, Carried: carried, Keep: keep, Renew: r.renew, Defer: r.large.wait,
		// The first backup, and one after a run that was cut off, may be cut off too.
		Interval: r.Interval, Soon: r.session.Head == nil || r.session.Resumed, Partial: r.partial,
		Progress: r.progress, Now: r.Now,
	})
	if sendErr := r.sender.failed(); sendErr != nil {
		return nil, sendErr
	}
	return result, err
}

// partial commits what is done so far. Failing to is no reason to stop, unless
// the sender failed.
func (r *run) partial(ctx context.Context, result *archive.Result) error {
	so := *result
	so.Waiting = 0 // the session goes on
	missing, err := r.commit(ctx, &so, snapshot.Partial)
	if err == nil || ctx.Err() != nil || len(missing) == 0 {
		return err
	}
	// The whole snapshot will miss them as well, and then they are made again.
	r.Log.Warn("a partial snapshot was refused", "missing", len(missing))
	return nil
}

func (r *run) resetProgress() {
	r.progress.Files.Store(0)
	r.progress.Bytes.Store(0)
	r.progress.Errors.Store(0)
}

// report tells about progress, as now says, until stop is called.
func (r *run) report(ctx context.Context, now func() wire.Progress) (stop func()) {
	if r.Progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.Progress(now())
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		r.Progress(now())
	}
}

func (r *run) progressNow() wire.Progress {
	p := wire.Progress{
		Files: r.progress.Files.Load(), Bytes: r.progress.Bytes.Load(), Errors: r.progress.Errors.Load(),
		Sent: r.sent.Load(), Waits: r.waits(),
	}
	p.Folder, _ = r.progress.Folder.Load().(string)
	return p
}

func (r *run) result(a *archive.Result) *Result {
	m := r.last
	hash := m.Hash()
	var quota error
	if a.Waiting > 0 {
		quota = r.full
	}
	return &Result{
		Snapshot: hash.Short(), Hash: hash.String(), Seq: m.Seq, Status: m.Status,
		Totals: a.Totals, New: a.New, Changed: a.Changed, Read: a.Read,
		Sent: r.sent.Load(), Unreadable: m.Unreadable - a.Waiting, Problems: a.Problems,
		Deferred: a.Deferred, Carried: r.carried, Waiting: a.Waiting, Quota: quota,
		Rediscovered: r.prev.Damaged,
	}
}
