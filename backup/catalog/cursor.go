package catalog

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sort"

	"github.com/backstay/backstay/backup"
)

// What a Cursor reads ahead: batches of leaf pages, so much plaintext in each,
// and so many of them beside the one being fetched and the one being used.
const (
	batchBytes   = 512 << 10
	batchesAhead = 2
)

// Cursor goes through the entries of a catalog in order. It fetches and decodes
// ahead on goroutines of its own, a few megabytes at most, until Close.
type Cursor struct {
	r       *Reader
	ctx     context.Context
	cancel  context.CancelFunc
	batches chan *batch

	current *batch
	leaf    int // of the current batch
	next    int // entry of the leaf
	from    struct{ folder, name string }
	last    *Entry
	err     error
}

// batch is some neighbouring leaf pages, which are there when done is closed.
type batch struct {
	inner []backup.Ref // inner pages passed on the way here
	refs  []backup.Ref
	under []*under
	pages []*page
	err   error
	done  chan struct{}
}

// Cursor returns a cursor before the first entry that is at from or after it in
// catalog order; an empty from is the beginning.
func (r *Reader) Cursor(ctx context.Context, from string) *Cursor {
	c := &Cursor{r: r, batches: make(chan *batch, batchesAhead)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	if from != "" {
		c.from.folder, c.from.name = Split(from)
	}
	go c.read()
	return c
}

// Close ends the reading ahead.
func (c *Cursor) Close() { c.cancel() }

// Next returns the next entry, or io.EOF after the last. An error stays.
func (c *Cursor) Next() (*Entry, error) {
	for c.err == nil {
		if c.current != nil && c.leaf < len(c.current.pages) {
			p := c.current.pages[c.leaf]
			if c.next < len(p.entries) {
				c.next++
				return &p.entries[c.next-1], nil
			}
		}
		_, c.err = c.nextLeaf()
	}
	return nil, c.err
}

// nextLeaf goes to the next leaf page.
func (c *Cursor) nextLeaf() (*page, error) {
	c.leaf++
	c.next = 0
	if c.current == nil || c.leaf >= len(c.current.pages) {
		if err := c.nextBatch(); err != nil {
			return nil, err
		}
	}
	p := c.current.pages[c.leaf]
	if len(p.entries) == 0 {
		return p, nil
	}
	if c.last == nil && c.from.name != "" {
		c.next = sort.Search(len(p.entries), func(i int) bool {
			return Compare(p.entries[i].Folder, p.entries[i].Name, c.from.folder, c.from.name) >= 0
		})
	}
	if c.last != nil && c.last.Compare(&p.entries[0]) >= 0 {
		return nil, backup.Mismatched("catalog", errSums)
	}
	c.last = &p.entries[len(p.entries)-1]
	return p, nil
}

func (c *Cursor) nextBatch() error {
	b, ok := <-c.batches
	if !ok {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	<-b.done
	if b.err != nil {
		return fmt.Errorf("reading the catalog: %w", b.err)
	}
	c.current, c.leaf = b, 0
	return nil
}

// All returns the entries in order; the sequence ends after the first error.
func (r *Reader) All(ctx context.Context) iter.Seq2[*Entry, error] { return r.From(ctx, "") }

// From is All beginning at a path.
func (r *Reader) From(ctx context.Context, path string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		c := r.Cursor(ctx, path)
		defer c.Close()
		for {
			e, err := c.Next()
			if err == io.EOF {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Below returns all that is in a folder, however deep, in order: the entries
// stand together. Of "/" that is everything.
func (r *Reader) Below(ctx context.Context, folder string) iter.Seq2[*Entry, error] {
	// No name is so small: the first entry in the folder, or after it.
	from := Join(folder, "\x00")
	return func(yield func(*Entry, error) bool) {
		for e, err := range r.From(ctx, from) {
			if err == nil && !Inside(folder, e.Folder) || !yield(e, err) {
				return
			}
		}
	}
}

// read goes down the tree and sends batches of leaves, in order.
func (c *Cursor) read() {
	defer close(c.batches)
	b := c.batch()
	root, err := c.r.page(c.ctx, c.r.Root, nil)
	if err != nil {
		b.err = err
	} else if root.level == 0 {
		b.refs, b.pages = []backup.Ref{c.r.Root}, []*page{root}
	} else {
		b.inner = append(b.inner, c.r.Root)
		if b, err = c.descend(b, root, true); err != nil {
			b.err = err
		}
	}
	c.send(b)
}

func (c *Cursor) batch() *batch { return &batch{done: make(chan struct{})} }

// descend adds the leaves below p to b and sends what is full. It returns the
// batch that is being filled. On the edge the tree is entered at c.from.
func (c *Cursor) descend(b *batch, p *page, edge bool) (*batch, error) {
	start := 0
	if edge && c.from.name != "" {
		start = p.find(c.from.folder, c.from.name)
	}
	size := 0
	for i := start; i < len(p.children); i++ {
		ref, u := p.children[i].ref, &under{p, i}
		if p.level > 1 {
			q, err := c.r.page(c.ctx, ref, u)
			if err != nil {
				return b, err
			}
			b.inner = append(b.inner, ref)
			if b, err = c.descend(b, q, edge && i == start); err != nil {
				return b, err
			}
			continue
		}
		b.refs = append(b.refs, ref)
		b.under = append(b.under, u)
		if size += int(ref.Len); size >= batchBytes {
			if err := c.send(b); err != nil {
				return c.batch(), err
			}
			b, size = c.batch(), 0
		}
	}
	return b, nil
}

// send hands a batch to the consumer and fetches it meanwhile.
func (c *Cursor) send(b *batch) error {
	if b.err == nil && len(b.refs) == 0 {
		return nil
	}
	select {
	case c.batches <- b:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	if b.err != nil || b.pages != nil {
		close(b.done)
		return nil
	}
	go c.fetch(b)
	return nil
}

func (c *Cursor) fetch(b *batch) {
	defer close(b.done)
	b.pages = make([]*page, len(b.refs))
	b.err = c.r.Fetch(c.ctx, backup.Page, b.refs, func(i int, plain []byte) error {
		p, err := c.r.decode(b.refs[i], plain)
		if err != nil {
			return err
		}
		b.pages[i] = p
		return b.under[i].check(p)
	})
	for _, p := range b.pages {
		if p == nil && b.err == nil {
			b.err = backup.Mismatched("catalog", errNotDelivered)
		}
	}
}
