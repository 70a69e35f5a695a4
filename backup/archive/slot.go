package archive

import (
	"context"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

// task says what has to be done for an entry.
type task uint8

const (
	carry   task = iota // nothing: entry is final, from the previous catalog or without content
	lost                // keep the old entry, marked unreadable
	content             // read the file
	later               // keep the old entry, marked deferred
	twin                // another name of a file that came before
	nothing             // there is no entry, only a problem
)

// slot is one entry on its way into the catalog. plan fills it; for content a
// reader then owns it until it closes done; collect has it last.
type slot struct {
	task  task
	entry *catalog.Entry
	old   *catalog.Entry // the entry in the previous catalog, or nil
	first *slot          // of a twin: the name that is read
	path  string         // of a problem without an entry
	err   error          // why it could not be read; the run goes on
	gone  bool           // it vanished before it was read
	waits uint64         // bytes that it would add and there is no room for; read, it must be stored already

	room   int           // bytes of small content that this slot has room for
	done   chan struct{} // closed when the content is read
	data   []byte        // a small file's content without holes
	pieces []piece
}

// piece is a part of a file's content, in a chunk that may not be sealed yet.
type piece struct {
	chunk          *pending
	offset, length uint32
}

// pending is a chunk on its way to being an object. When done is closed it was
// given to the Sink and ref is set.
type pending struct {
	plain []byte
	block *block // holds plain; released after sealing
	ref   backup.Ref
	done  chan struct{}

	onlyHeld bool // it is not given to the Sink
	lacking  bool // and is not stored
}

func newPending() *pending { return &pending{done: make(chan struct{})} }

// ready reports whether the slot's entry can be finished without waiting.
func (s *slot) ready() bool {
	if s.done != nil {
		select {
		case <-s.done:
		default:
			return false
		}
	}
	for i := range s.pieces {
		select {
		case <-s.pieces[i].chunk.done:
		default:
			return false
		}
	}
	return true
}

// wait waits until done is closed.
func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
