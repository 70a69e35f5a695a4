// Package archive turns files into objects and a catalog: one backup, without
// the network and without knowing where files or objects lie. Both come in as
// small interfaces, Source and Sink.
//
// A run is a merge. The source and the previous catalog come in the same order;
// what is equal by type, size, times and inode is copied from the old catalog
// and not read. The rest goes through a pipeline of goroutines:
//
//	Source ──┐
//	         ├─ plan ──────────── slots, in order ────────────┐
//	previous ┘   │ 1                                          │
//	             └─ files to read ── read ── slot is read ── collect ── catalog.Writer
//	                                  │ 3                     │ 1
//	                     chunks of large files      bundles of small files
//	                                  └──────────┬────────────┘
//	                                           seal ── Sink
//	                                             as many as processors
//
// plan makes a slot for every entry and decides what is to be done for it. read
// takes files in that order: a small one is read whole and hashed, a large one
// is cut into chunks on the way. collect takes the slots in order, joins small
// files into bundles, and gives each entry to the catalog when its chunks are
// sealed. seal compresses, encrypts, verifies and hands over objects. Chunks
// and small files that came before in this run are recognised before they are
// compressed.
//
// Order makes the result the same whatever the timing: only collect decides
// what goes into a bundle, and it sees all files in catalog order.
//
// Memory is bounded by these, and nothing grows with the number of files but
// tables with a fixed limit and the set of object ids:
//
//   - 6 blocks of 4 MiB hold large files being cut and bundles being filled,
//     until they are sealed. A reader holds one and may wait for a second, collect
//     holds one; the others are always on their way to seal, which waits for
//     nobody, so there is no deadlock.
//   - 4 MiB of small files' contents wait for collect. plan takes their room in
//     order, so the file that collect waits for always has its own.
//   - 32,768 entries wait in collect for their chunks: a bundle that is open so
//     long is ended (format.md, section 3).
//   - The Sink makes Put wait when it has enough.
//
// No byte is read twice for one result: a file's hash and its chunks come from
// the same buffer (R14). A file that changes meanwhile is read again as a
// whole, three times at most, and then marked torn.
//
// What the source cannot read is listed and the run goes on; what cannot be
// sealed or stored ends it (R9).
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
	"github.com/backstay/backstay/backup/crypt"
)

// Source is where entries and contents come from. Next is called by one
// goroutine, the others by several.
type Source interface {
	// Next returns the next item in catalog order, io.EOF after the last. Any
	// other error ends the run.
	Next(ctx context.Context) (Item, error)
	// Complete fills in what takes longer to find out about e than whether it
	// changed: the names of owner and group, a link's target, extended
	// attributes.
	Complete(e *catalog.Entry) error
	// Open opens the file e. An error that is fs.ErrNotExist means that the
	// file is gone, which is no failure.
	Open(e *catalog.Entry) (File, error)
}

// Hints are of a Source that knows what has not changed since the previous
// catalog, and passes over it.
type Hints interface {
	// Whole reports whether the Source lists all folders: then there are none that
	// it passes over.
	Whole() bool
	// Unlisted reports whether the Source did not list a folder of Walked, because
	// all in it is as the previous catalog has it. It is asked about folders that
	// come no later than the last item.
	Unlisted(folder string) bool
	// Unsettled is told of folders that hold what the new catalog does not have as
	// it is: they have to be listed the next time.
	Unsettled(folder string)
	// Gone is told of folders that the new catalog does not have any more.
	Gone(folder string)
}

// Item is something that the source found, or failed to.
type Item struct {
	// Entry is what was found, without content. The archiver owns it.
	Entry *catalog.Entry
	// Path and Err are set when there is no entry: Path could not be looked at,
	// so nothing is known about it and what is below it. When Listing is set,
	// it is the folder Path that is known and its children that are not.
	Path    string
	Listing bool
	Err     error
}

// File is an open file.
type File interface {
	io.ReaderAt
	// Stat fills in the metadata of the file as it is now.
	Stat(e *catalog.Entry) error
	// Complete is Source.Complete for the open file.
	Complete(e *catalog.Entry) error
	// Holes returns the ranges without data inside the first size bytes.
	Holes(size uint64) ([]catalog.Hole, error)
	Close() error
}

// Sink takes the objects.
type Sink interface {
	// Put stores an object, now or later, and owns o.Sealed from then on. It may
	// wait while there is too much on the way. It is called from several
	// goroutines, in no particular order, perhaps more than once for the same
	// object. An error ends the run.
	Put(ctx context.Context, o backup.Object) error
}

// Config is what a run needs.
type Config struct {
	Source Source
	Sink   Sink
	Sealer *crypt.Sealer
	Secret backup.Key // the chunker secret K

	// Previous is the catalog to merge with, nil for none. The run sets its
	// field Known.
	Previous *catalog.Reader
	// Since is when the run that made it began, zero when that is not known. A
	// file that had changed only just before is read again: it may have changed
	// once more within the same tick of the file system's clock.
	Since time.Time
	// Walked are the roots that Source walks, Carried those that it does not
	// and that are carried over from the previous catalog. Where one is inside
	// another, the walked one counts. Everything else is dropped.
	Walked, Carried []string
	// Keep reports old entries that stay as they are, whatever Source finds at
	// their paths: their files are still to come back to this computer. It keeps
	// the folders above them too. It is asked in catalog order, and an error of it
	// ends the run. It may be nil.
	Keep func(old *catalog.Entry) (bool, error)
	// Renew holds ids that must not be relied upon, because the vault lost them
	// or because little of them is still in use: what needs them is read again.
	Renew map[backup.ID]bool

	// Hints, when the Source has them, tell which folders it need not look into.
	Hints Hints

	// Defer is asked about each file that is about to be read, by one goroutine.
	// Those for which it says yes are not: the earlier version stays, marked
	// deferred. One that the previous catalog does not have, and have whole, is
	// read whatever it says. Nil defers nothing.
	Defer func(e *catalog.Entry, had bool) bool

	// Room, when set, is how many bytes of files the catalog may have, and Before
	// how many the previous one has. A file that would go over it waits: it keeps its
	// previous state, and its problem is ErrWaits. One whose content Held knows to be
	// stored takes no room. Small files are not even read for that.
	Room   *int64
	Before int64
	Held   func(ctx context.Context, id backup.ID) (bool, error)

	// Partial is called about every Interval with the catalog of what is done,
	// followed by what the previous catalog has after it. When it is called every
	// object of that catalog was given to the Sink.
	//
	// Soon has it called after a tenth of the interval already, and then whenever
	// as much time has passed as before: who knows how long this run may last.
	Interval time.Duration
	Soon     bool
	Partial  func(ctx context.Context, r *Result) error

	Progress *Progress // counts while the run goes on, may be nil
	Workers  int       // goroutines that seal; as many as processors when 0

	Now func() time.Time
}

// Progress counts what a run has done so far. Its fields may be read at any
// time.
type Progress struct {
	Files  atomic.Int64 // files that are in the new catalog
	Bytes  atomic.Int64 // their sizes
	Read   atomic.Int64 // bytes that were read for it
	Errors atomic.Int64
	Folder atomic.Value // string, the folder that the catalog has reached
	Size   atomic.Int64 // bytes of files that the catalog will have, as far as is known
}

// ErrWaits is why a file is not in its newest state: there is no room for it.
var ErrWaits = errors.New("it waits for room on the quota")

// Problem is something that could not be read.
type Problem struct {
	Path string
	Err  error
}

// Result is a finished catalog.
type Result struct {
	Root     backup.Ref
	Totals   catalog.Totals
	IDs      map[backup.ID]struct{} // every object that it needs
	New      uint64                 // files that were not in the previous catalog
	Changed  uint64                 // files that are not the same as there
	Read     uint64                 // bytes read
	Problems []Problem              // the first ones, in catalog order
	Errors   uint64                 // how many there were
	// Whole is false when Hints were not enough: a file has got another name, and
	// which of its names had been there, in a folder that need not have changed for
	// it, only a whole walk tells.
	Whole    bool
	Lost     uint64 // paths of which nothing is known, now or before
	Deferred uint64 // files that Config.Defer left for a later run
	Waiting  uint64 // files that wait for room; they are no errors
	Least    uint64 // bytes that the smallest of them would add
}

const maxProblems = 1000

// run is one run's shared state.
type run struct {
	Config
	seals    chan struct{} // one for each Seal call at once
	reads    chan *slot
	slots    chan []slot
	chunks   chan *pending
	room     *semaphore.Weighted // of roomBytes
	blocks   *blocks
	repeated *repeated
	known    *catalog.Known
	named    atomic.Bool   // a file has got another name, see Result.Whole
	finished chan struct{} // closed when collect is done: no more chunks
}

func (c *Config) setDefaults() {
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Progress == nil {
		c.Progress = &Progress{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// How many goroutines read files, and how far things may run ahead.
const (
	readers     = 3
	blockCount  = 6
	roomBytes   = 4 << 20
	readsAhead  = 256
	slotsAhead  = 16 // times slotRun
	slotRun     = 256
	rereads     = 3
	maxHardLink = 1 << 17 // inodes remembered for their other names
	maxRepeated = 1 << 18 // contents remembered to recognise repetition

	clockTick = 2 * time.Second // FAT's, the longest
)

// Run makes one backup: it returns when the catalog is finished and everything
// was given to the Sink. Also when it fails, the Sink gets nothing after it.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	cfg.setDefaults()
	r := &run{
		Config:   cfg,
		seals:    make(chan struct{}, cfg.Workers),
		reads:    make(chan *slot, readsAhead),
		slots:    make(chan []slot, slotsAhead),
		chunks:   make(chan *pending, 1),
		room:     semaphore.NewWeighted(roomBytes),
		blocks:   newBlocks(blockCount),
		repeated: newRepeated(),
		known:    &catalog.Known{Except: cfg.Renew},
		finished: make(chan struct{}),
	}
	if r.Previous != nil {
		r.Previous.Known = r.known
	}
	r.Progress.Size.Store(r.Before)
	var result *Result
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.plan(ctx) })
	for range readers {
		g.Go(func() error { return r.read(ctx) })
	}
	for range cfg.Workers {
		g.Go(func() error { return r.sealChunks(ctx) })
	}
	c := newCollector(r)
	g.Go(func() (err error) {
		defer close(r.finished)
		result, err = c.collect(ctx)
		return err
	})
	err := g.Wait()
	c.catalog.Wait() // or pages go to a Sink that is closed
	if err != nil {
		return nil, fmt.Errorf("backing up: %w", err)
	}
	return result, nil
}
