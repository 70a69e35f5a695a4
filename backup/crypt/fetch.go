package crypt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/backup"
)

// ReadFunc reads sealed objects from wherever they lie, as they lie there. It
// calls each for every one that it has, in any order and never twice at once,
// with kind backup.Missing for one that is known to be lost; sealed is valid
// during the call.
type ReadFunc func(ctx context.Context, ids []backup.ID, each func(kind backup.Kind, id backup.ID, sealed []byte) error) error

const (
	readIDs = 1000 // in one call of a ReadFunc: the protocol's limit
	openers = 4    // objects opened at once, where there are so many cores
)

// NewFetch makes the FetchFunc that reads by read and opens on all cores. When
// some objects are missing or do not verify, all others are delivered
// before it returns the failure, E1506. Any other error is read's own, or each's.
func NewFetch(scope backup.UUID, read ReadFunc) backup.FetchFunc {
	return func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(int, []byte) error) error {
		f := &fetch{scope: scope, kind: kind, refs: refs, each: each, want: make(map[backup.ID][]int, len(refs))}
		ids := make([]backup.ID, 0, len(refs))
		for i, ref := range refs {
			if f.want[ref.ID] == nil {
				ids = append(ids, ref.ID)
			}
			f.want[ref.ID] = append(f.want[ref.ID], i)
		}
		for len(ids) > 0 {
			n := min(len(ids), readIDs)
			if err := f.run(ctx, ids[:n], read); err != nil {
				return err
			}
			ids = ids[n:]
		}
		return f.verdict()
	}
}

// fetch is one call under way.
type fetch struct {
	scope backup.UUID
	kind  backup.Kind
	refs  []backup.Ref
	each  func(int, []byte) error

	want map[backup.ID][]int // refs not seen yet; used by the reading goroutine alone

	mu  sync.Mutex // held while each runs
	bad error      // the first object that does not verify
}

type sealedObject struct {
	refs   []int
	sealed []byte
}

func (f *fetch) run(ctx context.Context, ids []backup.ID, read ReadFunc) error {
	workers := min(openers, runtime.GOMAXPROCS(0))
	if workers == 1 || len(ids) == 1 {
		var plain []byte
		return read(ctx, ids, f.taking(func(o sealedObject) (err error) {
			plain, err = f.open(plain, o)
			return err
		}))
	}
	g, ctx := errgroup.WithContext(ctx)
	objects := make(chan sealedObject, workers)
	for range workers {
		g.Go(func() (err error) {
			var plain []byte
			for o := range objects {
				plain, err = f.open(plain, o)
				putBuffer(o.sealed)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(objects)
		return read(ctx, ids, f.taking(func(o sealedObject) error {
			o.sealed = append(getBuffer(len(o.sealed)), o.sealed...)
			select {
			case objects <- o:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
	})
	return g.Wait()
}

// taking returns the ReadFunc's each, which passes objects on that are wanted.
func (f *fetch) taking(next func(sealedObject) error) func(backup.Kind, backup.ID, []byte) error {
	return func(kind backup.Kind, id backup.ID, sealed []byte) error {
		refs := f.want[id]
		if len(refs) == 0 || kind != f.kind {
			return nil // a source that says too much is none of our trouble
		}
		delete(f.want, id)
		return next(sealedObject{refs, sealed})
	}
}

// open opens o into plain's memory and delivers it to every ref that named it.
func (f *fetch) open(plain []byte, o sealedObject) ([]byte, error) {
	for _, i := range o.refs {
		var err error
		if plain, err = Open(plain[:0], f.scope, f.kind, f.refs[i], o.sealed); err != nil {
			f.spoilt(err)
			continue
		}
		f.mu.Lock()
		err = f.each(i, plain)
		f.mu.Unlock()
		if err != nil {
			return plain, err
		}
	}
	return plain, nil
}

func (f *fetch) spoilt(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad == nil {
		f.bad = err
	}
}

func (f *fetch) verdict() error {
	if f.bad != nil {
		return f.bad
	}
	for id := range f.want {
		return mismatch("object", fmt.Errorf("%v: %w", id, errLost))
	}
	return nil
}

var errLost = errors.New("is not where it was stored")
