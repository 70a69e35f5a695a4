package archive

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/catalog"
)

// sealChunks seals what readers and collect send, until collect is done.
func (r *run) sealChunks(ctx context.Context) error {
	for {
		select {
		case c := <-r.chunks:
			var ref backup.Ref
			var err error
			if c.onlyHeld {
				ref, c.lacking, err = r.sealHeld(ctx, c.plain)
			} else {
				ref, err = r.seal(ctx, backup.Data, c.plain)
			}
			c.block.release()
			c.plain, c.block = nil, nil
			if err != nil {
				return err
			}
			c.ref = ref
			close(c.done)
		case <-r.finished:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// send gives a chunk to the goroutines that seal.
func (r *run) send(ctx context.Context, c *pending) error {
	select {
	case r.chunks <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// seal makes an object and gives it to the Sink. A sealer needs much memory,
// so no more calls than workers run at once, whoever makes them.
func (r *run) seal(ctx context.Context, kind backup.Kind, plain []byte) (backup.Ref, error) {
	o, err := r.object(ctx, kind, plain)
	if err != nil {
		return backup.Ref{}, err
	}
	if err := r.Sink.Put(ctx, o); err != nil {
		return backup.Ref{}, fmt.Errorf("storing an object: %w", err)
	}
	return o.Ref, nil
}

// sealHeld makes a chunk and finds out whether it is stored. It gives it to nobody.
func (r *run) sealHeld(ctx context.Context, plain []byte) (ref backup.Ref, lacking bool, err error) {
	o, err := r.object(ctx, backup.Data, plain)
	if err != nil {
		return backup.Ref{}, false, err
	}
	defer r.Sealer.Release(o)
	held, err := r.Held(ctx, o.Ref.ID)
	if err != nil {
		return backup.Ref{}, false, fmt.Errorf("asking for an object: %w", err)
	}
	return o.Ref, !held, nil
}

func (r *run) object(ctx context.Context, kind backup.Kind, plain []byte) (backup.Object, error) {
	select {
	case r.seals <- struct{}{}:
	case <-ctx.Done():
		return backup.Object{}, context.Cause(ctx)
	}
	o, err := r.Sealer.Seal(kind, plain)
	<-r.seals
	return o, err
}

// storeAttrs moves attributes that are too large out of their entry.
func (r *run) storeAttrs(ctx context.Context, e *catalog.Entry) error {
	if catalog.AttrsFit(e.Attrs) {
		return nil
	}
	plain := catalog.EncodeAttrs(e.Attrs)
	if len(plain) > backup.MaxPlain {
		return fmt.Errorf("the attributes of %q have %d bytes", e.Path(), len(plain))
	}
	ref, err := r.seal(ctx, backup.Attrs, plain)
	e.AttrsRef, e.Attrs = &ref, nil
	return err
}

// block is memory for content. Each chunk in it holds it, and so does who fills
// it.
type block struct {
	buf   []byte
	users atomic.Int32
	from  *blocks
}

// blocks are a fixed number of blocks, used again and again: they are most of
// the memory of a run.
type blocks struct {
	free chan *block
}

func newBlocks(n int) *blocks {
	b := &blocks{free: make(chan *block, n)}
	for range n {
		b.free <- &block{from: b}
	}
	return b
}

func (b *blocks) get(ctx context.Context) (*block, error) {
	select {
	case x := <-b.free:
		if x.buf == nil {
			x.buf = make([]byte, backup.MaxChunk)
		}
		x.users.Store(1)
		return x, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (x *block) retain() { x.users.Add(1) }

func (x *block) release() {
	if x.users.Add(-1) == 0 {
		x.from.free <- x
	}
}

// repeated finds chunks that came before in this run. It tells them apart by a
// tag under a key that is made for the run and never leaves it: two chunks have
// the same tag with a probability of 2^-100 or less, whoever made them, at a
// quarter of a hash's cost.
type repeated struct {
	tag    cipher.AEAD
	mu     sync.Mutex
	chunks map[[16]byte]*pending
}

func newRepeated() *repeated {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("archive: " + err.Error()) // the key has the right length
	}
	tag, err := cipher.NewGCM(block)
	if err != nil {
		panic("archive: " + err.Error())
	}
	return &repeated{tag: tag, chunks: map[[16]byte]*pending{}}
}

// chunk returns the chunk with this content; fresh says that there was none
// and the caller has to see that it is sealed.
func (r *repeated) chunk(plain []byte) (c *pending, fresh bool) {
	var nonce [12]byte
	var sum [16]byte
	r.tag.Seal(sum[:0], nonce[:], nil, plain)
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.chunks[sum]; c != nil {
		return c, false
	}
	c = newPending()
	if len(r.chunks) < maxRepeated {
		r.chunks[sum] = c
	}
	return c, true
}
