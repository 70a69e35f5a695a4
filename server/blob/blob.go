// Package blob keeps named pieces of bytes: packs, refs, manifests and
// certificates, as docs/format.md section 10 names them. A blob is written
// once, whole, and only ever replaced by one of the same name or deleted.
//
// Store is the contract; disk keeps blobs in a folder, Memory in memory, and
// blobtest holds every implementation to the contract.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/backstay/backstay/errs"
)

// Store keeps blobs. Its methods may be called at once by any number of
// goroutines and, on the same folder or bucket, by several processes.
//
// Errors: a blob that is not there is one that errors.Is fs.ErrNotExist; a
// store without room is E1601; a name that CheckName refuses fails before
// anything is touched. After any other error the caller knows nothing, and may
// repeat the call: all of them are idempotent.
type Store interface {
	// Put stores what write writes under name, replacing what was there. The
	// blob becomes visible whole, and when Put returns nil it survives a crash.
	// When write fails, Put returns its error and nothing has changed. Until
	// Put returns, and for ever when it fails, readers see the old state. An
	// error that matches durable.ErrSync means that the store can no longer
	// keep its word: the process must stop.
	//
	// A store keeps some room free, so that the database beside it can go on
	// when it is full; a put that would take it is refused with E1601, and
	// reading goes on.
	Put(ctx context.Context, name string, write func(io.Writer) error) error

	// Open gives access to a blob. What is open stays readable when the blob
	// is replaced or deleted meanwhile, or fails; it never mixes two blobs.
	// Every ReadAt may cost a request: read ranges, not bytes.
	Open(ctx context.Context, name string) (Blob, error)

	// Stat says how long a blob is and since when it is there.
	Stat(ctx context.Context, name string) (Info, error)

	// List calls each for every blob whose name begins with prefix, in no
	// order. Blobs put or deleted meanwhile may be listed or not. An error of
	// each ends the list and is returned. When List fails, what it listed is
	// not all there is; a list alone never proves that a blob is absent (R11).
	List(ctx context.Context, prefix string, each func(Info) error) error

	// Delete removes a blob for good. One that is not there is no error.
	Delete(ctx context.Context, name string) error
}

// Blob is an open blob.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Info is what a store knows of a blob.
type Info struct {
	Name     string
	Size     int64
	Modified time.Time // by the store's clock
}

const maxName = 512

// CheckName refuses what is no name of a blob: parts of lower-case letters,
// digits, '.', '-' and '_', joined by '/', none empty and none beginning with
// a dot. Such a name is safe as a path on every system.
func CheckName(name string) error {
	ok := len(name) > 0 && len(name) <= maxName
	start := true
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
			start = false
		case c == '.':
			ok = !start
		case c == '/':
			ok, start = !start, true
		default:
			ok = false
		}
	}
	if !ok || start || strings.HasSuffix(name, ".") || strings.Contains(name, "./") {
		return fmt.Errorf("%q is no name of a blob", name)
	}
	return nil
}

// ErrTooLong is in the chain of Read's error when a blob is over its limit.
var ErrTooLong = errors.New("longer than allowed")

// Read returns a whole blob of at most limit bytes.
func Read(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	b, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.Size() > limit {
		return nil, fmt.Errorf("reading blob %s of %d bytes: %w", name, b.Size(), ErrTooLong)
	}
	data := make([]byte, b.Size())
	// ReadAt may report the end together with the last byte.
	if n, err := b.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("reading blob %s: %w", name, err)
	}
	return data, nil
}

// Write stores data under name.
func Write(ctx context.Context, s Store, name string, data []byte) error {
	return s.Put(ctx, name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Exists reports whether a blob is there.
func Exists(ctx context.Context, s Store, name string) (bool, error) {
	_, err := s.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Full is the failure of a store without room.
func Full(cause error) error { return errs.Of(errs.StorageFull).Because(cause) }
