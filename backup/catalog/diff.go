package catalog

import (
	"context"
	"fmt"
	"io"

	"github.com/backstay/backstay/backup"
)

// Diff calls each, in catalog order, for every entry that is not the same in
// two catalogs: old is nil for one that was added, new for one that was
// removed. Pages that the two have in common are not read.
func Diff(ctx context.Context, old, new *Reader, each func(old, new *Entry) error) error {
	if old.Root.ID == new.Root.ID {
		return nil
	}
	a, err := old.top(ctx)
	if err != nil {
		return fmt.Errorf("comparing snapshots: %w", err)
	}
	b, err := new.top(ctx)
	if err != nil {
		return fmt.Errorf("comparing snapshots: %w", err)
	}
	for more := true; more; {
		if more, err = diffStep(ctx, a, b, each); err != nil {
			return fmt.Errorf("comparing snapshots: %w", err)
		}
	}
	return nil
}

// diffStep does the next thing: passes over a page in common, opens one that is
// not, or compares two entries. It reports false at the end.
func diffStep(ctx context.Context, a, b *place, each func(old, new *Entry) error) (bool, error) {
	ea, ca := a.head()
	eb, cb := b.head()
	switch {
	case ca != nil && cb != nil:
		return true, diffPages(ctx, a, b, ca, cb)
	case ca != nil && (eb == nil || Compare(ca.folder, ca.name, eb.Folder, eb.Name) <= 0):
		return true, a.open(ctx)
	case cb != nil && (ea == nil || Compare(cb.folder, cb.name, ea.Folder, ea.Name) <= 0):
		return true, b.open(ctx)
	case ea == nil && eb == nil:
		return false, nil
	case eb == nil || ea != nil && ea.Compare(eb) < 0:
		a.skip()
		return true, each(ea, nil)
	case ea == nil || ea.Compare(eb) > 0:
		b.skip()
		return true, each(nil, eb)
	}
	a.skip()
	b.skip()
	if ea.Equal(eb) {
		return true, nil
	}
	return true, each(ea, eb)
}

func diffPages(ctx context.Context, a, b *place, ca, cb *child) error {
	if ca.ref.ID == cb.ref.ID {
		a.skip()
		b.skip()
		return nil
	}
	order := compareChildren(ca, cb)
	la, lb := a.level(), b.level()
	if order < 0 || order == 0 && la >= lb {
		if err := a.open(ctx); err != nil {
			return err
		}
	}
	if order > 0 || order == 0 && lb >= la {
		return b.open(ctx)
	}
	return nil
}

// Objects calls each for every object that the catalog needs: its pages, and
// what they refer to. The same object may come more than once.
func (r *Reader) Objects(ctx context.Context, each func(backup.Kind, backup.Ref) error) error {
	c := r.Cursor(ctx, "")
	defer c.Close()
	var last *batch
	for {
		p, err := c.nextLeaf()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if c.current != last {
			last = c.current
			for _, ref := range last.inner {
				if err := each(backup.Page, ref); err != nil {
					return err
				}
			}
		}
		if err := each(backup.Page, last.refs[c.leaf]); err != nil {
			return err
		}
		if err := r.leafObjects(ctx, p, each); err != nil {
			return err
		}
	}
}

func (r *Reader) leafObjects(ctx context.Context, p *page, each func(backup.Kind, backup.Ref) error) error {
	var lists []backup.Ref
	for i, ref := range p.refs {
		if p.kinds[i] == backup.Extents {
			lists = append(lists, ref)
		}
		if err := each(p.kinds[i], ref); err != nil {
			return err
		}
	}
	if len(lists) == 0 {
		return nil
	}
	return r.Fetch(ctx, backup.Extents, lists, func(_ int, plain []byte) error {
		extents, err := DecodeExtents(plain)
		if err != nil {
			return err
		}
		for i := range extents {
			if err := each(backup.Data, extents[i].Ref); err != nil {
				return err
			}
		}
		return nil
	})
}
