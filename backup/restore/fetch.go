package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay/backup"
)

var errShortChunk = errors.New("has another length than its ref says")

// fetch fills windows with their chunks and passes them on.
func (r *restorer) fetch(ctx context.Context, in <-chan *window, out chan<- *window, arenas <-chan []byte) error {
	var last *window
	for w := range in {
		select {
		case w.arena = <-arenas:
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(w.arena) < w.size {
			w.arena = make([]byte, arenaSize(w.size))
		}
		if err := r.fill(ctx, w, last); err != nil {
			return err
		}
		// The window before is written or being written, and its arena is
		// not used again before this one is done.
		last = w
		select {
		case out <- w:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// arenaSize keeps small restores small, and large ones from growing an arena
// window by window, for each growth leaves the old one behind.
func arenaSize(n int) int {
	if n <= windowBytes/8 {
		return n
	}
	return max(n, windowBytes)
}

// fill fetches a window's chunks. One that is missing or damaged is noted, and
// fails only the files that need it.
func (r *restorer) fill(ctx context.Context, w, last *window) error {
	w.bad = make([]error, len(w.refs))
	have := make([]bool, len(w.refs))
	for i, ref := range w.refs {
		if j, ok := last.has(ref); ok {
			copy(w.chunk(i), last.chunk(j))
			have[i] = true
		}
	}
	err := r.get(ctx, w, have)
	if err == nil || !unsound(err) {
		return err
	}
	// Whoever delivers may have stopped at the first bad one: ask for the
	// others one by one.
	for i := range w.refs {
		if have[i] {
			continue
		}
		one := make([]bool, len(w.refs))
		for j := range one {
			one[j] = j != i
		}
		if err := r.get(ctx, w, one); unsound(err) {
			w.bad[i] = err
		} else if err != nil {
			return err
		}
	}
	return nil
}

// has returns where a chunk lies in the window, which may be nil.
func (w *window) has(ref backup.Ref) (int, bool) {
	if w == nil {
		return 0, false
	}
	i, ok := w.index[ref]
	return i, ok && w.bad[i] == nil
}

// get fetches the chunks that are not yet there, and marks them in have.
func (r *restorer) get(ctx context.Context, w *window, have []bool) error {
	var refs []backup.Ref
	var index []int
	for i, ref := range w.refs {
		if !have[i] {
			refs, index = append(refs, ref), append(index, i)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	err := r.cfg.Fetch(ctx, backup.Data, refs, func(n int, plain []byte) error {
		i := index[n]
		if len(plain) != int(w.refs[i].Len) {
			return backup.Mismatched("chunk", errShortChunk)
		}
		copy(w.chunk(i), plain)
		have[i] = true
		return nil
	})
	switch {
	case unsound(err) || ctx.Err() != nil:
		return err
	case err != nil:
		return &SourceError{fmt.Errorf("fetching content: %w", err)}
	}
	for _, i := range index {
		if !have[i] {
			return backup.Mismatched("chunk", errors.New("was not delivered"))
		}
	}
	return nil
}
